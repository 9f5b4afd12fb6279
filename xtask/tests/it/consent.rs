//! `--yes` on a terminal. Prompts and answers are in the transcripts `prompts` and `races`.

use crate::operation::with_cluster;
use crate::terminal::TerminalSession;

#[test]
fn yes_never_leads_to_a_prompt() {
    let lab = with_cluster(1);
    let talk = |line: &str| TerminalSession::with(&mut lab.command(line.split(' ')), &[]);
    let ran = talk("machineclass-create big --yes").exits(0);
    assert!(!ran.shown.contains("Apply it"), "{}", ran.shown);
    talk("machineclass-create --yes").exits(2).says(&["the name"]);
    let template = lab.read("clusters/demo.yaml");
    let (head, _) = template.rsplit_once("size: 1").expect("one worker");
    lab.write("clusters/demo.yaml", &format!("{head}size: 0\n"));
    talk("cluster-sync demo --yes").exits(2).says(&["--allow-destroy demo", "nothing was changed"]);
}
