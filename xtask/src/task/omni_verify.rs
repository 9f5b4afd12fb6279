//! `omni-verify`: Omni end to end, by the checks of `doctor` that are about it: containers, health, the certificate as
//! it is served, ports, mounts, versions, licence.

use crate::flow::doctor;
use crate::outcome::Outcome;
use check::diagnosis::State;
use domain::failure::{Code, Failure};
use runtime::cx::Cx;

/// The checks, all of which `doctor` has.
const IDS: &str = "docker.engine docker.containers docker.other-omni network.lan-address network.ports certificates.served keys.store \
     keys.slots omni.health omni.data omni.store omni.backup omni.break-glass omni.etcd-backups omni.account omni.licence omni.versions";

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    if !cx.paths.env().is_file() {
        return Err(Failure::new(Code::Prerequisite, "Omni is not set up here")
            .cause("`docker/.env` does not exist")
            .next("cargo xtask omni-setup")
            .into());
    }
    let results = doctor::run(cx, doctor::CHECKS.iter().filter(|entry| IDS.split(' ').any(|id| id == entry.id)), true);
    let data = doctor::document(&results, false);
    if let Some(failure) = doctor::failure(cx, &results) {
        return Err(failure.with(data).next("cargo xtask omni-status").into());
    }
    let healthy = results.iter().any(|found| found.entry.id == "omni.health" && found.verdict.state == State::Ok);
    if !healthy {
        return Err(Failure::new(Code::Failed, "whether Omni is well is not known")
            .cause(doctor::summary(&results))
            .with(data)
            .next("cargo xtask doctor --area omni")
            .into());
    }
    let open = results.iter().any(|found| found.verdict.state == State::Warning);
    let summary = if open { "Omni is healthy, with something to look at" } else { "Omni is healthy" };
    Ok(Outcome::done(summary).with(data).next("cargo xtask tsidp-verify").next("cargo xtask provider-verify"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_checks_are_doctors() {
        for id in IDS.split(' ') {
            assert!(doctor::CHECKS.iter().any(|entry| entry.id == id), "{id}");
        }
    }
}
