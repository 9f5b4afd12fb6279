//! Faults of clocks and of slowness.

use super::fault_case::says;

fault_cases! {
    far_ends_slow "far-ends-slow": says(&["registered and connected"])
        .changes(&["docker/.env", "docker/config.yaml", ".claude/omni-scale.local.md"]);
    time_clock_skew "time-clock-skew": says(&["the registration of the provider `proxmox`", "its last heartbeat is more than 31 s old"])
        .hints(&["compare the clocks of both hosts"])
        .changes(&["docker/.env", "docker/config.yaml"]);
    time_proxmox_clock "time-proxmox-clock": says(&["s from the clock of Proxmox"]).hints(&["timedatectl set-ntp true"]);
    time_certificate_early "time-certificate-early": says(&["is not valid yet"]).hints(&["the clock of this machine", "timedatectl"]);
}
