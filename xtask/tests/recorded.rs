//! Recordings of real programs, for the unit tests of each crate that has any.

#![allow(dead_code)] // each of them reads its own part

/// The recorded output of a real program.
pub struct Recorded {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Reads the recording `name` of `program` (`omnictl` 1.4.9 or `compose` 5.5.1).
pub fn recorded(program: &str, name: &str) -> Recorded {
    let mut dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    while !dir.join("tests/fixtures").is_dir() {
        dir = dir.parent().expect("the runner's own directory is above each of its crates");
    }
    let file = dir.join(format!("tests/fixtures/{program}/{name}.txt"));
    let text = std::fs::read_to_string(&file).expect(name);
    let (head, rest) = text.split_once("--- stdout\n").expect("a recording has a part for stdout");
    let (stdout, stderr) = rest.split_once("--- stderr\n").unwrap_or((rest, ""));
    let exit = head.lines().find_map(|line| line.strip_prefix("exit: ")).expect("a recording has an exit code");
    Recorded { exit: exit.parse().expect("a number"), stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}
