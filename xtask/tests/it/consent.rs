//! What may change between question and answer. What is asked and answered is in the transcript `prompts`.

use crate::sandbox::{Sandbox, class_words};
use crate::terminal::Talk;

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn talk(lab: &Sandbox, line: &str, answers: &[(&str, &str)]) -> Talk {
    Talk::with(&mut lab.command(&words(line)), answers)
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
fn a_class_is_applied_as_it_was_checked() {
    let mut lab = prepared();
    lab.run_words(&class_words("other")).exits(0);
    let file = lab.file("machine-classes/other.yaml").display().to_string();
    let edit = format!("sed 's/cores: .*/cores: 64/' {file} > {file}.new && mv {file}.new {file}");
    lab.stand_in("omnictl", &format!("case \"$*\" in *machineclasses*|apply*) {edit} ;; esac\nexec @REAL@ \"$@\""));
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
    lab.stand_in("omnictl", &format!("case \"$*\" in *'template sync'*) {edit} ;; esac\nexec @REAL@ \"$@\""));
    lab.run("cluster-sync demo --yes --timeout 60s").exits(0);
    assert!(lab.read("clusters/demo.yaml").contains("Nonsense"), "the edit is kept");
    // The next run checks what is there by then.
    lab.run("cluster-sync demo --yes").exits(1);
}

/// Another operator changes the cluster between the comparison that a plan is made from and the answer: nothing of it is undone.
#[test]
fn what_another_operator_changed_since_the_plan_is_not_undone() {
    let mut lab = prepared();
    lab.run("cluster-create demo --control-planes 1 --workers 1 --yes --timeout 60s").exits(0);
    let template = lab.read("clusters/demo.yaml");
    let workers = |count: &str| {
        let at = template.rfind("size: 1").expect("one worker");
        format!("{}size: {count}{}", &template[..at], &template[at + 7..])
    };
    let set = "---\nkind: Workers\nname: gpu\nmachineClass: {name: small, size: 2}\n";
    lab.write("start.yaml", &template);
    let (first, other) = (lab.file("../first").display().to_string(), lab.file("other.yaml").display().to_string());
    lab.stand_in(
        "omnictl",
        &format!(
            "case \"$*\" in *'template sync --dry-run'*) if rm {first} 2> /dev/null; then @REAL@ \"$@\" || exit\n\
             exec @REAL@ cluster template sync -f {other} > /dev/null; fi ;; esac\nexec @REAL@ \"$@\""
        ),
    );
    let wanted = |lab: &Sandbox| {
        let sets = &lab.omnictl(&["get", "machinesets", "-o", "json"]).stdout;
        (sets.matches("\"id\": \"demo-gpu\"").count(), sets.matches("\"machinecount\": 4").count())
    };
    for (line, own, others, shown) in [
        ("cluster-sync demo", "2", workers("4"), "machine set demo-workers from 4 to 2 machines"),
        ("cluster-scale demo --workers 3", "1", workers("4"), "machine set demo-workers from 4 to 3 machines"),
        ("cluster-sync demo", "5", workers("4") + set, "destroy machine set demo-gpu with its machines"),
    ] {
        lab.write("clusters/demo.yaml", &workers(own));
        lab.write("other.yaml", &others);
        lab.write("../first", "");
        let ran = talk(&lab, line, &[("[y/N]", "y")]).exits(1);
        ran.says(&["`demo` has changed in Omni since the plan was made", shown, "nothing was synced"]);
        assert_eq!(wanted(&lab), (usize::from(others.contains("gpu")), 1), "{line}");
        assert_eq!(lab.read("clusters/demo.yaml"), workers(own), "the template is not edited for nothing");
        lab.omnictl(&["cluster", "template", "sync", "-f", "start.yaml"]);
    }
}

/// The same of a machine class, and of a cluster that is deleted: another operator's sync, apply comes while the question waits.
#[test]
fn class_and_deletion_are_refused_when_another_operator_came_first() {
    let mut lab = prepared();
    lab.run("cluster-create demo --control-planes 1 --workers 1 --yes --timeout 60s").exits(0);
    let (first, other) = (lab.file("../first").display().to_string(), lab.file("other.yaml").display().to_string());
    for (line, read, own, answers, said) in [
        (
            "machineclass-apply small",
            "get machineclasses",
            format!("exec @REAL@ apply -f {other}"),
            [("[y/N]", "y")],
            ["`small` has changed in Omni since the plan was made", "cores from 2 to 3; nothing was applied"],
        ),
        (
            "cluster-delete demo",
            "get loadbalancerstatuses",
            format!("exec @REAL@ cluster template sync -f {other}"),
            [("demo", "demo")],
            ["cluster `demo` has more machines than were shown", "; nothing was deleted"],
        ),
    ] {
        let class = lab.read("machine-classes/small.yaml");
        let text = match line.starts_with("machineclass") {
            true => class.replace("cores: 2", "cores: 3"),
            false => lab.read("clusters/demo.yaml").replacen("size: 1", "size: 3", 2),
        };
        lab.write("other.yaml", &text);
        lab.write("machine-classes/small.yaml", &class.replace("cores: 2", "cores: 5"));
        lab.write("../first", "");
        lab.stand_in(
            "omnictl",
            &format!(
                "case \"$*\" in *'{read}'*) if rm {first} 2> /dev/null; then @REAL@ \"$@\" || exit\n\
                 {own} > /dev/null; fi ;; esac\nexec @REAL@ \"$@\""
            ),
        );
        talk(&lab, line, &answers).exits(1).says(&said);
        lab.write("machine-classes/small.yaml", &class);
    }
    assert!(lab.omnictl(&["get", "clusters", "-o", "json"]).stdout.contains("demo"), "the cluster is there");
}
