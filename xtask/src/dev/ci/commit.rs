//! Commit messages: Conventional Commits 1.0.0 with the types and scopes of this project, so that CHANGELOG.md can be
//! made of them. Used by the commit-msg hook and by CI.

use std::sync::LazyLock;

use check::Finding;
use domain::nearest::suggestion;
use domain::spec::Location;
use regex::Regex;

/// The types; each has a group in `cliff.toml`, which a test compares.
pub const TYPES: &[&str] =
    &["feat", "fix", "docs", "test", "refactor", "perf", "style", "build", "ci", "chore", "revert"];

/// The scopes: the parts of the house, and what is released from it. A new part adds its name there.
const SCOPES: &str = include_str!("../../../data/commit-scopes.txt");

/// The longest first line: longer ones are cut off in logs and in the changelog.
pub const SUBJECT_LIMIT: usize = 100;

/// What is wrong with `message`, which is in `file` (a path, or "commit 1a2b3c4"). Lines that start with `#` are
/// git's own and are left out, as git leaves them out.
pub fn check(file: &str, message: &str) -> Vec<Finding> {
    let lines: Vec<&str> = message.lines().take_while(|line| !line.contains(">8 ----")).collect();
    let lines: Vec<(usize, &str)> = lines
        .into_iter()
        .enumerate()
        .filter(|(_, line)| !line.starts_with('#'))
        .skip_while(|(_, line)| line.trim().is_empty())
        .collect();
    let Some(&(at, subject)) = lines.first() else {
        return vec![finding("commit-form", file, 0, 1, "the message is empty", "write `type(scope): what it does`")];
    };
    if by_git(subject) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let length = subject.chars().count();
    if length > SUBJECT_LIMIT {
        let message = format!("the first line has {length} characters, more than {SUBJECT_LIMIT}");
        findings.push(finding(
            "commit-length",
            file,
            at,
            SUBJECT_LIMIT + 1,
            &message,
            "write the rest below a blank line",
        ));
    }
    if let Some(&(next, line)) = lines.get(1)
        && !line.trim().is_empty()
    {
        let message = "the second line is not blank, so programs take it for part of the first";
        findings.push(finding("commit-blank", file, next, 1, message, "put a blank line between subject and body"));
    }
    findings.extend(subject_findings(file, at, subject));
    findings
}

/// Messages that git makes: merges, reverts, and what `rebase --autosquash` will fold away.
fn by_git(subject: &str) -> bool {
    ["Merge ", "Revert \"", "fixup! ", "squash! ", "amend! "].iter().any(|start| subject.starts_with(start))
}

/// `type(scope)!: what it does`; without the `)` a scope ends at the colon.
static SUBJECT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?<kind>[^(:!]*)(?:\((?<scope>[^:)]*)\)?)?!?:(?<text>.*)$").unwrap_or_else(|error| panic!("{error}"))
});

fn subject_findings(file: &str, at: usize, subject: &str) -> Vec<Finding> {
    let column = |byte: usize| subject[..byte].chars().count() + 1;
    let found = |rule, byte, message: &str, fix: &str| finding(rule, file, at, column(byte), message, fix);
    let Some(parts) = SUBJECT.captures(subject) else {
        let fix = format!("write `type(scope): what it does`, with one of the types {}", TYPES.join(", "));
        return vec![found("commit-form", 0, "the first line is not `type(scope): …`", &fix)];
    };
    let mut findings = Vec::new();
    let kind = &parts["kind"];
    if !TYPES.contains(&kind) {
        findings.push(found("commit-type", 0, &format!("`{kind}` is not a valid type"), &suggestion(kind, TYPES)));
    }
    let scopes: Vec<&str> = SCOPES.lines().collect();
    if let Some(scope) = parts.name("scope").filter(|scope| !scopes.contains(&scope.as_str())) {
        let fix = format!("{} (xtask/data/commit-scopes.txt names them)", suggestion(scope.as_str(), &scopes));
        let message = format!("`{}` is not a scope of this project", scope.as_str());
        findings.push(found("commit-scope", scope.start(), &message, &fix));
    }
    let text = &parts["text"];
    if !text.starts_with(' ') || text.trim().is_empty() {
        let message = "after the colon come one space and what the commit does";
        findings.push(found("commit-form", subject.len() - text.len(), message, "write `type(scope): what it does`"));
    }
    if text.trim_end().ends_with('.') {
        let (message, fix) = ("the first line ends in a full stop", "leave it out: the line is a title");
        findings.push(found("commit-form", subject.len() - 1, message, fix));
    }
    findings
}

fn finding(rule: &'static str, file: &str, line: usize, column: usize, message: &str, fix: &str) -> Finding {
    let place = Location { file: file.to_owned(), line: line as u32 + 1, column: column as u32 };
    Finding::error(rule, place, message, fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_a_message_is_named_with_its_place_and_fix() {
        let rows: Vec<Vec<String>> =
            serde_yaml::from_str(include_str!("../../../tests/fixtures/commit-messages.yaml")).unwrap();
        for row in rows {
            let found: Vec<String> = check("m", &row[0]).iter().map(ToString::to_string).collect();
            assert_eq!(found.len(), usize::from(row.len() > 1), "{row:?}: {found:?}");
            for text in &found {
                assert!(
                    text.starts_with(&row[2]) && text.contains(&row[1]) && text.contains(&row[3]),
                    "{row:?}: {text}"
                );
            }
        }
    }

    #[test]
    fn every_type_has_its_place_in_the_changelog() {
        let cliff = concat!(env!("CARGO_MANIFEST_DIR"), "/../cliff.toml");
        let cliff = std::fs::read_to_string(cliff).unwrap();
        for kind in TYPES {
            assert!(cliff.contains(&format!("message = \"^{kind}\"")), "cliff.toml has no group for `{kind}`");
        }
    }
}
