//! A machine that boots Talos, and all of them with what each does next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a machine is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Switched off, or gone.
    #[default]
    Off,
    /// The firmware and the image, on the way to maintenance mode.
    Booting,
    /// In maintenance mode, connected to Omni, in no cluster.
    Maintenance,
    /// Writing Talos to its disk.
    Installing,
    /// Rebooting into the installed system.
    Rebooting,
    Configuring,
    /// Configured; waits for its cluster's etcd or API server.
    Waiting,
    /// Forming etcd or joining the cluster.
    Joining,
    Running,
    /// Talos is upgraded: it writes the new one to its disk, and reboots.
    Upgrading,
    /// Kubernetes is upgraded: its components restart, and Talos runs on.
    Updating,
    /// Leaving its cluster: wiping itself.
    Resetting,
}

/// A virtual machine that boots Talos.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    pub stage: Stage,
    /// What Omni heard last of that: a machine whose power goes off says nothing of it.
    pub heard: Stage,
    /// Omni's load balancer has noticed that its API does not answer.
    pub unanswered: bool,
    /// When it does the next thing by itself, in field time.
    pub due: Option<Duration>,
    /// Whether Omni hears it.
    pub connected: bool,
    pub hardware: Hardware,
    /// It never answers after power-on: a fault.
    pub mute: bool,
    /// It never gets beyond this stage: a fault.
    pub stalls_at: Option<Stage>,
    /// The versions that it runs, without `v`; empty before it is installed.
    pub talos: String,
    pub kubernetes: String,
    /// The version that it is upgraded to.
    pub next: Option<String>,
    /// What goes wrong in its next upgrade: a fault.
    pub hindrance: Option<UpgradeBlocker>,
    /// What Omni says of its last try to change it.
    pub error: String,
}

/// Why the upgrade of a machine does not finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeBlocker {
    /// It does not come back from its reboot.
    Lost,
    /// A PodDisruptionBudget allows no eviction.
    Drain,
}

/// All machines by SMBIOS UUID, and when each does its next thing: of ten thousand, most do nothing by themselves.
#[derive(Debug, Default)]
pub struct Machines {
    all: BTreeMap<String, Machine>,
    due: BTreeSet<(Duration, String)>,
}

impl Machines {
    /// A machine.
    pub fn get(&self, uuid: &str) -> Option<&Machine> {
        self.all.get(uuid)
    }

    pub fn uuids(&self) -> Vec<String> {
        self.all.keys().cloned().collect()
    }

    /// The machine that does something next, and when.
    pub fn next(&self) -> Option<&(Duration, String)> {
        self.due.first()
    }

    /// Adds a machine that is switched off, unless it is there.
    pub fn enter(&mut self, uuid: &str) {
        self.all.entry(uuid.to_owned()).or_default();
    }

    /// Changes a machine, if it is there.
    pub fn change(&mut self, uuid: &str, change: impl FnOnce(&mut Machine)) {
        let Some(machine) = self.all.get_mut(uuid) else { return };
        let before = machine.due;
        change(machine);
        if machine.stage != Stage::Off {
            machine.unanswered = false;
            if machine.connected {
                machine.heard = machine.stage;
            }
        }
        if machine.due != before {
            let entry = |due: Duration| (due, uuid.to_owned());
            if let Some(before) = before {
                self.due.remove(&entry(before));
            }
            self.due.extend(machine.due.map(entry));
        }
    }
}

/// What a machine reports of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hardware {
    /// Host name: the virtual machine's name.
    pub name: String,
    /// Cores of all sockets.
    pub cores: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk in GiB.
    pub disk_gib: u64,
}
