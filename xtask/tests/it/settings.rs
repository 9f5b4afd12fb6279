//! Where values come from: what cannot be read is an error, and a password in an address is never repeated.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::sandbox::{CommandOutput, Sandbox};

const CANARY: &str = "canary7Qx93z";

#[track_caller]
fn held(ran: &CommandOutput) {
    assert!(!ran.stdout.contains(CANARY) && !ran.stderr.contains(CANARY), "{ran:#?}");
}

/// A lab in which the runbook was gone through.
fn set_up() -> Sandbox {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    lab.run("cluster-create demo --control-planes 1 --workers 0 --yes").exits(0);
    lab
}

/// Runs each task in three forms.
fn hunt(lab: &Sandbox, tasks: &[&str]) {
    for task in tasks {
        for form in ["", " --json", " -v"] {
            held(&lab.run(&format!("{task}{form} --timeout 2s")));
        }
    }
}

#[test]
fn environment_values_that_are_not_utf8_are_errors() {
    let lab = Sandbox::new();
    for (name, task) in [
        ("OMNI_ENDPOINT", "cluster-status"),
        ("PROXMOX_VE_API_TOKEN", "proxmox-inventory"),
        ("OMNI_SERVICE_ACCOUNT_KEY", "doctor"),
        ("OMNICONFIG", "cluster-status"),
    ] {
        let mut command = lab.command(&[task, "--json"]);
        let output = command.env(name, OsStr::from_bytes(b"https://\xff\xfe.example.com")).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{name}: {output:?}");
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
        assert_eq!(document["error"]["message"], format!("{name} in the environment is not valid UTF-8"));
    }
    // What is not ours may be anything.
    let output = lab.command(&["triage", "--json", "-"]).env("LESSOPEN", OsStr::from_bytes(b"\xff")).output();
    assert_eq!(output.expect("it starts").status.code(), Some(0));
}

#[test]
fn passwords_in_addresses_of_flags_are_never_repeated() {
    let lab = Sandbox::new();
    let address = format!("https://root:{CANARY}@127.0.0.1:1");
    for _ in 0..2 {
        hunt(
            &lab,
            &[
                &format!("provider-setup --yes --proxmox-url {address}"),
                &format!("provider-setup --dry-run --proxmox-url={address}"),
                &format!("provider-setup --yes --omni-endpoint {address}"),
                &format!("omnictl-install --omni-endpoint {address}"),
                &format!("omnictl-install --force --mirror {address} --yes"),
                &format!("proxmox-inventory --no-such-flag={address}"),
                &format!("selector-test {address}"),
            ],
        );
        // The second time with a docker/config.yaml of another address.
        lab.provider();
    }
}

#[test]
fn passwords_in_addresses_of_files_and_variables_are_never_repeated() {
    let mut lab = set_up();
    let state = lab.read(".claude/omni-scale.local.md");
    let config = lab.read("docker/config.yaml");
    // The state.
    std::fs::remove_file(lab.file("docker/config.yaml")).expect("it was there");
    let endpoint = lab.env("PROXMOX_VE_ENDPOINT").to_owned();
    lab.set("PROXMOX_VE_ENDPOINT", None);
    let line = state.lines().find(|line| line.starts_with("proxmox_endpoint:")).expect("an address").to_owned();
    let planted = format!("proxmox_endpoint: \"https://root:{CANARY}%40b@127.0.0.1:1\"");
    lab.write(".claude/omni-scale.local.md", &state.replace(&line, &planted));
    hunt(&lab, &["proxmox-inventory", "doctor", "provider-setup --yes"]);
    lab.write(".claude/omni-scale.local.md", &state);
    lab.write("docker/config.yaml", &config);
    lab.set("PROXMOX_VE_ENDPOINT", Some(&endpoint));
    // The configuration of docker's client.
    lab.set("DOCKER_HOST", Some(&format!("tcp://user:{CANARY}@127.0.0.1:1")));
    let path = lab.env("PATH").to_owned();
    let docker = lab.stand_in("docker", "echo \"Cannot connect to the Docker daemon at $DOCKER_HOST.\" >&2\nexit 1");
    hunt(&lab, &["doctor", "provider-verify", "stack-logs --tail 20", "omni-status"]);
    lab.set("DOCKER_HOST", None);
    // A comment and an unknown name in docker/.env, which docker repeats.
    let env = lab.read("docker/.env");
    lab.write("docker/.env", &format!("{env}\n#OLD OIDC_CLIENT_SECRET={CANARY}\nMY_SECRET={CANARY}x\n"));
    std::fs::write(docker, format!("#!/bin/sh\ngrep -h canary {} >&2\nexit 1\n", lab.file("docker/.env").display()))
        .expect("written");
    hunt(&lab, &["doctor", "provider-verify", "stack-logs --tail 20", "stack-up --yes"]);
    lab.write("docker/.env", &env);
    lab.set("PATH", Some(&path));
    // omnictl's own login.
    lab.set("OMNI_SERVICE_ACCOUNT_KEY", None);
    let address = format!("https://u:{CANARY}@127.0.0.1:1");
    lab.write("omniconfig", &format!("contexts:\n  default:\n    url: {address}\n    auth:\n      siderov1:\n        identity: x@y\ncontext: default\n"));
    lab.set("OMNICONFIG", Some(&lab.file("omniconfig").display().to_string()));
    hunt(&lab, &["cluster-sync demo --yes --no-wait", "doctor", "cluster-status"]);
}

#[test]
fn password_of_a_registry_in_a_patch_is_not_shown_by_a_dry_run() {
    let lab = set_up();
    let template = lab.read("clusters/demo.yaml");
    let auth = format!(
        "machine:\n  registries:\n    config:\n      r.example.net:\n        auth:\n          password: {CANARY}\n"
    );
    let indented: String = auth.lines().map(|line| format!("      {line}\n")).collect();
    lab.write("clusters/demo.yaml", &format!("{template}---\nkind: Workers\nname: extra\nmachineClass:\n  name: small\n  size: 1\npatches:\n  - name: reg\n    inline:\n{indented}"));
    hunt(&lab, &["cluster-check demo", "cluster-sync demo --dry-run", "cluster-plan demo"]);
    // The same in a file of its own, as a token.
    lab.write("clusters/patches/reg.yaml", &auth.replace("password:", "identityToken:"));
    lab.write("clusters/demo.yaml", &format!("{template}---\nkind: Workers\nname: extra\nmachineClass:\n  name: small\n  size: 1\npatches:\n  - file: patches/reg.yaml\n"));
    hunt(&lab, &["cluster-check demo", "cluster-sync demo --dry-run", "cluster-plan demo"]);
    lab.run("cluster-sync demo --dry-run").exits(3);
}
