//! Compares the stand-in for omnictl with output recorded from the unmodified omnictl 1.4.9 on an unmodified Omni 1.4.9.

#![allow(clippy::unwrap_used)] // a test that cannot continue should panic

mod harness;

use harness::{Lab, recording, recordings, without_ids};

/// The files named in the recordings, and their contents.
const FILES: &[(&str, &str)] = &[
    ("mc.yaml", include_str!("fixtures/omnictl/input-machineclass.yaml")),
    ("cl.yaml", include_str!("fixtures/omnictl/input-cluster.yaml")),
    ("unlimited.yaml", include_str!("fixtures/omnictl/input-unlimited.yaml")),
    ("badver.yaml", include_str!("fixtures/omnictl/input-bad-talos.yaml")),
    ("legacy-template.yaml", include_str!("fixtures/omnictl/input-legacy-template.yaml")),
    ("bad-kind.yaml", include_str!("fixtures/omnictl/input-legacy-machineclass.yaml")),
    ("bad-missing.yaml", include_str!("fixtures/omnictl/input-missing-required.yaml")),
    ("bad-type.yaml", include_str!("fixtures/omnictl/input-wrong-type.yaml")),
    ("bad-provider.yaml", include_str!("fixtures/omnictl/input-unknown-provider.yaml")),
];

/// The recordings, in an order in which they all fit the same state: reads, then classes, then templates, then errors.
const ORDER: &str = "version get-sysversion-json get-talosversion-json get-infraproviders-json get-infraproviderstatus-json \
    get-infraprovidercombinedstatus-json infraprovider-list serviceaccount-list get-machineclasses-json \
    get-clusters-json get-clusters-table get-clusterstatus-json get-machinesets-json get-machinesetstatuses-json \
    get-machinerequestsets-json get-machinerequests-json get-clustermachinerequeststatuses-json \
    get-machines-empty get-cluster-missing get-ambiguous template-sync-noop template-validate-ok \
    template-validate-legacy cluster-delete-dry apply-ok apply-unknown-provider apply-legacy-kind \
    apply-wrong-type apply-missing-required template-sync-unlimited template-sync-bad-talos \
    machineclass-delete-in-use auth-empty-key unreachable wrong-role";

/// Starts a lab in the state of the recordings: a class, a cluster, and a provider that cannot reach its Proxmox.
fn lab() -> Lab {
    let lab = Lab::start(&["--omni-version", "1.4.9"]);
    lab.set_up("http://127.0.0.1:1/api2/json");
    for (name, text) in FILES {
        lab.project.write(name, text);
    }
    assert_eq!(lab.compose("up -d").code, 0);
    lab.wait("the provider is registered", || lab.omnictl("get infraproviderstatus proxmox").code == 0);
    for call in ["apply -f mc.yaml", "cluster template sync -f cl.yaml"] {
        let said = lab.omnictl(call);
        assert_eq!(said.code, 0, "{said:?}");
    }
    lab.wait("every request was begun", || {
        lab.omnictl("get machinerequeststatuses -o json").out.matches("\"stage\": 1").count() == 3
    });
    lab
}

/// The errors of the unmodified omnictl 1.9.3 for these templates, run by hand. Each differs slightly from a valid template.
#[test]
fn invalid_templates_are_refused() {
    let lab = Lab::start(&[]);
    let valid = "kind: Cluster\nname: demo\nkubernetes:\n  version: v1.36.2\ntalos:\n  version: v1.13.5\n---\n\
                 kind: ControlPlane\nmachineClass:\n  name: cp\n  size: 3\n";
    let patch = "  size: 3\npatches:\n  - name: a\n    file: ../none.yaml\n";
    let unknown = "  version: v1.36.2\n  version2: a\n";
    for (from, to, code) in [
        ("size: 3", "size: 3", 0),
        ("size: 3", "size: +2", 1),
        ("v1.13.5", "latest", 1),
        ("name: demo", "name: de.mo", 1),
        ("  size: 3\n", patch, 1),
        ("  version: v1.36.2\n", unknown, 1),
        ("kind: ControlPlane", "kind: Workers", 1),
    ] {
        lab.project.write("t.yaml", &valid.replace(from, to));
        let said = lab.omnictl("cluster template validate -f t.yaml");
        assert_eq!((said.code, said.err.is_empty()), (code, code == 0), "{to}: {}", said.err);
    }
}

#[test]
fn every_recording_is_reproduced() {
    let lab = lab();
    let env = lab.project.read("docker/.env");
    let key = env.lines().find_map(|line| line.strip_prefix("OMNI_INFRA_PROVIDER_KEY=")).unwrap();
    for name in ORDER.split(' ') {
        let env: &[(&str, &str)] = match name {
            "auth-empty-key" => &[("OMNI_SERVICE_ACCOUNT_KEY", "")],
            "unreachable" => &[("OMNI_ENDPOINT", "http://127.0.0.1:1")],
            "wrong-role" => &[("OMNI_SERVICE_ACCOUNT_KEY", key)],
            _ => &[],
        };
        lab.replay(&recording("omnictl", name), env, without_ids);
    }
    for name in recordings("omnictl").iter().filter(|name| !name.starts_with("resource-shapes")) {
        assert!(ORDER.split(' ').any(|known| known == name), "{name} is not replayed");
    }
}
