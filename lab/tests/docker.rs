//! Compares the stand-in for docker with output recorded from docker 28.2.2 on an engine 20.10.24, with the shipped compose file.
#![allow(clippy::unwrap_used)] // a test that cannot continue should panic

mod harness;

use std::collections::{BTreeMap, BTreeSet};

use harness::{CallResult, Lab, recording};
use serde_json::Value;

const FORMAT: &str = r#"{"mounts":{{json .Mounts}},"args":{{json .Args}}}"#;

/// Starts a lab with the kit as shipped and the values of its example.
fn kit() -> Lab {
    let lab = Lab::start(&[]);
    let env = include_str!("../../docker/.env.example").replace("/etc/letsencrypt/live/omni.example.com", ".");
    lab.project.write("docker/.env", &env);
    lab.project.write("docker/compose.yaml", include_str!("../../docker/compose.yaml"));
    lab.project.write("docker/no-providers.yaml", include_str!("../../docker/no-providers.yaml"));
    for file in ["omni.asc", "fullchain.pem", "privkey.pem"] {
        lab.project.write(&format!("docker/{file}"), "x\n");
    }
    lab
}

fn up(lab: &Lab) -> CallResult {
    lab.call("docker", &["compose", "-f", "docker/compose.yaml", "up", "-d"])
}

fn check_recording(lab: &Lab, name: &str, words: &[&str]) -> CallResult {
    let wanted = recording("docker", name);
    let said = lab.call("docker", words);
    let without_dir = |text: &str| text.replace(&lab.project.0.display().to_string(), "/srv/omni-scale");
    assert_eq!(
        (said.code, &without_dir(&said.out), &without_dir(&said.err)),
        (wanted.code, &wanted.out, &wanted.err),
        "{name}"
    );
    said
}

#[test]
fn missing_objects_are_reported_as_by_docker() {
    let lab = kit();
    check_recording(&lab, "inspect-missing-format", &["inspect", "--type", "container", "--format", FORMAT, "nope"]);
    check_recording(&lab, "volume-missing", &["volume", "inspect", "--format", "{{.Name}}", "nope"]);
    let exec = ["compose", "-f", "docker/compose.yaml", "exec", "-T"];
    check_recording(&lab, "exec-not-running", &[&exec[..], &["nosuch", "true"]].concat());
    // The engine is contacted first, as by the real program.
    let gone = lab
        .command("docker", &["volume", "inspect", "--format", "{{.Name}}", "x"])
        .env("DOCKER_HOST", "unix:///nowhere.sock")
        .output()
        .unwrap();
    let gone = CallResult::from(gone);
    assert_eq!((gone.code, gone.err.contains("failed to connect to the docker API")), (1, true), "{gone:?}");
    let said = lab.call("docker", &["inspect", "--type", "image", "x"]);
    assert_eq!(said.code, 64, "{said:?}");
}

#[test]
fn inspect_describes_container_as_docker_does() {
    let lab = kit();
    let up = up(&lab);
    assert_eq!(up.code, 0, "{up:?}");
    let wanted: Value = serde_json::from_str(&recording("docker", "inspect-omni-format").out).unwrap();
    let said = lab.call("docker", &["inspect", "--type", "container", "--format", FORMAT, "omni-scale-omni-1"]);
    let got: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(mounts(&lab, &got["mounts"]), mounts(&lab, &wanted["mounts"]));
    assert_eq!(got["args"], wanted["args"]);
    let exec = ["compose", "-f", "docker/compose.yaml", "exec", "-T"];
    check_recording(&lab, "exec-no-program", &[&exec[..], &["omni", "ls"]].concat());
    let volume = || lab.call("docker", &["volume", "inspect", "--format", "{{.Name}}", "omni-scale_omni-etcd"]);
    assert_eq!((volume().code, volume().out.as_str()), (0, "omni-scale_omni-etcd\n"));
    // Volumes outlive the containers.
    assert_eq!(lab.compose("down").code, 0);
    assert_eq!(volume().code, 0);
    assert_eq!(
        lab.call("docker", &["inspect", "--type", "container", "--format", FORMAT, "omni-scale-omni-1"]).code,
        1
    );
}

/// Values in `.env` and changes to the compose file that docker compose 5.5.1 on an engine 20.10.24 rejects, recorded.
#[test]
fn compose_refuses_invalid_values() {
    let lab = kit();
    let env = lab.project.read("docker/.env");
    let all: BTreeMap<String, Vec<[String; 3]>> =
        serde_yaml::from_str(include_str!("fixtures/compose/refusals.yaml")).unwrap();
    for [key, value, wanted] in &all["env"] {
        let others: String =
            env.lines().filter(|line| !line.starts_with(&format!("{key}="))).map(|line| format!("{line}\n")).collect();
        lab.project.write("docker/.env", &format!("{others}{key}={value}\n"));
        let said = up(&lab);
        assert_eq!((said.code, said.err.contains(wanted)), (1, true), "{key}={value}: {said:?}");
    }
    lab.project.write("docker/.env", &env);
    let compose = lab.project.read("docker/compose.yaml");
    for [from, to, wanted] in &all["compose"] {
        assert!(compose.contains(from), "{from}");
        lab.project.write("docker/compose.yaml", &compose.replace(from, to));
        let said = up(&lab);
        assert_eq!((said.code, said.err.ends_with(wanted)), (1, true), "{to}: {said:?}");
    }
    lab.project.write("docker/compose.yaml", &compose);
}

/// With the project's name and no file, compose uses the existing containers: recorded with `.env` in any state.
#[test]
fn compose_by_name_needs_neither_file_nor_values() {
    let lab = kit();
    let by_name = |line: &str| {
        let fixed = ["compose", "-p", "omni-scale", "--env-file", "/dev/null"];
        let words: Vec<&str> = fixed.into_iter().chain(line.split_whitespace()).collect();
        let said = lab.call("docker", &words);
        (said.code, said.out, said.err)
    };
    let none = || (0, String::new(), String::new());
    assert_eq!(by_name("ps --all --format json"), none());
    assert_eq!(by_name("logs --no-log-prefix omni"), none());
    assert!(
        by_name("down")
            .2
            .ends_with("level=warning msg=\"Warning: No resource found to remove for project \\\"omni-scale\\\".\"\n")
    );
    assert_eq!(by_name("exec -T omni ls"), (1, String::new(), "service \"omni\" is not running\n".to_owned()));
    assert_eq!(up(&lab).code, 0);
    lab.project.write("docker/.env", "OMNI_LAN_ADDRESS=not-set\nthis is no line\n");
    assert_eq!(lab.call("docker", &["compose", "-f", "docker/compose.yaml", "ps"]).code, 1);
    assert_eq!(by_name("ps --all --format json").1.lines().count(), 2);
    assert_eq!(by_name("logs --no-log-prefix nosuch"), none());
    assert_eq!(by_name("down").0, 0);
    assert_eq!(by_name("ps --all --format json"), none());
}

/// omni v1.9.3, run: exits at each start, however it is started.
#[test]
fn omni_does_not_start_with_an_unknown_setting() {
    let lab = kit();
    let env = lab.project.read("docker/.env").replace("OMNI_SITE_FILE=\n", "") + "OMNI_SITE_FILE=./site.yaml\n";
    lab.project.write("docker/.env", &env);
    let up = ["compose", "-f", "docker/compose.yaml", "up", "-d", "--force-recreate"];
    assert_eq!(lab.call("docker", &up).code, 1, "the file does not exist");
    for (text, wanted) in [
        ("auth:\n  saml:\n    labelRules: {any: thing}\n---\nnot: read\n", None),
        ("etcdBackup:\n  localPaht: /x\n", Some("unknown keys found during decoding: etcdBackup.localPaht")),
        ("a: [\n", Some("failed to load config from file \"/etc/omni/site.yaml\": yaml: ")),
    ] {
        lab.project.write("docker/site.yaml", text);
        assert_eq!(lab.call("docker", &up).code, 0);
        let by_name = ["compose", "-p", "omni-scale", "--env-file", "/dev/null", "logs", "--no-log-prefix", "omni"];
        let log = lab.call("docker", &by_name).out;
        assert!(wanted.map_or(!log.contains("failed to load"), |wanted| log.contains(wanted)), "{text}: {log}");
    }
}

/// Omni stops answering when its container is removed.
#[test]
fn omni_answers_only_while_its_container_runs() {
    let lab = kit();
    let asked = |lab: &Lab| lab.omnictl("get clusters").code;
    assert_eq!(asked(&lab), 0, "before there is a container, the lab's Omni is somebody else's");
    assert_eq!(up(&lab).code, 0);
    assert_eq!(asked(&lab), 0);
    assert_eq!((lab.compose("down").code, asked(&lab)), (0, 1));
    assert_eq!(up(&lab).code, 0);
    assert_eq!(asked(&lab), 0);
}

/// Mounts in a fixed order, because docker's varies. Their paths on the host differ between hosts.
fn mounts(lab: &Lab, found: &Value) -> BTreeSet<String> {
    let one = |mount: &Value| {
        let mut mount = mount.clone();
        let source = mount["Source"].as_str().unwrap().to_owned();
        let source = source.replace(&lab.project.0.display().to_string(), "/srv/omni-scale");
        mount["Source"] = source.replace("fullchain.pem", "tls.crt").replace("privkey.pem", "tls.key").into();
        mount.to_string()
    };
    found.as_array().unwrap().iter().map(one).collect()
}
