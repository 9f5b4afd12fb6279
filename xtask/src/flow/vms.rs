//! The VMs of clusters in Proxmox. Omni shows a machine as ready for minutes after its VM has stopped.

use std::collections::{BTreeMap, BTreeSet};

use crate::prelude::*;
use domain::status::proxmox::place;
use runtime::parallel::{NO_LIMIT, map_all};
use runtime::tool::omnictl::Omnictl;
use runtime::tool::proxmox::Proxmox;

use crate::flow::proxmox;

/// Maximum number of VMs that are queried individually.
const MAX_REFRESHED: usize = 8;

/// Queries VMs individually if they are not running: the list of a cluster is up to ten seconds old (pve-manager `pvestatd.pm`),
/// so it shows a VM that has just been started as `stopped`.
pub fn refresh_states<'a>(cx: &Cx, proxmox: &Proxmox, list: impl IntoIterator<Item = &'a mut Value>) {
    for vm in list.into_iter().filter(|vm| vm["status"] != "running").take(MAX_REFRESHED) {
        let path = format!("/nodes/{}/qemu/{}/status/current", vm["node"].as_str().unwrap_or_default(), vm["vmid"]);
        if let Ok(now) = proxmox.get(cx, "reading the state of a virtual machine", &path) {
            vm["status"] = now["status"].clone();
        }
    }
}

/// Returns the VMs that are not running according to Proxmox's list; empty if it cannot be queried.
pub fn list_off(cx: &Cx) -> Vec<Value> {
    let off = |vm: &Value| vm["status"] != "running" && vm["template"] != 1;
    list_everywhere(cx, &off)
}

/// Returns the VMs that `wanted` selects in every reachable Proxmox, each once, with the `provider` that sees it.
pub fn list_everywhere(cx: &Cx, wanted: &(dyn Fn(&Value) -> bool + Sync)) -> Vec<Value> {
    let providers = cx.providers().unwrap_or_default();
    let list = |cx| {
        let proxmox = proxmox::configured(cx).ok()?;
        let found = proxmox::list_vms(cx, &proxmox, wanted).ok()?;
        Some((cx, proxmox.url, found.entries))
    };
    let (mut found, mut known) = (Vec::new(), BTreeSet::new());
    for (cx, url, vms) in map_all(&providers, NO_LIMIT, list).into_iter().flatten() {
        for mut vm in vms {
            // Two providers may use the same Proxmox.
            if known.insert((url.clone(), vm["vmid"].as_u64())) {
                vm["provider"] = cx.settings.provider_id(None).value.into();
                found.push(vm);
            }
        }
    }
    found
}

/// Returns, for each of these clusters that has a machine whose VM is off, a description of that VM. Reads the machine requests
/// from Omni only if the name of a VM that is off could be that of a machine.
pub fn explain_off(cx: &Cx, omnictl: &Omnictl<'_>, mut off: Vec<Value>, clusters: &[&str]) -> BTreeMap<String, String> {
    let name = |vm: &Value| vm["name"].as_str().unwrap_or_default().to_owned();
    let of = |name: &str| {
        let own = |cluster: &&str| name.strip_prefix(*cluster).is_some_and(|rest| rest.starts_with('-'));
        clusters.iter().copied().filter(own).max_by_key(|cluster| cluster.len())
    };
    off.retain(|vm| of(&name(vm)).is_some());
    if off.is_empty() {
        return BTreeMap::new();
    }
    let requests = omnictl.list("machinerequests", None).unwrap_or_default();
    let requested =
        |vm: &Value| requests.iter().any(|found| found.metadata.id == name(vm) && !found.metadata.tearing_down());
    off.retain(requested);
    for cx in cx.providers().unwrap_or_default() {
        if let Ok(proxmox) = proxmox::configured(&cx) {
            let id = cx.settings.provider_id(None).value;
            refresh_states(&cx, &proxmox, off.iter_mut().filter(|vm| vm["provider"] == id.as_str()));
        }
    }
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for vm in off.iter().filter(|vm| vm["status"] != "running") {
        let (Some(cluster), Some(status)) = (of(&name(vm)), vm["status"].as_str()) else { continue };
        let words = format!("the VM of `{}`: VM {} on {} is {status}", name(vm), vm["vmid"], place(vm));
        found.entry(cluster.to_owned()).or_insert(words);
    }
    found
}

/// Returns the name of a VM, which is also that of its machine request.
///
/// # Errors
/// Fails with [`Code::Usage`] if `vm` is not NODE/ID or is ambiguous among several providers, with [`Code::NotFound`], or if
/// Proxmox cannot be queried.
pub fn vm_name(cx: &Cx, vm: &str) -> Result<String, Failure> {
    let usage = || Failure::new(Code::Usage, format!("`{vm}` is not a valid VM")).hint("write NODE/ID, e.g. pve1/104");
    let (node, id) = vm.rsplit_once('/').ok_or_else(usage)?;
    let id: u64 = id.parse().map_err(|_| usage())?;
    let on = |entry: &Value| entry["node"] == node || place(entry) == node;
    let wanted = |entry: &Value| entry["vmid"] == id;
    let mut seen = Vec::new();
    for cx in cx.providers()? {
        seen.extend(proxmox::list_vms(&cx, &proxmox::login_quietly(&cx)?, &wanted)?.entries);
    }
    let name = |entry: &Value| entry["name"].as_str().unwrap_or_default().to_owned();
    let here: Vec<&Value> = seen.iter().filter(|entry| on(entry)).collect();
    if let Some(found) = here.first().filter(|found| here.iter().all(|entry| name(entry) == name(found))) {
        return Ok(name(found));
    }
    let command = |entry: &&Value| format!("cargo xtask cluster-explain --vm {}/{id}", place(entry));
    if !here.is_empty() {
        let failure = Failure::new(Code::Usage, format!("several providers have a VM {id} on {node}"));
        return Err(here.iter().map(command).fold(failure.hint("specify the provider too"), Failure::next));
    }
    let failure = Failure::new(Code::NotFound, format!("the provider's login cannot see a VM {id} on {node}"));
    Err(match seen.first() {
        Some(other) => failure.hint(format!("VM {id} is on {}", place(other))).next(command(&other)),
        None => failure.hint("the inventory shows the nodes and their VMs").next("cargo xtask proxmox-inventory"),
    })
}
