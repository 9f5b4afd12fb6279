//! Plans that are saved, shown, and carried out later or refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::operation::{ui_patch, vms, with_cluster};
use crate::sandbox::{CommandOutput, Sandbox};

/// Runs a task on the plan at `plan.json` beside the project; `PLAN` stands for its path.
fn on_plan(lab: &Sandbox, line: &str) -> CommandOutput {
    lab.run(&line.replace("PLAN", &lab.file("../plan.json").to_string_lossy()))
}

/// A cluster with one worker, and a template with `workers`.
fn resized(lab: &Sandbox, workers: u32) {
    let template = lab.read("clusters/demo.yaml");
    let (head, _) = template.rsplit_once("size: ").expect("a size");
    lab.write("clusters/demo.yaml", &format!("{head}size: {workers}\n"));
}

/// Applying the plan is refused with these words, and no call changes anything.
fn refused(lab: &Sandbox, what: &str, words: &[&str]) {
    let calls = || {
        let journal = fs::read_to_string(lab.journal()).expect("calls");
        journal.lines().filter(|line| line.contains(" sync -f ") || line.contains(" apply -f ")).count()
    };
    let before = calls();
    assert!(before > 0, "the journal has other words");
    on_plan(lab, "apply PLAN --yes --allow-destroy demo --timeout 60s").exits(1).says(words);
    assert_eq!(calls(), before, "{what}");
}

#[test]
fn saved_plan_is_shown_and_carried_out_once() {
    let lab = with_cluster(1);
    resized(&lab, 2);
    let before = lab.files();
    on_plan(&lab, "cluster-sync demo --plan-out PLAN").exits(3).says(&["1 change planned", "cargo xtask apply"]);
    let plan = lab.file("../plan.json");
    assert_eq!(fs::metadata(&plan).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(lab.files() == before && vms(&lab) == 2, "nothing else is written");

    on_plan(&lab, "plan-show PLAN").exits(0).says(&["sync cluster demo: update machine set demo-workers", "they fit"]);
    let shown = on_plan(&lab, "plan-show PLAN --markdown").exits(0);
    assert!(shown.stdout.starts_with("### Plan: 1 change\n\n```text\n"), "{}", shown.stdout);
    on_plan(&lab, "apply PLAN").exits(2).says(&["--yes"]);
    let dry = on_plan(&lab, "apply PLAN --dry-run -v").exits(3).says(&["everything that it rests on is the same"]);
    let calls = dry.stderr.matches("cluster template sync --dry-run").count();
    assert_eq!((calls, dry.stderr.matches(" -l ").count()), (1, 0), "one call for a cluster:\n{}", dry.stderr);

    on_plan(&lab, "apply PLAN --yes --timeout 60s").exits(0).says(&["cluster `demo` is synced, Running and ready"]);
    assert_eq!(vms(&lab), 3);
    on_plan(&lab, "apply PLAN --yes").exits(0).says(&["1 of 1 change done already", "nothing to change"]);
    on_plan(&lab, "cluster-sync demo --plan-out PLAN").exits(0).says(&["nothing to change"]);
    on_plan(&lab, "apply PLAN --yes").exits(0).says(&["in sync; nothing to change"]);
}

#[test]
fn saved_plan_that_destroys_needs_the_name() {
    let lab = with_cluster(1);
    resized(&lab, 0);
    on_plan(&lab, "cluster-sync demo --plan-out PLAN").exits(3);
    on_plan(&lab, "plan-show PLAN").exits(0).says(&["DESTROYS 1 machine of machine set demo-workers"]);
    assert!(on_plan(&lab, "plan-show PLAN --markdown").exits(0).stdout.contains("**with destruction**"));
    on_plan(&lab, "apply PLAN --yes").exits(2).says(&["--allow-destroy demo"]);
    assert_eq!(vms(&lab), 2);
    on_plan(&lab, "apply PLAN --yes --allow-destroy demo --timeout 60s").exits(0);
    assert_eq!(vms(&lab), 1);
}

#[test]
fn saved_plan_is_refused_when_what_it_rests_on_has_changed() {
    let mut lab = with_cluster(1);
    let patch = "machine:\n  sysctls:\n    vm.swappiness: \"1\"\n";
    lab.write("clusters/extra.yaml", patch);
    let template = lab.read("clusters/demo.yaml").replacen("---\n", "patches:\n  - file: extra.yaml\n---\n", 1);
    lab.write("clusters/demo.yaml", &template);
    resized(&lab, 2);
    on_plan(&lab, "cluster-sync demo --plan-out PLAN").exits(3);
    let (plan, template) = (lab.read("../plan.json"), lab.read("clusters/demo.yaml"));

    // The file itself.
    let again = "cargo xtask cluster-sync clusters/demo.yaml --plan-out FILE";
    for (from, to, words) in [
        ("\"format\": 1", "\"format\": 2", "is older than the plan"),
        ("\"update machine set", "\"leave machine set", "it was edited or damaged"),
        ("\"destroys\": []", "\"destroys\": [], \"run\": \"rm\"", "unknown field"),
        ("{", "", "is not a valid plan"),
    ] {
        lab.write("../plan.json", &plan.replacen(from, to, 1));
        assert_ne!(lab.read("../plan.json"), plan, "{from}");
        refused(&lab, from, &[words]);
    }
    lab.write("../plan.json", &plan);

    // The files of the project.
    resized(&lab, 3);
    refused(&lab, "an edited template", &["file clusters/demo.yaml: has changed", again]);
    fs::remove_file(lab.file("clusters/demo.yaml")).unwrap();
    refused(&lab, "a removed template", &["file clusters/demo.yaml: it is gone"]);
    lab.write("clusters/demo.yaml", &template);
    lab.write("clusters/extra.yaml", &patch.replace('1', "2"));
    refused(&lab, "an edited patch", &["file clusters/extra.yaml: has changed"]);
    lab.write("clusters/extra.yaml", patch);

    // Omni: another operator's patch, cluster and machine class.
    lab.write("ui.yaml", &ui_patch("500-ui", "name", patch));
    lab.omnictl(&["apply", "-f", "ui.yaml"]);
    refused(&lab, "a patch", &["destroy config patch 500-ui: not in the plan"]);
    lab.omnictl(&["delete", "configpatches", "500-ui"]);
    on_plan(&lab, "apply PLAN --dry-run").exits(3);
    let other = template.replace("name: demo\n", "name: demo\nlabels: {by: another}\n");
    lab.write("other/demo.yaml", &other);
    lab.write("other/extra.yaml", patch);
    lab.omnictl(&["cluster", "template", "sync", "-f", "other/demo.yaml"]);
    refused(&lab, "another sync", &["update cluster demo: not in the plan"]);

    // Time, and another Omni.
    on_plan(&lab, "cluster-sync demo --plan-out PLAN --plan-expires 0s").exits(3);
    refused(&lab, "an expired plan", &["the plan has expired", again]);
    on_plan(&lab, "cluster-sync demo --plan-out PLAN").exits(3);
    let class = lab.read("machine-classes/small.yaml");
    lab.write("class.yaml", &class.replace("cores: 2", "cores: 3"));
    lab.omnictl(&["apply", "-f", "class.yaml"]);
    refused(&lab, "a class", &["machine class small in Omni: was planned with `version "]);
    let home = lab.env("OMNI_ENDPOINT").to_owned();
    lab.set("OMNI_ENDPOINT", Some("https://omni.example.net"));
    on_plan(&lab, "apply PLAN --yes")
        .exits(1)
        .says(&["the plan is for another Omni", "not for https://omni.example.net"]);
    lab.set("OMNI_ENDPOINT", Some(&home));
}

#[test]
fn plan_is_written_over_a_plan_only_and_holds_no_secret() {
    let lab = with_cluster(0);
    let canary = "canary-Zq81kfPw-secret";
    let patch = format!(
        "patches:\n  - name: a\n    inline:\n      machine: {{env: {{PASSWORD: {canary}, X: {canary}}}}}\n---\n"
    );
    lab.write("clusters/demo.yaml", &lab.read("clusters/demo.yaml").replacen("---\n", &patch, 1));
    let template = lab.read("clusters/demo.yaml");
    let onto = format!("cluster-sync demo --plan-out {}", lab.file("clusters/demo.yaml").display());
    lab.run(&onto).exits(1).says(&["exists and is not a saved plan"]);
    assert_eq!(lab.read("clusters/demo.yaml"), template);
    on_plan(&lab, "cluster-sync demo --plan-out PLAN --dry-run").exits(2);
    on_plan(&lab, "cluster-sync demo --plan-out PLAN").exits(3);
    on_plan(&lab, "cluster-sync demo --plan-out PLAN").exits(3);
    assert!(!lab.read("../plan.json").contains("canary"), "{}", lab.read("../plan.json"));
    on_plan(&lab, "plan-show PLAN.not").exits(1).says(&["does not exist", "--plan-out FILE"]);
    on_plan(&lab, "apply PLAN --yes --timeout 60s").exits(0);
}

#[test]
fn saved_plan_of_machine_classes_is_carried_out_or_refused() {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    let class = lab.read("machine-classes/small.yaml");
    lab.write("machine-classes/small.yaml", &class.replace("cores: 2", "cores: 3"));
    lab.write("machine-classes/big.yaml", &class.replace("id: small", "id: big"));
    on_plan(&lab, "machineclass-apply --all --plan-out PLAN").exits(3).says(&["2 changes planned"]);
    on_plan(&lab, "plan-show PLAN").exits(0).says(&["cores from 2 to 3", "machine class big in Omni (absent)"]);
    lab.write("class.yaml", &class.replace("id: small", "id: big").replace("cores: 2", "cores: 9"));
    lab.omnictl(&["apply", "-f", "class.yaml"]);
    let again = "cargo xtask machineclass-apply --all --plan-out FILE";
    let words =
        ["machine class big in Omni: was planned with `absent`", "update machine class big: not in the plan", again];
    on_plan(&lab, "apply PLAN --yes").exits(1).says(&words);
    on_plan(&lab, "machineclass-apply --all --plan-out PLAN").exits(3);
    on_plan(&lab, "apply PLAN --yes").exits(0).says(&["2 machine classes are in Omni"]);
    lab.run("machineclass-apply --all --dry-run").exits(0);
}

/// The steps of the workflow in the guide, with GitHub's part played: a comment, and the artifact of the pull request's run.
#[test]
fn workflow_of_the_guide_plans_and_applies() {
    let guide = fs::read_to_string(crate::sandbox::root().join("docs/how-to/saved-plans.md")).unwrap();
    let block = guide.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a workflow");
    let workflow: serde_json::Value = serde_yaml::from_str(block).expect("YAML");
    let mut lab = with_cluster(1);
    let runner = env!("CARGO_BIN_EXE_xtask");
    lab.stand_in("cargo", &format!("shift; exec {runner} \"$@\""));
    let artifact = lab.file("../artifact.json").display().to_string();
    lab.stand_in(
        "gh",
        &format!("case \"$1 $2\" in 'pr comment') cp plan.md ../comment.md;; 'run download') [ \"$4\" = plan-7 ] && cp {artifact} plan.json;; api*) echo 7;; esac"),
    );
    for (key, value) in [("NUMBER", "7"), ("GITHUB_REPOSITORY", "a/b"), ("GITHUB_SHA", "0")] {
        lab.set(key, Some(value));
    }
    resized(&lab, 2);
    let job = |name: &str| {
        for step in workflow["jobs"][name]["steps"].as_array().expect("steps") {
            let Some(run) = step["run"].as_str() else { continue };
            // As GitHub's runner starts it.
            let mut shell = std::process::Command::new("bash");
            shell.args(["-e", "-c", run]).env_clear().current_dir(lab.project());
            shell.envs(lab.variables().map(|key| (key, lab.env(key))));
            CommandOutput::of(&mut shell).exits(0);
        }
    };
    job("plan");
    assert!(lab.read("../comment.md").contains("from 1 to 2 machines"));
    fs::rename(lab.file("plan.json"), &artifact).unwrap();
    assert_eq!(vms(&lab), 2);
    job("apply");
    assert_eq!(vms(&lab), 3);
}
