//! `upgrade-plan`: the ordered steps from the running versions to the target versions, each with what blocks it.
//!
//! 1. **load**: the target versions, from `--to` or those that this kit recommends.
//! 2. **observe**: the running versions, from the containers and Omni; with `--from-files`, from `docker/compose.yaml` and
//!    `clusters/`, without a network.
//! 3. **plan**: from the facts in `data/releases.yaml`; nothing is changed. Exits with 0 if everything is current, with 3 if
//!    steps are pending, with 1 if one of them is blocked.

use std::collections::BTreeSet;

use crate::cli::UpgradePlan;
use crate::flow::upgrade::{self, commands, title};
use crate::prelude::*;
use check::upgrade::{Cluster, Installed, Step, TargetVersions, plan};
use domain::releases::table;
use domain::version::Version;

pub fn run(args: &UpgradePlan, cx: &Cx) -> anyhow::Result<Outcome> {
    let wanted = requested(args)?;
    let installed = if args.from_files { upgrade::from_files(cx)? } else { upgrade::read_running(cx, &wanted)? };
    let steps = plan(&installed, &wanted);
    show(cx, &installed, &steps);
    report(args, cx, &installed, &steps)
}

/// Returns the target versions. Without `--to`, these are the recommended ones, and nothing is downgraded to them.
fn requested(args: &UpgradePlan) -> Result<TargetVersions, Failure> {
    let pins = &table().recommended;
    let named = [
        (args.omni, &pins.omni.version),
        (args.provider, &pins.provider.version),
        (args.talos, &pins.talos.version),
        (args.kubernetes, &pins.kubernetes.version),
    ];
    let chosen: Vec<&Version> = named.iter().filter(|(named, _)| *named).map(|(_, pin)| *pin).collect();
    let given = match (&args.to, &chosen[..]) {
        (None, _) => None,
        (Some(to), [like]) => Some(upgrade::parse(to, like)?),
        _ => {
            return Err(Failure::new(Code::Usage, "--to needs a component")
                .cause("the version alone does not identify a component")
                .hint("add one of --omni, --infra-provider, --talos, --kubernetes"));
        }
    };
    let keep_newer = given.is_none();
    let pick = |pin: &Version| given.clone().unwrap_or_else(|| pin.clone());
    let [omni, provider, talos, kubernetes] = named.map(|(named, pin)| (named || chosen.is_empty()).then(|| pick(pin)));
    Ok(TargetVersions { keep_newer, omni, provider, talos, kubernetes })
}

fn show(cx: &Cx, installed: &Installed, steps: &[Step]) {
    if let Some(omni) = installed.omni.as_ref().filter(|omni| **omni > table().facts.omni) {
        let detail = format!(
            "Omni {omni} is newer than the known {}: its requirements and limits are unknown",
            table().facts.omni
        );
        cx.ui.note("facts", "Check that the release is known", Status::Warning, detail);
    }
    let mut notes: BTreeSet<&str> = BTreeSet::new();
    for (n, step) in steps.iter().enumerate() {
        let forever = step.irreversible.iter().map(|what| format!("; {what}")).collect::<String>();
        cx.ui.print_data(&format!("{}. {}{forever}", n + 1, title(step)));
        for reason in &step.blockers {
            cx.ui.print_data(&format!("   blocked: {} [{}]", reason.message, reason.rule));
        }
        // A warning that applies to every cluster is printed once.
        for reason in step.warnings.iter().filter(|reason| notes.insert(&reason.message)) {
            cx.ui.print_data(&format!("   note: {} [{}]", reason.message, reason.rule));
        }
    }
}

fn data(installed: &Installed, steps: &[Step]) -> Value {
    let of = |step: &Step| {
        json!({
            "component": step.component.to_string(), "from": step.from.to_string(), "to": step.to.to_string(),
            "blockers": step.blockers, "warnings": step.warnings,
            "irreversible": step.irreversible, "commands": commands(step),
        })
    };
    let text = |version: &Option<Version>| version.as_ref().map(ToString::to_string);
    let cluster = |of: &Cluster| json!({ "name": of.name, "talos": of.talos.to_string(), "kubernetes": of.kubernetes.to_string() });
    let clusters: Vec<Value> = installed.clusters.iter().map(cluster).collect();
    let facts = &table().facts;
    json!({
        "installed": { "omni": text(&installed.omni), "provider": text(&installed.provider), "clusters": clusters },
        "facts_end": { "omni": facts.omni.to_string(), "provider": facts.provider.to_string(), "talos": facts.talos.to_string(), "date": facts.date },
        "steps": steps.iter().map(of).collect::<Vec<_>>(),
    })
}

fn report(args: &UpgradePlan, cx: &Cx, installed: &Installed, steps: &[Step]) -> anyhow::Result<Outcome> {
    let data = data(installed, steps);
    if installed.omni.is_none() && installed.clusters.is_empty() {
        let cause = match args.from_files {
            true => "docker/compose.yaml has no service `omni`, and clusters/ contains no template of yours",
            false => "the stack has no container of Omni, and Omni has no cluster",
        };
        let failure = Failure::new(Code::Prerequisite, "there is nothing to upgrade").cause(cause);
        return Err(failure
            .hint("start the stack, or read the files with --from-files")
            .with(data)
            .next("cargo xtask stack-up")
            .into());
    }
    let mut blocked = steps.iter().filter(|step| !step.blockers.is_empty());
    if let Some(step) = blocked.next() {
        let first = step.blockers.first().map(|reason| reason.message.as_str()).unwrap_or_default();
        let again = if args.from_files { "cargo xtask upgrade-plan --from-files" } else { "cargo xtask upgrade-plan" };
        let message = format!("{} of {} blocked", 1 + blocked.count(), count(steps.len(), "step"));
        return Err(Failure::new(Code::Failed, message)
            .cause(format!("{}: {first}", title(step)))
            .hint(format!(
                "fix what is listed as blocked, then run `{again}` again; docs/how-to/upgrade.md explains the steps"
            ))
            .with(data)
            .into());
    }
    let Some(step) = steps.first() else {
        return Ok(Outcome::done("nothing to upgrade: no component is older than the requested version").with(data));
    };
    cx.ui.print_data(&format!("\nThe first step, {}:", title(step)));
    commands(step).iter().for_each(|command| cx.ui.print_data(&format!("  {command}")));
    Ok(Outcome::pending(format!("{} pending, none blocked", count(steps.len(), "step"))).with(data))
}
