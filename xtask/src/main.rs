//! `cargo xtask <task>`: see `cli.rs` for the command line and `task/` for what each task does.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::run(std::env::args_os())
}
