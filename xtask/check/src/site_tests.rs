use super::*;
use crate::stack;

const COMPOSE: &str = include_str!("../../../docker/compose.yaml");

fn found(text: &str, omni: &str) -> Vec<String> {
    let pinned = stack::images(COMPOSE).remove("omni").unwrap();
    let compose = COMPOSE.replace(&pinned, &format!("ghcr.io/siderolabs/omni:{omni}"));
    let there = |path: &str| path == BACKUPS || path == "/etc/omni/site/ca.pem";
    let findings = check("docker/site.yaml", text, &compose, &there);
    findings
        .iter()
        .map(|each| format!("{}:{} {} | {}", each.place.line, each.place.column, each.message, each.fix))
        .collect()
}

/// Each line of the corpus is a file (`\n` ends a line of it), the release, and a part of the findings; `-` for none. The
/// answers about keys and kinds are those of omni 1.9.3.
#[test]
fn settings_are_accepted_and_refused_as_omni_does() {
    for line in
        include_str!("../tests/corpus/site.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let columns: Vec<&str> = line.split('\t').collect();
        let [omni, text, wanted] = columns[..] else { panic!("{line}") };
        let findings = found(&text.replace("\\n", "\n"), omni);
        match wanted {
            "-" => assert!(findings.is_empty(), "{line}: {findings:?}"),
            _ => assert!(findings.len() == 1 && findings[0].contains(wanted), "{line}: {findings:?}"),
        }
    }
}

/// Every example of the guide, and the shipped one, passes the check on its own.
#[test]
fn examples_of_the_guide_are_valid() {
    let guide = include_str!("../../../docs/how-to/site-settings.md");
    let blocks = guide.split("```yaml\n# docker/site.yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let examples: Vec<&str> = blocks.chain([include_str!("../../../docker/site.yaml.example")]).collect();
    assert!(examples.len() > 5);
    for text in examples {
        assert!(!keys(text).is_empty(), "{text}");
        let findings = check("docker/site.yaml", text, COMPOSE, &|path| path == BACKUPS || path.starts_with(FILES));
        assert!(findings.is_empty(), "{text}{findings:?}");
    }
}

/// Flags of the shipped stack that are missing in the table would not be compared.
#[test]
fn every_flag_of_the_stack_is_in_the_table() {
    let (flags, _) = omni_settings(COMPOSE);
    let unknown = flags.iter().filter(|flag| !TABLE.settings.iter().any(|setting| setting.flag == **flag));
    assert_eq!(unknown.collect::<Vec<_>>(), ["config-path", "config-path"]);
}
