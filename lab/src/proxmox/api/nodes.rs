//! `/nodes`: nodes, their status and their bridges (pve-manager 9.2 `API2/Nodes.pm`, `API2/Network.pm`).

use serde_json::{Value, json};

use super::cluster::node_entry;
use super::{Call, Handler};
use crate::proxmox::refusal::Outcome;

pub(super) const HANDLERS: &[Handler] = &[
    ("GET /nodes", list),
    ("GET /nodes/{node}/status", status),
    ("GET /nodes/{node}/dns", dns),
    ("GET /nodes/{node}/network", network),
    // The lab has no containers, and everybody may see an empty list.
    ("GET /nodes/{node}/lxc", |_| Ok(json!([]))),
];

fn list(call: &mut Call<'_>) -> Outcome {
    let loads = call.world.loads();
    let mut nodes: Vec<Value> = Vec::new();
    for (number, name) in call.world.nodes.keys().enumerate() {
        let audit = call.may(&format!("/nodes/{name}"), &["Sys.Audit"]);
        let mut entry = node_entry(call.world, &loads, name, audit);
        let byte = |at: usize| format!("{:02X}", (number * 31 + at * 7) % 256);
        entry["ssl_fingerprint"] = (0..32).map(byte).collect::<Vec<_>>().join(":").into();
        nodes.push(entry);
    }
    Ok(nodes.into())
}

/// The node's resolver, which its machines usually share (pve-common `INotify.pm`, read_etc_resolv_conf).
fn dns(_: &mut Call<'_>) -> Outcome {
    Ok(json!({"search": "example.com", "dns1": "192.0.2.53"}))
}

fn status(call: &mut Call<'_>) -> Outcome {
    let (world, name) = (&*call.world, call.node());
    let node = world.nodes.get(&name).ok_or_else(|| format!("no such node '{name}'"))?;
    let used = world.loads().get(name.as_str()).map_or(0, |load| load.memory);
    let (total, disk) = match world.storages.get("local").and_then(|storage| storage.backend(&name)) {
        Some(root) => (root.total, root.used()),
        None => (0, 0),
    };
    Ok(json!({
        "uptime": 1_000_000, "idle": 0, "wait": 0, "cpu": 0.02,
        "loadavg": ["0.10", "0.20", "0.30"],
        "kversion": "Linux 6.14.11-4-pve #1 SMP PREEMPT_DYNAMIC PMX 6.14.11-4 (2025-10-10T08:04Z)",
        "pveversion": format!("pve-manager/{}/deb1ca707ec72a89", world.version),
        "cpuinfo": {
            "cpus": node.cpus, "cores": node.cpus / 2, "sockets": 1, "mhz": "3600.000", "hvm": "1", "user_hz": 100,
            "model": "AMD EPYC 4364P 8-Core Processor", "flags": "fpu vme sse4_2 aes avx2",
        },
        "memory": {
            "total": node.memory, "used": used, "free": node.memory - used, "available": node.memory - used,
        },
        "swap": {"total": 0, "used": 0, "free": 0},
        "ksm": {"shared": 0},
        "rootfs": {"total": total, "used": disk, "free": total - disk, "avail": total - disk},
    }))
}

/// Lists a node's interfaces: bridges that the caller may use or audit, and all others if the caller may audit the node.
fn network(call: &mut Call<'_>) -> Outcome {
    let name = call.node();
    let audit = call.may(&format!("/nodes/{name}"), &["Sys.Audit"]);
    let all = call.args.get("type").is_none();
    let Some(node) = call.world.nodes.get(&name) else { return Ok(json!([])) };
    let mut list = Vec::new();
    for (number, bridge) in node.bridges.iter().enumerate() {
        let path = format!("/sdn/zones/localnetwork/{bridge}");
        if call.may_any(&path, &["SDN.Audit", "SDN.Use"]) {
            list.push(bridge_json(bridge, number, (number == 0).then_some(node.ip.as_str())));
        }
        if audit && all {
            list.push(json!({"iface": format!("eno{}", number + 1), "type": "eth", "method": "manual", "active": 1}));
        }
    }
    Ok(list.into())
}

fn bridge_json(bridge: &str, number: usize, ip: Option<&str>) -> Value {
    let mut entry = json!({
        "iface": bridge, "type": "bridge", "bridge_ports": format!("eno{}", number + 1), "bridge_stp": "off",
        "bridge_fd": "0", "bridge_vlan_aware": 1, "method": "manual", "method6": "manual", "families": ["inet"],
        "active": 1, "autostart": 1, "priority": 10 + number,
    });
    if let Some(ip) = ip {
        (entry["method"], entry["address"], entry["netmask"]) = ("static".into(), ip.into(), "16".into());
        (entry["cidr"], entry["gateway"]) = (format!("{ip}/16").into(), "10.10.0.1".into());
    }
    entry
}
