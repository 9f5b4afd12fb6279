//! What monitoring and infrastructure-as-code clients read besides, where the lab has nothing to tell: no backups, no
//! replication, no subscription (pve-manager 9.2 `API2/Cluster.pm`, `API2/Replication.pm`, `API2/Nodes.pm`, qemu-server 9
//! `API2/Qemu/Agent.pm`, pve-firewall `API2/Firewall/VM.pm`).

use serde_json::json;

use super::{Call, Method, Needs};
use crate::proxmox::refusal::{Outcome, Refusal};
use crate::proxmox::world::Vm;

const AUDIT: Needs = Needs::All("/", &["Sys.Audit"]);
const VM: Needs = Needs::All("/vms/{vmid}", &["VM.Audit"]);
const NODE: Needs = Needs::All("/nodes/{node}", &["Sys.Audit"]);
const GUEST: Needs = Needs::Any("/vms/{vmid}", &["VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted"]);

pub(super) const METHODS: &[Method] = &[
    Method::new("GET", "/cluster/options", Needs::Anyone, |_| Ok(json!({"keyboard": "en-us"}))),
    Method::new("GET", "/cluster/config/nodes", AUDIT, members),
    Method::new("GET", "/cluster/backup", AUDIT, none),
    Method::new("GET", "/cluster/backup-info/not-backed-up", AUDIT, not_backed_up),
    Method::new("GET", "/cluster/replication", Needs::Anyone, none),
    Method::new("GET", "/nodes/{node}/replication", Needs::Anyone, none).on_node(),
    Method::new("GET", "/nodes/{node}/subscription", Needs::Anyone, subscription).on_node(),
    Method::new("GET", "/nodes/{node}/time", NODE, time).on_node(),
    Method::new("GET", "/nodes/{node}/qemu/{vmid}/snapshot", VM, snapshots).on_node(),
    Method::new("GET", "/nodes/{node}/qemu/{vmid}/firewall/options", VM, |_| Ok(json!({}))).on_node(),
    Method::new("GET", "/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces", GUEST, agent).on_node(),
];

fn none(_: &mut Call<'_>) -> Outcome {
    Ok(json!([]))
}

fn members(call: &mut Call<'_>) -> Outcome {
    let node = |(at, name): (usize, &String)| json!({"node": name, "name": name, "nodeid": (at + 1).to_string()});
    Ok(call.world.nodes.keys().enumerate().map(node).collect())
}

fn not_backed_up(call: &mut Call<'_>) -> Outcome {
    let vm = |(id, vm): (&u32, &Vm)| json!({"type": "qemu", "vmid": id, "name": vm.config.get("name")});
    Ok(call.world.vms.iter().map(vm).collect())
}

fn subscription(_: &mut Call<'_>) -> Outcome {
    let url = "https://www.proxmox.com/en/proxmox-virtual-environment/pricing";
    Ok(json!({"status": "notfound", "message": "There is no subscription key", "serverid": "0".repeat(32), "url": url}))
}

fn time(call: &mut Call<'_>) -> Outcome {
    Ok(json!({"timezone": "Etc/UTC", "time": call.now, "localtime": call.now}))
}

fn snapshots(call: &mut Call<'_>) -> Outcome {
    let running = u8::from(vm(call)?.running.is_some());
    Ok(json!([{"name": "current", "description": "You are here!", "running": running}]))
}

/// No machine of the lab has a guest agent.
fn agent(call: &mut Call<'_>) -> Outcome {
    let why = match vm(call)?.running {
        Some(_) => "QEMU guest agent is not running".to_owned(),
        None => format!("VM {} is not running", call.vmid()),
    };
    Err(Refusal::die(why))
}

fn vm<'a>(call: &'a Call<'_>) -> Outcome<&'a Vm> {
    call.world.vm(&call.node(), call.vmid()).map_err(Refusal::die)
}
