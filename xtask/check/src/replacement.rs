//! Whether a control plane may be replaced: etcd must keep its quorum without it.

use std::collections::BTreeSet;

use domain::status::cluster::{MachineSetView, MachineView};
use domain::words::count;

/// Returns why the machine `name` of a control-plane set cannot be replaced now; `None` if etcd keeps its quorum without it.
/// `off` are machines whose VM is not running, which Omni notices late. The check is stricter than Omni, which waits in the
/// middle of a replacement until etcd allows it (omni v1.9.3 `pkg/check/etcd.go`, `CanScaleDown`).
pub fn refusal(set: &MachineSetView, name: &str, off: &BTreeSet<String>) -> Option<String> {
    let others = || set.machines.iter().filter(|machine| machine.name() != name);
    if let Some(other) = others().find(|machine| machine.leaving) {
        return Some(format!(
            "{} is already being removed; removing two at a time may cost etcd its quorum",
            other.name()
        ));
    }
    let members = set.machines.len().max(usize::try_from(set.wanted).unwrap_or(usize::MAX));
    if members < 2 {
        return Some("it is the only control plane: etcd, and with it the cluster, would be lost".to_owned());
    }
    let healthy = others().filter(|machine| machine.ready && !off.contains(machine.name())).count();
    let quorum = members / 2 + 1;
    (healthy < quorum).then(|| {
        let ill: Vec<&str> =
            others().filter(|machine| !machine.ready || off.contains(machine.name())).map(MachineView::name).collect();
        let ill = if ill.is_empty() { String::new() } else { format!(" (not healthy: {})", ill.join(", ")) };
        let left = count(healthy, "healthy control plane");
        format!("{left} would be left, and etcd with {members} members needs {quorum}{ill}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set of `wanted`: `+` is ready, `-` is not, `x` is leaving, `o` is ready according to Omni but its VM is off.
    fn set(wanted: u64, machines: &str) -> (MachineSetView, BTreeSet<String>) {
        let machine = |(at, kind): (usize, char)| MachineView {
            request: at.to_string(),
            ready: "+o".contains(kind),
            connected: true,
            leaving: kind == 'x',
            ..MachineView::default()
        };
        let off = machines.chars().enumerate().filter(|(_, kind)| *kind == 'o').map(|(at, _)| at.to_string()).collect();
        let machines = machines.chars().enumerate().map(machine).collect();
        let set = MachineSetView { control_plane: true, wanted, machines, ..MachineSetView::default() };
        (set, off)
    }

    #[test]
    fn control_plane_is_replaced_only_while_etcd_keeps_its_quorum() {
        // The first machine is the one to replace.
        let cases = [
            (1, "+", "only control plane"),
            (1, "-", "only control plane"),
            (3, "+++", ""),
            (3, "-++", ""),
            (3, "o++", ""),
            (3, "++-", "1 healthy control plane would be left, and etcd with 3 members needs 2 (not healthy: 2)"),
            (3, "++o", "(not healthy: 2)"),
            (3, "++", "1 healthy control plane would be left"),
            (3, "+++x", "3 is already being removed"),
            (3, "-+++", ""),
            (2, "++", "1 healthy control plane would be left"),
            (5, "++++-", ""),
            (5, "+++--", "2 healthy control planes would be left, and etcd with 5 members needs 3"),
            (5, "-+++-", ""),
            (5, "o+++o", ""),
        ];
        for (wanted, machines, words) in cases {
            let (set, off) = set(wanted, machines);
            let said = refusal(&set, "0", &off);
            assert_eq!(said.is_none(), words.is_empty(), "{machines}: {said:?}");
            assert!(said.clone().unwrap_or_default().contains(words), "{machines}: {said:?}");
        }
    }
}
