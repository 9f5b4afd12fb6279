//! `completions`: the completion script for a shell, to be kept in a file: a shell starts anywhere, and `cargo xtask` is
//! known in a checkout only.
//!
//! The scripts hold no names: they ask the runner that was built last, `complete`, so that they know every task of the
//! checkout in which one is, and its classes and clusters. They build nothing, and ask nothing without a checkout.

use crate::cli::Shell;
use crate::prelude::*;
use runtime::called;

/// The scripts for `cargo xtask`, with what makes a shell read them; then those for the program of a release.
const OF_CARGO: [(&str, &[&str]); 3] = [
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
const OF_A_RELEASE: [(&str, &[&str]); 3] = [
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
    let (script, wiring) = (if called::is_released() { OF_A_RELEASE } else { OF_CARGO })[shell as usize];
    cx.ui.data(script);
    let outcome = Outcome::done("").with(json!({ "script": script }));
    Ok(wiring.iter().fold(outcome, |outcome, command| outcome.next(*command)))
}
