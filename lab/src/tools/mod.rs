//! The stand-ins: what answers to `omnictl` and `docker` on the lab's PATH, by the name it is called.

pub mod docker;
pub mod omnictl;
pub mod wire;

use std::io::Write as _;

/// Exit code of a call that the real program may know and the lab does not.
pub const UNKNOWN_CALL: i32 = 64;

/// Writes to stdout at once; a reader that has gone away is its own business.
pub fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

/// Writes to stderr at once.
pub fn err(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Says that a call is not simulated, with the call.
pub fn unknown_call(program: &str, argv: &[String]) -> i32 {
    let call: Vec<&str> = argv.iter().map(String::as_str).collect();
    err(&format!("lab: this stand-in does not know: {program} {}\n", call.join(" ")));
    UNKNOWN_CALL
}
