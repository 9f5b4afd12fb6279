//! Canaries: secrets planted everywhere a task reads one, and searched for everywhere it writes: its output in every form, the
//! arguments and environment of every program that it calls, the journal, the state, and every other file.

mod leak_probe;
mod of_the_lab;

use std::fs;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use leak_probe::LeakProbe;

use crate::input::key;
use crate::sandbox::{Sandbox, list, web_server};

#[test]
fn leak_probe_covers_every_task() {
    let known: Vec<String> = xtask::cli::command().get_subcommands().map(|task| task.get_name().to_owned()).collect();
    let all = ["secrets", "secrets-elsewhere", "secrets-without"].into_iter().flat_map(list);
    let mut named: Vec<&str> = all.map(|line| line.split(' ').next().unwrap_or_default()).collect();
    let mut known: Vec<&str> = known.iter().map(String::as_str).collect();
    named.sort_unstable();
    named.dedup();
    known.sort_unstable();
    assert_eq!(named, known);
}

#[test]
fn no_secret_leaks_on_success() {
    let mut probe = LeakProbe::new(Sandbox::new());
    for line in list("secrets") {
        // The lab has no tsidp, and its plan only has machines that exist.
        probe.both(line, &[0, 1, 3]);
    }
    // A log with a secret on a line that is truncated.
    let line =
        format!("x509: certificate has expired or is not yet valid {}{} and so on\n", "x".repeat(330), probe.token());
    probe.lab.write("target/log", &line);
    probe.allow_secrets_in("target/log");
    for round in 0..2 {
        let line = format!("triage {}", probe.lab.file("target/log").display());
        probe.either(&line, round, &[0, 1]).says(&["x509: certificate has expired"]);
    }
    probe.both("stack-down --yes", &[0]);
}

/// Programs repeat all of their input, their environment and the files that contain secrets, on either stream, and with success
/// or failure.
#[test]
fn no_secret_leaks_from_verbose_programs() {
    for status in [0, 1] {
        let mut probe = set_up();
        // The provider's login is known only from its own file.
        probe.lab.set("PROXMOX_VE_API_TOKEN", None);
        probe.print_all_secrets(Some(status));
        let more = ["stack-down --yes", "provider-setup --yes --insecure-skip-tls-verify"];
        for line in list("secrets").iter().map(String::as_str).chain(more) {
            probe.both(&format!("{line} --timeout 2s"), &[0, 1, 2, 3, 4, 5, 124]);
        }
    }
}

/// A lab in which the runbook has run.
fn set_up() -> LeakProbe {
    let mut probe = LeakProbe::new(Sandbox::new());
    probe.lab.provider();
    probe.lab.class("small");
    probe.lab.run("cluster-create demo --control-planes 1 --workers 0 --yes").exits(0);
    probe.learn();
    probe
}

/// A secret that only a broken file contains.
const CANARY: &str = "Wk4nB7xTq2Lm9Rv5Jd8cY3hZ";

#[test]
fn no_secret_leaks_from_broken_provider_configuration() {
    let mut probe = set_up();
    probe.lab.set("PROXMOX_VE_API_TOKEN", None);
    probe.plant("the broken line", CANARY);
    let good = probe.lab.read("docker/config.yaml");
    let secret = good.lines().find(|line| line.contains("tokenSecret:")).expect("a secret").to_owned();
    let id = good.lines().find(|line| line.contains("tokenID:")).expect("a login").to_owned();
    let url = good.lines().find(|line| line.trim().starts_with("url:")).expect("an address").to_owned();
    let with = |line: &String| good.replace(&secret, &line.replace("CANARY", CANARY));
    let others = [
        format!("proxmox: {CANARY}\n"),
        format!("proxmox: [{CANARY}]\n"),
        format!("proxmox:\n- {CANARY}\n"),
        format!("{CANARY}\n"),
        format!("proxmox: {{url: {CANARY}"),
        // The two halves of a login swapped, and both in one field.
        good.replace(&id, &format!("  tokenID: {CANARY}")).replace(&secret, "  tokenSecret: omni@pve!provider"),
        good.replace(&id, &format!("  tokenID: omni@pve!provider={CANARY}")),
        good.replace(&url, &format!("  url: https://root:{CANARY}@127.0.0.1:1/api2/json")),
        good.replace(&url, &format!("  url: \"https://root:{CANARY}@127.0.0.1:1/\"")),
    ];
    for (at, text) in list("broken-configuration").iter().map(with).chain(others).enumerate() {
        assert!(text.contains(CANARY));
        probe.lab.write("docker/config.yaml", &text);
        // The readers of the file are equivalent, so each broken form is tested with some of them.
        for line in list("configured").iter().cycle().skip(at).step_by(2).take(3) {
            probe.either(line, at, &[0, 1, 2, 4, 5]);
        }
    }
    // Proxmox responds at an address that contains a login: nothing of it is saved.
    let login = url.replace("https://", &format!("https://root:{CANARY}@"));
    probe.lab.write("docker/config.yaml", &good.replace(&url, &login));
    probe.both("provider-setup --yes", &[1]);
    fs::remove_file(probe.lab.file("docker/config.yaml")).expect("it was there");
    probe.lab.set("PROXMOX_VE_ENDPOINT", Some(login.trim().trim_start_matches("url: ").trim_matches('"')));
    let token = format!("omni@pve!provider={CANARY}");
    probe.lab.set("PROXMOX_VE_API_TOKEN", Some(&token));
    probe.both("provider-setup --yes", &[2]);
    probe.both("proxmox-inventory", &[5]);
}

#[test]
fn no_secret_leaks_from_broken_variables() {
    let mut probe = set_up();
    probe.plant("the broken line", CANARY);
    let good = probe.lab.read("docker/.env");
    for (round, line) in list("broken-variables").iter().enumerate() {
        probe.lab.write("docker/.env", &format!("{good}{}\n", line.replace("CANARY", CANARY)));
        for line in ["provider-verify", "cluster-status", "omni-setup --yes", "doctor", "triage", "lab-faults"] {
            probe.either(line, round, &[1]).says(&["docker/.env:"]);
        }
    }
}

#[test]
fn no_secret_leaks_from_invalid_keys() {
    let mut probe = LeakProbe::new(Sandbox::new());
    probe.plant("what is not a key", CANARY);
    let coded = |text: &str| STANDARD.encode(text);
    let armored = format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\\n\\n{CANARY}\\n-----END PGP PRIVATE KEY BLOCK-----");
    let keys = [
        CANARY.to_owned(),
        format!("OMNI_SERVICE_ACCOUNT_KEY={CANARY}"),
        coded(CANARY),
        coded(&format!("\"{CANARY}\"")),
        coded(&format!("{{\"name\": 1, \"pgp_key\": \"{CANARY}\"}}")),
        coded(&format!("{{\"name\": \"a\", \"pgp_key\": {{\"{CANARY}\": 1}}}}")),
        coded(&format!("{{\"name\": \"a\", \"pgp_key\": \"{CANARY}\"}}")),
        coded(&format!("{{\"name\": \"a\", \"pgp_key\": \"{armored}\"}}")),
        key("automation", 1_000_000_000, 3600),
        key("automation", 1_790_000_000, 3600 * 24 * 3650),
        key("infra-provider:other", 1_790_000_000, 3600 * 24 * 3650),
    ];
    let env = probe.lab.read("docker/.env");
    let (good, line) = (probe.lab.env("OMNI_SERVICE_ACCOUNT_KEY").to_owned(), "OMNI_INFRA_PROVIDER_KEY=");
    for (round, key) in keys.iter().enumerate() {
        // Encoded values are searched for both encoded and decoded.
        if key.len() > 40 && !key.contains('_') {
            probe.plant("OMNI_SERVICE_ACCOUNT_KEY", key);
        }
        probe.lab.set("OMNI_SERVICE_ACCOUNT_KEY", Some(key));
        probe.either("cluster-status", round, &[1, 5]);
        probe.either("provider-verify", round + 1, &[1, 5]);
        probe.either("doctor", round, &[0, 1]);
        probe.lab.set("OMNI_SERVICE_ACCOUNT_KEY", Some(&good));
        let old = env.lines().find(|found| found.starts_with(line)).expect("a line for the key");
        probe.lab.write("docker/.env", &env.replace(old, &format!("{line}{key}")));
        probe.either("provider-setup --yes", round, &[1]);
        probe.either("doctor", round + 1, &[1]);
        probe.lab.write("docker/.env", &env);
    }
    for (round, token) in list("broken-tokens").iter().enumerate() {
        probe.lab.set("PROXMOX_VE_API_TOKEN", Some(&token.replace("CANARY", CANARY)));
        for (at, line) in
            ["provider-setup --yes", "proxmox-audit", "proxmox-inventory", "selector-test true"].iter().enumerate()
        {
            probe.either(line, round + at, &[1, 5]);
        }
    }
}

/// omnictl prints a key and fails, or prints another text than expected.
#[test]
fn no_secret_leaks_when_a_new_key_is_not_stored() {
    let mut probe = LeakProbe::new(Sandbox::new());
    let new = key("infra-provider:proxmox", 1_790_000_000, 3600);
    probe.plant("a new key", &new);
    for text in [
        format!("OMNI_SERVICE_ACCOUNT_KEY={new}\n"),
        format!("export OMNI_SERVICE_ACCOUNT_KEY={new}\n"),
        format!("the key is {new}\n"),
    ] {
        probe.makers_print(&text);
        probe.both("provider-setup --yes", &[1]);
    }
}

/// A service that repeats the whole request, including the token, in every part of a response.
#[test]
fn no_secret_leaks_when_a_service_repeats_it() {
    let mut probe = set_up();
    probe.lab.set("PROXMOX_VE_API_TOKEN", None);
    let good = probe.lab.read("docker/config.yaml");
    let url = good.lines().find(|line| line.trim().starts_with("url:")).expect("an address").to_owned();
    for (round, form) in list("repeats").iter().enumerate() {
        let address = repeats(form);
        probe.lab.write("docker/config.yaml", &good.replace(&url, &format!("  url: {address}/api2/json")));
        for (at, line) in list("configured").iter().enumerate().filter(|(_, line)| !line.starts_with("stack-up")) {
            probe.either(&format!("{line} --insecure-http"), round + at, &[0, 1, 2, 5]);
        }
    }
}

/// Starts a web server that responds to everything with `form`. Returns its address.
fn repeats(form: &'static str) -> String {
    web_server(|head, stream| stream.write_all(form.replace("REQUEST", head.replace("\r\n", " ").trim()).as_bytes()))
}

#[test]
fn no_secret_leaks_while_omni_is_set_up() {
    let (lab, words) = crate::omni_stack_in_lab::bare();
    let mut probe = LeakProbe::new(lab);
    if !probe.has_program("gpg") {
        eprintln!("SKIP no_secret_leaks_while_omni_is_set_up: gpg is not installed");
        return;
    }
    let account = ["--service-account", "Operator", "--service-account-name", "tasks", "-v"].map(str::to_owned);
    let words: Vec<String> = words.into_iter().filter(|word| word != "--json").chain(account).collect();
    let line = words.join(" ");
    let ran = probe.run(&line);
    assert_eq!(ran.code, 0, "{ran:#?}");
    probe.both("omni-setup --yes", &[0]);
    // A store key that cannot be used, and an invalid private key of a certificate.
    probe.plant("the broken line", CANARY);
    let key = probe.lab.read("docker/omni.asc");
    let body = key.lines().find(|line| line.len() > 40 && !line.starts_with('-')).expect("a line").to_owned();
    let broken = [
        key.replacen(&body, &format!("{CANARY}: {CANARY}\n\n{body}"), 1),
        key.replacen(&body, &format!("{CANARY}\n{body}"), 1),
        key.replacen(&body, CANARY, 1),
        key.replace("PRIVATE", "PUBLIC"),
        format!("{CANARY}\n"),
    ];
    for text in broken {
        probe.lab.write("docker/omni.asc", &text);
        // Omni ignores the text before the packets.
        probe.both("omni-setup --yes", &[0, 1]);
        probe.both("doctor", &[0, 1]);
    }
    probe.lab.write("docker/omni.asc", &key);
    probe.lab.write("docker/broken.pem", &format!("-----BEGIN PRIVATE KEY-----\n{CANARY}\n"));
    let path = probe.lab.file("docker/broken.pem").display().to_string();
    probe.allow_secrets_in("docker/broken.pem");
    probe.both(&format!("omni-setup --yes --tls-key {path}"), &[2]);
    for line in ["omni-verify", "omni-status", "doctor", "stack-down --yes"] {
        probe.both(line, &[0, 1]);
    }
}
