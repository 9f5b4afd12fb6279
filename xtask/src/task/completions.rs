//! `completions`: the completion script for a shell, to be sourced by it.
//!
//! The scripts hold no names: they ask the runner that was built last, `complete`, so that they know every task of the
//! checkout in which one stands, and its classes and clusters. They build nothing, and ask nothing without a checkout.

use serde_json::json;

use super::Outcome;
use crate::cli::{Completions, Shell};
use crate::cx::Cx;

const BASH: &str = include_str!("../../data/completions/bash");
const ZSH: &str = include_str!("../../data/completions/zsh");
const FISH: &str = include_str!("../../data/completions/fish");

pub fn run(args: &Completions, cx: &Cx) -> anyhow::Result<Outcome> {
    let (script, wiring) = match args.shell {
        Shell::Bash => (BASH, "source <(cargo xtask completions bash)   # in ~/.bashrc after cargo's own"),
        Shell::Zsh => (ZSH, "source <(cargo xtask completions zsh)   # in ~/.zshrc after compinit"),
        Shell::Fish => (FISH, "cargo xtask completions fish > ~/.config/fish/completions/cargo-xtask.fish"),
    };
    cx.ui.data(script);
    Ok(Outcome::done("").with(json!({ "script": script })).next(wiring))
}
