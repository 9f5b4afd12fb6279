//! Benchmarks of the checks: a thousand and ten thousand machine classes and cluster templates, and a selector over 500
//! storages of 64 nodes, with the binary as `cargo xtask` builds it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::scale::run_measured;
use super::{Bench, header, median, ms, row, run_timed};

pub fn run(bench: &Bench) -> Result<()> {
    header();
    let mut of_thousand = Duration::ZERO;
    for (count, rounds, bound, memory) in [(1_000, 5, "0.5 s", "300 MB"), (10_000, 3, "5 s", "300 MB")] {
        let project = project(bench, count)?;
        let mut both = Vec::new();
        let mut peak = 0;
        for _ in 0..rounds {
            let (classes, of_classes) = check(bench, &project, "machineclass-check", count)?;
            let (templates, of_templates) = check(bench, &project, "cluster-check", count)?;
            both.push(classes + templates);
            peak = peak.max(of_classes).max(of_templates);
        }
        row(
            &format!("{count} machine classes, then {count} templates: `machineclass-check`, `cluster-check`"),
            &both,
            bound,
        );
        println!("| … the most memory of either | {peak} MiB | {memory} |");
        match of_thousand.is_zero() {
            true => of_thousand = median(&both),
            false => {
                let growth = median(&both).as_secs_f64() / of_thousand.as_secs_f64();
                println!("| … as many times as for a thousand of each | {growth:.1} | 10 |");
            }
        }
        if count == 1_000 {
            compare_with_omnictl(&project, &both, count)?;
        }
        fs::remove_dir_all(&project)?;
    }
    upgrade_plan(bench)?;
    selector(bench)
}

/// Measures the plan of an upgrade from an older set of versions, with one template and without a call.
fn upgrade_plan(bench: &Bench) -> Result<()> {
    let project = project(bench, 1)?;
    let compose = project.join("docker/compose.yaml");
    let text = fs::read_to_string(&compose)?;
    let tag = text.split("siderolabs/omni:v").nth(1).and_then(|rest| rest.lines().next()).context("Omni's tag")?;
    fs::write(&compose, text.replace(&format!("siderolabs/omni:v{tag}"), "siderolabs/omni:v1.4.9"))?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let (status, cost) =
            run_measured(bench.runner(&project, &["upgrade-plan", "--from-files"]).stdout(Stdio::null()))?;
        // 1: a step is blocked; 3: there are steps.
        if !matches!(status.code(), Some(1 | 3)) {
            bail!("upgrade-plan found no step: {status}");
        }
        times.push(cost.time);
    }
    row("`upgrade-plan --from-files` from Omni 1.4.9", &times, "50 ms");
    Ok(())
}

/// Compares with an `omnictl cluster template validate` for each file, extrapolated from the time of twenty.
fn compare_with_omnictl(project: &Path, ours: &[Duration], count: u32) -> Result<()> {
    let omnictl = || Command::new("omnictl");
    if omnictl().arg("--version").output().is_err() {
        println!("| … beside an `omnictl cluster template validate` for each file | no omnictl on PATH | 100 times |");
        return Ok(());
    }
    let mut one = Vec::new();
    for number in 0..20 {
        let file = project.join(format!("clusters/matrix-{number}.yaml"));
        one.push(run_timed(omnictl().args(["cluster", "template", "validate", "-f"]).arg(file))?);
    }
    let all = median(&one) * count * 2;
    let ratio = all.as_secs_f64() / median(ours).as_secs_f64();
    println!(
        "| … beside an `omnictl cluster template validate` for each file ({} each) | {ratio:.0} times faster | 100 times |",
        ms(median(&one))
    );
    Ok(())
}

/// Measures `selector-test` over 500 storages of 64 nodes, from the step that starts once the storages are read.
fn selector(bench: &Bench) -> Result<()> {
    let project = project(bench, 1)?;
    let storages: Vec<Value> = (0..64)
        .flat_map(|node| {
            let of = move |n: u32| {
                let (name, node) = (format!("pool-{n}"), format!("pve{node}"));
                json!({ "name": name, "node": node, "storageType": "rbd", "availableSpace": 1_u64 << 40 })
            };
            (0..500).map(of)
        })
        .collect();
    fs::write(project.join("storages.json"), serde_json::to_vec(&storages)?)?;
    for selector in [
        "storageType == \"rbd\" && name == \"pool-7\"",
        "name.matches(\"^pool-[0-9]$\") && availableSpace > 100u",
        "[\"pool-1\", \"pool-2\"].exists(p, p == name)",
    ] {
        let mut times = Vec::new();
        for _ in 0..5 {
            let words = ["selector-test", selector, "--offline", "--json", "--storages", "storages.json"];
            let output = bench.runner(&project, &words).stderr(Stdio::null()).output()?;
            let document: Value = serde_json::from_slice(&output.stdout)?;
            let steps = document["steps"].as_array().context("steps")?;
            let step = steps.iter().find(|step| step["id"] == "evaluate").context("the evaluation is a step")?;
            times.push(Duration::from_millis(step["elapsed_ms"].as_u64().context("how long it took")?));
        }
        row(
            &format!("`selector-test` over 500 storages of 64 nodes: `{}`", selector.replace('|', "\\|")),
            &times,
            "100 ms",
        );
    }
    Ok(())
}

/// Creates a project with this many classes and templates, each as an operator would have it.
fn project(bench: &Bench, count: u32) -> Result<PathBuf> {
    let project = bench.scratch.join(format!("checks-{count}"));
    for dir in ["docker", "machine-classes", "clusters"] {
        fs::create_dir_all(project.join(dir))?;
    }
    fs::copy(bench.root.join("docker/compose.yaml"), project.join("docker/compose.yaml"))?;
    let class = fs::read_to_string(bench.root.join("machine-classes/matrix-worker.yaml"))?;
    let template = fs::read_to_string(bench.root.join("clusters/matrix.yaml"))?;
    let patch = "patches:\n  - name: sysctls\n    inline:\n      machine:\n        sysctls:\n          vm.max_map_count: \"262144\"\n---";
    let template = template.replacen("---", patch, 1);
    for number in 0..count {
        let file = project.join(format!("machine-classes/matrix-worker-{number}.yaml"));
        fs::write(file, class.replace("matrix-worker", &format!("matrix-worker-{number}")))?;
        let text = template
            .replace("name: matrix\n", &format!("name: matrix-{number}\n"))
            .replace("matrix-controlplane", &format!("matrix-worker-{}", (number + 1) % count))
            .replace("matrix-worker\n", &format!("matrix-worker-{number}\n"));
        fs::write(project.join(format!("clusters/matrix-{number}.yaml")), text)?;
    }
    Ok(project)
}

/// Checks all files of a kind and fails if any was left out. Returns the time and the peak memory in MiB.
fn check(bench: &Bench, project: &Path, task: &str, count: u32) -> Result<(Duration, u64)> {
    let out = project.join("out.json");
    let mut command = bench.runner(project, &[task, "--all", "--offline", "--json"]);
    let (_, cost) = run_measured(command.stdout(fs::File::create(&out)?))?;
    let document: Value = serde_json::from_slice(&fs::read(&out)?)?;
    match document["data"]["files"].as_array().map(Vec::len) {
        Some(found) if found == count as usize => Ok((cost.time, cost.own / 1024)),
        found => bail!("{task} looked at {found:?} files of {count}: {}", document["summary"]),
    }
}

impl Bench {
    fn runner(&self, project: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(&self.xtask);
        command.args(words).arg("--project-dir").arg(project).current_dir(project);
        command
    }
}
