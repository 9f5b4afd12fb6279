//! Where the faults of the far ends bite: the standing ones are arranged when the lab begins, the passing ones answer a
//! request or end a task.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::faults::Faults;
use crate::http::{JSON, Reply, Request};
use crate::omni::Omni;
use crate::omni::names::{EPHEMERAL, SYS_VERSION};
use crate::omni::resource::Key;
use crate::proxmox::hooks::{Fate, Hooks, TaskFate, TaskInfo};
use crate::proxmox::world::GIB;
use crate::proxmox::{Proxmox, World};

/// What is wrong from the beginning.
pub fn arrange(faults: &Faults, omni: &Omni, proxmox: &Proxmox) {
    omni.with(|state| {
        state.eula_accepted = !faults.has("omni-eula");
        if faults.has("omnictl-api-mismatch") {
            let key = Key::new(SYS_VERSION, EPHEMERAL, "current");
            state.store.set(&key, "backendapiversion", json!(3));
        }
    });
    proxmox.with(|world| {
        if faults.has("proxmox-node-offline")
            && let Some(last) = world.nodes.keys().last().cloned()
        {
            world.set_node_online(&last, false);
        }
        if faults.has("proxmox-storage-full") {
            for storage in ["local-lvm", "vm_ssd"] {
                world.fill_storage(storage, GIB);
            }
        }
    });
}

/// The faults of Proxmox's API.
pub struct ProxmoxFaults {
    faults: Arc<Faults>,
}

impl ProxmoxFaults {
    /// Asks these.
    pub fn new(faults: Arc<Faults>) -> ProxmoxFaults {
        ProxmoxFaults { faults }
    }
}

fn refusal(status: u16, reason: &str) -> Fate {
    Fate::Answer(Reply::new(status, JSON, "{\"data\":null}").with_reason(reason))
}

impl Hooks for ProxmoxFaults {
    fn request(&self, request: &Request, _world: &mut World) -> Option<Fate> {
        let hit = |name| self.faults.hit(name);
        if hit("proxmox-hangs") {
            // Longer than anybody waits, at any pace.
            return Some(Fate::Delay(Duration::from_secs(86_400 * 365)));
        }
        if hit("proxmox-unauthorized") {
            return Some(refusal(401, "authentication failure"));
        }
        if request.method == "POST" && request.path.ends_with("/download-url") && hit("proxmox-download-forbidden") {
            let storage = request.path.rsplit('/').nth(1).unwrap_or_default();
            let reason = format!("Permission check failed (/storage/{storage}, Datastore.AllocateTemplate)");
            return Some(refusal(403, &reason));
        }
        None
    }

    fn task(&self, task: &TaskInfo, _world: &mut World) -> Option<TaskFate> {
        if task.kind == "qmcreate" && self.faults.hit("proxmox-create-fails") {
            let log = vec!["  Logical volume pve/data is out of metadata space".to_owned()];
            let exitstatus = "unable to create VM - lvcreate 'pve/vm-disk' error: failed".to_owned();
            return Some(TaskFate::Fail { exitstatus, log });
        }
        None
    }
}
