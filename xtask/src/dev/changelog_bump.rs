//! `changelog-bump`: prepares a release.
//!
//! 1. Checks that the version is a semantic one, higher than the current one, and that git-cliff is installed.
//! 2. Sets it everywhere it occurs: the workspace, its lock file, the plugin's manifest.
//! 3. Adds a section for that version to CHANGELOG.md.
//! 4. Prints the commands for the commit, the tag and the push, which are left to you.

use super::program;
use crate::flow::project_files;
use crate::prelude::*;
use domain::secret::Secret;
use domain::version::Version;
use runtime::files;

/// Where the version occurs once: the file, and the text before it.
const PLACES: [(&str, &str); 2] =
    [("Cargo.toml", "[workspace.package]\nversion = \""), (".claude-plugin/plugin.json", "\"version\": \"")];
/// Contains the version of each crate of the workspace.
const LOCK: &str = "Cargo.lock";

pub fn run(version: &str, cx: &Cx) -> anyhow::Result<Outcome> {
    let version = version.trim_start_matches('v');
    let wanted = parse(version).ok_or_else(|| {
        Failure::new(Code::Usage, format!("{version:?} is not a version"))
            .cause("a version has three numbers, e.g. 0.2.0 (semver.org)")
    })?;
    let present = env!("CARGO_PKG_VERSION");
    if parse(present).is_some_and(|present| wanted <= present) {
        return Err(
            Failure::new(Code::Usage, format!("{version} is not higher than the current version {present}")).into()
        );
    }
    program::find("git-cliff", &cx.paths)?;
    let edits = edits(cx, version)?;
    let tag = format!("v{version}");
    let _lock = cx.lock_checkout()?;
    let (effect, undo) = (format!("with a section {tag}"), "git checkout CHANGELOG.md");
    let changelog = Change::new("write", "CHANGELOG.md", effect, undo, |cx| {
        let words = format!("--tag {tag} --output CHANGELOG.md");
        Ok(program::run(cx, "git-cliff", "writing CHANGELOG.md", &words)?.summary)
    });
    let edit = |(file, text): (&'static str, String)| {
        let (path, contents) = (cx.paths.root().join(file), Secret::plain(text));
        project_files::write("write", (path, file), (contents, files::SHARED), version, format!("git checkout {file}"))
    };
    let plan: Plan<'_> = std::iter::once(changelog).chain(edits.into_iter().map(edit)).collect();
    if let Some(planned) = plan.run_unasked(cx)? {
        return Ok(planned);
    }
    Ok(Outcome::done(format!("version {version} is set, and CHANGELOG.md has its section"))
        .with(json!({ "version": version, "tag": tag }))
        .next(format!("git commit --all --message 'chore(release): {tag}'"))
        .next(format!("git tag --annotate {tag} --message {tag}"))
        .next(format!("git push --follow-tags origin main {tag}")))
}

/// Step 2, in memory: returns the files with the new version.
fn edits(cx: &Cx, version: &str) -> Result<Vec<(&'static str, String)>, Failure> {
    let read = |file: &str| -> Result<String, Failure> {
        let bytes = cx.read(&cx.paths.root().join(file), "it belongs to the repository")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let missing = |file: &str, cause: String| {
        Failure::new(Code::Invalid, format!("`{file}` does not contain a version where one is expected")).cause(cause)
    };
    let mut edits = Vec::new();
    for (file, before) in PLACES {
        let new = replace_version(&read(file)?, before, version);
        edits.push((file, new.ok_or_else(|| missing(file, format!("it does not contain {before:?}")))?));
    }
    let lock = bump_lock(&read(LOCK)?, version);
    edits.push((LOCK, lock.ok_or_else(|| missing(LOCK, "it contains no package of this repository".to_owned()))?));
    Ok(edits)
}

/// Returns `text` with the part between `before` and the next quote replaced, once.
fn replace_version(text: &str, before: &str, new: &str) -> Option<String> {
    let start = text.find(before)? + before.len();
    let end = start + text[start..].find('"')?;
    Some(format!("{}{new}{}", &text[..start], &text[end..]))
}

/// Returns a lock file with the new version for every crate of the workspace, which are the crates without a source.
fn bump_lock(lock: &str, new: &str) -> Option<String> {
    let mut found = false;
    let package = |package: &str| {
        let ours = package.starts_with("[[package]]") && !package.contains("\nsource = ");
        let replaced = replace_version(package, "\nversion = \"", new).filter(|_| ours);
        found |= replaced.is_some();
        replaced.unwrap_or_else(|| package.to_owned())
    };
    let text = lock.split("\n\n").map(package).collect::<Vec<_>>().join("\n\n");
    found.then_some(text)
}

/// Parses three numbers; pre-releases are not released this way.
fn parse(version: &str) -> Option<Version> {
    Version::parse(version).ok().filter(|version| version.pre.is_empty() && version.build.is_empty())
}
