//! A simulated machine that runs Talos, and the set of all machines with the time of each one's next transition.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The stage of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Powered off, or deleted.
    #[default]
    Off,
    /// Running the firmware and the image, on the way to maintenance mode.
    Booting,
    /// In maintenance mode, connected to Omni, not in a cluster.
    Maintenance,
    /// Writing Talos to its disk.
    Installing,
    /// Rebooting into the installed system.
    Rebooting,
    Configuring,
    /// Configured; waiting for the etcd or API server of its cluster.
    Waiting,
    /// Forming etcd or joining the cluster.
    Joining,
    Running,
    /// Upgrading Talos: writing the new version to its disk before a reboot.
    Upgrading,
    /// Upgrading Kubernetes: its components restart while Talos keeps running.
    Updating,
    /// Leaving its cluster and wiping itself.
    Resetting,
}

/// A virtual machine that runs Talos.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    pub stage: Stage,
    /// The last stage that Omni received: a machine that loses power does not report it.
    pub reported_stage: Stage,
    /// Whether Omni's load balancer has noticed that the machine's API does not respond.
    pub api_unreachable: bool,
    /// When its next transition is due, in simulated time.
    pub due: Option<Duration>,
    /// Whether it is connected to Omni.
    pub connected: bool,
    pub hardware: Hardware,
    /// Fault: it never connects after power-on.
    pub never_connects: bool,
    /// Fault: it never gets beyond this stage.
    pub stalls_at: Option<Stage>,
    /// The installed versions, without `v`; empty before the installation.
    pub talos: String,
    pub kubernetes: String,
    /// The version that it is being upgraded to.
    pub next: Option<String>,
    /// Fault: what blocks its next upgrade.
    pub upgrade_blocker: Option<UpgradeBlocker>,
    /// The error that Omni reports for its last attempt to change the machine.
    pub error: String,
}

/// Why the upgrade of a machine does not finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeBlocker {
    /// The machine does not come back from its reboot.
    Lost,
    /// A PodDisruptionBudget blocks every eviction.
    Drain,
}

/// All machines by SMBIOS UUID, and the times of their next transitions: of ten thousand machines, most have none.
#[derive(Debug, Default)]
pub struct Machines {
    all: BTreeMap<String, Machine>,
    due: BTreeSet<(Duration, String)>,
}

impl Machines {
    /// Returns the machine with this UUID.
    pub fn get(&self, uuid: &str) -> Option<&Machine> {
        self.all.get(uuid)
    }

    pub fn uuids(&self) -> Vec<String> {
        self.all.keys().cloned().collect()
    }

    /// Returns the next transition that is due: its time and machine.
    pub fn next(&self) -> Option<&(Duration, String)> {
        self.due.first()
    }

    /// Adds a machine that is powered off, unless it exists.
    pub fn enter(&mut self, uuid: &str) {
        self.all.entry(uuid.to_owned()).or_default();
    }

    /// Changes a machine, if it exists.
    pub fn change(&mut self, uuid: &str, change: impl FnOnce(&mut Machine)) {
        let Some(machine) = self.all.get_mut(uuid) else { return };
        let before = machine.due;
        change(machine);
        if machine.stage != Stage::Off {
            machine.api_unreachable = false;
            if machine.connected {
                machine.reported_stage = machine.stage;
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

/// The hardware that a machine reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hardware {
    /// Host name, which is the name of the VM.
    pub name: String,
    /// Cores across all sockets.
    pub cores: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk size in GiB.
    pub disk_gib: u64,
}
