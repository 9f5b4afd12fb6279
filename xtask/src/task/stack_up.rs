//! `stack-up`: starts the stack, and proves that it runs.
//!
//! 1. docker and its compose plugin are there, `docker/.env` is complete and has no value of the example left.
//! 2. What Omni keeps is on mounts, if it has a container: `up` may remake it.
//! 3. `docker compose up -d`, with the provider when it is set up; everything anew when the sidecar had ended alone.
//! 4. The containers run, and Omni answers.

use std::time::Duration;

use serde_json::json;

use crate::cli::StackUp;
use crate::flow::apply::{self, Applied};
use crate::flow::omni_stack;
use crate::outcome::Outcome;
use domain::failure::{Code, Failure};
use domain::plan::{Action, Plan};
use runtime::cx::Cx;
use runtime::tool::compose::{Compose, PROVIDER};
use runtime::ui::{Done, Status};

/// From started containers to a healthy Omni takes seconds.
pub const HEALTH: Duration = Duration::from_secs(120);

pub fn run(args: &StackUp, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let compose = Compose::find(cx)?;
    let provider = check(cx, &compose)?;
    let containers = compose.containers()?;
    cx.ui.step("data", "Omni's data is on mounts", || Ok(Done::ok((), omni_stack::guard(cx, &containers)?)))?;
    let recreate = args.recreate || omni_stack::out_of_step(&containers);
    let moved = omni_stack::moved(cx, &containers);
    let plan = plan(provider, recreate, &moved);
    let verb = if recreate { "Recreate" } else { "Start" };
    let question =
        format!("{verb} the containers {}; volumes are kept{moved}", omni_stack::wanted(provider).join(", "));
    if let Applied::Planned(outcome) = apply::run(cx, &plan, &question)? {
        return Ok(outcome);
    }
    let services = omni_stack::wanted(provider);
    cx.ui.step("containers", "the containers run", || {
        omni_stack::wait_until_well(cx, &compose, &services, cx.limit(HEALTH))
    })?;
    if let Some(place) = omni_stack::Place::of(cx) {
        cx.ui.step("omni", "Omni answers", || omni_stack::wait_for_omni(cx, &compose, &place, cx.limit(HEALTH)))?;
    }
    let containers = compose.containers()?;
    let data = json!({ "services": services, "containers": containers, "recreated": recreate });
    let outcome = Outcome::done(format!("the stack runs: {}", services.join(", "))).with(data);
    Ok(if provider { outcome.next("cargo xtask provider-status") } else { outcome.next("cargo xtask provider-setup") })
}

/// Step 1. Returns whether the provider starts too.
fn check(cx: &Cx, compose: &Compose<'_>) -> anyhow::Result<bool> {
    if !cx.paths.env().is_file() {
        return Err(Failure::new(Code::Prerequisite, "`docker/.env` does not exist")
            .cause("the stack has no domain, no identity provider and no tailnet key yet")
            .next("cargo xtask omni-setup")
            .into());
    }
    cx.ui.step("compose", "docker/compose.yaml and docker/.env are complete", || {
        let version = compose.version()?;
        omni_stack::complete(cx)?;
        compose.check()?;
        Ok(Done::ok((), format!("compose {version}")))
    })?;
    match omni_stack::with_provider(cx) {
        Ok(()) => Ok(true),
        Err(why) => {
            cx.ui.note("provider", format!("`{PROVIDER}` stays off"), Status::Skipped, why);
            Ok(false)
        }
    }
}

fn plan(provider: bool, recreate: bool, moved: &str) -> Plan {
    let mut plan = Plan::default();
    let what = match (recreate, provider) {
        (true, _) => "every container recreated, together, since they share one network",
        (false, true) => "what does not run is started, what changed is recreated",
        (false, false) => "what does not run is started, what changed is recreated, the provider left out",
    };
    let effect = format!("{what}; volumes kept{moved}");
    let action = Action::StackUp { provider, recreate };
    plan.push("start", "the stack", effect, "cargo xtask stack-down", action);
    plan
}
