//! Rules that hold for some releases of Omni, its omnictl and its providers, and not for others.

use std::fmt::Write as _;

use check::capacity::provider::Provider as Release;
use check::machine_class::{self, ClassContext, Provider};
use check::releases::Omni;
use check::template::{self, ClassInfo, FileRead, TalosInfo, TemplateContext};
use check::{Finding, Verdict};
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

/// What is said of a template with this release of Omni.
fn check(text: &str, omni: &str) -> (Verdict, Vec<Finding>) {
    let context = TemplateContext { omni: Omni::of_tag(omni), ..TemplateContext::default() };
    let checked = template::check("demo.yaml", text.as_bytes(), &context);
    (checked.verdict, checked.findings)
}

#[test]
fn talos_is_checked_at_both_ends_of_what_omni_supports() {
    for (omni, talos, expected) in [
        ("v1.9.3", "v1.13.5", &[][..]),
        ("v1.9.3", "v1.14.1", &["template-version-pair"]),
        ("v1.10.4", "v1.99.0", &["template-version-pair"]),
        ("v1.11.0", "v1.14.1", &[]),
        ("v1.11.0", "v1.8.4", &["template-version-pair"]),
        ("v1.7.3", "v1.8.4", &[]),
        // Up to 1.8 Omni has no upper end, and what comes after the facts is not known.
        ("v1.8.2", "v1.99.0", &["template-talos-meta"]),
        ("v1.14.0", "v1.99.0", &[]),
        ("latest", "v1.15.0", &["template-version-pair"]),
        ("latest", "v1.14.1", &[]),
    ] {
        let kubernetes =
            if talos < "v1.9" && talos.len() < 8 && talos.starts_with("v1.8") { "v1.31.1" } else { "v1.36.2" };
        let text = template(talos, "").replace("v1.36.2", kubernetes);
        assert_eq!(rules(&check(&text, omni).1), expected, "{omni} {talos}");
    }
}

#[test]
fn talos_that_locks_its_meta_keys_needs_omni_1_10_6() {
    for (omni, talos, refused) in [
        ("v1.9.3", "v1.13.10", true),
        ("v1.10.5", "v1.13.13", true),
        ("v1.10.6", "v1.13.13", false),
        ("v1.9.3", "v1.13.9", false),
        ("latest", "v1.13.13", false),
    ] {
        let found = check(&template(talos, ""), omni).1;
        assert_eq!(rules(&found).contains(&"template-talos-meta"), refused, "{omni} {talos}: {found:?}");
    }
}

#[test]
fn documents_are_known_to_omnictl_and_to_talos() {
    let document = |kind: &str| patch(&format!("{{apiVersion: v1alpha1, kind: {kind}}}"));
    for (omni, talos, kind, expected) in [
        ("v1.9.3", "v1.13.5", "KubeProxyConfig", &["template-patch-kind"][..]),
        ("v1.10.6", "v1.13.5", "KubeProxyConfig", &["template-patch-kind-talos"]),
        ("v1.11.0", "v1.14.1", "KubeProxyConfig", &[]),
        ("latest", "v1.14.1", "KubeProxyConfig", &["template-patch-kind-newer"]),
        ("v1.9.3", "v1.13.5", "LinkConfig", &[]),
        ("v1.2.1", "v1.11.1", "LinkConfig", &["template-patch-kind"]),
        ("v1.9.3", "v1.11.6", "LinkConfig", &["template-patch-kind-talos"]),
        ("v1.10.6", "v1.13.5", "LinkConfg", &["template-patch-kind"]),
        ("v1.12.1", "v1.14.1", "SomethingNew", &["template-patch-kind-newer"]),
    ] {
        let text = template(talos, &document(kind));
        let kubernetes = if talos.starts_with("v1.11") { "v1.34.1" } else { "v1.36.2" };
        let (_, found) = check(&text.replace("v1.36.2", kubernetes), omni);
        assert_eq!(rules(&found), expected, "{omni} {talos} {kind}: {found:?}");
    }
    let (verdict, found) = check(&template("v1.13.5", &document("LinkConfg")), "v1.9.3");
    assert_eq!((verdict, found[0].fix.as_str()), (Verdict::Reject, "did you mean `LinkConfig`?"));
}

#[test]
fn what_a_patch_may_hold_depends_on_omnictl() {
    let later = "|\n      machine: {sysctls: {a: b}}\n      ---\n      apiVersion: v1alpha1\n      kind: HostnameConfig\n      cluster: {token: x}";
    for (patched, verdicts) in [
        (
            "{cluster: {ca: {crt: YQ==}}}",
            ["", "template-patch-forbidden", "template-patch-forbidden", "template-patch-forbidden-newer"],
        ),
        (
            "{machine: {install: {disk: /dev/sda}}}",
            ["", "", "template-patch-forbidden", "template-patch-forbidden-newer"],
        ),
        ("{cluster: {token: x}}", ["template-patch-forbidden"; 4]),
        (
            "{apiVersion: v1alpha1, kind: KubeEtcdEncryptionConfig}",
            ["", "template-patch-forbidden", "template-patch-forbidden", "template-patch-forbidden-newer"],
        ),
        ("{cluster: {apiServer: {extraArgs: {a: [b, c]}}}}", ["template-patch-value", "", "", ""]),
        (later, ["template-patch-forbidden-later", "", "", ""]),
    ] {
        for (omni, expected) in ["v1.9.3", "v1.10.4", "v1.11.0", "latest"].into_iter().zip(verdicts) {
            let talos = if patched.contains("KubeEtcd") && omni != "v1.9.3" { "v1.14.1" } else { "v1.13.5" };
            let (_, found) = check(&template(talos, &patch(patched)), omni);
            let found: Vec<&str> = rules(&found)
                .into_iter()
                .filter(|rule| rule.starts_with("template-patch-f") || *rule == "template-patch-value")
                .collect();
            assert_eq!(found.join(" "), expected, "{omni} {patched}");
        }
    }
}

#[test]
fn keys_of_templates_are_known_from_a_release_on() {
    let manifests = "kubernetes:\n  version: v1.36.2\n  manifests: []\n";
    let old = template("v1.13.5", "").replace("kubernetes:\n  version: v1.36.2\n", manifests);
    assert_eq!(rules(&check(&old, "v1.6.6").1), ["template-key-too-new"]);
    assert_eq!(rules(&check(&old, "v1.7.0").1), Vec::<&str>::new());
    let newer = template("v1.13.5", "").replace("---", "features:\n  enableNodeAuditSkip: true\n---");
    let (verdict, found) = check(&newer, "latest");
    assert_eq!((verdict, rules(&found)), (Verdict::Unknown, vec!["template-key-newer"]));
    let strategy = template("v1.11.1", "upgradeStrategy: {type: Rolling}\n").replace("v1.36.2", "v1.34.1");
    let (verdict, found) = check(&strategy, "v1.5.1");
    assert_eq!((verdict, rules(&found)), (Verdict::Reject, vec!["template-key-too-new"]));
    assert!(found[0].message.contains("v1.5.1 does not know `upgradeStrategy`"), "{found:?}");
}

#[test]
fn server_refusals_name_the_omni_that_refuses() {
    let twice = ("systemExtensions: [siderolabs/iscsi-tools, iscsi-tools]", "template-extensions");
    let many: String = (0..257).map(|n| format!("siderolabs/e{n}, ")).collect();
    let many = format!("systemExtensions: [{many}]");
    let many = (many.as_str(), "template-extensions");
    let private = ("features: {disablePublicDiscoveryService: true}", "template-discovery");
    let embedded =
        ("features: {disablePublicDiscoveryService: true, useEmbeddedDiscoveryService: true}", "template-discovery");
    for ((key, rule), omni, talos, words) in [
        (twice, "v1.8.2", "v1.13.2", ""),
        (twice, "v1.9.3", "v1.13.5", "`iscsi-tools` is listed more than once: Omni v1.9.3"),
        (twice, "latest", "v1.13.5", "Omni 1.9 or later"),
        (many, "v1.10.6", "v1.13.5", "Omni v1.10.6 accepts up to 256 extensions, not 257"),
        (private, "v1.10.6", "v1.13.5", "created with Talos 1.14 or newer"),
        (private, "v1.11.0", "v1.14.1", "Omni v1.11.0 refuses a cluster without any discovery service"),
        (embedded, "v1.11.0", "v1.14.1", ""),
    ] {
        let found = check(&template(talos, "").replacen("---", &format!("{key}\n---"), 1), omni).1;
        let found = found.into_iter().find(|finding| finding.rule == rule).map_or(String::new(), |f| f.message);
        assert_eq!((found.is_empty(), found.contains(words)), (words.is_empty(), true), "{omni} {talos}: {found}");
    }
    // What Omni offers, by the Omni that offers it.
    let offered = [TalosInfo { version: "1.13.5".into(), compatible_kubernetes: vec![], unsupported: true }];
    for (talos, words) in
        [("v1.13.5", "Omni v1.10.6 does not support Talos 1.13.5"), ("v1.13.6", "Omni v1.10.6 does not offer")]
    {
        let context = TemplateContext {
            omni: Omni::of_tag("v1.10.6"),
            talos_versions: Some(&offered),
            ..TemplateContext::default()
        };
        let found = template::check("demo.yaml", template(talos, "").as_bytes(), &context).findings;
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
    assert_eq!(check("ha: {state: started, max_restart: 1}", Release::V0_2), (Verdict::Accept, vec![]));
    assert_eq!(check("ha: {state: running}", Release::V0_2), (Verdict::Reject, vec!["providerdata-schema"]));
    assert_eq!(check("ha: {stat: started}", Release::V0_3).1, ["providerdata-unknown-key"]);
    assert_eq!(check("bios: efi", Release::V0_2), (Verdict::Reject, vec!["providerdata-schema"]));
    // An older provider does not look at the value either.
    assert_eq!(check("bios: efi", Release::V0_1), (Verdict::Unknown, vec!["providerdata-newer-key"]));
    assert_eq!(check("usb_devices: [{mapping: a, usb3: true}]", Release::V0_3), (Verdict::Accept, vec![]));
    assert_eq!(check("network: {subnet: 192.0.2.0/24}", Release::V0_3).1, ["providerdata-newer-key"]);
    for (ha, refused) in [
        ("rules: [spread_1]", false),
        ("rules: [-a]", true),
        ("node_affinity_nodes: [pve1]", false),
        ("node_affinity_nodes: [pve_1]", true),
        ("max_restart: -1", true),
    ] {
        let rules = check(&format!("ha: {{{ha}}}"), Release::V0_3).1;
        assert_eq!(rules == ["providerdata-schema"], refused, "{ha}: {rules:?}");
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
        for _ in 0..12_500 {
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
    assert_eq!(rules(&check("abc", "d")), Vec::<&str>::new(), "3.5 MB");
    let found = check("abcde", "f");
    assert_eq!(rules(&found), ["template-patches-too-large"]);
    assert!(found[0].message.contains("the control plane come to 5.2 MB"), "{found:?}");
    assert_eq!(rules(&check("", "abcdefg")), ["template-patches-too-large"]);
}

#[test]
fn machines_that_share_a_class_of_a_provider_are_their_own() {
    // Omni's machine sets select the machines that were requested for them.
    let classes = [ClassInfo { name: "cp".into(), provisions: true, install_disk: None }];
    let text = template("v1.13.5", "---\nkind: Workers\nmachineClass:\n  name: cp\n  size: 2\n");
    let context = TemplateContext { omni_classes: Some(&classes), ..TemplateContext::default() };
    assert_eq!(rules(&template::check("demo.yaml", text.as_bytes(), &context).findings), Vec::<&str>::new());
}

#[test]
fn a_patch_for_an_omnictl_beyond_the_facts_is_undecided() {
    for (patched, omni, verdict, expected) in [
        ("{machine: {sysctls: {a: b}}}", "v1.11.0", Verdict::Accept, &[][..]),
        ("{machine: {sysctls: {a: b}}}", "v1.99.0", Verdict::Unknown, &[]),
        ("{machine: {brandNew: 1}}", "v1.10.6", Verdict::Reject, &["template-patch-unknown-field"]),
        ("{machine: {brandNew: 1}}", "v1.11.0", Verdict::Unknown, &["template-patch-talos", "template-patch-unsure"]),
        ("{cluster: {apiServer: {extraArgs: {a: [b]}}}}", "latest", Verdict::Unknown, &[]),
        ("{cluster: {token: x}}", "latest", Verdict::Reject, &["template-patch-forbidden"]),
    ] {
        let (found, findings) = check(&template("v1.13.5", &patch(patched)), omni);
        assert_eq!((found, rules(&findings)), (verdict, expected.to_vec()), "{omni} {patched}: {findings:?}");
    }
}
