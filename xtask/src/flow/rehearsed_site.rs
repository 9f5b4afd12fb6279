//! Rehearses a site: the operator's own classes and templates, a Proxmox with room for them, and the life cycle of its clusters,
//! which the tasks themselves create, change and delete, step by step.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::prelude::*;
use check::capacity::selector;
use check::template::clean;
use domain::nearest;
use domain::spec::machine_class::{self, MachineClass};
use domain::spec::provider_data::{self, ProviderData};
use domain::spec::template::{self, ClusterTemplate, SetKind, Size};
use domain::status::proxmox::{Figures, Inventory, Node, Observed, Storage};
use runtime::files;
use runtime::tool::lab;
use runtime::ui::{millis, table};

use super::inputs;
use super::rehearsal::{Lab, run_task};

const GIB: u64 = 1 << 30;
/// The folders of a project that a rehearsal reads.
const FOLDERS: [&str; 2] = ["machine-classes", "clusters"];

/// The site to rehearse.
pub struct Site {
    dir: PathBuf,
    files: Vec<PathBuf>,
    classes: Vec<MachineClass>,
    /// The selected clusters, each with its file.
    pub clusters: Vec<(PathBuf, ClusterTemplate)>,
    /// The provider of their classes.
    pub provider: String,
    /// What is not rehearsed, and why.
    pub skipped: Vec<String>,
}

impl Site {
    /// Reads the files of a project. Files that cannot be parsed are left to the checks.
    ///
    /// # Errors
    /// Fails with [`Code::NotFound`] if there is no cluster to rehearse, or none with a selected name.
    pub fn read(dir: &Path, chosen: &[String]) -> Result<Site, Failure> {
        let [class_files, template_files] = FOLDERS.map(|folder| inputs::list_yaml_files(&dir.join(folder)));
        let (mut classes, mut clusters) = (Vec::new(), Vec::new());
        for file in &class_files {
            let bytes = files::read_optional(file)?.unwrap_or_default();
            classes.extend(machine_class::parse("", &bytes).value.unwrap_or_default());
        }
        for file in &template_files {
            let bytes = files::read_optional(file)?.unwrap_or_default();
            let template = template::parse("", &bytes).value;
            let own = |template: &ClusterTemplate| match chosen {
                [] => !inputs::is_example(&bytes),
                names => names.contains(&template.name),
            };
            clusters.extend(template.filter(own).map(|template| (file.clone(), template)));
        }
        let files = [class_files, template_files].concat();
        let (provider, skipped) = (String::new(), Vec::new());
        let mut site = Site { dir: dir.to_owned(), files, classes, clusters, provider, skipped };
        site.require_clusters(chosen)?;
        let provider = site.providers().next().unwrap_or("proxmox").to_owned();
        site.provider = provider;
        site.drop_unsupported();
        Ok(site)
    }

    fn require_clusters(&self, chosen: &[String]) -> Result<(), Failure> {
        let folder = self.dir.join("clusters");
        let known: Vec<&str> = self.clusters.iter().map(|(_, template)| template.name.as_str()).collect();
        if let Some(lost) = chosen.iter().find(|name| !known.contains(&name.as_str())) {
            let names = self.files.iter().filter_map(|file| file.file_stem()?.to_str());
            let near = nearest::nearest(lost, names).map_or(String::new(), |near| format!("did you mean `{near}`?"));
            let failure = Failure::new(Code::NotFound, format!("there is no cluster `{lost}`"));
            return Err(failure.cause(format!("no template in `{}` has this name", folder.display())).hint(near));
        }
        if known.is_empty() {
            return Err(Failure::new(Code::NotFound, "there is no cluster to rehearse")
                .cause(format!("`{}` contains no template, or only the shipped examples", folder.display()))
                .hint(
                    "choose an example with --cluster NAME, or remove its line `# omni-scale: example` to make it yours",
                ));
        }
        Ok(())
    }

    fn class(&self, name: &str) -> Option<&MachineClass> {
        self.classes.iter().find(|class| class.id == name)
    }

    /// The providers of the classes that the clusters use.
    fn providers(&self) -> impl Iterator<Item = &str> {
        let names = self.clusters.iter().flat_map(|(_, template)| template.classes());
        names.filter_map(|name| Some(self.class(name)?.auto_provision.as_ref()?.provider_id.as_str()))
    }

    /// Removes the clusters that the single simulated provider of VMs cannot create.
    fn drop_unsupported(&mut self) {
        let why = |template: &ClusterTemplate| {
            if template.sets.iter().any(|set| !set.machines.is_empty()) {
                return Some("lists machines by their UUIDs".to_owned());
            }
            template.classes().into_iter().find_map(|name| match &self.class(name)?.auto_provision {
                None => Some(format!("takes existing machines by the labels of class `{name}`")),
                Some(made) if made.provider_id != self.provider => {
                    Some(format!("uses the provider `{}` too: one is simulated", made.provider_id))
                }
                Some(_) => None,
            })
        };
        let all = self.clusters.iter().map(|(_, template)| why(template)).collect::<Vec<_>>();
        let mut all = all.into_iter();
        let mut skipped = Vec::new();
        self.clusters.retain(|(_, template)| match all.next().flatten() {
            Some(why) => {
                skipped.push(format!("cluster `{}`: it {why}", template.name));
                false
            }
            None => true,
        });
        self.skipped = skipped;
    }

    /// Returns the names of the classes that the clusters use and this project has.
    pub fn used_classes(&self) -> BTreeSet<&str> {
        let names = self.clusters.iter().flat_map(|(_, template)| template.classes());
        names.filter(|name| self.class(name).is_some()).collect()
    }

    /// Copies the files of a rehearsal to another project: classes, templates, and the project files that they refer to.
    ///
    /// # Errors
    /// Returns an error if one cannot be read or written.
    pub fn copy_to(&self, project: &Path) -> Result<(), Failure> {
        let root = self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone());
        let named = self.clusters.iter().flat_map(|(file, template)| {
            let folder = file.parent().unwrap_or(Path::new(""));
            template.files().into_iter().map(|(named, _)| folder.join(named)).collect::<Vec<_>>()
        });
        for file in self.files.iter().cloned().chain(named) {
            let Some(inside) =
                file.canonicalize().ok().and_then(|file| Some(file.strip_prefix(&root).ok()?.to_owned()))
            else {
                continue;
            };
            let place = file.strip_prefix(&self.dir).map_or(inside, Path::to_owned);
            if let Some(bytes) = files::read_optional(&file)? {
                // Keeps every path inside the other project.
                let rooted = clean(&Path::new("/").join(&place));
                let inside = rooted.strip_prefix("/").unwrap_or(&rooted);
                files::write_atomically(&project.join(inside), &bytes, files::SHARED)?;
            }
        }
        Ok(())
    }

    /// Returns a Proxmox cluster with everything that the classes refer to, and room for all machines.
    pub fn default_inventory(&self) -> Inventory {
        let data: Vec<ProviderData> = self
            .used_classes()
            .into_iter()
            .filter_map(|name| provider_data::parse("", self.class(name)?.auto_provision.as_ref()?).value)
            .collect();
        let machines: u64 = self.clusters.iter().map(|(_, template)| machine_count(template)).sum();
        let most = |of: fn(&ProviderData) -> u64| data.iter().map(of).max().unwrap_or(0);
        // Twice what the machines need, limited to a number that fits.
        let room = |each: u64, unit: u64, least: u64| {
            machines.saturating_mul(2).saturating_mul(each).saturating_mul(unit).clamp(least, 1 << 60)
        };
        let memory = room(most(|data| data.memory_mib.unwrap_or(0)), 1 << 20, 64 * GIB);
        let disks = |data: &ProviderData| {
            let more = data.additional_disks.iter().filter_map(|disk| disk.size_gib);
            more.fold(data.disk_size_gib.unwrap_or(0), u64::saturating_add)
        };
        let space = room(most(disks), GIB, 1000 * GIB);
        let pinned = data.iter().filter_map(|data| data.node.clone());
        let names: BTreeSet<String> = (1..=3).map(|number| format!("pve{number}")).chain(pinned).collect();
        let nics = data.iter().flat_map(|data| data.additional_nics.iter().filter_map(|nic| nic.bridge.clone()));
        let bridges: BTreeSet<String> = ["vmbr0".to_owned()]
            .into_iter()
            .chain(data.iter().filter_map(|data| data.network_bridge.clone()))
            .chain(nics)
            .collect();
        let more = data.iter().flat_map(|data| data.additional_disks.iter().map(|disk| &disk.storage_selector));
        let selectors: BTreeSet<&String> =
            data.iter().map(|data| &data.storage_selector).chain(more).flatten().collect();
        let node = |name: &String| Node {
            name: name.clone(),
            status: "online".to_owned(),
            figures: Observed::Known(Figures {
                cpus: most(|data| data.vcpus().unwrap_or(0)).max(16),
                cpu_load: 0.0,
                memory_total: memory,
                memory_used: 4 * GIB,
            }),
            storages: Observed::Known(simulated_storages(name, space, &selectors)),
            bridges: Observed::Known(bridges.iter().cloned().collect()),
            vms: Observed::Known(Vec::new()),
        };
        let nodes = names.iter().map(node).collect();
        Inventory { taken_at: String::new(), endpoint: String::new(), version: String::new(), nodes }
    }
}

/// The number of machines of a cluster, including the one that scaling adds.
fn machine_count(template: &ClusterTemplate) -> u64 {
    template.sets.iter().map(|set| u64::from(set.machine_count().unwrap_or(0))).sum::<u64>() + 1
}

/// Returns the name and size of the set that is scaled: the last worker set with a fixed number of machines.
pub fn scaled_set(template: &ClusterTemplate) -> Option<(&str, u32)> {
    let sets: Vec<_> = template.workers().collect();
    sets.into_iter().rev().find_map(|set| match (&set.kind, set.class.as_ref()?.size) {
        (SetKind::Workers { name }, Size::Count(count)) => {
            Some((if name.is_empty() { "workers" } else { name.as_str() }, count))
        }
        _ => None,
    })
}

/// Returns a directory for images, a pool, and one more storage for each selector that matches neither.
fn simulated_storages(node: &str, space: u64, selectors: &BTreeSet<&String>) -> Vec<Storage> {
    const KINDS: [&str; 8] = ["lvmthin", "zfspool", "rbd", "lvm", "dir", "nfs", "cephfs", "btrfs"];
    let storage = |name: &str, kind: &str, content: &str| Storage {
        name: name.to_owned(),
        node: node.to_owned(),
        kind: kind.to_owned(),
        available: space,
        total: space,
        content: vec![content.to_owned()],
        enabled: true,
        active: true,
        shared: matches!(kind, "rbd" | "nfs" | "cephfs"),
    };
    let mut all = vec![storage("local", "dir", "iso"), storage("local-lvm", "lvmthin", "images")];
    for text in selectors {
        let takes = |storage: &Storage| selector::selects(text, storage) == Ok(true);
        if all.iter().any(|storage| storage.accepts_images() && takes(storage)) {
            continue;
        }
        let names = selector::storage_names(text).into_iter().chain(["rehearsal"]);
        let mut made = names.flat_map(|name| KINDS.map(|kind| storage(name, kind, "images")));
        all.extend(made.find(|storage| takes(storage) && all.iter().all(|other| other.name != storage.name)));
    }
    all
}

/// The life cycle of a cluster in the lab, and the steps taken so far.
pub struct LifeCycle<'a> {
    pub cx: &'a Cx,
    pub lab: &'a Lab,
    pub project: &'a Path,
    /// Maximum number of attempts for each step: one more for each fault.
    pub tries: usize,
    pub steps: Vec<Value>,
}

impl LifeCycle<'_> {
    /// Takes the clusters through their whole life cycle. A step that failed is recorded in `steps`.
    ///
    /// # Errors
    /// Returns an error if the lab cannot be queried, or if the operator interrupts.
    pub fn run(&mut self, site: &mut Site, inventory: &Inventory, program: &Path) -> anyhow::Result<()> {
        let files: Vec<String> = site.clusters.iter().map(|(file, _)| template_path(file)).collect();
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
            if self.task(&["cluster-sync", file, "--allow-destroy", &name])? && self.scale_and_upgrade(site, number)? {
                alive.push(name);
            }
        }
        self.restart_node(site, inventory, program, &alive)?;
        for (_, template) in &site.clusters {
            self.task(&["cluster-delete", &template.name, "--allow-destroy", &template.name])?;
        }
        let state = lab::read_state(self.cx, program, &self.lab.dir)?;
        // A fault may have created a machine that belongs to someone else.
        let own = |vm: &&Value| {
            let name = vm["name"].as_str().unwrap_or_default();
            site.clusters.iter().any(|(_, template)| name.starts_with(&format!("{}-", template.name)))
        };
        let vms = state["proxmox"]["vms"].as_array().into_iter().flatten().filter(own).count();
        self.record("nothing is left", (vms == 0).then_some(()).ok_or(format!("{} left", count(vms, "VM"))), 0, 1);
        Ok(())
    }

    /// Scales a cluster up by one and back, and upgrades it.
    fn scale_and_upgrade(&mut self, site: &mut Site, number: usize) -> anyhow::Result<bool> {
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
            None => site.skipped.push(format!("scaling `{name}`: no workers have a number")),
        }
        let planned = run_task(self.cx, self.lab, self.project, &argv(&["cluster-upgrade", &name, "--dry-run"]))?;
        match planned.code {
            Some(3) => self.task(&["cluster-upgrade", &name]),
            Some(0) => Ok(true),
            _ => {
                site.skipped.push(format!("upgrading `{name}`: this kit knows no step from its versions"));
                Ok(true)
            }
        }
    }

    /// Step 3: turns the node with the most machines off and on again.
    fn restart_node(
        &mut self,
        site: &mut Site,
        inventory: &Inventory,
        program: &Path,
        alive: &[String],
    ) -> anyhow::Result<()> {
        let state = lab::read_state(self.cx, program, &self.lab.dir)?;
        let vms = state["proxmox"]["vms"].as_array().cloned().unwrap_or_default();
        let online: Vec<&str> =
            inventory.nodes.iter().filter(|node| node.is_online()).map(|node| node.name.as_str()).collect();
        let on = |node: &&&str| vms.iter().filter(|vm| vm["node"] == **node).count();
        let Some(node) = online.iter().max_by_key(on).filter(|_| online.len() > 1 && !alive.is_empty()) else {
            site.skipped.push("the loss of a node: it needs two nodes and a running cluster".to_owned());
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

    /// Runs one task, repeated as often as faults may have hit it. Returns true if it passed.
    fn task(&mut self, line: &[&str]) -> anyhow::Result<bool> {
        let begun = Instant::now();
        for tried in 1..=self.tries {
            let ran = run_task(self.cx, self.lab, self.project, &argv(line))?;
            let said = ran.document["error"]["message"].as_str().unwrap_or("its output is above").to_owned();
            let passed = ran.code == Some(0);
            if passed || tried == self.tries {
                let took = begun.elapsed().as_millis() as u64;
                self.record(&line.join(" "), passed.then_some(()).ok_or(said), took, tried);
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

/// Path of a template in the scratch project.
fn template_path(file: &Path) -> String {
    format!("clusters/{}", file.file_name().unwrap_or_default().to_string_lossy())
}

/// Converts the arguments of a task to owned strings.
pub fn argv(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| (*word).to_owned()).collect()
}

/// Prints the steps, and what was not rehearsed.
pub fn report(cx: &Cx, steps: &[Value], skipped: &[String]) {
    let word = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    let row = |step: &Value| {
        let tries = step["tries"].as_u64().unwrap_or(1);
        let again = if tries > 1 { format!(" at try {tries}") } else { String::new() };
        let time = millis(step["elapsed_ms"].as_u64().unwrap_or(0));
        vec![word(step, "step"), format!("{}{again}", word(step, "status")), time]
    };
    cx.ui.print_data(&format!("\n{}", table(&["STEP", "RESULT", "TIME"], steps.iter().map(row))));
    cx.ui.print_data(&format!(
        "\nnot rehearsed:\n{}",
        skipped.iter().map(|what| format!("  {what}\n")).collect::<String>()
    ));
}
