//! Creates a lab as large as a site that has been in use for years: nodes, storages, virtual machines, and the clusters
//! that they form.
//!
//! No response is scripted: the files that an operator would have are written to the lab's directory and applied to Omni as
//! `omnictl` does it, and Omni's own controllers do the rest. Only the provider's work, which takes half a minute per
//! machine, is replaced by its result: the virtual machine, and the provider's state of it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;

use crate::omni::access::Caller;
use crate::omni::accounts::Role;
use crate::omni::api::{self, OmniCall};
use crate::omni::keys::{PROVIDER_PREFIX, YEAR};
use crate::omni::machine::Hardware;
use crate::omni::machines;
use crate::omni::names::{DEFAULT, INFRA, INFRA_PROVIDER, L_REQUEST_SET, MACHINE_REQUEST};
use crate::omni::resource::Resource;
use crate::omni::state::State;
use crate::omni::{Omni, providers, versions, wall_now};
use crate::provider::{self, release::ProviderRelease, steps::MachineState};
use crate::proxmox::World;
use crate::proxmox::world::GIB;
use crate::tools::omnictl;

/// The provider of the machines: the runbook's default.
const PROVIDER: &str = "proxmox";
/// The prefix of the names of classes and clusters.
const NAME: &str = "fleet";
/// The size of each machine: the minimum for Talos.
const MEMORY_MIB: u64 = 2048;
const CORES: u64 = 2;
const DISK_GIB: u64 = 10;

/// The size of a lab at its start.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Number of Proxmox nodes
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    /// Number of virtual machines: those of the clusters or, without clusters, unrelated ones
    #[arg(long, default_value_t = 0)]
    pub vms: usize,
    /// Number of storages, at least 3
    #[arg(long, default_value_t = 3)]
    pub storages: usize,
    /// Number of Omni clusters, which share the virtual machines; their files go to DIR/machine-classes and DIR/clusters
    #[arg(long, default_value_t = 0)]
    pub clusters: usize,
}

impl Size {
    /// Returns an error if a lab of this size is not possible.
    pub fn check(&self) -> Result<()> {
        for (what, count, most) in
            [("nodes", self.nodes, 1000), ("storages", self.storages, 10_000), ("vms", self.vms, 100_000)]
        {
            if count > most {
                bail!("--{what} {count}: {most} are the most");
            }
        }
        if self.nodes == 0 {
            bail!("--nodes 0: there must be one");
        }
        if self.clusters > self.vms {
            bail!("--clusters {}: each needs a machine of its own, and --vms is {}", self.clusters, self.vms);
        }
        Ok(())
    }

    /// Creates a Proxmox cluster with room for all of it.
    pub fn world(&self, token_secret: &str) -> World {
        let others = if self.clusters == 0 { self.vms } else { 0 };
        let mut world = World::sized(self.nodes, others, self.storages, token_secret);
        let each = (self.vms / self.nodes + 1) as u64;
        for node in world.nodes.values_mut() {
            let needed = node.memory_base + each * MEMORY_MIB * (GIB >> 10) * 5 / 4;
            node.memory = node.memory.max(needed.next_multiple_of(64 * GIB));
            node.cpus = node.cpus.max((each / 2) as u32);
        }
        let disks = each * DISK_GIB * GIB;
        if let Some(pool) = world.storages.get_mut("local-lvm") {
            pool.backends.values_mut().for_each(|backend| backend.total = backend.total.max(backend.other + disks));
        }
        world
    }

    /// Returns the numbers of control planes and workers of a cluster; clusters are counted from 0.
    fn machines(&self, number: usize) -> (usize, usize) {
        let all = self.vms / self.clusters + usize::from(number < self.vms % self.clusters);
        let control_planes = if all < 6 { 1 } else { 3 };
        (control_planes, all - control_planes)
    }
}

/// Creates the clusters: files in `dir`, resources in Omni and virtual machines in Proxmox, all of them running.
pub fn fill(dir: &Path, size: Size, omni: &Omni, world: &mut World) -> Result<()> {
    if size.clusters == 0 {
        return Ok(());
    }
    let files = files(dir, size, omni)?;
    // The key is discarded; `provider-setup` creates another.
    omni.add_key(&format!("{PROVIDER_PREFIX}{PROVIDER}"), Role::InfraProvider, wall_now(), YEAR)?;
    omni.with(|state| {
        let admin = Caller { name: "automation".to_owned(), role: Role::Admin };
        let provider = state.make(INFRA_PROVIDER, INFRA, PROVIDER, serde_json::json!({}));
        create(state, &admin, provider)?;
        let release = ProviderRelease::default();
        let spec = serde_json::json!({"name": "Proxmox", "description": "Proxmox infrastructure provider",
            "schema": release.schema(), "version": release.version()});
        providers::register(state, PROVIDER, spec);
        for file in &files {
            let text = file.display().to_string();
            let wanted = match file.parent().is_some_and(|parent| parent.ends_with("clusters")) {
                true => omnictl::resources_of_template(state.release, &text),
                false => omnictl::resources_of_file(state.release, &text),
            };
            for resource in wanted.map_err(|why| anyhow!("{text}: {why}"))? {
                create(state, &admin, resource)?;
            }
        }
        state.settle();
        provision(state, world);
        state.settle();
        Ok(())
    })
}

fn create(state: &mut State, admin: &Caller, resource: Resource) -> Result<()> {
    let name = resource.name();
    api::call(state, admin, OmniCall::Create(resource)).map(drop).map_err(|why| anyhow!("{name}: {why}"))
}

/// Adds the results of the provider for every request, and the machines that have run since.
fn provision(state: &mut State, world: &mut World) {
    let mut requests: Vec<Resource> = state.store.list(MACHINE_REQUEST, INFRA).cloned().collect();
    requests.sort_by_key(|request| request.md.sequence);
    let nodes: Vec<String> = world.nodes.keys().cloned().collect();
    for (number, request) in requests.iter().enumerate() {
        let (uuid, vmid) = (state.uuid(), 100 + number as u32);
        let node = &nodes[number % nodes.len()];
        world.add_guest(vmid, node, &request.md.id, &uuid, (CORES, MEMORY_MIB, DISK_GIB));
        if let Some((vm, set)) = world.vms.get_mut(&vmid).zip(request.label(L_REQUEST_SET)) {
            vm.config.insert("tags".to_owned(), format!("machine-request.{set}"));
        }
        let machine =
            MachineState { uuid: uuid.clone(), node: node.clone(), vmid: u64::from(vmid), ..MachineState::default() };
        provider::store_provisioned(state, PROVIDER, request, &machine);
        let name = request.md.id.clone();
        let hardware = Hardware { name, cores: CORES, memory_mib: MEMORY_MIB, disk_gib: DISK_GIB };
        machines::add_installed(state, &uuid, hardware);
        state.touch(request);
    }
}

/// Writes the files of the machine classes and clusters as an operator has them.
fn files(dir: &Path, size: Size, omni: &Omni) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    let mut write = |folder: &str, name: &str, text: String| -> Result<()> {
        let folder = dir.join(folder);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file = folder.join(format!("{name}.yaml"));
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        written.push(file);
        Ok(())
    };
    for role in ["controlplane", "worker"] {
        let class = format!("{NAME}-{role}");
        write("machine-classes", &class, class_text(&class))?;
    }
    let release = omni.with(|state| state.release);
    for number in 0..size.clusters {
        let name = format!("{NAME}-{:03}", number + 1);
        let text = template_text(&name, size.machines(number), &versions::defaults(release));
        write("clusters", &name, text)?;
    }
    Ok(written)
}

fn class_text(class: &str) -> String {
    format!(
        "metadata:\n  namespace: {DEFAULT}\n  type: MachineClasses.omni.sidero.dev\n  id: {class}\nspec:\n  \
         autoprovision:\n    providerid: {PROVIDER}\n    kernelargs: []\n    metavalues: []\n    providerdata: |\n      \
         cores: {CORES}\n      sockets: 1\n      memory: {MEMORY_MIB}\n      disk_size: {DISK_GIB}\n      \
         storage_selector: name == \"local-lvm\"\n    grpctunnel: 0\n"
    )
}

fn template_text(name: &str, (control_planes, workers): (usize, usize), versions: &(String, String)) -> String {
    let (talos, kubernetes) = versions;
    let set = |kind: &str, role: &str, size: usize| match size {
        0 => String::new(),
        size => format!("---\nkind: {kind}\nmachineClass:\n  name: {NAME}-{role}\n  size: {size}\n"),
    };
    format!(
        "kind: Cluster\nname: {name}\nkubernetes:\n  version: v{kubernetes}\ntalos:\n  version: v{talos}\n{}{}",
        set("ControlPlane", "controlplane", control_planes),
        set("Workers", "worker", workers)
    )
}
