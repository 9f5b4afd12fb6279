//! The checks on `skills/`.

use std::path::Path;

use super::text::{self, Page};
use super::wrong;

/// The skill's files, the phrases by which it is found, and pages of the repository that it links.
const FILES: &str = "references/cel-storage-selectors.md references/proxmox-permissions.md references/troubleshooting.md \
     examples/machineclass-ceph.yaml examples/machineclass-local.yaml examples/cluster-template.yaml";
const PHRASES: [&str; 5] = [
    "This skill should be used when",
    "\"create a machine class\"",
    "\"configure Proxmox provider\"",
    "\"debug provider registration\"",
    "\"set up CEL storage selectors\"",
];
const PAGES: &str = "docker/README.md docker/TROUBLESHOOTING.md docker/config.yaml.example tsidp/README.md \
     docs/how-to/gpg-key-setup.md";

/// `skills/`: the limits of the Agent Skills specification, and what this skill promises.
pub fn skills(root: &Path) -> Vec<String> {
    let directory = root.join("skills");
    let missing = FILES.split(' ').filter(|file| !directory.join("omni-proxmox").join(file).is_file());
    let mut faults: Vec<String> = missing.map(|file| format!("skills/omni-proxmox/{file}: is missing")).collect();
    for name in text::entries(&directory) {
        // `skill.md` is not loaded, and nothing says so.
        let there = text::entries(&directory.join(&name)).contains(&"SKILL.md".to_owned());
        let page = Page::read(&directory.join(&name).join("SKILL.md"));
        let found = match page {
            Ok(page) if there => [front_of_skill(&page, &name), body_of_skill(&page, &directory.join(&name))].concat(),
            Ok(_) => vec!["is missing, in capitals".to_owned()],
            Err(error) => vec![error],
        };
        faults.extend(found.into_iter().map(|fault| format!("skills/{name}/SKILL.md: {fault}")));
    }
    faults
}

fn front_of_skill(page: &Page, directory: &str) -> Vec<String> {
    let known = ["name", "description", "license", "compatibility", "metadata", "allowed-tools"];
    let keys = page.unknown_keys(&known).into_iter().map(|key| format!("the front-matter key `{key}` is not portable"));
    let name = page.string("name").unwrap_or_default();
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let hyphens = name.starts_with('-') || name.ends_with('-') || name.contains("--");
    let description = page.string("description").unwrap_or_default();
    let lacking = PHRASES.into_iter().filter(|phrase| !description.contains(phrase));
    let mut faults = wrong([
        (
            name != directory || name.is_empty() || name.len() > 64 || !plain || hyphens,
            "the name must be that of its directory: lowercase, digits, single hyphens, up to 64",
        ),
        (
            !(1..=1024).contains(&description.chars().count()) || description.contains(['<', '>']),
            "its description must have 1 to 1024 characters, none of them an angle bracket",
        ),
    ]);
    faults.extend(lacking.map(|phrase| format!("its description lacks {phrase}")));
    faults.extend(keys);
    faults
}

fn body_of_skill(page: &Page, directory: &Path) -> Vec<String> {
    let words = page.body.split_whitespace().count();
    let own = ["references", "examples"]
        .into_iter()
        .flat_map(|part| text::entries(&directory.join(part)).into_iter().map(move |file| format!("{part}/{file}")));
    let targets = text::link_targets(&page.body);
    let unlinked = own.chain(PAGES.split(' ').map(|page| format!("../../{page}")));
    let unlinked = unlinked.filter(|target| !targets.contains(target));
    let mut faults = wrong([
        (!(1500..=2000).contains(&words), "its body does not have 1,500 to 2,000 words"),
        (page.lines >= 500, "has 500 lines or more"),
    ]);
    faults.extend(unlinked.map(|target| format!("does not link {target}, so it is not found")));
    faults
}
