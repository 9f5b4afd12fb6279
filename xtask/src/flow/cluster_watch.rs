//! Watches all clusters or one: redrawn in place on a terminal, otherwise with a line for each change.

use std::time::{Duration, Instant, SystemTime};

use crate::flow::{cluster, cluster_output, cluster_tree, lookup};
use crate::prelude::*;
use domain::clock::rfc3339;
use domain::status::cluster::cluster_lines;
use runtime::tool::omnictl::Omnictl;
use runtime::ui::Row;
use runtime::wait;

/// Pause between two polls.
const PAUSE: Duration = Duration::from_secs(2);

/// Watches until the operator interrupts, `--timeout` has passed, or the cluster is gone. An outage of Omni does not end it.
///
/// # Errors
/// Fails with [`Code::NotFound`] if the cluster does not exist at the start, with [`Code::Interrupted`], or if omnictl fails.
pub fn run(cx: &Cx, omnictl: &Omnictl<'_>, name: Option<&str>) -> anyhow::Result<Outcome> {
    if let Some(name) = name {
        cluster::check_exists(cx, omnictl, name)?;
    }
    let mut shown = Vec::new();
    if !cx.ui.is_live() {
        return watch(cx, omnictl, name, &mut shown);
    }
    let title = name.map_or("watching the clusters".to_owned(), |name| format!("watching cluster `{name}`"));
    let result = cx.ui.with_spinner(&title, || watch(cx, omnictl, name, &mut shown));
    // The last state stays on the screen.
    cx.ui.print_states(&render(&shown));
    result
}

fn watch(cx: &Cx, omnictl: &Omnictl<'_>, name: Option<&str>, shown: &mut Vec<Row>) -> anyhow::Result<Outcome> {
    let end = cx.timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let now = match observe(cx, omnictl, name) {
            Ok(Some(rows)) => rows,
            Ok(None) => return Ok(Outcome::done(format!("cluster `{}` is gone", name.unwrap_or_default()))),
            Err(failure) if matches!(failure.code, Code::Unreachable | Code::Timeout) => {
                vec![Row::new(failure.message, None)]
            }
            Err(failure) => return Err(failure.into()),
        };
        match cx.ui.is_live() {
            true => cx.ui.show_rows(&now),
            false if shown.is_empty() => {
                cx.ui.print_states(&format!("{}\n{}", rfc3339(SystemTime::now()), render(&now)))
            }
            false => changes(shown, &now)
                .iter()
                .for_each(|line| cx.ui.print_states(&format!("{}  {line}", rfc3339(SystemTime::now())))),
        }
        *shown = now;
        if end.is_some_and(|end| Instant::now() + PAUSE > end) {
            return Ok(Outcome::done("stopped watching after --timeout"));
        }
        wait::sleep(PAUSE, "watching the clusters")?;
    }
}

fn render(rows: &[Row]) -> String {
    rows.iter().map(|row| format!("{}\n", row.text)).collect()
}

/// Returns the lines that are new or have changed, and a line for each row that is gone.
fn changes(before: &[Row], now: &[Row]) -> Vec<String> {
    fn name(row: &Row) -> &str {
        row.without_branches().split("  ").next().unwrap_or_default()
    }
    let new = now.iter().filter(|row| !before.iter().any(|old| old.without_branches() == row.without_branches()));
    let gone = before.iter().filter(|old| old.finished.is_some() && !now.iter().any(|row| name(row) == name(old)));
    new.map(|row| row.without_branches().to_owned()).chain(gone.map(|old| format!("{}  gone", name(old)))).collect()
}

/// Returns the current state; `None` if the cluster does not exist any more.
fn observe(cx: &Cx, omnictl: &Omnictl<'_>, name: Option<&str>) -> Result<Option<Vec<Row>>, Failure> {
    if let Some(name) = name {
        let now = cx.ui.is_live().then(|| cx.now());
        return Ok(cluster::observe(omnictl, name)?.map(|view| cluster_tree::rows(&view, now)));
    }
    let [clusters, statuses] = lookup::list_all(omnictl, ["clusters", "clusterstatuses"], None)?;
    let lines = cluster_lines(&clusters, &statuses);
    let finished = std::iter::once(None).chain(lines.iter().map(|line| Some(line.running)));
    let table = cluster_output::cluster_table(&lines);
    Ok(Some(table.lines().zip(finished).map(|(line, finished)| Row::new(line, finished)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_only_new_changed_or_gone_rows() {
        let row = |text: &str, finished| Row::new(text, finished);
        let before =
            [row("web  ScalingUp", None), row("├── a  Booting", Some(false)), row("└── b  Running", Some(true))];
        let now = [row("web  ScalingUp", None), row("├── a  Running", Some(true)), row("└── c  Pending", Some(false))];
        assert_eq!(changes(&before, &now), ["a  Running", "c  Pending", "b  gone"]);
        assert!(changes(&now, &now).is_empty());
    }
}
