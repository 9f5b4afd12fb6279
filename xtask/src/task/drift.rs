//! `drift [--exit-code]`: the differences between git, Omni, Proxmox and the containers on this host. It changes nothing.
//!
//! 1. Reads the machine classes, clusters and machine requests from Omni.
//! 2. Compares the files with Omni: what exists in only one of them, and what differs.
//! 3. Compares Omni with Proxmox: VMs without a request, requests without a VM, VMs changed by hand, images left behind.
//! 4. Compares docker/compose.yaml with the containers, and the project's notes with everything else.
//!
//! What cannot be queried is reported as unknown, and the rest is still compared.

use crate::cli::DriftArgs;
use crate::flow::drift::{self, Area, Omni};
use crate::prelude::*;
use check::drift::Drift;
use runtime::tool::omnictl::Omnictl;

/// Maximum number of differences shown for each area; the JSON document contains all.
const SHOWN: usize = 20;

/// The differences found in all areas.
#[derive(Default)]
struct Report {
    found: Vec<Drift>,
    unknown: Vec<Value>,
}

pub fn run(args: &DriftArgs, cx: &Cx) -> anyhow::Result<Outcome> {
    let omnictl = Omnictl::find(cx)?;
    let omni = cx.ui.step("omni", "Read the resources in Omni", || {
        let omni = Omni::observe(&omnictl)?;
        let summary = omni.summary();
        Ok(StepResult::ok(omni, summary))
    })?;
    let mut report = Report::default();
    for Area { name, found, unread } in drift::compare_all(cx, &omnictl, &omni, args.hardware) {
        unread.iter().for_each(|(what, why)| report.add_unknown(cx, what, why));
        report.add_area(cx, name, found)?;
    }
    let data = json!({ "drift": report.found, "unknown": report.unknown });
    let unknown = match report.unknown.len() {
        0 => String::new(),
        some => format!("; {} could not be compared", count(some, "part")),
    };
    let summary = match report.found.len() {
        0 => format!("no differences{unknown}"),
        some => format!("{}{unknown}", count(some, "difference")),
    };
    match (args.exit_code, report.found.is_empty()) {
        (true, _) if !unknown.is_empty() => {
            Err(Failure::new(Code::Failed, summary).hint("see above what was not compared, and why").with(data).into())
        }
        (true, false) => Ok(Outcome::pending(summary).with(data)),
        _ => Ok(Outcome::done(summary).with(data)),
    }
}

impl Report {
    /// Reports the differences found in one area.
    fn add_area(&mut self, cx: &Cx, area: &str, found: Result<Vec<Drift>, Failure>) -> Result<(), Failure> {
        let found = match found {
            Err(failure) if failure.code == Code::Interrupted => return Err(failure),
            Err(failure) => {
                self.add_unknown(cx, area, &failure.to_string());
                return Ok(());
            }
            Ok(found) => found,
        };
        match found.len() {
            0 => cx.ui.note("drift", area, Status::Ok, "no difference"),
            some => cx.ui.note("drift", area, Status::Warning, count(some, "difference")),
        }
        for drift in found.iter().take(SHOWN) {
            cx.ui.say(&format!("  {}: {}", drift.object, drift.detail));
            drift
                .fixes
                .iter()
                .for_each(|fix| cx.ui.say(&cx.ui.advice(&format!("    `{}` {}", fix.command, fix.effect))));
        }
        if found.len() > SHOWN {
            cx.ui.say(&format!("  and {} more: --json lists all", found.len() - SHOWN));
        }
        self.found.extend(found);
        Ok(())
    }

    fn add_unknown(&mut self, cx: &Cx, what: &str, why: &str) {
        cx.ui.note("drift", what, Status::Warning, format!("not compared: {why}"));
        self.unknown.push(json!({ "what": what, "why": why }));
    }
}
