//! Recorded incidents are blocked for the right reason, and harmless version bumps are not blocked.

use check::upgrade::{Cluster, ClusterFiles, Installed, OfferedVersions, Reason, TargetVersions, plan};
use domain::version::{self, Version};
use serde::Deserialize;

#[derive(Deserialize)]
struct Corpus {
    incidents: Vec<Case>,
    harmless: Vec<Case>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Case {
    name: String,
    rule: String,
    also: Vec<String>,
    source: String,
    omni: Option<String>,
    provider: Option<String>,
    talos: Option<String>,
    kubernetes: Option<String>,
    oldest: Option<String>,
    provider_id: Option<String>,
    healthy: Option<bool>,
    flags: Vec<String>,
    fields: Vec<String>,
    documents: Vec<String>,
    keys: Vec<String>,
    extensions: Vec<String>,
    repeated: Vec<String>,
    outside: Vec<String>,
    without_factory: usize,
    control_planes: Option<(u64, u64)>,
    /// The Talos versions that Omni offers.
    offers: Option<Vec<String>>,
}

fn parsed(text: &str) -> Version {
    version::parse(text).expect("a version")
}

/// Splits `1.9.3>1.10.6` into the installed and the target version.
fn change(text: Option<&String>) -> (Option<Version>, Option<Version>) {
    match text.map(|text| text.split_once('>').unwrap_or((text, ""))) {
        None => (None, None),
        Some((now, "")) => (Some(parsed(now)), None),
        Some((now, then)) => (Some(parsed(now)), Some(parsed(then))),
    }
}

impl Case {
    fn blockers(&self) -> Vec<Reason> {
        let (omni, omni_to) = change(self.omni.as_ref());
        let (provider, provider_to) = change(self.provider.as_ref());
        let (talos, talos_to) = change(self.talos.as_ref());
        let (kubernetes, kubernetes_to) = change(self.kubernetes.as_ref());
        let cluster = talos.zip(kubernetes).map(|(talos, kubernetes)| Cluster {
            healthy: self.healthy,
            oldest_machine: self.oldest.as_deref().map(parsed),
            without_factory: self.without_factory,
            control_planes: self.control_planes,
            files: ClusterFiles {
                fields: self.fields.clone(),
                documents: self.documents.clone(),
                extensions: self.extensions.iter().cloned().collect(),
                repeated: self.repeated.clone(),
                outside: self.outside.clone(),
            },
            ..Cluster::new("demo", talos, kubernetes)
        });
        // A catalog with one extension, for the target Talos.
        let offered = self.offers.as_ref().map(|offers| OfferedVersions {
            talos: offers.iter().map(|version| parsed(version)).collect(),
            kubernetes: kubernetes_to.iter().cloned().collect(),
            extensions: talos_to
                .iter()
                .map(|to| (to.clone(), ["siderolabs/qemu-guest-agent".to_owned()].into()))
                .collect(),
        });
        let installed = Installed {
            omni,
            provider,
            clusters: cluster.into_iter().collect(),
            flags: self.flags.clone(),
            keys: self.keys.clone(),
            provider_id: self.provider_id.clone(),
            offered,
            no_backup: None,
        };
        let wanted = TargetVersions {
            keep_newer: false,
            omni: omni_to,
            provider: provider_to,
            talos: talos_to,
            kubernetes: kubernetes_to,
        };
        let steps = plan(&installed, &wanted);
        assert!(!steps.is_empty(), "{}: the change has no step", self.name);
        steps.into_iter().flat_map(|step| step.blockers).collect()
    }
}

fn corpus() -> Corpus {
    serde_yaml::from_str(include_str!("../corpus/upgrades.yaml")).expect("the corpus is read")
}

#[test]
fn incidents_are_blocked_for_their_reason() {
    let incidents = corpus().incidents;
    assert!(incidents.len() >= 40, "{}", incidents.len());
    let mut wrong = Vec::new();
    for case in &incidents {
        assert!(!case.source.is_empty(), "{} cites no source", case.name);
        let rules: Vec<String> = case.blockers().into_iter().map(|reason| reason.rule).collect();
        if !rules.contains(&case.rule) || rules.iter().any(|rule| *rule != case.rule && !case.also.contains(rule)) {
            wrong.push(format!("{}: {rules:?} instead of {}", case.name, case.rule));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn harmless_bumps_are_not_blocked() {
    let harmless = corpus().harmless;
    assert!(harmless.len() >= 60, "{}", harmless.len());
    let blocked = harmless.iter().filter_map(|case| {
        let blockers = case.blockers();
        (!blockers.is_empty()).then(|| format!("{:?} {:?} {:?}: {blockers:?}", case.omni, case.talos, case.kubernetes))
    });
    let blocked: Vec<String> = blocked.collect();
    assert!(blocked.is_empty(), "{}", blocked.join("\n"));
}

#[test]
fn omni_goes_through_the_last_patch_of_each_minor() {
    let installed = Installed { omni: Some(parsed("1.4.9")), ..Installed::default() };
    let wanted = TargetVersions { omni: Some(parsed("1.10.6")), ..TargetVersions::default() };
    let way: Vec<String> = plan(&installed, &wanted).iter().map(|step| step.to.to_string()).collect();
    assert_eq!(way, ["1.5.11", "1.6.6", "1.7.3", "1.8.2", "1.9.3", "1.10.6"]);
}

#[test]
fn omni_warns_of_clusters_below_its_oldest_talos() {
    let case = |talos: &str| {
        let installed = Installed {
            omni: Some(parsed("1.7.3")),
            clusters: vec![Cluster::new("demo", parsed(talos), parsed("1.31.4"))],
            ..Installed::default()
        };
        let wanted = TargetVersions { omni: Some(parsed("1.8.2")), ..TargetVersions::default() };
        plan(&installed, &wanted).iter().flat_map(|step| &step.warnings).any(|reason| reason.rule == "omni-talos-min")
    };
    assert_eq!([case("1.8.4"), case("1.9.6")], [true, false]);
}
