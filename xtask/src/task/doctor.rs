//! `doctor`: checks everything that can be wrong, in parallel.
//!
//! 1. Data that several checks need (containers, Omni's version, files) is read once, when the first check needs it.
//! 2. Each check returns ok, warning, failed, unknown or skipped. Unknown is not an error: it could not be checked from here.
//! 3. Checks that are not ok are shown with why they matter, the fix, and where to read more; the others are only counted.
//!
//! Nothing is changed. Exits with 1 if a check failed; with 4 or 5 if all failures are missing programs or unreachable services.

use crate::cli::Doctor;
use crate::flow::doctor::{self, CHECKS, Entry};
use crate::flow::provider;
use crate::prelude::*;

pub fn run(args: &Doctor, cx: &Cx) -> anyhow::Result<Outcome> {
    let wanted = |entry: &&Entry| args.area.is_empty() || args.area.contains(&entry.area());
    let results = doctor::run(cx, CHECKS.iter().filter(wanted), args.all);
    let summary = doctor::summary(&results);
    let data = doctor::document(&results, args.all);
    match doctor::failure(cx, &results) {
        None => {
            let outcome = Outcome::done(summary).with(data);
            Ok(next(cx).map(str::to_owned).into_iter().fold(outcome, Outcome::next))
        }
        // The failure of a prerequisite comes first: without Docker nothing can be set up.
        Some(failure) => Err(failure.with(data).into()),
    }
}

/// The next step if nothing has failed.
fn next(cx: &Cx) -> Option<&'static str> {
    if !cx.paths.env().is_file() {
        return Some("cargo xtask omni-setup");
    }
    if cx.settings.env_file.get("OMNI_INFRA_PROVIDER_KEY").is_none() {
        return Some("cargo xtask provider-setup");
    }
    // Everything on this host may be well while a cluster is stuck.
    provider::has_clusters(cx).then_some(provider::EXPLAIN)
}
