//! How tasks scale: 10, 100, 1,000 and 10,000 virtual machines, which are the machines of up to 200 clusters.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Bench, BenchLab, median, ms, run_checked};

/// Processor time of one start of omnictl 1.9.3, in milliseconds.
const TOOL_START_MS: &str = "40";
/// Numbers of virtual machines, nodes, storages and clusters.
const SIZES: [[usize; 4]; 4] = [[10, 3, 3, 1], [100, 3, 5, 2], [1_000, 7, 50, 20], [10_000, 64, 500, 200]];
/// The tasks, and how much time and memory each may use at the largest size.
const TASKS: [(&[&str], &str); 10] = [
    (&["cluster-status"], "2 s, 150 MB"),
    (&["cluster-status", "fleet-001"], "2 s, 150 MB"),
    (&["cluster-status", "-o", "wide"], "2 s, 150 MB"),
    (&["cluster-explain", "fleet-001"], "1.5 s, 150 MB"),
    (&["provider-verify"], "2 s, 150 MB"),
    (&["cluster-sync", "--all", "--yes"], "5 s, 150 MB"),
    (&["drift"], "2 s, 150 MB"),
    (&["upgrade-plan"], "2 s, 150 MB"),
    (&["fleet-page", "--dry-run"], "1 s, 200 MB"),
    (&["fleet-page", "--dry-run", "--bundle", BUNDLE], "1 s, 200 MB"),
];
/// The support bundle of the site, in the lab's directory, where the tasks run.
const BUNDLE: &str = "bundle.tar.gz";
const ROUNDS: usize = 5;

/// The cost of a run of a task.
#[derive(Default)]
pub struct Cost {
    pub time: Duration,
    /// Peak memory of the runner itself, and of the runner and the programs that it started together, in KiB.
    pub own: u64,
    all: u64,
    calls: BTreeMap<String, usize>,
}

pub fn run(bench: &Bench) -> Result<()> {
    println!("\n| task | VMs | clusters | time | memory | with its programs | program calls | bound |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for [vms, nodes, storages, clusters] in SIZES {
        let size = format!("--vms {vms} --nodes {nodes} --storages {storages} --clusters {clusters}");
        let lab = BenchLab::start(bench, &format!("{size} --tool-start-ms {TOOL_START_MS}"))?;
        run_checked(&mut lab.task(&["provider-setup", "--yes"]))?;
        settle(&lab)?;
        // A bundle of the previous size is not overwritten.
        let _ = fs::remove_file(bench.scratch.join(BUNDLE));
        run_checked(&mut lab.task(&["support-bundle", "--yes", "--out", BUNDLE]))?;
        for (task, bound) in TASKS {
            let costs: Vec<Cost> = (0..ROUNDS).map(|_| cost(&lab, task)).collect::<Result<_>>()?;
            let times: Vec<Duration> = costs.iter().map(|cost| cost.time).collect();
            let most = |of: fn(&Cost) -> u64| costs.iter().map(of).max().unwrap_or(0) as f64 / 1024.0;
            let calls: Vec<String> = costs[0].calls.iter().map(|(name, count)| format!("{count} {name}")).collect();
            println!(
                "| `{}` | {vms} | {clusters} | {} | {:.0} MB | {:.0} MB | {} | {bound} |",
                task.join(" "),
                ms(median(&times)),
                most(|cost| cost.own),
                most(|cost| cost.all),
                calls.join(", ")
            );
        }
    }
    Ok(())
}

/// Waits until the provider has processed every machine once: that is work of the lab, not of the task.
fn settle(lab: &BenchLab<'_>) -> Result<()> {
    let busy = || -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", lab.pid)).unwrap_or_default();
        Ok(text.split(' ').next().and_then(|spent| spent.parse().ok()).unwrap_or(0))
    };
    for _ in 0..120 {
        let before = busy()?;
        std::thread::sleep(Duration::from_millis(500));
        if busy()?.saturating_sub(before) < 50_000_000 {
            return Ok(());
        }
    }
    bail!("the lab does not come to rest")
}

/// Runs a command and samples its memory.
pub fn run_measured(command: &mut Command) -> Result<(ExitStatus, Cost)> {
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut cost = Cost::default();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let (own, all) = memory(child.id());
        (cost.own, cost.all) = (cost.own.max(own), cost.all.max(all));
        std::thread::sleep(Duration::from_millis(3));
    };
    cost.time = begun.elapsed();
    Ok((status, cost))
}

fn cost(lab: &BenchLab<'_>, task: &[&str]) -> Result<Cost> {
    let journal = lab.bench.scratch.join(".local/state/omni-scale/journal.jsonl");
    let _ = fs::remove_file(&journal);
    let (status, mut cost) = run_measured(lab.task(task).stdout(Stdio::null()))?;
    // 1: the task ran and found something to fix; 3: it has something to change.
    if !matches!(status.code(), Some(0 | 1 | 3)) {
        let said = lab.task(task).output()?;
        bail!("{task:?} {status}: {}", String::from_utf8_lossy(&said.stderr));
    }
    for line in fs::read_to_string(&journal).unwrap_or_default().lines() {
        let entry: Value = serde_json::from_str(line)?;
        let program = entry["line"].as_str().context("a call has a line")?.split(' ').next().unwrap_or_default();
        *cost.calls.entry(program.rsplit('/').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    Ok(cost)
}

/// Returns the peak memory of a process, and the current memory of it and its children, in KiB; 0 if unknown. A child that
/// has not called exec yet is not counted: with `posix_spawn` it shares the memory of its parent.
fn memory(pid: u32) -> (u64, u64) {
    let field = |pid: &str, name: &str| -> u64 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    let pid = pid.to_string();
    let program = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let ours = program(&pid);
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<String> =
        children.flat_map(|list| list.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    let started = children.iter().filter(|child| !child.is_empty() && program(child) != ours);
    let programs: u64 = started.map(|child| field(child, "VmRSS:")).sum();
    (field(&pid, "VmHWM:"), field(&pid, "VmRSS:") + programs)
}
