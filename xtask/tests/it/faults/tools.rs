//! Faults of the tools.

use super::fault_case::says;

fault_cases! {
    omnictl_missing "omnictl-missing": says(&["omnictl v1.9.3 is at", "/api/omnictl"]);
    omnictl_hangs "omnictl-hangs": says(&["timed out after 2 s", "did not finish in time and was stopped"])
        .hints(&["check that the service is reachable"]);
    omnictl_api_mismatch "omnictl-api-mismatch": says(&["this omnictl is not compatible with Omni", "backend API version 3, client API version 2"])
        .hints(&["cargo xtask omnictl-install"]);
    omnictl_version_differs "omnictl-version-differs": says(&["there are no clusters"]);
    omnictl_newer_than_omni "omnictl-newer-than-omni":
        says(&["this omnictl is not compatible with Omni", "differs from the backend version \"1.8.2\""])
        .hints(&["cargo xtask omnictl-install"]);
    omnictl_drops_keys "omnictl-drops-keys": says(&["in Omni differs from the file", "kernelargs net.ifnames=0"])
        .hints(&["omnictl silently drops keys that it does not know"]);
}
