//! One adapter per program, which finds it, calls it and parses its output. Command-line syntax stays in these modules.

pub mod archive;
pub mod cargo;
pub mod compose;
pub mod curl;
pub mod dns;
pub mod docker;
mod errors;
pub mod git;
pub mod gpg;
pub mod install;
pub mod lab;
pub mod omni;
pub mod omnictl;
pub mod openssl;
pub mod proxmox;
pub mod role;

use std::path::PathBuf;

use domain::failure::{Code, Failure};

/// A program that is expected on PATH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Tool {
    Curl,
    Docker,
    Git,
    Gpg,
    Openssl,
    Age,
    Tar,
}

impl Tool {
    /// The name on PATH.
    pub fn name(self) -> &'static str {
        self.into()
    }

    fn install_hint(self) -> String {
        let name = self.name();
        match self {
            Tool::Tar => "install GNU tar: `apt-get install tar` or `dnf install tar`".to_owned(),
            Tool::Gpg => "install GnuPG: `apt-get install gnupg`, `dnf install gnupg2` or `brew install gnupg`".to_owned(),
            Tool::Docker => "install Docker Engine with the compose plugin: `apt-get install docker.io docker-compose-v2` on Ubuntu, `docker.io docker-compose` on Debian 13, or follow docs.docker.com/engine/install".to_owned(),
            _ => format!("install {name}: `apt-get install {name}`, `dnf install {name}` or `brew install {name}`"),
        }
    }

    /// Finds the program on PATH.
    ///
    /// # Errors
    /// [`Code::Prerequisite`] with how to install it.
    pub fn find(self) -> Result<PathBuf, Failure> {
        which::which(self.name()).map_err(|_| {
            Failure::new(Code::Prerequisite, format!("`{}` is not installed", self.name()))
                .cause("it is not in any directory of PATH")
                .hint(self.install_hint())
        })
    }
}
