//! `machine-logs NAME`: prints the log of a machine's kernel and Talos, as Omni keeps it.
//!
//! 1. Finds the machine by its name, its UUID, or its VM.
//! 2. Prints Omni's copy of its log, each line with time, level and facility, and explains the known issues in it.

use crate::cli::MachineLogs;
use crate::flow::machine;
use crate::prelude::*;
use domain::status::machines::MachineLine;
use runtime::tool::omnictl::Omnictl;
use runtime::triage::Issues;

/// Maximum size, in bytes, of the log lines in a JSON document without `--all`.
const MAX_BYTES: usize = 6 << 10;
/// How many lines to read for each line of the kernel's: most are Talos's own.
const LINES_PER_MATCH: u32 = 20;
/// Maximum number of lines requested from omnictl.
const LINES: u32 = 100_000;

pub fn run(args: &MachineLogs, cx: &Cx) -> anyhow::Result<Outcome> {
    let omnictl = Omnictl::find(cx)?;
    let machine = machine::find(cx, &omnictl, &args.name)?;
    let explain = format!("cargo xtask cluster-explain {}", machine.cluster);
    if machine.uuid.is_empty() {
        let failure =
            Failure::new(Code::NotFound, format!("`{}` has not joined Omni yet: it has no log there", machine.name));
        return Err(failure.hint("cluster-explain shows what it is waiting for").next(explain).into());
    }
    let issues = Issues::of(cx).map_err(anyhow::Error::msg)?;
    let wanted = |line: &str| format_line(line, args.kernel);
    if args.follow {
        let print = |line: &str| wanted(line).iter().for_each(|line| cx.ui.print_data(line));
        omnictl.follow_machine_log(&machine.uuid, args.tail, print)?;
        return Ok(Outcome::done("the log has ended"));
    }
    let tail = if args.kernel { args.tail.saturating_mul(LINES_PER_MATCH).min(LINES) } else { args.tail };
    let log = omnictl.machine_log(&machine.uuid, tail)?;
    let mut lines: Vec<String> = log.lines().filter_map(wanted).collect();
    lines.drain(..lines.len().saturating_sub(args.tail as usize));
    lines.iter().for_each(|line| cx.ui.print_data(line));
    let hits = issues.find_in("talos-console", &lines.join("\n"));
    hits.iter().for_each(|hit| cx.ui.print_data(&cx.ui.advice(&format!("\n{}", hit.shown()))));
    let summary = match (lines.len(), hits.len()) {
        (0, _) => format!("Omni has no such log lines for `{}`: it may not have sent any yet", machine.name),
        (many, 0) => format!("{} of `{}`, without a known issue", count(many, "line"), machine.name),
        (many, issues) => {
            format!("{} of `{}`, with {}", count(many, "line"), machine.name, count(issues, "known issue"))
        }
    };
    let mut outcome = Outcome::done(summary).with(document(&machine, &lines, args.all));
    outcome.data["known_issues"] = serde_json::to_value(&hits)?;
    for next in hits.iter().map(|hit| hit.next()).chain([explain]) {
        if !outcome.next.contains(&next) {
            outcome.next.push(next);
        }
    }
    Ok(outcome)
}

/// Formats a line; `None` if only the kernel's lines are requested and this is not one. Talos sends the contents of the kernel's
/// ring buffer, including its own messages, which have another facility (siderolabs/talos v1.12.1
/// `internal/app/machined/pkg/runtime/logging`, `pkg/kernel`).
fn format_line(line: &str, kernel: bool) -> Option<String> {
    let Ok(Value::Object(entry)) = serde_json::from_str(line) else { return (!kernel).then(|| line.to_owned()) };
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    let facility = text("facility");
    let words = [text("talos-time"), text("talos-level"), facility].join(" ");
    (!kernel || facility == "kern").then(|| format!("{}: {}", words.trim(), text("msg").trim_end()))
}

/// Returns the JSON document, with the last lines up to [`MAX_BYTES`] bytes unless `all`.
fn document(machine: &MachineLine, lines: &[String], all: bool) -> Value {
    let mut left = if all { usize::MAX } else { MAX_BYTES };
    let fits = |line: &&String| left.checked_sub(line.len() + 3).inspect(|rest| left = *rest).is_some();
    let shown = lines.iter().rev().take_while(fits).count();
    let first = lines.len() - shown;
    let MachineLine { name, uuid, cluster, .. } = machine;
    json!({ "machine": name, "uuid": uuid, "cluster": cluster, "lines": lines[first..], "lines_left_out": first })
}

#[cfg(test)]
mod tests {
    use super::format_line;

    #[test]
    fn kernel_lines_are_recognized() {
        let line = |facility: &str| {
            format!(
                r#"{{"clock":1,"facility":"{facility}","msg":"eth0: up\n","priority":"info","seq":7,"talos-level":"info","talos-time":"2026-11-29T10:00:00Z"}}"#
            )
        };
        assert_eq!(format_line(&line("kern"), true).unwrap(), "2026-11-29T10:00:00Z info kern: eth0: up");
        assert_eq!(format_line(&line("user"), true), None);
        assert!(format_line(&line("user"), false).is_some());
        assert_eq!(format_line("not JSON", false).unwrap(), "not JSON");
        assert_eq!(format_line("not JSON", true), None);
    }
}
