//! `provider-verify`: checks the provider end to end, all checks in parallel.
//!
//! 1. The provider's key is its own, and has not expired.
//! 2. Every container of the stack is running, and healthy if it has a health check.
//! 3. Omni responds as Omni.
//! 4. Proxmox accepts the provider's own login from `docker/config.yaml`.
//! 5. That login has every privilege that the provider needs, by the rules of `proxmox-audit`.
//! 6. Omni has heard from the provider within the last minute, and the provider reports no error.
//!
//! The result is saved in the state, even a bad one: the plugin greets each new session with it.

use std::sync::OnceLock;

use crate::flow::{audit, doctor, omni_stack, provider, proxmox};
use crate::prelude::*;
use domain::status::docker::Container;
use runtime::tool::compose::{Compose, SIDECAR};
use runtime::tool::omni;
use runtime::tool::omnictl::{Omnictl, missing_endpoint};
use runtime::ui::Check;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    provider::for_each(cx, verify_one)
}

fn verify_one(cx: &Cx) -> anyhow::Result<Outcome> {
    let service = cx.settings.provider_service();
    let id = cx.settings.provider_id(None).value;
    if let Ok(proxmox) = proxmox::configured(cx) {
        proxmox::report_conflicts(cx, &proxmox);
    }
    let stack = OnceLock::new();
    let found = || stack.get_or_init(|| Compose::find(cx)?.containers());
    let checks = vec![
        // Without a key the provider does not start.
        Check::new("key", "Check the provider's key", || check_key(cx)),
        Check::new("containers", "Check that the stack's containers run", || {
            check_containers(cx, found().as_ref().map_err(Clone::clone)?)
        }),
        Check::new("omni", "Check that Omni answers", || {
            let endpoint = cx.settings.omni_endpoint(None).ok_or_else(missing_endpoint)?;
            let ca_file = cx.settings.ca_file(None).map(|found| found.value);
            omni::check_health(cx, &endpoint.value, ca_file.as_deref())?;
            Ok(StepResult::ok((), format!("{} ({})", endpoint.value, endpoint.origin)))
        }),
        Check::new("proxmox", "Check that Proxmox accepts the provider's login", || {
            let proxmox = proxmox::configured(cx)?;
            let version = proxmox.version(cx)?;
            let detail = format!("{}, version {version}, as {}", proxmox.url, proxmox.login.id());
            Ok(match proxmox::password_advice(&proxmox.login) {
                Some(advice) => StepResult::warning((), format!("{detail}: {advice}")),
                None => StepResult::ok((), detail),
            })
        }),
        Check::new("permissions", "Check the privileges of the provider's login", || check_permissions(cx)),
        Check::new("registration", format!("Check the registration of provider `{id}`"), || {
            let container = || found().as_ref().ok()?.iter().find(|container| container.service == service);
            registered(cx, &id, container)
        }),
    ];
    let ids = ["key", "containers", "omni", "proxmox", "permissions", "registration"];
    let results = cx.ui.run_checks("checking the provider", checks);
    if runtime::proc::is_interrupted() {
        // Checks that were interrupted reveal nothing about the provider.
        return Err(runtime::proc::interruption("checking the provider").into());
    }
    let failures: Vec<(&str, Failure)> =
        ids.iter().zip(&results).filter_map(|(id, result)| Some((*id, Failure::of(result.as_ref().err()?)))).collect();
    let unasked = failures.iter().all(|(_, failure)| matches!(failure.code, Code::MissingInput | Code::Prerequisite));
    let health = match failures.len() {
        0 => "healthy",
        _ if unasked => "unknown",
        _ if failures.iter().any(|(id, _)| matches!(*id, "containers" | "registration")) => "down",
        _ => "degraded",
    };
    provider::try_remember_health(cx, health);
    let data = json!({ "provider_id": id, "provider_status": health });
    let Some((_, first)) = failures.first().cloned() else {
        return Ok(Outcome::done(format!("the provider `{id}` is healthy")).with(data).next(provider::next_step(cx)));
    };
    // With JSON output, the document already has them in its steps.
    for (_, failure) in failures[1..].iter().filter(|_| !cx.ui.json()) {
        cx.ui.fail(failure);
    }
    let next = if first.next.is_empty() { vec![provider::EXPLAIN.to_owned()] } else { first.next.clone() };
    Err(Failure { next, ..first.with(data) }.into())
}

/// Checks the provider's key as `doctor` does: compose and `provider-setup` read it from the same place.
fn check_key(cx: &Cx) -> anyhow::Result<StepResult<()>> {
    let checks = doctor::CHECKS.iter().filter(|entry| entry.id == "keys.provider");
    let Some(found) = doctor::verdicts(cx, checks).pop() else { return Ok(StepResult::skipped((), "")) };
    let fix = found.fix().to_owned();
    doctor::step_result(found.verdict, |wrong| {
        let failure = Failure::new(Code::Failed, "the provider's key cannot be used").cause(wrong.detail);
        failure.hint(fix).next("cargo xtask keys --rotate provider")
    })
}

fn check_containers(cx: &Cx, found: &[Container]) -> anyhow::Result<StepResult<()>> {
    let service = cx.settings.provider_service();
    if !found.iter().any(|container| container.service == service) {
        return Err(provider::no_container(cx, found).into());
    }
    let bad = omni_stack::unhealthy(found);
    if bad.is_empty() {
        return Ok(StepResult::ok((), format!("{} of {}", found.len(), found.len())));
    }
    let mut failure = Failure::new(Code::Failed, "containers of the stack are not running").cause(bad.join("\n"));
    if found.iter().any(|container| container.service == service && container.keeps_exiting()) {
        failure = provider::explain_by_log(cx, failure);
    }
    // Docker itself restarts a container that keeps exiting, and the others need the network of the sidecar.
    if failure.next.is_empty() {
        let ended = |container: &Container| {
            !["restarting", "running"].contains(&container.state.as_str()) && container.service != SIDECAR
        };
        let all = found.iter().all(|container| container.is_healthy() || ended(container));
        failure = failure.next(if all { "cargo xtask stack-up" } else { provider::EXPLAIN });
    }
    Err(failure.into())
}

/// Checks the privileges of the provider's login; skipped if Proxmox cannot be queried, which another check reports.
fn check_permissions(cx: &Cx) -> anyhow::Result<StepResult<()>> {
    match proxmox::configured(cx).and_then(|proxmox| audit::summary(cx, &proxmox, &|_| true)) {
        Ok(audit::Summary { missing: None, present }) => {
            Ok(StepResult::ok((), format!("{} present", count(present, "privilege"))))
        }
        Ok(audit::Summary { missing: Some(failure), .. }) => Err(failure.into()),
        Err(failure) if failure.code == Code::Interrupted => Err(failure.into()),
        Err(failure) => Ok(StepResult::skipped((), format!("Proxmox could not be queried: {}", failure.message))),
    }
}

/// Checks that Omni hears from the provider. Omni shows a provider as connected for a while after its end, so the state of its
/// container takes precedence if it is known. Waits for a provider that has just started.
fn registered<'a>(cx: &Cx, id: &str, container: impl Fn() -> Option<&'a Container>) -> anyhow::Result<StepResult<()>> {
    let omnictl = Omnictl::find(cx)?;
    let mut health = provider::registration(cx, &omnictl, id)?;
    if let Some(container) = container() {
        if container.state != "running" {
            return Ok(StepResult::warning((), format!("its container is not running: {}", container.status)));
        }
        let up = container.uptime().filter(|up| *up < provider::FIRST_HEARTBEAT);
        if let (Some(up), Some(silent)) = (up, health.as_ref().filter(|health| health.initialized && !health.connected))
        {
            let words = silent.describe();
            let Some(heard) =
                provider::first_heartbeat(cx, &omnictl, id, provider::FIRST_HEARTBEAT.saturating_sub(up))?
            else {
                let detail =
                    format!("{words}; its container started {} s ago: the first takes up to 30 s", up.as_secs());
                return Ok(StepResult::warning((), detail));
            };
            health = Some(heard);
        }
    }
    match health {
        Some(health) if health.is_healthy() => Ok(StepResult::ok((), health.describe())),
        Some(health) => {
            let failure = Failure::new(Code::Failed, format!("the provider `{id}` is not connected to Omni"))
                .cause(health.describe())
                .hint("read the provider's log; a clock that is off by more than 31 s has the same effect");
            let failure = provider::explain_by_log(cx, failure);
            Err(failure.next("cargo xtask provider-status").next(provider::EXPLAIN).into())
        }
        None => Err(Failure::new(Code::Failed, format!("Omni knows no provider `{id}`"))
            .cause("it was never created there, or has a different ID; IDs are case-sensitive")
            .hint("`omnictl infraprovider list` lists the providers that it knows")
            .next("cargo xtask provider-setup")
            .into()),
    }
}
