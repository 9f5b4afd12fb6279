//! The installed versions before an upgrade, from containers, Omni and files, and the commands for its steps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::flow::{backup, inputs, lookup, site};
use check::stack;
use check::upgrade::{self, Cluster, ClusterFiles, Component, Installed, OfferedVersions, Step, TargetVersions};
use domain::failure::{Code, Failure};
use domain::releases::table;
use domain::spec::template::{self, ClusterTemplate};
use domain::status::cluster::cluster_lines;
use domain::status::docker::Container;
use domain::status::omni::Resource;
use domain::version::{self, Version};
use domain::words::count;
use runtime::cx::Cx;
use runtime::files;
use runtime::paths::path_to_paste;
use runtime::tool::compose::{Compose, OMNI, PROVIDER};
use runtime::tool::omnictl::Omnictl;
use runtime::ui::{Status, StepResult};

/// The lists that an upgrade depends on, however many machines there are.
const LISTS: [&str; 5] = ["clusters", "clusterstatuses", "machinesetstatuses", "talosversions", "talosextensions"];
/// A list as long as the fleet, so it is read only if the upgrade depends on it: from Omni 1.11 on.
const MACHINES: &str = "machinestatuses";

/// Returns the versions in the files: the tags in `docker/compose.yaml`, and the versions in `clusters/`. Runs no programs.
///
/// # Errors
/// Returns an error if a file cannot be read, a template is not valid, or an image has no release.
pub fn from_files(cx: &Cx) -> Result<Installed, Failure> {
    let compose = files::read_optional_text(&cx.paths.compose())?.unwrap_or_default();
    let images = stack::images(&compose);
    let pinned = |service: &str| images.get(service).map(|image| release_of_image(service, image)).transpose();
    let cluster = |(path, template): &(PathBuf, ClusterTemplate)| {
        let version = |what: &str, text: &str| {
            version::parse(text).map_err(|why| {
                Failure::new(Code::Invalid, format!("`{}` has no valid version of {what}", cx.paths.show(path)))
                    .cause(format!("{text:?}: {why}"))
                    .next(format!("cargo xtask cluster-check {}", path_to_paste(path)))
            })
        };
        let (talos, kubernetes) =
            (version("Talos", &template.talos_version)?, version("Kubernetes", &template.kubernetes_version)?);
        Ok(Cluster { files: of_template(path, template), ..Cluster::new(&template.name, talos, kubernetes) })
    };
    let clusters = read_templates(cx)?.iter().map(cluster).collect::<Result<_, Failure>>()?;
    Ok(Installed { omni: pinned(OMNI)?, provider: pinned(PROVIDER)?, clusters, ..base_versions(cx, &compose) })
}

/// Returns the running versions: the images of the containers, and those of the clusters in Omni.
///
/// # Errors
/// See [`Compose`], [`Omnictl`] and [`from_running`].
pub fn read_running(cx: &Cx, wanted: &TargetVersions) -> anyhow::Result<Installed> {
    let templates = read_templates(cx)?;
    let (docker, omnictl) = (Compose::find(cx)?, Omnictl::find(cx)?);
    let containers = cx.ui.step("containers", "Read the images of the containers", || {
        let found = docker.containers()?;
        let detail = count(found.len(), "container");
        Ok(StepResult::ok(found, detail))
    })?;
    let lists = read_lists(cx, &omnictl, wanted)?;
    Ok(from_running(cx, &templates, &containers, lists)?)
}

/// Returns the running versions from what was already read: the containers, and the lists of [`kinds`].
///
/// # Errors
/// Returns an error if the files of the stack cannot be read, or [`Code::Invalid`] if the image of a container has no release.
pub fn from_running(
    cx: &Cx,
    templates: &Templates,
    containers: &[Container],
    lists: Vec<Vec<Resource>>,
) -> Result<Installed, Failure> {
    let compose = files::read_optional_text(&cx.paths.compose())?.unwrap_or_default();
    // With several providers, the oldest counts: all share the image in docker/compose.yaml, but one may not be recreated yet.
    let running = |of: &dyn Fn(&str) -> bool| -> Result<Option<Version>, Failure> {
        let own = containers.iter().filter(|container| of(&container.service));
        let found: Result<Vec<Version>, Failure> =
            own.map(|container| release_of_image(&container.service, &container.image)).collect();
        Ok(found?.into_iter().min())
    };
    let (omni, provider) = (running(&|service| service == OMNI)?, running(&Compose::is_provider)?);
    let (clusters, offered) = parse_lists(lists, templates);
    Ok(Installed { omni, provider, clusters, offered: Some(offered), ..base_versions(cx, &compose) })
}

/// Returns the lists of Omni that the requested upgrades depend on.
pub fn kinds(wanted: &TargetVersions) -> impl Iterator<Item = &'static str> {
    let machines = wanted.omni.as_ref().filter(|to| **to >= Version::new(1, 11, 0)).map(|_| MACHINES);
    LISTS.into_iter().chain(machines)
}

fn read_lists(cx: &Cx, omnictl: &Omnictl<'_>, wanted: &TargetVersions) -> anyhow::Result<Vec<Vec<Resource>>> {
    let lists = kinds(wanted).map(|kind| lookup::list(omnictl, kind, format!("Read {kind}"), kind));
    cx.ui.run_checks("querying Omni", lists.collect()).into_iter().collect()
}

/// Parses the clusters of Omni, and the versions that it offers.
fn parse_lists(lists: Vec<Vec<Resource>>, templates: &Templates) -> (Vec<Cluster>, OfferedVersions) {
    let mut lists = lists.into_iter();
    let mut next = || lists.next().unwrap_or_default();
    let lines = cluster_lines(&next(), &next());
    let sets = next();
    let (offered, machines) = (parse_offered(&next(), &next()), next());
    let clusters = lines.iter().filter(|line| !line.tearing_down).filter_map(|line| {
        let (talos, kubernetes) = (version::parse(&line.talos).ok()?, version::parse(&line.kubernetes).ok()?);
        let own = templates.iter().find(|(_, template)| template.name == line.name);
        Some(Cluster {
            healthy: Some(line.running),
            files: own.map(|(path, template)| of_template(path, template)).unwrap_or_default(),
            ..Cluster::new(&line.name, talos, kubernetes)
        })
    });
    let mut clusters: Vec<Cluster> = clusters.collect();
    add_machines(&mut clusters, &sets, &machines);
    (clusters, offered)
}

/// Returns one cluster of Omni, with everything that its upgrade depends on; no cluster if Omni has none with this name.
///
/// # Errors
/// See [`Omnictl`]; also returns an error if a template is not valid.
pub fn read_cluster(cx: &Cx, omnictl: &Omnictl<'_>, name: &str, wanted: &TargetVersions) -> anyhow::Result<Installed> {
    let templates = read_templates(cx)?;
    let (mut clusters, offered) = parse_lists(read_lists(cx, omnictl, wanted)?, &templates);
    clusters.retain(|cluster| cluster.name == name);
    let running = omnictl.get("sysversions", "current")?;
    let omni = running.and_then(|found| version::parse(found.text(&["backendversion"])).ok());
    Ok(Installed { omni, clusters, offered: Some(offered), ..Installed::default() })
}

/// Parses a release from the command line.
///
/// # Errors
/// Fails with [`Code::Usage`] unless it is a release with three numbers.
pub fn parse(text: &str, like: &Version) -> Result<Version, Failure> {
    version::parse(text).ok().filter(|_| version::is_full(text)).ok_or_else(|| {
        Failure::new(Code::Usage, format!("`{text}` is not a version"))
            .cause("an upgrade needs a release with three numbers: tags like `latest` and digests have no order")
            .hint(format!("write it like v{like}"))
    })
}

/// Formats a step as `Omni 1.9.3 → 1.10.6`.
pub fn title(step: &Step) -> String {
    format!("{} {} → {}", step.component, step.from, step.to)
}

/// Refuses steps that are blocked, and prints the warnings about all of them.
///
/// # Errors
/// Fails with [`Code::Failed`] and every blocker.
pub fn refuse_blocked(cx: &Cx, steps: &[Step], what: &str) -> Result<(), Failure> {
    let mut notes: BTreeSet<&str> = BTreeSet::new();
    for step in steps {
        if let Some(what) = &step.irreversible {
            cx.ui.note("irreversible", title(step), Status::Warning, what);
        }
        for reason in step.warnings.iter().filter(|reason| notes.insert(&reason.message)) {
            cx.ui.note(&reason.rule, title(step), Status::Warning, &reason.message);
        }
    }
    let reasons = |step: &Step| {
        step.blockers.iter().map(|why| format!("{}: {} [{}]", title(step), why.message, why.rule)).collect::<Vec<_>>()
    };
    let blocked: Vec<String> = steps.iter().flat_map(reasons).collect();
    if blocked.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Code::Failed, format!("the upgrade of {what} is blocked; nothing was changed"))
        .cause(blocked.join("\n"))
        .hint("fix what is listed above; `cargo xtask upgrade-plan` shows every step to newer versions")
        .next("cargo xtask upgrade-plan"))
}

/// Adds the oldest Talos version of each cluster's machines, and the health of its control planes.
fn add_machines(clusters: &mut [Cluster], sets: &[Resource], machines: &[Resource]) {
    let mut oldest: BTreeMap<&str, (Option<Version>, usize)> = BTreeMap::new();
    for machine in machines {
        let found = oldest.entry(machine.text(&["cluster"])).or_default();
        let talos = version::parse(machine.text(&["talosversion"])).ok();
        found.0 = [found.0.take(), talos].into_iter().flatten().min();
        found.1 += usize::from(machine.flag(&["schematic", "invalid"]));
    }
    for cluster in clusters {
        if let Some((talos, without_factory)) = oldest.remove(cluster.name.as_str()) {
            (cluster.oldest_machine, cluster.without_factory) = (talos, without_factory);
        }
        let id = format!("{}-control-planes", cluster.name);
        cluster.control_planes = sets.iter().find(|set| set.metadata.id == id).map(|set| {
            let number = |key: &str| set.number(&["machines", key]);
            (number("healthy"), number("total").max(number("requested")))
        });
    }
}

fn parse_offered(versions: &[Resource], extensions: &[Resource]) -> OfferedVersions {
    let texts = |resource: &Resource, key: &str| -> Vec<String> {
        let list = resource.at(&[key]).as_array().into_iter().flatten();
        list.filter_map(|each| each.as_str().or_else(|| each["name"].as_str())).map(str::to_owned).collect()
    };
    let compatible = versions.iter().flat_map(|version| texts(version, "compatiblekubernetesversions"));
    let catalog = |each: &Resource| {
        let names: BTreeSet<String> = texts(each, "items").into_iter().collect();
        Some((version::parse(&each.metadata.id).ok()?, names))
    };
    OfferedVersions {
        talos: versions.iter().filter_map(|version| version::parse(&version.metadata.id).ok()).collect(),
        kubernetes: compatible.filter_map(|text| version::parse(&text).ok()).collect(),
        extensions: extensions.iter().filter_map(catalog).collect(),
    }
}

/// Templates, each with its path.
pub type Templates = [(PathBuf, ClusterTemplate)];

/// Reads the operator's templates, without the shipped examples.
///
/// # Errors
/// Returns an error if a file cannot be read or is not a template.
pub fn read_templates(cx: &Cx) -> Result<Vec<(PathBuf, ClusterTemplate)>, Failure> {
    let paths = inputs::list_yaml_files(&cx.paths.clusters()).into_iter();
    let read = |path: PathBuf| {
        let bytes = inputs::read(cx, &path, "check the file")?;
        if inputs::is_example(&bytes) {
            return Ok(None);
        }
        let shown = cx.paths.show(&path);
        match template::parse(&shown, &bytes).value {
            Some(template) => Ok(Some((path, template))),
            None => Err(Failure::new(Code::Invalid, format!("`{shown}` is not a valid cluster template"))
                .next(format!("cargo xtask cluster-check {shown}"))),
        }
    };
    paths.map(read).filter_map(Result::transpose).collect()
}

fn of_template(path: &Path, template: &ClusterTemplate) -> ClusterFiles {
    upgrade::collect_files(template, |file| inputs::read_referenced_file(path, file))
}

fn base_versions(cx: &Cx, compose: &str) -> Installed {
    let (flags, mut keys) = stack::omni_settings(compose);
    keys.extend(check::site::keys(&site::read(cx).ok().flatten().unwrap_or_default()));
    let provider_id = Some(cx.settings.provider_id(None).value);
    Installed { flags, keys, provider_id, no_backup: backup::recent_backup(cx).err(), ..Installed::default() }
}

/// Returns the release in the tag of an image.
///
/// # Errors
/// Fails with [`Code::Invalid`] for `latest`, a digest, the tag of a fork, and anything else that is not a release.
pub fn release_of_image(service: &str, image: &str) -> Result<Version, Failure> {
    let tag = stack::tag(image);
    let of_commit = table().provider.iter().find(|known| known.tag.is_some() && known.tag.as_deref() == tag);
    if let Some(known) = of_commit.filter(|_| Compose::is_provider(service)) {
        return Ok(known.version.clone());
    }
    let version = tag.filter(|tag| version::is_full(tag)).and_then(|tag| version::parse(tag).ok());
    let upstream = |version: &Version| {
        let kind = version.pre.as_str().split('.').next().unwrap_or_default();
        version.build.is_empty() && ["", "alpha", "beta", "rc"].contains(&kind)
    };
    version.filter(upstream).ok_or_else(|| {
        let why = match tag {
            None => "without a tag the version is not known",
            Some(_) => "its tag is not a release: `latest`, branches and the builds of forks have no order",
        };
        Failure::new(Code::Invalid, format!("the version of `{service}` is not known: its image is `{image}`"))
            .cause(why)
            .hint("find out what runs, for Omni with `omnictl get sysversion`, and pin that release in docker/compose.yaml")
    })
}

/// Returns the commands that carry out a step.
pub fn commands(step: &Step) -> Vec<String> {
    let stack = |service: &str, more: &[&str]| {
        let first = format!("set the tag of `{service}` in docker/compose.yaml to v{}", step.to);
        let pull = "docker compose -f docker/compose.yaml --profile provider pull";
        let rest = [pull, "cargo xtask stack-up --recreate"].into_iter().chain(more.iter().copied());
        [first].into_iter().chain(rest.map(str::to_owned)).collect()
    };
    match &step.component {
        Component::Omni => vec![format!("cargo xtask omni-upgrade --to v{}", step.to)],
        Component::Provider => stack(PROVIDER, &["cargo xtask provider-verify"]),
        Component::Talos(name) => vec![format!("cargo xtask cluster-upgrade {name} --talos v{}", step.to)],
        Component::Kubernetes(name) => vec![format!("cargo xtask cluster-upgrade {name} --kubernetes v{}", step.to)],
    }
}
