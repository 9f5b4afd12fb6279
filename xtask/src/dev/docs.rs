//! `docs`: the generated pages, from the code and its data.
//!
//! 1. With `--record`, a rehearsal runs, and what it prints is kept.
//! 2. Every page is rendered and compared with the file.
//! 3. What differs is written, or with `--check` is a failure that names the file and the command that fixes it.

use std::time::Duration;

use serde_json::json;
use xshell::cmd;

use crate::cli::Docs;
use crate::dev::pages::{FAULTS, FLEET, Inputs, PAGES, Page, RECORDING, difference};
use crate::flow::change::{Change, Plan};
use crate::flow::project_files;
use crate::outcome::Outcome;
use check::Finding;
use domain::failure::{Code, Failure};
use domain::secret::Secret;
use domain::spec::Location;
use domain::words;
use runtime::cx::Cx;
use runtime::files;
use runtime::proc::{self, Job};

pub fn run(args: &Docs, cx: &Cx) -> anyhow::Result<Outcome> {
    if args.check {
        let findings = drift(cx)?;
        if findings.is_empty() {
            let pages: Vec<&str> = PAGES.iter().map(|page| page.path.as_str()).collect();
            let summary = format!("{} up to date", words::count(pages.len(), "generated page"));
            return Ok(Outcome::done(summary).with(json!({ "pages": pages })));
        }
        findings.iter().for_each(|finding| cx.ui.data(&finding.to_string()));
        return Err(Failure::new(
            Code::Failed,
            format!("{} out of date", words::count(findings.len(), "generated page")),
        )
        .hint("cargo xtask docs")
        .with(json!({ "findings": findings }))
        .into());
    }
    let mut plan: Plan<'_> = args.record.then(record).into_iter().collect();
    if cx.dry_run {
        // Which pages show another recording is known only when it is there.
        plan.append(pages(cx)?);
        return Ok(plan.planned(cx));
    }
    plan.run_unasked(cx)?;
    let _lock = cx.lock_checkout()?;
    let plan = pages(cx)?;
    let written: Vec<String> = plan.changes().map(|change| change.object.clone()).collect();
    plan.run_unasked(cx)?;
    let summary = match written.len() {
        0 => "every page was up to date".to_owned(),
        _ => format!("written: {}", written.join(", ")),
    };
    Ok(Outcome::done(summary).with(json!({ "written": written })))
}

/// Step 1.
fn record<'a>() -> Change<'a> {
    let effect = "what `cargo xtask rehearse` prints now, and the pages that show it";
    Change::new("record", RECORDING, effect, format!("git checkout {RECORDING}"), |cx| {
        let program = std::env::current_exe()?;
        let shell = proc::shell()?;
        let root = cx.paths.root();
        let cmd = cmd!(shell, "{program} rehearse --project-dir {root} --color never");
        let job = Job::new("recording a task", cmd).deadline(cx.limit(Duration::from_secs(600))).env("COLUMNS", "100");
        // As a person sees it: talk and data in the order in which they come.
        let mut lines = vec!["$ cargo xtask rehearse".to_owned()];
        let ended = cx.proc.follow(job, |line| lines.push(line.to_owned()))?;
        if !ended.success() {
            let tail = lines[lines.len().saturating_sub(20)..].join("\n");
            let failure = Failure::new(Code::Failed, "`cargo xtask rehearse` failed, so it is not a recording");
            return Err(failure.cause(tail).into());
        }
        let text = clean(&lines.join("\n"), &root.to_string_lossy());
        files::write_atomically(&root.join(RECORDING), text.as_bytes(), files::SHARED)?;
        Ok("recorded".to_owned())
    })
}

/// `output` as a page shows it: without colours, without spaces at the ends of lines, and with `root`, where this
/// checkout happens to lie, as a dot. Times stay: they are what a reader wants to know.
fn clean(output: &str, root: &str) -> String {
    let plain = console::strip_ansi_codes(output).replace(root, ".");
    let lines: Vec<&str> = plain.lines().map(str::trim_end).collect();
    lines.join("\n").trim().to_owned() + "\n"
}

fn inputs(cx: &Cx) -> Result<Inputs, Failure> {
    let file = |name: &str| files::read_text_if_there(&cx.paths.root().join(name));
    let data = |name: &str| file(name).map(Option::unwrap_or_default);
    Ok(Inputs { recording: file(RECORDING)?, faults: data(FAULTS)?, fleet: data(FLEET)? })
}

/// Step 2: the pages that differ from their files, with what they should be.
fn stale(cx: &Cx) -> Result<Vec<(&'static Page, String)>, Failure> {
    let inputs = inputs(cx)?;
    let mut stale = Vec::new();
    for page in PAGES.iter() {
        let path = cx.paths.root().join(&page.path);
        let old = files::read_text_if_there(&path)?;
        let new = page.rendered(old.as_deref(), &inputs).map_err(|why| {
            Failure::new(Code::Invalid, format!("`{}` cannot be rendered", page.path))
                .cause(why)
                .hint(format!("fix it, or {}", page.source))
        })?;
        if old.as_deref() != Some(&new) {
            stale.push((page, new));
        }
    }
    Ok(stale)
}

/// The pages that have drifted, as findings with the first line that differs.
///
/// # Errors
/// [`Code::Invalid`] when a page cannot be rendered at all.
pub fn drift(cx: &Cx) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for (page, new) in stale(cx)? {
        let old = files::read_text_if_there(&cx.paths.root().join(&page.path))?.unwrap_or_default();
        let (line, is, should) = difference(&old, &new).unwrap_or((1, "", ""));
        let place = Location { file: page.path.clone(), line: line as u32, column: 1 };
        let message =
            format!("the page differs from its source {}: it has {is:?}, it should have {should:?}", page.source);
        findings.push(Finding::error("stale-page", place, message, "cargo xtask docs"));
    }
    Ok(findings)
}

/// Writes the pages that differ.
///
/// # Errors
/// As [`drift`], and when a file cannot be written.
pub fn write(cx: &Cx) -> Result<(), Failure> {
    pages(cx)?.run_unasked(cx).map(drop).map_err(|error| Failure::of(&error))
}

/// Step 3: the pages to write.
fn pages<'a>(cx: &Cx) -> Result<Plan<'a>, Failure> {
    let write = |(page, new): (&'static Page, String)| {
        let (path, contents) = (cx.paths.root().join(&page.path), (Secret::plain(new), files::SHARED));
        let (effect, undo) = (format!("from {}", page.source), format!("git checkout {}", page.path));
        project_files::write("write", (path, page.path.as_str()), contents, effect, undo)
    };
    Ok(stale(cx)?.into_iter().map(write).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_tells_nothing_of_the_machine_it_was_made_on() {
        let output = "\n  \u{1b}[32mok\u{1b}[0m  written: /home/me/kit/target/x (87 ms)  \n\n";
        assert_eq!(clean(output, "/home/me/kit"), "ok  written: ./target/x (87 ms)\n");
    }
}
