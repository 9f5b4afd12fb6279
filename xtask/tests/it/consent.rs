//! `--yes` on a terminal. What is asked and answered is in the transcripts `prompts` and `races`.

use crate::operation::with_cluster;
use crate::terminal::Talk;

#[test]
fn yes_never_leads_to_a_prompt() {
    let lab = with_cluster(1);
    let talk = |line: &str| Talk::with(&mut lab.command(&line.split(' ').collect::<Vec<_>>()), &[]);
    let ran = talk("machineclass-create big --yes").exits(0);
    assert!(!ran.shown.contains("Apply it"), "{}", ran.shown);
    talk("machineclass-create --yes").exits(2).says(&["the name"]);
    let template = lab.read("clusters/demo.yaml");
    let (head, _) = template.rsplit_once("size: 1").expect("one worker");
    lab.write("clusters/demo.yaml", &format!("{head}size: 0\n"));
    talk("cluster-sync demo --yes").exits(2).says(&["--allow-destroy demo", "nothing was changed"]);
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
