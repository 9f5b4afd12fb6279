//! Rules that depend on more than the file, and the table of all rules.

use std::collections::BTreeSet;

use check::machine_class::{self, ClassContext};
use check::template::{self as templates, ClassInfo, FileRead, TemplateContext};
use check::{RULES, Verdict};
use serde_json::json;
use yaml::Severity;

use super::versions::{class, rules, template};

const DATA: &str = "cores: 4\nsockets: 1\nmemory: 8192\ndisk_size: 40\nstorage_selector: name == \"local-lvm\"";

#[test]
fn files_are_read_only_through_the_callback() {
    let patches =
        "patches: [{file: a/b.yaml}, {file: a/../../c.yaml}, {file: /x/../d.yaml}, {file: ../clusters/e.yaml}]";
    let text = template("v1.13.5", "").replacen("---", &format!("{patches}\n---"), 1);
    let read = |path: &str| match path {
        "a/../../c.yaml" | "/x/../d.yaml" => FileRead::Outside,
        _ => FileRead::Bytes(b"machine: {type: worker}".to_vec()),
    };
    let context = TemplateContext { read: Some(&read), ..TemplateContext::default() };
    let checked = templates::check("clusters/demo.yaml", text.as_bytes(), &context);
    assert_eq!(
        rules(&checked.findings),
        ["template-file-outside", "template-file-outside", "template-patch-forbidden", "template-patch-forbidden"]
    );
    assert_eq!(checked.findings[2].place.file, "clusters/a/b.yaml");
    assert_eq!(checked.findings[3].place.file, "clusters/e.yaml");
    // Without a reader nothing is reported about a path: where it leads is unknown.
    let unread = templates::check("clusters/demo.yaml", text.as_bytes(), &TemplateContext::default());
    assert_eq!((unread.verdict, unread.findings.len()), (Verdict::Unknown, 0));
    assert!(
        unread.undecided[0].starts_with("the files that the template references were not read"),
        "{:?}",
        unread.undecided
    );
}

#[test]
fn exceeded_limits_have_a_position() {
    for (name, bytes, rule) in [
        ("10 MB", vec![b'a'; 10 << 20], "yaml-too-large"),
        ("just too large", vec![b' '; (4 << 20) + 1], "yaml-too-large"),
        ("deep", "[".repeat(500_000).into_bytes(), "yaml-too-deep"),
        ("deep maps", "{a: ".repeat(200_000).into_bytes(), "yaml-too-deep"),
        (
            "deep blocks",
            (0..400).map(|n| format!("{}a:\n", " ".repeat(n))).collect::<String>().into_bytes(),
            "yaml-too-deep",
        ),
        ("many values", format!("[{}]", "a,".repeat(400_000)).into_bytes(), "yaml-alias-bomb"),
        (
            "aliases of a long text",
            format!("- &a \"{}\"\n{}", "x".repeat(500_000), "- *a\n".repeat(1000)).into_bytes(),
            "yaml-alias-bomb",
        ),
    ] {
        let started = std::time::Instant::now();
        let class = machine_class::check("a.yaml", &bytes, &ClassContext::default());
        let template = templates::check("a.yaml", &bytes, &TemplateContext::default());
        assert!(started.elapsed().as_secs() < 10, "{name}: {:?}", started.elapsed());
        for findings in [&class.findings, &template.findings] {
            assert!(findings.iter().any(|f| f.rule == rule), "{name}: {:?}", rules(findings));
        }
        assert_eq!((class.verdict, template.verdict), (Verdict::Unknown, Verdict::Unknown), "{name}");
    }
}

#[test]
fn findings_have_one_format() {
    let text = class("proxmox", &DATA.replace("sockets: 1", "socket: 1"));
    let checked = machine_class::check("m/a.yaml", text.as_bytes(), &ClassContext::default());
    let json = serde_json::to_value(&checked).expect("JSON");
    assert_eq!(json["server"], "accept");
    let first = &json["findings"][0];
    let keys: Vec<&str> = first.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys.len(), 7);
    assert_eq!((&first["severity"], &first["file"]), (&json!("error"), &json!("m/a.yaml")));
    let finding = checked.findings.iter().find(|f| f.rule == "providerdata-unknown-key").expect("a finding");
    assert_eq!(finding.fix, "did you mean `sockets`?");
    let shown = finding.to_string();
    assert!(
        shown.starts_with(&format!(
            "m/a.yaml:{}:{}: error[providerdata-unknown-key]: ",
            finding.place.line, finding.place.column
        )),
        "{shown}"
    );
}

#[test]
fn selectors_cut_by_yaml_get_a_quoting_hint() {
    for (selector, rule) in [
        ("!(storageType in [\"dir\", \"nfs\"])", "providerdata-selector"),
        ("\"rbd\" == storageType", "yaml-syntax"),
        ("[\"a\"].exists(n, n == name)", "yaml-syntax"),
    ] {
        let text = class("proxmox", &DATA.replace("name == \"local-lvm\"", selector));
        let checked = machine_class::check("a.yaml", text.as_bytes(), &ClassContext::default());
        let fix = checked.findings.iter().find(|f| f.rule == rule).map(|f| f.fix.as_str()).unwrap_or_default();
        assert!(fix.contains("quote"), "{text}\n{:?}", checked.findings);
    }
}

#[test]
fn rule_table_is_complete() {
    let mut seen = BTreeSet::new();
    for rule in RULES.iter() {
        assert!(seen.insert(&rule.id), "{} twice", rule.id);
        for text in [&rule.what, &rule.why, &rule.fix, &rule.example, &rule.source] {
            assert!(!text.is_empty() && !text.ends_with('.'), "{}: {text}", rule.id);
        }
        let known = ["yaml-", "class-", "providerdata-", "template-", "convert-"];
        assert!(known.iter().any(|k| rule.id.starts_with(k)), "{}", rule.id);
    }
    // Every rule is in a corpus or in a test of this file.
    let between_files = "../../../tests/transcripts/file-names.txt";
    let corpus: String =
        ["templates.tsv", "classes.tsv", "patches.txt", "versions.yaml", "providers.yaml", between_files]
            .iter()
            .map(|f| {
                std::fs::read_to_string(format!("{}/tests/corpus/{f}", env!("CARGO_MANIFEST_DIR"))).expect("a table")
            })
            .collect();
    let here = concat!(include_str!("rules.rs"), include_str!("versions.rs"));
    let shown = |id: &str| {
        let ends = [" ", "\n", "]", ","].map(|end| format!("{id}{end}"));
        ends.iter().any(|text| corpus.contains(text)) || here.contains(&format!("\"{id}\""))
    };
    let missing: Vec<&str> =
        RULES.iter().map(|r| r.id.as_str()).filter(|id| !shown(id) && *id != "convert-refused").collect();
    assert!(missing.is_empty(), "no file shows {missing:?}");
    assert!(RULES.iter().any(|r| r.severity == Severity::Warning));
}

#[test]
fn shipped_files_have_no_findings() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut classes = Vec::new();
    for entry in std::fs::read_dir(root.join("machine-classes")).expect("the folder") {
        let path = entry.expect("an entry").path();
        let checked = machine_class::check("a.yaml", &std::fs::read(&path).expect("bytes"), &ClassContext::default());
        assert_eq!((checked.verdict, &checked.findings), (Verdict::Accept, &vec![]), "{}", path.display());
        let class = checked.value.expect("classes").remove(0);
        assert_eq!(Some(class.id.as_str()), path.file_stem().and_then(|s| s.to_str()));
        classes.push(ClassInfo::of(&class));
    }
    assert!(classes.len() >= 3);
    let context = TemplateContext { local_classes: Some(&classes), ..TemplateContext::default() };
    for entry in std::fs::read_dir(root.join("clusters")).expect("the folder") {
        let path = entry.expect("an entry").path();
        let checked = templates::check("a.yaml", &std::fs::read(&path).expect("bytes"), &context);
        assert_eq!((checked.verdict, &checked.findings), (Verdict::Accept, &vec![]), "{}", path.display());
    }
}
