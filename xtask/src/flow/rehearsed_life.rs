//! The life of a rehearsed site: its clusters are created, changed and deleted by the tasks themselves, step by step.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::flow::rehearsal::{Lab, play};
use crate::flow::rehearsed_site::{Site, scaled_set};
use domain::status::proxmox::Inventory;
use domain::words::count;
use runtime::cx::Cx;
use runtime::tool::lab;
use runtime::ui::{Status, millis, table};

/// The life cycle of a cluster in the lab, and the steps taken so far.
pub struct LifeCycle<'a> {
    pub cx: &'a Cx,
    pub lab: &'a Lab,
    pub project: &'a Path,
    /// How often a step is tried: once more for each fault.
    pub tries: usize,
    pub steps: Vec<Value>,
}

impl LifeCycle<'_> {
    /// Takes the clusters through all of it; a step that failed is in `steps`.
    ///
    /// # Errors
    /// When the lab cannot be asked, or the operator interrupts.
    pub fn live(&mut self, site: &mut Site, inventory: &Inventory, program: &Path) -> anyhow::Result<()> {
        let files: Vec<String> = site.clusters.iter().map(|(file, _)| file_words(file)).collect();
        let classes = self.task(&["machineclass-check", "--offline"])?;
        let words: Vec<&str> =
            ["cluster-check", "--offline"].into_iter().chain(files.iter().map(String::as_str)).collect();
        let good = self.task(&words)? && classes;
        if !good || !self.task(&["provider-setup", "--provider-id", &site.provider])? {
            return Ok(());
        }
        for class in site.used_classes() {
            if !self.task(&["machineclass-apply", class])? {
                return Ok(());
            }
        }
        let mut alive = Vec::new();
        for (number, file) in files.iter().enumerate() {
            let name = site.clusters[number].1.name.clone();
            if self.task(&["cluster-sync", file, "--allow-destroy", &name])? && self.grow(site, number)? {
                alive.push(name);
            }
        }
        self.lose_a_node(site, inventory, program, &alive)?;
        for (_, template) in &site.clusters {
            self.task(&["cluster-delete", &template.name, "--allow-destroy", &template.name])?;
        }
        let state = lab::state_of(self.cx, program, &self.lab.dir)?;
        // A fault may have made a machine of somebody else's.
        let own = |vm: &&Value| {
            let name = vm["name"].as_str().unwrap_or_default();
            site.clusters.iter().any(|(_, template)| name.starts_with(&format!("{}-", template.name)))
        };
        let vms = state["proxmox"]["vms"].as_array().into_iter().flatten().filter(own).count();
        self.record("nothing is left", (vms == 0).then_some(()).ok_or(format!("{} left", count(vms, "VM"))), 0, 1);
        Ok(())
    }

    /// Scales a cluster by one and back, and upgrades it.
    fn grow(&mut self, site: &mut Site, number: usize) -> anyhow::Result<bool> {
        let template = &site.clusters[number].1;
        let name = template.name.clone();
        match scaled_set(template) {
            Some((set, size)) => {
                let (more, back) = (format!("{set}={}", size.saturating_add(1)), format!("{set}={size}"));
                if !(self.task(&["cluster-scale", &name, "--set", &more])?
                    && self.task(&["cluster-scale", &name, "--set", &back, "--allow-destroy", &name])?)
                {
                    return Ok(false);
                }
            }
            None => site.left_out.push(format!("scaling `{name}`: no workers have a number")),
        }
        let planned = play(self.cx, self.lab, self.project, &words(&["cluster-upgrade", &name, "--dry-run"]))?;
        match planned.code {
            Some(3) => self.task(&["cluster-upgrade", &name]),
            Some(0) => Ok(true),
            _ => {
                site.left_out.push(format!("upgrading `{name}`: this kit knows no step from its versions"));
                Ok(true)
            }
        }
    }

    /// Step 3: the node with the most machines.
    fn lose_a_node(
        &mut self,
        site: &mut Site,
        inventory: &Inventory,
        program: &Path,
        alive: &[String],
    ) -> anyhow::Result<()> {
        let state = lab::state_of(self.cx, program, &self.lab.dir)?;
        let vms = state["proxmox"]["vms"].as_array().cloned().unwrap_or_default();
        let online: Vec<&str> =
            inventory.nodes.iter().filter(|node| node.online()).map(|node| node.name.as_str()).collect();
        let on = |node: &&&str| vms.iter().filter(|vm| vm["node"] == **node).count();
        let Some(node) = online.iter().max_by_key(on).filter(|_| online.len() > 1 && !alive.is_empty()) else {
            site.left_out.push("the loss of a node: it takes two nodes, and a cluster that runs".to_owned());
            return Ok(());
        };
        for power in ["off", "on"] {
            let begun = Instant::now();
            let turned = lab::set_node(self.cx, program, &self.lab.dir, node, power).map_err(|why| why.to_string());
            self.record(&format!("node {node} goes {power}"), turned, begun.elapsed().as_millis() as u64, 1);
            self.task(&["cluster-status"])?;
        }
        for name in alive {
            self.task(&["cluster-status", name, "--wait", "running"])?;
        }
        Ok(())
    }

    /// One task, again as often as faults may have met it; whether it passed.
    fn task(&mut self, line: &[&str]) -> anyhow::Result<bool> {
        let begun = Instant::now();
        for tried in 1..=self.tries {
            let ran = play(self.cx, self.lab, self.project, &words(line))?;
            let said = ran.document["error"]["message"].as_str().unwrap_or("its output is above").to_owned();
            let passed = ran.code == Some(0);
            if passed || tried == self.tries {
                self.record(
                    &line.join(" "),
                    passed.then_some(()).ok_or(said),
                    begun.elapsed().as_millis() as u64,
                    tried,
                );
                if let Some(step) = self.steps.last_mut().filter(|_| !passed) {
                    step["document"] = ran.document;
                }
                return Ok(passed);
            }
        }
        Ok(false)
    }

    fn record(&mut self, step: &str, result: Result<(), String>, elapsed_ms: u64, tries: usize) {
        let (status, word) = match &result {
            Ok(()) => (Status::Ok, "passed"),
            Err(_) => (Status::Failed, "failed"),
        };
        let error = result.err().unwrap_or_default();
        self.cx.ui.note("step", step, status, error.as_str());
        self.steps
            .push(json!({ "step": step, "status": word, "elapsed_ms": elapsed_ms, "tries": tries, "error": error }));
    }
}

/// The file of a template in the scratch project.
fn file_words(file: &Path) -> String {
    format!("clusters/{}", file.file_name().unwrap_or_default().to_string_lossy())
}

/// The words of a task.
pub fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| (*word).to_owned()).collect()
}

/// Shows the steps and what was left out.
pub fn report(cx: &Cx, steps: &[Value], left_out: &[String]) {
    let word = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    let row = |step: &Value| {
        let tries = step["tries"].as_u64().unwrap_or(1);
        let again = if tries > 1 { format!(" at try {tries}") } else { String::new() };
        let time = millis(step["elapsed_ms"].as_u64().unwrap_or(0));
        vec![word(step, "step"), format!("{}{again}", word(step, "status")), time]
    };
    cx.ui.data(&format!("\n{}", table(&["STEP", "RESULT", "TIME"], steps.iter().map(row))));
    cx.ui.data(&format!("\nnot rehearsed:\n{}", left_out.iter().map(|what| format!("  {what}\n")).collect::<String>()));
}
