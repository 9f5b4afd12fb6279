//! `lab-faults`: what can be made to go wrong in the lab, for `lab-up --fault` and `rehearse --fault`.

use serde_json::{Value, json};
use xshell::cmd;

use super::{Outcome, lab_up};
use crate::cx::Cx;
use crate::proc::{self, Job};
use crate::ui::table;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    let program = lab_up::built(cx)?;
    let shell = proc::shell()?;
    let ended = cx.proc.run(Job::new("asking the lab for its faults", cmd!(shell, "{program} faults")))?.checked()?;
    let faults: Vec<Value> = serde_json::from_str(&ended.stdout)?;
    let text = |fault: &Value, key: &str| fault[key].as_str().unwrap_or_default().to_owned();
    let row = |fault: &Value| ["group", "name", "does"].map(|key| text(fault, key)).to_vec();
    let rows: Vec<Vec<String>> = faults.iter().map(row).collect();
    cx.ui.data(&table(&["GROUP", "FAULT", "WHAT THE FAR END DOES"], &rows));
    let summary = format!("{} faults", faults.len());
    Ok(Outcome::done(summary).with(json!({ "faults": faults })).next("cargo xtask rehearse --fault NAME"))
}
