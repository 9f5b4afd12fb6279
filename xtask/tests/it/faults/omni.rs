//! Faults of Omni and its container.

use super::fault_case::says;

fault_cases! {
    omni_unreachable "omni-unreachable": says(&["no connection to https://127.0.0.1:"]).hints(&["the service runs"]);
    omni_unhealthy "omni-unhealthy": says(&["is not healthy", "answered 500", "its store does not answer"])
        .hints(&["Omni's log", "stack-logs omni"]);
    omni_html "omni-html": says(&["is not Omni's endpoint", "returned text/html, but Omni returns an empty body"])
        .hints(&["a portal, a proxy or another web service"]);
    omni_eula "omni-eula": says(&["waits for its licence to be accepted"])
        .hints(&["a person must read and accept it at https://127.0.0.1:", "/eula", "this project never does so"]);
    omni_unknown_ca "omni-unknown-ca": says(&["is not trusted", "self-signed certificate"])
        .hints(&["--ca-file FILE or SSL_CERT_FILE"]);
    omni_certificate_expired "omni-certificate-expired": says(&["/healthz has expired"])
        .hints(&["renew it", "the clock of this machine is wrong", "timedatectl"]);
    omni_certificate_name "omni-certificate-name": says(&["is for another name", "127.0.0.1"])
        .hints(&["use a name that it covers"]);
    omni_key_passphrase "omni-key-passphrase": says(&["`omni` does not stay up", "private key checksum failure"])
        .hints(&["Omni cannot ask for a passphrase", "docker/omni.asc | grep protect"]);
    omni_other_key "omni-other-key": says(&["`omni` does not stay up", "slot 'Omni 0123456789ABCDEF' not found"])
        .hints(&["omni-gpg-other-key", "Restore the old key"]);
    omni_no_tun "omni-no-tun": says(&["`omni` does not stay up", "/dev/net/tun does not exist"])
        .hints(&["sudo modprobe tun"]);
    omni_issuer_unreachable "omni-issuer-unreachable": says(&["`omni` does not stay up", ".well-known/openid-configuration"])
        .hints(&["omni-oidc-unreachable", "cargo xtask tsidp-verify"]);
    omni_store_full "omni-store-full": says(&["`omni` does not stay up", "mvcc: database space exceeded"])
        .hints(&["Back up first", "siderolabs/omni#499"]);
}
