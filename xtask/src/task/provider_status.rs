//! `provider-status`: the stack's containers and the provider's last log lines, with known errors explained.
//!
//! Queries only docker, so it also works when Omni and Proxmox are unreachable, which is when it is needed.

use crate::cli::ProviderStatus;
use crate::flow::{omni_stack, provider, provider_log};
use crate::prelude::*;
use check::stack;
use domain::status::docker::Container;
use domain::words;
use runtime::parallel;
use runtime::tool::compose::{Compose, SIDECAR};
use runtime::triage::{Hit, Issues};
use runtime::ui::{Check, table};

enum Part {
    Containers(Vec<Container>),
    Log(String),
}

pub fn run(args: &ProviderStatus, cx: &Cx) -> anyhow::Result<Outcome> {
    match args.follow {
        true => show_provider(args, &cx.for_single_provider()?),
        false => provider::for_each(cx, |cx| show_provider(args, cx)),
    }
}

fn show_provider(args: &ProviderStatus, cx: &Cx) -> anyhow::Result<Outcome> {
    let service = cx.settings.provider_service();
    let compose = Compose::find(cx)?;
    if args.follow {
        let issues = Issues::for_provider_log(cx).map_err(anyhow::Error::msg)?;
        omni_stack::follow(cx, &compose, (&[service], args.tail), &args.lines, &issues)?;
        return Ok(Outcome::done("the log has ended"));
    }
    let checks = vec![
        Check::new("containers", "Check the stack's containers", || omni_stack::running(&compose, Part::Containers)),
        Check::new("log", "Read the provider's log", || {
            let log = compose.log(&service, args.tail)?;
            let count = log.lines().count();
            Ok(StepResult::ok(Part::Log(log), words::count(count, "line")))
        }),
    ];
    // The known issues are loaded while docker responds.
    let (asked, issues) =
        parallel::run_both(|| cx.ui.run_checks("querying docker", checks), || Issues::for_provider_log(cx));
    let (mut containers, mut log) = (Vec::new(), String::new());
    for result in asked {
        match result {
            Ok(Part::Containers(found)) => containers = found,
            Ok(Part::Log(found)) => log = found,
            Err(error) => {
                if !runtime::proc::is_interrupted() {
                    provider::try_remember_health(cx, "unknown");
                }
                return Err(error);
            }
        }
    }
    let issues = issues.map_err(anyhow::Error::msg)?;
    let unsettled = provider_log::unresolved(&log);
    let known = issues.find_newest_first(&unsettled);
    show(cx, &containers, &args.lines.render(&log), &known);
    let container = stack::service(&containers, &service);
    let health = match container {
        Some(container)
            if container.is_healthy() && known.is_empty() && containers.iter().all(Container::is_healthy) =>
        {
            "healthy"
        }
        Some(container) if container.is_healthy() => "degraded",
        _ => "down",
    };
    provider::try_remember_health(cx, health);
    let named: Vec<_> = known
        .iter()
        .map(|hit| json!({"id": hit.issue.id, "title": hit.issue.title, "line": hit.text, "cause": hit.cause(), "fix": hit.fix(), "next": hit.next()}))
        .collect();
    let data = json!({
        "provider_status": health, "containers": containers, "log": args.lines.document(&log), "known_issues": named,
    });
    let sidecar_down = containers.iter().any(|other| other.service == SIDECAR && !other.is_healthy());
    match container {
        Some(container) if container.is_healthy() => {
            let summary = match known.len() {
                0 => format!("{} runs: {}", provider::label(cx), container.status),
                issues => {
                    format!("{} runs, and its log shows {}", provider::label(cx), words::count(issues, "known issue"))
                }
            };
            let mut next: Vec<String> = Vec::new();
            for command in known.iter().map(Hit::next) {
                // Its log is printed above.
                if !next.contains(&command) && !command.contains("provider-status") {
                    next.push(command);
                }
            }
            if provider::has_clusters(cx) || health != "healthy" {
                next.push(provider::EXPLAIN.to_owned());
            } else if next.is_empty() {
                next.push("cargo xtask provider-verify".to_owned());
            }
            Ok(next.into_iter().fold(Outcome::done(summary).with(data), Outcome::next))
        }
        Some(container) => {
            let failure = Failure::new(Code::Failed, format!("{} is not running", provider::label(cx)))
                .cause(container.status.clone());
            Err(match known.first() {
                Some(hit) => failure.hint(hit.hint()).next(hit.next()),
                None if container.state == "restarting" || sidecar_down => {
                    failure.hint("its last log lines are above").next(provider::EXPLAIN)
                }
                None => failure.hint("its last log lines are above; start it again").next("cargo xtask stack-up"),
            }
            .with(data)
            .into())
        }
        None => Err(provider::no_container(cx, &containers).with(data).into()),
    }
}

fn show(cx: &Cx, containers: &[Container], log: &str, known: &[Hit<'_>]) {
    let row =
        |container: &Container| vec![container.service.clone(), container.status.clone(), container.image.clone()];
    cx.ui.print_states(&table(&["SERVICE", "STATUS", "IMAGE"], containers.iter().map(row)));
    if !log.trim().is_empty() {
        cx.ui.print_data(&format!("\n{log}"));
    }
    for hit in known {
        cx.ui.print_data(&cx.ui.advice(&format!("\n{}", hit.shown())));
    }
}
