//! `doctor`: everything that can be wrong, looked at side by side.
//!
//! 1. What several checks need (containers, Omni's version, files) is looked up once, when the first one asks.
//! 2. Each check comes to ok, warning, failed, unknown or skipped. Unknown is not wrong: it could not be checked from here.
//! 3. What is not well is shown with why it matters, what fixes it, and where to read on; the rest is counted.
//!
//! Nothing is changed. Exit 1 when something failed; 4 or 5 when all that failed is a missing program or a service that does not answer.

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
        // What blocks comes first: without Docker nothing can be set up.
        Some(failure) => Err(failure.with(data).into()),
    }
}

/// What leads on where nothing has failed.
fn next(cx: &Cx) -> Option<&'static str> {
    if !cx.paths.env().is_file() {
        return Some("cargo xtask omni-setup");
    }
    if cx.settings.env_file.get("OMNI_INFRA_PROVIDER_KEY").is_none() {
        return Some("cargo xtask provider-setup");
    }
    // What this host shows may be well, and a cluster stuck all the same.
    provider::has_clusters(cx).then_some(provider::EXPLAIN)
}
