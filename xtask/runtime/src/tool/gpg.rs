//! gpg with a temporary keyring, so that the operator's keys are neither read nor changed.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use xshell::cmd;

use super::Tool;
use crate::cx::Cx;
use crate::files::Scratch;
use crate::proc::{self, CommandOutput, Job};
use domain::clock;
use domain::failure::{Code, Failure};
use domain::secret::{Secret, hide};
use domain::spec::store_key;

/// The deadline of creating a key. Two RSA keys of 4096 bits take seconds, on a small machine minutes.
const MAKE: Duration = Duration::from_secs(300);
const QUICK: Duration = Duration::from_secs(60);

/// The minimum length of a line of an armored key, except for its last two lines.
const LINE: usize = 16;

/// A keyring in a temporary directory.
struct Keyring<'a> {
    cx: &'a Cx,
    gpg: PathBuf,
    home: Scratch,
}

impl<'a> Keyring<'a> {
    fn new(cx: &'a Cx) -> Result<Keyring<'a>, Failure> {
        let gpg = Tool::Gpg.find()?;
        let home = Scratch::new(&cx.paths.socket_root(), "gpg")?;
        Ok(Keyring { cx, gpg, home })
    }

    /// A call with the arguments in `words`, separated by spaces, and then `more`, which may contain spaces.
    fn job(&self, purpose: &str, words: &str, more: &[&str]) -> Result<Job, Failure> {
        let (shell, gpg, words) = (proc::shell()?, &self.gpg, words.split(' '));
        let job = Job::new(purpose, cmd!(shell, "{gpg} --batch {words...} {more...}"));
        Ok(job.env("GNUPGHOME", self.home.path()).deadline(QUICK))
    }

    fn run(&self, job: Job) -> Result<CommandOutput, Failure> {
        self.cx.proc.run(job)?.require_success()
    }

    /// Imports the key into the keyring and returns its fingerprint.
    fn import(&self, armored: &Secret) -> Result<String, Failure> {
        redact_lines(armored.expose());
        self.run(self.job("reading the key of Omni's store", "--quiet --import", &[])?.stdin(armored.expose()))?;
        self.fingerprint()
    }

    fn fingerprint(&self) -> Result<String, Failure> {
        let ended = self.run(self.job("looking up the new key", "--list-secret-keys --with-colons", &[])?)?;
        let line = ended.stdout.lines().find_map(|line| line.strip_prefix("fpr:"));
        let found = line.and_then(|line| line.split(':').find(|field| !field.is_empty()));
        found
            .map(str::to_owned)
            .ok_or_else(|| Failure::new(Code::Failed, "gpg lists no private key").cause(ended.stderr.trim().to_owned()))
    }

    /// Encrypts a text and decrypts it again, without any way to ask for a passphrase.
    fn check_decryption(&self, fingerprint: &str) -> Result<(), Failure> {
        const WORD: &str = "omni-scale: this key opens without a question\n";
        let words = "--quiet --no-tty --trust-model always --armor --encrypt --recipient";
        let job = self.job("encrypting with the key of Omni's store", words, &[fingerprint])?;
        let sealed = self.run(job.stdin(WORD))?;
        let opened = self.decrypt("decrypting with the key of Omni's store, without a passphrase", &sealed.stdout)?;
        if opened == WORD {
            return Ok(());
        }
        Err(Failure::new(Code::Failed, "the key of Omni's store cannot decrypt what it encrypted"))
    }

    fn decrypt(&self, purpose: &str, message: &str) -> Result<String, Failure> {
        let job = self.job(purpose, "--quiet --no-tty --pinentry-mode error --decrypt", &[])?;
        let opened = self.run(job.stdin(message)).map_err(|failure| {
            failure
                .hint("Omni could not open its store with it: the key must have an encryption subkey and no passphrase")
        })?;
        Ok(opened.stdout)
    }
}

impl Drop for Keyring<'_> {
    fn drop(&mut self) {
        // The agent has the private keys in memory, so it must exit before the directory is removed.
        if let (Ok(shell), Ok(conf)) = (proc::shell(), which::which("gpgconf")) {
            let job = Job::new("stopping gpg's agent", cmd!(shell, "{conf} --kill gpg-agent"));
            let _ = self
                .cx
                .proc
                .run(job.env("GNUPGHOME", self.home.path()).deadline(Duration::from_secs(10)).ignore_interrupt());
        }
    }
}

/// Redacts the lines of an armored key from all output: gpg prints a line that it cannot parse.
fn redact_lines(armored: &str) {
    let body = armored.lines().map(str::trim).filter(|line| line.len() >= LINE && !line.starts_with('-'));
    body.for_each(hide);
}

/// Creates the key for Omni's store (no passphrase, an encryption subkey, no expiry) and checks it.
///
/// # Errors
/// [`Code::Prerequisite`] if gpg is not installed; otherwise gpg's own error.
pub fn create_store_key(cx: &Cx, user: &str) -> Result<Secret, Failure> {
    match new_store_key(cx, user) {
        // The agent exited while it was starting: `gpg: agent_genkey failed: End of file`, once in eight runs on a busy host.
        Err(failure) if failure.code == Code::Failed => new_store_key(cx, user),
        made => made,
    }
}

fn new_store_key(cx: &Cx, user: &str) -> Result<Secret, Failure> {
    let keyring = Keyring::new(cx)?;
    // Without `--batch --passphrase ''` gpg would ask for a passphrase; with loopback it cannot open a window either.
    let run = |purpose: &str, more: &[&str]| {
        let words = "--quiet --pinentry-mode loopback --passphrase";
        keyring.run(keyring.job(purpose, words, &[&[""][..], more].concat())?.deadline(MAKE))
    };
    let id = format!("Omni (etcd encryption) <{user}>");
    run("creating the key of Omni's store", &["--quick-generate-key", &id, "rsa4096", "cert", "never"])?;
    let fingerprint = keyring.fingerprint()?;
    run("creating its encryption subkey", &["--quick-add-key", &fingerprint, "rsa4096", "encr", "never"])?;
    let exported = run("exporting the key of Omni's store", &["--armor", "--export-secret-keys", &fingerprint])?;
    redact_lines(&exported.stdout);
    let armored = Secret::new(exported.stdout);
    check_store_key(cx, &armored)?;
    Ok(armored)
}

/// Checks that Omni can use the key: by its packets, and by decrypting without a passphrase.
///
/// # Errors
/// [`Code::Invalid`] with the reason if it cannot.
pub fn check_store_key(cx: &Cx, armored: &Secret) -> Result<(), Failure> {
    let now = clock::unix_seconds(SystemTime::now());
    store_key::check(armored.expose(), now)
        .map_err(|unfit| Failure::new(Code::Invalid, "Omni cannot use this key").cause(unfit.why).hint(unfit.fix))?;
    let keyring = Keyring::new(cx)?;
    let fingerprint = keyring.import(armored)?;
    keyring.check_decryption(&fingerprint)
}

/// Checks that the key opens one of a store's `slots`, which are PGP messages by name, and returns the name of that slot.
///
/// # Errors
/// [`Code::Invalid`] if no slot is for this key.
pub fn find_opened_slot<'s>(
    cx: &Cx,
    armored: &Secret,
    slots: impl IntoIterator<Item = (&'s String, &'s String)>,
) -> Result<&'s str, Failure> {
    let keyring = Keyring::new(cx)?;
    let own = format!("<{}>", keyring.import(armored)?.to_ascii_lowercase());
    let mut names = Vec::new();
    for (name, message) in slots {
        if name.to_ascii_lowercase().ends_with(&own) {
            keyring.decrypt("opening the store's key slot", message)?;
            return Ok(name);
        }
        names.push(name.as_str());
    }
    Err(Failure::new(Code::Invalid, "the key does not open Omni's store")
        .cause(format!("it is {own}; the store's key slots are for: {}", names.join(", "))))
}

/// The armored public key of a private key.
///
/// # Errors
/// Returns gpg's own error.
pub fn public_key(cx: &Cx, armored: &Secret) -> Result<String, Failure> {
    let keyring = Keyring::new(cx)?;
    let fingerprint = keyring.import(armored)?;
    Ok(keyring
        .run(keyring.job("exporting the public half", "--quiet --armor --export", &[fingerprint.as_str()])?)?
        .stdout)
}

/// The name of the key slot that Omni creates for a public key: its user ID and `<fingerprint>`.
///
/// # Errors
/// [`Code::Invalid`] for a key with which Omni would not start, or would not find its slot again.
pub fn slot_of_public_key(cx: &Cx, armored: &str) -> Result<String, Failure> {
    let keyring = Keyring::new(cx)?;
    let job = keyring.job("reading a public key", "--quiet --show-keys --with-colons", &[])?;
    let shown = keyring.run(job.stdin(armored))?.stdout;
    slot_name(&shown).map_err(|why| {
        Failure::new(Code::Invalid, "Omni cannot use this public key")
            .cause(why)
            .hint("docs/how-to/gpg-key-setup.md describes how to create one: `gpg --armor --export FINGERPRINT`")
    })
}

/// The slot name, from gpg's listing of a key (gnupg 2.2 `doc/DETAILS`). Of several user IDs Omni uses a random one at each
/// start (omni v1.10.4 `storage.go` `GetIdentityString` ranges over a map), and then does not find the slot.
fn slot_name(shown: &str) -> Result<String, &'static str> {
    let records: Vec<Vec<&str>> = shown.lines().map(|line| line.split(':').collect()).collect();
    let field = |record: &[&str], at: usize| record.get(at).copied().unwrap_or_default().to_owned();
    let of = |kind: &str| records.iter().filter(|record| record[0] == kind).collect::<Vec<_>>();
    let fresh = |record: &&&Vec<&str>| field(record, 6).is_empty() && !["r", "e", "i"].contains(&&*field(record, 1));
    let encrypts = |record: &&&Vec<&str>| fresh(record) && field(record, 11).contains('e');
    let ([primary], users) = (&*of("pub"), of("uid")) else {
        return Err(if of("sec").is_empty() { "it is not a single armored public key" } else { "it is a private key" });
    };
    if !fresh(&primary) || ![vec![*primary], of("sub")].concat().iter().any(|key| encrypts(&key)) {
        return Err("it has no encryption key, or the key has expired or is revoked");
    }
    let [user] = users.as_slice() else { return Err("it must have exactly one user ID: Omni may use any") };
    let print = of("fpr").first().map(|record| field(record, 9).to_ascii_lowercase()).unwrap_or_default();
    Ok(format!("{} <{print}>", field(user, 9)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn slot_is_named_for_keys_that_omni_can_use() {
        let print = "fpr:::::::::AB12:\n";
        let (primary, user, sub) =
            ("pub:-:255:22:A1:1:::-:::cE::::\n", "uid:-::::1::H::Omni <a@b>:\n", "sub:-:255:18:B2:1::::::e:\n");
        let whole = [primary, print, user, sub, "fpr:::::::::CD34:\n"].concat();
        assert_eq!(slot_name(&whole), Ok("Omni <a@b> <ab12>".to_owned()));
        for (from, to, why) in [
            ("pub:", "sec:", "it is a private key"),
            (primary, "", "it is not a single armored public key"),
            (user, "", "user ID"),
            (user, "uid:-::::1::H::A:\nuid:-::::1::I::B:\n", "user ID"),
            ("sub:-", "sub:r", "no encryption key"),
            ("B2:1::", "B2:1:99:", "no encryption key"),
            ("A1:1::", "A1:1:99:", "no encryption key"),
        ] {
            assert!(slot_name(&whole.replace(from, to)).unwrap_err().contains(why), "{from} {to}");
        }
    }

    #[test]
    #[allow(clippy::disallowed_macros)]
    fn store_key_is_created_and_leaves_no_files() {
        if which::which("gpg").is_err() {
            eprintln!("skipped: gpg is not installed");
            return;
        }
        let dir = TempDir::new().unwrap();
        let cx = Cx::for_tests(dir.path().to_owned());
        let key = create_store_key(&cx, "admin@example.com").unwrap();
        assert!(store_key::check(key.expose(), 1_795_316_645).is_ok());
        let body =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/pgp/passphrase.b64"));
        let locked =
            format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\n{}-----END PGP PRIVATE KEY BLOCK-----\n", body.unwrap());
        let failure = check_store_key(&cx, &Secret::plain(locked.clone())).unwrap_err();
        assert!(failure.cause.contains("passphrase"), "{failure}");
        // gpg reports the same as the packets.
        let keyring = Keyring::new(&cx).unwrap();
        let job = keyring.job("reading", "--quiet --pinentry-mode error --import", &[]).unwrap();
        let _ = keyring.run(job.stdin(locked));
        if let Ok(fingerprint) = keyring.fingerprint() {
            assert!(keyring.check_decryption(&fingerprint).is_err());
        }
        drop(keyring);
        let left = std::fs::read_dir(cx.paths.socket_root()).unwrap().flatten();
        assert_eq!(left.map(|entry| entry.file_name()).collect::<Vec<_>>(), ["lock"]);
    }
}
