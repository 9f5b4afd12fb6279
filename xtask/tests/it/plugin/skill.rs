//! The checks on `skills/`.

use std::path::Path;

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
    let files = "references/cel-storage-selectors.md|references/proxmox-permissions.md|\
         references/troubleshooting.md|examples/machineclass-ceph.yaml|\
         examples/machineclass-local.yaml|examples/cluster-template.yaml";
    for file in files.split('|') {
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
