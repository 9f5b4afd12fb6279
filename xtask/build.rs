//! Links the runner of a checkout at a fixed address: to relocate its hundred thousand pointers takes 1.5 ms of each start.

#![expect(clippy::disallowed_methods, reason = "cargo sets these variables, and no settings are there yet")]

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    let is = |variable: &str, value: &str| std::env::var(variable).is_ok_and(|found| found == value);
    let fixed = is("PROFILE", "debug") && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    let argument = if fixed { "cargo::rustc-link-arg-bins=-no-pie\n" } else { "" };
    write!(std::io::stdout(), "cargo::rerun-if-changed=build.rs\n{argument}")
}
