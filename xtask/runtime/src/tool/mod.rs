//! One adapter per program: finding it, calling it and parsing its output. Command-line syntax stays in these modules.

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        match self {
            Tool::Curl => "curl",
            Tool::Docker => "docker",
            Tool::Git => "git",
            Tool::Gpg => "gpg",
            Tool::Openssl => "openssl",
            Tool::Age => "age",
            Tool::Tar => "tar",
        }
    }

    fn install_hint(self) -> &'static str {
        match self {
            Tool::Curl => "install curl: `apt-get install curl`, `dnf install curl` or `brew install curl`",
            Tool::Git => "install git: `apt-get install git`, `dnf install git` or `brew install git`",
            Tool::Age => "install age: `apt-get install age`, `dnf install age` or `brew install age`",
            Tool::Tar => "install GNU tar: `apt-get install tar` or `dnf install tar`",
            Tool::Gpg => "install GnuPG: `apt-get install gnupg`, `dnf install gnupg2` or `brew install gnupg`",
            Tool::Openssl => {
                "install openssl: `apt-get install openssl`, `dnf install openssl` or `brew install openssl`"
            }
            Tool::Docker => {
                "install Docker Engine with the compose plugin: `apt-get install docker.io docker-compose-v2` on Ubuntu, `docker.io docker-compose` on Debian 13, or follow docs.docker.com/engine/install"
            }
        }
    }

    /// Where the program is.
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
