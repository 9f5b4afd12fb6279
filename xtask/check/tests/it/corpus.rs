//! Runs the checks over the files of `tests/corpus/`: each with the real program's answer, the verdict and the findings.
//! `UPDATE_EXPECT=1 cargo test -p check --test it` rewrites this tool's results; the real answers stay.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use check::RULES;
use check::machine_class::{self, ClassContext};
use check::releases::Omni;
use check::template::{self, ClassInfo, FileRead, TemplateContext};
use yaml::Finding;

use super::{assert_file, corpus};

fn show(findings: &[Finding]) -> String {
    let one = |f: &Finding| {
        let rule = RULES.iter().find(|r| r.id == f.rule).unwrap_or_else(|| panic!("no rule {}", f.rule));
        assert_eq!(rule.severity, f.severity, "{}", f.rule);
        assert!(!f.message.is_empty() && f.place.line > 0 && f.place.column > 0, "{f:?}");
        format!("{} {}:{}", f.rule, f.place.line, f.place.column)
    };
    findings.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Returns a file's verdict and findings.
type Check<'a> = dyn Fn(&Path, &[u8]) -> (&'static str, Vec<Finding>) + 'a;

/// Compares every line of a table (file, the real answer, our verdict, our findings) with the result of `check`.
fn assert_table(table: &str, folder: &str, check: &Check<'_>) {
    let path = corpus(table);
    let text = std::fs::read_to_string(&path).expect("the table");
    let (mut fresh, mut unsound, mut files) = (String::new(), Vec::new(), BTreeSet::new());
    for line in text.lines() {
        if line.starts_with('#') {
            writeln!(fresh, "{line}").expect("a string");
            continue;
        }
        let mut columns = line.split('\t');
        let (file, real) = (columns.next().expect("a file"), columns.next().expect("an answer"));
        let path = corpus(folder).join(file);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (ours, findings) = check(&path, &bytes);
        files.insert(file.to_owned());
        writeln!(fresh, "{file}\t{real}\t{ours}\t{}", show(&findings)).expect("a string");
        if ours != "unknown" && ours != real {
            unsound.push(format!("{file}: {real} in fact, {ours} by us: {findings:?}"));
        }
    }
    assert!(unsound.is_empty(), "{}", unsound.join("\n"));
    for entry in std::fs::read_dir(corpus(folder)).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        assert!(!name.ends_with(".yaml") || files.contains(&name), "{name} is not in {table}");
    }
    assert_file(&path, &fresh);
}

#[test]
fn corpus_templates() {
    let class = |name: &str, provisions, install_disk: Option<&str>| ClassInfo {
        name: name.to_owned(),
        provisions,
        install_disk: install_disk.map(str::to_owned),
    };
    let smallest = "Omni installs Talos on the smallest disk above 5 GB";
    let classes = [
        class("cp", true, None),
        class("worker", true, None),
        class("gpu", true, None),
        class("pool", false, None),
        class("two-disks", true, Some(smallest)),
    ];
    assert_table("templates.tsv", "templates", &|path, bytes| {
        let directory = path.parent().expect("a folder").to_owned();
        let read = move |name: &str| {
            let file = template::clean(&directory.join(name));
            match std::fs::read(&file) {
                _ if !file.starts_with(&directory) => FileRead::Outside,
                Ok(bytes) => FileRead::Bytes(bytes),
                Err(error) => FileRead::Missing { why: error.to_string(), above: None },
            }
        };
        // The real answers are those of omnictl 1.9.3.
        let context = TemplateContext {
            omni: Omni::of_tag("v1.9.3"),
            read: Some(&read),
            local_classes: Some(&classes),
            ..TemplateContext::default()
        };
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name");
        let checked = template::check(name, bytes, &context);
        (checked.verdict.as_str(), checked.findings)
    });
}

#[test]
fn corpus_classes() {
    assert_table("classes.tsv", "classes", &|path, bytes| {
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name");
        let checked = machine_class::check(name, bytes, &ClassContext::default());
        (checked.verdict.as_str(), checked.findings)
    });
}
