//! `keys [--rotate NAME]`: lists every credential with owner, role, place and expiry; values are never shown.
//!
//! With `--rotate`, replaces one: the new key is created, tried and stored before the old one is removed, as far as Omni and
//! Proxmox allow that.

use crate::cli::{Keys, RotatableKey};
use crate::flow::{change, key_rotation, keys};
use crate::prelude::*;
use runtime::ui::table;

pub fn run(args: &Keys, cx: &Cx) -> anyhow::Result<Outcome> {
    let Some(name) = args.rotate else { return Ok(list(cx)) };
    let one = if matches!(name, RotatableKey::Account) { cx.clone() } else { cx.for_single_provider()? };
    let cx = &one;
    let _lock = cx.lock()?;
    cx.check_writable(&[cx.paths.env(), cx.paths.config(), cx.paths.state()])?;
    change::omnictl_on_need(cx)?;
    let rotation = key_rotation::plan_rotation(cx, name)?;
    rotation.plan.carry_out(cx, "Rotate it as shown", &Value::Null)?;
    let outcome = Outcome::done(rotation.left);
    Ok(outcome.next(rotation.next.unwrap_or_else(|| "cargo xtask keys".to_owned())))
}

fn list(cx: &Cx) -> Outcome {
    let found = keys::list_credentials(cx);
    cx.ui.print_states(
        table(&["NAME", "OWNER", "ROLE", "PLACE", "VALID UNTIL"], found.iter().map(keys::Credential::row)).trim_end(),
    );
    let of = |state: &str| found.iter().filter(|each| each.state == state).count();
    let mut summary = count(found.len(), "credential");
    for (state, words) in
        [("expired", "expired"), ("soon", "expiring within a month"), ("unknown", "of unknown expiry")]
    {
        match of(state) {
            0 => {}
            some => summary.push_str(&format!(", {some} {words}")),
        }
    }
    let next =
        found.iter().find(|each| ["expired", "soon"].contains(&each.state)).and_then(keys::Credential::renewal_command);
    let outcome = Outcome::done(summary).with(json!({ "credentials": found }));
    next.into_iter().fold(outcome, Outcome::next)
}
