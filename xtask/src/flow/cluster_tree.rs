//! A cluster as a tree of machine sets and machines, for people.

use domain::status::cluster::{ClusterView, MachineSetView};
use domain::words::count;

/// The cluster as a tree.
pub fn render(view: &ClusterView) -> String {
    let ready = |ready: bool| if ready { "ready" } else { "not ready" };
    let state = if view.tearing_down {
        "being destroyed".to_owned()
    } else {
        format!("{}, {}", view.phase, ready(view.running))
    };
    let mut text = format!("{}  {state}\n", view.name);
    if !view.upgrade.is_empty() {
        text.push_str(&format!("│   {}\n", view.upgrade));
    }
    if view.phase == "Running" && !view.kubernetes_api_ready {
        text.push_str("│   Kubernetes API not ready\n");
    }
    if view.load_balancer_healthy == Some(false) && !view.tearing_down {
        text.push_str("│   load balancer not ready\n");
    }
    for (at, set) in view.machine_sets.iter().enumerate() {
        let last = at + 1 == view.machine_sets.len();
        let (branch, stem) = if last { ("└──", "    ") } else { ("├──", "│   ") };
        let MachineSetView { id, phase, class, wanted, machines, error, .. } = set;
        let up = machines.iter().filter(|machine| machine.ready).count();
        let class = if class.is_empty() { String::new() } else { format!(", class {class}") };
        let wanted = count(*wanted, "machine");
        let line = match phase.as_str() {
            _ if set.tearing_down => format!("{id}  being destroyed{class}"),
            "" => format!("{id}  not looked at yet, {up}/{wanted}{class}"),
            phase => format!("{id}  {phase}, {}, {up}/{wanted}{class}", ready(set.ready)),
        };
        text.push_str(&format!("{branch} {line}\n"));
        if !error.is_empty() {
            text.push_str(&format!("{stem}    error: {error}\n"));
        }
        for (at, machine) in machines.iter().enumerate() {
            let twig = if at + 1 == machines.len() { "└──" } else { "├──" };
            let name = machine.name();
            let wait =
                if machine.waits_for.is_empty() { String::new() } else { format!("  waits for {}", machine.waits_for) };
            let error = if machine.error.is_empty() { String::new() } else { format!("  error: {}", machine.error) };
            text.push_str(&format!("{stem}{twig} {name}  {}{wait}{error}\n", machine.stage));
        }
    }
    text
}
