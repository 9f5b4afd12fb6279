//! A checkout in which nothing is set up; the setup is tested in the transcripts `set-up` and `env-defects`.

use std::fs;

use crate::sandbox::Sandbox;

/// A checkout in which nothing is set up, and the flags with the operator's values.
pub fn bare() -> (Sandbox, Vec<String>) {
    let mut lab = Sandbox::new();
    let env = lab.read("docker/.env");
    let value = |key: &str| {
        let line = env.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        line.unwrap_or_else(|| panic!("{key} is set")).trim_matches(['\'', '"']).to_owned()
    };
    let mut words = vec!["omni-setup".to_owned(), "--yes".to_owned(), "--json".to_owned()];
    for (flag, key) in [
        ("--domain", "OMNI_DOMAIN"),
        ("--lan-address", "OMNI_LAN_ADDRESS"),
        ("--initial-user", "OMNI_INITIAL_USER"),
        ("--tls-cert", "OMNI_TLS_CERT"),
        ("--tls-key", "OMNI_TLS_KEY"),
        ("--issuer", "OIDC_ISSUER_URL"),
        ("--client-id", "OIDC_CLIENT_ID"),
    ] {
        words.extend([flag.to_owned(), value(key)]);
    }
    let (secret, key) = (value("OIDC_CLIENT_SECRET"), value("TS_AUTHKEY"));
    lab.set("OIDC_CLIENT_SECRET", Some(&secret));
    lab.set("TS_AUTHKEY", Some(&key));
    lab.set("DOCKER_HOST", Some("tcp://lab"));
    for file in ["docker/.env", "docker/omni.asc"] {
        fs::remove_file(lab.file(file)).expect("it was there");
    }
    (lab, words)
}
