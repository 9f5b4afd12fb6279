//! Differences between the project's files, Omni and Proxmox: each once, with what ends it in either direction.

use std::collections::{BTreeMap, BTreeSet};

use domain::status::omni::Resource;
use domain::status::proxmox::SET_TAG;
use serde::Serialize;
use serde_json::Value;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// `class-without-file`, `cluster-differs`, `vm-changed`, …
    pub kind: &'static str,
    /// What it is about: a machine class, a cluster, a VM with its node.
    pub object: String,
    pub detail: String,
    pub fixes: Vec<Fix>,
}

/// A way to end a difference. It is never taken by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// What it comes to.
    pub effect: &'static str,
    pub command: String,
}

impl Drift {
    pub fn new(kind: &'static str, object: impl Into<String>, detail: impl Into<String>) -> Drift {
        Drift { kind, object: object.into(), detail: detail.into(), fixes: Vec::new() }
    }

    pub fn fix(mut self, effect: &'static str, command: impl Into<String>) -> Drift {
        self.fixes.push(Fix { effect, command: command.into() });
        self
    }
}

/// A VM that the provider made, as `GET /cluster/resources?type=vm` lists it. Sizes are bytes.
struct Vm<'a> {
    id: u64,
    name: &'a str,
    node: &'a str,
    tags: Vec<&'a str>,
    listed: &'a Value,
}

impl<'a> Vm<'a> {
    fn of(listed: &'a Value) -> Option<Vm<'a>> {
        let text = |key: &str| listed[key].as_str().unwrap_or_default();
        let tags = text("tags").split([';', ',', ' ']).filter(|tag| !tag.is_empty()).collect();
        Some(Vm { id: listed["vmid"].as_u64()?, name: text("name"), node: text("node"), tags, listed })
    }

    fn object(&self) -> String {
        format!("VM {} ({}) on {}", self.id, self.name, self.node)
    }

    fn of_provider(&self) -> bool {
        self.tags.iter().any(|tag| tag.starts_with(SET_TAG))
    }
}

/// Whether an entry of Proxmox's list of VMs matters for [`machines`]: it has the provider's tag or the name of a request.
pub fn matters(listed: &Value, requests: &BTreeSet<&str>) -> bool {
    let name = listed["name"].as_str().unwrap_or_default();
    let template = listed["template"].as_u64() == Some(1);
    !template && (requests.contains(name) || Vm::of(listed).is_some_and(|vm| vm.of_provider()))
}

/// Omni's machine requests of one provider beside Proxmox's VMs: VMs without a request, provisioned requests without a VM, and
/// VMs that are not what their request asks for. `provisioned` are the requests whose VM was made.
///
/// The provider names a VM after its request, tags it with the request's set, and never changes its size again
/// (omni-infra-provider-proxmox 0d9fd58 `provision.go`).
pub fn machines(requests: &[Resource], provisioned: &BTreeSet<&str>, listed: &[Value]) -> Vec<Drift> {
    let by_name: BTreeMap<&str, &Resource> =
        requests.iter().map(|request| (request.metadata.id.as_str(), request)).collect();
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    // The requests of a class all have the same text.
    let mut wanted: BTreeMap<&str, Value> = BTreeMap::new();
    for vm in listed.iter().filter_map(Vm::of) {
        seen.insert(vm.name);
        match by_name.get(vm.name) {
            None => found.extend(vm.of_provider().then(|| without_request(&vm))),
            Some(request) if !request.metadata.tearing_down() => {
                let text = request.at(&["providerdata"]).as_str().unwrap_or_default();
                let data = wanted.entry(text).or_insert_with(|| serde_yaml::from_str(text).unwrap_or_default());
                found.extend(changed(&vm, request, data));
            }
            _ => {}
        }
    }
    let gone = |request: &&Resource| {
        let id = request.metadata.id.as_str();
        !request.metadata.tearing_down() && provisioned.contains(id) && !seen.contains(id)
    };
    found.extend(requests.iter().filter(gone).map(|request| {
        let id = &request.metadata.id;
        Drift::new("request-without-vm", format!("machine request {id}"), "its VM was made and is not there any more")
            .fix("Omni asks for a new machine", format!("cargo xtask machine-replace {id}"))
    }));
    found
}

/// A VM with the provider's tag. Proxmox copies tags to clones, and anybody can set them: only the name tells more, which is that of
/// the set and a suffix for a VM of the provider.
fn without_request(vm: &Vm<'_>) -> Drift {
    let (own, others): (Vec<&str>, Vec<&str>) = vm.tags.iter().partition(|tag| tag.starts_with(SET_TAG));
    let of = |tag: &&str| vm.name.starts_with(&format!("{}-", tag.trim_start_matches(SET_TAG)));
    let made = own.iter().any(of);
    let detail = match made {
        true => format!("it has the name and the tag `{}` of the provider's VMs", own.join("`, `")),
        false => format!("it has the tag `{}` and not the name of one of the provider's VMs", own.join("`, `")),
    };
    let drift = Drift::new("vm-without-request", vm.object(), format!("{detail}, and Omni asks for no such machine"))
        .fix("shows what it is: a clone has the tags of its original", format!("qm config {}", vm.id));
    match made {
        true => drift.fix("destroys the VM with its disks", format!("qm stop {0}; qm destroy {0} --purge", vm.id)),
        false => drift.fix("takes the tag off", format!("qm set {} --tags '{}'", vm.id, others.join(";"))),
    }
}

/// What of a VM is not as its request asks with its provider data.
fn changed(vm: &Vm<'_>, request: &Resource, data: &Value) -> Option<Drift> {
    let wanted = |key: &str| data[key].as_u64();
    let vcpus = wanted("cores").map(|cores| cores * wanted("sockets").unwrap_or(1).max(1));
    let sizes = [
        ("vCPUs", vcpus, vm.listed["maxcpu"].as_u64(), 1),
        ("MiB of memory", wanted("memory"), vm.listed["maxmem"].as_u64(), 1 << 20),
        ("GiB of disk", wanted("disk_size"), vm.listed["maxdisk"].as_u64(), 1 << 30),
    ];
    let mut words = Vec::new();
    for (unit, wanted, is, bytes) in sizes {
        // Proxmox lists 0 where it does not know, as the disk of a VM without a boot disk.
        let (Some(wanted), Some(is)) = (wanted, is.filter(|is| *is > 0)) else { continue };
        if wanted.saturating_mul(bytes) != is {
            let is =
                if is % bytes == 0 { (is / bytes).to_string() } else { format!("{:.2}", is as f64 / bytes as f64) };
            words.push(format!("it has {is} {unit}, the request asks for {wanted}"));
        }
    }
    let set = request.metadata.label("machine-request-set").map(|set| format!("{SET_TAG}{set}"));
    let mut tags = vm.tags.clone();
    if let Some(tag) = set.as_deref().filter(|tag| !tags.contains(tag)) {
        tags.push(tag);
        words.push(format!("the tag `{tag}` is missing"));
    }
    if words.is_empty() {
        return None;
    }
    let drift = Drift::new("vm-changed", vm.object(), words.join("; "));
    let retag = words.iter().any(|word| word.starts_with("the tag"));
    let drift = match retag {
        true => drift.fix("puts the tag back", format!("qm set {} --tags '{}'", vm.id, tags.join(";"))),
        false => drift,
    };
    Some(match words.len() > usize::from(retag) {
        true => drift
            .fix("keeps it, and new machines are like it: change the class", "cargo xtask machineclass-apply NAME")
            .fix(
                "destroys the VM, and Omni asks for a new machine",
                format!("cargo xtask machine-replace {}", request.metadata.id),
            ),
        false => drift,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn requests(count: usize) -> Vec<Resource> {
        let one = |at: usize| {
            let data = format!("cores: {}\nsockets: 2\nmemory: 4096\ndisk_size: 40\n", at % 3 + 1);
            json!({
                "metadata": { "id": format!("demo-workers-{at}"), "phase": "running",
                    "labels": { "omni.sidero.dev/machine-request-set": "demo-workers" } },
                "spec": { "providerdata": data },
            })
        };
        let text: String = (0..count).map(|at| one(at).to_string()).collect();
        domain::status::omni::resources(&text).expect("resources")
    }

    fn vms(count: u64) -> Vec<Value> {
        let one = |at: u64| {
            json!({ "vmid": 100 + at, "name": format!("demo-workers-{at}"), "node": "pve1", "status": "running",
                "maxcpu": (at % 3 + 1) * 2, "maxmem": 4096_u64 << 20, "maxdisk": 40_u64 << 30,
                "tags": "go-proxmox+cloud-init;machine-request.demo-workers" })
        };
        (0..count).map(one).collect()
    }

    /// A thousand changes made by hand, each in a random machine: every one is found, and nothing else.
    #[test]
    fn every_change_by_hand_is_found_and_no_other() {
        fastrand::seed(20_261_129);
        let requests = requests(50);
        let provisioned: BTreeSet<&str> = requests.iter().map(|request| request.metadata.id.as_str()).collect();
        assert_eq!(machines(&requests, &provisioned, &vms(50)), []);
        for _ in 0..1_000 {
            let mut listed = vms(50);
            let at = fastrand::usize(..50);
            let name = format!("demo-workers-{at}");
            let (kind, word) = match fastrand::usize(..6) {
                0 => {
                    listed.remove(at);
                    ("request-without-vm", name.clone())
                }
                1 => {
                    let mut other = listed[at].clone();
                    (other["vmid"], other["name"]) = (json!(999), json!("demo-workers-old"));
                    listed.push(other);
                    ("vm-without-request", "VM 999 (demo-workers-old) on pve1".to_owned())
                }
                2 => {
                    listed[at]["tags"] = json!("mine");
                    ("vm-changed", "the tag `machine-request.demo-workers` is missing".to_owned())
                }
                size => {
                    let (key, unit) = [("maxcpu", "vCPUs"), ("maxmem", "MiB"), ("maxdisk", "GiB")][size - 3];
                    let more = if key == "maxcpu" { 1 } else { fastrand::u64(1..1 << 36) };
                    listed[at][key] = json!(listed[at][key].as_u64().unwrap_or_default() + more);
                    ("vm-changed", unit.to_owned())
                }
            };
            let found = machines(&requests, &provisioned, &listed);
            let [drift] = found.as_slice() else { panic!("{kind} of {name}: {found:?}") };
            let text = format!("{} {}", drift.object, drift.detail);
            assert!(
                drift.kind == kind && text.contains(&word) && !drift.fixes.is_empty(),
                "{kind} of {name}: {drift:?}"
            );
        }
    }

    #[test]
    fn tag_alone_does_not_make_a_vm_one_of_the_provider() {
        for (name, command) in
            [("demo-workers-7", "qm stop 999; qm destroy 999 --purge"), ("golden", "qm set 999 --tags 'mine'")]
        {
            let vm = json!({ "vmid": 999, "name": name, "node": "pve1", "tags": "mine;machine-request.demo-workers" });
            let found = machines(&[], &BTreeSet::new(), &[vm]);
            let commands: Vec<&str> = found[0].fixes.iter().map(|fix| fix.command.as_str()).collect();
            assert_eq!(commands, ["qm config 999", command], "{name}");
        }
    }

    #[test]
    fn only_vms_of_the_provider_matter() {
        let names = BTreeSet::from(["demo-workers-0"]);
        for (listed, expected) in [
            (json!({ "vmid": 1, "name": "nas", "node": "pve1" }), false),
            (json!({ "vmid": 1, "name": "nas", "node": "pve1", "tags": "x;machine-request.demo-workers" }), true),
            (json!({ "vmid": 1, "name": "demo-workers-0", "node": "pve1" }), true),
            (json!({ "vmid": 1, "name": "demo-workers-0", "node": "pve1", "template": 1 }), false),
        ] {
            assert_eq!(matters(&listed, &names), expected, "{listed}");
        }
    }
}
