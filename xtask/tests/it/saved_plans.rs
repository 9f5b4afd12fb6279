//! The workflow of the guide. The transcripts `saved-plans` and `outdated-plans` cover the rest.

use std::fs;

use crate::operation::{vms, with_cluster};
use crate::sandbox::CommandOutput;

/// The steps of the workflow in the guide, with a fake GitHub: a comment, and the artifact of the pull request's run.
#[test]
fn workflow_of_the_guide_plans_and_applies() {
    let guide = fs::read_to_string(crate::sandbox::root().join("docs/how-to/saved-plans.md")).unwrap();
    let block = guide.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a workflow");
    let workflow: serde_json::Value = serde_yaml::from_str(block).expect("YAML");
    let mut lab = with_cluster(1);
    let runner = env!("CARGO_BIN_EXE_xtask");
    lab.wrap_program("cargo", &format!("shift; exec {runner} \"$@\""));
    let artifact = lab.file("../artifact.json").display().to_string();
    lab.wrap_program(
        "gh",
        &format!("case \"$1 $2\" in 'pr comment') cp plan.md ../comment.md;; 'run download') [ \"$4\" = plan-7 ] && cp {artifact} plan.json;; api*) echo 7;; esac"),
    );
    for (key, value) in [("NUMBER", "7"), ("GITHUB_REPOSITORY", "a/b"), ("GITHUB_SHA", "0")] {
        lab.set(key, Some(value));
    }
    let template = lab.read("clusters/demo.yaml");
    let (head, _) = template.rsplit_once("size: ").expect("a size");
    lab.write("clusters/demo.yaml", &format!("{head}size: 2\n"));
    let job = |name: &str| {
        for step in workflow["jobs"][name]["steps"].as_array().expect("steps") {
            let Some(run) = step["run"].as_str() else { continue };
            // As GitHub's runner starts it.
            CommandOutput::of(lab.program("bash").args(["-e", "-c", run])).exits(0);
        }
    };
    job("plan");
    assert!(lab.read("../comment.md").contains("from 1 to 2 machines"));
    fs::rename(lab.file("plan.json"), &artifact).unwrap();
    assert_eq!(vms(&lab), 2);
    job("apply");
    assert_eq!(vms(&lab), 3);
}
