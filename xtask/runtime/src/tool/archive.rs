//! tar, the programs that encrypt an archive, and checksums.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use xshell::cmd;

use super::Tool;
use crate::cx::Cx;
use crate::proc::{self, Job};
use domain::failure::{Code, Failure};

/// The deadline for a store of gigabytes on a slow disk.
const LONG: Duration = Duration::from_secs(600);

/// Packs everything in `dir` into `file`. gzip's checksum covers every byte, including those that belong to no file.
///
/// # Errors
/// Returns tar's error.
pub fn pack(cx: &Cx, dir: &Path, file: &Path) -> Result<(), Failure> {
    let (shell, tar) = (proc::shell()?, Tool::Tar.find()?);
    // The store is encrypted, so a higher compression level does not make it smaller.
    let cmd = cmd!(shell, "{tar} --use-compress-program 'gzip -1' -cf {file} -C {dir} .");
    cx.proc.run(Job::new("writing the archive", cmd).deadline(LONG))?.require_success().map(drop)
}

/// Unpacks `file` into `dir`. GNU tar does not write outside of it.
///
/// # Errors
/// [`Code::Invalid`] if the file is not a complete archive.
pub fn unpack(cx: &Cx, file: &Path, dir: &Path) -> Result<(), Failure> {
    let (shell, tar) = (proc::shell()?, Tool::Tar.find()?);
    // tar does not read past the last file unless another archive follows, so gzip verifies the checksum of the whole file.
    for cmd in [
        cmd!(shell, "gzip --test {file}"),
        cmd!(shell, "{tar} --ignore-zeros --no-same-owner --no-same-permissions -xzf {file} -C {dir}"),
    ] {
        let ended = cx.proc.run(Job::new("unpacking the archive", cmd).deadline(LONG))?;
        if !ended.is_success() {
            let said = ended.stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
            return Err(Failure::new(Code::Invalid, "the archive is incomplete or damaged").cause(said));
        }
    }
    Ok(())
}

/// The program that encrypts an archive to its recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    Age,
    Gpg,
}

impl Encryption {
    /// The program for these recipients: age for those that start with `age1` or `ssh-`, gpg for all others.
    ///
    /// # Errors
    /// [`Code::Usage`] if they are for both.
    pub fn for_recipients(recipients: &[String]) -> Result<Option<Encryption>, Failure> {
        let age = recipients.iter().filter(|name| name.starts_with("age1") || name.starts_with("ssh-")).count();
        match age {
            _ if recipients.is_empty() => Ok(None),
            0 => Ok(Some(Encryption::Gpg)),
            _ if age == recipients.len() => Ok(Some(Encryption::Age)),
            _ => Err(Failure::new(Code::Usage, "the recipients mix age and gpg")
                .hint("the archive is encrypted by one program: use recipients of one kind")),
        }
    }

    /// The program for a file, by the extension of its name.
    pub fn for_file(file: &Path) -> Option<Encryption> {
        let ending = file.extension()?;
        [Encryption::Age, Encryption::Gpg]
            .into_iter()
            .find(|each| *each.extension() == format!(".{}", ending.display()))
    }

    /// The extension of an encrypted file.
    pub fn extension(self) -> &'static str {
        match self {
            Encryption::Age => ".age",
            Encryption::Gpg => ".gpg",
        }
    }

    fn find(self) -> Result<PathBuf, Failure> {
        match self {
            Encryption::Age => Tool::Age.find(),
            Encryption::Gpg => Tool::Gpg.find(),
        }
    }

    /// Refuses recipients that the program does not know, before there is anything to encrypt.
    ///
    /// # Errors
    /// [`Code::Invalid`] with the program's output.
    pub fn check_recipients(self, cx: &Cx, recipients: &[String]) -> Result<(), Failure> {
        let job = self.encryption_job(recipients, None)?.stdin("x");
        let ended = cx.proc.run(job)?;
        if ended.is_success() {
            return Ok(());
        }
        let failure = Failure::new(Code::Invalid, format!("a recipient cannot be used: {}", recipients.join(", ")));
        Err(failure.cause(ended.failure().cause).hint(match self {
            Encryption::Age => "a recipient is a public key: `age-keygen -y IDENTITY_FILE` prints it",
            Encryption::Gpg => "import its public key first: `gpg --import FILE`",
        }))
    }

    /// Encrypts `from` into `to`, which is replaced.
    ///
    /// # Errors
    /// Returns the program's error.
    pub fn encrypt_file(self, cx: &Cx, recipients: &[String], from: &Path, to: &Path) -> Result<(), Failure> {
        cx.proc.run(self.encryption_job(recipients, Some((from, to)))?)?.require_success().map(drop)
    }

    fn encryption_job(self, recipients: &[String], files: Option<(&Path, &Path)>) -> Result<Job, Failure> {
        let (shell, program) = (proc::shell()?, self.find()?);
        let recipients: Vec<&str> = recipients.iter().flat_map(|name| ["--recipient", name]).collect();
        let files: Vec<&Path> = files.into_iter().flat_map(|(from, to)| [Path::new("--output"), to, from]).collect();
        let cmd = match self {
            Encryption::Age => cmd!(shell, "{program} {recipients...} {files...}"),
            Encryption::Gpg => cmd!(
                shell,
                "{program} --batch --quiet --no-tty --yes --trust-model always --encrypt {recipients...} {files...}"
            ),
        };
        Ok(Job::new("encrypting the archive", cmd).deadline(LONG))
    }

    /// Decrypts `from` into `to`: with an identity file of age, or with gpg's keyring.
    ///
    /// # Errors
    /// [`Code::Refused`] if it is encrypted to another key, or was changed.
    pub fn decrypt_file(self, cx: &Cx, identity: Option<&Path>, from: &Path, to: &Path) -> Result<(), Failure> {
        let (shell, program) = (proc::shell()?, self.find()?);
        let cmd = match (self, identity) {
            (Encryption::Age, Some(identity)) => {
                cmd!(shell, "{program} --decrypt --identity {identity} --output {to} {from}")
            }
            (Encryption::Age, None) => {
                return Err(Failure::new(Code::Usage, format!("`{}` is encrypted with age", from.display()))
                    .hint("specify the file with the private key: --identity FILE"));
            }
            (Encryption::Gpg, _) => cmd!(shell, "{program} --batch --quiet --no-tty --output {to} --decrypt {from}"),
        };
        let ended = cx.proc.run(Job::new("decrypting the archive", cmd).deadline(LONG))?;
        if ended.is_success() {
            return Ok(());
        }
        Err(Failure::new(Code::Refused, format!("`{}` cannot be decrypted", from.display()))
            .cause(ended.failure().cause)
            .hint("it is encrypted to another key, or is damaged; gpg needs the private key in this user's keyring, unlocked"))
    }
}

/// The SHA-256 of a file.
///
/// # Errors
/// Returns the system's error.
pub fn sha256(file: &Path) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    std::io::copy(&mut File::open(file)?, &mut hash)?;
    Ok(format!("{:x}", hash.finalize()))
}
