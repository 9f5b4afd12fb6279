//! The stand-in for docker itself against what docker 28.2.2 on an engine 20.10.24 printed, with the shipped compose file.
#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod harness;

use std::collections::BTreeSet;

use harness::{Lab, Said, recording};
use serde_json::Value;

const FORMAT: &str = r#"{"mounts":{{json .Mounts}},"args":{{json .Args}}}"#;

/// The kit as it is shipped, with the values of its example.
fn kit() -> Lab {
    let lab = Lab::start(&[]);
    let env = include_str!("../../docker/.env.example").replace("/etc/letsencrypt/live/omni.example.com", ".");
    lab.project.write("docker/.env", &env);
    lab.project.write("docker/compose.yaml", include_str!("../../docker/compose.yaml"));
    for file in ["omni.asc", "fullchain.pem", "privkey.pem"] {
        lab.project.write(&format!("docker/{file}"), "x\n");
    }
    lab
}

fn says(lab: &Lab, name: &str, words: &[&str]) -> Said {
    let wanted = recording("docker", name);
    let said = lab.call("docker", words);
    let told = |text: &str| text.replace(&lab.project.0.display().to_string(), "/srv/omni-scale");
    assert_eq!((said.code, &told(&said.out), &told(&said.err)), (wanted.code, &wanted.out, &wanted.err), "{name}");
    said
}

#[test]
fn what_is_not_there_is_said_as_by_docker() {
    let lab = kit();
    says(&lab, "inspect-missing", &["inspect", "nope"]);
    says(&lab, "inspect-missing-container", &["inspect", "--type", "container", "nope"]);
    says(&lab, "inspect-missing-format", &["inspect", "--type", "container", "--format", FORMAT, "nope"]);
    says(&lab, "volume-missing", &["volume", "inspect", "--format", "{{.Name}}", "nope"]);
    says(&lab, "volume-missing-plain", &["volume", "inspect", "nope"]);
    let exec = ["compose", "-f", "docker/compose.yaml", "exec", "-T"];
    says(&lab, "exec-not-running", &[&exec[..], &["nosuch", "true"]].concat());
    says(&lab, "exec-too-few", &[&exec[..], &["omni-tailscale"]].concat());
    // The engine is asked first, as by the real program.
    let gone = lab.command("docker", &["volume", "ls"]).env("DOCKER_HOST", "unix:///nowhere.sock").output().unwrap();
    let gone = Said::from(gone);
    assert_eq!((gone.code, gone.err.contains("failed to connect to the docker API")), (1, true), "{gone:?}");
    let said = lab.call("docker", &["inspect", "--type", "image", "x"]);
    assert_eq!(said.code, 64, "{said:?}");
}

#[test]
fn a_container_is_described_as_by_docker() {
    let lab = kit();
    let up = lab.call("docker", &["compose", "-f", "docker/compose.yaml", "up", "-d"]);
    assert_eq!(up.code, 0, "{up:?}");
    for (name, container) in [("inspect-omni", "omni-scale-omni-1"), ("inspect-sidecar", "omni-scale-omni-tailscale-1")]
    {
        let wanted: Value = serde_json::from_str(&recording("docker", name).out).unwrap();
        let said = lab.call("docker", &["inspect", container]);
        let got: Value = serde_json::from_str(&said.out).unwrap();
        assert!(said.out.starts_with("[\n    {\n        \"Id\": \""), "{}", said.out);
        shaped_alike(&got[0], &wanted[0], container);
        for key in ["Path", "Args", "Name", "Platform", "RestartCount"] {
            let told = got[0][key].to_string().replace("./", "");
            assert_eq!(told, wanted[0][key].to_string(), "{key} of {container}");
        }
        assert_eq!(mounts(&lab, &got[0]["Mounts"]), mounts(&lab, &wanted[0]["Mounts"]), "{container}");
        for key in ["Status", "Running"] {
            assert_eq!(got[0]["State"][key], wanted[0]["State"][key], "{key} of {container}");
        }
    }
    let wanted: Value = serde_json::from_str(&recording("docker", "inspect-omni-format").out).unwrap();
    let said = lab.call("docker", &["inspect", "--type", "container", "--format", FORMAT, "omni-scale-omni-1"]);
    let got: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(mounts(&lab, &got["mounts"]), mounts(&lab, &wanted["mounts"]));
    assert_eq!(got["args"], wanted["args"]);
    says(&lab, "inspect-no-key", &["inspect", "--format", "{{.Nope}}", "omni-scale-omni-1"]);
    says(&lab, "inspect-no-health", &["inspect", "--format", "{{.State.Health.Status}}", "omni-scale-omni-1"]);
    let format = "{{.State.Health.Status}} {{.State.Status}} {{.RestartCount}}";
    says(&lab, "inspect-health", &["inspect", "--format", format, "omni-scale-omni-tailscale-1"]);
    let exec = ["compose", "-f", "docker/compose.yaml", "exec", "-T"];
    says(&lab, "exec-no-program", &[&exec[..], &["omni", "ls"]].concat());
    let volumes = lab.call("docker", &["volume", "ls", "-q"]).out;
    assert_eq!(volumes, "omni-scale_omni-etcd\nomni-scale_omni-sqlite\nomni-scale_ts-state\n");
    let named = lab.call("docker", &["volume", "inspect", "--format", "{{.Name}}", "omni-scale_omni-etcd"]);
    assert_eq!((named.code, named.out.as_str()), (0, "omni-scale_omni-etcd\n"));
    // They outlive the containers.
    assert_eq!(lab.compose("down").code, 0);
    assert_eq!(lab.call("docker", &["volume", "ls", "-q"]).out, volumes);
    assert_eq!(lab.call("docker", &["inspect", "omni-scale-omni-1"]).code, 1);
}

/// Every key of `got` is one of docker's, with a value of the same kind.
fn shaped_alike(got: &Value, wanted: &Value, place: &str) {
    assert_eq!(std::mem::discriminant(got), std::mem::discriminant(wanted), "{place}: {got} and {wanted}");
    for (key, value) in got.as_object().into_iter().flatten() {
        let place = format!("{place}.{key}");
        let wanted = wanted.get(key).unwrap_or_else(|| panic!("docker has no {place}"));
        shaped_alike(value, wanted, &place);
    }
}

/// Mounts in an order: docker has none. Where the host keeps them is each host's own.
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
