//! What is there, as pure data made of what the far ends printed.

pub mod cluster;
pub mod docker;
pub mod omni;
pub mod proxmox;
pub mod sync;

#[cfg(test)]
pub(crate) mod testing {
    /// What a real program printed once.
    pub struct Recorded {
        pub exit: i32,
        pub stdout: String,
        pub stderr: String,
    }

    /// The recording `name` of `program` (`omnictl` 1.4.9 or `compose` 5.5.1).
    pub fn recorded(program: &str, name: &str) -> Recorded {
        let file = format!("{}/tests/fixtures/{program}/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&file).expect(&file);
        let (head, rest) = text.split_once("--- stdout\n").expect("a recording has a part for stdout");
        let (stdout, stderr) = rest.split_once("--- stderr\n").unwrap_or((rest, ""));
        let exit = head.lines().find_map(|line| line.strip_prefix("exit: ")).expect("a recording has an exit code");
        Recorded { exit: exit.parse().expect("a number"), stdout: stdout.to_owned(), stderr: stderr.to_owned() }
    }
}
