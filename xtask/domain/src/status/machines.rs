//! The machines of all clusters, one line each, from what Omni and Proxmox know of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cluster::{Pair, machine_view, pairs};
use super::omni::{Brief, Resource};
use super::proxmox::place;

/// A machine of a cluster, or the request for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MachineLine {
    pub cluster: String,
    pub machine_set: String,
    /// The id of its machine request, which is the VM's name too; without a request its UUID.
    pub name: String,
    pub uuid: String,
    pub stage: String,
    pub ready: bool,
    /// Of the VM in Proxmox: `None` where it was not found.
    pub node: Option<String>,
    pub vm: Option<u64>,
    /// Without the length of its prefix.
    pub address: String,
    pub talos: String,
    /// Of its kubelet, where [`add_kubelets`] knows its node.
    pub kubernetes: String,
    /// RFC 3339.
    pub created: String,
    /// What it waits for, with the error that is reported; empty if it is ready.
    #[serde(skip)]
    pub waits_for: String,
    /// Its name in Kubernetes.
    #[serde(skip)]
    node_name: String,
}

/// What is shown of a MachineStatus, most of which is about hardware.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reported {
    network: Option<Network>,
    talosversion: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    addresses: Vec<String>,
}

/// What is shown of a KubernetesStatus, which has the id of its cluster (omni v1.9.3 `omni.proto` KubernetesStatusSpec).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Kubelets {
    nodes: Vec<Kubelet>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kubelet {
    nodename: String,
    kubeletversion: String,
}

/// The lines, by cluster, machine set and name. `requests` are ClusterMachineRequestStatuses, `machines`
/// ClusterMachineStatuses, `statuses` MachineStatuses; `vms` are entries of Proxmox's list.
pub fn machine_lines(
    requests: &[Resource],
    machines: &[Resource],
    statuses: &[Brief<Reported>],
    vms: &[Value],
) -> Vec<MachineLine> {
    let statuses: BTreeMap<&str, &Reported> =
        statuses.iter().map(|status| (status.metadata.id.as_str(), &status.spec)).collect();
    let vms: BTreeMap<&str, &Value> = vms.iter().filter_map(|vm| Some((vm["name"].as_str()?, vm))).collect();
    let line = |(request, machine): Pair<'_>| {
        let view = machine_view(request, machine);
        let of = |label: &str| [request, machine].into_iter().flatten().find_map(|found| found.metadata.label(label));
        let status = statuses.get(view.uuid.as_str());
        let vm = vms.get(view.request.as_str());
        let address = status.and_then(|status| status.network.as_ref()?.addresses.first()).map_or("", String::as_str);
        MachineLine {
            cluster: of("cluster").unwrap_or_default().to_owned(),
            machine_set: of("machine-set").unwrap_or_default().to_owned(),
            name: view.name().to_owned(),
            node: vm.map(|vm| place(vm)),
            vm: vm.and_then(|vm| vm["vmid"].as_u64()),
            address: address.split('/').next().unwrap_or_default().to_owned(),
            talos: status.map_or("", |status| status.talosversion.trim_start_matches('v')).to_owned(),
            kubernetes: String::new(),
            node_name: of("node-name").unwrap_or_default().to_owned(),
            created: request.or(machine).map_or(String::new(), |found| found.metadata.created.clone()),
            waits_for: if view.error.is_empty() {
                view.waits_for
            } else {
                format!("{}: {}", view.waits_for, view.error)
            },
            uuid: view.uuid,
            stage: view.stage,
            ready: view.ready,
        }
    };
    let mut lines: Vec<MachineLine> = pairs(requests.iter(), machines).into_iter().map(line).collect();
    lines.sort_by(|a, b| (&a.cluster, &a.machine_set, &a.name).cmp(&(&b.cluster, &b.machine_set, &b.name)));
    lines
}

/// The versions of kubelets, by the KubernetesStatuses of clusters.
pub fn add_kubelets(lines: &mut [MachineLine], kubelets: &[Brief<Kubelets>]) {
    let mut versions: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for status in kubelets {
        let cluster = status.metadata.id.as_str();
        versions
            .extend(status.spec.nodes.iter().map(|it| ((cluster, it.nodename.as_str()), it.kubeletversion.as_str())));
    }
    for line in lines {
        let version = versions.get(&(line.cluster.as_str(), line.node_name.as_str()));
        line.kubernetes = version.copied().unwrap_or_default().to_owned();
    }
}
