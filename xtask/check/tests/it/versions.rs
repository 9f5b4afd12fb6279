//! Rules that hold for some releases of Omni, its omnictl and its providers, and not for others.

use std::fmt::Write as _;

use check::capacity::provider::Provider as Release;
use check::machine_class::{self, ClassContext, Provider};
use check::releases::Omni;
use check::template::{self, ClassInfo, FileRead, TalosInfo, TemplateContext};
use check::{Finding, Verdict};
use serde::Deserialize;
use serde_json::json;

fn template(talos: &str, control_plane: &str) -> String {
    let head = format!("kind: Cluster\nname: demo\nkubernetes:\n  version: v1.36.2\ntalos:\n  version: {talos}\n");
    format!("{head}---\nkind: ControlPlane\nmachineClass:\n  name: cp\n  size: 3\n{control_plane}")
}

fn patch(inline: &str) -> String {
    format!("patches:\n  - name: a\n    inline: {inline}\n")
}

fn rules(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|f| f.rule).collect()
}

/// A row of `corpus/versions.yaml`, which says what each field is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    omni: String,
    #[serde(default = "talos")]
    talos: String,
    #[serde(default = "kubernetes")]
    kubernetes: String,
    #[serde(default)]
    cluster: String,
    patch: Option<String>,
    #[serde(default)]
    set: String,
    #[serde(default)]
    of: Vec<String>,
    rules: Vec<String>,
    verdict: Option<String>,
    #[serde(default)]
    says: String,
    #[serde(default)]
    fix: String,
}

fn talos() -> String {
    "v1.13.5".to_owned()
}

fn kubernetes() -> String {
    "v1.36.2".to_owned()
}

#[test]
fn templates_are_checked_for_the_release_of_omni() {
    let cases: Vec<Case> = serde_yaml::from_str(include_str!("../corpus/versions.yaml")).expect("the cases");
    assert!(cases.len() > 60, "{}", cases.len());
    for case in cases {
        let more = case.patch.as_deref().map_or_else(|| case.set.clone(), patch);
        let text = template(&case.talos, &more).replace("v1.36.2", &case.kubernetes);
        let text =
            if case.cluster.is_empty() { text } else { text.replacen("---", &(case.cluster.clone() + "\n---"), 1) };
        let context = TemplateContext { omni: Omni::of_tag(&case.omni), ..TemplateContext::default() };
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
fn backup_interval_needs_a_place_for_backups() {
    for (store, interval, expected) in [
        (Some(false), "1h", &["template-backup-store"][..]),
        (Some(false), "0s", &[]),
        (Some(false), "5m", &["template-backup-interval", "template-backup-store"]),
        (Some(true), "1h", &[]),
        (None, "1h", &[]),
    ] {
        let backup = format!("features: {{backupConfiguration: {{interval: {interval}}}}}\n---");
        let text = template("v1.13.5", "").replacen("---", &backup, 1);
        let context = TemplateContext { backup_store: store, ..TemplateContext::default() };
        assert_eq!(rules(&template::check("demo.yaml", text.as_bytes(), &context).findings), expected, "{interval}");
    }
}

/// What Omni refuses of many extensions, and what it offers, by the Omni that does.
#[test]
fn server_refusals_name_the_omni_that_refuses() {
    let many: String = (0..257).map(|n| format!("siderolabs/e{n}, ")).collect();
    let many = template("v1.13.5", "").replacen("---", &format!("systemExtensions: [{many}]\n---"), 1);
    let offered = [TalosInfo { version: "1.13.5".into(), compatible_kubernetes: vec![], unsupported: true }];
    for (text, offered, words) in [
        (many, None, "Omni v1.10.6 accepts up to 256 extensions, not 257"),
        (template("v1.13.5", ""), Some(&offered[..]), "Omni v1.10.6 does not support Talos 1.13.5"),
        (template("v1.13.6", ""), Some(&offered[..]), "Omni v1.10.6 does not offer"),
    ] {
        let omni = Omni::of_tag("v1.10.6");
        let context = TemplateContext { omni, talos_versions: offered, ..TemplateContext::default() };
        let found = template::check("demo.yaml", text.as_bytes(), &context).findings;
        assert!(found[0].message.contains(words), "{found:?}");
    }
}

#[test]
fn a_class_is_checked_by_the_schema_of_its_own_provider() {
    let class = |provider: &str, data: &str| {
        let lines: String = data.lines().map(|line| format!("      {line}\n")).collect();
        format!(
            "metadata:\n  namespace: default\n  type: MachineClasses.omni.sidero.dev\n  id: a\nspec:\n  autoprovision:\n    \
             providerid: {provider}\n    providerdata: |\n{lines}"
        )
    };
    let libvirt = json!({"type": "object", "required": ["pool"], "properties": {
        "pool": {"type": "string"}, "cores": {"type": "integer"}}});
    let proxmox = json!({"type": "object", "properties": {
        "storage_selector": {"type": "string"}, "disk_size": {"type": "integer"}, "cores": {"type": "integer"}}});
    let of = |id: &str, schema: Option<&serde_json::Value>| Provider {
        id: id.into(),
        schema: schema.cloned(),
        is_static: false,
        release: Some(Release::V0_2),
    };
    let providers = [of("libvirt", Some(&libvirt)), of("second", Some(&proxmox)), of("bare", None)];
    let context = ClassContext { providers: Some(&providers), ..ClassContext::default() };
    let check = |provider: &str, data: &str| {
        let checked = machine_class::check("a.yaml", class(provider, data).as_bytes(), &context);
        (checked.verdict, rules(&checked.findings))
    };
    assert_eq!(check("libvirt", "cores: 2\npool: a\nimage: b"), (Verdict::Accept, vec![]));
    assert_eq!(check("libvirt", "cores: 2"), (Verdict::Reject, vec!["providerdata-required"]));
    // A second Proxmox provider is one by its schema.
    assert_eq!(check("second", "cores: 2").1, ["providerdata-sockets"]);
    assert_eq!(check("bare", "anything: 1"), (Verdict::Unknown, vec!["class-provider-schema"]));
    assert_eq!(check("nobody", "anything: 1"), (Verdict::Reject, vec!["class-provider-unknown"]));
    let ours = ["pve-a".to_owned()];
    let context = ClassContext { ours: &ours, release: Some(Release::V0_2), ..ClassContext::default() };
    let checked = machine_class::check("a.yaml", class("pve-b", "cores: 2").as_bytes(), &context);
    assert_eq!(rules(&checked.findings), ["class-provider-schema"]);
    assert_eq!(checked.findings[0].fix, "did you mean `pve-a`?");
}

#[test]
fn keys_of_the_provider_are_checked_by_its_release() {
    let data = "cores: 1\nsockets: 1\nmemory: 2048\ndisk_size: 5\nstorage_selector: name == \"a\"\n";
    let check = |more: &str, release| {
        let lines: String = format!("{data}{more}").lines().map(|line| format!("      {line}\n")).collect();
        let text = format!(
            "metadata:\n  namespace: default\n  type: MachineClasses.omni.sidero.dev\n  id: a\nspec:\n  autoprovision:\n    \
             providerid: proxmox\n    providerdata: |\n{lines}"
        );
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

/// The release that is asked for counts, then the one that runs, then the one that is pinned; findings name it.
#[test]
fn a_class_is_checked_for_the_provider_and_the_omni_in_force() {
    let text = "metadata:\n  namespace: default\n  type: MachineClasses.omni.sidero.dev\n  id: a\nspec:\n  autoprovision:\n    \
                providerid: Rack_1\n    providerdata: |\n      cores: 0\n      sockets: 1\n      memory: 2048\n      disk_size: 5\n      \
                storage_selector: name == \"a\"\n      bios: ovmf\n";
    let schema =
        json!({"type": "object", "properties": {"storage_selector": {}, "disk_size": {}, "cores": {"minimum": 1}}});
    let ours = ["Rack_1".to_owned()];
    let live = |schema| [Provider { id: "Rack_1".into(), schema, is_static: false, release: Some(Release::V0_1) }];
    let (registered, bare) = (live(Some(schema)), live(None));
    let of = |providers, release, given, omni: &str| {
        let context = ClassContext { ours: &ours, providers, release, given, omni: Omni::of_tag(omni) };
        let checked = machine_class::check("a.yaml", text.as_bytes(), &context);
        let words: Vec<String> = checked.findings.iter().map(|finding| finding.message.clone()).collect();
        (words.join("\n"), checked.schema.unwrap_or_default())
    };
    let pinned = Some(Release::V0_3);
    let label = |providers, omni| of(providers, pinned, false, omni).0.contains("is not a DNS label");
    assert!(label(None, "v1.10.6") && !label(Some(&registered[..]), "v1.10.6"), "Omni keeps a provider that exists");
    for ((words, schema), wanted) in [
        (of(None, pinned, false, "latest"), ["Omni 1.10 and later create no", "", ""]),
        (
            of(None, pinned, false, "v1.9.3"),
            ["Omni v1.9.3 accepts it, 1.10", "at least 1 (provider v0.3.0)", "v0.3.0, Omni"],
        ),
        (of(Some(&registered), pinned, false, "v1.10.6"), ["", "the key (provider v0.1.0)", "from Omni"]),
        (
            of(Some(&bare), Some(Release::V0_1), false, "latest"),
            ["", "provider v0.1.0 ignores `bios`", "v0.1.0, Rack_1"],
        ),
        (of(Some(&registered), pinned, true, "latest"), ["", "at least 1 (provider v0.3.0)", "--provider-version"]),
    ] {
        assert!(
            words.contains(wanted[0]) && words.contains(wanted[1]) && schema.contains(wanted[2]),
            "{schema}\n{words}"
        );
    }
    let context = ClassContext { ours: &ours, providers: Some(&bare), ..ClassContext::default() };
    assert_eq!(context.live(), Some(Release::V0_1));
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
    assert!(found[0].message.contains("the control plane come to 5.2 MB"), "{found:?}");
    assert_eq!(rules(&check("", "abc")), ["template-patches-too-large"]);
}

#[test]
fn machines_that_share_a_class_of_a_provider_are_their_own() {
    // Omni's machine sets select the machines that were requested for them.
    let classes = [ClassInfo { name: "cp".into(), provisions: true, install_disk: None }];
    let text = template("v1.13.5", "---\nkind: Workers\nmachineClass:\n  name: cp\n  size: 2\n");
    let context = TemplateContext { omni_classes: Some(&classes), ..TemplateContext::default() };
    assert_eq!(rules(&template::check("demo.yaml", text.as_bytes(), &context).findings), Vec::<&str>::new());
}
