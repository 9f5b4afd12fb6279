//! Faults of tsidp.

use super::fault_case::says;

fault_cases! {
    tsidp_unreachable "tsidp-unreachable": says(&["the sidecar does not reach", "Connection refused"])
        .hints(&["tcp:443 of tsidp", "systemctl status tsidp"]);
    tsidp_renamed "tsidp-renamed": says(&["tsidp calls itself \"https://tsidp-1.example.ts.net\"", "OIDC_ISSUER_URL says \"https://tsidp.example.ts.net\""])
        .hints(&["OIDC_ISSUER_URL"]);
    tsidp_email_unverified "tsidp-email-unverified": says(&["Omni's log shows `oidc-email-not-verified`"])
        .hints(&["the grant of tsidp/grant.json"]);
    tsidp_admin_open "tsidp-admin-open": says(&["admin"]);
}
