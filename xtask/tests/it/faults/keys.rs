//! Faults of keys and accounts.

use super::fault_case::says;

/// What a set-up changes that ends before its stack.
const WRITTEN: &[&str] = &["docker/.env", "docker/config.yaml", ".claude/omni-scale.local.md"];

fault_cases! {
    key_wrong_role "key-wrong-role": says(&["reader (OMNI_SERVICE_ACCOUNT_KEY in the environment) may not do this", "insufficient role: \"Reader\""])
        .hints(&["providers and keys the role Admin"]);
    key_expired "key-expired": says(&["the key of `automation`", "has expired"])
        .hints(&["omnictl serviceaccount renew automation"]);
    key_unknown "key-unknown": says(&["does not accept former (OMNI_SERVICE_ACCOUNT_KEY", "invalid signature"])
        .hints(&["was removed, or belongs to another Omni"]);
    key_shadowed "key-shadowed": says(&["reader (SIDERO_SERVICE_ACCOUNT_KEY in the environment)", "insufficient role"])
        .hints(&["SIDERO_SERVICE_ACCOUNT_KEY overrides OMNI_SERVICE_ACCOUNT_KEY in omnictl", "unset SIDERO_SERVICE_ACCOUNT_KEY"]);
    provider_key_wrong_kind "provider-key-wrong-kind": says(&["the provider's key (OMNI_INFRA_PROVIDER_KEY", "the ordinary service account `provider`"])
        .hints(&["omnictl infraprovider create proxmox"]);
    provider_key_expired "provider-key-expired": says(&["the provider's key (OMNI_INFRA_PROVIDER_KEY", "it expired 1 day ago"])
        .hints(&["omnictl infraprovider renewkey proxmox"]);
    provider_key_ending "provider-key-ending": says(&["of infra-provider:proxmox, 3 days left"]).changes(WRITTEN);
    provider_id_case "provider-id-case": says(&["the key of the provider `Proxmox`", "runs as `proxmox`", "letter by letter"])
        .hints(&["make the key for this provider"]);
    provider_half_made "provider-half-made": says(&["registered and connected", "made by Omni, stored in docker/.env"]).changes(WRITTEN);
}
