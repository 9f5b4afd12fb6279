//! Faults of the sidecar's place in the tailnet.

use super::fault_case::says;

fault_cases! {
    tailnet_name_taken "tailnet-name-taken": says(&["omni-1"]);
    tailnet_logged_out "tailnet-logged-out": says(&["tailscale"]).hints(&["cargo xtask"]);
    tailnet_key_expires "tailnet-key-expires": says(&["tailscale"]);
    tailnet_no_magicdns "tailnet-no-magicdns": says(&["MagicDNS is off in the tailnet"]).hints(&["switch it on, and HTTPS certificates with it"]);
}
