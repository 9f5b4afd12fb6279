//! Differences between the project's files, Omni, Proxmox and the containers that run here.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use crate::flow::inputs::{self, Template, TemplateFacts};
use crate::flow::{cluster_sync, lookup, machine_class, omni_stack, project_classes, proxmox, stage};
use crate::prelude::*;
use check::drift::{self, Drift};
use domain::spec::name;
use domain::status::omni::{Brief, Resource};
use domain::status::sync::SyncAction;
use runtime::parallel::{Job, NO_LIMIT, run_all, run_both};
use runtime::paths::path_to_paste;
use runtime::tool::compose::{Compose, OMNI};
use runtime::tool::omnictl::Omnictl;
use runtime::tool::proxmox::Proxmox;

/// What Omni has for all clusters, with one read per resource type.
pub struct Omni {
    classes: Vec<Resource>,
    pub clusters: Vec<Resource>,
    pub requests: Vec<Resource>,
    /// The requests whose VM was created.
    provisioned: BTreeSet<String>,
}

#[derive(Deserialize)]
struct RequestStatus {
    #[serde(default)]
    stage: u64,
}

/// `ClusterMachineRequestStatus.stage` of a request whose VM was created (omni v1.9.3 `omni.proto`).
const PROVISIONED: u64 = 3;

impl Omni {
    /// # Errors
    /// Returns an error if omnictl cannot be run or rejects a request.
    pub fn observe(omnictl: &Omnictl<'_>) -> Result<Omni, Failure> {
        let (lists, statuses) = run_both(
            || lookup::list_all(omnictl, ["machineclasses", "clusters", "machinerequests"], None),
            || omnictl.list_as("clustermachinerequeststatuses", None),
        );
        let ([classes, clusters, requests], statuses): (_, Vec<Brief<RequestStatus>>) = (lists?, statuses?);
        let made = statuses.into_iter().filter(|status| status.spec.stage == PROVISIONED);
        let provisioned = made.map(|status| status.metadata.id).collect();
        Ok(Omni { classes, clusters, requests, provisioned })
    }

    fn cluster(&self, name: &str) -> Option<&Resource> {
        self.clusters.iter().find(|found| found.metadata.id == name)
    }

    pub fn summary(&self) -> String {
        let words = [
            count(self.classes.len(), "machine class"),
            count(self.clusters.len(), "cluster"),
            count(self.requests.len(), "machine request"),
        ];
        words.join(", ")
    }
}

/// What could not be compared, and why.
type NotCompared = (String, String);
type Comparison = Result<(Vec<Drift>, Vec<NotCompared>), Failure>;

/// The differences in one area, or why they are unknown, and the parts that could not be compared.
pub struct Area {
    pub name: &'static str,
    pub found: Result<Vec<Drift>, Failure>,
    pub unread: Vec<NotCompared>,
}

/// Runs all comparisons in parallel and returns them in report order. With `hardware`, the configuration of every VM is read.
pub fn compare_all(cx: &Cx, omnictl: &Omnictl<'_>, omni: &Omni, hardware: bool) -> Vec<Area> {
    let alone = |found: Vec<Drift>| (found, Vec::new());
    let comparisons: Vec<(&'static str, Job<'_, Comparison>)> = vec![
        ("machine classes", Box::new(|| compare_classes(cx, omni).map(alone))),
        ("clusters", Box::new(|| compare_clusters(cx, omnictl, omni).map_err(|error| Failure::of(&error)))),
        ("machines in Proxmox", Box::new(move || compare_provider_machines(cx, omni, hardware))),
        ("containers", Box::new(|| compare_containers(cx))),
        ("the project's notes", Box::new(|| Ok(alone(compare_state(cx, omni))))),
    ];
    let (names, jobs): (Vec<_>, Vec<_>) = comparisons.into_iter().unzip();
    let area = |(name, compared): (&'static str, Comparison)| match compared {
        Ok((found, unread)) => Area { name, found: Ok(found), unread },
        Err(failure) => Area { name, found: Err(failure), unread: Vec::new() },
    };
    names.into_iter().zip(run_all(jobs, NO_LIMIT)).map(area).collect()
}

/// Compares the machines of every active provider.
fn compare_provider_machines(cx: &Cx, omni: &Omni, hardware: bool) -> Comparison {
    let providers = cx.providers()?;
    let one = |cx| -> Job<'_, Comparison> { Box::new(move || compare_machines(cx, omni, hardware)) };
    let mut all = (Vec::new(), Vec::new());
    for compared in run_all(providers.iter().map(one).collect(), NO_LIMIT) {
        let (found, unread) = compared?;
        all.0.extend(found);
        all.1.extend(unread);
    }
    Ok(all)
}

/// Compares machine classes: files with Omni.
fn compare_classes(cx: &Cx, omni: &Omni) -> Result<Vec<Drift>, Failure> {
    let files = project_classes::read_classes(cx)?;
    let mut found = Vec::new();
    for resource in &omni.classes {
        let id = resource.metadata.id.as_str();
        let object = format!("machine class {id}");
        let Some(file) = files.iter().find(|file| file.class.id == id) else {
            let drift = Drift::new("class-without-file", object, "Omni has it, but no file describes it")
                .fix("writes the file", format!("cargo xtask machineclass-export {id}"))
                .fix("removes it from Omni, if no machine set uses it", format!("omnictl delete machineclass {id}"));
            found.push(drift);
            continue;
        };
        let differences = machine_class::describe_differences(&file.class, resource);
        if !differences.is_empty() {
            let drift =
                Drift::new("class-differs", object, format!("applying the file changes {}", differences.join(", ")))
                    .fix("applies the file to Omni", format!("cargo xtask machineclass-apply {id}"))
                    .fix(
                        "replaces the file with what Omni has",
                        format!("cargo xtask machineclass-export {id} --force"),
                    );
            found.push(drift);
        }
    }
    let there = |id: &str| omni.classes.iter().any(|found| found.metadata.id == id);
    for file in files.iter().filter(|file| !file.example && !there(&file.class.id)) {
        let id = &file.class.id;
        let drift = Drift::new("class-not-in-omni", format!("machine class {id}"), "the file was not applied to Omni")
            .fix("applies the file to Omni", format!("cargo xtask machineclass-apply {id}"))
            .fix("removes the file", format!("rm {}", path_to_paste(&cx.paths.root().join(&*file.class.place.file))));
        found.push(drift);
    }
    Ok(found)
}

/// Compares clusters: templates with Omni, according to omnictl. Also returns what could not be compared, and why.
fn compare_clusters(cx: &Cx, omnictl: &Omnictl<'_>, omni: &Omni) -> anyhow::Result<(Vec<Drift>, Vec<NotCompared>)> {
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    let mut templates: BTreeMap<String, Template> = BTreeMap::new();
    let template_in = |file: &Path| format!("template `{}`", cx.paths.show(file));
    for file in inputs::list_yaml_files(&cx.paths.clusters()) {
        let bytes = match cx.read(&file, "") {
            Ok(bytes) => bytes,
            Err(failure) if failure.code == Code::Interrupted => return Err(failure.into()),
            Err(failure) => {
                unread.push((template_in(&file), failure.to_string()));
                continue;
            }
        };
        let checked = Template::check(cx, &file, &bytes, &TemplateFacts::default());
        let sound = !checked.findings.iter().any(yaml::Finding::is_error);
        match checked.value.filter(|_| sound) {
            Some(template) if inputs::is_example(&bytes) && omni.cluster(template.name()).is_none() => {}
            Some(template) => match templates.get(template.name()) {
                Some(other) => {
                    let (other, name) = (cx.paths.show(&other.file.path), template.name());
                    unread.push((template_in(&file), format!("{other} is the template of cluster `{name}` too")));
                }
                None => _ = templates.insert(template.name().to_owned(), template),
            },
            None => unread.push((template_in(&file), "it is not valid: see cluster-check".to_owned())),
        }
    }
    let named = |resource: &&Resource| !resource.metadata.tearing_down();
    for name in omni.clusters.iter().filter(named).map(|found| found.metadata.id.as_str()) {
        // An invalid file may be the template of this cluster.
        let own = cx.paths.cluster(name);
        if templates.contains_key(name) || unread.iter().any(|(file, _)| *file == template_in(&own)) {
            continue;
        }
        let export = format!("cargo xtask cluster-export {name}");
        let export = match templates.values().find(|template| template.file.path == own) {
            Some(other) => {
                format!("git mv {} {} && {export}", path_to_paste(&own), path_to_paste(&cx.paths.cluster(other.name())))
            }
            None => export,
        };
        let drift =
            Drift::new("cluster-without-file", format!("cluster {name}"), "Omni has it, but no file describes it");
        found.push(match name::check_existing("cluster", name).is_ok() {
            true => drift
                .fix("writes the template", export)
                .fix("destroys the cluster with its machines", format!("cargo xtask cluster-delete {name}")),
            false => drift,
        });
    }
    let (there, absent): (Vec<Template>, Vec<Template>) =
        templates.into_values().partition(|template| omni.cluster(template.name()).is_some());
    for template in absent {
        let (name, file) = (template.name(), path_to_paste(&template.file.path));
        let drift = Drift::new("cluster-not-in-omni", format!("cluster {name}"), "its template was not synced to Omni")
            .fix("creates the cluster", format!("cargo xtask cluster-sync {name}"))
            .fix("removes the template", format!("rm {file}"));
        found.push(drift);
    }
    let kept = |template: &Template| omni.cluster(template.name()).is_some_and(|found| !found.metadata.tearing_down());
    let there: Vec<Template> = there.into_iter().filter(kept).collect();
    let (_stage, staged) = stage::copy_templates(cx, &there)?;
    for diff in cluster_sync::compare(cx, omnictl, &there, &staged)?.iter().filter(|diff| !diff.in_sync()) {
        let name = diff.name();
        let words: Vec<String> = diff.actions.iter().map(SyncAction::describe).collect();
        let drift =
            Drift::new("cluster-differs", format!("cluster {name}"), format!("a sync would {}", words.join(", ")))
                .fix("syncs the template to Omni", format!("cargo xtask cluster-sync {name}"))
                .fix("replaces the template with what Omni has", format!("cargo xtask cluster-export {name} --force"));
        found.push(drift);
    }
    Ok((found, unread))
}

/// The most VMs whose configuration is read without `--hardware`; each takes a request.
const CONFIGURATIONS: usize = 100;

/// Compares Omni's machine requests with the VMs that Proxmox lists in one call, their configurations, and the provider's images.
///
/// # Errors
/// Returns an error if Proxmox cannot be queried, or shows the login no VM at all, which proves nothing.
fn compare_machines(cx: &Cx, omni: &Omni, hardware: bool) -> Comparison {
    let id = cx.settings.provider_id(None).value;
    let live = |request: &&Resource| !request.metadata.tearing_down();
    let mine: BTreeSet<&str> = omni
        .requests
        .iter()
        .filter(|request| request.metadata.label("infra-provider-id") == Some(id.as_str()))
        .map(|request| request.metadata.id.as_str())
        .collect();
    let names: BTreeSet<&str> = omni.requests.iter().map(|request| request.metadata.id.as_str()).collect();
    let provisioned: BTreeSet<&str> =
        omni.provisioned.iter().map(String::as_str).filter(|id| mine.contains(id)).collect();
    let proxmox = proxmox::configured(cx)?;
    let guests = RefCell::new(BTreeSet::new());
    let listed = proxmox::list_vms(cx, &proxmox, &|vm| {
        guests.borrow_mut().extend(vm["vmid"].as_u64());
        drift::is_relevant(vm, &names)
    })?;
    if listed.list_is_empty && !mine.is_empty() {
        return Err(Failure::new(Code::Refused, "this login cannot see any VM in Proxmox: it may lack VM.Audit"));
    }
    let mut unread = Vec::new();
    let configs = match listed.entries.len() {
        many if many > CONFIGURATIONS && !hardware => {
            let what = format!("the network cards and additional disks of {}", count(many, "machine"));
            unread.push((what, "each needs its own request: `cargo xtask drift --hardware` sends them".to_owned()));
            BTreeMap::new()
        }
        _ => read_configurations(cx, &proxmox, &listed.entries, &mut unread)?,
    };
    let mut found = drift::machines(&omni.requests, &provisioned, &listed.entries, &configs);
    // A Talos image may be for a VM that is about to be created.
    let all_made = omni.requests.iter().filter(live).all(|request| provisioned.contains(request.metadata.id.as_str()));
    let known = all_made && configs.len() == listed.entries.len();
    match proxmox::list_images(cx, &proxmox) {
        Ok(images) => found.extend(drift::unneeded_images(&images, &guests.into_inner(), known.then_some(&configs))),
        Err(failure) if failure.code == Code::Interrupted => return Err(failure),
        Err(failure) => unread.push(("images in Proxmox".to_owned(), failure.to_string())),
    }
    Ok((found, unread))
}

/// Reads `GET /nodes/NODE/qemu/ID/config` of each VM that still exists, by its ID.
fn read_configurations(
    cx: &Cx,
    proxmox: &Proxmox,
    vms: &[Value],
    unread: &mut Vec<NotCompared>,
) -> Result<BTreeMap<u64, Value>, Failure> {
    let path = |vm: &Value| format!("/nodes/{}/qemu/{}/config", vm["node"].as_str().unwrap_or_default(), vm["vmid"]);
    let paths: Vec<String> = vms.iter().map(path).collect();
    let mut found = BTreeMap::new();
    for (vm, answer) in vms.iter().zip(proxmox.get_all(cx, "reading the configuration of VMs", &paths)) {
        let id = vm["vmid"].as_u64().unwrap_or_default();
        match answer {
            Ok(config) => _ = found.insert(id, config),
            Err(failure) if failure.code == Code::Interrupted => return Err(failure),
            Err(failure) => unread.push((format!("the hardware of VM {id}"), failure.to_string())),
        }
    }
    Ok(found)
}

/// Finds containers that are not running, or that docker/compose.yaml and docker/.env would change. If there are none at all,
/// Omni may run on another host.
fn compare_containers(cx: &Cx) -> Comparison {
    let compose = Compose::find(cx)?;
    let there = compose.containers()?;
    let mut found = Vec::new();
    for (service, from, to) in omni_stack::version_changes(cx, &there) {
        let next = if service == OMNI { "cargo xtask omni-upgrade --dry-run" } else { STACK };
        found.push(container_drift(&service, format!("it runs {from}, docker/compose.yaml has {to}"), next));
    }
    if there.is_empty() || cx.settings.recorded.is_some() {
        return Ok((found, Vec::new()));
    }
    let provider = omni_stack::provider_ready(cx).is_ok();
    let (pending, outdated) =
        match compose.pending(provider).and_then(|it| Ok((it, omni_stack::changed_values(cx, &there)?))) {
            Err(failure) if failure.code == Code::Interrupted => return Err(failure),
            Err(failure) => {
                return Ok((found, vec![("the configuration of the containers".to_owned(), failure.to_string())]));
            }
            Ok(pending) => pending,
        };
    for (name, verb) in &pending {
        let known = there.iter().find(|container| container.name == *name);
        let service = known.map_or(name.as_str(), |container| container.service.as_str());
        let detail = match verb.as_str() {
            verb if verb.starts_with("Recreat") => {
                "it would be recreated: docker/compose.yaml or docker/.env has changed"
            }
            _ if known.is_some() => "it is not running",
            _ => "docker/compose.yaml defines it, but it does not exist",
        };
        if !found.iter().any(|drift: &Drift| drift.object == format!("container {service}")) {
            found.push(container_drift(service, detail.to_owned(), STACK));
        }
    }
    if !outdated.is_empty() {
        let detail = format!("{} changed after they were created", outdated.join(" and "));
        found.push(Drift::new("container-differs", "the containers", detail).fix("shows what would change", STACK));
    }
    Ok((found, Vec::new()))
}

const STACK: &str = "cargo xtask stack-up --dry-run";

fn container_drift(service: &str, detail: String, next: &str) -> Drift {
    Drift::new("container-differs", format!("container {service}"), detail).fix("shows what would change", next)
}

/// Finds entries in the project's notes that are neither in a file nor in Omni.
fn compare_state(cx: &Cx, omni: &Omni) -> Vec<Drift> {
    let kinds = [
        ("clusters", "cluster", &omni.clusters, cx.paths.clusters()),
        ("machine_classes", "machine class", &omni.classes, cx.paths.machine_classes()),
    ];
    let mut found = Vec::new();
    for (key, what, there, dir) in kinds {
        let known = |name: &String| {
            there.iter().any(|resource| resource.metadata.id == *name) || dir.join(format!("{name}.yaml")).exists()
        };
        for name in cx.settings.state.list(key).iter().filter(|name| !known(name)) {
            let detail = format!("the notes list it under `{key}`, but it is neither in Omni nor in a file");
            let edit = format!("${{EDITOR:-vi}} {}", path_to_paste(&cx.paths.state()));
            found.push(
                Drift::new("state-outdated", format!("{what} {name}"), detail)
                    .fix("remove its name from the list", edit),
            );
        }
    }
    found
}
