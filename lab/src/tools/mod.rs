//! The stand-ins for `omnictl` and `docker` on the lab's PATH, selected by the name under which they are called.

pub mod docker;
mod failure;
pub mod node;
pub mod omnictl;
pub mod protocol;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Exit code of a call that the real program may support but the lab does not.
pub const UNKNOWN_CALL: i32 = 64;

/// Writes to stdout and flushes. Errors, such as a closed pipe, are ignored.
pub fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

/// Writes to stderr. Errors are ignored.
pub fn err(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Writes a file with the given mode, overwriting an existing one.
pub fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode).open(path)?.write_all(text.as_bytes())
}

/// Uses CPU until this process has consumed `ms` milliseconds of CPU time, as much as a real program of this size needs to start.
pub fn busy(ms: u64) {
    let goal = std::time::Duration::from_millis(ms);
    let begun = std::time::Instant::now();
    while processor_time().unwrap_or_else(|| begun.elapsed()) < goal {
        std::hint::black_box((0..20_000_u64).fold(ms, |sum, next| sum.rotate_left(7) ^ next));
    }
}

/// The CPU time of this process; `None` if the system does not report it.
fn processor_time() -> Option<std::time::Duration> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(std::time::Duration::from_nanos)
}

/// Prints that a call is not simulated and returns the exit code.
pub fn unknown_call(program: &str, argv: &[String]) -> i32 {
    let call: Vec<&str> = argv.iter().map(String::as_str).collect();
    err(&format!("lab: this stand-in does not know: {program} {}\n", call.join(" ")));
    UNKNOWN_CALL
}
