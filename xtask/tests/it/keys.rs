//! Credentials are rotated without a gap. How they are listed, and that of the provider, is in the transcript `rotation`.

use std::process::Command;

use crate::access::as_root_with;
use crate::sandbox::{CommandOutput, Sandbox};

const KEY: &str = "OMNI_SERVICE_ACCOUNT_KEY";

/// The value of a variable in `docker/.env`.
pub fn in_env(lab: &Sandbox, name: &str) -> String {
    let text = lab.read("docker/.env");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap_or_default();
    line.trim_matches(['"', '\'']).to_owned()
}

/// The administrator's key, from the environment into `docker/.env`, where the tasks keep it.
pub fn keep_in_env(lab: &mut Sandbox) {
    let key = lab.env(KEY).to_owned();
    lab.write("docker/.env", &format!("{}\n{KEY}={key}\n", lab.read("docker/.env").trim_end()));
    lab.set(KEY, None);
}

/// The account that a rotation makes today.
pub fn account_of_today() -> String {
    format!("automation-{}", &domain::clock::rfc3339(std::time::SystemTime::now())[..10])
}

/// What Omni says to a key.
pub fn asked_with(lab: &Sandbox, key: &str, words: &[&str]) -> CommandOutput {
    let mut omnictl = Command::new(lab.scratch().join("lab/bin/omnictl"));
    omnictl.args(words).env_clear().envs(lab.variables().map(|name| (name, lab.env(name)))).env(KEY, key);
    CommandOutput::of(&mut omnictl)
}

#[test]
fn service_account_is_rotated_and_the_old_one_destroyed() {
    let mut lab = Sandbox::new();
    lab.run("keys --rotate account --yes").exits(1).says(&["omni-setup --service-account"]);
    keep_in_env(&mut lab);
    let old = in_env(&lab, KEY);
    // The shell's key counts before docker/.env, and would end with its account.
    lab.set(KEY, Some(&old));
    lab.run("keys --rotate account --yes").exits(1).says(&["`automation`, which would be destroyed", "unset OMNI_"]);
    lab.set(KEY, None);
    lab.run("keys --rotate account --dry-run")
        .exits(3)
        .says(&["role Admin", "destroy the service account `automation`"]);
    lab.run("keys --rotate account --yes").exits(0).says(&["the old one is gone"]);
    let new = in_env(&lab, KEY);
    asked_with(&lab, &old, &["get", "sysversion"]).exits(1);
    asked_with(&lab, &new, &["get", "sysversion"]).exits(0);
    let state = lab.read(".claude/omni-scale.local.md");
    assert!(
        state.contains("service_account: automation-20") && state.contains("service_account_replaced: \"\""),
        "{state}"
    );

    // Somebody else has a key of the account.
    let name = lab.run("keys --json").exits(0).json()["data"]["credentials"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|each| each["name"] == "account")
        .and_then(|each| Some(each["owner"].as_str()?.to_owned()))
        .expect("an account");
    asked_with(&lab, &new, &["serviceaccount", "renew", &name]).exits(0);
    lab.run("keys --rotate account --yes").exits(2).says(&[&format!("--allow-destroy {name}")]);
    asked_with(&lab, &new, &["get", "sysversion"]).exits(0);
    lab.run(&format!("keys --rotate account --yes --allow-destroy {name}")).exits(0);
    asked_with(&lab, &new, &["get", "sysversion"]).exits(1);
}

#[test]
fn proxmox_token_is_tried_before_the_provider_gets_it() {
    let mut lab = Sandbox::new();
    lab.provider();
    lab.set("PROXMOX_VE_API_TOKEN", None);
    let before = lab.read("docker/config.yaml");
    lab.run("keys --rotate proxmox --yes")
        .exits(2)
        .says(&["pveum user token add omni@pve", "export PROXMOX_VE_API_TOKEN='omni@pve!NAME=SECRET'"]);
    for (name, privsep, exit, words) in [
        ("weak", "privsep=1", 5, "may do less than the old token"),
        ("strong", "privsep=0", 0, "pveum user token remove omni@pve provider"),
    ] {
        let made = as_root_with("POST", &lab, &format!("/access/users/omni@pve/token/{name}"), &[privsep]);
        let secret = made["data"]["value"].as_str().expect("a secret");
        lab.set("PROXMOX_VE_API_TOKEN", Some(&format!("omni@pve!{name}={secret}")));
        let said = lab.run("keys --rotate proxmox --yes").exits(exit).says(&[words]);
        assert!(!said.stderr.contains(secret), "{}", said.stderr);
        assert_eq!(lab.read("docker/config.yaml") == before, exit != 0);
    }
    lab.run("keys --rotate proxmox --yes").exits(2).says(&["is the token that the provider has"]);
    lab.set("PROXMOX_VE_API_TOKEN", None);
    lab.run("provider-verify").exits(0);
}
