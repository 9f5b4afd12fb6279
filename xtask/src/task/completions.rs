//! `completions`: prints the completion script for a shell, to be saved to a file: a shell can start anywhere, but `cargo xtask`
//! exists only in a checkout.
//!
//! The scripts contain no names. They call `complete` of the most recently built runner, so they know every task of the current
//! checkout, with its classes and clusters. They build nothing, and do nothing outside a checkout.

use crate::cli::Shell;
use crate::prelude::*;
use runtime::called;

/// The scripts for `cargo xtask`, with the commands that make a shell read them. Below are those for the released program.
const CARGO_SETUP: [(&str, &[&str]); 3] = [
    (
        include_str!("../../data/completions/bash"),
        &[
            "mkdir -p ~/.local/share/omni-scale && cargo xtask completions bash > ~/.local/share/omni-scale/xtask.bash",
            "echo '. ~/.local/share/omni-scale/xtask.bash' >> ~/.bashrc   # once, after cargo's own",
        ],
    ),
    (
        include_str!("../../data/completions/zsh"),
        &[
            "mkdir -p ~/.local/share/omni-scale && cargo xtask completions zsh > ~/.local/share/omni-scale/xtask.zsh",
            "echo '. ~/.local/share/omni-scale/xtask.zsh' >> ~/.zshrc   # once, after compinit",
        ],
    ),
    (
        include_str!("../../data/completions/fish"),
        &[
            "mkdir -p ~/.config/fish/completions && cargo xtask completions fish > ~/.config/fish/completions/cargo-xtask.fish",
        ],
    ),
];
const RELEASE_SETUP: [(&str, &[&str]); 3] = [
    (
        include_str!("../../data/completions/omni-scale.bash"),
        &["eval \"$(cargo xtask completions bash)\"   # in ~/.bashrc"],
    ),
    (
        include_str!("../../data/completions/omni-scale.zsh"),
        &["eval \"$(cargo xtask completions zsh)\"   # in ~/.zshrc, after compinit"],
    ),
    (
        include_str!("../../data/completions/omni-scale.fish"),
        &["cargo xtask completions fish | source   # in ~/.config/fish/config.fish"],
    ),
];

pub fn run(shell: Shell, cx: &Cx) -> anyhow::Result<Outcome> {
    let (script, wiring) = (if called::is_released() { RELEASE_SETUP } else { CARGO_SETUP })[shell as usize];
    cx.ui.print_data(script);
    let outcome = Outcome::done("").with(json!({ "script": script }));
    Ok(wiring.iter().fold(outcome, |outcome, command| outcome.next(*command)))
}
