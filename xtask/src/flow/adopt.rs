//! Takes over an Omni that other compose files started: copies its data into this project's volumes, and keeps its name, account,
//! key and version. The old containers and volumes stay unchanged, for the way back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cli::OmniAdopt;
use crate::flow::backup::{io_failure, list_parts, read_store};
use crate::flow::omni_inputs::{OmniInputs, gather};
use crate::flow::project_files::{self, CheckedFile};
use crate::flow::restore::{ETCD_DIR, VOLUMES, create_volumes};
use crate::flow::{backup, omni_checks, omni_stack, omni_upgrade};
use crate::prelude::*;
use check::adopt::{Existing, existing};
use check::diagnosis::State;
use check::stack;
use domain::secret::Secret;
use domain::spec::env::EnvFile;
use domain::status::docker::{ContainerDetails, INSPECT, INSPECT_FOREIGN, ListedContainer};
use domain::status::snapshot::Store;
use domain::version;
use runtime::files::{self, Scratch};
use runtime::paths::path_to_paste;
use runtime::tool::compose::{Compose, OMNI};
use runtime::tool::docker::{Docker, QUICK};
use runtime::tool::gpg;

/// Time limit for stopping an Omni with machines, or starting one whose sidecar has to log in first.
const STOP_LIMIT: Duration = Duration::from_secs(180);
/// Resource types whose counts must not decrease. Omni creates and removes resources of other types by itself.
const KEPT_TYPES: [(&str, &str); 4] =
    [("Clusters", "cluster"), ("Machines", "machine"), ("MachineClasses", "machine class"), ("Users", "user")];
const OLD_STACK: &str =
    "Omni is unavailable until the new stack runs; running clusters are not affected; containers and volumes are kept";

/// The record of an adoption, kept from before its first change until it is undone.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Note {
    pub domain: String,
    /// The containers of the old stack, Omni first: name, compose project and restart policy.
    containers: Vec<(String, String, String)>,
    /// The files that were created.
    files: Vec<PathBuf>,
    /// The image of Omni in docker/compose.yaml, before and after.
    images: (String, String),
    /// Whether the volumes contain all of the data.
    filled: bool,
}

impl Note {
    /// # Errors
    /// Returns an error if the note cannot be read or is damaged.
    pub fn read(cx: &Cx) -> Result<Option<Note>, Failure> {
        let path = cx.paths.adoption_record();
        let Some(text) = files::read_optional(&path)? else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            let what = format!("`{}`, omni-adopt's record of its changes, is damaged", path.display());
            Failure::new(Code::Invalid, what).cause(error.to_string()).hint(format!(
                "the old containers and volumes are kept: `cargo xtask stack-down`, then `docker compose start` next to the old \
                 compose file; then remove the record: `rm {}`",
                path_to_paste(&path)
            ))
        })
    }

    /// Checks that the note is about this Omni. Volumes that have been removed since must be filled again.
    fn of(self, cx: &Cx, omni: &ListedContainer) -> Result<Note, Failure> {
        match self.containers.first() {
            Some((name, project, _)) if (name, project) == (&omni.name, &omni.project) => {
                let filled = self.filled && Docker::find(cx)?.has_volume(VOLUMES[0])?;
                Ok(Note { filled, ..self })
            }
            other => Err(Failure::new(Code::Conflict, "another Omni was taken over from this checkout")
                .cause(format!(
                    "the record is for `{}`, but this Omni is {}",
                    other.map_or("", |(name, ..)| name),
                    omni.describe()
                ))
                .next("cargo xtask omni-adopt --undo")),
        }
    }

    fn write(&self, cx: &Cx) -> Result<(), Failure> {
        let text = serde_json::to_vec(self).unwrap_or_default();
        files::write_atomically(&cx.paths.adoption_record(), &text, files::PRIVATE)
    }
}

/// The containers of the old stack, Omni first.
type Containers = Vec<(ListedContainer, ContainerDetails)>;

/// The Omni to take over, and everything needed for that.
pub struct Adoption {
    containers: Containers,
    existing: Existing,
    pub inputs: OmniInputs,
    example: EnvFile,
    version: String,
    pub store: Store,
    secrets: Vec<(PathBuf, &'static str, Secret)>,
    compose: CheckedFile,
    /// The note of an earlier run, or the one to write when this run begins.
    note: Note,
}

/// Finds the only Omni of other compose files, with its sidecar and its provider.
fn find(cx: &Cx, from: Option<&Path>) -> anyhow::Result<StepResult<Containers>> {
    let docker = Docker::find(cx)?;
    let all = docker.foreign_containers()?;
    let inspect =
        |found: &ListedContainer| Ok::<_, Failure>((found.clone(), docker.inspect(&found.name, INSPECT_FOREIGN)?));
    let of =
        |image: &str| all.iter().filter(|found| found.has_image(image)).map(inspect).collect::<Result<Containers, _>>();
    let from = from.map(|dir| dir.canonicalize().unwrap_or(dir.to_owned()));
    let mut omnis = of("siderolabs/omni")?;
    omnis.retain(|(_, omni)| from.as_deref().is_none_or(|dir| Path::new(&omni.dir) == dir));
    let words: Vec<String> = omnis.iter().map(|(omni, _)| omni.describe()).collect();
    let [omni] = <[_; 1]>::try_from(omnis).map_err(|omnis: Containers| match omnis.first() {
        Some((_, first)) => Failure::new(Code::Conflict, "found more than one Omni on this host")
            .cause(words.join("\n"))
            .hint("specify the directory of the compose file that started the right one")
            .next(format!("cargo xtask omni-adopt --from {}", path_to_paste(Path::new(&first.dir)))),
        None => Failure::new(Code::NotFound, "no container of another Omni found on this host")
            .cause(from.map_or(String::new(), |dir| format!("no container was started from {}", dir.display())))
            .hint("if its containers were removed, `docker compose create` in the directory of its compose file recreates them, on its volumes"),
    })?;
    let mut others = of("siderolabs/omni-infra-provider-proxmox")?;
    let mine = |found: &ListedContainer| !found.project.is_empty() && found.project == omni.0.project;
    if others.len() > 1 {
        others.retain(|(found, _)| mine(found));
    }
    others.truncate(1);
    let sidecar = of("tailscale/tailscale")?.into_iter().find(|(found, _)| mine(found));
    let found: Containers = [omni].into_iter().chain(others).chain(sidecar).collect();
    let words: Vec<String> = found.iter().map(|(found, _)| found.describe()).collect();
    Ok(StepResult::ok(found, words.join(", ")))
}

/// Determines the version of the old Omni. The store belongs to this version, so it is kept.
fn version_of(cx: &Cx, omni: &ListedContainer, note: Option<&Note>) -> anyhow::Result<StepResult<String>> {
    let tag = stack::tag(&omni.image).filter(|tag| version::parse(tag).is_ok()).map(str::to_owned);
    let noted = note.and_then(|note| stack::tag(&note.images.1)).map(str::to_owned);
    let found = match noted.or(tag) {
        Some(found) => found,
        None => {
            let words = ["exec", &omni.name, "/omni", "--version"];
            let text = Docker::find(cx)?.run("reading the version of Omni", &words, QUICK).map_err(|failure| {
                failure.hint(format!("start it: its image, {}, does not specify a version", omni.image))
            })?;
            text.stdout.split_whitespace().rfind(|word| version::parse(word).is_ok()).unwrap_or_default().to_owned()
        }
    };
    let provider = files::read_optional_text(&cx.paths.compose())?.unwrap_or_default();
    let provider = stack::images(&provider).remove("proxmox-provider");
    let paired = stack::check_provider_pairing(Some(&found), provider.as_deref().and_then(stack::tag), None);
    let (first, last) = check::site::minors();
    let known = version::minor(&found).is_some_and(|minor| first <= minor && minor <= last);
    if known && paired.state != State::Failed {
        let detail = format!("{found}, kept as it is; omni-upgrade can upgrade it afterwards");
        return Ok(StepResult::ok(found.clone(), detail));
    }
    let cause = if known { paired.detail } else { format!("docker/compose.yaml runs Omni {first} to {last}") };
    Err(Failure::new(Code::Conflict, format!("Omni {found:?} is not a version that this kit supports"))
        .cause(cause)
        .hint("first upgrade it with its own compose file, one minor version at a time; then run this again")
        .into())
}

/// Reads a container's store from a copy of its file, again if the copy is torn because Omni was writing.
fn read_container_store(cx: &Cx, container: &str, etcd: &str) -> Result<Store, Failure> {
    let scratch = Scratch::new(&cx.paths.scratch_root(), "store")?;
    let mut rounds = 5;
    loop {
        Docker::find(cx)?.copy_out(container, &format!("{etcd}/member/snap"), scratch.path())?;
        match read_store(&scratch.path().join("db")) {
            Err(failure) if failure.code == Code::Invalid && rounds > 1 => rounds -= 1,
            read => return read,
        }
    }
}

fn describe_store(store: &Store) -> String {
    let held = KEPT_TYPES.map(|(kind, word)| count(store.count(kind), word));
    let slots: Vec<&str> = store.slots.keys().map(String::as_str).collect();
    format!("{}; opened by {}", held.join(", "), slots.join(", "))
}

/// Refuses volumes of this project that no adoption created, and existing files with different contents.
fn check_no_conflicts(cx: &Cx, noted: bool, secrets: &[(PathBuf, &'static str, Secret)]) -> Result<(), Failure> {
    for volume in VOLUMES.iter().filter(|_| !noted) {
        if Docker::find(cx)?.has_volume(volume)? {
            return Err(Failure::new(Code::Conflict, format!("the volume `{volume}` exists"))
                .cause("this project's own Omni has run here, and two Omnis cannot be merged")
                .hint(format!(
                    "if nothing in it is needed: `cargo xtask stack-down`, then `docker volume rm {}`",
                    VOLUMES.join(" ")
                )));
        }
    }
    for (path, what, contents) in secrets {
        if files::read_optional_text(path)?.is_some_and(|text| text != contents.expose()) {
            let shown = cx.paths.show(path);
            return Err(Failure::new(Code::Conflict, format!("`{shown}` exists, but is not {what} of this Omni"))
                .hint(format!("move it away: `mv {0} {0}.old`", path_to_paste(path))));
        }
    }
    Ok(())
}

impl Adoption {
    /// Finds the old Omni, and checks that it can be taken over.
    ///
    /// # Errors
    /// Returns what prevents the adoption; nothing was changed.
    pub fn find(args: &OmniAdopt, cx: &Cx) -> anyhow::Result<Adoption> {
        let containers =
            cx.ui.step("existing", "Look for an Omni from another compose file", || find(cx, args.from.as_deref()))?;
        let noted = Note::read(cx)?.map(|note| note.of(cx, &containers[0].0)).transpose()?;
        let version =
            cx.ui.step("version", "Check the version of Omni", || version_of(cx, &containers[0].0, noted.as_ref()))?;
        let example = files::read_optional_text(&cx.paths.env_example())?.unwrap_or_default();
        let example = EnvFile::parse(&cx.paths.show(&cx.paths.env_example()), &example)?;
        let compose = files::read_optional_text(&cx.paths.compose())?.unwrap_or_default();
        let existing = cx.ui.step("values", "Read its settings", || {
            let mut variables = Vec::new();
            for (_, inspected) in containers.iter().filter(|(_, inspected)| !inspected.dir.is_empty()) {
                let path = Path::new(&inspected.dir).join(".env");
                let text = files::read_optional_text(&path)?.unwrap_or_default();
                variables.push(EnvFile::parse(&path.display().to_string(), &text)?);
            }
            let provider = containers.iter().find(|(found, _)| found.has_image("omni-infra-provider-proxmox"));
            let found = existing(&containers[0].1, provider.map(|(_, inspected)| inspected), &variables, &compose)
                .map_err(|why| Failure::new(Code::Invalid, "this Omni cannot be taken over").cause(why))?;
            let names: Vec<&str> = found.values.keys().copied().collect();
            let names = names.join(", ");
            Ok(StepResult::ok(found, names))
        })?;
        for differs in &existing.differences {
            cx.ui.note("differs", "not taken over", Status::Warning, differs);
        }
        let mut inputs = gather(&args.values, cx, &example, true, &existing.values)?;
        let mut set = |key, secret: fn(String) -> Secret| {
            existing.values.get(key).cloned().into_iter().for_each(|value| inputs.set(key, secret(value)));
        };
        set("OMNI_PROVIDER_ID", Secret::plain);
        set("OMNI_INFRA_PROVIDER_KEY", Secret::new);
        cx.ui
            .run_checks("checking the values", omni_checks::value_checks(cx, &inputs))
            .into_iter()
            .collect::<anyhow::Result<()>>()?;
        let (key, store) = cx.ui.step("key", "Check that the key opens its store", || {
            let text =
                cx.read(Path::new(&existing.key), "run this as a user who can read it: no other key opens the store")?;
            let key = Secret::new(String::from_utf8_lossy(&text));
            let store = read_container_store(cx, &containers[0].0.name, &existing.data[0])?;
            backup::check_account(&store, inputs.get("OMNI_ACCOUNT_UUID"))?;
            gpg::find_opened_slot(cx, &key, &store.slots)?;
            let held = describe_store(&store);
            Ok(StepResult::ok((key, store), held))
        })?;
        let mut secrets = vec![(cx.paths.store_key(), "the key of Omni's store", key)];
        if let Some(config) = &existing.config {
            let text = cx.read(Path::new(config), "the provider needs it to log in to Proxmox")?;
            let text = Secret::new(String::from_utf8_lossy(&text));
            secrets.push((cx.paths.config(), "the provider's login to Proxmox", text));
        }
        check_no_conflicts(cx, noted.is_some(), &secrets)?;
        let (compose, images) = omni_upgrade::with_new_tag(cx, &version)?;
        let note = noted.unwrap_or_else(|| Note {
            domain: inputs.get("OMNI_DOMAIN").to_owned(),
            containers: containers
                .iter()
                .map(|(found, inspected)| (found.name.clone(), found.project.clone(), inspected.restart.clone()))
                .collect(),
            files: secrets
                .iter()
                .map(|(path, ..)| path.clone())
                .chain([cx.paths.env()])
                .filter(|path| !path.exists())
                .collect(),
            images,
            filled: false,
        });
        Ok(Adoption { containers, existing, inputs, example, version, store, secrets, compose, note })
    }

    /// The directory of the cold copy of the data.
    pub fn copy_dir(&self, cx: &Cx) -> PathBuf {
        cx.paths.backups().join(format!("adopted-{}", self.inputs.get("OMNI_ACCOUNT_UUID")))
    }

    /// The changes: write files, stop the old stack, copy its data, start the new stack.
    ///
    /// # Errors
    /// Returns an error if `docker/compose.yaml` cannot be changed, or Docker does not answer.
    pub fn plan(&self, cx: &Cx) -> anyhow::Result<Plan<'_>> {
        let mut plan = Plan::default();
        let names: Vec<String> = self.containers.iter().map(|(found, _)| found.name.clone()).collect();
        let runs = self.containers.iter().any(|(found, _)| found.state == "running");
        let undo = "cargo xtask omni-adopt --undo";
        if runs || !self.note.filled {
            plan.push(Change::new("stop", names.join(", "), OLD_STACK, undo, move |cx| {
                self.note.write(cx)?;
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let call = |words: &[&str]| {
                    Docker::find(cx)?.run("stopping the old stack", &[words, &names].concat(), STOP_LIMIT)
                };
                call(&["update", "--restart=no"])?;
                call(&["stop", "-t", "60"])?;
                Ok("stopped, and not started again at boot".to_owned())
            }));
        }
        plan.append(self.inputs.env_changes(cx, &self.example).into_iter().collect());
        for (path, what, contents) in self.secrets.iter().filter(|(path, ..)| !path.exists()) {
            let (file, contents) = ((path.clone(), cx.paths.show(path)), (contents.clone(), files::PRIVATE));
            plan.push(project_files::write("create", file, contents, *what, "remove it"));
        }
        let (pinned, wanted) = &self.note.images;
        let text = String::from_utf8_lossy(&self.compose.bytes).replacen(pinned, wanted, 1);
        if text.as_bytes() != self.compose.bytes {
            let effect = format!("Omni {}, the running version", self.version);
            plan.push(project_files::replace(self.compose.clone(), "docker/compose.yaml", text, effect));
        }
        if !self.note.filled {
            let effect = format!(
                "etcd, SQLite and tailnet identity, to {} and this project's volumes",
                self.copy_dir(cx).display()
            );
            plan.push(Change::new("copy", "Omni's data", effect, undo, move |cx| self.copy_data(cx)));
        }
        let containers = Compose::find(cx)?.containers()?;
        let provider = !self.inputs.get("OMNI_INFRA_PROVIDER_KEY").is_empty() && self.existing.config.is_some();
        if !plan.is_empty() || !omni_stack::all_running(cx, provider, &containers) {
            let effect = format!("Omni {} runs from this project", self.version);
            plan.push(omni_stack::start(provider, false, effect));
        }
        // Needed even without changes: an earlier run may have been interrupted after the start.
        plan.verify(move |cx| {
            omni_stack::verify(cx, provider, Some(&self.inputs.address(cx)))?;
            cx.ui.step("same", "Check that Omni has the same data as before", || self.verify_store(cx))
        });
        Ok(plan)
    }

    /// Copies the data of the stopped Omni to a directory, and from there into new volumes.
    fn copy_data(&self, cx: &Cx) -> anyhow::Result<String> {
        let (docker, copy) = (Docker::find(cx)?, self.copy_dir(cx));
        let dirs = ["etcd", "sqlite", "tailscale"].map(|name| copy.join(name));
        if copy.exists() {
            std::fs::remove_dir_all(&copy).map_err(|error| io_failure("remove", &copy, &error))?;
        }
        for dir in &dirs {
            files::create_private_dir(dir).map_err(|error| io_failure("create", dir, &error))?;
        }
        let (omni, [etcd, sqlite]) = (&self.containers[0].0.name, &self.existing.data);
        docker.copy_out(omni, etcd, &dirs[0])?;
        let (above, file) = sqlite.rsplit_once('/').unwrap_or_default();
        let scratch = Scratch::new(&cx.paths.scratch_root(), "sqlite")?;
        docker.copy_out(omni, above, scratch.path())?;
        // The write-ahead log may not exist.
        for ending in ["", "-wal"] {
            let (from, to) = (scratch.path().join(format!("{file}{ending}")), dirs[1].join(format!("omni.db{ending}")));
            if from.exists() || ending.is_empty() {
                std::fs::copy(&from, &to).map_err(|error| io_failure("copy", &from, &error))?;
            }
        }
        let sidecar = self.containers.iter().find(|(found, _)| found.has_image("tailscale/tailscale"));
        if let Some((sidecar, _)) = sidecar.filter(|(_, found)| found.mount_of(stack::TAILSCALE_STATE).is_some()) {
            docker.copy_out(&sidecar.name, stack::TAILSCALE_STATE, &dirs[2])?;
        }
        backup::check_account(&read_store(&dirs[0].join("member/snap/db"))?, self.inputs.get("OMNI_ACCOUNT_UUID"))?;
        // An interrupted run may have left volumes that are not filled.
        remove_stack(cx)?;
        let back = Scratch::new(&cx.paths.scratch_root(), "copied")?;
        for (dir, (container, to)) in dirs.iter().zip(create_volumes(cx)?) {
            docker.copy_in(dir, &container, to)?;
            let again = back.path().join(dir.file_name().unwrap_or_default());
            files::create_private_dir(&again).map_err(|error| io_failure("create", &again, &error))?;
            docker.copy_out(&container, to, &again)?;
            if list_parts(dir)? != list_parts(&again)? {
                return Err(Failure::new(Code::Failed, format!("{to} differs from {}", dir.display()))
                    .next("cargo xtask omni-adopt --undo")
                    .into());
            }
        }
        Note { filled: true, ..self.note.clone() }.write(cx)?;
        Ok("copied, and compared byte by byte".to_owned())
    }

    /// Checks that the new Omni uses the store and still has what was in it.
    fn verify_store(&self, cx: &Cx) -> anyhow::Result<StepResult<()>> {
        let containers = Compose::find(cx)?.containers()?;
        let name = stack::service(&containers, OMNI).map_or(OMNI, |found| &found.name);
        let (before, after) =
            (read_store(&self.copy_dir(cx).join("etcd/member/snap/db"))?, read_container_store(cx, name, ETCD_DIR)?);
        let fewer = KEPT_TYPES.iter().any(|(kind, _)| after.count(kind) < before.count(kind));
        let lost = before.slots.keys().any(|slot| !after.slots.contains_key(slot));
        let account = backup::check_account(&after, self.inputs.get("OMNI_ACCOUNT_UUID"));
        if omni_stack::empty_store_time(cx)?.is_none() && !fewer && !lost && account.is_ok() {
            return Ok(StepResult::ok((), format!("before and after: {}", describe_store(&after))));
        }
        Err(Failure::new(Code::Failed, "Omni does not have the same data as before")
            .cause(format!("before: {}\nnow: {}", describe_store(&before), describe_store(&after)))
            .hint("the old stack still has everything: go back to it")
            .next("cargo xtask omni-adopt --undo")
            .into())
    }
}

/// Removes this project's containers and volumes.
fn remove_stack(cx: &Cx) -> Result<(), Failure> {
    let docker = Docker::find(cx)?;
    Compose::find(cx)?.down()?;
    for volume in VOLUMES {
        if docker.has_volume(volume)? {
            docker.run("removing a volume of this project", &["volume", "rm", volume], QUICK)?;
        }
    }
    Ok(())
}

/// Returns to the old stack: removes this project's stack, volumes and files, and starts the old containers again.
///
/// # Errors
/// Fails with [`Code::NotFound`] if nothing was taken over from this checkout, or the old containers or volumes are gone.
pub fn undo<'a>(cx: &Cx, note: &'a Note) -> anyhow::Result<Plan<'a>> {
    let docker = Docker::find(cx)?;
    // The containers prove that the volumes exist: Docker does not remove a volume before its container.
    for (name, ..) in &note.containers {
        docker.inspect(name, INSPECT).map_err(|failure| match failure.code {
            Code::NotFound => failure.hint("without it the takeover cannot be undone: start the old stack with its own compose file, after `cargo xtask stack-down`"),
            _ => failure,
        })?;
    }
    let lost = vec![format!("what Omni at {} stored since it was taken over", note.domain)];
    let again = "cargo xtask omni-adopt";
    let remove = Change::new(
        "remove",
        "this project's stack and volumes",
        "the old volumes still contain the data from before the takeover",
        again,
        |cx| {
            remove_stack(cx)?;
            Ok("removed".to_owned())
        },
    );
    let mut plan = Plan::from_iter([if note.filled { remove.with_destroyed(&note.domain, lost) } else { remove }]);
    let (read, (_, pinned)) = omni_upgrade::with_new_tag(cx, &omni_stack::pinned_version(cx).unwrap_or_default())?;
    if note.images.0 != note.images.1 && pinned == note.images.1 {
        let text = String::from_utf8_lossy(&read.bytes).replacen(&pinned, &note.images.0, 1);
        plan.push(project_files::replace(read, "docker/compose.yaml", text, "the previous tag of `omni`"));
    }
    for path in note.files.iter().filter(|path| path.exists()) {
        let file = (path.clone(), cx.paths.show(path));
        plan.push(project_files::remove(file, "it was created when Omni was taken over", again));
    }
    let names: Vec<&str> = note.containers.iter().map(|(name, ..)| name.as_str()).collect();
    plan.push(Change::new("start", names.join(", "), "the old stack, with its restart policies", again, move |cx| {
        start_old_containers(cx, note)?;
        let path = cx.paths.adoption_record();
        std::fs::remove_file(&path).map_err(|error| io_failure("remove", &path, &error))?;
        Ok("it runs".to_owned())
    }));
    plan.record(|state| {
        ["omni_configured", "omni_configured_at", "omni_endpoint"].iter().for_each(|key| state.set(key, ""))
    });
    Ok(plan)
}

/// Starts the old containers; those of a compose project are started in its order. A container that was started before the one
/// whose network it shares has exited, and is started again.
fn start_old_containers(cx: &Cx, note: &Note) -> Result<(), Failure> {
    let docker = Docker::find(cx)?;
    let call = |words: &[&str]| docker.run("starting the old stack", words, cx.wait_limit(STOP_LIMIT)).map(drop);
    for (name, _, restart) in &note.containers {
        call(&["update", &format!("--restart={}", if restart.is_empty() { "no" } else { restart }), name])?;
    }
    let mut down: Vec<&(String, String, String)> = note.containers.iter().collect();
    for _ in 0..3 {
        for (name, project, _) in &down {
            match project.as_str() {
                "" => call(&["start", name])?,
                project => call(&["compose", "-p", project, "--env-file", "/dev/null", "start"])?,
            }
        }
        let all = docker.foreign_containers()?;
        down.retain(|(name, ..)| !all.iter().any(|found| found.name == *name && found.state == "running"));
    }
    match down.iter().find(|down| note.containers.first() == Some(down)) {
        None => Ok(()),
        Some((name, ..)) => Err(Failure::new(Code::Failed, format!("`{name}` is not running"))
            .next(format!("docker logs {}", path_to_paste(Path::new(name))))),
    }
}
