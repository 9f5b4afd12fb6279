//! How long each machine took for each step, from when it was asked for until it was ready.

use std::collections::BTreeMap;

use serde::Serialize;

use domain::clock;
use domain::status::cluster::{ClusterView, MachineView};

/// The steps, each with the seconds that it takes at most in general, as `cluster-explain` says of what it waits for: the first is
/// the choice of a node and the image, which is fetched once per node; the last the installation, a reboot, and etcd.
const STEPS: [(&str, u64); 5] = [("prepare", 300), ("create", 60), ("start", 60), ("join", 180), ("configure", 300)];
/// Omni writes a machine's state whenever it changes: later than this it was not the end of the last step.
const WRITTEN_AGAIN: u64 = 3600;

/// When Proxmox began to create the VM of a machine, and when its creation and its first start ended, in seconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VmTimes {
    pub begun: Option<u64>,
    pub created: Option<u64>,
    pub started: Option<u64>,
}

/// A machine with its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub machine: String,
    /// Of all its steps.
    pub seconds: u64,
    pub steps: Vec<Segment>,
}

/// A step, or several between which nothing was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Segment {
    pub step: String,
    pub seconds: u64,
    /// How long it takes at most in general.
    pub usually: u64,
    pub slow: bool,
    /// It has not ended.
    pub goes_on: bool,
}

impl Segment {
    /// `join 200 s (slow: usually up to 180 s)`.
    pub fn words(&self) -> String {
        let Segment { step, seconds, usually, .. } = self;
        let slow = if self.slow { format!(" (slow: usually up to {usually} s)") } else { String::new() };
        format!("{step} {seconds} s{}{slow}", if self.goes_on { " so far" } else { "" })
    }
}

/// The step that a machine is in, as `step 2 of 5 (create)`; `None` for one that is ready, leaves its cluster or is upgraded. The
/// provider's own steps are finer (provider 0d9fd58 to v0.3.0 `provision.go`).
pub fn step(machine: &MachineView) -> Option<String> {
    if machine.ready || machine.leaving || machine.stage == "Upgrading" {
        return None;
    }
    let at = match machine.step.as_str() {
        _ if !machine.joined.is_empty() => 4,
        _ if machine.joining => 3,
        "startVM" | "registerHA" | "syncHARules" => 2,
        "syncVM" => 1,
        _ => 0,
    };
    Some(format!("step {} of {} ({})", at + 1, STEPS.len(), STEPS[at].0))
}

/// A row for each machine of which it is known when it was asked for, by the times of the VMs that Proxmox tells.
pub fn rows(view: &ClusterView, vms: &BTreeMap<String, VmTimes>, now: u64) -> Vec<Row> {
    let of = |machine: &MachineView| row(machine, vms.get(&machine.request).copied().unwrap_or_default(), now);
    view.machines().filter_map(of).collect()
}

fn row(machine: &MachineView, vm: VmTimes, now: u64) -> Option<Row> {
    let begun = clock::seconds(&machine.requested)?;
    let joined = clock::seconds(&machine.joined);
    let ready = machine.ready.then(|| clock::seconds(&machine.since)).flatten();
    let (mut steps, mut from, mut open) = (Vec::new(), begun, Vec::new());
    let segment = |open: &[(&str, u64)], seconds: u64, goes_on: bool| {
        let step = match open {
            [(first, _), .., (last, _)] => format!("{first} to {last}"),
            _ => open.first().map_or("", |(only, _)| only).to_owned(),
        };
        let usually = open.iter().map(|(_, usually)| usually).sum();
        Segment { step, seconds, usually, slow: seconds > usually, goes_on }
    };
    for (step, end) in STEPS.into_iter().zip([vm.begun, vm.created, vm.started, joined, ready]) {
        open.push(step);
        if let Some(end) = end {
            steps.push(segment(&open, end.saturating_sub(from), false));
            from = from.max(end);
            open.clear();
        }
    }
    if machine.ready {
        steps.pop_if(|last| last.seconds > WRITTEN_AGAIN && last.step == "configure");
    } else if !machine.leaving && !open.is_empty() {
        // Whether Proxmox has begun is not known where it was not asked.
        let now_at = if joined.is_some() || from > begun { &open[..1] } else { &open[..open.len().min(4)] };
        steps.push(segment(now_at, now.saturating_sub(from), true));
    }
    let seconds = steps.iter().map(|step| step.seconds).sum();
    Some(Row { machine: machine.name().to_owned(), seconds, steps })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(joined: Option<u64>, ready: Option<u64>) -> MachineView {
        let text = |time: Option<u64>| time.map_or(String::new(), clock::rfc3339_of);
        let (requested, joined, since) = (text(Some(1000)), text(joined), text(ready));
        MachineView { request: "a".to_owned(), requested, joined, since, ready: ready.is_some(), ..Default::default() }
    }

    #[test]
    fn step_of_a_machine_is_one_of_the_timeline() {
        let at = |step: &str| MachineView { step: step.to_owned(), ..machine(None, None) };
        for (machine, wanted) in [
            (at(""), Some("step 1 of 5 (prepare)")),
            (at("uploadISO"), Some("step 1 of 5 (prepare)")),
            (at("syncVM"), Some("step 2 of 5 (create)")),
            (at("startVM"), Some("step 3 of 5 (start)")),
            (MachineView { joining: true, ..at("") }, Some("step 4 of 5 (join)")),
            (machine(Some(1100), None), Some("step 5 of 5 (configure)")),
            (machine(Some(1100), Some(1200)), None),
            (MachineView { leaving: true, ..at("syncVM") }, None),
        ] {
            assert_eq!(step(&machine).as_deref(), wanted, "{machine:?}");
        }
    }

    #[track_caller]
    fn shows(machine: &MachineView, vm: [Option<u64>; 3], wanted: &[&str]) {
        let [begun, created, started] = vm;
        let found = row(machine, VmTimes { begun, created, started }, 2000).unwrap();
        assert_eq!(found.steps.iter().map(Segment::words).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn machine_has_a_segment_for_each_step_that_was_seen() {
        let all = [Some(1010), Some(1025), Some(1030)];
        let done = ["prepare 10 s", "create 15 s", "start 5 s", "join 70 s", "configure 150 s"];
        shows(&machine(Some(1100), Some(1250)), all, &done);
        shows(&machine(Some(1100), Some(1100 + 9000)), all, &done[..4]);
        let slow = ["prepare 10 s", "create 15 s", "start 5 s", "join 970 s so far (slow: usually up to 180 s)"];
        shows(&machine(None, None), all, &slow);
        // Proxmox was not asked, or has forgotten.
        let none = [None; 3];
        shows(&machine(Some(1100), Some(1250)), none, &["prepare to join 100 s", "configure 150 s"]);
        shows(&machine(None, None), none, &["prepare to join 1000 s so far (slow: usually up to 600 s)"]);
        assert!(row(&MachineView::default(), VmTimes::default(), 2000).is_none());
    }
}
