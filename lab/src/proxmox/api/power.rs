//! What clients besides the provider ask of a VM that runs: reset and reboot, and the lists of its pending changes and of
//! its snapshots (qemu-server 9 `API2/Qemu.pm`, `QemuConfig.pm`; pve-guest-common `GuestHelpers.pm`).

use std::time::Duration;

use serde_json::{Value, json};

use super::{Call, Method, Needs};
use crate::proxmox::World;
use crate::proxmox::params::{ANY, Kind, optional};
use crate::proxmox::refusal::{Outcome, Refusal};

const RESET: Duration = Duration::from_millis(300);
const REBOOT: Duration = Duration::from_secs(8);

const POWER: Needs = Needs::All("/vms/{vmid}", &["VM.PowerMgmt"]);
const AUDIT: Needs = Needs::All("/vms/{vmid}", &["VM.Audit"]);

pub(super) const METHODS: &[Method] = &[
    Method::new("POST", "/nodes/{node}/qemu/{vmid}/status/reset", POWER, reset)
        .on_node()
        .with(&[optional("skiplock", Kind::Bool)]),
    Method::new("POST", "/nodes/{node}/qemu/{vmid}/status/reboot", POWER, reboot)
        .on_node()
        .with(&[optional("timeout", Kind::Int(0, ANY))]),
    Method::new("GET", "/nodes/{node}/qemu/{vmid}/pending", AUDIT, pending).on_node(),
    Method::new("GET", "/nodes/{node}/qemu/{vmid}/snapshot", AUDIT, snapshots).on_node(),
    // No container runs in the lab, and a list of none is what everybody may see.
    Method::new("GET", "/nodes/{node}/lxc", Needs::Anyone, |_| Ok(json!([]))).on_node(),
];

fn reset(call: &mut Call<'_>) -> Outcome {
    again(call, "qmreset", RESET)
}

fn reboot(call: &mut Call<'_>) -> Outcome {
    again(call, "qmreboot", REBOOT)
}

/// Off and on again, for a VM that runs.
fn again(call: &mut Call<'_>, kind: &str, takes: Duration) -> Outcome {
    let (node, vmid) = (call.node(), call.vmid());
    if call.world.vm(&node, vmid).map_err(Refusal::die)?.running.is_none() {
        return Err(Refusal::die(format!("VM {vmid} not running")));
    }
    let on_at = call.now + takes.as_secs();
    let effect = move |world: &mut World, _: &mut Vec<String>| {
        let vm = world.vms.get(&vmid).ok_or_else(|| format!("VM {vmid} does not exist"))?;
        if let Some(lock) = &vm.lock {
            return Err(format!("VM is locked ({lock})"));
        }
        world.power_off(vmid);
        world.power_on(vmid, on_at);
        Ok(())
    };
    call.fork(kind, &vmid.to_string(), takes, Box::new(effect))
}

/// Every option with its value: changes take effect at once here, so that none is pending.
fn pending(call: &mut Call<'_>) -> Outcome {
    let shown = super::config::read(call)?;
    let options = shown.as_object().into_iter().flatten();
    Ok(options.map(|(key, value)| json!({"key": key, "value": value})).collect())
}

/// The VM as it is now stands at the end of its snapshots, of which it has none.
fn snapshots(call: &mut Call<'_>) -> Outcome {
    let digest = super::config::read(call)?["digest"].take();
    let vm = call.world.vm(&call.node(), call.vmid()).map_err(Refusal::die)?;
    let running = u8::from(vm.running.is_some());
    let current = json!({"name": "current", "description": "You are here!", "running": running, "digest": digest});
    Ok(Value::Array(vec![current]))
}
