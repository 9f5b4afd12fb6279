//! Differences between the project's files, Omni and Proxmox: each reported once, with a fix in either direction.

use std::collections::{BTreeMap, BTreeSet};

use domain::status::omni::Resource;
use domain::status::proxmox::{Drive, SET_TAG, parse_drives, place};
use serde::Serialize;
use serde_json::Value;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// `class-without-file`, `cluster-differs`, `vm-changed`, …
    pub kind: &'static str,
    /// The object that differs: a machine class, a cluster, or a VM with its node.
    pub object: String,
    pub detail: String,
    pub fixes: Vec<Fix>,
}

/// A way to resolve a difference. It is never applied automatically.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// What the command does.
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

/// A VM that the provider created, as `GET /cluster/resources?type=vm` lists it. Sizes are in bytes.
struct Vm<'a> {
    id: u64,
    name: &'a str,
    tags: Vec<&'a str>,
    listed: &'a Value,
}

impl<'a> Vm<'a> {
    fn of(listed: &'a Value) -> Option<Vm<'a>> {
        let text = |key: &str| listed[key].as_str().unwrap_or_default();
        let tags = text("tags").split([';', ',', ' ']).filter(|tag| !tag.is_empty()).collect();
        Some(Vm { id: listed["vmid"].as_u64()?, name: text("name"), tags, listed })
    }

    fn object(&self) -> String {
        format!("VM {} ({}) on {}", self.id, self.name, place(self.listed))
    }

    fn is_of_provider(&self) -> bool {
        self.tags.iter().any(|tag| tag.starts_with(SET_TAG))
    }

    /// Returns true if its name is that of its set plus a suffix.
    fn has_provider_name(&self) -> bool {
        let sets = self.tags.iter().filter_map(|tag| tag.strip_prefix(SET_TAG));
        sets.map(|set| format!("{set}-")).any(|set| self.name.starts_with(&set))
    }
}

/// Returns true if an entry of Proxmox's VM list matters for [`machines`]: it has the provider's tag or the name of a request.
pub fn is_relevant(listed: &Value, requests: &BTreeSet<&str>) -> bool {
    let name = listed["name"].as_str().unwrap_or_default();
    let template = listed["template"].as_u64() == Some(1);
    !template && (requests.contains(name) || Vm::of(listed).is_some_and(|vm| vm.is_of_provider()))
}

/// Compares Omni's machine requests with Proxmox's VMs and reports VMs without a request, provisioned requests without a VM, and
/// VMs that differ from their request. `provisioned` are the requests to this project's provider whose VM was created; `configs`
/// are the configurations of the VMs that were queried, by ID.
///
/// The provider names a VM after its request, tags it with the request's set, and never changes it again
/// (omni-infra-provider-proxmox 0d9fd58 `provision.go`).
pub fn machines(
    requests: &[Resource],
    provisioned: &BTreeSet<&str>,
    listed: &[Value],
    configs: &BTreeMap<u64, Value>,
) -> Vec<Drift> {
    let by_name: BTreeMap<&str, &Resource> =
        requests.iter().map(|request| (request.metadata.id.as_str(), request)).collect();
    let mut found = Vec::new();
    let (mut seen, mut nameless) = (BTreeSet::new(), Vec::new());
    // All requests of a class have the same provider data.
    let mut wanted: BTreeMap<&str, Value> = BTreeMap::new();
    for vm in listed.iter().filter_map(Vm::of) {
        seen.insert(vm.name);
        match by_name.get(vm.name) {
            None if vm.is_of_provider() => {
                found.push(vm_without_request(&vm));
                nameless.extend(Some(vm).filter(|vm| !vm.has_provider_name()));
            }
            None => {}
            Some(request) if !request.metadata.tearing_down() => {
                let text = request.at(&["providerdata"]).as_str().unwrap_or_default();
                let data = wanted.entry(text).or_insert_with(|| serde_yaml::from_str(text).unwrap_or_default());
                found.extend(compare_vm(&vm, request, data, configs.get(&vm.id)));
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
        let tag = request.metadata.label("machine-request-set").map(|set| format!("{SET_TAG}{set}"));
        let renamed = tag.and_then(|tag| nameless.iter().find(|vm| vm.tags.contains(&tag.as_str())));
        let detail = "its VM was created but no longer exists";
        let mut drift = Drift::new("request-without-vm", format!("machine request {id}"), detail);
        if let Some(vm) = renamed {
            drift.detail.push_str(&format!(", or it is {}, which has its set's tag", vm.object()));
            let effect = "restores the VM's name, if its UUID is the machine's";
            drift = drift.fix(effect, format!("qm set {} --name {id}", vm.id));
        }
        drift.fix("Omni requests a new machine", format!("cargo xtask machine-replace {id}"))
    }));
    found
}

/// Reports a VM that has the provider's tag but no request. Proxmox copies tags to clones, and anyone can set them, so the name
/// decides: that of a VM of the provider is the name of its set plus a suffix.
fn vm_without_request(vm: &Vm<'_>) -> Drift {
    let (own, others): (Vec<&str>, Vec<&str>) = vm.tags.iter().partition(|tag| tag.starts_with(SET_TAG));
    let made = vm.has_provider_name();
    let detail = match made {
        true => format!("it has the name and the tag `{}` of the provider's VMs", own.join("`, `")),
        false => format!("it has the tag `{}`, but not a name that the provider gives its VMs", own.join("`, `")),
    };
    let drift = Drift::new("vm-without-request", vm.object(), format!("{detail}, but Omni has no such request"))
        .fix("shows its configuration: a clone has the tags of its original", format!("qm config {}", vm.id));
    match made {
        true => drift.fix("destroys the VM with its disks", format!("qm stop {0}; qm destroy {0} --purge", vm.id)),
        false => drift.fix("removes the tag", format!("qm set {} --tags '{}'", vm.id, others.join(";"))),
    }
}

/// Reports how a VM differs from the provider data of its request.
fn compare_vm(vm: &Vm<'_>, request: &Resource, data: &Value, config: Option<&Value>) -> Option<Drift> {
    let wanted = |key: &str| data[key].as_u64();
    let vcpus = wanted("cores").map(|cores| cores * wanted("sockets").unwrap_or(1).max(1));
    let sizes = [
        ("vCPUs", vcpus, vm.listed["maxcpu"].as_u64(), 1),
        ("MiB of memory", wanted("memory"), vm.listed["maxmem"].as_u64(), 1 << 20),
        ("GiB of disk", wanted("disk_size"), vm.listed["maxdisk"].as_u64(), 1 << 30),
    ];
    let mut words = Vec::new();
    for (unit, wanted, is, bytes) in sizes {
        // Proxmox lists 0 if it does not know a value, for example the disk of a VM without a boot disk.
        let (Some(wanted), Some(is)) = (wanted, is.filter(|is| *is > 0)) else { continue };
        if wanted.saturating_mul(bytes) != is {
            let is =
                if is % bytes == 0 { (is / bytes).to_string() } else { format!("{:.2}", is as f64 / bytes as f64) };
            words.push(format!("it has {is} {unit}, the request specifies {wanted}"));
        }
    }
    if let Some(config) = config {
        words.extend(compare_network_cards(config, data));
        words.extend(compare_further_disks(config, data));
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
        true => drift.fix("restores the tag", format!("qm set {} --tags '{}'", vm.id, tags.join(";"))),
        false => drift,
    };
    Some(match words.len() > usize::from(retag) {
        true => {
            drift.fix("keeps it for new machines too: change the class", "cargo xtask machineclass-apply NAME").fix(
                "destroys the VM, and Omni requests a new machine",
                format!("cargo xtask machine-replace {}", request.metadata.id),
            )
        }
        false => drift,
    })
}

/// Reports network cards of a VM that differ from its provider data: bridge and VLAN of each (provision.go `net0`,
/// `additional_nics`). Proxmox has `"net0": "virtio=BC:24:11:…,bridge=vmbr0,firewall=1,tag=20"`.
fn compare_network_cards(config: &Value, data: &Value) -> Vec<String> {
    let wanted = |bridge: &Value, vlan: &Value| {
        let bridge = bridge.as_str().filter(|bridge| !bridge.is_empty()).unwrap_or("vmbr0");
        (bridge.to_owned(), vlan.as_u64().unwrap_or_default())
    };
    let more = data["additional_nics"].as_array().into_iter().flatten();
    let wanted: BTreeMap<String, (String, u64)> = [wanted(&data["network_bridge"], &data["vlan"])]
        .into_iter()
        .chain(more.map(|card| wanted(&card["bridge"], &card["vlan"])))
        .enumerate()
        .map(|(at, card)| (format!("net{at}"), card))
        .collect();
    let option = |text: &str, key: &str| {
        text.split(',').find_map(|option| option.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
    };
    let card = |(slot, text): (&String, &Value)| {
        let number = slot.strip_prefix("net")?;
        number.parse::<u8>().ok()?;
        let text = text.as_str()?;
        let vlan = option(text, "tag").and_then(|tag| tag.parse().ok()).unwrap_or_default();
        Some((slot.clone(), (option(text, "bridge").unwrap_or_default(), vlan)))
    };
    let is: BTreeMap<String, (String, u64)> = config.as_object().into_iter().flatten().filter_map(card).collect();
    let on = |(bridge, vlan): &(String, u64)| match (bridge.as_str(), vlan) {
        ("", _) => "no bridge".to_owned(),
        (bridge, 0) => bridge.to_owned(),
        (bridge, vlan) => format!("{bridge} with VLAN {vlan}"),
    };
    compare("card", &wanted, &is, |is, wanted| (is != wanted).then(|| (on(is), on(wanted))), on)
}

/// Reports disks beyond the first that differ from the provider data (provision.go `additional_disks`: `scsi1` and on). The size
/// of the first disk is in Proxmox's list.
fn compare_further_disks(config: &Value, data: &Value) -> Vec<String> {
    let sizes = data["additional_disks"].as_array().into_iter().flatten().map(|disk| disk["disk_size"].as_u64());
    let wanted = sizes.enumerate().map(|(at, gib)| (format!("scsi{}", at + 1), gib.map(|gib| gib << 30)));
    let is = parse_drives(config).into_iter().filter(|drive| drive.slot != "scsi0");
    let is: BTreeMap<String, Option<u64>> = is.map(|Drive { slot, bytes, .. }| (slot, bytes)).collect();
    let size = |bytes: &Option<u64>| bytes.map_or("an unknown size".to_owned(), crate::capacity::format_bytes);
    let differs = |is: &Option<u64>, wanted: &Option<u64>| {
        (is.is_some() && wanted.is_some() && is != wanted).then(|| (size(is), size(wanted)))
    };
    compare("disk", &wanted.collect(), &is, differs, size)
}

/// Compares what a VM has with what is requested, slot by slot.
fn compare<T>(
    what: &str,
    wanted: &BTreeMap<String, T>,
    is: &BTreeMap<String, T>,
    differs: impl Fn(&T, &T) -> Option<(String, String)>,
    shown: impl Fn(&T) -> String,
) -> Vec<String> {
    let slots: BTreeSet<&String> = wanted.keys().chain(is.keys()).collect();
    let word = |slot: &String| match (is.get(slot), wanted.get(slot)) {
        (Some(is), Some(wanted)) => {
            let (is, wanted) = differs(is, wanted)?;
            Some(format!("its {what} {slot} has {is}, the request specifies {wanted}"))
        }
        (Some(is), None) => Some(format!("it has a {what} {slot} ({}) that the request does not include", shown(is))),
        (None, wanted) => Some(format!("its {what} {slot} ({}) is missing", wanted.map(&shown).unwrap_or_default())),
    };
    slots.into_iter().filter_map(word).collect()
}

/// An ISO image in a storage, as `GET /nodes/NODE/storage/STORAGE/content?content=iso` lists it.
pub struct Image {
    pub node: String,
    /// `local:iso/user-data-100.iso`
    pub volume: String,
    pub size: u64,
}

/// Reports images of the provider that nothing needs: the seed of a missing VM, and Talos images that no VM has in a drive.
///
/// `guests` are the IDs of all guests. `configs` are the configurations of all the provider's VMs, or `None` if one is unknown.
/// The provider names the seed after the VM's ID and deletes it with the VM; Talos images are named with 64 hexadecimal digits
/// and stay (provider 0d9fd58 to v0.3.0 `provision.go`, go-proxmox `virtual_machine.go` `CloudInit`).
pub fn unneeded_images(images: &[Image], guests: &BTreeSet<u64>, configs: Option<&BTreeMap<u64, Value>>) -> Vec<Drift> {
    let used = |file: &str| {
        let configs = configs?;
        let drives = configs.values().filter_map(Value::as_object).flat_map(|config| config.values());
        Some(drives.filter_map(Value::as_str).any(|drive| drive.contains(&format!("iso/{file}"))))
    };
    let one = |image: &Image| {
        let file = image.volume.rsplit('/').next()?;
        let stem = file.strip_suffix(".iso")?;
        let seed = stem.strip_prefix("user-data-").and_then(|id| id.parse::<u64>().ok());
        let talos = stem.len() == 64 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (kind, detail, effect) = match seed {
            Some(id) if !guests.contains(&id) => (
                "seed-without-vm",
                format!("it is the seed image of VM {id}, which does not exist"),
                "deletes it; first make sure that no guest has this ID (`pvesh get /cluster/resources --type vm`)",
            ),
            None if talos && used(file) == Some(false) => (
                "image-not-used",
                format!("no VM of the provider uses this Talos image of {}", crate::capacity::format_bytes(image.size)),
                "deletes it; the provider downloads it again when it needs it",
            ),
            _ => return None,
        };
        let object = format!("image {} on {}", image.volume, image.node);
        Some(Drift::new(kind, object, detail).fix(effect, format!("pvesm free {}", image.volume)))
    };
    images.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn requests(count: usize) -> Vec<Resource> {
        let one = |at: usize| {
            let data = format!(
                "cores: {}\nsockets: 2\nmemory: 4096\ndisk_size: 40\nnetwork_bridge: vmbr1\nvlan: 20\n\
                 additional_nics: [{{bridge: vmbr0}}]\nadditional_disks: [{{disk_size: 100, storage_selector: 'true'}}]\n",
                at % 3 + 1
            );
            json!({
                "metadata": { "id": format!("demo-workers-{at}"), "phase": "running",
                    "labels": { "omni.sidero.dev/machine-request-set": "demo-workers" } },
                "spec": { "providerdata": data },
            })
        };
        let text: String = (0..count).map(|at| one(at).to_string()).collect();
        domain::status::omni::parse_resources(&text).expect("resources")
    }

    fn vms(count: u64) -> Vec<Value> {
        let one = |at: u64| {
            json!({ "vmid": 100 + at, "name": format!("demo-workers-{at}"), "node": "pve1", "status": "running",
                "maxcpu": (at % 3 + 1) * 2, "maxmem": 4096_u64 << 20, "maxdisk": 40_u64 << 30,
                "tags": "go-proxmox+cloud-init;machine-request.demo-workers" })
        };
        (0..count).map(one).collect()
    }

    /// The configurations that the provider writes (recorded creation of a VM) and Proxmox completes.
    fn configs(count: u64) -> BTreeMap<u64, Value> {
        let one = json!({ "cores": 2, "scsihw": "virtio-scsi-single", "scsi0": "local-lvm:vm-1-disk-0,size=40G",
            "scsi1": "ceph:vm-1-disk-1,iothread=1,size=100G", "ide2": "local:iso/talos.iso,media=cdrom,size=300M",
            "ide0": "local:iso/user-data-1.iso,media=cdrom", "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr1,firewall=1,tag=20",
            "net1": "virtio=BC:24:11:00:00:02,bridge=vmbr0,firewall=0" });
        (100..100 + count).map(|id| (id, one.clone())).collect()
    }

    /// A manual change to one of many machines is found, and nothing else; `operation::drift_…` of the runner does the same with
    /// all kinds in the lab.
    #[test]
    fn manual_changes_are_found_and_nothing_else() {
        let requests = requests(50);
        let provisioned: BTreeSet<&str> = requests.iter().map(|request| request.metadata.id.as_str()).collect();
        assert_eq!(machines(&requests, &provisioned, &vms(50), &configs(50)), []);
        let fewer = vms(49);
        let found = machines(&requests, &provisioned, &fewer, &configs(49));
        assert_eq!(
            (found.len(), found[0].kind, found[0].object.as_str()),
            (1, "request-without-vm", "machine request demo-workers-49")
        );
        assert_eq!(found[0].fixes[0].command, "cargo xtask machine-replace demo-workers-49");
        let mut renamed = vms(50);
        renamed[49]["name"] = "mine".into();
        let found = machines(&requests, &provisioned, &renamed, &configs(50));
        assert_eq!(found[1].fixes[0].command, "qm set 149 --name demo-workers-49");
        let (large, more): (u64, u64) = (41 << 30, (4096 << 20) + 1);
        // Whether the change is in the list (or else in the configuration), the key, its value, and what is reported.
        for (listed, key, value, words) in [
            (true, "tags", json!("mine"), "the tag `machine-request.demo-workers` is missing"),
            (true, "maxcpu", json!(5), "it has 5 vCPUs, the request specifies 4"),
            (true, "maxmem", json!(more), "it has 4096.00 MiB of memory, the request specifies 4096"),
            (true, "maxdisk", json!(large), "it has 41 GiB of disk, the request specifies 40"),
            (
                false,
                "net0",
                json!("virtio=BC,bridge=vmbr1,tag=21"),
                "net0 has vmbr1 with VLAN 21, the request specifies vmbr1 with VLAN 20",
            ),
            (false, "net0", json!("e1000=BC,tag=20"), "net0 has no bridge, the request specifies vmbr1 with VLAN 20"),
            (false, "net1", json!("virtio=BC,bridge=vmbr9"), "net1 has vmbr9, the request specifies vmbr0"),
            (false, "net1", Value::Null, "card net1 (vmbr0) is missing"),
            (false, "net7", json!("virtio,bridge=vmbr2"), "a card net7 (vmbr2) that"),
            (false, "scsi1", json!("ceph:x,size=150G"), "scsi1 has 150.0 GiB, the request specifies 100.0 GiB"),
            (false, "scsi1", Value::Null, "disk scsi1 (100.0 GiB) is missing"),
            (false, "virtio3", json!("/dev/disk/by-id/x"), "a disk virtio3 (an unknown size) that"),
        ] {
            let (mut all, mut configs) = (vms(50), configs(50));
            let config = configs.get_mut(&107).expect("a configuration");
            (if listed { &mut all[7] } else { config })[key] = value;
            let found = machines(&requests, &provisioned, &all, &configs);
            let text = found.iter().map(|drift| drift.detail.as_str()).collect::<String>();
            assert!(
                found.len() == 1 && found[0].kind == "vm-changed" && text.contains(words) && !found[0].fixes.is_empty(),
                "{key}: {words}: {found:?}"
            );
        }
    }

    #[test]
    fn only_unneeded_images_are_reported() {
        let image = |volume: String| Image { node: "pve1".into(), volume, size: 300 << 20 };
        let (talos, other) = ("a".repeat(64), "b".repeat(64));
        let files = ["user-data-100.iso", "user-data-999.iso", "debian-13.iso", "user-data-x.iso"].map(str::to_owned);
        let files = files.into_iter().chain([format!("{talos}.iso"), format!("{other}.iso")]);
        let images: Vec<Image> = files.map(|file| image(format!("local:iso/{file}"))).collect();
        let mut configs = configs(1);
        configs.insert(101, json!({ "ide2": format!("nas:iso/{talos}.iso,media=cdrom") }));
        let guests = BTreeSet::from([100, 101]);
        let kinds =
            |configs| unneeded_images(&images, &guests, configs).iter().map(|drift| drift.kind).collect::<Vec<_>>();
        assert_eq!(kinds(Some(&configs)), ["seed-without-vm", "image-not-used"]);
        assert_eq!(kinds(None), ["seed-without-vm"]);
        assert_eq!(
            unneeded_images(&images, &guests, None)[0].fixes[0].command,
            "pvesm free local:iso/user-data-999.iso"
        );
    }

    #[test]
    fn tag_alone_does_not_prove_the_provider() {
        for (name, command) in
            [("demo-workers-7", "qm stop 999; qm destroy 999 --purge"), ("golden", "qm set 999 --tags 'mine'")]
        {
            let vm = json!({ "vmid": 999, "name": name, "node": "pve1", "tags": "mine;machine-request.demo-workers" });
            let found = machines(&[], &BTreeSet::new(), &[vm], &BTreeMap::new());
            let commands: Vec<&str> = found[0].fixes.iter().map(|fix| fix.command.as_str()).collect();
            assert_eq!(commands, ["qm config 999", command], "{name}");
        }
    }

    #[test]
    fn only_vms_of_the_provider_are_relevant() {
        let names = BTreeSet::from(["demo-workers-0"]);
        for (listed, expected) in [
            (json!({ "vmid": 1, "name": "nas", "node": "pve1" }), false),
            (json!({ "vmid": 1, "name": "nas", "node": "pve1", "tags": "x;machine-request.demo-workers" }), true),
            (json!({ "vmid": 1, "name": "demo-workers-0", "node": "pve1" }), true),
            (json!({ "vmid": 1, "name": "demo-workers-0", "node": "pve1", "template": 1 }), false),
        ] {
            assert_eq!(is_relevant(&listed, &names), expected, "{listed}");
        }
    }
}
