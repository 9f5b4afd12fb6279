//! `omni-status`: the stack's containers, ports and mounts, and the last log lines.render Omni and the sidecar, with known issues
//! explained.
//!
//! Queries only docker, so it also works when Omni is unreachable, which is when it is needed.

use std::collections::BTreeMap;

use crate::cli::{Lines, OmniStatus};
use crate::flow::omni_stack;
use crate::prelude::*;
use check::stack;
use domain::status::docker::Container;
use domain::words;
use runtime::tool::compose::{Compose, OMNI, SIDECAR};
use runtime::triage::Issues;
use runtime::ui::{Check, table};

enum Part {
    Containers(Vec<Container>),
    Log(&'static str, String),
}

pub fn run(args: &OmniStatus, cx: &Cx) -> anyhow::Result<Outcome> {
    let compose = Compose::find(cx)?;
    let issues = Issues::of(cx).map_err(anyhow::Error::msg)?;
    let log = |service: &'static str| {
        let compose = &compose;
        Check::new(service, format!("the log of {service}"), move || {
            let log = compose.log(service, args.tail)?;
            let lines = words::count(log.lines().count(), "line");
            Ok(StepResult::ok(Part::Log(service, log), lines))
        })
    };
    let checks = vec![
        Check::new("containers", "Check the stack's containers", || omni_stack::running(&compose, Part::Containers)),
        log(SIDECAR),
        log(OMNI),
    ];
    let (mut containers, mut logs) = (Vec::new(), Vec::new());
    for result in cx.ui.run_checks("querying docker", checks) {
        match result? {
            Part::Containers(found) => containers = found,
            Part::Log(service, text) => logs.push((service, text)),
        }
    }
    let mounts = omni_stack::guard(cx, &containers);
    show(cx, &containers, &logs, &mounts, &args.lines);
    let mut known = Vec::new();
    for (service, text) in &logs {
        for hit in issues.find_newest_first(text) {
            cx.ui.print_data(&cx.ui.advice(&format!("\n{}", hit.shown())));
            known.push(json!({ "service": service, "finding": hit }));
        }
    }
    let bad = |service: &str| {
        let found = stack::service(&containers, service);
        found.is_none_or(|container| !container.is_healthy())
    };
    let down = bad(OMNI) || bad(SIDECAR);
    let lost = mounts.as_ref().is_err_and(|failure| failure.code == Code::Conflict);
    let health = if down {
        "down"
    } else if lost || !known.is_empty() {
        "degraded"
    } else {
        "healthy"
    };
    let data = json!({
        "omni_status": health, "containers": containers, "known_issues": known,
        "data": mounts.as_ref().map_or_else(|failure| failure.to_string(), Clone::clone),
        "logs": logs.iter().map(|(service, text)| (*service, args.lines.document(text))).collect::<BTreeMap<_, _>>(),
    });
    if !down {
        let summary = format!("Omni's containers run; {health}");
        return Ok(Outcome::done(summary).with(data).next("cargo xtask omni-verify"));
    }
    let status = |container: &Container| format!("{}: {}", container.service, container.status);
    let words: Vec<String> = containers.iter().filter(|container| !container.is_healthy()).map(status).collect();
    let cause = if containers.is_empty() { "the stack is not up".to_owned() } else { words.join("\n") };
    let failure = Failure::new(Code::Failed, "Omni is not running").cause(cause).with(data);
    let worst = logs.iter().find_map(|(_, text)| issues.find_newest_first(text).into_iter().next());
    Err(match worst {
        Some(hit) => failure.hint(hit.hint()).next(hit.next()),
        None if !cx.paths.env().is_file() => failure.hint("nothing is set up yet").next("cargo xtask omni-setup"),
        None => failure.next("cargo xtask stack-up"),
    }
    .into())
}

fn show(cx: &Cx, containers: &[Container], logs: &[(&str, String)], mounts: &Result<String, Failure>, lines: &Lines) {
    let ports = |container: &Container| {
        let published = container.publishers.iter().flatten().filter(|port| port.published != 0);
        let mut ports: Vec<String> = published.map(|port| format!("{}/{}", port.published, port.protocol)).collect();
        ports.dedup();
        ports.join(" ")
    };
    let row = |container: &Container| {
        vec![container.service.clone(), container.status.clone(), container.image.clone(), ports(container)]
    };
    cx.ui.print_states(&table(&["SERVICE", "STATUS", "IMAGE", "PORTS"], containers.iter().map(row)));
    match mounts {
        Ok(detail) => cx.ui.print_data(&format!("\ndata: {detail}")),
        Err(failure) => cx.ui.print_data(&format!("\ndata: {failure}")),
    }
    for (service, text) in logs.iter().filter(|(_, text)| !text.trim().is_empty()) {
        cx.ui.print_data(&format!("\n==> {service} <==\n{}", lines.render(text)));
    }
}
