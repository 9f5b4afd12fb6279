//! `triage`: searches a log, from a file or from standard input, for the known issues.
//!
//! Each issue is shown once, with the first line that matches, its cause, its fix, and the source of that knowledge.
//! Finding nothing is a valid result: exit 0 means that the log was read.

use std::io::IsTerminal;
use std::path::Path;

use crate::prelude::*;
use runtime::triage::{Hit, Issues, Project};
use runtime::{files, proc};

/// Larger than any log that is likely to be pasted; a journal of weeks has to be cut first.
const LIMIT: u64 = 64 << 20;

pub fn run(file: Option<&Path>, cx: &Cx) -> anyhow::Result<Outcome> {
    let issues = Issues::for_any_release(Project::of(cx)).map_err(anyhow::Error::msg)?;
    let (from, text) = read(file, cx)?;
    let lines = text.lines().count();
    let found = issues.find(&text);
    for hit in &found {
        cx.ui.print_data(&cx.ui.advice(&render_hit(hit)));
    }
    let read = count(lines, "line");
    let summary = match found.len() {
        0 => format!("{from}: none of the {} known issues in {read}", issues.list().len()),
        1 => format!("{from}: one known issue in {read}"),
        found => format!("{from}: {found} known issues in {read}"),
    };
    let data = json!({ "lines": lines, "findings": found });
    let mut outcome = Outcome::done(summary).with(data);
    for hit in &found {
        if !outcome.next.contains(&hit.next()) {
            outcome.next.push(hit.next());
        }
    }
    if found.is_empty() {
        outcome = outcome.next("cargo xtask doctor");
    }
    Ok(outcome)
}

fn render_hit(hit: &Hit<'_>) -> String {
    let more = if hit.count > 1 { format!(" (and {} more)", hit.count - 1) } else { String::new() };
    format!("line {}{more}: {}\n{}\n", hit.line, hit.text, hit.shown())
}

/// Reads the log. Returns where it is from, and its text.
fn read(file: Option<&Path>, cx: &Cx) -> Result<(String, String), Failure> {
    let failed = |from: &str, error: std::io::Error| {
        let code = if error.kind() == std::io::ErrorKind::NotFound { Code::NotFound } else { Code::Failed };
        Failure::new(code, format!("cannot read {from}"))
            .cause(error.to_string())
            .hint("give a file, or paste the log on standard input: `cargo xtask triage -`")
    };
    let (from, bytes) = match file.filter(|file| *file != Path::new("-")) {
        Some(file) => {
            let from = format!("`{}`", file.display());
            let bytes = files::read_up_to(file, LIMIT + 1).map_err(|error| failed(&from, error))?;
            (from, bytes)
        }
        None => {
            let from = "standard input".to_owned();
            if std::io::stdin().is_terminal() {
                cx.ui.say("  paste the log, then press Enter and Ctrl-D");
            }
            let bytes = proc::read_stdin(LIMIT + 1)?.map_err(|error| failed(&from, error))?;
            (from, bytes)
        }
    };
    if bytes.len() as u64 > LIMIT {
        return Err(Failure::new(Code::Invalid, format!("{from} is longer than {} MiB", LIMIT >> 20))
            .hint("shorten it first: `tail -n 100000 FILE | cargo xtask triage -`"));
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(Failure::new(Code::Invalid, format!("{from} is compressed"))
            .hint("unpack it in a pipe: `zcat FILE | cargo xtask triage -`"));
    }
    Ok((from, decode(&bytes)))
}

/// Decodes UTF-8, replacing invalid sequences, or UTF-16, which PowerShell writes.
fn decode(bytes: &[u8]) -> String {
    let wide = |of: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|pair| of([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}
