//! Problems with the providers of a cluster: a container that is not running, or a provider that Omni does not hear from.

use std::collections::BTreeSet;

use super::{OutsideFacts, add_issue_in_log, rotation};
use crate::flow::{provider, provider_log};
use check::explain::{Cause, Link};
use check::stack;
use domain::status::cluster::{Actor, ClusterView, MachineView};
use domain::status::docker::Container;
use domain::status::omni::ProviderHealth;
use domain::status::proxmox::Observed;
use runtime::cx::Cx;
use runtime::tool::compose::{Compose, OMNI, PROVIDER, SIDECAR};
use runtime::tool::omnictl::Omnictl;
use runtime::triage::Issues;

/// Returns the cause if a provider is stopped or Omni does not hear from it, and the time of its last heartbeat.
pub(super) fn provider(
    cx: &Cx,
    omnictl: Option<&Omnictl<'_>>,
    view: Option<&ClusterView>,
    around: &OutsideFacts,
) -> (Observed<Option<Cause>>, u64) {
    let own = cx.provider_ids();
    let ours = |id: &str| own.iter().any(|own| own == id);
    let waiting = view.into_iter().flat_map(ClusterView::machines).filter(|machine| machine.party == Actor::Provider);
    let mut ids: BTreeSet<&str> =
        waiting.map(|machine| machine.provider.as_str()).filter(|id| !id.is_empty()).collect();
    if ids.is_empty() {
        ids.insert(&own[0]);
    }
    let leaves = |id: &str| {
        let leaves = |machine: &MachineView| machine.leaving && machine.provider == id;
        view.is_some_and(|view| view.tearing_down || view.machines().any(leaves))
    };
    let mut beat = 0;
    for id in ids {
        if let Some(cause) = container(cx, id, ours(id), leaves(id), around) {
            return (Observed::Known(Some(cause)), beat);
        }
        let registered = match (omnictl, &around.registered) {
            (Some(_), Some(found)) if id == own[0] => found.clone().map_err(|failure| failure.message),
            (Some(omnictl), _) => provider::registration(cx, omnictl, id).map_err(|failure| failure.message),
            (None, _) => Err(around
                .containers
                .as_ref()
                .err()
                .map_or("Omni could not be queried".to_owned(), |why| why.message.clone())),
        };
        match registered {
            // Its container shows whether it runs.
            Err(why) => {
                let runs = |found: &Vec<Container>| found.iter().any(|found| Compose::is_provider(&found.service));
                let known = around.containers.as_ref().is_ok_and(runs);
                return (if known { Observed::Known(None) } else { Observed::Unknown(why) }, beat);
            }
            Ok(Some(health)) if health.is_healthy() => {
                beat = beat.max(health.heartbeat_at);
            }
            // One heartbeat may be late.
            Ok(Some(health)) if health.error.is_empty() && health.heartbeat_age.is_some_and(|age| age < 61) => {}
            Ok(found) => {
                let cause = no_heartbeat(cx, id, ours(id), found);
                // A provider that keeps exiting runs for a moment each time.
                let known = cx.for_provider(id).ok().filter(|_| ours(id) && cause.id == "provider-silent");
                let known = known.and_then(|own| Issues::for_provider_log(&own).ok());
                let log = provider_log::unresolved(around.site(id).map_or("", |site| &site.log));
                let mut cause = known.map_or(cause.clone(), |issues| add_issue_in_log(&issues, &log, cause));
                if let Some(step) = cause.next.first().and_then(|next| rotation(next)) {
                    cause.step = Some(step);
                }
                return (Observed::Known(Some(cause)), beat);
            }
        }
    }
    (Observed::Known(None), beat)
}

fn provider_cause(id: &str, cause: &str, words: &str) -> Cause {
    Cause::new(Link::ProviderStep, cause, format!("the provider `{id}`: {words}"))
}

/// Checks the provider's container. If the stack runs on another host, Docker does not know it.
fn container(cx: &Cx, id: &str, ours: bool, leaves: bool, around: &OutsideFacts) -> Option<Cause> {
    let found =
        around.containers.as_ref().ok().filter(|found| ours && found.iter().any(|found| found.service == OMNI))?;
    let service = |name: &str| stack::service(found, name);
    let explained = |cause: Cause, log: &str| match Issues::of(cx) {
        Ok(issues) => add_issue_in_log(&issues, &provider_log::unresolved(log), cause),
        Err(_) => cause,
    };
    // The other containers share its network, and none starts before it is healthy.
    if let Some(sidecar) = service(SIDECAR).filter(|sidecar| !sidecar.is_healthy()) {
        let state = if sidecar.state == "running" { "unhealthy" } else { &sidecar.state };
        let words = format!("the sidecar, whose network Omni and the provider share, is {state}");
        let cause = Cause::new(Link::ProviderStep, "sidecar-down", words).evidence(sidecar.status.clone());
        let cause = match sidecar.state.as_str() {
            "created" => cause
                .task("start it: docker then reports what it refuses: a port, an address or a device", &["stack-up"]),
            _ => cause.task(
                "recreate all containers together: any that are not recreated keep a dead network",
                &["stack-up", "--recreate"],
            ),
        };
        let log = Compose::find(cx).and_then(|compose| compose.log(SIDECAR, 60)).unwrap_or_default();
        return Some(explained(cause, &log));
    }
    let fix = match leaves {
        true => "start it: it has to delete the VMs, and then Omni removes the machines by itself",
        false => "start it; Omni keeps the machine requests, and the provider resumes them by itself",
    };
    let own = cx.for_provider(id).map_or(PROVIDER.to_owned(), |cx| cx.settings.provider_service());
    match service(&own) {
        None => Some(
            provider_cause(id, "provider-missing", "it has no container")
                .task(fix, &provider_task(cx, id, "provider-setup")),
        ),
        Some(container) if container.keeps_exiting() => {
            let cause = provider_cause(id, "provider-exits", &format!("it keeps exiting: {}", container.status));
            let log = around.site(id).map_or("", |site| &site.log);
            Some(explained(cause.fix("read its log for the reason", status_command(cx, id)), log))
        }
        Some(container) if container.state != "running" => {
            let words = format!("its container is not running: {}", container.status);
            Some(provider_cause(id, "provider-stopped", &words).task(fix, &["stack-up"]))
        }
        Some(_) => None,
    }
}

/// A task for this provider, which is named if there are several.
pub(super) fn provider_task<'a>(cx: &Cx, id: &'a str, task: &'a str) -> Vec<&'a str> {
    let named = cx.settings.provider.is_some() || cx.provider_ids().len() > 1;
    if named { vec![task, "--provider", id] } else { vec![task] }
}

fn status_command(cx: &Cx, id: &str) -> String {
    format!("cargo xtask {}", provider_task(cx, id, "provider-status").join(" "))
}

fn no_heartbeat(cx: &Cx, id: &str, ours: bool, found: Option<ProviderHealth>) -> Cause {
    let log = status_command(cx, id);
    match found {
        None if ours => provider_cause(id, "provider-missing", "Omni has no provider of this name")
            .task("set it up", &provider_task(cx, id, "provider-setup")),
        None => provider_cause(id, "provider-unknown", "Omni has no provider of this name")
            .fix("in the machine class, specify a provider that Omni has", "omnictl infraprovider list"),
        Some(health) if health.connected => {
            provider_cause(id, "provider-unwell", &health.describe()).fix("read its log for the reason", log)
        }
        Some(health) => {
            provider_cause(id, "provider-silent", &format!("it is not connected to Omni ({})", health.describe()))
                .fix("check that it runs and read its log; a wrong clock has the same effect", log)
        }
    }
}
