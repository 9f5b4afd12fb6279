//! `lab-up`: starts a lab that keeps running, to play with. Proxmox, Omni, its provider, omnictl and docker are simulated on
//! loopback; the tasks that run against it are the real ones.

use std::cell::OnceCell;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::cli::{LabSize, LabUp};
use crate::prelude::*;
use runtime::files;
use runtime::proc;
use runtime::tool::lab::{self, Options, Ready, faults};

pub fn run(args: &LabUp, cx: &Cx) -> anyhow::Result<Outcome> {
    let dir = cx.paths.lab();
    if args.dump {
        return dump_state(cx, &dir);
    }
    let _lock = cx.lock_checkout()?;
    if is_running(cx, &dir) {
        return Err(Failure::new(Code::Conflict, "a lab is running already")
            .cause(format!("in {}", cx.paths.show(&dir)))
            .next("cargo xtask lab-down")
            .into());
    }
    lab::check_removable(&dir)?;
    let (ready, project) = (OnceCell::new(), dir.join("project"));
    let effect = format!("simulated services on loopback, files in {}", cx.paths.show(&dir));
    let start = Change::new("start", "a lab", effect, "cargo xtask lab-down", |cx| {
        let started = start(args, cx, &dir, &project)?;
        let Ready { pid, .. } = ready.get_or_init(|| started);
        Ok(format!("pid {pid}, clock {}", args.clock))
    });
    Plan::from_iter([start]).carry_out_unasked(cx, &Value::Null)?;
    let ready = ready.into_inner().context("the plan starts it")?;
    let (env_file, project_dir) = (cx.paths.show(&ready.env_file), cx.paths.show(&project));
    let data = json!({
        "env_file": ready.env_file, "proxmox_url": ready.proxmox_url, "omni_endpoint": ready.omni_endpoint,
        "ca_file": ready.ca_file, "project_dir": project, "pid": ready.pid, "bin_dir": ready.bin_dir,
    });
    Ok(Outcome::done("the lab is up; the simulated services listen on loopback only")
        .with(data)
        .next(format!(". {env_file}"))
        .next(format!("cargo xtask --project-dir {project_dir} provider-setup"))
        .next("cargo xtask lab-down"))
}

/// Starts the lab with its own project. It keeps running after this process has exited, until `lab-down` stops it.
fn start(args: &LabUp, cx: &Cx, dir: &Path, project: &Path) -> anyhow::Result<Ready> {
    let program = lab::program(cx)?;
    let known = faults::list(cx, &program)?;
    for text in &args.fault {
        faults::find(&known, text)?;
    }
    let _ = fs::remove_dir_all(dir);
    let options = Options {
        clock: args.clock,
        faults: args.fault.clone(),
        latency_ms: args.latency_ms,
        size: size_words(&args.size),
    };
    let started = lab::start(&program, dir, &options, false);
    let (ready, child) = started.inspect_err(|_| drop(fs::remove_dir_all(dir)))?;
    drop(child);
    let made = lab::make_project(&cx.paths, project, &ready).and_then(|()| copy_specs(dir, project));
    if let Err(error) = made {
        // A lab without a project is useless, and would block a second one while it runs.
        lab::stop(cx, &program, dir)?;
        let _ = fs::remove_dir_all(dir);
        return Err(error);
    }
    Ok(ready)
}

/// Number of machines of each cluster if --vms is not given.
const MACHINES: u32 = 3;

/// Converts the requested size to the lab's arguments.
fn size_words(size: &LabSize) -> Vec<String> {
    let LabSize { nodes, vms, storages, clusters, tool_start_ms } = size;
    let vms = vms.or(clusters.map(|clusters| clusters.saturating_mul(MACHINES)));
    let all = [
        ("--nodes", nodes),
        ("--vms", &vms),
        ("--storages", storages),
        ("--clusters", clusters),
        ("--tool-start-ms", tool_start_ms),
    ];
    let given = all.into_iter().filter_map(|(word, number)| Some([word.to_owned(), number.as_ref()?.to_string()]));
    given.flatten().collect()
}

fn dump_state(cx: &Cx, dir: &Path) -> anyhow::Result<Outcome> {
    let program = lab::program(cx)?;
    let state = lab::read_state(cx, &program, dir)?;
    cx.ui.print_data(&serde_json::to_string_pretty(&state)?);
    Ok(Outcome::done("the state of the simulated services").with(state))
}

/// Returns true if the lab of `dir` is running: its process exists, and it responds.
fn is_running(cx: &Cx, dir: &Path) -> bool {
    let Ok(Some(text)) = files::read_optional_text(&dir.join("lab.json")) else { return false };
    let pid = serde_json::from_str::<Value>(&text).ok().and_then(|lab| lab["pid"].as_u64());
    let alive = pid.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists() || cfg!(target_os = "macos"));
    alive && lab::program(cx).is_ok_and(|program| lab::read_state(cx, &program, dir).is_ok())
}

/// Copies the class and cluster files that a lab of some size starts with into its project.
fn copy_specs(lab: &Path, project: &Path) -> anyhow::Result<()> {
    let shell = proc::shell()?;
    for folder in ["machine-classes", "clusters"] {
        if lab.join(folder).is_dir() {
            for file in shell.read_dir(lab.join(folder))? {
                shell.copy_file(&file, project.join(folder))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_have_machines_without_vms() {
        let words = |vms, clusters| size_words(&LabSize { vms, clusters, ..LabSize::default() }).join(" ");
        assert_eq!(words(None, Some(9)), "--vms 27 --clusters 9");
        assert_eq!(words(Some(4), Some(2)), "--vms 4 --clusters 2");
        assert_eq!(words(None, None), "");
    }
}
