//! Clusters that are exported; what else is done with a cluster after it was created is in the transcripts `operation` and
//! `other-names`.

use std::fs;

use crate::sandbox::{Sandbox, root};

pub fn with_cluster(workers: u32) -> Sandbox {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    let create = format!("cluster-create demo --control-planes 1 --workers {workers} --yes --timeout 60s");
    lab.run(&create).exits(0);
    lab
}

pub fn vms(lab: &Sandbox) -> usize {
    lab.dump()["proxmox"]["vms"].as_array().expect("a list").len()
}

/// Every eighth template of the corpus that is accepted, every fourth after the first three with `EXPORT=3/4`: a sync of what was
/// exported changes nothing, or the export names what omnictl leaves out.
#[test]
fn sync_of_an_exported_cluster_changes_nothing() {
    let lab = Sandbox::new();
    lab.provider();
    ["cp", "worker"].iter().for_each(|class| lab.class(class));
    let corpus = root().join("xtask/check/tests/corpus");
    let table = fs::read_to_string(corpus.join("templates.tsv")).expect("the table");
    let accepted: Vec<&str> =
        table.lines().filter_map(|line| line.split_once("\taccept\taccept\t")).map(|row| row.0).collect();
    let given = std::env::var("EXPORT").unwrap_or_default();
    let (first, every) = given.split_once('/').unwrap_or(("0", "8"));
    let [first, every] = [first, every].map(|number| number.parse().expect("a number"));
    let (mut synced, mut whole) = (0, 0);
    for file in accepted.iter().skip(first).step_by(every) {
        let (text, name) = (fs::read(corpus.join("templates").join(file)), file.trim_end_matches(".yaml"));
        let text = String::from_utf8(text.expect("a template")).unwrap_or_default();
        let template = format!("clusters/{name}.yaml");
        let text = text.replacen("name: demo\n", &format!("name: {name}\n"), 1);
        lab.write(&template, &text);
        let parsed = domain::spec::template::parse(file, text.as_bytes());
        let cluster = parsed.value.map_or(name.to_owned(), |template| template.name);
        // Some need files, classes or a Talos that this lab does not have.
        if lab.run(&format!("cluster-sync {name} --yes --no-wait")).code == 0 {
            let export = lab.run(&format!("cluster-export {cluster} --force --yes")).exits(0);
            let again = lab.run(&format!("cluster-sync {cluster} --dry-run"));
            let same = again.code == 0 && again.stderr.contains("is in sync; nothing to change");
            assert!(
                same || export.stderr.contains("omnictl does not export all of it"),
                "{file}: {export:#?} {again:#?}"
            );
            (synced, whole) = (synced + 1, whole + usize::from(same));
        }
        fs::remove_file(lab.file(&template)).expect("it was written");
    }
    println!("{whole} of {synced} clusters are exported whole");
    assert!(synced * 4 >= accepted.len() / every && whole * 2 > synced, "{whole} of {synced} of {}", accepted.len());
}
