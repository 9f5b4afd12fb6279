//! The tasks of the hub in a lab: Omni set up from nothing, looked at, ended and brought back, by the real binary.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use domain::spec::env::REQUIRED;
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
    let (mut lab, words) = bare();
    // gpg's agent ends once while it starts, which a second try gets over.
    lab.stand_in(
        "gpg",
        "case \"$*\" in *--quick-generate-key*) [ -e \"$0.tried\" ] || {\n: > \"$0.tried\"\n\
         echo 'gpg: agent_genkey failed: End of file' >&2; exit 2; } ;; esac\nPATH=${PATH#*:} exec gpg \"$@\"",
    );
    let account = ["--service-account", "Operator", "--service-account-name", "tasks"];
    let (code, document) = setup(&lab, &words, &[account.as_slice(), &["--dry-run"]].concat());
    let words_of_call = words.iter().map(String::as_str).filter(|word| *word != "--json").chain(account);
    let call = words_of_call.collect::<Vec<_>>().join(" ");
    assert_eq!((code, &document["next"]), (3, &json!([format!("cargo xtask {call}")])), "the very call");
    assert!(!lab.file("docker/.env").exists() && !lab.file("docker/omni.asc").exists(), "a dry run wrote something");
    let plan = document["data"]["plan"].as_array().unwrap();
    let objects: Vec<&str> = plan.iter().map(|step| step["object"].as_str().unwrap()).collect();
    let site = ["docker/site.yaml", "OMNI_SITE_FILE in docker/.env"];
    assert_eq!(objects[..5], ["docker/.env", "docker/omni.asc", site[0], site[1], "the stack"], "{plan:#?}");
    assert!(objects.last().unwrap().starts_with("the service account `tasks`"), "all of it is one plan: {objects:?}");
    let (code, document) = setup(&lab, &words, &account);
    assert_eq!(code, 0, "{document:#}");
    let mode = |name: &str| fs::metadata(lab.file(name)).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(["docker/.env", "docker/omni.asc", "docker/site.yaml"].map(mode), [0o600; 3]);
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
enum EnvDefect {
    Missing,
    Empty,
    Example,
}

fn with(env: &str, example: &str, keys: &[&str], left: EnvDefect) -> String {
    let mut out = String::new();
    for line in env.lines() {
        let key = line.split('=').next().unwrap_or_default();
        match (keys.contains(&key), left) {
            (false, _) => out.push_str(&format!("{line}\n")),
            (true, EnvDefect::Missing) => {}
            (true, EnvDefect::Empty) => out.push_str(&format!("{key}=\n")),
            (true, EnvDefect::Example) => {
                let line = example.lines().find(|line| line.starts_with(&format!("{key}=")));
                out.push_str(&format!("{}\n", line.expect("the example has it")));
            }
        }
    }
    out
}

/// Given a file, docker compose refuses every command while a value is missing or not valid; a stack that runs must be
/// looked at and ended all the same.
#[test]
fn tasks_that_only_look_do_not_depend_on_a_complete_env() {
    let mut lab = Sandbox::new();
    lab.set("DOCKER_HOST", Some("tcp://lab"));
    lab.run("stack-up --yes").exits(0);
    let (env, example) = (lab.read("docker/.env"), lab.read("docker/.env.example"));
    let required = REQUIRED.map(|variable| variable.key);
    for left in [EnvDefect::Missing, EnvDefect::Empty, EnvDefect::Example] {
        for key in required {
            lab.write("docker/.env", &with(&env, &example, &[key], left));
            lab.run("omni-status").exits(0).says(&["2 of 2 run"]);
            lab.run("stack-logs omni").exits(0).says(&["starting Omni"]);
            // A name or an address of the example may be somebody's.
            let placeholder = key == "OMNI_ACCOUNT_UUID" || key == "TS_AUTHKEY" || key.starts_with("OIDC_CLIENT_");
            if left != EnvDefect::Example || placeholder {
                lab.run("stack-up --yes").exits(4).says(&[key, "docker/.env"]);
            }
        }
        lab.write("docker/.env", &with(&env, &example, &required, left));
        lab.run("stack-logs").exits(0);
        let doctor = lab.run("doctor --area docker --json --all").json();
        let check = |id: &str| {
            let found = doctor["data"]["checks"].as_array().expect("a list").iter().find(|check| check["id"] == id);
            found.map(|check| check["status"].clone()).unwrap_or_else(|| panic!("{id} is there: {doctor:#}"))
        };
        assert_eq!(check("docker.containers"), "ok", "{left:?} {doctor:#}");
        lab.run("stack-down --yes").exits(0);
        assert_eq!(containers(&lab), Vec::<String>::new(), "{left:?}");
        lab.write("docker/.env", &env);
        lab.run("stack-up --yes").exits(0);
    }
    // Neither do they depend on a value that compose can use.
    for value in ["omni.lan", "192.0.2.10:443", "'192.0.2.10 x'"] {
        let text = with(&env, &example, &["OMNI_LAN_ADDRESS"], EnvDefect::Missing);
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
