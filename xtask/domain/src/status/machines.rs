//! The machines of all clusters, one line each, from Omni and Proxmox.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cluster::{Pair, machine_view, pair_requests};
use super::omni::{Brief, Resource};
use super::proxmox::place;

/// A machine of a cluster, or the request for a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MachineLine {
    pub cluster: String,
    pub machine_set: String,
    /// The ID of the machine request, which is also the name of the VM, or the UUID if there is no request.
    pub name: String,
    pub uuid: String,
    pub stage: String,
    pub ready: bool,
    /// The node of the VM in Proxmox; `None` if the VM was not found.
    pub node: Option<String>,
    pub vm: Option<u64>,
    /// Address without the prefix length.
    pub address: String,
    pub talos: String,
    /// The version of its kubelet, set by [`add_kubelets`] if it knows the node.
    pub kubernetes: String,
    /// Creation time in RFC 3339 format.
    pub created: String,
    /// What the machine waits for, with the reported error; empty if it is ready.
    #[serde(skip)]
    pub waits_for: String,
    /// Node name in Kubernetes.
    #[serde(skip)]
    node_name: String,
}

/// The fields of a MachineStatus that are shown; the rest is mostly about hardware.
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

/// The displayed fields of a KubernetesStatus, whose ID is that of the cluster (omni v1.9.3 `omni.proto` KubernetesStatusSpec).
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

/// Returns the lines sorted by cluster, machine set and name. `requests` are ClusterMachineRequestStatuses, `machines`
/// ClusterMachineStatuses, `statuses` MachineStatuses; `vms` are entries of the VM list in Proxmox.
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
    let mut lines: Vec<MachineLine> = pair_requests(requests.iter(), machines).into_iter().map(line).collect();
    lines.sort_by(|a, b| (&a.cluster, &a.machine_set, &a.name).cmp(&(&b.cluster, &b.machine_set, &b.name)));
    lines
}

/// Adds the kubelet versions from the KubernetesStatuses of the clusters.
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
