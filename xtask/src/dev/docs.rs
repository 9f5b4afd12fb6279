//! `docs`: writes the generated pages, from the code and its data.
//!
//! 1. With `--record`, runs a rehearsal, and records its output.
//! 2. Renders every page and compares it with the file.
//! 3. Writes the pages that differ; with `--check`, fails instead, and names the files and the command that fixes them.

use std::time::Duration;

use xshell::cmd;

use crate::cli::Docs;
use crate::dev::pages::{self, Page, RECORDING, difference};
use crate::flow::project_files;
use crate::prelude::*;
use domain::secret::Secret;
use domain::words;
use runtime::files;
use runtime::proc::{self, Job};
use yaml::{Finding, Location};

pub fn run(args: &Docs, cx: &Cx) -> anyhow::Result<Outcome> {
    if args.check {
        let all = render_pages(cx)?;
        let findings = find_stale(&all);
        if findings.is_empty() {
            let pages: Vec<&str> = all.iter().map(|page| page.path.as_str()).collect();
            let summary = format!("{} up to date", words::count(pages.len(), "generated page"));
            return Ok(Outcome::done(summary).with(json!({ "pages": pages })));
        }
        findings.iter().for_each(|finding| cx.ui.print_data(&finding.to_string()));
        let what = format!("{} out of date", words::count(findings.len(), "generated page"));
        return Err(Failure::new(Code::Failed, what)
            .hint("cargo xtask docs")
            .with(json!({ "findings": findings }))
            .into());
    }
    let mut plan: Plan<'_> = args.record.then(record).into_iter().collect();
    if cx.dry_run {
        // Which pages a new recording changes is known only once it exists.
        plan.append(plan_pages(cx)?);
        return Ok(plan.dry_run_outcome(cx));
    }
    plan.run_unasked(cx)?;
    let _lock = cx.lock_checkout()?;
    let plan = plan_pages(cx)?;
    let written: Vec<String> = plan.changes().map(|change| change.shown.object.clone()).collect();
    plan.run_unasked(cx)?;
    let summary = match written.len() {
        0 => "every page was up to date".to_owned(),
        _ => format!("written: {}", written.join(", ")),
    };
    Ok(Outcome::done(summary).with(json!({ "written": written })))
}

/// Step 1: records a rehearsal.
fn record<'a>() -> Change<'a> {
    let effect = "what `cargo xtask rehearse` prints now, and the pages that show it";
    Change::new("record", RECORDING, effect, format!("git checkout {RECORDING}"), |cx| {
        let program = std::env::current_exe()?;
        let shell = proc::shell()?;
        let root = cx.paths.root();
        let cmd = cmd!(shell, "{program} rehearse --project-dir {root} --color never");
        let job =
            Job::new("recording a task", cmd).deadline(cx.wait_limit(Duration::from_secs(600))).env("COLUMNS", "100");
        // As a person sees it: messages and data in the order in which they are printed.
        let mut lines = vec!["$ cargo xtask rehearse".to_owned()];
        let ended = cx.proc.follow(job, |line| lines.push(line.to_owned()))?;
        if !ended.is_success() {
            let tail = lines[lines.len().saturating_sub(20)..].join("\n");
            let failure = Failure::new(Code::Failed, "`cargo xtask rehearse` failed, so its output was not recorded");
            return Err(failure.cause(tail).into());
        }
        let text = clean(&lines.join("\n"), &root.to_string_lossy());
        files::write_atomically(&root.join(RECORDING), text.as_bytes(), files::SHARED)?;
        Ok("recorded".to_owned())
    })
}

/// Returns `output` as a page shows it: without colors and trailing spaces, and with `root`, the path of this checkout, replaced
/// by a dot. Times are kept, because readers are interested in them.
fn clean(output: &str, root: &str) -> String {
    let plain = console::strip_ansi_codes(output).replace(root, ".");
    let lines: Vec<&str> = plain.lines().map(str::trim_end).collect();
    lines.join("\n").trim().to_owned() + "\n"
}

/// A rendered page, and the current contents of its file.
struct RenderedPage {
    path: String,
    source: &'static str,
    old: Option<String>,
    new: String,
}

/// Step 2: renders the pages.
fn render_pages(cx: &Cx) -> Result<Vec<RenderedPage>, Failure> {
    let file = |name: &str| files::read_optional_text(&cx.paths.root().join(name));
    let read =
        |name: &str| file(name).map_err(|failure| failure.to_string())?.ok_or(format!("`{name}` does not exist"));
    let with_file = |Page { path, source, text }: Page| {
        let new = text.map_err(|why| {
            let failure = Failure::new(Code::Invalid, format!("`{path}` cannot be rendered")).cause(why);
            failure.hint(format!("fix it, or {source}"))
        })?;
        Ok(RenderedPage { old: file(&path)?, path, source, new })
    };
    pages::pages(&read).into_iter().map(with_file).collect()
}

/// Returns a finding for each page that differs from its file, with the first line that differs.
fn find_stale(pages: &[RenderedPage]) -> Vec<Finding> {
    let finding = |page: &RenderedPage| {
        let old = page.old.as_deref().unwrap_or_default();
        let (line, is, should) = difference(old, &page.new)?;
        let place = Location { file: page.path.clone(), line: line as u32, column: 1 };
        let message =
            format!("the page differs from its source {}: it contains {is:?} instead of {should:?}", page.source);
        Some(Finding::error("stale-page", place, message, "cargo xtask docs"))
    };
    pages.iter().filter_map(finding).collect()
}

/// Renders all pages, and returns a finding for each that differs from its file.
///
/// # Errors
/// Fails with [`Code::Invalid`] if a page cannot be rendered at all.
pub fn check_pages(cx: &Cx) -> Result<Vec<Finding>, Failure> {
    Ok(find_stale(&render_pages(cx)?))
}

/// Writes the pages that differ.
///
/// # Errors
/// See [`check_pages`]; also returns an error if a file cannot be written.
pub fn write_pages(cx: &Cx) -> Result<(), Failure> {
    plan_pages(cx)?.run_unasked(cx).map(drop).map_err(|error| Failure::of(&error))
}

/// Step 3: returns the changes that write the pages.
fn plan_pages<'a>(cx: &Cx) -> Result<Plan<'a>, Failure> {
    let stale = render_pages(cx)?.into_iter().filter(|page| page.old.as_ref() != Some(&page.new));
    let write = |RenderedPage { path, source, new, .. }: RenderedPage| {
        let (file, contents) = (cx.paths.root().join(&path), (Secret::plain(new), files::SHARED));
        let (effect, undo) = (format!("from {source}"), format!("git checkout {path}"));
        project_files::write("write", (file, path.as_str()), contents, effect, undo)
    };
    Ok(stale.map(write).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_removes_the_path_of_the_checkout() {
        let output = "\n  \u{1b}[32mok\u{1b}[0m  written: /home/me/kit/target/x (87 ms)  \n\n";
        assert_eq!(clean(output, "/home/me/kit"), "ok  written: ./target/x (87 ms)\n");
    }
}
