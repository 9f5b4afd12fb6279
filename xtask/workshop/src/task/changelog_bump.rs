//! `changelog-bump`: makes a release ready.
//!
//! 1. The version is a semantic one and higher than the present one; git-cliff is there.
//! 2. It is set wherever it stands: the workspace, its lock file, the plugin's manifest.
//! 3. CHANGELOG.md gets the section of that version.
//! 4. The commit, the tag and the push are printed, not made: they are yours.

use serde_json::json;

use super::{Outcome, program};
use crate::ci::program::GIT_CLIFF;
use xtask::cli::ChangelogBump;
use xtask::cx::Cx;
use xtask::failure::{Code, Failure};
use xtask::files;
use xtask::ui::Status;

/// Where the version stands: the file, and the text before it and after it.
const PLACES: &[(&str, &str, &str)] = &[
    ("Cargo.toml", "[workspace.package]\nversion = \"", "\""),
    ("Cargo.lock", "name = \"lab\"\nversion = \"", "\""),
    ("Cargo.lock", "name = \"xtask\"\nversion = \"", "\""),
    (".claude-plugin/plugin.json", "\"version\": \"", "\""),
];

pub fn run(args: &ChangelogBump, cx: &Cx) -> anyhow::Result<Outcome> {
    let version = args.version.trim_start_matches('v');
    let wanted = parse(version).ok_or_else(|| {
        Failure::new(Code::Usage, format!("{version:?} is no version"))
            .cause("it takes three numbers, such as 0.2.0 (semver.org)")
    })?;
    let present = env!("CARGO_PKG_VERSION");
    if parse(present).is_some_and(|present| wanted <= present) {
        return Err(
            Failure::new(Code::Usage, format!("{version} is not higher than the present version {present}")).into()
        );
    }
    GIT_CLIFF.find(&cx.paths)?;
    let edits = edits(cx, version)?;
    let tag = format!("v{version}");
    if cx.dry_run {
        let mut plan = Vec::new();
        for (file, _) in &edits {
            cx.ui.note(file, format!("set the version in {file}"), Status::Planned, version);
            plan.push(
                json!({ "verb": "write", "object": file, "effect": version, "undo": format!("git checkout {file}") }),
            );
        }
        cx.ui.note("CHANGELOG.md", "write CHANGELOG.md", Status::Planned, format!("with a section {tag}"));
        plan.push(
            json!({ "verb": "write", "object": "CHANGELOG.md", "effect": tag, "undo": "git checkout CHANGELOG.md" }),
        );
        return Ok(
            Outcome::pending(format!("{} changes planned, nothing changed", plan.len())).with(json!({ "plan": plan }))
        );
    }
    let words = ["--tag", &tag, "--output", "CHANGELOG.md"];
    program::call(cx, GIT_CLIFF, "writing CHANGELOG.md", &words, "writes CHANGELOG.md")?;
    for (file, text) in &edits {
        files::write_atomically(&cx.paths.root().join(file), text.as_bytes(), files::SHARED)?;
        cx.ui.note(file, format!("the version is set in {file}"), Status::Changed, version);
    }
    Ok(Outcome::done(format!("version {version} is set, and CHANGELOG.md has its section"))
        .with(json!({ "version": version, "tag": tag }))
        .next(format!("git commit --all --message 'chore(release): {tag}'"))
        .next(format!("git tag --annotate {tag} --message {tag}"))
        .next(format!("git push --follow-tags origin main {tag}")))
}

/// Step 2, in memory: the files with the new version in them.
fn edits(cx: &Cx, version: &str) -> Result<Vec<(&'static str, String)>, Failure> {
    let mut edits: Vec<(&'static str, String)> = Vec::new();
    for &(file, before, after) in PLACES {
        let position = edits.iter().position(|(name, _)| *name == file);
        let old = match position {
            Some(at) => edits.remove(at).1,
            None => String::from_utf8_lossy(&cx.read(&cx.paths.root().join(file), "it belongs to the repository")?)
                .into_owned(),
        };
        let new = replaced(&old, before, after, version).ok_or_else(|| {
            Failure::new(Code::Invalid, format!("`{file}` holds no version where it is expected"))
                .cause(format!("it has no {before:?}"))
        })?;
        edits.push((file, new));
    }
    Ok(edits)
}

/// `text` with what stands between `before` and `after` replaced, once.
fn replaced(text: &str, before: &str, after: &str, new: &str) -> Option<String> {
    let start = text.find(before)? + before.len();
    let end = start + text[start..].find(after)?;
    Some(format!("{}{new}{}", &text[..start], &text[end..]))
}

/// Three numbers; a pre-release is not released from here.
fn parse(version: &str) -> Option<(u32, u32, u32)> {
    let plain = |part: &str| {
        !part.is_empty() && (part.len() == 1 || !part.starts_with('0')) && part.bytes().all(|b| b.is_ascii_digit())
    };
    let parts: Vec<&str> = version.split('.').collect();
    if parts.len() != 3 || !parts.iter().all(|part| plain(part)) {
        return None;
    }
    Some((parts[0].parse().ok()?, parts[1].parse().ok()?, parts[2].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_three_numbers() {
        assert_eq!(parse("1.20.3"), Some((1, 20, 3)));
        for bad in ["1", "1.2", "1.2.3.4", "1.2.x", "01.2.3", "1.2.3-rc.1", "", "1..2", "9999999999.0.0"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert!(parse("0.10.0") > parse("0.9.9"));
    }

    #[test]
    fn a_version_is_replaced_where_it_stands() {
        let text = "[workspace.package]\nversion = \"0.1.0\"\nrust-version = \"1.89\"\n";
        let new = replaced(text, PLACES[0].1, PLACES[0].2, "0.2.0").unwrap();
        assert_eq!(new, text.replace("0.1.0", "0.2.0"));
        assert_eq!(replaced("version = \"1\"", PLACES[0].1, "\"", "2"), None);
    }
}
