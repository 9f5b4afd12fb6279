//! The clusters, or one, printed again whenever something about them has changed.

use std::time::{Duration, Instant, SystemTime};

use crate::flow::{cluster, cluster_output, cluster_tree, lookup};
use crate::outcome::Outcome;
use domain::clock::rfc3339;
use domain::failure::{Code, Failure};
use domain::status::cluster::cluster_lines;
use runtime::cx::Cx;
use runtime::tool::omnictl::Omnictl;
use runtime::wait;

/// How long after one look the next one is taken.
const PAUSE: Duration = Duration::from_secs(2);

/// Watches until the operator interrupts, `--timeout` is over, or the cluster is gone. An Omni that is away for a while does
/// not end it.
///
/// # Errors
/// [`Code::NotFound`] for a cluster that is not there at the start; [`Code::Interrupted`]; those of omnictl.
pub fn run(cx: &Cx, omnictl: &Omnictl<'_>, name: Option<&str>) -> anyhow::Result<Outcome> {
    let end = cx.timeout.map(|timeout| Instant::now() + timeout);
    if let Some(name) = name {
        cluster::must_exist(cx, omnictl, name)?;
    }
    let mut shown = String::new();
    loop {
        let now = match look(omnictl, name) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(Outcome::done(format!("cluster `{}` is gone", name.unwrap_or_default()))),
            Err(failure) if matches!(failure.code, Code::Unreachable | Code::Timeout) => failure.message,
            Err(failure) => return Err(failure.into()),
        };
        if now != shown {
            cx.ui.states(&format!("{}\n{}", rfc3339(SystemTime::now()), now.trim_end()));
            shown = now;
        }
        if end.is_some_and(|end| Instant::now() + PAUSE > end) {
            return Ok(Outcome::done("watched as long as --timeout says"));
        }
        wait::sleep(PAUSE, "watching the clusters")?;
    }
}

/// What is there now; `None` when the cluster is not there any more.
fn look(omnictl: &Omnictl<'_>, name: Option<&str>) -> Result<Option<String>, Failure> {
    if let Some(name) = name {
        return Ok(cluster::observe(omnictl, name)?.map(|view| cluster_tree::render(&view)));
    }
    let [clusters, statuses] = lookup::lists(omnictl, ["clusters", "clusterstatuses"], None)?;
    Ok(Some(cluster_output::overview(&cluster_lines(&clusters, &statuses))))
}
