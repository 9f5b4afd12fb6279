//! `omni-upgrade [--to VERSION]`: upgrades Omni by one minor version.
//!
//! 1. Finds the running version, and resumes an interrupted upgrade.
//! 2. Determines the next step as `upgrade-plan` does. Checks that nothing blocks it, every cluster is healthy, Omni's data is on
//!    mounts, and there is a backup of the last day unless --without-backup was given.
//! 3. Pulls the image, changes the tag in `docker/compose.yaml`, recreates the containers together, and installs omnictl.
//! 4. Checks the containers, that Omni responds with the new version, and that account, clusters, machines and keys are the same.

use crate::cli::OmniUpgrade;
use crate::flow::omni_upgrade::{self, Upgrade};
use crate::flow::{change, omni_stack, upgrade};
use crate::prelude::*;
use domain::releases::table;
use runtime::tool::compose::Compose;

pub fn run(args: &OmniUpgrade, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let pin = &table().recommended.omni.version;
    let to = args.to.as_deref().map(|to| upgrade::parse(to, pin)).transpose()?;
    omni_stack::require_env(cx)?;
    cx.check_writable(&[cx.paths.state(), cx.paths.compose()])?;
    change::omnictl_on_need(cx)?;
    let containers = Compose::find(cx)?.containers()?;
    omni_stack::check_mounts(cx, &containers)?;
    let upgrade = match omni_upgrade::find_interrupted(cx, &containers)? {
        Some(upgrade) => upgrade,
        None => match omni_upgrade::next_upgrade(cx, &containers, to)? {
            Some(step) => Upgrade::of(cx, step, omni_upgrade::find_backup(cx, args.without_backup)?)?,
            None => return Ok(report_current(cx)),
        },
    };
    let (from, to) = (upgrade.from.to_string(), upgrade.to.to_string());
    let data = json!({ "from": from, "to": to, "backup": upgrade.backup });
    let plan = omni_upgrade::plan(cx, &upgrade)?;
    plan.carry_out(cx, &format!("Upgrade Omni from {from} to {to} as shown"), &data)?;
    Ok(Outcome::done(format!("Omni {to} runs; {}", upgrade.holdings_summary()))
        .with(data)
        .next("git commit docker/compose.yaml")
        .next("cargo xtask omni-verify")
        .next("cargo xtask upgrade-plan"))
}

fn report_current(cx: &Cx) -> Outcome {
    let running = omni_stack::pinned_version(cx).unwrap_or_default();
    Outcome::done(format!("Omni {running} runs; nothing to upgrade")).next("cargo xtask upgrade-plan")
}
