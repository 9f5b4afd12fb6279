//! The real programs: those that a contributor may not have are used from where `.ci/run` installs them.

use std::fs;
use std::path::{Path, PathBuf};

use super::Kit;
use crate::sandbox::{program_at, root};

/// Finds a program on this machine; `None`, with a message, if it is not installed. `.ci/run` installs all of them and sets
/// `OMNI_SCALE_ALL_TOOLS`, which makes a missing program a failure, so that no check is skipped there.
pub fn program(name: &str) -> Option<PathBuf> {
    let ours = root().join("target/ci/bin").join(name);
    let found = which::which(ours).or_else(|_| which::which(name)).ok();
    if found.is_none() {
        let note = format!("skipped: {name} is not installed, neither on PATH nor in target/ci/bin");
        assert!(std::env::var_os("OMNI_SCALE_ALL_TOOLS").is_none(), "{note}, and .ci/run installs it");
        eprintln!("{note}");
    }
    found
}

impl Kit {
    /// Puts the real program on the kit's PATH; false if it is not installed on this machine.
    pub fn add_program(&self, name: &str) -> bool {
        let Some(path) = program(name) else { return false };
        self.link_program(name, &path, "");
        true
    }

    /// Puts cargo with its formatter and linter on the kit's PATH: those that these tests were built with.
    pub fn add_rust(&self) {
        let toolchain = Path::new(env!("CARGO")).parent().unwrap();
        // cargo starts the others by name; nothing of the workspace of these tests may reach them.
        let path = format!("export PATH='{}':\"$PATH\"\n", toolchain.display());
        self.link_program("cargo", Path::new(env!("CARGO")), &path);
    }

    /// Puts a script on the kit's PATH that runs the program itself, in its own environment: programs of node look for `node`,
    /// cargo-deny for `cargo`.
    pub fn link_program(&self, name: &str, program: &Path, before: &str) {
        let path = std::env::var("PATH").unwrap();
        let cargo = Path::new(env!("CARGO")).parent().unwrap().display();
        let home = std::env::var("CARGO_HOME").or(std::env::var("HOME").map(|home| home + "/.cargo")).unwrap();
        let script = format!(
            "#!/bin/sh\nexport PATH=\"$PATH\":'{cargo}':'{path}' CARGO_HOME='{home}'\n{before}exec '{}' \"$@\"\n",
            program.display()
        );
        program_at(&self.path().join("bin").join(name), &script);
    }

    /// Makes `cargo xtask …` in the kit the runner that these tests were built with.
    pub fn add_xtask(&self) {
        let program = Path::new(env!("CARGO_BIN_EXE_xtask"));
        self.link_program("cargo", program, "[ \"$1\" = xtask ] || exit 64\nshift\n");
    }

    /// Copies files of this repository to the kit.
    pub fn copy_files(&self, files: &[&str]) {
        for file in files {
            let text = fs::read(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let path = self.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
}
