//! Older forms and what becomes of them: `tests/corpus/older/`. `UPDATE_CORPUS=1` rewrites the `.out` files.

use std::path::Path;

use check::convert::{Outcome, cluster_template, machine_class};
use check::machine_class::ClassContext;
use check::template::TemplateContext;

fn show(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Unchanged => "unchanged\n".to_owned(),
        Outcome::Converted { text, changes } => {
            let lines = changes.iter().map(|c| format!("# {}: {} ({})\n", c.place, c.what.replace('\n', " "), c.why));
            format!("{}{text}", lines.collect::<String>())
        }
        Outcome::Refused(findings) => {
            findings.iter().map(|f| format!("refused: {}: {}; {}\n", f.place, f.message, f.fix)).collect()
        }
    }
}

#[test]
fn older_forms_are_converted_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/older");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        count += 1;
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name").to_owned();
        let bytes = std::fs::read(&path).expect("bytes");
        let class = name.starts_with("class");
        let outcome = if class { machine_class(&name, &bytes) } else { cluster_template(&name, &bytes) };
        let shown = show(&outcome);
        let golden = path.with_extension("out");
        if std::env::var_os("UPDATE_CORPUS").is_some() {
            std::fs::write(&golden, &shown).expect("written");
        }
        assert_eq!(shown, std::fs::read_to_string(&golden).expect("the .out file"), "{name}");
        if let Outcome::Converted { text, .. } = outcome {
            let (findings, again) = match class {
                true => {
                    let checked = check::machine_class::check(&name, text.as_bytes(), &ClassContext::default());
                    (checked.findings, machine_class(&name, text.as_bytes()))
                }
                false => {
                    let context = TemplateContext::default();
                    let checked = check::template::check(&name, text.as_bytes(), &context);
                    (checked.findings, cluster_template(&name, text.as_bytes()))
                }
            };
            assert!(!findings.iter().any(|f| f.is_error()), "{name}: {findings:?}\n{text}");
            assert_eq!(again, Outcome::Unchanged, "{name}");
        }
    }
    assert!(count >= 12);
}
