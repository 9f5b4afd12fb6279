//! What Omni offers for a new cluster: machine classes, and versions of Talos and Kubernetes.

use crate::flow::lookup;
use crate::prelude::*;
use check::releases::Omni;
use check::template::{ClassInfo, TalosInfo};
use domain::releases::{Severity, table};
use domain::status::omni::Resource;
use domain::version::Minor;
use domain::version::{self, Version};
use domain::words::quote;
use runtime::tool::omnictl::Omnictl;
use runtime::ui::Check;

/// What Omni offers.
pub struct Offer {
    pub classes: Vec<String>,
    pub infos: Vec<ClassInfo>,
    pub versions: Option<Vec<TalosInfo>>,
    /// The release of Omni, if it is known.
    pub omni: Option<Omni>,
    /// The classes as Omni lists them.
    pub listed: Vec<Resource>,
}

/// Queries Omni for its machine classes and Talos versions.
///
/// # Errors
/// Returns an error if omnictl fails, or [`Code::Prerequisite`] if there are no classes.
pub fn observe(cx: &Cx, omnictl: &Omnictl<'_>) -> anyhow::Result<Offer> {
    let checks = vec![
        lookup::list(omnictl, "classes", "Read the machine classes from Omni", "machineclasses"),
        lookup::list(omnictl, "versions", "Read the Talos versions that Omni offers", "talosversions"),
        Check::new("omni", "Read Omni's version", || {
            let found = omnictl.list("sysversions", None).unwrap_or_default();
            let release = lookup::running_release(Some(&found));
            let detail = release.map_or_else(|| "not known".to_owned(), |release| release.to_string());
            Ok(StepResult::ok(found, detail))
        }),
    ];
    let mut results = cx.ui.run_checks("querying Omni", checks).into_iter();
    let mut next = || results.next().unwrap_or_else(|| Ok(Vec::new()));
    let (classes, talos, live) = (next()?, next()?, next()?);
    let (infos, versions) = (lookup::parse_classes(&classes), lookup::parse_talos_versions(&talos));
    let listed = classes;
    let classes: Vec<String> = listed.iter().map(|class| class.metadata.id.clone()).collect();
    if classes.is_empty() {
        return Err(Failure::new(Code::Prerequisite, "Omni has no machine classes")
            .cause("the machines of a cluster are created from machine classes")
            .hint("write a class and apply it first")
            .next("cargo xtask machineclass-create")
            .next("cargo xtask machineclass-apply --all")
            .into());
    }
    let omni = lookup::running_release(Some(&live)).or_else(|| lookup::project_releases(cx).omni);
    Ok(Offer { classes, infos, versions, omni, listed })
}

/// Returns the name of a class, after checking that Omni has it.
///
/// # Errors
/// Fails with [`Code::NotFound`] and the names that Omni has.
pub fn find_class(cx: &Cx, given: &str, offer: &Offer, flag: &str) -> Result<String, Failure> {
    if offer.classes.iter().any(|class| class == given) {
        return Ok(given.to_owned());
    }
    let near = domain::nearest::nearest(given, offer.classes.iter().map(String::as_str));
    let failure = Failure::new(Code::NotFound, format!("Omni has no machine class `{given}`"))
        .cause(format!("it has: {}", offer.classes.join(", ")));
    Err(match near {
        Some(near) => failure.hint(format!("did you mean {flag} {near}?")),
        None if cx.paths.machine_class(given).is_file() => failure
            .hint("its file exists but was not applied yet")
            .next(format!("cargo xtask machineclass-apply {}", quote(given))),
        None => failure.next(format!("cargo xtask machineclass-create {} --apply", quote(given))),
    })
}

impl Offer {
    /// Returns the versions of Talos and Kubernetes, without `v`: the `wanted` ones, or those that this project uses.
    ///
    /// # Errors
    /// Returns an error for a version that Omni does not offer, and for a pair that is not compatible.
    pub fn versions(&self, wanted: (Option<&str>, Option<&str>)) -> Result<(String, String), Failure> {
        versions(wanted, self.versions.as_deref().unwrap_or_default(), self.omni.map(Omni::version).as_ref())
    }
}

/// Returns versions without `v` that Omni offers and that are compatible with each other.
fn versions(
    wanted: (Option<&str>, Option<&str>),
    offered: &[TalosInfo],
    omni: Option<&Version>,
) -> Result<(String, String), Failure> {
    let (pinned_talos, pinned_kubernetes) = {
        let pins = &table().recommended;
        (pins.talos.version.to_string(), pins.kubernetes.version.to_string())
    };
    let bare = |version: &str| version.trim_start_matches('v').to_owned();
    let usable = |found: &&TalosInfo| !found.deprecated && !found.unsupported;
    let known: Vec<String> = offered.iter().filter(usable).map(|found| found.version.clone()).collect();
    let talos = match wanted.0 {
        Some(version) => bare(version),
        None if known.contains(&pinned_talos) && is_usable(&pinned_talos, omni) => pinned_talos,
        None => {
            let sound: Vec<String> = known.iter().filter(|version| is_usable(version, omni)).cloned().collect();
            newest_release(&sound).ok_or_else(|| no_usable_talos(&known))?
        }
    };
    let found = offered.iter().find(|found| found.version == talos).ok_or_else(|| {
        Failure::new(Code::NotFound, format!("Omni offers no Talos {talos}"))
            .cause(format!("it offers: {}", list_newest(&known)))
            .hint("use --talos-version with one of these")
    })?;
    let compatible = &found.compatible_kubernetes;
    let kubernetes = match wanted.1 {
        Some(version) => bare(version),
        None if compatible.contains(&pinned_kubernetes) => pinned_kubernetes,
        None => newest_release(compatible).unwrap_or(pinned_kubernetes),
    };
    if !compatible.is_empty() && !compatible.contains(&kubernetes) {
        return Err(Failure::new(Code::Invalid, format!("Talos {talos} does not support Kubernetes {kubernetes}"))
            .cause(format!("Omni pairs it with: {}", list_newest(compatible)))
            .hint("use --kubernetes-version with one of these"));
    }
    Ok((talos, kubernetes))
}

/// Returns true if this Omni manages the Talos version, and no severe bug of it is known.
fn is_usable(talos: &str, omni: Option<&Version>) -> bool {
    let Ok(talos) = version::parse(talos) else { return false };
    let most = omni.and_then(|omni| table().talos_of_omni(omni)?.max);
    let mut bugs = table().bugs_of(omni, Some(&talos), None);
    let severe = bugs.any(|bug| bug.talos.is_some() && bug.severity == Severity::Block);
    !severe && most.is_none_or(|most| Minor::from(&talos) <= most)
}

fn newest_release(versions: &[String]) -> Option<String> {
    version::newest_release(versions.iter().map(String::as_str)).map(str::to_owned)
}

fn no_usable_talos(known: &[String]) -> Failure {
    if known.is_empty() {
        return Failure::new(Code::Prerequisite, "Omni offers no Talos versions")
            .cause("it has not reached its image factory yet")
            .hint("wait a minute, and check whether Omni's machine can reach the internet");
    }
    Failure::new(Code::Prerequisite, "Omni offers no release of Talos")
        .cause(format!("it offers only pre-releases: {}", list_newest(known)))
        .hint("a pre-release must be requested explicitly: use --talos-version with one of these")
}

fn list_newest(versions: &[String]) -> String {
    let count = versions.len().min(8);
    let shown = versions[versions.len() - count..].join(", ");
    if count < versions.len() { format!("…, {shown}") } else { shown }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use domain::status::omni::parse_resources;

    fn named_versions(
        talos: Option<&str>,
        kubernetes: Option<&str>,
        offered: &[(&str, &[&str])],
    ) -> Result<String, Failure> {
        let text: String = offered
            .iter()
            .map(|(id, pairs)| {
                json!({"metadata": {"id": id}, "spec": {"compatiblekubernetesversions": pairs}}).to_string()
            })
            .collect();
        let offered = lookup::parse_talos_versions(&parse_resources(&text).unwrap()).unwrap_or_default();
        versions((talos, kubernetes), &offered, Some(&Version::new(1, 9, 3)))
            .map(|(talos, kubernetes)| format!("{talos} {kubernetes}"))
    }

    #[test]
    fn pre_release_is_chosen_only_by_name() {
        let old: &[&str] = &["1.36.9", "1.36.10", "1.38.0-alpha.1"];
        let new: &[&str] = &["1.37.0", "1.38.0-alpha.1", "1.37.1-rc.0"];
        let offered = [("1.13.9", old), ("1.13.10", old), ("1.14.0-beta.1", new)];
        assert_eq!(named_versions(None, None, &offered).unwrap(), "1.13.9 1.36.10");
        assert_eq!(named_versions(Some("v1.14.0-beta.1"), None, &offered).unwrap(), "1.14.0-beta.1 1.37.0");
        assert_eq!(named_versions(Some("1.13.9"), Some("v1.38.0-alpha.1"), &offered).unwrap(), "1.13.9 1.38.0-alpha.1");
        let failure = named_versions(None, None, &offered[2..]).unwrap_err();
        assert_eq!(failure.code, Code::Prerequisite);
        assert!(failure.cause.contains("only pre-releases: 1.14.0-beta.1"), "{failure}");
        assert_eq!(named_versions(None, None, &[("1.13.5", &["1.36.3", "1.36.4"])]).unwrap(), "1.13.5 1.36.3");
        // Omni 1.9.3 leaves clusters of Talos 1.13.10 and later unfinished (omni issue 3360); they are accepted only by name.
        let severe = [("1.13.9", old), ("1.13.13", old)];
        assert_eq!(named_versions(None, None, &severe).unwrap(), "1.13.9 1.36.10");
        assert_eq!(named_versions(Some("1.13.13"), None, &severe).unwrap(), "1.13.13 1.36.10");
        assert_eq!(named_versions(None, None, &[]).unwrap_err().code, Code::Prerequisite);
    }
}
