//! Older forms and their conversions: the files of `tests/corpus/older/`. `UPDATE_EXPECT=1` rewrites the conversions.

use std::collections::BTreeSet;

use check::convert::{Outcome, cluster_template, machine_class, selector};
use check::machine_class::ClassContext;
use check::template::TemplateContext;

use super::{assert_file, corpus};

/// Returns the rules that a class or a template breaks.
fn errors(class: bool, bytes: &[u8]) -> BTreeSet<&'static str> {
    let findings = match class {
        true => check::machine_class::check("a.yaml", bytes, &ClassContext::default()).findings,
        false => check::template::check("a.yaml", bytes, &TemplateContext::default()).findings,
    };
    findings.iter().filter(|f| f.is_error()).map(|f| f.rule).collect()
}

/// Converts a class or a template. The result has no new errors and is not converted again.
fn converted(class: bool, name: &str, bytes: &[u8]) -> String {
    let convert = if class { machine_class } else { cluster_template };
    match convert(name, bytes) {
        Outcome::Unchanged => "unchanged\n".to_owned(),
        Outcome::Refused(findings) => {
            findings.iter().map(|f| format!("refused: {}: {}; {}\n", f.place, f.message, f.fix)).collect()
        }
        Outcome::Converted { text, changes } => {
            let (had, has) = (errors(class, bytes), errors(class, text.as_bytes()));
            assert!(has.is_subset(&had), "{name}: {has:?}\n{text}");
            assert_eq!(convert(name, text.as_bytes()), Outcome::Unchanged, "{name}");
            let lines = changes.iter().map(|c| format!("# {}: {} ({})\n", c.place, c.what.replace('\n', " "), c.why));
            format!("{}{text}", lines.collect::<String>())
        }
    }
}

#[test]
fn older_files_match_the_corpus() {
    let mut count = 0;
    for entry in std::fs::read_dir(corpus("older")).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "yaml") {
            count += 1;
            let name = path.file_name().and_then(|n| n.to_str()).expect("a name");
            let now = converted(name.starts_with("class"), name, &std::fs::read(&path).expect("bytes"));
            assert_file(&path.with_extension("out"), &now);
        }
    }
    assert!(count >= 12);
}

/// Each case is `==== what the case is about`, the file, `>>>>`, and the conversion.
#[test]
fn older_values_are_converted_or_refused() {
    for (file, class) in [("class.cases", true), ("template.cases", false)] {
        let path = corpus("older").join(file);
        let text = std::fs::read_to_string(&path).expect("the file");
        let mut now = String::new();
        for case in text.split("==== ").skip(1) {
            let (input, _) = case.split_once(">>>>\n").expect("a separator");
            let (_, shown) = input.split_once('\n').expect("a title");
            let bytes = shown.replace('␍', "\r").replace("«BOM»", "\u{feff}");
            let output = converted(class, "old.yaml", bytes.as_bytes()).replace('\r', "␍");
            now += &format!("==== {input}>>>>\n{output}");
        }
        assert_file(&path, &now);
    }
}

#[test]
fn older_selectors_are_converted_or_refused() {
    let path = corpus("older/selectors.tsv");
    let text = std::fs::read_to_string(&path).expect("the file");
    let mut now = String::new();
    for line in text.lines() {
        let Some((shown, _)) = line.split_once('\t') else {
            now += &format!("{line}\n");
            continue;
        };
        let old = shown.replace("\\n", "\n");
        let becomes = match selector(&old) {
            None => "-".to_owned(),
            Some(Err(why)) => format!("! {why}"),
            Some(Ok(new)) => {
                assert!(!new.why.is_empty());
                assert_eq!(selector(&new.text), None, "{old}: it is no longer of the older form");
                ::selector::compile(&new.text).expect(&old);
                new.text
            }
        };
        now += &format!("{shown}\t{}\n", becomes.replace('\n', "\\n"));
    }
    assert_file(&path, &now);
}
