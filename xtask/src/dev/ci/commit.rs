//! Commit messages: Conventional Commits 1.0.0 with the types and scopes of this project, so that CHANGELOG.md can be
//! made of them. Used by the commit-msg hook and by CI.

use check::Finding;
use domain::nearest::suggestion;
use domain::spec::Location;

/// The types; each has a group in `cliff.toml`, which a test compares.
pub const TYPES: &[&str] =
    &["feat", "fix", "docs", "test", "refactor", "perf", "style", "build", "ci", "chore", "revert"];

/// The scopes: the parts of the house, and what is released from it. A new part adds its name there.
const SCOPES: &str = include_str!("../../../data/commit-scopes.txt");

/// The longest first line: longer ones are cut off in logs and in the changelog.
pub const SUBJECT_LIMIT: usize = 100;

/// What is wrong with `message`, which stands in `file` (a path, or "commit 1a2b3c4"). Lines that start with `#` are
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
            "say the rest below a blank line",
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

fn subject_findings(file: &str, at: usize, subject: &str) -> Vec<Finding> {
    let types = TYPES.join(", ");
    let Some((head, text)) = subject.split_once(':') else {
        let fix = format!("write `type(scope): what it does`, with one of the types {types}");
        return vec![finding("commit-form", file, at, 1, "the first line is not `type(scope): …`", &fix)];
    };
    let mut findings = Vec::new();
    let head = head.strip_suffix('!').unwrap_or(head);
    let (kind, scope) = match head.split_once('(') {
        Some((kind, rest)) => (kind, Some(rest.strip_suffix(')').unwrap_or(rest))),
        None => (head, None),
    };
    if !TYPES.contains(&kind) {
        let message = format!("`{kind}` is not a valid type");
        findings.push(finding("commit-type", file, at, 1, &message, &suggestion(kind, TYPES)));
    }
    if let Some(scope) = scope
        && !SCOPES.lines().any(|known| known == scope)
    {
        let message = format!("`{scope}` is not a scope of this project");
        let fix = format!(
            "{} (xtask/data/commit-scopes.txt names them)",
            suggestion(scope, &SCOPES.lines().collect::<Vec<_>>())
        );
        findings.push(finding("commit-scope", file, at, kind.chars().count() + 2, &message, &fix));
    }
    let column = subject.chars().count() - text.chars().count() + 1;
    if !text.starts_with(' ') || text.trim().is_empty() {
        let message = "after the colon come one space and what the commit does";
        findings.push(finding("commit-form", file, at, column, message, "write `type(scope): what it does`"));
    }
    if text.trim_end().ends_with('.') {
        let message = "the first line ends in a full stop";
        findings.push(finding(
            "commit-form",
            file,
            at,
            subject.chars().count(),
            message,
            "leave it out: the line is a title",
        ));
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

    fn rules(message: &str) -> Vec<&'static str> {
        check("m", message).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn good_messages_pass() {
        for good in [
            "feat(xtask): run the tasks of the runbook from one context",
            "fix!: refuse keys of another kind",
            "chore(deps): move Omni, omnictl and the provider together\n\nBody: of any form.\n",
            "# a comment of git\n\ndocs: say it\n# Please enter the commit message\n",
            "Merge branch 'wt/spec'",
            "Revert \"feat(lab): x\"",
            "fixup! feat(lab): x",
            "feat: x\n# ------------------------ >8 ------------------------\ndiff --git a/x.b",
        ] {
            assert_eq!(rules(good), Vec::<&str>::new(), "{good}");
        }
    }

    #[test]
    fn each_fault_is_named_with_its_place_and_fix() {
        for (bad, rule, place, fix) in [
            ("", "commit-form", "m:1:1", "type(scope)"),
            ("added things", "commit-form", "m:1:1", "feat, fix"),
            ("feature(lab): x", "commit-type", "m:1:1", "known here"),
            ("fxi(lab): x", "commit-type", "m:1:1", "`fix`"),
            ("feat(labb): x", "commit-scope", "m:1:6", "`lab`"),
            ("feat:x", "commit-form", "m:1:6", "what it does"),
            ("feat: ", "commit-form", "m:1:6", "what it does"),
            ("feat: x.", "commit-form", "m:1:8", "full stop"),
            ("feat: x\nand y", "commit-blank", "m:2:1", "blank line"),
        ] {
            let findings = check("m", bad);
            assert_eq!(findings.len(), 1, "{bad}: {findings:?}");
            let text = findings[0].to_string();
            assert!(findings[0].rule == rule && text.starts_with(place) && (text.contains(fix)), "{bad}: {text}");
        }
        let long = format!("feat: {}", "x".repeat(SUBJECT_LIMIT));
        assert_eq!(rules(&long), ["commit-length"]);
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
