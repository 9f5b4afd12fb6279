//! `corpus/patches.txt`: patches with the answers of two releases of the real omnictl, and this tool's findings.
//! `UPDATE_CORPUS=1 cargo test -p check --test it` rewrites the findings; the real answers stay.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use check::releases::Omni;
use check::template::{self, FileRead, TemplateContext};
use check::{Checked, Verdict};
use domain::spec::template::ClusterTemplate;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/patches.txt");
/// The machines run the newest Talos that the older of the two knows.
const TEMPLATE: &str = "kind: Cluster\nname: demo\nkubernetes: {version: v1.36.2}\ntalos: {version: v1.13.5}\npatches: [{file: p}]\n\
                        ---\nkind: ControlPlane\nmachines: [27c16241-96bf-4f17-9579-ea3a6c4a3ca8]\n---\nkind: Workers\n";

fn check(patch: &str, omni: &str) -> Checked<ClusterTemplate> {
    let read = |_: &str| FileRead::Bytes(patch.as_bytes().to_vec());
    let context = TemplateContext { omni: Omni::of_tag(omni), read: Some(&read), ..TemplateContext::default() };
    template::check("demo.yaml", TEMPLATE.as_bytes(), &context)
}

#[test]
fn patches_get_the_answer_of_omnictl() {
    let text = std::fs::read_to_string(PATH).expect("the corpus");
    let (mut fresh, mut cases, mut unknown) = (String::new(), 0, 0);
    let (head, parts) = text.split_once("=== ").expect("a case");
    fresh.push_str(head);
    for part in parts.split("\n=== ") {
        let (title, patch) = part.split_once('\n').expect("a patch");
        let columns: Vec<&str> = title.split('\t').collect();
        let mut rules = BTreeSet::new();
        for (omni, real) in [("v1.9.3", columns[1]), ("v1.10.4", columns[2])] {
            let checked = check(&format!("{patch}\n"), omni);
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
    let fresh = fresh.trim_end_matches('\n').to_owned() + "\n";
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        std::fs::write(PATH, &fresh).expect("the corpus");
    } else {
        for (was, is) in text.lines().zip(fresh.lines()) {
            assert_eq!(was, is);
        }
    }
}
