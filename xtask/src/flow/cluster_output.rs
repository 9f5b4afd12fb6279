//! The output of `cluster-status` for clusters and machines, in the formats of `--output`.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crate::cli::{ClusterStatus, OutputForm};
use crate::flow::{lookup, vms};
use crate::prelude::*;
use domain::clock;
use domain::status::cluster::ClusterLine;
use domain::status::machines::{MachineLine, add_kubelets, machine_lines};
use runtime::parallel::run_both;
use runtime::tool::omnictl::Omnictl;
use runtime::ui::table;

/// Machines, and the VMs with their names.
pub type Machines = (Vec<MachineLine>, Vec<Value>);

/// Returns the machines for `--output wide`.
///
/// # Errors
/// Returns an error if omnictl cannot be run or rejects a request.
pub fn machines_if_wide(args: &ClusterStatus, cx: &Cx, omnictl: &Omnictl<'_>) -> Result<Option<Machines>, Failure> {
    if args.output != Some(OutputForm::Wide) {
        return Ok(None);
    }
    let (seen, kubelets) = run_both(
        || observe(cx, omnictl, args.name.as_deref()),
        // These have no label to select by.
        || omnictl.list_as("kubernetesstatuses", None),
    );
    let (mut machines, vms) = seen?;
    add_kubelets(&mut machines, &kubelets?);
    machines.retain(|machine| !(args.not_ready && machine.ready));
    Ok(Some((machines, vms)))
}

/// Returns the JSON data, with the machines if they were requested.
pub fn with_machines(mut data: Value, machines: &Option<Vec<MachineLine>>) -> Value {
    if let Some(machines) = machines {
        data["machines"] = json!(machines);
    }
    data
}

/// The table of clusters.
pub fn cluster_table(lines: &[ClusterLine]) -> String {
    let row = |line: &ClusterLine| {
        let ready = if line.running { "yes" } else { "no" };
        let machines = format!("{}/{}", line.healthy, line.total);
        let (name, phase) = (line.name.clone(), line.phase.clone());
        vec![name, phase, ready.to_owned(), machines, line.talos.clone(), line.kubernetes.clone()]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    table(&["CLUSTER", "PHASE", "READY", "MACHINES", "TALOS", "KUBERNETES"], &rows)
}

/// Prints the data in the requested format, or else `text`.
pub fn print(args: &ClusterStatus, cx: &Cx, names: &[&str], data: &Value, text: impl FnOnce() -> String) {
    match args.output {
        None | Some(OutputForm::Wide) => cx.ui.print_states(&text()),
        Some(OutputForm::Name) => names.iter().for_each(|name| cx.ui.print_data(name)),
        Some(OutputForm::Yaml) => cx.ui.print_data(serde_yaml::to_string(data).unwrap_or_default().trim_end()),
    }
}

/// Returns the machines of one cluster or of all, with a number of calls that does not depend on how many there are. If Proxmox
/// cannot be queried, their VMs are unknown.
///
/// # Errors
/// Returns an error if omnictl cannot be run or rejects a request.
pub fn observe(cx: &Cx, omnictl: &Omnictl<'_>, cluster: Option<&str>) -> Result<Machines, Failure> {
    let selector = cluster.map(|cluster| format!("omni.sidero.dev/cluster={cluster}"));
    let (kinds, selector) = (["clustermachinerequeststatuses", "clustermachinestatuses"], selector.as_deref());
    let prefix = cluster.map(|cluster| format!("{cluster}-")).unwrap_or_default();
    let ours = |vm: &Value| vm["name"].as_str().is_some_and(|name| name.starts_with(&prefix)) && vm["template"] != 1;
    let (lists, (statuses, mut vms)) = run_both(
        || lookup::list_all(omnictl, kinds, selector),
        || run_both(|| omnictl.list_as("machinestatuses", selector), || vms::list_everywhere(cx, &ours)),
    );
    let ([requests, machines], statuses) = (lists?, statuses?);
    let names: BTreeSet<&str> = requests.iter().map(|request| request.metadata.id.as_str()).collect();
    vms.retain(|vm| vm["name"].as_str().is_some_and(|name| names.contains(name)));
    let mut lines = machine_lines(&requests, &machines, &statuses, &vms);
    // Omni reports a machine as ready for minutes after its VM was stopped.
    let off: BTreeSet<&str> =
        vms.iter().filter(|vm| vm["status"] == "stopped").filter_map(|vm| vm["name"].as_str()).collect();
    lines.iter_mut().for_each(|line| line.ready &= !off.contains(line.name.as_str()));
    Ok((lines, vms))
}

/// The table of machines.
pub fn machine_table(lines: &[MachineLine]) -> String {
    let now = clock::unix_seconds(SystemTime::now());
    let or_dash = |text: &str| if text.is_empty() { "–".to_owned() } else { text.to_owned() };
    let row = |line: &MachineLine| {
        let ready = if line.ready { "yes" } else { "no" };
        let age =
            clock::parse_rfc3339(&line.created).map_or(String::new(), |then| format_age(now.saturating_sub(then)));
        vec![
            line.cluster.clone(),
            line.name.clone(),
            or_dash(&line.stage),
            ready.to_owned(),
            or_dash(line.node.as_deref().unwrap_or_default()),
            line.vm.map_or("–".to_owned(), |vm| vm.to_string()),
            or_dash(&line.address),
            or_dash(&line.talos),
            or_dash(&line.kubernetes),
            or_dash(&age),
        ]
    };
    let header = ["CLUSTER", "MACHINE", "STAGE", "READY", "NODE", "VM", "ADDRESS", "TALOS", "KUBERNETES", "AGE"];
    table(&header, lines.iter().map(row))
}

/// Formats an age in its largest unit, as kubectl does.
pub fn format_age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn age_is_in_its_largest_unit() {
        for (seconds, words) in [(0, "0s"), (59, "59s"), (60, "1m"), (7_199, "1h"), (172_799, "47h"), (172_800, "2d")] {
            assert_eq!(super::format_age(seconds), words);
        }
    }
}
