//! A stack of an older Omni; its upgrade is tested in the transcripts `omni-upgrade`, `omni-upgrade-refused` and `omni-minors`.

use crate::sandbox::Sandbox;

/// A lab of Omni 1.9.3 with two clusters, and a running stack of that version.
pub fn of_1_9() -> Sandbox {
    let lab = Sandbox::with("--omni-version 1.9.3 --vms 6 --clusters 2");
    lab.pin("omni", "v1.9.3");
    lab.pin("omni-infra-provider-proxmox", "v0.2.0");
    lab.run("stack-up --yes").exits(0);
    lab.provider();
    lab
}
