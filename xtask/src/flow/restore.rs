//! Restores a backup on a new host: the checks that the host is empty, the files, the volumes, and the start.

use std::path::{Component, Path, PathBuf};

use crate::flow::backup::{self, SQLITE_DIR, io_failure};
use crate::flow::backup_check::OpenedBackup;
use crate::flow::omni_checks;
use crate::flow::omni_stack::{self, OmniAddress, host_path};
use crate::prelude::*;
use check::stack;
use domain::backup::{
    CA, CONFIG, ENV, ETCD, PROVIDER_CAS, PROVIDERS, SITE, SITE_FILES, SQLITE, STORE_KEY, TAILSCALE, TLS_CERT, TLS_KEY,
};
use domain::spec::env::EnvFile;
use runtime::files;
use runtime::proc;
use runtime::settings::Settings;
use runtime::tool::compose::{Compose, OMNI, SIDECAR};
use runtime::tool::docker::Docker;
use runtime::tool::omni;

/// The volumes of the stack (docker/compose.yaml), whose contents a restore replaces.
pub const VOLUMES: [&str; 3] = ["omni-scale_omni-etcd", "omni-scale_omni-sqlite", "omni-scale_ts-state"];
/// The data directory of the embedded etcd (docker/compose.yaml).
pub const ETCD_DIR: &str = "/_out/etcd";

/// A file to create, with its content.
struct RestoredFile {
    path: PathBuf,
    bytes: Vec<u8>,
    /// A file that this host already has takes precedence, such as a newer certificate.
    kept: bool,
}

/// A restore, ready to be checked and planned.
pub struct Restore<'a> {
    opened: &'a OpenedBackup,
    env: EnvFile,
    to_write: Vec<RestoredFile>,
}

impl<'a> Restore<'a> {
    /// Reads the configuration from the archive; `lan` replaces its LAN address.
    ///
    /// # Errors
    /// Fails with [`Code::Invalid`] if the configuration cannot be parsed.
    pub fn new(cx: &Cx, opened: &'a OpenedBackup, lan: Option<&str>) -> Result<Restore<'a>, Failure> {
        let text = files::read_optional_text(&opened.part(ENV))?.unwrap_or_default();
        let mut env = EnvFile::parse(ENV, &text)?;
        if let Some(lan) = lan {
            env.set("OMNI_LAN_ADDRESS", lan);
        }
        let mut to_write =
            vec![RestoredFile { path: cx.paths.env(), bytes: env.text().as_bytes().to_vec(), kept: false }];
        let named = |key: &str| env.get(key).map(|path| host_path(cx, path));
        for (name, path, kept) in [
            (STORE_KEY, Some(cx.paths.store_key()), false),
            (CONFIG, Some(cx.paths.config()), false),
            (TLS_CERT, named("OMNI_TLS_CERT"), true),
            (TLS_KEY, named("OMNI_TLS_KEY"), true),
            (CA, named("PROVIDER_CA_FILE"), true),
            (SITE, Some(named("OMNI_SITE_FILE").unwrap_or_else(|| cx.paths.site())), false),
        ]
        .into_iter()
        .chain(opened.manifest.parts.keys().filter_map(|name| {
            if let Some(id) = name.strip_prefix(PROVIDER_CAS) {
                let part = format!("{PROVIDERS}{}/.env", id.strip_suffix(".pem")?);
                let text = files::read_optional_text(&opened.part(&part)).ok()??;
                let own = EnvFile::parse(&part, &text).ok()?;
                return Some((name.as_str(), Some(host_path(cx, own.get("INFRA_PROVIDER_CA_FILE")?)), true));
            }
            let places = [(SITE_FILES, cx.paths.site_files()), (PROVIDERS, cx.paths.providers())];
            let (file, dir) = places.into_iter().find_map(|(place, dir)| Some((name.strip_prefix(place)?, dir)))?;
            let file = Path::new(file.strip_prefix('/')?);
            let inside = file.components().all(|part| matches!(part, Component::Normal(_)));
            inside.then_some((name.as_str(), Some(dir.join(file)), false))
        })) {
            if let Some((path, bytes)) = path.zip(files::read_optional(&opened.part(name))?) {
                to_write.push(RestoredFile { path, bytes, kept });
            }
        }
        Ok(Restore { opened, env, to_write })
    }

    /// Refuses to restore if the Omni version differs, if a stack, data or files already exist here, if the store key is missing,
    /// or if an Omni still runs elsewhere.
    ///
    /// # Errors
    /// Returns the first reason that was found.
    pub fn check(&self, cx: &Cx) -> anyhow::Result<()> {
        cx.ui.step("version", "Check that docker/compose.yaml pins the Omni version of the backup", || {
            let pinned = omni_stack::pinned_version(cx).unwrap_or_default();
            let made = self.opened.manifest.versions.get(OMNI).map_or("", String::as_str);
            if self.opened.manifest.can_be_opened_by(&pinned) {
                return Ok(StepResult::ok((), format!("{made} → {pinned}")));
            }
            let cause = "another minor version would migrate this store or fail to read it";
            let what = format!("the backup was made by Omni {made}, but docker/compose.yaml pins {pinned}");
            Err(Failure::new(Code::Conflict, what)
                .cause(cause)
                .hint(format!("set Omni's tag in docker/compose.yaml to {made}, restore, and upgrade afterwards"))
                .next("cargo xtask upgrade-plan")
                .into())
        })?;
        cx.ui.step("empty", "Check that this host has no stack and no stack data", || {
            if self.is_filled(cx) {
                return Ok(StepResult::ok((), "only what an interrupted restore of this backup left"));
            }
            refuse_existing_stack(cx)?;
            Ok(StepResult::ok((), "neither containers nor volumes"))
        })?;
        cx.ui.step("files", "Check that the files can be created", || self.check_files(cx))?;
        if let Some(etcd) = self.external_etcd().first() {
            let detail = format!(
                "if {etcd} is lost too, first restore etcd.db of this backup there: Omni would start an empty store"
            );
            cx.ui.note("etcd", "Omni's store is in an external etcd", Status::Warning, detail);
        }
        cx.ui.step("alone", "Check that no Omni answers at its address", || self.alone(cx))
    }

    /// Returns the members of an external etcd that has the store; empty if etcd runs inside Omni.
    fn external_etcd(&self) -> Vec<String> {
        let settings = files::read_optional_text(&self.opened.part(SITE)).ok().flatten();
        backup::external_etcd(&settings.unwrap_or_default())
    }

    fn check_files(&self, cx: &Cx) -> anyhow::Result<StepResult<()>> {
        let key = cx.paths.store_key();
        if !self.opened.has(STORE_KEY) && !key.is_file() {
            let what = "the backup has no store key, and docker/omni.asc does not exist";
            return Err(Failure::new(Code::Prerequisite, what)
                .cause("no other key opens the store")
                .hint("put your copy of the key at docker/omni.asc, mode 0600, and run this again")
                .into());
        }
        let mut kept = Vec::new();
        for file in &self.to_write {
            match files::read_optional(&file.path)? {
                Some(bytes) if bytes == file.bytes => {}
                Some(_) if file.kept => kept.push(cx.paths.show(&file.path)),
                Some(_) => {
                    let shown = cx.paths.show(&file.path);
                    return Err(Failure::new(Code::Conflict, format!("`{shown}` exists and differs from the backup"))
                        .cause("a restore is for a new host and a fresh clone")
                        .hint(format!("move it away: `mv {0} {0}.old`", runtime::paths::path_to_paste(&file.path)))
                        .into());
                }
                None => {}
            }
        }
        let new: Vec<PathBuf> = self.new_files().map(|file| file.path.clone()).collect();
        cx.check_writable(&new)?;
        let kept =
            if kept.is_empty() { String::new() } else { format!("; kept as they are here: {}", kept.join(", ")) };
        Ok(StepResult::ok((), format!("{} new{kept}", new.len())))
    }

    fn new_files(&self) -> impl Iterator<Item = &RestoredFile> {
        self.to_write.iter().filter(|file| !file.path.is_file())
    }

    /// The address of the restored Omni.
    fn address(&self, cx: &Cx) -> OmniAddress {
        let ca = self.env.get("PROVIDER_CA_FILE").map(|path| host_path(cx, path).display().to_string());
        OmniAddress {
            endpoint: format!("https://{}", self.env.get("OMNI_DOMAIN").unwrap_or_default()),
            connect: self.env.get("OMNI_LAN_ADDRESS").map(str::to_owned),
            ca_file: ca.filter(|path| Path::new(path).is_file()),
        }
    }

    /// Checks that no Omni is running: two with one identity would take each other's machines and tailnet name.
    fn alone(&self, cx: &Cx) -> anyhow::Result<StepResult<()>> {
        let at = self.address(cx);
        if self.is_filled(cx) {
            return Ok(StepResult::skipped((), "it may be the Omni that an interrupted restore started here"));
        }
        for connect in [at.connect.as_deref(), None] {
            match omni::check_health_at(cx, &at.endpoint, at.ca_file.as_deref(), connect) {
                Ok(()) => {
                    let place =
                        connect.map_or_else(|| at.endpoint.clone(), |address| format!("{} at {address}", at.endpoint));
                    return Err(Failure::new(Code::Conflict, format!("another Omni answers at {place}"))
                        .cause("two Omnis with one identity take each other's machines and tailnet name")
                        .hint("stop the old stack permanently: on its host, `cargo xtask stack-down`; then run this again")
                        .into());
                }
                Err(failure) if failure.code == Code::Interrupted => return Err(failure.into()),
                Err(_) => {}
            }
        }
        Ok(StepResult::ok((), at.words()))
    }

    /// Returns the changes: the files, then the volumes, then the start.
    pub fn plan(&'a self, cx: &Cx) -> Plan<'a> {
        let mut plan = Plan::default();
        for file in self.new_files() {
            let effect = "from the backup, for this user only";
            plan.push(Change::new("create", cx.paths.show(&file.path), effect, "remove it", |_| {
                let dir = file.path.parent().unwrap_or(Path::new("."));
                std::fs::create_dir_all(dir).map_err(|error| io_failure("create", dir, &error))?;
                files::write_new(&file.path, &file.bytes, files::PRIVATE)?;
                Ok("written".to_owned())
            }));
        }
        let undo = format!("docker compose -p omni-scale down; docker volume rm {}", VOLUMES.join(" "));
        let effect = "volumes with etcd, SQLite and the tailnet identity of the backup";
        plan.push(Change::new("restore", "Omni's data", effect, undo, |cx| self.fill_volumes(cx)));
        let provider = self.env.get("OMNI_INFRA_PROVIDER_KEY").is_some() && self.opened.has(CONFIG);
        let at = self.address(cx);
        let start = omni_stack::start(provider, false, "Omni runs with the restored store".to_owned());
        plan.push(start.with_verification(move |cx| {
            omni_stack::verify(cx, provider, Some(&at))?;
            check_restored_store(cx)?;
            let verified = omni_checks::verify(&Cx { settings: Settings::load(&cx.paths)?, ..cx.clone() });
            // The restore is complete, whatever the checks found.
            if !proc::is_interrupted() {
                let note = cx.paths.restore_marker();
                std::fs::remove_file(&note).map_err(|error| io_failure("remove", &note, &error))?;
            }
            verified.map(drop)
        }));
        plan
    }

    /// Returns true if the volumes have the data of this backup: the note is empty until they are filled, then names its store.
    fn is_filled(&self, cx: &Cx) -> bool {
        let store = self.opened.manifest.parts.get(ETCD).map(|part| part.sha256.clone());
        files::read_optional_text(&cx.paths.restore_marker()).ok().flatten().is_some_and(|noted| Some(noted) == store)
    }

    /// Creates the volumes and fills them, unless an interrupted run has done so.
    fn fill_volumes(&self, cx: &Cx) -> anyhow::Result<String> {
        if self.is_filled(cx) {
            return Ok("filled by an interrupted run".to_owned());
        }
        let note = cx.paths.restore_marker();
        files::write_atomically(&note, b"", files::PRIVATE)?;
        let (docker, places) = (Docker::find(cx)?, create_volumes(cx)?);
        let dirs = [self.opened.etcd(), self.opened.dir_of(SQLITE), self.opened.dir_of(TAILSCALE)];
        let external = usize::from(!self.external_etcd().is_empty());
        for (dir, (container, to)) in dirs.iter().zip(&places).skip(external) {
            docker.copy_in(dir, container, to)?;
        }
        let store = self.opened.manifest.parts.get(ETCD).map_or("", |part| &part.sha256);
        files::write_atomically(&note, store.as_bytes(), files::PRIVATE)?;
        Ok(format!("{} on their volumes", [ETCD_DIR, SQLITE_DIR, stack::TAILSCALE_STATE].join(", ")))
    }
}

/// Creates the containers with their volumes. Returns the containers and paths of etcd, SQLite and the tailnet identity.
pub fn create_volumes(cx: &Cx) -> Result<[(String, &'static str); 3], Failure> {
    let compose = Compose::find(cx)?;
    compose.create()?;
    let containers = compose.containers()?;
    let name = |service: &str| stack::service(&containers, service).map(|found| found.name.clone());
    let place = |service, path| (name(service).unwrap_or_default(), path);
    Ok([place(OMNI, ETCD_DIR), place(OMNI, SQLITE_DIR), place(SIDECAR, stack::TAILSCALE_STATE)])
}

/// Refuses containers and volumes that already exist, unless they are from a restore that was interrupted before it had filled
/// them: no Omni ever ran on those.
fn refuse_existing_stack(cx: &Cx) -> Result<(), Failure> {
    let (compose, docker) = (Compose::find(cx)?, Docker::find(cx)?);
    let containers = compose.containers()?;
    let unfinished =
        cx.paths.restore_marker().is_file() && containers.iter().all(|container| container.state == "created");
    if unfinished {
        return Ok(());
    }
    if let Some(container) = containers.first() {
        return Err(Failure::new(Code::Conflict, format!("this host already has a stack: {}", container.name))
            .cause("a restore is for a new host: it would replace Omni's data")
            .hint("if this is the new host, remove the stack that was tried here: `cargo xtask stack-down`"));
    }
    for volume in VOLUMES {
        if docker.has_volume(volume)? {
            return Err(Failure::new(Code::Conflict, format!("the volume `{volume}` exists"))
                .cause("it contains the data of an Omni, which a restore would replace")
                .hint(format!(
                    "restore on another host; or, if nothing on it is needed, remove it: `docker volume rm {volume}`"
                )));
        }
    }
    Ok(())
}

/// Checks that Omni uses the restored store: with another account it creates an empty one and is healthy all the same.
fn check_restored_store(cx: &Cx) -> anyhow::Result<()> {
    if omni_stack::empty_store_time(cx)?.is_none() {
        return Ok(());
    }
    Err(Failure::new(Code::Failed, "Omni did not use the restored store")
        .cause("its log says `initializing new key store`")
        .hint("stop it (`cargo xtask stack-down`) and compare OMNI_ACCOUNT_UUID in docker/.env with the account of the backup")
        .next(format!("cargo xtask stack-logs {OMNI}"))
        .into())
}
