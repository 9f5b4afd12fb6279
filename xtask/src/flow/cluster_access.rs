//! Files that give access to a cluster: kubeconfig and talosconfig, as written by omnictl, readable only by their owner.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_yaml::{Mapping, Value};
use xshell::cmd;

use crate::prelude::*;
use domain::secret::{self, Secret};
use runtime::files::{self, Scratch};
use runtime::proc::{self, CommandOutput, Job, quote};
use runtime::settings::environment;
use runtime::state::State;
use runtime::tool::omnictl::Omnictl;

/// A request for access.
pub struct Access {
    /// `kubeconfig` or `talosconfig`: omnictl's command.
    pub kind: &'static str,
    pub cluster: String,
    /// Additional flags for omnictl.
    pub flags: Vec<String>,
    pub file: PathBuf,
    /// Merge into the existing file instead of replacing it.
    pub merge: bool,
    pub force: bool,
    /// Description of what the file grants.
    pub effect: String,
}

/// A file that gives access to a cluster.
pub struct AccessFile {
    /// `kubeconfig` or `talosconfig`.
    pub kind: String,
    pub cluster: String,
    pub path: PathBuf,
}

/// The state's list of access files outside the project, each as `kubeconfig demo /home/me/.kube/config`.
const OUTSIDE_KEY: &str = "access_files";

impl AccessFile {
    /// Parses a file name in the format of [`default_file`].
    pub fn parse_file_name(path: &Path) -> Option<AccessFile> {
        let kind = path.extension()?.to_str().filter(|kind| ["kubeconfig", "talosconfig"].contains(kind))?;
        let cluster = path.file_stem()?.to_string_lossy().into_owned();
        Some(AccessFile { kind: kind.to_owned(), cluster, path: path.to_owned() })
    }

    /// Returns the access files that were written elsewhere and still exist.
    pub fn files_outside_project(state: &State) -> Vec<AccessFile> {
        let of = |entry: String| {
            let mut words = entry.splitn(3, ' ').map(str::to_owned);
            Some(AccessFile { kind: words.next()?, cluster: words.next()?, path: words.next()?.into() })
        };
        state.list(OUTSIDE_KEY).into_iter().filter_map(of).filter(|file| file.path.exists()).collect()
    }
}

/// The path if no file is given: in the project, where git ignores it.
pub fn default_file(cx: &Cx, cluster: &str, kind: &str) -> PathBuf {
    cx.paths.root().join(format!("{cluster}.{kind}"))
}

/// Returns the file that kubectl writes to: the first in KUBECONFIG that exists, otherwise its last (client-go `config.go`
/// `GetDefaultFilename`), and without that variable `~/.kube/config`.
///
/// # Errors
/// Fails with [`Code::Prerequisite`] if the user has no home directory.
pub fn kubectl_config() -> Result<PathBuf, Failure> {
    let listed = environment("KUBECONFIG").unwrap_or_default();
    let listed: Vec<PathBuf> = std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    let own = listed.iter().find(|path| path.exists()).or(listed.last()).cloned();
    own.or_else(|| Some(Path::new(&environment("HOME")?).join(".kube/config"))).ok_or_else(|| {
        Failure::new(Code::Prerequisite, "there is no kubeconfig to merge into")
            .cause("neither KUBECONFIG nor HOME is set")
            .hint("write a separate file with --file FILE")
    })
}

/// Plans to write the file.
///
/// # Errors
/// Fails with [`Code::Conflict`] if the file exists, unless it is merged or overwritten with `force`.
pub fn plan<'a>(cx: &Cx, omnictl: &'a Omnictl<'_>, access: &'a Access) -> Result<Plan<'a>, Failure> {
    let Access { kind, file, merge, force, effect, .. } = access;
    if file.as_os_str() == "-" {
        return Err(Failure::new(Code::Usage, format!("a {kind} is not printed")).hint("specify a file: --file FILE"));
    }
    let shown = cx.paths.show(file);
    if file.exists() && !merge && !force {
        return Err(Failure::new(Code::Conflict, format!("`{shown}` exists"))
            .cause(format!("a {kind} is not overwritten without --force"))
            .hint("overwrite it with --force, or choose another file with --file FILE"));
    }
    let old = files::read_optional(file)?.filter(|_| *merge).map(|old| parse_kubeconfig(&shown, &old)).transpose()?;
    let mode = files::mode(file).filter(|_| *merge);
    if mode.is_some_and(|mode| mode & 0o200 == 0) {
        return Err(Failure::new(Code::Refused, format!("`{shown}` is read-only"))
            .hint("write a separate file with --file FILE, or `chmod u+w` this one"));
    }
    let (verb, undo) = match (file.exists(), &old) {
        (true, Some(old)) => (
            "update",
            match old["current-context"].as_str() {
                Some(before) => format!("`kubectl config use-context {}`, and remove the new context", quote(before)),
                None => format!("remove the context from `{shown}`"),
            },
        ),
        (true, None) => ("update", "write it again".to_owned()),
        (false, _) => ("create", "remove the file".to_owned()),
    };
    let write = Change::new(verb, shown, effect.as_str(), undo, move |cx| {
        let contents = fetch(cx, omnictl, access)?;
        files::write_atomically(&access.file, contents.expose().as_bytes(), files::PRIVATE)?;
        let before = mode.filter(|mode| *mode != files::PRIVATE);
        Ok(before.map_or("mode 0600".to_owned(), |mode| format!("mode 0600, before {mode:04o}")))
    });
    let path = std::path::absolute(file).unwrap_or_else(|_| file.clone());
    let listed = path.parent() == Some(cx.paths.root()) && AccessFile::parse_file_name(&path).is_some();
    let entry = format!("{kind} {} {}", access.cluster, path.display());
    let write = if listed { write } else { write.with_record(move |state| state.add_to_list(OUTSIDE_KEY, &entry)) };
    Ok(Plan::from_iter([write]))
}

/// Gets the file from omnictl in a private scratch directory, and merges it with the current file if requested.
fn fetch(cx: &Cx, omnictl: &Omnictl<'_>, access: &Access) -> Result<Secret, Failure> {
    let scratch = Scratch::new(&cx.paths.scratch_root(), "access")?;
    let copy = scratch.path().join(access.kind);
    omnictl.write_access(access.kind, &access.cluster, &access.flags, &copy)?;
    let text = files::read_optional_text(&copy)?.filter(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| Failure::new(Code::Failed, format!("omnictl wrote no {}", access.kind)))?;
    secret::hide_in(&text);
    match files::read_optional(&access.file)?.filter(|_| access.merge) {
        None => Ok(Secret::plain(text)),
        Some(old) => {
            let shown = cx.paths.show(&access.file);
            let old = parse_kubeconfig(&shown, &old)?;
            let merged = merge_kubeconfig(
                &shown,
                old,
                &parse_kubeconfig("the kubeconfig of omnictl", text.as_bytes())?,
                access.force,
            )?;
            let text = serde_yaml::to_string(&merged).map_err(|error| invalid_kubeconfig(&shown, error.to_string()))?;
            Ok(Secret::plain(text))
        }
    }
}

/// How long to wait for the Kubernetes API.
const KUBERNETES: Duration = Duration::from_secs(30);

/// Runs kubectl with a kubeconfig; `None` if it is not installed.
///
/// # Errors
/// As [`proc::Proc::run`].
pub fn kubectl(cx: &Cx, purpose: &str, file: &Path, words: &[&str]) -> Result<Option<CommandOutput>, Failure> {
    let Ok(kubectl) = which::which("kubectl") else { return Ok(None) };
    let shell = proc::shell()?;
    let job = Job::new(purpose, cmd!(shell, "{kubectl} --kubeconfig {file} {words...}"));
    // The Kubernetes API is behind Omni's proxy, with Omni's certificate.
    let authorities = cx.settings.ca_file(None).map(|found| found.value);
    let job = authorities.into_iter().fold(job, |job, file| job.env("SSL_CERT_FILE", file));
    cx.proc.run(job.deadline(KUBERNETES)).map(Some)
}

/// Describes a cluster's persistent volumes (empty if none), or why they are unknown. Creates a token for five minutes.
///
/// # Errors
/// Returns an error only if interrupted.
pub fn persistent_volumes(cx: &Cx, omnictl: &Omnictl<'_>, cluster: &str) -> Result<Result<String, String>, Failure> {
    let asked = || {
        if which::which("kubectl").is_err() {
            return Ok(None);
        }
        let scratch = Scratch::new(&cx.paths.scratch_root(), "volumes")?;
        let file = scratch.path().join("kubeconfig");
        let flags = ["--service-account", "--user", "omni-scale", "--groups", "system:masters", "--ttl", "5m"];
        omnictl.write_access("kubeconfig", cluster, &flags.map(str::to_owned), &file)?;
        files::read_optional_text(&file)?.iter().for_each(|text| secret::hide_in(text));
        let words = ["get", "persistentvolumes", "--output", "json", "--request-timeout", "10s"];
        kubectl(cx, "reading the persistent volumes from Kubernetes", &file, &words)
    };
    match asked() {
        Err(failure) if failure.code == Code::Interrupted => Err(failure),
        Err(failure) => Ok(Err(failure.message)),
        Ok(None) => Ok(Err("kubectl is not installed".to_owned())),
        Ok(Some(ended)) if !ended.is_success() => {
            Ok(Err(ended.stderr.lines().last().unwrap_or("kubectl failed").to_owned()))
        }
        Ok(Some(ended)) => Ok(describe_volumes(&ended.stdout)),
    }
}

/// Maximum number of volumes to list by name.
const MAX_NAMED_VOLUMES: usize = 10;

/// Describes the volumes in kubectl's output (k8s.io/api v0.36 `core/v1/types.go`, `PersistentVolumeSpec`).
fn describe_volumes(printed: &str) -> Result<String, String> {
    let list: serde_json::Value = serde_json::from_str(printed).map_err(|error| error.to_string())?;
    let items = list["items"].as_array().ok_or("kubectl printed no list")?;
    let volume = |item: &serde_json::Value| {
        let text = |pointer: &str| item.pointer(pointer).and_then(serde_json::Value::as_str);
        let claim = text("/spec/claimRef/namespace").zip(text("/spec/claimRef/name"));
        let name = claim.map_or(text("/metadata/name").unwrap_or("?").to_owned(), |(of, name)| format!("{of}/{name}"));
        let size = text("/spec/capacity/storage").unwrap_or("?");
        let class = text("/spec/storageClassName").filter(|class| !class.is_empty()).unwrap_or("no class");
        format!("{name} ({size}, {class})")
    };
    if items.is_empty() {
        return Ok(String::new());
    }
    let mut words: Vec<String> = items.iter().take(MAX_NAMED_VOLUMES).map(volume).collect();
    words.extend((items.len() > MAX_NAMED_VOLUMES).then(|| format!("and {} more", items.len() - MAX_NAMED_VOLUMES)));
    Ok(format!("{}: {}", domain::words::count(items.len(), "persistent volume"), words.join(", ")))
}

/// Parses a kubeconfig in YAML or JSON; an empty file is an empty kubeconfig.
fn parse_kubeconfig(shown: &str, bytes: &[u8]) -> Result<Value, Failure> {
    let config: Value = serde_yaml::from_slice(bytes).map_err(|error| invalid_kubeconfig(shown, error.to_string()))?;
    match config {
        Value::Null => Ok(Value::Mapping(Mapping::new())),
        Value::Mapping(_) => Ok(config),
        _ => Err(invalid_kubeconfig(shown, "it is not a mapping".to_owned())),
    }
}

fn invalid_kubeconfig(shown: &str, why: String) -> Failure {
    Failure::new(Code::Invalid, format!("`{shown}` is not a valid kubeconfig"))
        .cause(why)
        .hint("fix it, or write a separate file with --file FILE")
}

/// Adds the entries of `new`, a kubeconfig with one context, and makes that context current, as `kubectl config` does: an entry
/// with the same name is replaced, a context keeps its namespace, and everything else but comments is kept. An entry with the
/// same name for another server is replaced only with `force`: it may be a cluster of another Omni.
fn merge_kubeconfig(shown: &str, mut old: Value, new: &Value, force: bool) -> Result<Value, Failure> {
    for (list, key) in [("clusters", "cluster"), ("users", "user"), ("contexts", "context")] {
        if old[list].is_null() {
            old[list] = Value::Sequence(Vec::new());
        }
        let entries =
            old[list].as_sequence_mut().ok_or_else(|| invalid_kubeconfig(shown, format!("`{list}` is not a list")))?;
        for entry in new[list].as_sequence().into_iter().flatten() {
            let Some(own) = entries.iter_mut().find(|own| own["name"] == entry["name"]) else {
                entries.push(entry.clone());
                continue;
            };
            let server = |entry: &Value| entry[key]["server"].as_str().unwrap_or_default().to_owned();
            if server(own) != server(entry) && !force {
                let name = entry["name"].as_str().unwrap_or_default();
                let cause =
                    format!("its cluster `{name}` points to {}, but would point to {}", server(own), server(entry));
                let what = format!("`{shown}` has an entry of the same name for another server");
                return Err(Failure::new(Code::Conflict, what)
                    .cause(cause)
                    .hint("write a separate file with --file FILE, or replace the entry with --force"));
            }
            let namespace = own[key]["namespace"].clone();
            *own = entry.clone();
            if !namespace.is_null() {
                own[key]["namespace"] = namespace;
            }
        }
    }
    for key in ["apiVersion", "kind", "current-context"] {
        if key == "current-context" || old[key].is_null() {
            old[key] = new[key].clone();
        }
    }
    Ok(old)
}
