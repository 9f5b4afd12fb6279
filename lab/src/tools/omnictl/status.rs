//! `omnictl cluster status` and `omnictl cluster template status` (client/pkg/template/operations/status.go,
//! internal/statustree).

use std::time::{Duration, Instant};

use super::args::Parsed;
use super::client::{Client, Fail};
use super::template;
use crate::omni::names::*;
use crate::omni::query::Term;
use crate::omni::resource::{Key, Resource};
use crate::tools::out;

/// The default of `--wait`.
const WAIT: Duration = Duration::from_secs(300);

/// Of the cluster that a template names.
pub fn template(client: &mut Client, parsed: &Parsed) -> Result<(), Fail> {
    let template = template::load_file(client.release, parsed.text("file"), parsed.text("allowed-dir"))?;
    template.validate()?;
    let name = template.cluster_name()?;
    cluster(client, &name, parsed)
}

/// Prints the tree until the cluster is healthy or the wait is over. A cluster that does not exist is waited for, with
/// `--wait 0` for ever.
pub fn cluster(client: &mut Client, name: &str, parsed: &Parsed) -> Result<(), Fail> {
    let wait = parsed.time("wait").unwrap_or(WAIT);
    let deadline = (!wait.is_zero()).then(|| Instant::now() + wait);
    let quiet = parsed.on("quiet");
    let (mut shown, mut begun, mut revision) = (String::new(), false, 0);
    // The tree is drawn anew once a second at most, at the field's pace.
    let tick = Duration::from_secs_f64((1.0 / client.clock).clamp(0.005, 1.0));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(Fail::Said("context deadline exceeded".to_owned()));
        }
        if let Some((text, healthy)) = draw(client, name)? {
            if !quiet && text != shown {
                out(&text);
                shown = text;
            }
            // With --quiet only the first look counts.
            if healthy && (!quiet || !begun) {
                return Ok(());
            }
            if wait.is_zero() {
                return Err(Fail::Said("cluster is not healthy".to_owned()));
            }
            begun = true;
        }
        let most = left.unwrap_or(Duration::from_secs(60)).min(Duration::from_secs(60));
        revision = client.change(revision, u64::try_from(most.as_millis()).unwrap_or(60_000).max(1))?;
        std::thread::sleep(tick.min(most));
    }
}

/// The tree and whether all of it is well; nothing while the cluster has no status.
fn draw(client: &mut Client, name: &str) -> Result<Option<(String, bool)>, Fail> {
    let Some(status) = client.find(&Key::new(CLUSTER_STATUS, DEFAULT, name))? else { return Ok(None) };
    let of_cluster = || vec![Term::equal(L_CLUSTER, name)];
    let mut lists = Vec::new();
    for typ in [
        KUBERNETES_UPGRADE_STATUS,
        TALOS_UPGRADE_STATUS,
        MACHINE_SET_STATUS,
        LOAD_BALANCER_STATUS,
        CONTROL_PLANE_STATUS,
        CLUSTER_MACHINE_STATUS,
    ] {
        lists.push(client.list(typ, DEFAULT, of_cluster())?);
    }
    let [kubernetes, talos, sets, balancers, controls, machines] = &mut lists[..] else { return Ok(None) };
    let default_workers = format!("{name}-workers");
    sets.sort_by_key(|set| (set.label(L_CONTROL_PLANE).is_none(), set.md.id != default_workers, set.md.id.clone()));
    let done = |upgrade: &Resource| upgrade.spec["phase"] == 2;
    let healthy = status.spec["phase"] == 3
        && status.spec["ready"] == true
        && sets.iter().all(|set| set.spec["phase"] == 3 && set.spec["ready"] == true)
        && kubernetes.iter().chain(talos.iter()).all(done);
    let mut children: Vec<(String, Vec<String>)> = Vec::new();
    for (list, title) in [(&*kubernetes, "Kubernetes Upgrade"), (&*talos, "Talos Upgrade")] {
        for upgrade in list.iter() {
            let step = upgrade.spec["step"].as_str().unwrap_or_default();
            children.push((format!("{title} {} {step}", upgrade_phase(upgrade, title)), Vec::new()));
        }
    }
    for set in sets.iter() {
        let control_plane = set.label(L_CONTROL_PLANE).is_some();
        let mut below = Vec::new();
        if control_plane {
            below.extend(
                balancers.iter().map(|found| format!("Load Balancer {}", ready(found.spec["healthy"] == true))),
            );
            below.extend(controls.iter().map(|found| format!("Status Checks {}", checks(found))));
        }
        let own = machines.iter().filter(|machine| machine.label(L_MACHINE_SET) == Some(&set.md.id));
        below.extend(own.map(machine_line));
        children.push((set_line(set, name, control_plane), below));
    }
    let text = tree(&cluster_line(&status), &children);
    Ok(Some((text, healthy)))
}

fn ready(ready: bool) -> &'static str {
    if ready { "Ready" } else { "Not Ready" }
}

fn counts(status: &Resource) -> (u64, u64) {
    let number = |field: &str| status.spec["machines"][field].as_u64().unwrap_or(0);
    (number("healthy"), number("total"))
}

fn named(names: &[&'static str], value: &serde_json::Value) -> &'static str {
    value.as_u64().and_then(|number| names.get(number as usize)).copied().unwrap_or("Unknown")
}

fn cluster_line(status: &Resource) -> String {
    let phase = named(&["UNKNOWN", "SCALING_UP", "SCALING_DOWN", "RUNNING", "DESTROYING"], &status.spec["phase"]);
    let (healthy, total) = counts(status);
    let ready = ready(status.spec["ready"] == true);
    format!("Cluster {:?} {phase} {ready} ({healthy}/{total}) (healthy/total)", status.md.id)
}

fn set_line(set: &Resource, cluster: &str, control_plane: bool) -> String {
    let title = match control_plane {
        true => "Control Plane",
        false if set.md.id == format!("{cluster}-workers") => "Workers",
        false => "Additional Workers",
    };
    let phases =
        ["Unknown", "ScalingUp", "ScalingDown", "Running", "Destroying", "Failed", "Reconfiguring", "Upgrading"];
    let (healthy, total) = counts(set);
    let ready = ready(set.spec["ready"] == true);
    format!("{title} {:?} {} {ready} ({healthy}/{total})", set.md.id, named(&phases, &set.spec["phase"]))
}

fn upgrade_phase(upgrade: &Resource, title: &str) -> &'static str {
    let mut phases = vec!["Unknown", "Upgrading", "Done", "Failed", "Reverting"];
    if title.starts_with("Talos") {
        phases.push("UpdatingMachineSchematics");
    }
    named(&phases, &upgrade.spec["phase"])
}

fn checks(status: &Resource) -> String {
    let conditions = status.spec["conditions"].as_array().into_iter().flatten();
    let failing: Vec<&str> = conditions
        .filter(|condition| condition["status"] == 2)
        .map(|condition| named(&["UnknownCondition", "Etcd", "WireguardConnection"], &condition["type"]))
        .collect();
    if failing.is_empty() { "OK".to_owned() } else { format!("Failing: [{}]", failing.join(" ")) }
}

fn machine_line(machine: &Resource) -> String {
    let stages = [
        "UNKNOWN",
        "BOOTING",
        "INSTALLING",
        "CONFIGURING",
        "RUNNING",
        "DESTROYING",
        "UPGRADING",
        "REBOOTING",
        "SHUTTING_DOWN",
        "BEFORE_DESTROY",
        "POWERING_ON",
        "POWERED_OFF",
    ];
    let stage = named(&stages, &machine.spec["stage"]);
    let node = match machine.label(L_NODE_NAME) {
        None | Some("") => String::new(),
        Some(name) => format!("({name})"),
    };
    let mut line = format!("Machine {:?}{node} {stage}", machine.md.id);
    if machine.spec["stage"] == 4 {
        line.push_str(&format!(" {}", ready(machine.spec["ready"] == true)));
    }
    if machine.label(L_CONNECTED).is_none() {
        line.push_str(" Unreachable");
    }
    if machine.spec["configuptodate"] != true {
        line.push_str(" Config Outdated");
    }
    if machine.spec["configapplystatus"] == 3 {
        line.push_str(" Config Apply Failed");
    }
    line
}

/// The branches as xlab/treeprint draws them.
fn tree(root: &str, children: &[(String, Vec<String>)]) -> String {
    let mut out = format!("{root}\n");
    for (number, (line, below)) in children.iter().enumerate() {
        let last = number + 1 == children.len();
        out.push_str(&format!("{}{line}\n", if last { "└── " } else { "├── " }));
        for (inner, line) in below.iter().enumerate() {
            let stem = if last { "    " } else { "│   " };
            let branch = if inner + 1 == below.len() { "└── " } else { "├── " };
            out.push_str(&format!("{stem}{branch}{line}\n"));
        }
    }
    out
}
