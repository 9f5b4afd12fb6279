//! `stack-up`: starts the stack, and verifies that it runs.
//!
//! 1. Checks docker and its compose plugin, and that `docker/.env` is complete and has no value of the example left.
//! 2. If Omni has a container, checks that Omni's data is on mounts, as `up` may recreate it. Checks that Omni keeps its version,
//!    and can start with docker/site.yaml.
//! 3. Runs `docker compose up -d`, with the provider if it is set up, unless its dry run shows that everything runs. Recreates
//!    everything if only the sidecar exited, or if docker/site.yaml or a secret in docker/.env changed, which compose ignores.
//! 4. Waits until the containers run, and Omni responds.

use crate::flow::omni_stack::{self, OmniAddress};
use crate::flow::site;
use crate::prelude::*;
use runtime::tool::compose::{Compose, PROVIDER};

pub fn run(recreate: bool, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let compose = Compose::find(cx)?;
    let provider = check(cx, &compose)?;
    let containers = compose.containers()?;
    omni_stack::check_mounts(cx, &containers)?;
    omni_stack::refuse_version_change(cx, &containers)?;
    site::check_step(cx)?;
    let outdated = omni_stack::changed_values(cx, &containers)?;
    let recreate = recreate || omni_stack::needs_recreate(&containers) || !outdated.is_empty();
    let moved = omni_stack::version_note(cx, &containers);
    let services = omni_stack::services(cx, provider);
    let what = match (recreate, provider) {
        (true, _) => "all containers are recreated together, since they share one network",
        (false, true) => "stopped containers are started, changed ones are recreated",
        (false, false) => "stopped containers are started, changed ones are recreated, the provider is skipped",
    };
    let why = match outdated.is_empty() {
        true => String::new(),
        false => format!("; {} changed after the containers were created", outdated.join(" and ")),
    };
    let place = OmniAddress::of(cx);
    let mut plan = Plan::default();
    let settings = site::initial_changes(cx, false)?;
    let changed = recreate || !settings.is_empty() || !compose.pending(provider)?.is_empty();
    plan.append(settings.into_iter().collect());
    match changed {
        true => plan.push(omni_stack::start(provider, recreate, format!("{what}; volumes kept{moved}{why}"))),
        false => cx.ui.note("changes", "nothing to change", Status::Skipped, "all containers run as configured"),
    }
    plan.verify(|cx| omni_stack::verify(cx, provider, place.as_ref()));
    let verb = if recreate { "Recreate" } else { "Start" };
    let question = format!("{verb} the containers {}; volumes are kept{moved}", services.join(", "));
    plan.carry_out(cx, &question, &Value::Null)?;
    let containers = compose.containers()?;
    let data = json!({ "services": services, "containers": containers, "changed": changed, "recreated": recreate });
    let outcome = Outcome::done(format!("the stack runs: {}", services.join(", "))).with(data);
    Ok(if provider { outcome.next("cargo xtask provider-status") } else { outcome.next("cargo xtask provider-setup") })
}

/// Step 1: checks the configuration. Returns whether the provider starts too.
fn check(cx: &Cx, compose: &Compose<'_>) -> anyhow::Result<bool> {
    omni_stack::require_env(cx)?;
    cx.ui.step("compose", "Check docker/compose.yaml and docker/.env", || {
        let version = compose.version()?;
        omni_stack::check_env(cx)?;
        compose.check()?;
        Ok(StepResult::ok((), format!("compose {version}")))
    })?;
    match omni_stack::provider_ready(cx) {
        Ok(()) => Ok(true),
        Err(why) => {
            cx.ui.note("provider", format!("`{PROVIDER}` is not started"), Status::Skipped, why);
            Ok(false)
        }
    }
}
