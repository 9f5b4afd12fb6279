//! Gathers the information that helpers need about an installation, as far as it can be reached, and removes the secrets.
//!
//! `runtime::bundle` is the archive; with a bundle, tasks read its recorded responses instead of running the programs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::flow::omni_stack::OmniAddress;
use crate::flow::{doctor, proxmox};
use crate::prelude::*;
use domain::clock;
use domain::scrub::Scrubber;
use domain::secret;
use runtime::bundle::{CONTAINERS, DOCTOR, FAILED_TASK_PATHS, INVENTORY, Manifest, PROJECT, PROXMOX_RESPONSES, Part};
use runtime::files;
use runtime::parallel::map_all;
use runtime::proc;
use runtime::settings;
use runtime::tool::compose::{Compose, OMNI, SIDECAR};
use runtime::tool::omnictl::{self, Omnictl};
use runtime::tool::proxmox::Proxmox;

/// The resources in Omni that read-only tasks use.
const RESOURCES: &str = "clustermachinerequeststatuses clustermachinestatuses clusters clusterstatuses infraprovidercombinedstatus \
     infraproviderhealthstatuses infraproviderstatuses kubernetesupgradestatuses loadbalancerstatuses machineclasses \
     machinerequests machinesetnodes machinesets machinesetstatuses sysversions talosextensions talosupgradestatuses talosversions";
/// Files of the project other than those in `machine-classes/` and `clusters/`.
const FILES: [&str; 5] =
    ["docker/compose.yaml", "docker/.env", "docker/config.yaml", "docker/site.yaml", ".claude/omni-scale.local.md"];
/// How many lists of up to ten thousand machines, as the programs print them, are in memory at once.
const PARALLEL_LISTS: usize = 3;
const LOG_LINES: u32 = 2000;
/// How many failed tasks of Proxmox are included with their logs.
const TASKS: usize = 20;
/// Size limit of a part, in bytes. The next two limit the size and the number of project files.
const MAX_PART: usize = 30 << 20;
const MAX_FILE: u64 = 1 << 20;
const MAX_FILES: usize = 2000;
const MAX_JOURNAL: usize = 1 << 20;
/// Time limit for the whole bundle; each request also has its own.
const LIMIT: Duration = Duration::from_secs(300);

/// The contents of a bundle, ready to be written.
pub struct BundleContents {
    pub manifest: Manifest,
    files: BTreeMap<String, Vec<u8>>,
}

impl BundleContents {
    /// Packs the contents into an archive.
    ///
    /// # Errors
    /// See [`Manifest::pack`].
    pub fn pack(&self) -> std::io::Result<Vec<u8>> {
        self.manifest.pack(&self.files)
    }
}

enum Raw {
    Text(String),
    Document(Value),
}

/// What was read so far, still with its secrets.
struct Parts<'a> {
    cx: &'a Cx,
    raw: BTreeMap<String, Raw>,
    versions: BTreeMap<String, String>,
    missing: BTreeMap<String, Failure>,
}

/// Reads a source; fails if nothing of it can be read.
type Source = fn(&mut Parts<'_>) -> Result<(), Failure>;

/// The sources, with their names in the manifest and the titles of their steps.
const SOURCES: [(&str, &str, Source); 6] = [
    (PROJECT, "Read the files of the project", read_project),
    ("doctor", "Run the checks of doctor", run_doctor),
    ("docker", "Read the containers and their logs", read_stack),
    ("omni", "Read the resources in Omni", read_resources),
    ("proxmox", "Read nodes, virtual machines and failed tasks of Proxmox", read_every_proxmox),
    ("journal", "Read the journal of this project", read_journal),
];

/// Gathers everything and removes the secrets.
///
/// # Errors
/// Fails with [`Code::Interrupted`]; a source that cannot be read is listed in the manifest instead.
pub fn gather(cx: &Cx) -> anyhow::Result<BundleContents> {
    let end = Instant::now() + cx.wait_limit(LIMIT);
    let mut parts = Parts { cx, raw: BTreeMap::new(), versions: BTreeMap::new(), missing: BTreeMap::new() };
    parts.versions.insert("xtask".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    for (id, title, read) in SOURCES {
        cx.ui.step(id, title, || {
            let before = (parts.raw.len(), parts.missing.len());
            let late = || Failure::new(Code::Timeout, "the time limit of the bundle was reached first");
            let failed = if Instant::now() > end { Some(late()) } else { read(&mut parts).err() };
            if proc::is_interrupted() {
                return Err(proc::interruption("gathering the bundle").into());
            }
            if let Some(failure) = failed {
                parts.missing.insert(id.to_owned(), failure.clone());
                return Ok(StepResult::warning((), failure.message));
            }
            let files = count(parts.raw.len() - before.0, "file");
            Ok(match parts.missing.len() - before.1 {
                0 => StepResult::ok((), files),
                some => StepResult::warning((), format!("{files}; {} could not be read", count(some, "part"))),
            })
        })?;
    }
    Ok(remove_secrets(parts)?)
}

/// Removes the secrets. This comes last, when every secret that was read is known.
fn remove_secrets(parts: Parts<'_>) -> Result<BundleContents, Failure> {
    settings::hide_environment();
    let mut scrubber =
        Scrubber::new().map_err(|why| Failure::new(Code::Failed, "secrets cannot be removed").cause(why))?;
    let mut manifest = Manifest::new(parts.cx.now());
    manifest.versions = parts.versions;
    let mut files = BTreeMap::new();
    for (name, raw) in parts.raw {
        let bytes = match raw {
            Raw::Text(text) => scrubber.text(&text).into_bytes(),
            Raw::Document(mut value) => {
                scrubber.json("", &mut value);
                serde_json::to_vec(&value).unwrap_or_default()
            }
        };
        let removed = scrubber.take_counts();
        if bytes.len() > MAX_PART {
            let why =
                format!("it has {} MiB, but a part of a bundle may have at most {}", bytes.len() >> 20, MAX_PART >> 20);
            manifest
                .missing
                .insert(name.clone(), Failure::new(Code::Failed, format!("`{name}` was omitted")).cause(why));
            continue;
        }
        manifest.files.insert(name.clone(), Part { bytes: bytes.len() as u64, removed: removed.values().sum() });
        removed.into_iter().for_each(|(kind, times)| *manifest.removed.entry(kind).or_default() += times);
        files.insert(name, bytes);
    }
    for (part, failure) in parts.missing {
        let mut clean = |text: &str| scrubber.text(text);
        let (message, cause, hint) = (clean(&failure.message), clean(&failure.cause), clean(&failure.hint));
        let next = failure.next.iter().map(|next| clean(next)).collect();
        let (data, missing) = (Value::Null, Vec::new());
        manifest.missing.insert(part, Failure { message, cause, hint, next, data, missing, ..failure });
    }
    Ok(BundleContents { manifest, files })
}

impl Parts<'_> {
    fn text(&mut self, name: impl Into<String>, text: String) {
        self.raw.insert(name.into(), Raw::Text(text));
    }

    fn document(&mut self, name: impl Into<String>, document: Value) {
        self.raw.insert(name.into(), Raw::Document(document));
    }

    /// Stores what was read, or why it could not be read.
    fn part(&mut self, name: String, read: Result<Raw, Failure>) {
        match read {
            Ok(raw) => drop(self.raw.insert(name, raw)),
            Err(failure) => drop(self.missing.insert(name, failure)),
        }
    }

    fn version(&mut self, program: &str, version: impl Into<String>) {
        self.versions.insert(program.to_owned(), version.into());
    }
}

/// Reads the files of the project. Their secrets are removed from all parts.
fn read_project(parts: &mut Parts<'_>) -> Result<(), Failure> {
    let root = parts.cx.paths.root().to_owned();
    let mut names: Vec<String> = FILES.map(str::to_owned).into();
    for dir in [parts.cx.paths.machine_classes(), parts.cx.paths.clusters(), parts.cx.paths.providers()] {
        let found = files::list_files(&dir).unwrap_or_default().into_iter();
        let small = found.filter(|(_, size)| size.is_some_and(|size| size <= MAX_FILE));
        let shown = |(name, _): (std::path::PathBuf, _)| parts.cx.paths.show(&dir.join(name));
        names.extend(small.map(shown).take(MAX_FILES));
    }
    for name in names {
        match files::read_optional(&root.join(&name)) {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                secret::hide_in(&text);
                parts.text(format!("{PROJECT}/{name}"), text);
            }
            Err(failure) => drop(parts.missing.insert(format!("{PROJECT}/{name}"), failure)),
        }
    }
    Ok(())
}

fn run_doctor(parts: &mut Parts<'_>) -> Result<(), Failure> {
    let results = doctor::verdicts(parts.cx, doctor::CHECKS.iter());
    parts.document(DOCTOR, doctor::document(&results, true));
    Ok(())
}

fn read_stack(parts: &mut Parts<'_>) -> Result<(), Failure> {
    let compose = Compose::find(parts.cx)?;
    parts.version("compose", compose.version().unwrap_or_default());
    parts.document(CONTAINERS, json!(compose.containers()?));
    let providers = parts.cx.providers()?.into_iter().map(|cx| cx.settings.provider_service());
    for service in [OMNI.to_owned(), SIDECAR.to_owned()].into_iter().chain(providers) {
        let log = compose.log(&service, LOG_LINES).map(|log| Raw::Text(tail(&log, MAX_PART).to_owned()));
        parts.part(format!("logs/{service}.log"), log);
    }
    Ok(())
}

/// Returns the last complete lines of a text, limited to `most` bytes.
fn tail(text: &str, most: usize) -> &str {
    let from = text.len().saturating_sub(most);
    let line = text.as_bytes()[from..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| from + at + 1);
    if from == 0 { text } else { &text[line..] }
}

fn read_resources(parts: &mut Parts<'_>) -> Result<(), Failure> {
    let cx = parts.cx;
    if let Some(at) = OmniAddress::of(cx)
        && let Err(failure) = at.healthy(cx)
    {
        parts.missing.insert("health".to_owned(), failure);
    }
    let omnictl = &Omnictl::find(cx)?;
    if let Some(Ok((version, _))) = omnictl::locate().map(|path| omnictl::version_of(cx, &path)) {
        parts.version("omnictl", version);
    }
    let [found] = crate::flow::lookup::list_all(omnictl, ["sysversions"], None)?;
    parts.version("omni", found.first().map_or("", |found| found.text(&["backendversion"])));
    let read = |kind: &str| omnictl.list(kind, None).map(|found| Raw::Document(json!(found)));
    let found = map_all(RESOURCES.split(' '), PARALLEL_LISTS, read);
    for (kind, read) in RESOURCES.split(' ').zip(found) {
        parts.part(format!("omni/{kind}.json"), read);
    }
    Ok(())
}

/// Queries the Proxmox of each provider; the result of a further one is a separate part.
fn read_every_proxmox(parts: &mut Parts<'_>) -> Result<(), Failure> {
    let mut first = Ok(());
    for cx in parts.cx.providers()? {
        match &cx.settings.provider {
            None => first = read_proxmox(parts, &cx, "proxmox"),
            Some(id) => {
                let dir = format!("proxmox-{id}");
                let answers = read_proxmox(parts, &cx, &dir);
                answers.err().and_then(|failure| parts.missing.insert(dir, failure));
            }
        }
    }
    first
}

fn read_proxmox(parts: &mut Parts<'_>, cx: &Cx, dir: &str) -> Result<(), Failure> {
    let proxmox = &proxmox::login_quietly(cx)?;
    parts.version(&format!("{dir}_url"), proxmox.url.clone());
    parts.version(dir, proxmox.version(cx)?);
    let nodes = proxmox::online_nodes(cx, proxmox)?;
    let mut answers = serde_json::Map::new();
    let lists = ["/nodes", "/storage", "/cluster/resources?type=vm", "/cluster/resources?type=storage"];
    query_paths(cx, proxmox, lists.map(str::to_owned).into(), &mut answers);
    if !answers.contains_key(lists[2]) {
        proxmox.get(cx, "listing the virtual machines of Proxmox", lists[2])?;
    }
    query_paths(
        cx,
        proxmox,
        nodes.iter().map(|node| format!("/nodes/{node}{}", FAILED_TASK_PATHS[0])).collect(),
        &mut answers,
    );
    query_paths(cx, proxmox, task_logs(&answers), &mut answers);
    parts.document(format!("{dir}/{PROXMOX_RESPONSES}"), Value::Object(answers));
    let inventory = proxmox::observe_quietly(cx, proxmox)
        .and_then(|inventory| inventory.document().map(Raw::Document).map_err(|why| Failure::new(Code::Failed, why)));
    parts.part(format!("{dir}/{INVENTORY}"), inventory);
    Ok(())
}

/// Queries each of these paths; leaves out those that Proxmox refuses.
fn query_paths(cx: &Cx, proxmox: &Proxmox, paths: Vec<String>, answers: &mut serde_json::Map<String, Value>) {
    let found = proxmox.get_all(cx, "reading what Proxmox shows", &paths);
    answers.extend(paths.into_iter().zip(found).filter_map(|(path, found)| Some((path, found.ok()?))));
}

/// Returns the paths of the status and log of the newest failed tasks, with the same queries as `cluster-explain`.
fn task_logs(answers: &serde_json::Map<String, Value>) -> Vec<String> {
    let lists = answers.iter().filter(|(path, _)| path.ends_with(FAILED_TASK_PATHS[0]));
    let mut tasks: Vec<&Value> = lists.flat_map(|(_, list)| list.as_array().into_iter().flatten()).collect();
    tasks.sort_by_key(|task| std::cmp::Reverse(task["starttime"].as_u64()));
    let upids = tasks.into_iter().filter_map(|task| task["upid"].as_str()).take(TASKS);
    upids
        .filter_map(|upid| Some((upid, upid.split(':').nth(1)?)))
        .flat_map(|(upid, node)| ["status", "log?limit=500"].map(|part| format!("/nodes/{node}/tasks/{upid}/{part}")))
        .collect()
}

/// Reads the journal, without the entries of this user's other checkouts.
fn read_journal(parts: &mut Parts<'_>) -> Result<(), Failure> {
    let Some(text) = files::read_optional_text(&parts.cx.paths.journal())? else { return Ok(()) };
    let project = Value::from(parts.cx.paths.root().display().to_string());
    let own = |line: &&str| line.parse::<Value>().is_ok_and(|entry| entry["project"] == project);
    let lines: Vec<&str> = tail(&text, MAX_JOURNAL).lines().filter(own).collect();
    parts.text("journal.jsonl", lines.join("\n") + "\n");
    Ok(())
}

/// Returns the file name of a bundle created at this time.
pub fn file_name(now: u64) -> String {
    format!("omni-scale-support-{}.tar.gz", clock::rfc3339_of(now).replace(['-', ':'], ""))
}
