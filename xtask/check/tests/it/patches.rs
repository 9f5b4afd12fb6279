//! `corpus/patches.txt`: patches with the answers of two releases of the real omnictl, and this tool's findings.
//! `limits.txt`: what Talos refuses although omnictl accepts it.
//! `UPDATE_EXPECT=1 cargo test -p check --test it` rewrites the findings; the real answers stay.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use check::releases::Omni;
use check::template::{self, FileRead, TemplateContext};
use check::{FileCheck, Verdict};
use domain::spec::template::ClusterTemplate;

use super::{assert_file, corpus};

/// The machines run the newest Talos that the older of the two releases knows.
const TEMPLATE: &str = "kind: Cluster\nname: demo\nkubernetes: {version: v1.36.2}\ntalos: {version: v1.13.5}\npatches: [{file: p}]\n\
                        ---\nkind: ControlPlane\nmachines: [27c16241-96bf-4f17-9579-ea3a6c4a3ca8]\n---\nkind: Workers\n";

fn text(name: &str) -> String {
    std::fs::read_to_string(corpus(name)).expect("a corpus")
}

fn check(patch: &str, omni: &str, talos: &str) -> FileCheck<ClusterTemplate> {
    let read = |_: &str| FileRead::Bytes(patch.as_bytes().to_vec());
    let context = TemplateContext { omni: Omni::of_tag(omni), read: Some(&read), ..TemplateContext::default() };
    template::check("demo.yaml", TEMPLATE.replace("v1.13.5", talos).as_bytes(), &context)
}

#[test]
fn patch_verdicts_match_omnictl() {
    let text = text("patches.txt");
    let (mut fresh, mut cases, mut unknown) = (String::new(), 0, 0);
    let (head, parts) = text.split_once("=== ").expect("a case");
    fresh.push_str(head);
    for part in parts.split("\n=== ") {
        let (title, patch) = part.split_once('\n').expect("a patch");
        let columns: Vec<&str> = title.split('\t').collect();
        let mut rules = BTreeSet::new();
        for (omni, real) in [("v1.9.3", columns[1]), ("v1.10.4", columns[2])] {
            let checked = check(&format!("{patch}\n"), omni, "v1.13.5");
            let ours = checked.verdict.as_str();
            cases += 1;
            unknown += u32::from(checked.verdict == Verdict::Unknown);
            assert!(
                ours == real || ours == "unknown",
                "{} {omni}: {real} in fact, {ours} by us: {:?}",
                columns[0],
                checked.findings
            );
            rules = checked.findings.iter().map(|finding| finding.rule).collect();
        }
        let rules: Vec<&str> = rules.into_iter().collect();
        writeln!(fresh, "=== {}\t{}\t{}\t{}\n{patch}", columns[0], columns[1], columns[2], rules.join(" "))
            .expect("a string");
    }
    assert!(cases > 400 && unknown * 100 < cases * 3, "{unknown} of {cases} are unknown");
    assert_file(&corpus("patches.txt"), &(fresh.trim_end_matches('\n').to_owned() + "\n"));
}

/// Returns true if this tool reports that Talos of a minor refuses the patch for a control plane.
fn talos_refuses(patch: &str, talos: u64) -> bool {
    let checked = check(patch, "v1.10.4", &format!("v1.{talos}.1"));
    let rules = ["template-patch-talos", "template-patch-value", "template-patch-kind-talos"];
    checked.findings.iter().any(|finding| rules.contains(&finding.rule))
}

#[test]
fn limits_match_talos() {
    let text = text("limits.txt");
    let parts = text.split("\n=== ").skip(1);
    let wrong: Vec<&str> = parts
        .filter_map(|part| {
            let (title, patch) = part.split_once('\n')?;
            let columns: Vec<&str> = title.split('\t').collect();
            let refused = talos_refuses(&format!("{patch}\n"), columns[2].parse().expect("a minor"));
            (refused != (columns[1] == "reject")).then_some(title)
        })
        .collect();
    assert_eq!(wrong, Vec::<&str>::new());
}

/// `together.tsv`: patches that are checked together, as the head of the file explains.
#[test]
fn patches_are_checked_together() {
    let text = text("together.tsv");
    let rules = ["template-patch-talos", "template-older-form", "template-hostname-twice"];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [talos, cluster, control_plane, workers, expected] = columns[..] else { panic!("{line}") };
        let patches = |column: &str| {
            let documents = column.split(" + ").filter(|document| !matches!(*document, "" | "-")).enumerate();
            let patches: Vec<String> =
                documents.map(|(n, document)| format!("{{name: p{n}, inline: {document}}}")).collect();
            format!("[{}]", patches.join(", "))
        };
        let machine = if workers == "-" { "" } else { "27c16241-96bf-4f17-9579-ea3a6c4a3ca9" };
        let template = TEMPLATE
            .replace("v1.13.5", &format!("v1.{talos}.1"))
            .replace("[{file: p}]", &patches(cluster))
            .replace("kind: ControlPlane\n", &format!("kind: ControlPlane\npatches: {}\n", patches(control_plane)))
            .replace(
                "kind: Workers\n",
                &format!("kind: Workers\nmachines: [{machine}]\npatches: {}\n", patches(workers)),
            );
        let context = TemplateContext { omni: Omni::of_tag("v1.11.0"), ..TemplateContext::default() };
        let checked = template::check("demo.yaml", template.as_bytes(), &context);
        let found: Vec<&str> = checked.findings.iter().map(|finding| finding.rule).collect();
        assert!(!found.iter().any(|rule| rule.contains("syntax") || rule.contains("wrong-type")), "{line}: {found:?}");
        let found: Vec<&str> = found.into_iter().filter(|rule| rules.contains(rule)).collect();
        assert_eq!(found.join(" "), expected, "{line}: {:?}", checked.findings);
    }
}
