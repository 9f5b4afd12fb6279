//! The checks on `skills/`: the pages, and the examples that people copy.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_yaml::Value as Yaml;

use super::text::{self, Page};

/// `skills/`: the limits of the Agent Skills specification, and what this skill promises.
pub fn skills(root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let directory = root.join("skills");
    for name in text::entries(&directory) {
        let place = format!("skills/{name}/SKILL.md");
        // `skill.md` is not loaded, and nothing says so.
        if !text::entries(&directory.join(&name)).iter().any(|file| file == "SKILL.md") {
            faults.push(format!("{place}: is missing, in capitals"));
            continue;
        }
        match Page::read(&root.join(&place)) {
            Ok(page) => {
                faults.extend(front_of_skill(&page, &name).into_iter().map(|fault| format!("{place}: {fault}")));
                faults.extend(
                    body_of_skill(&page, &directory.join(&name)).into_iter().map(|fault| format!("{place}: {fault}")),
                );
            }
            Err(error) => faults.push(format!("{place}: {error}")),
        }
    }
    for file in [
        "references/cel-storage-selectors.md",
        "references/proxmox-permissions.md",
        "references/troubleshooting.md",
        "examples/machineclass-ceph.yaml",
        "examples/machineclass-local.yaml",
        "examples/cluster-template.yaml",
    ] {
        if !directory.join("omni-proxmox").join(file).is_file() {
            faults.push(format!("skills/omni-proxmox/{file}: is missing"));
        }
    }
    faults
}

fn front_of_skill(page: &Page, directory: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for key in page.unknown_keys(&["name", "description", "license", "compatibility", "metadata", "allowed-tools"]) {
        faults.push(format!("the front-matter key `{key}` is not portable"));
    }
    let name = page.string("name").unwrap_or_default();
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let hyphens = name.starts_with('-') || name.ends_with('-') || name.contains("--");
    if name != directory || name.is_empty() || name.len() > 64 || !plain || hyphens {
        faults.push(format!(
            "the name `{name}` must be that of its directory: lowercase, digits, single hyphens, up to 64"
        ));
    }
    let description = page.string("description").unwrap_or_default();
    if !(1..=1024).contains(&description.chars().count()) || description.contains(['<', '>']) {
        faults.push("its description must have 1 to 1024 characters, none of them an angle bracket".into());
    }
    for phrase in [
        "This skill should be used when",
        "\"create a machine class\"",
        "\"configure Proxmox provider\"",
        "\"debug provider registration\"",
        "\"set up CEL storage selectors\"",
    ] {
        if !description.contains(phrase) {
            faults.push(format!("its description lacks {phrase}"));
        }
    }
    faults
}

fn body_of_skill(page: &Page, directory: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let words = page.body.split_whitespace().count();
    if !(1500..=2000).contains(&words) {
        faults.push(format!("its body has {words} words, wanted are 1,500 to 2,000"));
    }
    if page.lines >= 500 {
        faults.push("has 500 lines or more".into());
    }
    let targets = text::link_targets(&page.body);
    for part in ["references", "examples"] {
        for file in text::entries(&directory.join(part)) {
            let target = format!("{part}/{file}");
            if !targets.contains(&target) {
                faults.push(format!("does not link {target}, so nobody finds it"));
            }
        }
    }
    for target in [
        "docker/README.md",
        "docker/TROUBLESHOOTING.md",
        "docker/config.yaml.example",
        "tsidp/README.md",
        "docs/how-to/gpg-key-setup.md",
    ] {
        if !targets.contains(&format!("../../{target}")) {
            faults.push(format!("does not link {target}"));
        }
    }
    faults
}

/// The skill's examples: the form that `omnictl apply` and `omnictl cluster template` take.
pub fn examples(root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let directory = root.join("skills/omni-proxmox/examples");
    let mut classes = BTreeSet::new();
    for file in ["machineclass-ceph.yaml", "machineclass-local.yaml"] {
        let parsed = fs::read_to_string(directory.join(file))
            .map_err(|error| error.to_string())
            .and_then(|text| serde_yaml::from_str::<Yaml>(&text).map_err(|error| error.to_string()));
        match parsed {
            Ok(class) => {
                faults.extend(machine_class(&class).into_iter().map(|fault| format!("examples/{file}: {fault}")));
                classes.extend(class["metadata"]["id"].as_str().map(str::to_owned));
            }
            Err(error) => faults.push(format!("examples/{file}: {error}")),
        }
    }
    let template = fs::read_to_string(directory.join("cluster-template.yaml")).unwrap_or_default();
    faults.extend(
        cluster_template(&template, &classes)
            .into_iter()
            .map(|fault| format!("examples/cluster-template.yaml: {fault}")),
    );
    faults
}

fn machine_class(class: &Yaml) -> Vec<String> {
    let mut faults = Vec::new();
    let keys: Vec<&str> = class.as_mapping().into_iter().flat_map(|top| top.keys()).filter_map(Yaml::as_str).collect();
    if keys != ["metadata", "spec"] {
        faults.push("has other keys than `metadata` and `spec`".into());
    }
    if class["metadata"]["namespace"] != "default" || class["metadata"]["type"] != "MachineClasses.omni.sidero.dev" {
        faults.push("is no machine class of the namespace `default`".into());
    }
    let provision = &class["spec"]["autoprovision"];
    for key in provision.as_mapping().into_iter().flat_map(|keys| keys.keys()).filter_map(Yaml::as_str) {
        if !["providerid", "kernelargs", "metavalues", "grpctunnel", "providerdata"].contains(&key) {
            faults.push(format!("Omni drops the key `{key}` without a word"));
        }
    }
    let Some(data) = provision["providerdata"].as_str() else {
        faults.push("`providerdata` is no string".into());
        return faults;
    };
    let data: Yaml = serde_yaml::from_str(data).unwrap_or_default();
    for (key, least) in [("cores", 1), ("sockets", 1), ("memory", 2048), ("disk_size", 5)] {
        if data[key].as_u64().is_none_or(|value| value < least) {
            faults.push(format!("`{key}` is missing or below {least}"));
        }
    }
    if data["storage_selector"].as_str().is_none_or(|cel| cel.is_empty() || cel.contains("storage.")) {
        faults.push("`storage_selector` is missing or of the older form".into());
    }
    faults
}

fn cluster_template(template: &str, classes: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut kinds = Vec::new();
    for document in template.split("\n---\n") {
        let document: Yaml = match serde_yaml::from_str(document) {
            Ok(document) => document,
            Err(error) => return vec![error.to_string()],
        };
        let kind = document["kind"].as_str().unwrap_or_default().to_owned();
        if kind != "Cluster" {
            let class = document["machineClass"]["name"].as_str().unwrap_or_default();
            if !classes.contains(class) || document["machineClass"]["size"].as_u64().is_none() {
                faults.push(format!("{kind} does not take a number of machines from one of the classes beside it"));
            }
        }
        kinds.push(kind);
    }
    if kinds != ["Cluster", "ControlPlane", "Workers"] {
        faults.push(format!("holds {kinds:?}"));
    }
    faults
}
