//! A cluster as a tree of machine sets and machines, for people.

use crate::prelude::*;
use check::timeline;
use domain::clock;
use domain::status::cluster::{ClusterView, MachineSetView, MachineView};
use runtime::ui::Row;

use crate::flow::cluster_output::format_age;

/// Renders the tree.
pub fn render(view: &ClusterView) -> String {
    rows(view, None).iter().map(|row| format!("{}\n", row.text)).collect()
}

/// Shows the tree below the spinner of a wait.
pub fn show(cx: &Cx, view: &ClusterView) {
    cx.ui.show_rows(&rows(view, Some(cx.now())));
}

/// Returns the lines of the tree; with `now`, machines that are not ready show their current step and its age.
pub fn rows(view: &ClusterView, now: Option<u64>) -> Vec<Row> {
    let ready = |ready: bool| if ready { "ready" } else { "not ready" };
    let state = if view.tearing_down {
        "being destroyed".to_owned()
    } else {
        format!("{}, {}", view.phase, ready(view.running))
    };
    let heading = |text: String| Row::new(text, None);
    let mut rows = vec![heading(format!("{}  {state}", view.name))];
    if !view.upgrade.is_empty() {
        rows.push(heading(format!("│   {}", view.upgrade)));
    }
    if view.phase == "Running" && !view.kubernetes_api_ready {
        rows.push(heading("│   Kubernetes API not ready".to_owned()));
    }
    if view.load_balancer_healthy == Some(false) && !view.tearing_down {
        rows.push(heading("│   load balancer not ready".to_owned()));
    }
    // Omni's clock may be ahead of this host's.
    let newest = view.machines().filter_map(|machine| clock::parse_rfc3339(&machine.since)).max();
    let now = now.map(|now| now.max(newest.unwrap_or(0)));
    for (at, set) in view.machine_sets.iter().enumerate() {
        let last = at + 1 == view.machine_sets.len();
        let (branch, stem) = if last { ("└──", "    ") } else { ("├──", "│   ") };
        let MachineSetView { id, phase, class, wanted, machines, error, .. } = set;
        let up = machines.iter().filter(|machine| machine.ready).count();
        let class = if class.is_empty() { String::new() } else { format!(", class {class}") };
        let wanted = count(*wanted, "machine");
        let line = match phase.as_str() {
            _ if set.tearing_down => format!("{id}  being destroyed{class}"),
            "" => format!("{id}  not checked yet, {up}/{wanted}{class}"),
            phase => format!("{id}  {phase}, {}, {up}/{wanted}{class}", ready(set.ready)),
        };
        rows.push(heading(format!("{branch} {line}")));
        if !error.is_empty() {
            rows.push(heading(format!("{stem}    error: {error}")));
        }
        for (at, machine) in machines.iter().enumerate() {
            let twig = if at + 1 == machines.len() { "└──" } else { "├──" };
            let text = format!("{stem}{twig} {}", describe_machine(machine, now));
            rows.push(Row::new(text, Some(machine.ready && !machine.leaving)));
        }
    }
    rows
}

fn describe_machine(machine: &MachineView, now: Option<u64>) -> String {
    let mut text = format!("{}  {}", machine.name(), machine.stage);
    if let Some(now) = now.filter(|_| !machine.ready) {
        let since = clock::parse_rfc3339(&machine.since).map(|since| format_age(now.saturating_sub(since)));
        let parts: Vec<String> = timeline::step(machine).into_iter().chain(since).collect();
        text.push_str(&format!("  {}", parts.join(", ")));
    }
    if !machine.waits_for.is_empty() {
        text.push_str(&format!("  waits for {}", machine.waits_for));
    }
    if !machine.error.is_empty() {
        text.push_str(&format!("  error: {}", machine.error));
    }
    text
}
