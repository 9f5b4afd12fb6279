//! Two changing tasks at the same time: for all tasks and shared files, the second one exits with 1, names the first one, and
//! changes nothing. Read-only tasks continue.

use std::process::Stdio;

use crate::interrupted::gate::Gate;
use crate::sandbox::{Sandbox, class_line, kill, lab_program, list};

/// Read-only tasks that read what the others change.
const LOOKING: [&str; 5] =
    ["provider-status", "cluster-status", "machineclass-check small", "cluster-check demo", "omni-status"];

#[test]
fn second_changing_task_is_refused() {
    let mut lab = Sandbox::with("--clock 400");
    lab.set("DOCKER_HOST", Some("tcp://lab"));
    lab.provider();
    lab.class("small");
    lab.run("cluster-create demo --control-planes 1 --workers 0 --yes").exits(0);
    lab.run(&class_line("small")).exits(0);
    let gate = Gate::new(&mut lab);
    gate.wrap("cargo", "#!/bin/sh\nexit 1\n");
    let before = lab.files();
    let far = crate::runbook::settled(lab.dump());
    lab_program();
    let changing = list("changing");
    for first in &changing[..changing.len() - 6] {
        gate.arm();
        let words: Vec<&str> = first.split(' ').collect();
        let mut running = lab.start(first);
        assert!(gate.wait_for_call(&mut running).is_some(), "{first} calls nothing");
        let start = |line: &str| {
            let mut command = lab.command(line.split(' '));
            (line.to_string(), command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts"))
        };
        let (seconds, readers): (Vec<_>, Vec<_>) =
            (changing.iter().map(|line| start(line)).collect(), LOOKING.map(start).into_iter().collect());
        for (second, child) in seconds {
            let output = child.wait_with_output().expect("it is ours");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let pair = format!("{first}, then {second}: {said}");
            assert_eq!(output.status.code(), Some(1), "{pair}");
            let named = format!("`{}` (pid {})", words[0], running.id());
            assert!(said.contains(&named) && said.contains("is changing this project"), "{named}: {pair}");
        }
        for (reader, child) in readers {
            let output = child.wait_with_output().expect("it is ours");
            assert_eq!(output.status.code(), Some(0), "{first}, then {reader}: {output:#?}");
        }
        kill("INT", running.id());
        assert_eq!(running.wait().expect("it is ours").code(), Some(130), "{first}");
        assert_eq!(lab.files(), before, "{first}: something has changed");
    }
    assert_eq!(crate::runbook::settled(lab.dump()), far);
}
