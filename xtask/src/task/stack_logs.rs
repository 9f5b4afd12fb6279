//! `stack-logs`: prints the logs of the stack, with known issues explained.

use crate::cli::StackLogs;
use crate::flow::omni_stack;
use crate::prelude::*;
use runtime::tool::compose::Compose;
use runtime::triage::Issues;

pub fn run(args: &StackLogs, cx: &Cx) -> anyhow::Result<Outcome> {
    let compose = Compose::find(cx)?;
    let issues = Issues::of(cx).map_err(anyhow::Error::msg)?;
    let services = services(args, cx, &compose)?;
    if args.follow {
        omni_stack::follow(cx, &compose, (&services, args.tail), &args.lines, &issues)?;
        return Ok(Outcome::done("the log has ended"));
    }
    let mut logs = serde_json::Map::new();
    let mut named = Vec::new();
    for service in &services {
        let log = compose.log(service, args.tail)?;
        if services.len() > 1 {
            cx.ui.print_data(&format!("==> {service} <=="));
        }
        cx.ui.print_data(&args.lines.render(&log));
        for hit in issues.find(&log) {
            cx.ui.print_data(&cx.ui.advice(&format!("\n{}", hit.shown())));
            let mut finding = serde_json::to_value(&hit)?;
            finding["service"] = Value::from(service.as_str());
            named.push((hit.next(), finding));
        }
        logs.insert(service.clone(), args.lines.document(&log));
    }
    let without = logs.values().all(|log| log.as_array().is_none_or(Vec::is_empty));
    let summary = match named.len() {
        0 if without => {
            format!("no log lines: {} has no container, or has printed nothing", services.join(", "))
        }
        0 => "no known issue in these lines".to_owned(),
        1 => "one known issue in these lines".to_owned(),
        count => format!("{count} known issues in these lines"),
    };
    let mut outcome = Outcome::done(summary);
    for (next, _) in &named {
        if !outcome.next.contains(next) {
            outcome.next.push(next.clone());
        }
    }
    let findings: Vec<Value> = named.into_iter().map(|(_, finding)| finding).collect();
    Ok(outcome.with(json!({ "logs": logs, "known_issues": findings })))
}

/// Returns the named service, or all that have a container.
fn services(args: &StackLogs, cx: &Cx, compose: &Compose<'_>) -> Result<Vec<String>, Failure> {
    let known = omni_stack::services(cx, true);
    if let Some(service) = &args.service {
        if known.contains(service) {
            return Ok(vec![service.clone()]);
        }
        return Err(Failure::new(Code::NotFound, format!("the stack has no service `{service}`"))
            .hint(domain::nearest::suggestion(service, &known.iter().map(String::as_str).collect::<Vec<_>>())));
    }
    let found: Vec<String> = compose.containers()?.into_iter().map(|container| container.service).collect();
    if found.is_empty() {
        return Err(Failure::new(Code::NotFound, "the stack has no containers").next("cargo xtask stack-up"));
    }
    Ok(found)
}
