//! `lab-faults`: lists the faults that the lab can simulate, for `lab-up --fault` and `rehearse --fault`.

use crate::prelude::*;
use domain::nearest;
use runtime::tool::lab;
use runtime::tool::lab::faults::{self, Fault};
use runtime::ui::table;

pub fn run(group: Option<&str>, cx: &Cx) -> anyhow::Result<Outcome> {
    let program = lab::program(cx)?;
    let mut faults = faults::list(cx, &program)?;
    if let Some(group) = group {
        let mut groups: Vec<String> = faults.iter().map(|fault| fault.group.clone()).collect();
        groups.dedup();
        let known: Vec<&str> = groups.iter().map(String::as_str).collect();
        if !known.contains(&group) {
            return Err(Failure::new(Code::Usage, format!("there is no group `{group}`"))
                .cause(format!("the groups are {}", known.join(", ")))
                .hint(nearest::suggestion(group, &known))
                .into());
        }
        faults.retain(|fault| fault.group == *group);
    }
    let row = |fault: &Fault| vec![fault.group.clone(), fault.name.clone(), fault.does.clone(), fault.heals.clone()];
    cx.ui.print_states(&table(&["GROUP", "FAULT", "EFFECT", "FIX"], faults.iter().map(row)));
    let summary = match group {
        Some(group) => format!("{} faults of the group {group}", faults.len()),
        None => format!("{} faults", faults.len()),
    };
    Ok(Outcome::done(summary).with(json!({ "faults": faults })).next("cargo xtask rehearse --fault NAME"))
}
