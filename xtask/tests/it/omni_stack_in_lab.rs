//! The tasks of the hub in a lab: Omni set up from nothing, looked at, ended and brought back, by the real binary.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

/// A checkout in which nothing is set up, and the flags with what its operator knows.
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

fn setup(lab: &Sandbox, words: &[String], more: &[&str]) -> (i32, Value) {
    let words: Vec<&str> = words.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let ran = lab.run_words(&words);
    (ran.code, ran.json())
}

fn containers(lab: &Sandbox) -> Vec<String> {
    let dump = lab.dump();
    let found = dump["docker"]["containers"].as_array().expect("a list").iter();
    let text = |each: &Value, key: &str| each[key].as_str().unwrap_or_default().to_owned();
    found.map(|each| format!("{} {}", text(each, "service"), text(each, "state"))).collect()
}

#[test]
fn omni_is_set_up_from_nothing_and_everything_says_so() {
    if std::process::Command::new("gpg").arg("--version").output().is_err() {
        eprintln!("SKIP omni_is_set_up_from_nothing_and_everything_says_so: gpg is not installed");
        return;
    }
    let (lab, words) = bare();
    let account = ["--service-account", "Operator", "--service-account-name", "tasks"];
    let (code, document) = setup(&lab, &words, &[account.as_slice(), &["--dry-run"]].concat());
    let words_of_call = words.iter().map(String::as_str).filter(|word| *word != "--json").chain(account);
    let call = words_of_call.collect::<Vec<_>>().join(" ");
    assert_eq!((code, &document["next"]), (3, &json!([format!("cargo xtask {call}")])), "the very call");
    assert!(!lab.file("docker/.env").exists() && !lab.file("docker/omni.asc").exists(), "a dry run wrote something");
    let plan = document["data"]["plan"].as_array().unwrap();
    let objects: Vec<&str> = plan.iter().map(|step| step["object"].as_str().unwrap()).collect();
    assert_eq!(objects[..3], ["docker/.env", "docker/omni.asc", "the stack"], "{plan:#?}");
    assert!(objects.last().unwrap().starts_with("the service account `tasks`"), "all of it is one plan: {objects:?}");
    let (code, document) = setup(&lab, &words, &account);
    assert_eq!(code, 0, "{document:#}");
    let mode = |name: &str| fs::metadata(lab.file(name)).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode("docker/.env"), mode("docker/omni.asc")), (0o600, 0o600));
    assert_eq!(containers(&lab), ["omni running", "omni-tailscale running"]);
    let account = &document["data"]["service_account"];
    assert_eq!((&account["name"], &account["role"]), (&"tasks".into(), &"Operator".into()), "{document:#}");
    assert!(account["expires"].as_str().is_some_and(|until| until.starts_with("20")), "{account}");
    assert!(account["place"].as_str().is_some_and(|place| place.contains("docker/.env")), "{account}");
    assert!(lab.read("docker/.env").contains("# --- tsidp, the OIDC provider"), "the example's comments stay");
    // Once more: nothing is made anew, the account's key lasts.
    let (env, key) = (lab.read("docker/.env"), lab.read("docker/omni.asc"));
    let again = ["--service-account", "Operator", "--service-account-name", "tasks"];
    let (code, document) = setup(&lab, &["omni-setup", "--yes", "--json"].map(str::to_owned), &again);
    assert_eq!((code, &document["data"]["changed"]), (0, &false.into()), "{document:#}");
    assert_eq!((lab.read("docker/.env"), lab.read("docker/omni.asc")), (env, key));
    for task in ["omni-verify", "omni-status", "tsidp-verify", "stack-logs omni", "stack-logs"] {
        lab.run(task).exits(0);
    }
    lab.run("omni-status").exits(0).says(&["data: /_out/etcd, /_out/sqlite/omni.db on mounts"]);
    lab.run("stack-down --yes").exits(0);
    assert_eq!(containers(&lab), Vec::<String>::new());
    lab.run("omni-status").exits(1).says(&["the stack is not up"]);
    lab.run("stack-up --yes").exits(0);
    assert_eq!(containers(&lab), ["omni running", "omni-tailscale running"]);
    // The store outlived its containers, so its key and its name are settled.
    fs::remove_file(lab.file("docker/omni.asc")).expect("it was there");
    lab.run("omni-setup --yes").exits(1).says(&["docker/omni.asc does not exist, and Omni has a store"]);
}

/// What `docker/.env` can be like where somebody copied the example, or took a line out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Missing,
    Empty,
    Example,
}

fn with(env: &str, example: &str, keys: &[&str], left: Left) -> String {
    let mut out = String::new();
    for line in env.lines() {
        let key = line.split('=').next().unwrap_or_default();
        match (keys.contains(&key), left) {
            (false, _) => out.push_str(&format!("{line}\n")),
            (true, Left::Missing) => {}
            (true, Left::Empty) => out.push_str(&format!("{key}=\n")),
            (true, Left::Example) => {
                let line = example.lines().find(|line| line.starts_with(&format!("{key}=")));
                out.push_str(&format!("{}\n", line.expect("the example has it")));
            }
        }
    }
    out
}

const REQUIRED: [&str; 10] = [
    "OMNI_DOMAIN",
    "OMNI_LAN_ADDRESS",
    "OMNI_ACCOUNT_UUID",
    "OMNI_INITIAL_USER",
    "OMNI_TLS_CERT",
    "OMNI_TLS_KEY",
    "OIDC_ISSUER_URL",
    "OIDC_CLIENT_ID",
    "OIDC_CLIENT_SECRET",
    "TS_AUTHKEY",
];

/// Given a file, docker compose refuses every command while a value is missing or not valid; a stack that runs must be
/// looked at and ended all the same.
#[test]
fn tasks_that_only_look_do_not_depend_on_a_complete_env() {
    let mut lab = Sandbox::new();
    lab.set("DOCKER_HOST", Some("tcp://lab"));
    lab.run("stack-up --yes").exits(0);
    let (env, example) = (lab.read("docker/.env"), lab.read("docker/.env.example"));
    for left in [Left::Missing, Left::Empty, Left::Example] {
        for key in REQUIRED {
            lab.write("docker/.env", &with(&env, &example, &[key], left));
            lab.run("omni-status").exits(0).says(&["2 of 2 run"]);
            lab.run("stack-logs omni").exits(0).says(&["starting Omni"]);
            // A name or an address of the example may be somebody's.
            let placeholder = key == "OMNI_ACCOUNT_UUID" || key == "TS_AUTHKEY" || key.starts_with("OIDC_CLIENT_");
            if left != Left::Example || placeholder {
                lab.run("stack-up --yes").exits(4).says(&[key, "docker/.env"]);
            }
        }
        lab.write("docker/.env", &with(&env, &example, &REQUIRED, left));
        lab.run("stack-logs").exits(0);
        let doctor = lab.run("doctor --area docker --json").json();
        let check = |id: &str| {
            let found = doctor["steps"].as_array().expect("a list").iter().find(|step| step["id"] == id);
            found.map(|step| step["status"].clone()).unwrap_or_else(|| panic!("{id} is there: {doctor:#}"))
        };
        assert_eq!(check("docker.containers"), "ok", "{left:?} {doctor:#}");
        lab.run("stack-down --yes").exits(0);
        assert_eq!(containers(&lab), Vec::<String>::new(), "{left:?}");
        lab.write("docker/.env", &env);
        lab.run("stack-up --yes").exits(0);
    }
    // Neither do they depend on a value that compose can use.
    for value in ["omni.lan", "192.0.2.10:443", "'192.0.2.10 x'"] {
        let text = with(&env, &example, &["OMNI_LAN_ADDRESS"], Left::Missing);
        lab.write("docker/.env", &format!("{text}OMNI_LAN_ADDRESS={value}\n"));
        lab.run("omni-status").exits(0);
        lab.run("stack-up --yes").exits(1).says(&[
            "OMNI_LAN_ADDRESS",
            "is not a valid IP address",
            "ip -brief address",
        ]);
    }
    lab.run("stack-down --yes").exits(0);
    assert_eq!(containers(&lab), Vec::<String>::new());
}

/// The example's account UUID is also the example's token secret: a redaction made `"***" is not a valid UUID` of it.
#[test]
fn a_value_left_at_the_example_is_called_that() {
    let mut lab = Sandbox::new();
    lab.set("DOCKER_HOST", Some("tcp://lab"));
    let example = lab.read("docker/.env.example");
    let env = with(
        &lab.read("docker/.env"),
        &example,
        &["OMNI_ACCOUNT_UUID", "OMNI_DOMAIN", "OMNI_LAN_ADDRESS"],
        Left::Example,
    );
    lab.write("docker/.env", &env);
    lab.write("docker/config.yaml", &lab.read("docker/config.yaml.example"));
    let said = lab.run("doctor").says(&[
        "OMNI_ACCOUNT_UUID in docker/.env still has the example's value",
        "OMNI_LAN_ADDRESS in docker/.env still has the example's value",
    ]);
    assert!(!said.stderr.contains("***") && !said.stdout.contains("***"), "{said:#?}");
}

#[test]
fn data_on_no_mount_stops_what_would_lose_it() {
    for (line, path) in [
        ("      - omni-sqlite:/_out/sqlite\n", "/_out/sqlite/omni.db is on no mount"),
        ("      - ts-state:/var/lib/tailscale\n", "/var/lib/tailscale is on no mount"),
    ] {
        let mut lab = Sandbox::new();
        lab.set("DOCKER_HOST", Some("tcp://lab"));
        let compose = lab.read("docker/compose.yaml");
        assert!(compose.contains(line));
        let without = if line.contains("ts-state") { "      - /nothing\n" } else { "" };
        lab.write("docker/compose.yaml", &compose.replace(line, without));
        lab.run("stack-up --yes").exits(0);
        let before = containers(&lab);
        for task in [
            "stack-down --yes",
            "stack-up --yes",
            "stack-up --recreate --yes",
            "omni-setup --yes",
            "provider-setup --yes",
        ] {
            lab.run(task).exits(1).says(&[path, "docker cp"]);
        }
        assert_eq!(containers(&lab), before, "{path}");
    }
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let (mut lab, words) = bare();
    for (flag, value, says) in [
        ("--domain", "omni.example.com\"; rm -rf /", "is not a valid host name"),
        ("--domain", "https://omni.example.com/x?y=1", "is not a valid host name"),
        ("--domain", "", "is empty"),
        ("--client-id", "x\nOMNI_DOMAIN=evil", "a line break"),
        ("--initial-user", "a@b.c\nX=1", "a line break"),
        ("--initial-user", "nobody", "is not a valid e-mail address"),
        ("--lan-address", "omni.example.com", "is not a valid IP address"),
        ("--tls-cert", ".", "is a directory"),
        ("--tls-cert", "/nowhere.pem", "does not exist"),
        ("--tls-key", "/dev/null", "/dev/null"),
        ("--issuer", "http://idp.example.ts.net", "is not a valid https URL"),
        ("--account-uuid", "omni", "is not a valid UUID"),
        ("--lan-address", "100.64.0.7", "tailnet"),
        ("--lan-address", "fd00::10", "IPv6"),
        ("--domain", "other.example.org", "does not cover other.example.org"),
        ("--domain", "omni.example.org:8443", "has a port"),
        ("--tls-cert", "/bin/sh", "not valid UTF-8 text"),
        ("--initial-user", "octo@github", "octo@github.tsidp.example.ts.net"),
        ("--initial-user", "Alice <alice@example.org>", "is not a valid e-mail address"),
    ] {
        let mut changed = words.clone();
        match changed.iter().position(|word| word == flag) {
            Some(at) => value.clone_into(&mut changed[at + 1]),
            None => changed.extend([flag.to_owned(), value.to_owned()]),
        }
        let (code, document) = setup(&lab, &changed, &[]);
        assert!(code == 1 || code == 2, "{flag} {value:?}: {document:#}");
        assert!(
            document.to_string().contains(&serde_json::to_string(says).expect("text")[1..says.len()]),
            "{flag}: {document:#}"
        );
        assert!(!lab.file("docker/.env").exists() && !lab.file("docker/omni.asc").exists(), "{flag} {value:?}");
        assert_eq!(containers(&lab), Vec::<String>::new(), "{flag} {value:?}");
    }
    let canary = "canary-5f1d9c\nTS_AUTHKEY=x";
    lab.set("OIDC_CLIENT_SECRET", Some(canary));
    let (code, document) = setup(&lab, &words, &[]);
    assert!(code == 2 && !document.to_string().contains("canary"), "{document:#}");
}
