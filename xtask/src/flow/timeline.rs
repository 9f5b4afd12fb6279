//! How long each machine of a cluster took for each step. Omni records when it was requested, joined and became ready, Proxmox
//! when its VM was created and started. Takes one request for each node that has a VM of the cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::prelude::*;
use check::explain::{Facts, Vm};
use check::timeline::{Row, Segment, SiteTimes, VmTimes, rows};
use domain::status::cluster::ClusterView;
use runtime::files;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::proxmox::Proxmox;

use crate::flow::{explain, provider, proxmox};

/// How many of a node's newest tasks are read.
const TASKS: usize = 1000;

/// Maximum number of clusters whose new machines are shown.
const CLUSTERS: usize = 5;

/// Returns the rows of the cluster in `facts`, without what Proxmox does not return.
pub fn rows_of(cx: &Cx, facts: &Facts) -> Vec<Row> {
    let Some(view) = &facts.view else { return Vec::new() };
    rows(view, &vm_times(cx, facts), &site_times(cx), facts.now)
}

/// Reads the typical times of this site; a file that cannot be read is ignored.
fn site_times(cx: &Cx) -> SiteTimes {
    let path = cx.paths.step_times();
    let read = || -> Result<SiteTimes, Failure> {
        let Some(text) = files::read_optional_text(&path)? else { return Ok(SiteTimes::default()) };
        serde_json::from_str(&text).map_err(|error| Failure::new(Code::Invalid, error.to_string()))
    };
    read().unwrap_or_else(|failure| {
        cx.ui.say(&format!("  the usual times in `{}` are ignored: {}", path.display(), failure.message));
        SiteTimes::default()
    })
}

/// Returns a row for each machine created since the last run. The rows are printed, and added to this site's typical times.
pub fn rows_of_new(cx: &Cx, omnictl: &Omnictl<'_>, clusters: &[&str]) -> Vec<Row> {
    let facts = clusters.iter().take(CLUSTERS).filter_map(|name| explain::running_cluster_facts(cx, omnictl, name));
    let (mut site, mut made) = (site_times(cx), facts.flat_map(|facts| rows_of(cx, &facts)).collect::<Vec<Row>>());
    made.retain(|row| row.begun > site.until);
    if made.is_empty() {
        return made;
    }
    let name = |row: &Row| row.machine.len();
    let width = made.iter().map(name).max().unwrap_or(0);
    for Row { machine, seconds, steps, .. } in &made {
        let steps: Vec<String> = steps.iter().map(Segment::describe).collect();
        cx.ui.say(&format!("           {machine:width$}  {seconds} s: {}", steps.join(", ")));
    }
    site.add(&made);
    // If they cannot be saved, the next run uses general times.
    let text = serde_json::to_vec(&site).unwrap_or_default();
    let _ = files::write_atomically(&cx.paths.step_times(), &text, files::PRIVATE);
    made
}

fn vm_times(cx: &Cx, facts: &Facts) -> BTreeMap<String, VmTimes> {
    let machines = facts.view.iter().flat_map(ClusterView::machines);
    let mut found = BTreeMap::new();
    for cx in provider::contexts_of_providers(cx, machines.map(|machine| machine.provider.as_str())) {
        let (Some(vms), Ok(proxmox)) = (facts.vms.known(), proxmox::login_quietly(&cx)) else { continue };
        let own = || vms.iter().filter(|(_, vm)| vm.site == proxmox.site);
        let nodes: BTreeSet<&str> = own().map(|(_, vm)| vm.node.as_str()).collect();
        let paths: Vec<String> =
            nodes.into_iter().map(|node| format!("/nodes/{node}/tasks?source=all&limit={TASKS}")).collect();
        let answers = proxmox.get_all(&cx, "listing the tasks of the nodes", &paths);
        let tasks: Vec<Value> =
            answers.into_iter().flatten().flat_map(|list| list.as_array().cloned().unwrap_or_default()).collect();
        found.extend(own().map(|(name, vm)| (name.clone(), times_of_vm(&tasks, vm))));
    }
    found
}

/// Returns the newest failed task on these nodes: of `vm`, or else one of this `kind` by the provider's own login.
pub fn newest_failed(cx: &Cx, proxmox: &Proxmox, nodes: &[String], vm: Option<&Vm>, kind: &str) -> Option<String> {
    let of = vm.map_or("&limit=50".to_owned(), |vm| format!("&limit=5&vmid={}", vm.id));
    let paths: Vec<String> = nodes.iter().map(|node| format!("/nodes/{node}/tasks?errors=1{of}")).collect();
    let answers = proxmox.get_all(cx, "listing the failed tasks of the nodes", &paths);
    let tasks = answers.into_iter().flatten().flat_map(|tasks| tasks.as_array().cloned().unwrap_or_default());
    let own = |task: &Value| match task["user"].as_str() {
        Some(user) => user.split('!').next() == Some(&proxmox.login.user()),
        None => true,
    };
    let fits = |task: &Value| vm.is_some() || (task["type"] == kind && own(task));
    tasks.filter(fits).max_by_key(|task| task["starttime"].as_u64())?["upid"].as_str().map(str::to_owned)
}

/// Another VM may have had this ID before, so this uses the newest creation, and the first start after it.
fn times_of_vm(tasks: &[Value], vm: &Vm) -> VmTimes {
    let id = vm.id.to_string();
    let own = |kind: &'static str| {
        let (id, node) = (id.as_str(), vm.node.as_str());
        tasks.iter().filter(move |task| task["type"] == kind && task["id"] == id && task["node"] == node)
    };
    let Some(creation) = own("qmcreate").max_by_key(|task| task["starttime"].as_u64()) else {
        return VmTimes::default();
    };
    let begun = creation["starttime"].as_u64();
    let start = own("qmstart").filter(|task| task["starttime"].as_u64() >= begun);
    let started = start.min_by_key(|task| task["starttime"].as_u64()).and_then(|task| task["endtime"].as_u64());
    VmTimes { creation_started: begun, created: creation["endtime"].as_u64(), started }
}
