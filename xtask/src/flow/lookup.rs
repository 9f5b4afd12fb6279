//! The context in which files are checked: this project's classes, and what Omni has, as far as it can be queried.

use std::fmt::Display;

use crate::prelude::*;
use check::capacity::provider as release;
use check::machine_class::{ClassContext, Provider};
use check::releases::Omni;
use check::stack;
use check::template::{self, ClassInfo, TalosInfo};
use domain::releases::table;
use domain::spec::machine_class;
use domain::status::omni::Resource;
use domain::version;
use runtime::files;
use runtime::parallel::{NO_LIMIT, map_all};
use runtime::tool::omnictl::Omnictl;
use runtime::ui::Check;

use crate::flow::inputs::{self, TemplateFacts};
use crate::flow::machine_class as flow_class;
use crate::flow::site;

/// The releases that this project runs, and the IDs of its providers.
#[derive(Debug, Default)]
pub struct ProjectReleases {
    /// The release of Omni in `docker/compose.yaml`.
    pub omni: Option<Omni>,
    /// The release of the Proxmox provider there.
    pub provider: Option<release::Provider>,
    /// Whether that Omni stores etcd backups.
    pub backup_store: Option<bool>,
    ours: Vec<String>,
}

impl ProjectReleases {
    pub fn class_context<'a>(&'a self, providers: Option<&'a [Provider]>) -> ClassContext<'a> {
        ClassContext { providers, ours: &self.ours, release: self.provider, omni: self.omni, given: false }
    }
}

/// The version of a program that files are checked for, and its origin.
#[derive(Debug, Clone, Copy)]
pub struct EffectiveVersion<T> {
    pub version: Option<T>,
    origin: &'static str,
}

impl<T: Copy + Display> EffectiveVersion<T> {
    /// Chooses the version given by the operator, else the running one, else the one pinned by the project.
    pub fn of(flag: (Option<T>, &'static str), live: Option<T>, pinned: Option<T>) -> EffectiveVersion<T> {
        let sources = [flag, (live, "running"), (pinned, "docker/compose.yaml")];
        let (version, origin) = sources.into_iter().find(|(version, _)| version.is_some()).unwrap_or((None, ""));
        EffectiveVersion { version, origin }
    }

    /// Returns the JSON: `{"version", "from"}`, or null if the version is unknown.
    pub fn data(&self) -> Value {
        self.version.map_or(Value::Null, |version| json!({ "version": version.to_string(), "from": self.origin }))
    }

    fn words(&self, program: &str) -> String {
        match self.version {
            Some(version) => format!("{program} {version} ({})", self.origin),
            None => format!("{program}: not known"),
        }
    }
}

/// Shows the versions that the files are checked for.
pub fn note_versions(cx: &Cx, omni: &EffectiveVersion<Omni>, provider: Option<&EffectiveVersion<release::Provider>>) {
    let mut words = vec![omni.words("Omni")];
    words.extend(provider.map(|provider| provider.words("provider")));
    let newer = omni.version.filter(|version| !version.is_known());
    let (status, newer) = match newer {
        Some(_) => (Status::Warning, format!("; releases after {} are not known here", table().facts.omni)),
        None => (Status::Ok, String::new()),
    };
    cx.ui.note("versions", "Read the versions that the files are checked for", status, words.join(", ") + &newer);
}

/// Returns the release of the running Omni, from its SysVersion.
pub fn running_release(found: Option<&[Resource]>) -> Option<Omni> {
    Omni::of_tag(found?.first()?.text(&["backendversion"]))
}

/// Reads the releases from `docker/compose.yaml`; without that file, they are unknown.
pub fn project_releases(cx: &Cx) -> ProjectReleases {
    let compose = files::read_optional_text(&cx.paths.compose()).ok().flatten().unwrap_or_default();
    ProjectReleases {
        omni: Omni::of_compose(&compose),
        provider: release::Provider::of_compose(&compose),
        backup_store: stack::backup_store(&compose, &site::read(cx).ok().flatten().unwrap_or_default()),
        ours: cx.provider_ids(),
    }
}

/// Lists all resources of several types in parallel; with a selector, only those with the label.
///
/// # Errors
/// Returns the error for the first type that omnictl cannot list.
pub fn list_all<const N: usize>(
    omnictl: &Omnictl<'_>,
    kinds: [&'static str; N],
    selector: Option<&str>,
) -> Result<[Vec<Resource>; N], Failure> {
    let mut answers = map_all(kinds, NO_LIMIT, |kind| omnictl.list(kind, selector)).into_iter();
    let mut lists = std::array::from_fn(|_| Vec::new());
    for list in &mut lists {
        *list = answers.next().unwrap_or(Ok(Vec::new()))?;
    }
    Ok(lists)
}

/// A list to request from Omni: the resource type for omnictl, and its name for people.
pub type Question = (&'static str, &'static str);

pub const PROVIDERS: Question = ("infraproviderstatuses", "providers and their schemas");
pub const CLASSES: Question = ("machineclasses", "machine classes");
pub const TALOS: Question = ("talosversions", "Talos versions");
pub const RELEASE: Question = ("sysversions", "version");

/// Requests each list from Omni once, in parallel. A list is `None` if Omni was not queried or did not answer; a step reports
/// that, and it is not treated as an error in the files.
pub fn ask<const N: usize>(cx: &Cx, offline: bool, questions: [Question; N]) -> [Option<Vec<Resource>>; N] {
    let mut lists = std::array::from_fn(|_| None);
    if offline {
        cx.ui.note("omni", "Read classes, schemas and versions from Omni", Status::Skipped, "not queried: --offline");
        return lists;
    }
    let omnictl = match Omnictl::find(cx) {
        Ok(omnictl) => omnictl,
        Err(failure) => {
            let detail = format!("not queried: {}; using the built-in data", failure.message);
            cx.ui.note("omni", "Read classes, schemas and versions from Omni", Status::Warning, detail);
            return lists;
        }
    };
    let omnictl = &omnictl;
    let check = |(kind, title): Question| {
        Check::new(kind, format!("Read Omni's {title}"), move || match omnictl.list(kind, None) {
            Ok(found) => {
                let release = found.first().filter(|_| kind == RELEASE.0).map(|found| found.text(&["backendversion"]));
                let detail = release.map_or_else(|| found.len().to_string(), str::to_owned);
                Ok(StepResult::ok(Some(found), detail))
            }
            Err(failure) => {
                Ok(StepResult::warning(None, format!("not known: {}; using the built-in data", failure.message)))
            }
        })
    };
    let results = cx.ui.run_checks("querying Omni", questions.map(check).into());
    lists.iter_mut().zip(results).for_each(|(list, result)| *list = result.ok().flatten());
    lists
}

/// Lists resources of Omni, as a check that reports their number.
pub fn list<'a>(
    omnictl: &'a Omnictl<'_>,
    id: &'static str,
    title: impl Into<String>,
    kind: &'static str,
) -> Check<'a, Vec<Resource>> {
    Check::new(id, title, move || {
        let found = omnictl.list(kind, None)?;
        let count = found.len();
        Ok(StepResult::ok(found, count.to_string()))
    })
}

/// The context for templates, as far as it is known: the same for the check and for tasks that sync.
pub struct TemplateSources {
    /// Omni's machine classes, as it lists them.
    pub classes: Option<Vec<Resource>>,
    omni: Option<Vec<ClassInfo>>,
    local: Option<Vec<ClassInfo>>,
    talos: Option<Vec<TalosInfo>>,
    backup_store: Option<bool>,
    pub release: EffectiveVersion<Omni>,
}

impl TemplateSources {
    /// Reads machine classes and Talos versions from Omni; if it cannot be queried, the files in `machine-classes/` and the
    /// built-in table are used instead.
    pub fn read_sources(cx: &Cx, offline: bool, omni: Option<Omni>) -> TemplateSources {
        let [listed, talos, live] = ask(cx, offline, [CLASSES, TALOS, RELEASE]);
        let flag = (omni, "--omni-version");
        let project = project_releases(cx);
        let release = EffectiveVersion::of(flag, running_release(live.as_deref()), project.omni);
        let omni = listed.as_deref().map(parse_classes);
        let local = if omni.is_none() { local_classes(cx) } else { None };
        // The running Omni does not show which versions another release offers.
        let other = flag.0.is_some_and(|given| running_release(live.as_deref()) != Some(given));
        let talos = talos.as_deref().filter(|_| !other).and_then(parse_talos_versions);
        TemplateSources { omni, local, talos, backup_store: project.backup_store, classes: listed, release }
    }

    /// Returns the facts in the form that the checks use.
    pub fn facts(&self) -> TemplateFacts<'_> {
        TemplateFacts {
            omni: self.release.version,
            omni_classes: self.omni.as_deref(),
            local_classes: self.local.as_deref(),
            talos_versions: self.talos.as_deref(),
            backup_store: self.backup_store,
        }
    }
}

/// Converts InfraProviderStatuses for the checks. The schema is a string that contains JSON (omni v1.9.3
/// `client/api/omni/specs/infra.proto`).
pub fn parse_providers(found: &[Resource]) -> Vec<Provider> {
    let of = |resource: &Resource| Provider {
        id: resource.metadata.id.clone(),
        schema: serde_json::from_str(resource.text(&["schema"])).ok(),
        release: release::Provider::of_tag(resource.text(&["version"])),
        is_static: resource.metadata.has_label("is-static-infra-provider"),
    };
    found.iter().map(of).collect()
}

/// Converts MachineClasses to what templates need of them.
pub fn parse_classes(found: &[Resource]) -> Vec<ClassInfo> {
    let of = |resource: &Resource| ClassInfo {
        name: resource.metadata.id.clone(),
        provisions: resource.at(&["autoprovision"]).is_object(),
        install_disk: template::may_have_further_disks(resource.text(&["autoprovision", "providerdata"]))
            .then(|| template::install_disk(&flow_class::parse_resource(resource)?.auto_provision?))
            .flatten(),
    };
    sort_by_name(found.iter().map(of).collect())
}

/// Sorts classes by name, for binary search.
fn sort_by_name(mut classes: Vec<ClassInfo>) -> Vec<ClassInfo> {
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    classes
}

/// Converts TalosVersions, oldest first; `None` for an empty list: Omni has not reached its image factory yet.
pub fn parse_talos_versions(found: &[Resource]) -> Option<Vec<TalosInfo>> {
    let of = |resource: &Resource| {
        let compatible = resource.at(&["compatiblekubernetesversions"]).as_array();
        let mut compatible: Vec<String> =
            compatible.into_iter().flatten().filter_map(|version| Some(version.as_str()?.to_owned())).collect();
        version::sort(&mut compatible, |version| version);
        TalosInfo {
            version: resource.metadata.id.clone(),
            compatible_kubernetes: compatible,
            unsupported: resource.flag(&["unsupported"]),
            deprecated: resource.flag(&["deprecated"]),
        }
    };
    let mut versions: Vec<TalosInfo> = found.iter().map(of).collect();
    version::sort(&mut versions, |talos| &talos.version);
    (!versions.is_empty()).then_some(versions)
}

/// Returns the classes in `machine-classes/`, for when Omni is not queried; `None` if there are none, because they may be kept
/// elsewhere. Files that cannot be read are left to another check.
pub fn local_classes(cx: &Cx) -> Option<Vec<ClassInfo>> {
    if !cx.paths.is_project() {
        return None;
    }
    let files = inputs::list_yaml_files(&cx.paths.machine_classes());
    let of = |path: &std::path::PathBuf| {
        let bytes = inputs::read(cx, path, "").unwrap_or_default();
        let parsed = machine_class::parse(&cx.paths.show(path), &bytes);
        parsed.value.unwrap_or_default().iter().map(ClassInfo::of).collect::<Vec<_>>()
    };
    let found = sort_by_name(inputs::map_in_parallel(&files, of).into_iter().flatten().collect());
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::status::omni::parse_resources;

    #[test]
    fn omni_resources_are_converted_for_the_checks() {
        let text = r#"
            {"metadata":{"id":"proxmox"},"spec":{"schema":"{\"type\":\"object\"}","name":"Proxmox"}}
            {"metadata":{"id":"metal","labels":{"omni.sidero.dev/is-static-infra-provider":null}},"spec":{"schema":""}}"#;
        let found = parse_providers(&parse_resources(text).unwrap());
        assert_eq!(found[0].schema, Some(serde_json::json!({"type": "object"})));
        assert!(found[1].is_static && found[1].schema.is_none() && !found[0].is_static);
        let text = r#"{"metadata":{"id":"a"},"spec":{"autoprovision":{"providerid":"p"}}}
            {"metadata":{"id":"b"},"spec":{"autoprovision":null,"matchlabels":["x"]}}"#;
        let found = parse_classes(&parse_resources(text).unwrap());
        assert_eq!(found.iter().map(|class| class.provisions).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn talos_versions_are_sorted_and_an_empty_list_is_unknown() {
        let text = r#"
            {"metadata":{"id":"1.13.10"},"spec":{"compatiblekubernetesversions":["1.36.10","1.36.2"]}}
            {"metadata":{"id":"1.13.9"},"spec":{"unsupported":true}}
            {"metadata":{"id":"1.13.10-beta.1"},"spec":{}}"#;
        let found = parse_talos_versions(&parse_resources(text).unwrap()).unwrap();
        let ids: Vec<&str> = found.iter().map(|talos| talos.version.as_str()).collect();
        assert_eq!(ids, ["1.13.9", "1.13.10-beta.1", "1.13.10"]);
        assert_eq!(found[2].compatible_kubernetes, ["1.36.2", "1.36.10"]);
        assert!(found[0].unsupported);
        assert_eq!(parse_talos_versions(&[]), None);
    }
}
