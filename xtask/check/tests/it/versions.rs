//! Rules that apply to some releases of Omni, its omnictl and its providers, and not to others.

use std::fmt::Write as _;

use check::capacity::provider::Provider as Release;
use check::machine_class::{self, ClassContext, Provider};
use check::releases::Omni;
use check::template::{self, ClassInfo, FileRead, TalosInfo, TemplateContext};
use serde::Deserialize;
use yaml::Finding;

pub fn template(talos: &str, control_plane: &str) -> String {
    let head = format!("kind: Cluster\nname: demo\nkubernetes:\n  version: v1.36.2\ntalos:\n  version: {talos}\n");
    format!("{head}---\nkind: ControlPlane\nmachineClass:\n  name: cp\n  size: 3\n{control_plane}")
}

fn patch(inline: &str) -> String {
    format!("patches:\n  - name: a\n    inline: {inline}\n")
}

pub fn class(provider: &str, data: &str) -> String {
    let lines: String = data.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "metadata:\n  namespace: default\n  type: MachineClasses.omni.sidero.dev\n  id: a\nspec:\n  autoprovision:\n    \
         providerid: {provider}\n    providerdata: |\n{lines}"
    )
}

pub fn rules(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|f| f.rule).collect()
}

/// A row of `corpus/versions.yaml`, which documents the fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Case {
    omni: String,
    talos: Option<String>,
    kubernetes: Option<String>,
    cluster: String,
    patch: Option<String>,
    set: String,
    /// `VERSION KUBERNETES,KUBERNETES [unsupported]`
    offered: Option<Vec<String>>,
    classes: Option<Vec<String>>,
    store: Option<bool>,
    of: Vec<String>,
    rules: Vec<String>,
    verdict: Option<String>,
    says: String,
    fix: String,
}

fn offer(line: &str) -> TalosInfo {
    let words: Vec<&str> = line.split(' ').collect();
    TalosInfo {
        version: words[0].to_owned(),
        compatible_kubernetes: words[1].split(',').map(str::to_owned).collect(),
        unsupported: words.contains(&"unsupported"),
        deprecated: false,
    }
}

#[test]
fn templates_are_checked_for_the_release_of_omni() {
    let cases: Vec<Case> = serde_yaml::from_str(include_str!("../corpus/versions.yaml")).expect("the cases");
    assert!(cases.len() > 60, "{}", cases.len());
    for case in cases {
        let more = case.patch.as_deref().map_or_else(|| case.set.clone(), patch);
        let text = template(case.talos.as_deref().unwrap_or("v1.13.5"), &more);
        let text = text.replace("v1.36.2", case.kubernetes.as_deref().unwrap_or("v1.36.2"));
        let end = if case.cluster.is_empty() { "---".to_owned() } else { format!("{}\n---", case.cluster) };
        let text = text.replacen("---", &end, 1);
        let offered: Option<Vec<TalosInfo>> =
            case.offered.as_ref().map(|all| all.iter().map(|line| offer(line)).collect());
        let class = |name: &String| ClassInfo { name: name.clone(), provisions: true, install_disk: None };
        let classes: Option<Vec<ClassInfo>> = case.classes.as_ref().map(|all| all.iter().map(class).collect());
        let context = TemplateContext {
            omni: Omni::of_tag(&case.omni),
            talos_versions: offered.as_deref(),
            omni_classes: classes.as_deref(),
            backup_store: case.store,
            ..TemplateContext::default()
        };
        let checked = template::check("demo.yaml", text.as_bytes(), &context);
        let of = |rule: &str| case.of.is_empty() || case.of.iter().any(|start| rule.starts_with(start));
        let found: Vec<&Finding> = checked.findings.iter().filter(|finding| of(finding.rule)).collect();
        assert_eq!(found.iter().map(|finding| finding.rule).collect::<Vec<_>>(), case.rules, "{case:?}: {found:?}");
        let verdict = format!("{:?}", checked.verdict);
        assert!(case.verdict.as_ref().is_none_or(|wanted| *wanted == verdict), "{case:?}: {verdict}");
        let said = |text: fn(&Finding) -> &String| found.first().map_or(String::new(), |first| text(first).clone());
        assert!(said(|first| &first.message).contains(&case.says), "{case:?}: {found:?}");
        assert!(case.fix.is_empty() || said(|first| &first.fix) == case.fix, "{case:?}: {found:?}");
    }
}

#[test]
fn extensions_are_limited_in_number() {
    let many: String = (0..257).map(|n| format!("siderolabs/e{n}, ")).collect();
    let text = template("v1.13.5", "").replacen("---", &format!("systemExtensions: [{many}]\n---"), 1);
    let context = TemplateContext { omni: Omni::of_tag("v1.10.6"), ..TemplateContext::default() };
    let found = template::check("demo.yaml", text.as_bytes(), &context).findings;
    assert!(found[0].message.contains("Omni v1.10.6 accepts up to 256 extensions, not 257"), "{found:?}");
}

/// A row of `corpus/providers.yaml`, which documents the fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClassCase {
    provider: Option<String>,
    data: String,
    ours: Vec<String>,
    providers: Option<Vec<ProviderCase>>,
    release: Option<String>,
    given: bool,
    omni: String,
    rules: Option<Vec<String>>,
    verdict: Option<String>,
    says: Vec<String>,
    not: Vec<String>,
    schema: String,
    fix: Option<String>,
    live: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ProviderCase {
    id: String,
    schema: Option<serde_json::Value>,
    #[serde(rename = "static")]
    is_static: bool,
    release: Option<String>,
}

fn release(tag: Option<&String>) -> Option<Release> {
    tag.map(|tag| Release::of_tag(tag).expect(tag))
}

#[test]
fn classes_are_checked_by_what_is_known_of_their_provider() {
    let cases: Vec<ClassCase> = serde_yaml::from_str(include_str!("../corpus/providers.yaml")).expect("the cases");
    for case in cases {
        let provider = |of: &ProviderCase| Provider {
            id: of.id.clone(),
            schema: of.schema.clone(),
            is_static: of.is_static,
            release: release(of.release.as_ref()),
        };
        let providers: Option<Vec<Provider>> = case.providers.as_ref().map(|all| all.iter().map(provider).collect());
        let context = ClassContext {
            providers: providers.as_deref(),
            ours: &case.ours,
            release: release(case.release.as_ref()),
            omni: Omni::of_tag(&case.omni),
            given: case.given,
        };
        let text = class(case.provider.as_deref().unwrap_or("proxmox"), &case.data);
        let checked = machine_class::check("a.yaml", text.as_bytes(), &context);
        let words: String = checked.findings.iter().map(|finding| format!("{}\n", finding.message)).collect();
        assert!(case.rules.as_ref().is_none_or(|due| rules(&checked.findings) == *due), "{case:?}: {checked:?}");
        assert!(case.verdict.as_ref().is_none_or(|due| format!("{:?}", checked.verdict) == *due), "{checked:?}");
        assert!(case.says.iter().all(|text| words.contains(text)), "{case:?}: {words}");
        assert!(!case.not.iter().any(|text| words.contains(text)), "{case:?}: {words}");
        assert!(checked.schema.unwrap_or_default().contains(&case.schema), "{case:?}");
        let fix = checked.findings.first().map(|first| &first.fix);
        assert!(case.fix.is_none() || fix == case.fix.as_ref(), "{case:?}: {fix:?}");
        assert!(case.live.is_none() || context.reported_release() == release(case.live.as_ref()), "{case:?}");
    }
}

#[test]
fn keys_of_the_provider_are_checked_by_its_release() {
    let data = "cores: 1\nsockets: 1\nmemory: 2048\ndisk_size: 5\nstorage_selector: name == \"a\"\n";
    let check = |more: &str, release| {
        let text = class("proxmox", &format!("{data}{more}"));
        let context = ClassContext { release: Some(release), ..ClassContext::default() };
        let checked = machine_class::check("a.yaml", text.as_bytes(), &context);
        (checked.verdict, rules(&checked.findings))
    };
    for line in include_str!("../corpus/provider-keys.tsv").lines().filter(|line| !line.starts_with('#')) {
        let [release, more, verdict, due] = line.split('\t').collect::<Vec<_>>().try_into().expect(line);
        let (found, rules) = check(more, Release::of_tag(release).expect(line));
        assert_eq!((format!("{found:?}").as_str(), rules.join(" ").as_str()), (verdict, due), "{line}");
    }
    let long = |length| check(&format!("ha: {{comment: {}}}", "a".repeat(length)), Release::V0_2).1.len();
    assert_eq!((long(4096), long(4097)), (0, 1));
}

#[test]
fn patches_of_one_machine_are_counted_together() {
    let big = |name: &str| {
        let mut text = format!("cluster:\n  inlineManifests:\n    - name: {name}\n      contents: |-\n");
        for _ in 0..25_000 {
            writeln!(text, "        {:060}", 0).expect("a string");
        }
        text.into_bytes()
    };
    let read = |path: &str| FileRead::Bytes(big(path.trim_end_matches(".yaml")));
    let check = |cluster: &str, control_plane: &str| {
        let context = TemplateContext { read: Some(&read), ..TemplateContext::default() };
        let files =
            |names: &str| -> String { names.chars().map(|n| format!("  - {{name: {n}, file: {n}.yaml}}\n")).collect() };
        let text = template("v1.13.5", &format!("patches:\n{}", files(control_plane)));
        let text = text.replacen("---", &format!("patches:\n{}---", files(cluster)), 1);
        template::check("demo.yaml", text.as_bytes(), &context).findings
    };
    assert_eq!(rules(&check("a", "b")), Vec::<&str>::new(), "3.5 MB");
    let found = check("ab", "c");
    assert_eq!(rules(&found), ["template-patches-too-large"]);
    assert!(found[0].message.contains("the control plane total 5.2 MB"), "{found:?}");
    assert_eq!(rules(&check("", "abc")), ["template-patches-too-large"]);
}
