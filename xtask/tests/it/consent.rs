//! What is asked before something is changed, on a terminal and off it, and what becomes of the answers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sandbox::{Sandbox, class_words};
use crate::terminal::Talk;

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn talk(lab: &Sandbox, line: &str, answers: &[(&str, &str)]) -> Talk {
    Talk::with(&mut lab.command(&words(line)), answers)
}

fn vms(lab: &Sandbox) -> usize {
    lab.dump()["proxmox"]["vms"].as_array().map_or(0, Vec::len)
}

/// The template of `demo` with a worker set of nothing.
fn without_workers(lab: &Sandbox) -> String {
    let template = lab.read("clusters/demo.yaml");
    let at = template.rfind("size: 1").expect("one worker");
    format!("{}size: 0{}", &template[..at], &template[at + 7..])
}

/// A lab with a provider and a class.
fn prepared() -> Sandbox {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    lab
}

#[test]
fn only_y_and_yes_are_a_yes() {
    let lab = Sandbox::new();
    let class: Vec<&str> = class_words("small").into_iter().filter(|word| *word != "--yes").collect();
    for no in ["yess", "yonder", "n", "", "ja"] {
        let talk = Talk::with(&mut lab.command(&class), &[("Write machine-classes/small.yaml? [y/N]", no)]).exits(130);
        talk.asks_once().says(&["not done: create machine-classes/small.yaml", "nothing was changed"]);
        assert!(!lab.file("machine-classes/small.yaml").exists(), "{no:?}");
    }
    Talk::with(&mut lab.command(&class), &[("[y/N]", "YES")]).exits(0).asks_once();
    assert!(lab.file("machine-classes/small.yaml").exists());
}

#[test]
fn a_quiet_run_asks_with_the_plan_in_sight() {
    let lab = Sandbox::new();
    let mut class: Vec<&str> = class_words("small").into_iter().filter(|word| *word != "--yes").collect();
    class.push("-q");
    let talk = Talk::with(&mut lab.command(&class), &[("[y/N]", "n")]).exits(130);
    talk.says(&["plan     create machine-classes/small.yaml: 2 cores, 4096 MiB, 20 GiB"]);
}

#[test]
fn yes_never_leads_to_a_prompt() {
    let lab = prepared();
    let ran = talk(&lab, "machineclass-create big --yes", &[]).exits(0);
    assert!(!ran.shown.contains("Apply it"), "{}", ran.shown);
    talk(&lab, "machineclass-create --yes", &[]).exits(2).says(&["the name"]);
    lab.run("cluster-create demo --control-planes 1 --workers 1 --yes --timeout 60s").exits(0);
    lab.write("clusters/demo.yaml", &without_workers(&lab));
    talk(&lab, "cluster-sync demo --yes", &[]).exits(2).says(&["--allow-destroy demo", "nothing was changed"]);
}

#[test]
fn cluster_create_asks_once_and_a_no_leaves_nothing() {
    let lab = prepared();
    let line = "cluster-create demo --control-planes 1 --workers 1 --timeout 60s";
    let no = talk(&lab, line, &[("Create cluster `demo` as shown? [y/N]", "no")]).exits(130).asks_once();
    no.says(&["not done: create clusters/demo.yaml, sync cluster demo; nothing was changed"]);
    assert!(!lab.file("clusters/demo.yaml").exists());
    let plan = lab.run(&format!("{line} --dry-run --json")).exits(3).json()["data"]["plan"].clone();
    let yes = talk(&lab, line, &[("[y/N]", "y")]).exits(0).asks_once();
    for step in plan.as_array().unwrap() {
        let title = format!("{} {}", step["verb"].as_str().unwrap(), step["object"].as_str().unwrap());
        assert!(yes.shown.contains(&format!("plan     {title}")), "{title}:\n{}", yes.shown);
        assert!(yes.shown.contains(&format!("changed  {title}")), "{title}:\n{}", yes.shown);
    }
}

#[test]
fn cluster_create_checks_each_answer_and_shows_the_sizes_of_classes() {
    let lab = prepared();
    lab.class("big-disk");
    let (name, class) = ("Name of the cluster: ", "Machine class of the control plane [");
    let (planes, workers) = ("Control plane machines (1, 3 or 5) [3]: ", "Workers [3]: ");
    let answers = [
        (name, "Demo Prod"),
        (name, "demo-prod"),
        (planes, "two"),
        (planes, "2"),
        (planes, "1"),
        (workers, "-1"),
        (workers, "1"),
        (class, "smal"),
        (class, "small"),
        ("Machine class of the workers [", "big-disk"),
        ("Create cluster `demo-prod` as shown? [y/N]", "n"),
    ];
    let talk = talk(&lab, "cluster-create", &answers).exits(130).asks_once();
    talk.says(&[
        "`demo-prod` would do",
        "\"two\" is not a number of machines",
        "2 control plane machines do not make a good quorum",
        "\"-1\" is not a number of machines",
        "Omni has no machine class `smal`",
        "did you mean --control-plane-class small?",
        "    big-disk  2 cores, 4.0 GiB memory, 20.0 GiB disk",
        "    small     2 cores, 4.0 GiB memory, 20.0 GiB disk",
        "1 control plane machine, 1 worker, Talos",
    ]);
    assert!(!lab.file("clusters/demo-prod.yaml").exists());
}

#[test]
fn cluster_create_refuses_the_name_of_a_file_at_the_prompt() {
    let lab = prepared();
    lab.write("clusters/prod.yaml", "kind: Cluster\n");
    let name = "Name of the cluster: ";
    let answers = [(name, "prod"), (name, "other"), ("[y/N]", "n")];
    let talk = talk(&lab, "cluster-create --control-planes 1 --workers 0 -q", &answers);
    talk.exits(130).says(&["`clusters/prod.yaml` exists"]);
}

#[test]
fn destruction_takes_the_typed_name_or_allow_destroy() {
    let lab = prepared();
    lab.run("cluster-create demo --control-planes 1 --workers 2 --yes --timeout 60s").exits(0);
    lab.write("clusters/demo.yaml", &lab.read("clusters/demo.yaml").replace("size: 2", "size: 1"));
    let before = lab.dump()["proxmox"]["vms"].clone();

    let document = lab.run("cluster-sync demo --dry-run --yes --json").exits(3).json();
    let destroys = document["data"]["plan"][0]["destroys"].as_array().unwrap().clone();
    let loss = destroys[0].as_str().unwrap();
    assert!(loss.starts_with("1 machine of machine set demo-workers (from 2 to 1); Omni chooses from VM "), "{loss}");
    for vm in before.as_array().unwrap().iter().filter(|vm| vm["name"].as_str().unwrap().contains("workers")) {
        let (id, name) = (&vm["vmid"], vm["name"].as_str().unwrap());
        assert!(loss.contains(&format!("VM {id} `{name}` on {}", vm["node"].as_str().unwrap())), "{loss}\n{vm}");
    }
    let next = document["next"][0].as_str().unwrap();
    assert!(next.contains("cluster-sync demo --yes") && next.ends_with("--allow-destroy demo"), "{next}");

    for (line, flags) in [
        ("cluster-sync demo --non-interactive", vec!["--yes", "--allow-destroy demo"]),
        ("cluster-sync demo --yes", vec!["--allow-destroy demo"]),
        ("cluster-sync demo --yes --allow-destroy other --allow-destroy dem", vec!["--allow-destroy demo"]),
        ("cluster-sync demo --allow-destroy demo", vec!["--yes"]),
    ] {
        let document = lab.run(&format!("{line} --json")).exits(2).json();
        let missing: Vec<&Value> =
            document["error"]["missing"].as_array().unwrap().iter().map(|missing| &missing["flag"]).collect();
        assert_eq!(json!(missing), json!(flags), "{line}");
    }
    for answer in ["y", "yes", "Demo", ""] {
        let no = talk(&lab, "cluster-sync demo", &[("type `demo` to go on", answer)]).exits(130).asks_once();
        no.says(&["destroys 1 machine of machine set demo-workers", "nothing was changed"]);
    }
    assert_eq!(lab.dump()["proxmox"]["vms"], before, "nothing was destroyed");
    talk(&lab, "cluster-sync demo --timeout 60s", &[("type `demo` to go on", "demo")]).exits(0).asks_once();
    assert_eq!(vms(&lab), 2);

    lab.write("clusters/demo.yaml", &without_workers(&lab));
    lab.run("cluster-sync demo --yes --allow-destroy demo --timeout 60s").exits(0);
    // The provider may still be busy with the VM of a machine that Omni has let go.
    let end = Instant::now() + Duration::from_secs(30);
    while vms(&lab) != 1 {
        assert!(Instant::now() < end, "{:#}", lab.dump()["proxmox"]["vms"]);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_set_that_goes_is_listed_with_every_vm() {
    let lab = prepared();
    lab.run("cluster-create demo --control-planes 1 --workers 2 --yes --timeout 60s").exits(0);
    let template = lab.read("clusters/demo.yaml");
    let workers = template.find("kind: Workers").unwrap();
    let head = template[..workers].trim_end().trim_end_matches('#').trim_end().trim_end_matches("---").to_owned();
    lab.write("clusters/demo.yaml", &head);
    let document = lab.run("cluster-sync demo --dry-run --json").exits(3).json();
    let loss = document["data"]["plan"][0]["destroys"][0].as_str().unwrap();
    assert!(loss.starts_with("machine set demo-workers with its machines: VM "), "{loss}");
    assert_eq!(loss.matches("`demo-workers-").count(), 2, "{loss}");
    let plan = lab.run("cluster-plan demo --json").exits(3).json();
    assert_eq!(plan["data"]["surplus"], json!({ "demo-workers": 2 }), "{plan:#}");
    let freed = |node: &Value| node["freed"].as_u64().unwrap_or(0);
    assert!(plan["data"]["nodes"].as_array().unwrap().iter().map(freed).sum::<u64>() > 0, "{plan:#}");
    lab.run("cluster-plan demo").exits(3).says(&["2 to remove", "all 2"]);
    // One that takes their place on a full storage needs their disks.
    let workers = template[workers..].replace("kind: Workers\n", "kind: Workers\nname: other\n");
    lab.write("clusters/demo.yaml", &format!("{head}\n---\n{workers}"));
    let plan = lab.run("cluster-plan demo --json").exits(3).json();
    let pools = plan["data"]["storages"].as_array().unwrap();
    let freed: u64 = pools.iter().map(|pool| pool["freed"].as_u64().unwrap()).sum();
    assert!(freed >= 20 << 30, "{plan:#}");
}

#[test]
fn a_plan_says_how_large_new_machines_are_and_whether_they_fit() {
    let mut lab = prepared();
    let plan = |lab: &Sandbox, workers: u32| {
        let line = format!("cluster-create demo --control-planes 1 --workers {workers} --dry-run --json");
        let document = lab.run(&line).exits(3).json();
        (document["data"]["plan"][1]["effect"].as_str().unwrap().to_owned(), document["data"].clone())
    };
    let (effect, data) = plan(&lab, 2);
    let size = "2 new machines for demo-workers of class small (2 cores, 4.0 GiB memory, 20.0 GiB disk each)";
    assert!(effect.contains(size) && effect.ends_with("they fit"), "{effect}");
    assert_eq!(data["new_machines_fit"], json!(true));
    assert_eq!(data["new_machines"][1]["count"], json!(2));
    assert_eq!(data["new_machines"][1]["memory"], json!(4u64 << 30));
    let (effect, data) = plan(&lab, 200);
    assert!(effect.contains("they do NOT fit: ") && data["new_machines_fit"] == json!(false), "{effect}");
    // A Proxmox that cannot be asked stops nobody.
    fs::remove_file(lab.file("docker/config.yaml")).unwrap();
    lab.set("PROXMOX_VE_ENDPOINT", None);
    lab.set("PROXMOX_VE_API_TOKEN", None);
    let (effect, data) = plan(&lab, 2);
    assert!(effect.contains(size) && effect.contains("whether they fit is unknown: "), "{effect}");
    assert_eq!(data["new_machines_fit"], Value::Null);
}

#[test]
fn an_upgrade_says_from_to_and_the_reboots() {
    let lab = prepared();
    let line = "cluster-create up --control-planes 1 --workers 1 --talos-version v1.12.1 --kubernetes-version v1.34.1";
    lab.run(&format!("{line} --yes --timeout 60s")).exits(0);
    let template = lab.read("clusters/up.yaml").replace("v1.12.1", "v1.13.5").replace("v1.34.1", "v1.36.2");
    lab.write("clusters/up.yaml", &template);
    let document = lab.run("cluster-sync up --dry-run --json").exits(3).json();
    let effect = document["data"]["plan"][0]["effect"].as_str().unwrap();
    assert!(effect.contains("upgrade Talos 1.12.1 → 1.13.5: 2 machines reboot one after the other"), "{effect}");
    assert!(effect.contains("upgrade Kubernetes 1.34.1 → 1.36.2: no machine reboots"), "{effect}");
    assert_eq!(document["data"]["plan"][0]["destroys"], json!([]));
}

#[test]
fn sync_refuses_what_cluster_check_refuses() {
    let lab = prepared();
    lab.run("cluster-create demo --control-planes 1 --workers 0 --yes --timeout 60s").exits(0);
    let template = lab.read("clusters/demo.yaml");
    for (from, to, rule) in [
        ("name: small", "name: tiny", "template-class-unknown"),
        ("version: v1.13.5", "version: v1.12.99", "template-talos-version"),
    ] {
        lab.write("clusters/demo.yaml", &template.replace(from, to));
        let check = lab.run("cluster-check demo --json").exits(1).json();
        assert!(check["data"]["files"][0]["findings"].to_string().contains(rule), "{rule}: {check}");
        let before = lab.dump()["omni"].clone();
        for line in ["cluster-sync demo --dry-run --json", "cluster-sync demo --yes --json"] {
            let sync = lab.run(line).exits(1).json();
            assert!(sync["data"]["findings"].to_string().contains(rule), "{line}: {sync}");
        }
        assert_eq!(lab.dump()["omni"]["clusters"], before["clusters"], "omnictl synced all the same");
    }
}

/// Puts an omnictl first in PATH that runs `script` on every call before it does what it is asked to.
fn meddling(lab: &mut Sandbox, script: &str) {
    let path = lab.env("PATH").to_owned();
    let real = path
        .split(':')
        .map(|dir| format!("{dir}/omnictl"))
        .find(|file| fs::exists(file).is_ok_and(|there| there))
        .expect("the lab's omnictl");
    lab.write("bin/omnictl", &format!("#!/bin/sh\n{script}\nexec {real} \"$@\"\n"));
    fs::set_permissions(lab.file("bin/omnictl"), fs::Permissions::from_mode(0o755)).expect("executable");
    lab.set("PATH", Some(&format!("{}:{path}", lab.file("bin").display())));
}

#[test]
fn a_class_is_applied_as_it_was_checked() {
    let mut lab = prepared();
    lab.run_words(&class_words("other")).exits(0);
    let file = lab.file("machine-classes/other.yaml").display().to_string();
    let edit = format!("sed 's/cores: .*/cores: 64/' {file} > {file}.new && mv {file}.new {file}");
    meddling(&mut lab, &format!("case \"$*\" in *machineclasses*|apply*) {edit} ;; esac"));
    lab.run("machineclass-apply other --yes").exits(0);
    assert!(lab.read("machine-classes/other.yaml").contains("cores: 64"), "the edit is kept");
    let class = lab.run("machineclass-apply other --dry-run --json").exits(3).json();
    let fields = class["data"]["changes"][0]["fields"].to_string();
    assert!(fields.contains(r#""before":"2""#) && fields.contains(r#""after":"64""#), "{fields}");
}

#[test]
fn a_template_is_synced_as_it_was_checked() {
    let mut lab = prepared();
    lab.run("cluster-create demo --control-planes 1 --workers 0 --yes --timeout 60s").exits(0);
    let patch = "patches:\n  - name: motd\n    file: patches/motd.yaml\n";
    let template = lab.read("clusters/demo.yaml").replacen("---\n", &format!("{patch}---\n"), 1);
    lab.write("clusters/demo.yaml", &template);
    lab.write("clusters/patches/motd.yaml", "machine:\n  sysctls:\n    vm.swappiness: \"1\"\n");
    let clusters = lab.file("clusters").display().to_string();
    let edit =
        format!("echo 'machine: [' > {clusters}/patches/motd.yaml; echo 'kind: Nonsense' >> {clusters}/demo.yaml");
    meddling(&mut lab, &format!("case \"$*\" in *'template sync'*) {edit} ;; esac"));
    lab.run("cluster-sync demo --yes --timeout 60s").exits(0);
    assert!(lab.read("clusters/demo.yaml").contains("Nonsense"), "the edit is kept");
    // The next run checks what is there by then.
    lab.run("cluster-sync demo --yes").exits(1);
}

#[test]
fn omnictl_on_need_is_in_the_plan() {
    let mut lab = prepared();
    lab.run("cluster-create demo --control-planes 1 --workers 0 --no-wait --yes").exits(0);
    lab.set("PATH", Some("/usr/bin:/bin"));
    for line in ["cluster-status", "cluster-sync --all", "machineclass-apply --all"] {
        let document = lab.run(&format!("{line} --dry-run --json")).exits(3).json();
        assert_eq!(document["data"]["plan"][0]["verb"], json!("install"), "{line}: {document}");
        assert_eq!(document["next"], json!(["cargo xtask omnictl-install"]), "{line}");
    }
}

#[test]
fn a_provider_that_exists_is_not_deleted_to_undo_a_key() {
    let lab = Sandbox::new();
    lab.provider();
    let env = lab.read("docker/.env");
    let keyless: String = env
        .lines()
        .map(|line| if line.starts_with("OMNI_INFRA_PROVIDER_KEY=") { "OMNI_INFRA_PROVIDER_KEY=" } else { line })
        .flat_map(|line| [line, "\n"])
        .collect();
    lab.write("docker/.env", &keyless);
    let document = lab.run("provider-setup --dry-run --json").exits(3).json();
    let undo = document["data"]["plan"][0]["undo"].as_str().unwrap();
    assert!(undo.starts_with("nothing to undo"), "{document}");
}
