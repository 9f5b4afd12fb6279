//! The tasks that are not an operator's daily ones: the lab with its rehearsal, and all of the contributors'. They are a
//! program of their own, `workshop` (`xtask/workshop/`), that takes the same command line and is built when first needed:
//! an operator waits for the first build of the runner and calls none of them on it (docs/benchmarks.md).

use super::Outcome;
use crate::cx::Cx;
use crate::proc;
use crate::settings::environment;
use crate::tool::cargo;

const PROGRAM: &str = "workshop";

/// Becomes the workshop, with the arguments of this call and under our own path, by which it calls us in its turn. Where
/// cargo runs us it is built first; where we were called by our path, the one beside us is taken if there is one.
///
/// # Errors
/// When it cannot be built, or does not start.
pub fn hand_over(cx: &Cx) -> anyhow::Result<Outcome> {
    let ours = std::env::current_exe()?;
    let beside = ours.with_file_name(PROGRAM);
    let program = match environment("CARGO") {
        None if beside.is_file() => beside,
        _ => cargo::built(cx, PROGRAM)?,
    };
    Err(proc::become_program(&program, &ours, std::env::args_os().skip(1)).into())
}
