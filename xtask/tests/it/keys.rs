//! The key of a service account, where tests need it; the rotation of credentials is tested in the transcript `rotation`.

use crate::sandbox::{CommandOutput, Sandbox};

const KEY: &str = "OMNI_SERVICE_ACCOUNT_KEY";

/// Returns the value of a variable in `docker/.env`.
pub fn in_env(lab: &Sandbox, name: &str) -> String {
    let text = lab.read("docker/.env");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap_or_default();
    line.trim_matches(['"', '\'']).to_owned()
}

/// Moves the administrator's key from the environment to `docker/.env`, where the tasks keep it.
pub fn keep_in_env(lab: &mut Sandbox) {
    let key = lab.env(KEY).to_owned();
    lab.write("docker/.env", &format!("{}\n{KEY}={key}\n", lab.read("docker/.env").trim_end()));
    lab.set(KEY, None);
}

/// The name of the account that a rotation creates today.
pub fn account_of_today() -> String {
    format!("automation-{}", &domain::clock::rfc3339(std::time::SystemTime::now())[..10])
}

/// Runs omnictl with a key.
pub fn asked_with(lab: &Sandbox, key: &str, words: &[&str]) -> CommandOutput {
    CommandOutput::of(lab.program(lab.scratch().join("lab/bin/omnictl")).args(words).env(KEY, key))
}
