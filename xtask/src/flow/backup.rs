//! A backup of the running Omni stack: its parts, and the archive that contains them.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::prelude::*;
use check::stack;
use domain::backup::{self, Manifest, Part};
use domain::clock;
use domain::releases::table;
use domain::secret::Secret;
use domain::status::docker::Container;
use domain::status::snapshot::{self, Store};
use domain::version;
use runtime::files::{self, Scratch};
use runtime::settings::further_providers;
use runtime::state::State;
use runtime::tool::archive::{self, Encryption};
use runtime::tool::compose::{Compose, OMNI, SIDECAR};
use runtime::tool::docker::Docker;
use runtime::tool::gpg;

use crate::flow::omni_stack::host_path;
use crate::flow::site;

/// The directory of Omni's SQLite database in its container.
pub const SQLITE_DIR: &str = "/_out/sqlite";
/// The address of the embedded etcd in the network that Omni shares with the sidecar. Anyone in that network can use it (omni
/// v1.9.3 `internal/pkg/config/schema.json`, storage.default.etcd.endpoints).
pub const ETCD_ENDPOINT: &str = "--endpoints=http://localhost:2379";
/// Maximum number of copies of the database until two of them agree.
const ROUNDS: usize = 20;

/// Seconds after which a backup is too old to roll back an upgrade.
const FRESH: u64 = 24 * 3600;

/// The file of the last backup that `omni-backup` recorded, and its time, in seconds since the Unix epoch.
pub fn last_backup(state: &State) -> Option<(String, u64)> {
    Some((state.get("last_backup")?, clock::parse_rfc3339(&state.get("last_backup_at")?)?))
}

/// Returns the last backup if it exists and is at most a day old.
///
/// # Errors
/// Returns why there is none.
pub fn recent_backup(cx: &Cx) -> Result<String, String> {
    let state = cx.reload_state().map_err(|failure| failure.message)?;
    let now = clock::unix_seconds(SystemTime::now());
    let Some((file, made)) = last_backup(&state) else { return Err("no backup is recorded".to_owned()) };
    match now.saturating_sub(made) {
        _ if !Path::new(&file).is_file() => Err(format!("the last backup, {file}, does not exist")),
        age if age > FRESH => Err(format!("the last backup, {file}, is {} hours old", age / 3600)),
        _ => Ok(file),
    }
}

/// The running stack to back up.
pub struct Source {
    containers: Vec<Container>,
    /// The image with the tools for Omni's etcd.
    image: String,
    /// The flags with which etcdctl reaches each member.
    etcd: Vec<Vec<String>>,
}

impl Source {
    /// Finds the stack, which must be running.
    ///
    /// # Errors
    /// Fails with [`Code::Prerequisite`] if Omni or its sidecar is not running.
    pub fn find(cx: &Cx, image: Option<&str>) -> Result<Source, Failure> {
        let containers = Compose::find(cx)?.containers()?;
        for service in [SIDECAR, OMNI] {
            let state = stack::service(&containers, service).map(|found| &*found.state);
            if state != Some("running") {
                let state = state.unwrap_or("has no container");
                return Err(Failure::new(Code::Prerequisite, format!("`{service}` is not running: {state}"))
                    .cause("the snapshot is taken from the running etcd inside Omni")
                    .next("cargo xtask stack-up"));
            }
        }
        let etcd = etcdctl_flags(&site::read(cx)?.unwrap_or_default());
        let omni = version_of(&containers, OMNI);
        Ok(Source { image: etcd_image(image, omni), etcd, containers })
    }

    fn container<'s>(&'s self, service: &'s str) -> &'s str {
        stack::service(&self.containers, service).map_or(service, |found| &found.name)
    }
}

/// The members of an external etcd in the settings.
pub fn external_etcd(settings: &str) -> Vec<String> {
    check::site::setting_texts(settings, &["storage", "default", "etcd", "endpoints"])
}

/// The etcdctl flags for each member of the etcd with Omni's store: the embedded one, or the external one.
fn etcdctl_flags(settings: &str) -> Vec<Vec<String>> {
    let file = |(flag, key)| {
        let found = check::site::setting_texts(settings, &["storage", "default", "etcd", key]);
        found.into_iter().map(move |file| format!("--{flag}={file}"))
    };
    let files: Vec<String> =
        [("cacert", "caFile"), ("cert", "certFile"), ("key", "keyFile")].into_iter().flat_map(file).collect();
    let flags = |endpoint| [vec![format!("--endpoints={endpoint}")], files.clone()].concat();
    let members: Vec<_> = external_etcd(settings).into_iter().map(flags).collect();
    if members.is_empty() { vec![vec![ETCD_ENDPOINT.to_owned()]] } else { members }
}

fn version_of<'c>(containers: &'c [Container], service: &str) -> Option<&'c str> {
    stack::tag(&stack::service(containers, service)?.image)
}

/// Returns `given`, or the image with the tools for the etcd in this Omni.
pub fn etcd_image(given: Option<&str>, omni: Option<&str>) -> String {
    let version = omni.and_then(|tag| version::parse(tag).ok()).unwrap_or_else(|| table().facts.omni.clone());
    given.map_or_else(|| table().etcd_image(&version), str::to_owned)
}

/// Writes the backup to `file`, encrypted to `recipients` if there are any. Returns a description of its contents.
///
/// # Errors
/// Returns an error for anything that cannot be read; then no file is written.
pub fn write_backup(cx: &Cx, source: &Source, recipients: &[String], file: &Path) -> Result<String, Failure> {
    let scratch = Scratch::new(&cx.paths.scratch_root(), "backup")?;
    let parts = scratch.path().join("parts");
    files::create_private_dir(&parts).map_err(|error| io_failure("create", &parts, &error))?;
    let encryption = Encryption::for_recipients(recipients)?;
    let manifest = collect_parts(cx, source, encryption.is_some(), &parts)?;
    cx.ui.show_waiting("writing the archive");
    files::create_with(file, |temp| match encryption {
        None => archive::pack(cx, &parts, temp),
        Some(encryption) => {
            let plain = scratch.path().join("backup.tar.gz");
            archive::pack(cx, &parts, &plain)?;
            encryption.encrypt_file(cx, recipients, &plain, temp)
        }
    })?;
    Ok(describe_contents(&manifest))
}

/// Describes what a backup contains.
pub fn describe_contents(manifest: &Manifest) -> String {
    let key = if manifest.parts.contains_key(backup::STORE_KEY) { "with" } else { "without" };
    let (clusters, machines) =
        (count(manifest.count("Clusters"), "cluster"), count(manifest.count("Machines"), "machine"));
    format!(
        "Omni {} with {clusters} and {machines}, {key} the store key",
        manifest.versions.get(OMNI).map_or("", |tag| tag)
    )
}

/// Collects all parts in `dir`, including the manifest.
fn collect_parts(cx: &Cx, source: &Source, with_key: bool, dir: &Path) -> Result<Manifest, Failure> {
    let made_at = clock::rfc3339(SystemTime::now());
    let docker = Docker::find(cx)?;
    cx.ui.show_waiting("saving a snapshot of etcd");
    let store = save_etcd(cx, source, dir)?;
    let env = &cx.settings.env_file;
    let account = env.get("OMNI_ACCOUNT_UUID").unwrap_or_default().to_owned();
    check_account(&store, &account)?;
    let key = Secret::new(copy_text(cx, &cx.paths.store_key(), with_key.then(|| dir.join(backup::STORE_KEY)))?);
    gpg::find_opened_slot(cx, &key, &store.slots)?;
    cx.ui.show_waiting("copying the SQLite database");
    copy_sqlite(&docker, source.container(OMNI), dir)?;
    cx.ui.show_waiting("copying configuration, certificates and the tailnet identity");
    let tailscale = dir.join("tailscale");
    files::create_private_dir(&tailscale).map_err(|error| io_failure("create", &tailscale, &error))?;
    docker.copy_out(source.container(SIDECAR), stack::TAILSCALE_STATE, &tailscale)?;
    for (from, name) in configuration(cx) {
        copy_text(cx, &from, Some(dir.join(name)))?;
    }
    let tags = source
        .containers
        .iter()
        .filter_map(|found| Some((found.service.clone(), stack::tag(&found.image)?.to_owned())));
    let manifest = Manifest {
        format: backup::FORMAT,
        made_at,
        versions: tags.collect(),
        account,
        key_slots: store.slots.into_keys().collect(),
        counts: store.kinds,
        parts: list_parts(dir)?,
    };
    if let Some(lacking) = manifest.differences(&manifest.parts, None).first() {
        return Err(Failure::new(Code::Failed, "the backup is not complete").cause(lacking.clone()));
    }
    let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    let file = dir.join(backup::MANIFEST);
    files::write_new(&file, &text, files::PRIVATE)?;
    files::write_new(&dir.join(backup::MANIFEST_SUM), sha256(&file)?.as_bytes(), files::PRIVATE)?;
    Ok(manifest)
}

/// Saves a snapshot of the running etcd in `dir`, and reads it.
///
/// # Errors
/// Fails with [`Code::Failed`] and etcd's output, or as [`read_store`].
pub fn save_etcd(cx: &Cx, source: &Source, dir: &Path) -> Result<Store, Failure> {
    let docker = Docker::find(cx)?;
    let network = format!("container:{}", source.container(SIDECAR));
    let to = format!("/backup/{}", backup::ETCD);
    let mut failed = Vec::new();
    for flags in &source.etcd {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let run = |words: &[&str]| {
            docker.run_etcd(&source.image, &network, dir, &[&["etcdctl"], flags.as_slice(), words].concat())
        };
        // `snapshot save` has no timeout of its own.
        let health = run(&["--command-timeout=10s", "endpoint", "health"])?;
        let ended = if health.is_success() { run(&["snapshot", "save", &to])? } else { health };
        if ended.is_success() {
            failed.clear();
            break;
        }
        failed.push(ended.failure().cause);
    }
    if !failed.is_empty() {
        return Err(Failure::new(Code::Failed, "Omni's etcd was not saved")
            .cause(failed.join("\n"))
            .next(format!("cargo xtask stack-logs {OMNI}")));
    }
    read_store(&dir.join(backup::ETCD))
        .map_err(|failure| failure.hint(format!("it was saved with {}", source.image)))
        .inspect(|store| {
            cx.ui.show_waiting(&format!("etcd has {}", count(store.accounts.values().sum::<u64>(), "key")))
        })
}

/// Reads a snapshot of etcd.
///
/// # Errors
/// Fails with [`Code::Invalid`] and what is wrong with it.
pub fn read_store(file: &Path) -> Result<Store, Failure> {
    let mut open = File::open(file).map_err(|error| io_failure("read", file, &error))?;
    snapshot::read(&mut open).map_err(|why| Failure::new(Code::Invalid, why))
}

/// Refuses a store that Omni would ignore: with another account, Omni starts with an empty one.
///
/// # Errors
/// Fails with [`Code::Conflict`] and the accounts in the store.
pub fn check_account(store: &Store, account: &str) -> Result<(), Failure> {
    if store.accounts.contains_key(account) {
        return Ok(());
    }
    let found: Vec<&str> = store.accounts.keys().map(String::as_str).collect();
    Err(Failure::new(Code::Conflict, format!("the store has no data of the account {account:?}"))
        .cause(format!("this is OMNI_ACCOUNT_UUID in docker/.env; the store has: {}", found.join(", ")))
        .hint("Omni runs, or would run, with an empty store: set OMNI_ACCOUNT_UUID in docker/.env to the account that the store has"))
}

/// Copies SQLite's files while Omni runs, repeatedly, until two copies show that the first one is consistent: between them the
/// database itself did not change, and its write-ahead log only grew. At the moment between the two copies, the files were thus
/// identical to the first copy, as after a power cut, from which SQLite recovers (sqlite.org/wal.html; omni v1.9.3
/// `internal/pkg/config`: `journal_mode(WAL)`).
fn copy_sqlite(docker: &Docker<'_>, container: &str, dir: &Path) -> Result<(), Failure> {
    let copy = |round: usize| {
        let to = dir.with_file_name(format!("sqlite-{round}"));
        files::create_private_dir(&to).map_err(|error| io_failure("create", &to, &error))?;
        // `docker cp` fails if a file shrinks or disappears meanwhile; the next copy may succeed.
        match docker.copy_out(container, SQLITE_DIR, &to) {
            Err(failure) if failure.code == Code::Interrupted => Err(failure),
            _ => Ok(to),
        }
    };
    let mut before = copy(0)?;
    for round in 1..=ROUNDS {
        let next = copy(round)?;
        if is_consistent(&before, &next).unwrap_or(false) {
            let (shm, place) = (before.join("omni.db-shm"), dir.join("sqlite"));
            // The index of the log is rebuilt, and is of no use elsewhere.
            let kept = if shm.exists() { std::fs::remove_file(shm) } else { Ok(()) };
            return kept
                .and_then(|()| std::fs::rename(&before, &place))
                .map_err(|error| io_failure("create", &place, &error));
        }
        std::fs::remove_dir_all(&before).map_err(|error| io_failure("remove", &before, &error))?;
        before = next;
    }
    Err(Failure::new(Code::Failed, "Omni's SQLite database was not copied")
        .cause(format!("it changed during each of {ROUNDS} copies, or `docker cp` failed"))
        .hint("run it again when Omni is less busy"))
}

fn is_consistent(before: &Path, next: &Path) -> std::io::Result<bool> {
    let [old, new] = [before, next].map(|dir| dir.join("omni.db"));
    if before.join("omni.db-journal").exists() || !files::starts_with_file(&new, &old, true)? {
        return Ok(false);
    }
    let [old, new] = [before, next].map(|dir| dir.join("omni.db-wal"));
    Ok(!old.exists() || (truncate_log(&old).and_then(|()| files::starts_with_file(&new, &old, false)))?)
}

/// Truncates the log to the frames that SQLite wrote since it last restarted it: those with the salt of the header. The frames
/// behind them are older, and are overwritten from the front (sqlite.org/fileformat2.html#the_write_ahead_log).
fn truncate_log(log: &Path) -> std::io::Result<()> {
    let file = File::options().read(true).write(true).open(log)?;
    let (mut header, mut frame) = ([0; 32], [0; 24]);
    let mut end = file.metadata()?.len().min(32);
    if file.read_exact_at(&mut header, 0).is_ok() {
        let page = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        while file.read_exact_at(&mut frame, end).is_ok() && frame[8..16] == header[16..24] {
            end += 24 + u64::from(page);
        }
    }
    file.set_len(end.min(file.metadata()?.len()))
}

/// The files of the project and those named in `docker/.env`, with their paths in the archive.
fn configuration(cx: &Cx) -> Vec<(PathBuf, String)> {
    let named = |key: &str| cx.settings.env_file.get(key).map(|path| host_path(cx, path));
    let there = cx.paths.config().is_file().then(|| cx.paths.config());
    let found = [
        (Some(cx.paths.env()), backup::ENV),
        (Some(cx.paths.compose()), backup::COMPOSE),
        (there, backup::CONFIG),
        (site::path(cx), backup::SITE),
        (named("OMNI_TLS_CERT"), backup::TLS_CERT),
        (named("OMNI_TLS_KEY"), backup::TLS_KEY),
        (named("PROVIDER_CA_FILE"), backup::CA),
    ];
    let files = [(cx.paths.site_files(), backup::SITE_FILES), (cx.paths.providers(), backup::PROVIDERS)];
    let files = files.into_iter().flat_map(|(dir, place)| {
        let names = files::list_files(&dir).unwrap_or_default().into_iter().map(|(name, _)| name);
        let hidden = |name: &std::ffi::OsStr| name != ".env" && name.to_string_lossy().starts_with('.');
        let names = names.filter(move |name| !name.file_name().is_some_and(hidden));
        names.map(move |name| (dir.join(&name), format!("{place}/{}", name.display())))
    });
    let ca = further_providers(&cx.paths, &cx.settings.env_file).into_iter().filter_map(|id| {
        let of = cx.for_provider(&id).ok()?;
        let path = host_path(cx, of.settings.env_file.get("PROVIDER_CA_FILE")?);
        Some((path, format!("{}/{id}.pem", backup::PROVIDER_CAS)))
    });
    let found = found.into_iter().filter_map(|(path, name)| Some((path?, name.to_owned())));
    found.chain(files).chain(ca).collect()
}

/// Reads a required file, and copies it to `to`, readable only by this user.
fn copy_text(cx: &Cx, from: &Path, to: Option<PathBuf>) -> Result<String, Failure> {
    let bytes = cx.read(from, "it is part of the backup: restore it, or correct its path in docker/.env")?;
    if let Some(to) = to {
        to.parent().map_or(Ok(()), files::create_private_dir).map_err(|error| io_failure("create", &to, &error))?;
        files::write_new(&to, &bytes, files::PRIVATE)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the files below `dir`, with their checksums.
///
/// # Errors
/// Fails with [`Code::Invalid`] for anything that is not a file.
pub fn list_parts(dir: &Path) -> Result<BTreeMap<String, Part>, Failure> {
    let part = |(name, size): (PathBuf, Option<u64>)| {
        let odd = || Failure::new(Code::Invalid, format!("`{}` is not a regular file", name.display()));
        let bytes = size.ok_or_else(odd)?;
        Ok((name.to_string_lossy().into_owned(), Part { sha256: sha256(&dir.join(&name))?, bytes }))
    };
    files::list_files(dir).map_err(|error| io_failure("read", dir, &error))?.into_iter().map(part).collect()
}

fn sha256(file: &Path) -> Result<String, Failure> {
    archive::sha256(file).map_err(|error| io_failure("read", file, &error))
}

pub fn io_failure(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::Failed, format!("cannot {what} `{}`", path.display()))
        .cause(error.to_string())
        .hint(files::io_hint(path, error))
}
