//! How long each machine took for each step, from its request until it was ready.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use domain::clock;
use domain::status::cluster::{ClusterView, MachineView};

/// The steps, each with its general maximum in seconds, as `cluster-explain` shows it for waits. The first is the choice of a
/// node and the image, which is downloaded once per node; the last is the installation, a reboot, and etcd.
const STEPS: [(&str, u64); 5] = [("prepare", 300), ("create", 60), ("start", 60), ("join", 180), ("configure", 300)];
/// Omni rewrites a machine's state whenever it changes: a last step longer than this did not end at that time.
const WRITTEN_AGAIN: u64 = 3600;

/// When Proxmox began to create a machine's VM, and when the creation and the first start ended, in seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VmTimes {
    pub creation_started: Option<u64>,
    pub created: Option<u64>,
    pub started: Option<u64>,
}

/// How many runs of a site are kept, and how many are needed before they replace the general times.
const RUNS: usize = 20;
const ENOUGH: usize = 3;
/// A step is slow if it takes this many times as long as usual, unless the difference is only seconds.
const SLOW: u64 = 2;
const SECONDS: u64 = 30;

/// How long each step took at this site: the median of each of its last runs, the newest last.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SiteTimes {
    /// When the newest of these machines was requested, in seconds since the Unix epoch.
    pub until: u64,
    steps: BTreeMap<String, Vec<u64>>,
}

impl SiteTimes {
    /// Adds a run that created these machines.
    pub fn add(&mut self, made: &[Row]) {
        self.until = made.iter().map(|row| row.begun).fold(self.until, u64::max);
        for (step, _) in STEPS {
            let steps = made.iter().flat_map(|row| &row.steps);
            let took = steps.filter(|found| found.step == step && !found.goes_on).map(|found| found.seconds);
            let runs = self.steps.entry(step.to_owned()).or_default();
            runs.extend(median(took.collect()));
            runs.drain(..runs.len().saturating_sub(RUNS));
        }
    }

    /// Returns how long a step usually takes here, and from which duration on it is slow.
    fn usual_seconds(&self, step: &str) -> Option<(u64, u64)> {
        let usual = median(self.steps.get(step).filter(|runs| runs.len() >= ENOUGH)?.clone())?;
        Some((usual, usual.saturating_mul(SLOW).max(usual.saturating_add(SECONDS))))
    }
}

fn median(mut seconds: Vec<u64>) -> Option<u64> {
    seconds.sort_unstable();
    seconds.get(seconds.len() / 2).copied()
}

/// A machine with its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub machine: String,
    /// When it was requested, in seconds since the Unix epoch.
    #[serde(skip)]
    pub begun: u64,
    /// The sum of all its steps.
    pub seconds: u64,
    pub steps: Vec<Segment>,
}

/// A step, or several steps between which nothing was observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Segment {
    pub step: String,
    pub seconds: u64,
    /// How long it usually takes at this site, or at most in general.
    pub usually: u64,
    pub at_this_site: bool,
    pub slow: bool,
    /// Whether it has not ended yet.
    pub goes_on: bool,
}

impl Segment {
    /// Formats the segment, for example as `join 200 s (slow: usually up to 180 s)`.
    pub fn describe(&self) -> String {
        let Segment { step, seconds, usually, .. } = self;
        let slow = match (self.slow, self.at_this_site) {
            (false, _) => String::new(),
            (true, true) => format!(" (slow: usually {usually} s here)"),
            (true, false) => format!(" (slow: usually up to {usually} s)"),
        };
        format!("{step} {seconds} s{}{slow}", if self.goes_on { " so far" } else { "" })
    }
}

/// Returns the current step of a machine, as `step 2 of 5 (create)`; `None` if it is ready, is leaving or is being upgraded.
/// The provider's own steps are finer (provider 0d9fd58 to v0.3.0 `provision.go`).
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

/// Describes the times that slow steps are compared with.
pub fn describe_reference(rows: &[Row]) -> &'static str {
    match rows.iter().flat_map(|row| &row.steps).any(|step| step.at_this_site) {
        true => "slow: more than twice as long as usual at this site, and at least 30 s longer",
        false => "slow is relative to general times; after 3 runs that create machines, to this site's times",
    }
}

/// Returns a row for each machine whose request time is known, with the VM times that Proxmox reports.
pub fn rows(view: &ClusterView, vms: &BTreeMap<String, VmTimes>, site: &SiteTimes, now: u64) -> Vec<Row> {
    let of = |machine: &MachineView| row(machine, vms.get(&machine.request).copied().unwrap_or_default(), site, now);
    view.machines().filter_map(of).collect()
}

fn row(machine: &MachineView, vm: VmTimes, site: &SiteTimes, now: u64) -> Option<Row> {
    let begun = clock::parse_rfc3339(&machine.requested)?;
    let joined = clock::parse_rfc3339(&machine.joined);
    let ready = machine.ready.then(|| clock::parse_rfc3339(&machine.since)).flatten();
    let (mut steps, mut from, mut open) = (Vec::new(), begun, Vec::new());
    let segment = |open: &[(&str, u64)], seconds: u64, goes_on: bool| {
        let step = match open {
            [(first, _), .., (last, _)] => format!("{first} to {last}"),
            _ => open.first().map_or("", |(only, _)| only).to_owned(),
        };
        let here: Option<Vec<(u64, u64)>> = open.iter().map(|(step, _)| site.usual_seconds(step)).collect();
        let general = || open.iter().map(|(_, usually)| (*usually, *usually)).collect();
        let sum = |all: (u64, u64), step: (u64, u64)| (all.0.saturating_add(step.0), all.1.saturating_add(step.1));
        let at_this_site = here.is_some();
        let (usually, most) = here.unwrap_or_else(general).into_iter().fold((0, 0), sum);
        Segment { step, seconds, usually, at_this_site, slow: seconds > most, goes_on }
    };
    for (step, end) in STEPS.into_iter().zip([vm.creation_started, vm.created, vm.started, joined, ready]) {
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
        // If Proxmox was not queried, it is unknown whether it has begun.
        let now_at = if joined.is_some() || from > begun { &open[..1] } else { &open[..open.len().min(4)] };
        steps.push(segment(now_at, now.saturating_sub(from), true));
    }
    let seconds = steps.iter().map(|step| step.seconds).sum();
    Some(Row { machine: machine.name().to_owned(), begun, seconds, steps })
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
    fn step_is_one_of_the_timeline() {
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
    fn assert_segments(machine: &MachineView, vm: [Option<u64>; 3], wanted: &[&str]) {
        let [begun, created, started] = vm;
        let found =
            row(machine, VmTimes { creation_started: begun, created, started }, &SiteTimes::default(), 2000).unwrap();
        assert_eq!(found.steps.iter().map(Segment::describe).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn row_has_a_segment_for_each_observed_step() {
        let all = [Some(1010), Some(1025), Some(1030)];
        let done = ["prepare 10 s", "create 15 s", "start 5 s", "join 70 s", "configure 150 s"];
        assert_segments(&machine(Some(1100), Some(1250)), all, &done);
        assert_segments(&machine(Some(1100), Some(1100 + 9000)), all, &done[..4]);
        let slow = ["prepare 10 s", "create 15 s", "start 5 s", "join 970 s so far (slow: usually up to 180 s)"];
        assert_segments(&machine(None, None), all, &slow);
        // Proxmox was not queried, or no longer has the times.
        let none = [None; 3];
        assert_segments(&machine(Some(1100), Some(1250)), none, &["prepare to join 100 s", "configure 150 s"]);
        assert_segments(&machine(None, None), none, &["prepare to join 1000 s so far (slow: usually up to 600 s)"]);
        assert!(row(&MachineView::default(), VmTimes::default(), &SiteTimes::default(), 2000).is_none());
    }

    #[test]
    fn slow_steps_are_judged_by_the_site() {
        let vm = VmTimes { creation_started: Some(1010), created: Some(1025), started: Some(1030) };
        let (mut site, joined) = (SiteTimes::default(), machine(Some(1100), Some(1250)));
        // The join takes 70 s, which is short in general.
        let made = [row(&machine(Some(1033), Some(1183)), vm, &SiteTimes::default(), 2000).unwrap()];
        for (runs, slow) in [(0, false), (2, false), (1, true), (RUNS, true)] {
            (0..runs).for_each(|_| site.add(&made));
            let found = row(&joined, vm, &site, 2000).unwrap();
            assert_eq!(found.steps[3].slow, slow, "{runs}: {site:?}");
            assert_eq!(describe_reference(&[found]).contains("general"), !slow);
        }
        let found = row(&joined, vm, &site, 2000).unwrap();
        assert_eq!(found.steps[3].describe(), "join 70 s (slow: usually 3 s here)");
        assert!(site.steps.values().all(|runs| runs.len() == RUNS), "{site:?}");
    }
}
