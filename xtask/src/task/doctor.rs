//! `doctor`: everything that can be wrong, looked at side by side.
//!
//! 1. What several checks need (containers, Omni's version, files) is looked up once, when the first one asks.
//! 2. Each check comes to ok, warning, failed, unknown or skipped. Unknown is not wrong: it could not be checked from here.
//! 3. What is not well is shown with why it matters, what fixes it, and where to read on.
//!
//! Nothing is changed. Exit 1 when something failed; 4 or 5 when all that failed is a missing program or a service that does not answer.

use crate::cli::Doctor;
use crate::flow::doctor::{self, CHECKS, Entry};
use crate::outcome::Outcome;
use domain::failure::Failure;
use runtime::cx::Cx;

pub fn run(args: &Doctor, cx: &Cx) -> anyhow::Result<Outcome> {
    let wanted = |entry: &&Entry| args.area.is_empty() || args.area.contains(&entry.area);
    let results = doctor::run(cx, CHECKS.iter().filter(wanted));
    doctor::show(cx, &results);
    let summary = doctor::summary(&results);
    let data = doctor::document(&results);
    let mut next = next(cx);
    if next.is_empty() && doctor::stack_is_down(&results) {
        next.push("cargo xtask stack-up".to_owned());
    }
    // What this host shows may be well, and a cluster stuck all the same.
    if next.is_empty() && !cx.settings.state.list("clusters").is_empty() {
        next.push("cargo xtask cluster-explain".to_owned());
    }
    match doctor::failure(&results) {
        None => {
            let outcome = Outcome::done(summary).with(data);
            Ok(next.into_iter().fold(outcome, Outcome::next))
        }
        Some(failure) => Err(Failure { message: summary, next, ..failure.with(data) }.into()),
    }
}

fn next(cx: &Cx) -> Vec<String> {
    if !cx.paths.env().is_file() {
        return vec!["cargo xtask omni-setup".to_owned()];
    }
    if cx.settings.env_file.get("OMNI_INFRA_PROVIDER_KEY").is_none() {
        return vec!["cargo xtask provider-setup".to_owned()];
    }
    Vec::new()
}
