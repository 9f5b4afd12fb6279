//! The programs that contributors' tasks call, and how each is installed. One that is missing is a prerequisite with
//! that hint; none of them is needed by an operator.

use std::path::PathBuf;

use domain::failure::{Code, Failure};
use runtime::paths::Paths;

/// A program that knows something better than we do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// The name on PATH.
    pub name: &'static str,
    /// The command that installs it.
    pub install: &'static str,
}

pub const ACTIONLINT: Program = Program {
    name: "actionlint",
    install: "mise install actionlint, or go install github.com/rhysd/actionlint/cmd/actionlint@latest",
};
pub const CARGO_DENY: Program =
    Program { name: "cargo-deny", install: "mise install cargo-deny, or cargo install --locked cargo-deny" };
pub const GIT: Program = Program { name: "git", install: "apt-get install git, or brew install git" };
pub const GIT_CLIFF: Program = Program {
    name: "git-cliff",
    install: "mise install git-cliff, or pip install git-cliff, or npm install --global git-cliff",
};
pub const INFISICAL: Program =
    Program { name: "infisical", install: "mise install infisical, or npm install --global @infisical/cli" };
pub const MARKDOWNLINT: Program = Program {
    name: "markdownlint-cli2",
    install: "mise install npm:markdownlint-cli2, or npm install --global markdownlint-cli2",
};
pub const PREK: Program = Program { name: "prek", install: "mise install prek, or pip install prek" };
pub const SHELLCHECK: Program =
    Program { name: "shellcheck", install: "mise install shellcheck, or apt-get install shellcheck" };
pub const SHFMT: Program =
    Program { name: "shfmt", install: "mise install shfmt, or go install mvdan.cc/sh/v3/cmd/shfmt@latest" };

impl Program {
    /// Where the program is: on PATH, or where `.ci/run` installs what it needs.
    ///
    /// # Errors
    /// [`Code::Prerequisite`] with how to install it.
    pub fn find(self, paths: &Paths) -> Result<PathBuf, Failure> {
        let ours = paths.target().join("ci/bin").join(self.name);
        which::which(self.name).or_else(|_| which::which(ours)).map_err(|_| {
            Failure::new(Code::Prerequisite, format!("`{}` is not installed", self.name))
                .cause("neither PATH nor target/ci/bin holds it")
                .hint(self.install)
        })
    }
}
