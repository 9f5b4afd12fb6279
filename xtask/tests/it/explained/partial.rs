//! `cluster-explain` with only a part of the site to ask: what is known is reported all the same.

use crate::sandbox::{Options, Sandbox, measured};

/// What cannot be asked, the cause that is named first, and the links that are known.
const PARTS: [(&str, &str, &[&str]); 3] = [
    ("Proxmox", "proxmox-unreachable", &["omni", "cluster", "machine-set"]),
    ("Omni", "omni.health", &["provider-step"]),
    ("Docker", "docker.engine", &["omni", "cluster", "vm", "configuration"]),
];
const NO_ENGINE: &str =
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?";

fn demo() -> Sandbox {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    lab.run("cluster-create demo --control-planes 1 --workers 1 --yes").exits(0);
    lab
}

#[test]
fn part_that_cannot_be_asked_is_named_and_the_rest_is_known() {
    let mut lab = demo();
    let (omni, away) = (lab.env("OMNI_ENDPOINT").to_owned(), "https://127.0.0.1:9");
    for (what, first, known) in PARTS {
        let config = lab.read("docker/config.yaml");
        let url = config.lines().find(|line| line.contains("url:")).expect("an address");
        match what {
            "Proxmox" => {
                lab.write("docker/config.yaml", &config.replacen(url, "  url: https://127.0.0.1:9/api2/json", 1))
            }
            "Docker" => {
                _ = lab.stand_in(
                    "docker",
                    &format!("[ \"$2\" = version ] && exec @REAL@ \"$@\"\necho '{NO_ENGINE}' >&2; exit 1"),
                )
            }
            _ => lab.set("OMNI_ENDPOINT", Some(away)),
        }
        let found = lab.run("cluster-explain demo --json --timeout 5s").exits(1).json();
        lab.write("docker/config.yaml", &config);
        lab.set("OMNI_ENDPOINT", Some(&omni));
        assert_eq!(found["data"]["causes"][0]["id"], first, "{what}: {found:#}");
        let links = found["data"]["links"].as_array().expect("links");
        let is_ok = |name: &&&str| links.iter().any(|link| link["link"] == **name && link["state"] == "ok");
        assert_eq!(known.iter().filter(is_ok).count(), known.len(), "{what}: {found:#}");
    }
    lab.set("OMNI_ENDPOINT", Some(away));
    // Without Omni, Proxmox shows the VMs, and one of them leads to its cluster.
    let vm = &lab.dump()["proxmox"]["vms"][0];
    let line = format!("cluster-explain --vm {}/{} --json", vm["node"].as_str().unwrap_or_default(), vm["vmid"]);
    let found = lab.run(&line).exits(1).json();
    assert_eq!(found["data"]["cluster"], "demo");
    assert!(found["data"]["links"].to_string().contains("Proxmox shows 2 VMs of this name"), "{found:#}");
}

/// 200 MB without an end of line, as of a program that repeats an error.
#[test]
fn huge_log_costs_neither_memory_nor_the_explanation() {
    let mut lab = demo();
    let log = "yes 'storage selector matched nothing' | tr '\\n' ' ' | head -c 200000000";
    lab.stand_in("docker", &format!("case \"$*\" in *logs*) {log};; *) exec @REAL@ \"$@\";; esac"));
    let measured = measured(&mut lab.command(&["cluster-explain", "demo", "--json"]), lab.scratch());
    let found = measured.ran.exits(0).json();
    assert!(measured.peak_kib < 150 * 1024, "{} KiB", measured.peak_kib);
    assert_eq!(found["data"]["causes"], serde_json::json!([]), "{found:#}");
}

/// A fault, its end and the programs of a node are of either Proxmox.
#[test]
fn second_proxmox_has_the_faults_and_the_programs_of_the_first() {
    let flags = &["--second-proxmox", "--fault", "storage-no-iso"];
    let mut lab = Sandbox::with(&Options { flags, ..Options::default() });
    let sites = ["PROXMOX_VE_ENDPOINT", "LAB_SECOND_PROXMOX"].map(|name| lab.env(name).to_owned());
    let take_iso = |lab: &mut Sandbox| {
        sites.each_ref().map(|site| {
            lab.set("PROXMOX_VE_ENDPOINT", Some(site));
            lab.run("proxmox-inventory").exits_with_one_of(&[0, 1]).stdout.contains("iso, vztmpl")
        })
    };
    assert_eq!(take_iso(&mut lab), [false, false]);
    let set = lab.paste("LAB_ON_SECOND_PROXMOX=1 pvesm set local --content backup,iso,vztmpl");
    assert_eq!((set.code, take_iso(&mut lab)), (0, [false, true]), "{set:#?}");
    lab.heal("storage-no-iso").exits(0);
    assert_eq!(take_iso(&mut lab), [true, true]);
}
