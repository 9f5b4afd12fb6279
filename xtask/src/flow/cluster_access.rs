//! Files that give access to a cluster: kubeconfig and talosconfig, as omnictl writes them, kept from everyone but their owner.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::flow::change::{Change, Plan};
use domain::failure::{Code, Failure};
use domain::secret::{self, Secret};
use runtime::cx::Cx;
use runtime::files::{self, Scratch};
use runtime::settings::environment;
use runtime::tool::omnictl::Omnictl;

/// Access that is asked for.
pub struct Access {
    /// `kubeconfig` or `talosconfig`: omnictl's command.
    pub kind: &'static str,
    pub cluster: String,
    /// More flags of omnictl.
    pub flags: Vec<String>,
    pub file: PathBuf,
    /// Adds it to what the file has, instead of replacing that.
    pub merge: bool,
    pub force: bool,
    /// What the file grants, in words.
    pub effect: String,
}

/// Where a task writes it when no file is named: in the project, where git ignores it.
pub fn default_file(cx: &Cx, cluster: &str, kind: &str) -> PathBuf {
    cx.paths.root().join(format!("{cluster}.{kind}"))
}

/// The file that kubectl reads: the first of KUBECONFIG, else `~/.kube/config`.
///
/// # Errors
/// [`Code::Prerequisite`] when the user has no home.
pub fn own_kubeconfig() -> Result<PathBuf, Failure> {
    let listed = environment("KUBECONFIG");
    let first = listed.iter().flat_map(std::env::split_paths).find(|path| !path.as_os_str().is_empty());
    first.or_else(|| Some(Path::new(&environment("HOME")?).join(".kube/config"))).ok_or_else(|| {
        Failure::new(Code::Prerequisite, "there is no kubeconfig to merge into")
            .cause("neither KUBECONFIG nor HOME is set")
            .hint("write a file of its own with --file FILE")
    })
}

/// The plan that writes it.
///
/// # Errors
/// [`Code::Conflict`] for a file that exists, unless it is merged or forced.
pub fn plan<'a>(cx: &Cx, omnictl: &'a Omnictl<'_>, access: &'a Access) -> Result<Plan<'a>, Failure> {
    let Access { kind, file, merge, force, effect, .. } = access;
    if file.as_os_str() == "-" {
        return Err(Failure::new(Code::Usage, format!("a {kind} is not printed")).hint("name a file: --file FILE"));
    }
    let shown = cx.paths.show(file);
    if file.exists() && !merge && !force {
        return Err(Failure::new(Code::Conflict, format!("`{shown}` exists"))
            .cause(format!("a {kind} is not overwritten unasked"))
            .hint("overwrite it with --force, or name another file with --file FILE"));
    }
    let (verb, undo) = match (file.exists(), merge) {
        (true, true) => ("update", format!("remove the context from `{shown}`")),
        (true, false) => ("update", "write it again".to_owned()),
        (false, _) => ("create", "remove the file".to_owned()),
    };
    let write = Change::new(verb, shown, effect.as_str(), undo, move |cx| {
        let contents = fetch(cx, omnictl, access)?;
        files::write_atomically(&access.file, contents.expose().as_bytes(), files::PRIVATE)?;
        Ok("mode 0600".to_owned())
    });
    Ok(Plan::from_iter([write]))
}

/// What omnictl makes of it, in a private scratch directory.
fn fetch(cx: &Cx, omnictl: &Omnictl<'_>, access: &Access) -> Result<Secret, Failure> {
    let scratch = Scratch::new(&cx.paths.scratch_root(), "access")?;
    let copy = scratch.path().join(access.kind);
    let (mut flags, mut before) = (access.flags.clone(), None);
    if let Some(old) = files::read_if_there(&access.file)?.filter(|_| access.merge) {
        scratch.write(Path::new(access.kind), &old)?;
        // Without it omnictl adds an entry of the same name and `-1` (go-kubeconfig `merge.go`), and the old token stays.
        flags.extend(["--merge".to_owned(), "--force".to_owned()]);
        before = Some(old);
    }
    omnictl.write_access(access.kind, &access.cluster, &flags, &copy)?;
    let text = files::read_text_if_there(&copy)?.filter(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| Failure::new(Code::Failed, format!("omnictl wrote no {}", access.kind)))?;
    secret::hide_in(&text);
    if let Some(before) = before.filter(|_| !access.force) {
        same_servers(cx, access, &before, &text)?;
    }
    Ok(Secret::plain(text))
}

/// Refuses to merge where an entry of the same name leads to another server: it may be a cluster of another Omni.
fn same_servers(cx: &Cx, access: &Access, before: &[u8], after: &str) -> Result<(), Failure> {
    let servers = |text: &[u8]| -> BTreeMap<String, String> {
        let config: Value = serde_yaml::from_slice(text).unwrap_or_default();
        let clusters = config["clusters"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        clusters.filter_map(|entry| Some((text(&entry["name"])?, text(&entry["cluster"]["server"])?))).collect()
    };
    let after = servers(after.as_bytes());
    let other = servers(before).into_iter().find_map(|(name, old)| {
        let new = after.get(&name).filter(|new| **new != old)?;
        Some(format!("its cluster `{name}` is at {old}, and would be at {new}"))
    });
    other.map_or(Ok(()), |cause| {
        let shown = cx.paths.show(&access.file);
        Err(Failure::new(Code::Conflict, format!("`{shown}` has an entry of the same name for another server"))
            .cause(cause)
            .hint("write a file of its own with --file FILE, or replace the entry with --force"))
    })
}
