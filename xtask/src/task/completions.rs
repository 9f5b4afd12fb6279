//! `completions`: the completion script for a shell, to be kept in a file: a shell starts anywhere, and `cargo xtask` is
//! known in a checkout only.
//!
//! The scripts hold no names: they ask the runner that was built last, `complete`, so that they know every task of the
//! checkout in which one stands, and its classes and clusters. They build nothing, and ask nothing without a checkout.

use serde_json::json;

use crate::cli::{Completions, Shell};
use crate::outcome::Outcome;
use runtime::cx::Cx;

const BASH: &str = include_str!("../../data/completions/bash");
const ZSH: &str = include_str!("../../data/completions/zsh");
const FISH: &str = include_str!("../../data/completions/fish");

pub fn run(args: &Completions, cx: &Cx) -> anyhow::Result<Outcome> {
    let (script, wiring) = match args.shell {
        Shell::Bash => (BASH, ["mkdir -p ~/.local/share/omni-scale && cargo xtask completions bash > ~/.local/share/omni-scale/xtask.bash", "echo '. ~/.local/share/omni-scale/xtask.bash' >> ~/.bashrc   # once, after cargo's own"].as_slice()),
        Shell::Zsh => (ZSH, ["mkdir -p ~/.local/share/omni-scale && cargo xtask completions zsh > ~/.local/share/omni-scale/xtask.zsh", "echo '. ~/.local/share/omni-scale/xtask.zsh' >> ~/.zshrc   # once, after compinit"].as_slice()),
        Shell::Fish => (FISH, ["mkdir -p ~/.config/fish/completions && cargo xtask completions fish > ~/.config/fish/completions/cargo-xtask.fish"].as_slice()),
    };
    cx.ui.data(script);
    let outcome = Outcome::done("").with(json!({ "script": script }));
    Ok(wiring.iter().fold(outcome, |outcome, command| outcome.next(*command)))
}
