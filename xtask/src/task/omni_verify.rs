//! `omni-verify`: checks Omni end to end, with the checks of `doctor` that concern it: containers, health, the certificate as
//! served, ports, mounts, versions, licence.

use crate::flow::omni_checks;
use crate::prelude::*;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    if !cx.paths.env().is_file() {
        return Err(Failure::new(Code::Prerequisite, "Omni is not set up here")
            .cause("`docker/.env` does not exist")
            .next("cargo xtask omni-setup")
            .into());
    }
    let (data, open) = omni_checks::verify(cx)?;
    let summary = if open { "Omni is healthy, with warnings" } else { "Omni is healthy" };
    Ok(Outcome::done(summary).with(data).next("cargo xtask tsidp-verify").next("cargo xtask provider-verify"))
}
