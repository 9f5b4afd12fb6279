//! Opens a backup archive and checks it: that it is complete, that its store is readable and matches the manifest, that a key
//! opens the store, and that etcd and SQLite accept their parts.

use std::path::{Path, PathBuf};

use xshell::cmd;

use crate::flow::backup;
use crate::prelude::*;
use domain::backup::{ETCD, MANIFEST, MANIFEST_SUM, Manifest, SQLITE, STORE_KEY};
use domain::secret::Secret;
use domain::status::snapshot::Store;
use runtime::files::{self, Scratch};
use runtime::proc::{self, Job};
use runtime::tool::archive::{self, Encryption};
use runtime::tool::docker::Docker;
use runtime::tool::gpg;

/// The private key that opens an archive, and the image with the programs that check it.
pub struct VerifyOptions<'a> {
    /// The age private key.
    pub identity: Option<&'a Path>,
    /// The image with the etcd tools.
    pub image: Option<&'a str>,
}

/// A backup, unpacked in a directory that is removed when this value is dropped.
pub struct OpenedBackup {
    pub scratch: Scratch,
    pub manifest: Manifest,
    store: Store,
}

impl OpenedBackup {
    /// The path of a part.
    pub fn part(&self, name: &str) -> PathBuf {
        self.scratch.path().join("parts").join(name)
    }

    /// The directory that contains a part.
    pub fn dir_of(&self, name: &str) -> PathBuf {
        self.part(name).parent().map(Path::to_owned).unwrap_or_default()
    }

    /// The version of Omni that the backup was made from.
    pub fn version(&self) -> Option<&str> {
        self.manifest.versions.get("omni").map(String::as_str)
    }

    pub fn has(&self, name: &str) -> bool {
        self.manifest.parts.contains_key(name)
    }

    /// The data directory for Omni's etcd, once [`OpenedBackup::check_restore`] has created it.
    pub fn etcd(&self) -> PathBuf {
        self.scratch.path().join("etcd")
    }

    /// Opens `file`, and checks its parts and its store.
    ///
    /// # Errors
    /// Fails with [`Code::Invalid`] and everything that is missing or changed.
    pub fn open(cx: &Cx, file: &Path, means: &VerifyOptions<'_>) -> anyhow::Result<OpenedBackup> {
        let scratch = cx.ui.step("open", format!("Open {}", file.display()), || {
            let scratch = Scratch::new(&cx.paths.scratch_root(), "restore")?;
            unpack(cx, file, means.identity, scratch.path())?;
            Ok(StepResult::ok(scratch, "unpacked in a private directory"))
        })?;
        let parts = scratch.path().join("parts");
        let manifest = cx.ui.step("parts", "Check that the backup is complete and unchanged", || {
            let manifest = check_parts(&parts)?;
            let detail = format!("{}, made at {}", count(manifest.parts.len(), "part"), manifest.made_at);
            Ok(StepResult::ok(manifest, detail))
        })?;
        let store = cx.ui.step("store", "Check that the store matches the manifest", || {
            let store = backup::read_store(&parts.join(ETCD))?;
            check_store(&manifest, &store)?;
            Ok(StepResult::ok(store, backup::describe_contents(&manifest)))
        })?;
        Ok(OpenedBackup { scratch, manifest, store })
    }

    /// Checks that the key in the archive, or else the one at `file`, opens the store.
    ///
    /// # Errors
    /// As [`gpg::find_opened_slot`].
    pub fn check_key(&self, cx: &Cx, file: &Path) -> anyhow::Result<()> {
        let (file, shown) = match self.has(STORE_KEY) {
            true => (self.part(STORE_KEY), "the key in the archive".to_owned()),
            false => (file.to_owned(), cx.paths.show(file)),
        };
        cx.ui.step("key", "Check that a key opens the store", || {
            let Some(text) = files::read_optional_text(&file)? else {
                let detail = format!("not checked: the archive has no key, and {shown} does not exist");
                return Ok(StepResult::warning((), detail));
            };
            let slot = gpg::find_opened_slot(cx, &Secret::new(text), &self.store.slots)?;
            Ok(StepResult::ok((), format!("{shown}, {slot}")))
        })
    }

    /// Runs SQLite's integrity check on the database, which also applies the write-ahead log.
    ///
    /// # Errors
    /// Fails with [`Code::Invalid`] and SQLite's output.
    pub fn check_sqlite(&self, cx: &Cx) -> anyhow::Result<()> {
        cx.ui.step("sqlite", "Check the SQLite database", || {
            let Ok(sqlite) = which::which("sqlite3") else {
                let detail = "not checked: sqlite3 is not installed; `apt-get install sqlite3`";
                return Ok(StepResult::warning((), detail));
            };
            let (shell, file) = (proc::shell()?, self.part(SQLITE));
            let job = Job::new("checking the SQLite database", cmd!(shell, "{sqlite} {file} 'PRAGMA integrity_check'"));
            let ended = cx.proc.run(job.deadline(cx.wait_limit(proc::DEADLINE * 10)))?;
            if ended.is_success() && ended.stdout.trim() == "ok" {
                return Ok(StepResult::ok((), "integrity_check: ok"));
            }
            let said = format!("{}{}", ended.stdout, ended.stderr);
            Err(Failure::new(Code::Invalid, "the SQLite database is damaged").cause(said.trim().to_owned()).into())
        })
    }

    /// Restores the snapshot into a data directory with etcd's own program.
    ///
    /// # Errors
    /// Fails with [`Code::Invalid`] if etcd rejects it.
    pub fn check_restore(&self, cx: &Cx, means: &VerifyOptions<'_>) -> anyhow::Result<()> {
        let image = backup::etcd_image(means.image, self.version());
        cx.ui.step("restore", "Check that etcd restores its snapshot", || {
            let docker = Docker::find(cx)?;
            let (from, dir) = (format!("/backup/parts/{ETCD}"), self.scratch.path());
            let run = |program: &str| {
                let words = [program, "snapshot", "restore", &from, "--data-dir", "/backup/etcd"];
                docker.run_etcd(&image, "none", dir, &words)
            };
            let mut ended = run("etcdutl")?;
            // Before 3.5, etcdctl does it. The error is printed by the container's init (tini of docker 20.10).
            if ended.stderr.contains("executable file not found") || ended.stderr.contains("exec etcdutl failed") {
                ended = run("etcdctl")?;
            }
            if ended.is_success() && self.etcd().join("member").is_dir() {
                return Ok(StepResult::ok((), format!("with {image}")));
            }
            Err(Failure::new(Code::Invalid, "etcd does not restore the snapshot").cause(ended.failure().cause).into())
        })
    }
}

/// Decrypts and unpacks `file` into `dir/parts`.
fn unpack(cx: &Cx, file: &Path, identity: Option<&Path>, dir: &Path) -> Result<(), Failure> {
    if !file.is_file() {
        return Err(Failure::new(Code::NotFound, format!("`{}` is not a file", file.display()))
            .hint("specify the archive that `cargo xtask omni-backup` wrote"));
    }
    let parts = dir.join("parts");
    files::create_private_dir(&parts).map_err(|error| backup::io_failure("create", &parts, &error))?;
    let named = |failure: Failure| Failure { message: format!("`{}`: {}", file.display(), failure.message), ..failure };
    let Some(encryption) = Encryption::for_file(file) else { return archive::unpack(cx, file, &parts).map_err(named) };
    let plain = dir.join("backup.tar.gz");
    encryption.decrypt_file(cx, identity, file, &plain)?;
    archive::unpack(cx, &plain, &parts).map_err(named)
}

/// Returns the manifest if every part matches it.
fn check_parts(parts: &Path) -> Result<Manifest, Failure> {
    let refuse = |why: String| {
        Failure::new(Code::Invalid, "the backup is incomplete")
            .cause(why)
            .hint("use another backup; this one cannot be trusted")
    };
    let text = files::read_optional(&parts.join(MANIFEST))?.ok_or_else(|| refuse(format!("{MANIFEST} is missing")))?;
    let manifest = Manifest::parse(&text).map_err(refuse)?;
    let sum = files::read_optional_text(&parts.join(MANIFEST_SUM))?;
    let differences = manifest.differences(&backup::list_parts(parts)?, sum.as_deref());
    if differences.is_empty() { Ok(manifest) } else { Err(refuse(differences.join("\n"))) }
}

/// Refuses a store that does not match the manifest.
fn check_store(manifest: &Manifest, store: &Store) -> Result<(), Failure> {
    backup::check_account(store, &manifest.account)?;
    let slots = store.slots.keys().cloned().collect();
    if store.kinds == manifest.counts && manifest.key_slots == slots && !manifest.key_slots.is_empty() {
        return Ok(());
    }
    let said = |counts: &dyn std::fmt::Debug| format!("{counts:?}");
    Err(Failure::new(Code::Invalid, "the store does not match the manifest").cause(format!(
        "the manifest counts {}, the store has {}",
        said(&(&manifest.counts, &manifest.key_slots)),
        said(&(&store.kinds, &slots))
    )))
}
