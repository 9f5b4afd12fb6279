//! What a sync means for machines: which are created, their size and whether they fit, which are destroyed with their VMs, and
//! which reboot. Queries Proxmox and Omni only for clusters whose machines may be affected. What cannot be determined is
//! reported, and does not stop a sync.

use std::collections::{BTreeMap, BTreeSet};

use crate::flow::cluster_sync::TemplateDiff;
use crate::flow::{machine_class, provider, proxmox};
use crate::prelude::*;
use check::capacity::demand::demand;
use check::capacity::machine::{self, Machine};
use check::capacity::{self, Fit, format_bytes};
use domain::spec::machine_class::MachineClass;
use domain::spec::template::{ClusterTemplate, MachineSet};
use domain::status::omni::Resource;
use domain::status::proxmox::{Inventory, Observed, host};
use domain::status::sync::{SyncAction, VersionChange};
use domain::version;
use runtime::tool::omnictl::Omnictl;

/// The consequences of a sync of one cluster beyond Omni's resources.
#[derive(Debug, Clone, Default)]
pub struct Impact {
    /// Descriptions for the effect of its step.
    pub effects: Vec<String>,
    /// What is destroyed, per VM if the VMs are known.
    pub destroys: Vec<String>,
}

/// The impact on each cluster, and the data about new machines for the JSON output.
pub struct Impacts {
    pub clusters: Vec<Impact>,
    /// `[{cluster, set, class, count, cores, memory, disk}]`, memory and disk in bytes.
    pub new_machines: Vec<Value>,
    /// Whether all new machines fit; `None` if that is unknown or there are none.
    pub fits: Option<bool>,
}

/// New machines of one machine set.
struct NewMachines<'a> {
    set: String,
    class: &'a str,
    count: u64,
}

/// The state of Proxmox, and Omni's machine requests.
struct ActualState {
    /// The Proxmox of each provider that creates machines of these clusters.
    sites: Vec<(Cx, Observed<Inventory>)>,
    requests: Observed<Vec<Resource>>,
}

/// Determines the impact of syncing every template. `classes` are Omni's machine classes, as far as they are known.
///
/// # Errors
/// Returns an error only if the task is interrupted.
pub fn of(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    diffs: &[TemplateDiff<'_>],
    classes: Option<&[Resource]>,
) -> anyhow::Result<Impacts> {
    let new: Vec<Vec<NewMachines<'_>>> =
        diffs.iter().map(|diff| new_machines(&diff.template.template, &diff.actions)).collect();
    let grows = new.iter().any(|new| !new.is_empty());
    let shrinks = diffs.iter().flat_map(|diff| &diff.actions).any(SyncAction::destroys);
    let mut impacts = Impacts { clusters: vec![Impact::default(); diffs.len()], new_machines: Vec::new(), fits: None };
    if grows || shrinks {
        let of = providers_of(diffs, classes.unwrap_or_default());
        let actual = observe(cx, omnictl, provider::contexts_of_providers(cx, of.iter().copied()))?;
        let classes = classes.unwrap_or_default();
        let machines = machines(cx, classes);
        let fit = grows.then(|| capacity(cx, diffs, &new, (classes, &machines), &actual)).transpose()?;
        impacts.fits = fit.as_ref().and_then(|fit| fit.as_ref().ok().map(Vec::is_empty));
        for (at, diff) in diffs.iter().enumerate() {
            let impact = &mut impacts.clusters[at];
            let destroys = diff.actions.iter().filter(|action| action.destroys());
            impact.destroys = destroys.map(|action| describe_lost(action, &actual)).collect();
            for new in &new[at] {
                let machine = machines.get(new.class).and_then(Option::as_ref);
                impact.effects.push(new.words(machine));
                impacts.new_machines.push(new.json(diff.name(), machine));
            }
            impact.effects.extend(fit.as_ref().filter(|_| !new[at].is_empty()).map(fit_words));
        }
    }
    if diffs.iter().any(|diff| may_restart(&diff.actions)) {
        let machines = Observed::of(omnictl.list("clustermachines", None))?;
        for (impact, diff) in impacts.clusters.iter_mut().zip(diffs) {
            impact.effects.extend(reboots(machines.known().map(Vec::as_slice), &diff.template.template, &diff.actions));
        }
    }
    Ok(impacts)
}

/// The providers that create the machines of these templates.
fn providers_of<'a>(diffs: &[TemplateDiff<'_>], classes: &'a [Resource]) -> BTreeSet<&'a str> {
    let sets = || diffs.iter().flat_map(|diff| &diff.template.template.sets);
    let used = |class: &&Resource| sets().any(|set| set.class.as_ref().is_some_and(|of| of.name == class.metadata.id));
    classes
        .iter()
        .filter(used)
        .map(|class| class.text(&["autoprovision", "providerid"]))
        .filter(|id| !id.is_empty())
        .collect()
}

/// The machines that the actions create, by machine set. Sets that select machines by label or name create none.
fn new_machines<'a>(template: &'a ClusterTemplate, actions: &[SyncAction]) -> Vec<NewMachines<'a>> {
    let of = |set: &'a MachineSet| {
        let (id, class) = (set.id(&template.name), set.class.as_ref()?);
        let action = actions.iter().find(|action| action.kind == "MachineSets" && action.id == id)?;
        let count = match (action.verb, action.machines) {
            ("create", _) => u64::from(set.machine_count()?),
            (_, Some((before, after))) => after.saturating_sub(before),
            _ => 0,
        };
        (count > 0).then_some(NewMachines { set: id, class: &class.name, count })
    };
    template.sets.iter().filter_map(of).collect()
}

impl NewMachines<'_> {
    fn words(&self, machine: Option<&Machine>) -> String {
        let NewMachines { set, class, count: number } = self;
        let each = if machine.is_some() && *number > 1 { " each" } else { "" };
        format!("{} for {set} of class {class} ({}{each})", count(*number, "new machine"), size(machine))
    }

    fn json(&self, cluster: &str, machine: Option<&Machine>) -> Value {
        let disk = machine.map(|machine| machine.disks.iter().map(|disk| disk.size).sum::<u64>());
        json!({
            "cluster": cluster, "set": self.set, "class": self.class, "count": self.count,
            "cores": machine.map(|machine| machine.vcpus), "memory": machine.map(|machine| machine.memory), "disk": disk,
        })
    }
}

/// Describes the size of a machine.
fn size(machine: Option<&Machine>) -> String {
    let Some(machine) = machine else { return "size unknown".to_owned() };
    let disks = machine.disks.iter().map(|disk| disk.size).sum();
    format!("{}, {} memory, {} disk", count(machine.vcpus, "core"), format_bytes(machine.memory), format_bytes(disks))
}

/// Lists Omni's machine classes with the size of their machines, one per line.
pub fn sizes(cx: &Cx, classes: &[Resource]) -> String {
    let machines = machines(cx, classes);
    let width = machines.keys().map(String::len).max().unwrap_or(0);
    let line = |(name, machine): (&String, &Option<Machine>)| format!("    {name:width$}  {}", size(machine.as_ref()));
    machines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The machine of each class in Omni; `None` for a class of a provider outside this project.
fn machines(cx: &Cx, classes: &[Resource]) -> BTreeMap<String, Option<Machine>> {
    let ours = cx.provider_ids();
    let of = |class: &Resource| {
        let found = machine_class::parse_resource(class);
        let provider = |class: &MachineClass| class.auto_provision.as_ref().map(|made| made.provider_id.clone());
        let found = found.filter(|class| provider(class).is_some_and(|id| ours.contains(&id)));
        (class.metadata.id.clone(), found.and_then(|class| machine::machine(&class).value))
    };
    classes.iter().map(of).collect()
}

fn observe(cx: &Cx, omnictl: &Omnictl<'_>, providers: Vec<Cx>) -> anyhow::Result<ActualState> {
    let sites = cx.ui.step("capacity", "Read free capacity from Proxmox", || {
        let (mut sites, mut words, mut done) = (Vec::new(), Vec::new(), StepResult::skipped as fn(_, String) -> _);
        for cx in providers {
            let found = proxmox::login(&cx).and_then(|login| proxmox::observe_quietly(&cx, &login));
            let found = Observed::of(found)?;
            let detail = match &found {
                Observed::Known(found) => {
                    done = StepResult::ok;
                    format!("{} online", count(found.nodes.iter().filter(|node| node.is_online()).count(), "node"))
                }
                Observed::Unknown(why) => format!("unknown: {why}"),
            };
            words.push(cx.site().map_or(String::new(), |site| format!("{site}: ")) + &detail);
            sites.push((cx, found));
        }
        Ok(done(sites, words.join("; ")))
    })?;
    Ok(ActualState { sites, requests: Observed::of(omnictl.list("machinerequests", None))? })
}

/// Why the new machines of all clusters do not fit (empty if they do), or why that is unknown.
type Fits = Result<Vec<String>, String>;

fn capacity(
    cx: &Cx,
    diffs: &[TemplateDiff<'_>],
    new: &[Vec<NewMachines<'_>>],
    (resources, machines): (&[Resource], &BTreeMap<String, Option<Machine>>),
    actual: &ActualState,
) -> Result<Fits, Failure> {
    if let Some(why) = actual.sites.iter().find_map(|(_, inventory)| inventory.why()) {
        return Ok(Err(why.to_owned()));
    }
    let classes: BTreeSet<&str> = new.iter().flatten().map(|new| new.class).collect();
    if let Some(class) = classes.iter().find(|class| !matches!(machines.get(**class), Some(Some(_)))) {
        return Ok(Err(format!("the size of machines of class {class} is not known here")));
    }
    let grow = diffs.iter().zip(new).filter(|(_, new)| !new.is_empty());
    let templates: Vec<ClusterTemplate> = grow.map(|(diff, _)| diff.template.template.clone()).collect();
    let (provider, _) = proxmox::provider_version(cx, None)?;
    let actions = diffs.iter().flat_map(|diff| &diff.actions);
    let removed = actions.filter(|action| action.kind == "MachineSets" && action.verb == "destroy");
    let removed: BTreeSet<String> = removed.map(|action| action.id.clone()).collect();
    let mut fit = Fit::default();
    for (cx, inventory) in &actual.sites {
        let Some(mut inventory) = inventory.known().cloned() else { continue };
        let asked = demand(&templates, &self::machines(cx, resources), &inventory, &actual.requests);
        if !removed.is_empty() {
            proxmox::read_disks(cx, &proxmox::configured(cx)?, &mut inventory, &removed)?;
        }
        let found = capacity::plan(&inventory, &asked.members, &removed, provider);
        fit.add(found, cx.site().as_deref());
    }
    let problems: Vec<String> =
        fit.findings.iter().filter(|finding| finding.is_error()).map(|finding| finding.message.clone()).collect();
    for problem in &problems {
        cx.ui.note("capacity", "the new machines do not fit", Status::Warning, problem.as_str());
    }
    Ok(Ok(problems))
}

/// Describes whether the machines fit. All new machines of a run share the same nodes, so every cluster gets the same text.
fn fit_words(fit: &Fits) -> String {
    match fit.as_ref().map(|problems| problems.first()) {
        Ok(None) => "they fit".to_owned(),
        Ok(Some(problem)) => format!("they do NOT fit: {problem}"),
        Err(why) => format!("whether they fit is unknown: {why}"),
    }
}

/// Describes what an action destroys, per VM.
fn describe_lost(action: &SyncAction, actual: &ActualState) -> String {
    let loss = action.describe_loss();
    if action.kind != "MachineSets" {
        return loss;
    }
    let requests = actual.requests.known().into_iter().flatten();
    let of_set = requests.filter(|request| request.metadata.label("machine-request-set") == Some(action.id.as_str()));
    let kept = of_set.filter(|request| !request.metadata.tearing_down());
    let machines: Vec<String> = kept.map(|request| describe_vm(&request.metadata.id, actual)).collect();
    match (machines.as_slice(), action.verb) {
        ([], _) => loss,
        (machines, "destroy") => format!("{loss}: {}", machines.join(", ")),
        (machines, _) => format!("{loss}; Omni chooses from {}", machines.join(", ")),
    }
}

/// Describes a machine request by the VM with its name.
fn describe_vm(request: &str, actual: &ActualState) -> String {
    let nodes = actual.sites.iter().flat_map(|(cx, inventory)| {
        let site = cx.site();
        inventory.known().into_iter().flat_map(|inventory| &inventory.nodes).map(move |node| (site.clone(), node))
    });
    let found = nodes.into_iter().find_map(|(site, node)| {
        let vm = node.vms.known()?.iter().find(|vm| vm.name == request)?;
        Some(format!("VM {} `{request}` on {}", vm.id, host(site.as_deref(), &node.name)))
    });
    found.unwrap_or_else(|| format!("`{request}` (VM unknown)"))
}

/// Describes the version changes and the reboots that follow. A Talos upgrade boots each machine into the new image: first the
/// control planes, then in each worker set as many at a time as its upgrade strategy allows (omni v1.9.3
/// `internal/backend/runtime/omni/controllers/omni/talosupgrade/status.go`). A Kubernetes upgrade does not restart machines.
fn reboots(machines: Option<&[Resource]>, template: &ClusterTemplate, actions: &[SyncAction]) -> Vec<String> {
    let of_cluster = |machine: &&Resource| machine.metadata.label("cluster") == Some(template.name.as_str());
    let machines = machines.map(|machines| machines.iter().filter(of_cluster).count() as u64);
    let reboot = reboot_words(machines, template);
    let changes = || actions.iter().flat_map(|action| &action.versions);
    let mut words: Vec<String> = changes().map(|change| upgrade_words(change, &reboot)).collect();
    if has_new_image(actions) && !changes().any(|change| change.program == "Talos") {
        words.push(format!("another Talos image (extensions or kernel arguments): {reboot}"));
    }
    words
}

/// Returns true if the actions may restart machines.
fn may_restart(actions: &[SyncAction]) -> bool {
    has_new_image(actions) || actions.iter().any(|action| !action.versions.is_empty())
}

/// Returns true if existing machines get an image with other extensions or kernel arguments.
fn has_new_image(actions: &[SyncAction]) -> bool {
    let image = |action: &SyncAction| matches!(action.kind.as_str(), "ExtensionsConfigurations" | "KernelArgs");
    let new = actions.iter().any(|action| action.verb == "create" && action.kind == "Clusters");
    !new && actions.iter().any(image)
}

fn upgrade_words(change: &VersionChange, reboot: &str) -> String {
    let VersionChange { program, from, to } = change;
    let verb = match (version::parse(from), version::parse(to)) {
        (Ok(from), Ok(to)) if to < from => "downgrade",
        _ => "upgrade",
    };
    match *program {
        "Talos" => format!("{verb} Talos {from} → {to}: {reboot}"),
        _ => format!("{verb} {program} {from} → {to}: no machine reboots, the nodes are upgraded one after the other"),
    }
}

fn reboot_words(machines: Option<u64>, template: &ClusterTemplate) -> String {
    let parallel = |set: &MachineSet| {
        set.upgrade_strategy
            .as_ref()
            .and_then(|strategy| strategy.max_parallelism)
            .map_or(1, |most| u64::from(most.max(1)))
    };
    let control_plane = template.control_plane().map_or(1, parallel);
    let most = control_plane.max(template.workers().map(parallel).sum());
    match machines {
        Some(0) => "there are no machines yet, none reboots".to_owned(),
        Some(1) => "1 machine reboots".to_owned(),
        machines => {
            let who = machines.map_or("all machines".to_owned(), |machines| count(machines, "machine"));
            match most {
                1 => format!("{who} reboot one after the other"),
                most => format!("{who} reboot, up to {most} at a time"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::spec::template;

    fn parse_template(text: &str) -> ClusterTemplate {
        template::parse("demo.yaml", text.as_bytes()).value.unwrap()
    }

    const HEAD: &str = "kind: Cluster\nname: demo\nkubernetes: {version: v1.36.2}\ntalos: {version: v1.13.5}\n---\nkind: ControlPlane\nmachineClass: {name: big, size: 1}\n";

    #[test]
    fn upgrade_names_versions_and_number_of_reboots() {
        let change = |program, from: &str, to: &str| VersionChange { program, from: from.into(), to: to.into() };
        let one = reboot_words(Some(2), &parse_template(HEAD));
        let talos = upgrade_words(&change("Talos", "1.12.0", "1.13.5"), &one);
        assert_eq!(talos, "upgrade Talos 1.12.0 → 1.13.5: 2 machines reboot one after the other");
        let down = upgrade_words(&change("Talos", "1.13.5", "1.13.4"), &reboot_words(Some(1), &parse_template(HEAD)));
        assert_eq!(down, "downgrade Talos 1.13.5 → 1.13.4: 1 machine reboots");
        let kubernetes = upgrade_words(&change("Kubernetes", "1.35.1", "1.36.2"), &one);
        assert!(
            kubernetes.ends_with("1.35.1 → 1.36.2: no machine reboots, the nodes are upgraded one after the other")
        );
    }

    #[test]
    fn sets_that_upgrade_in_parallel_are_counted() {
        let set = |name: &str, strategy: &str| {
            format!("---\nkind: Workers\nname: {name}\nmachineClass: {{name: big, size: 4}}\n{strategy}")
        };
        let strategy = "upgradeStrategy: {type: Rolling, rolling: {maxParallelism: 3}}\n";
        let two = parse_template(&format!("{HEAD}{}{}", set("a", ""), set("b", strategy)));
        assert_eq!(reboot_words(Some(9), &two), "9 machines reboot, up to 4 at a time");
        assert_eq!(reboot_words(None, &parse_template(HEAD)), "all machines reboot one after the other");
    }

    #[test]
    fn only_growing_sets_create_machines() {
        let text = format!("{HEAD}---\nkind: Workers\nmachineClass: {{name: big, size: 5}}\n");
        let template = parse_template(&text);
        let action = |verb, id: &str, machines| SyncAction {
            verb,
            kind: "MachineSets".into(),
            id: id.into(),
            machines,
            versions: Vec::new(),
        };
        let counts = |actions: &[SyncAction]| -> Vec<(String, u64)> {
            new_machines(&template, actions).into_iter().map(|new| (new.set, new.count)).collect()
        };
        let grown = [action("update", "demo-workers", Some((2, 5))), action("create", "demo-control-planes", None)];
        assert_eq!(counts(&grown), [("demo-control-planes".to_owned(), 1), ("demo-workers".to_owned(), 3)]);
        assert_eq!(counts(&[action("update", "demo-workers", Some((7, 5)))]), []);
        assert_eq!(counts(&[action("update", "demo-workers", None), action("destroy", "demo-old", None)]), []);
    }
}
