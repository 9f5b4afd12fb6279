//! The stack, according to Docker and its files.

use std::path::Path;

use super::Installation;
use super::installation::{Verdict, check_sidecar, images, is_failure};
use crate::flow::backup;
use crate::flow::omni_stack;
use crate::flow::site;
use crate::prelude::*;
use check::adopt::DEFAULT_ACCOUNT;
use check::diagnosis::Diagnosis;
use check::{stack, values};
use domain::clock;
use domain::status::docker::Container;
use domain::status::omni::Resource;
use runtime::files;
use runtime::tool::compose::{OMNI, PROVIDER, SIDECAR};
use runtime::tool::docker::Docker;

pub fn containers(installation: &Installation<'_>) -> Verdict {
    let found = installation.containers()?;
    if found.is_empty() {
        return Err(match installation.set_up {
            false => installation.missing_verdict(""),
            // It may run on another host.
            true if installation.health().is_some_and(Result::is_ok) => {
                Diagnosis::warning("the stack is not running here, but Omni answers")
            }
            true => Diagnosis::failed("the stack is not up").fix("`cargo xtask stack-up`"),
        });
    }
    let bad = omni_stack::unhealthy(found);
    if !bad.is_empty() {
        // Docker shows a lost login only as an unhealthy sidecar.
        let others = found.iter().filter(|container| container.service != SIDECAR);
        let sidecar_alone = others.clone().all(Container::is_healthy);
        if sidecar_alone && check_sidecar(installation).is_ok() && is_failure(super::services::tailscale(installation))
        {
            return Ok(Diagnosis::unknown(format!("{}: see tailscale.state", bad.join("; "))));
        }
        let first = found.iter().find(|container| !container.is_healthy());
        let service = first.map_or(OMNI, |container| &container.service);
        let back = match first.map(|container| container.state.as_str()) {
            Some("exited" | "created" | "dead") => "`cargo xtask stack-up` starts the stopped containers",
            _ => "`cargo xtask stack-up --recreate` recreates all containers",
        };
        return Ok(Diagnosis::failed(bad.join("; "))
            .fix(format!("{back}; `cargo xtask stack-logs {service}` shows known issues in its log")));
    }
    let missing: Vec<String> =
        omni_stack::services(installation.cx, omni_stack::provider_ready(installation.cx).is_ok())
            .into_iter()
            .filter(|service| !found.iter().any(|container| container.service == *service))
            .collect();
    if !missing.is_empty() {
        return Ok(Diagnosis::warning(format!("no container of {}", missing.join(", "))));
    }
    Ok(Diagnosis::ok(format!("{} of {}", found.len(), found.len())))
}

pub fn data(installation: &Installation<'_>) -> Verdict {
    installation.container(OMNI)?;
    Ok(break_glass_verdict(omni_stack::guard_omni(installation.cx, installation.containers()?)))
}

pub fn other(installation: &Installation<'_>) -> Verdict {
    let found = Docker::find(installation.cx).and_then(|docker| docker.other_omnis())?;
    let mut all = Diagnosis::ok("none");
    for (words, runs) in found {
        all = all.and(if runs { Diagnosis::failed(words) } else { Diagnosis::warning(words) });
    }
    Ok(all)
}

/// Days after which a backup is old.
const OLD: u64 = 3;
/// Days after which the last verification of a backup is too old.
const LONG_AGO: u64 = 35;

pub fn backup(installation: &Installation<'_>) -> Verdict {
    installation.container(OMNI)?;
    let state = installation.cx.reload_state()?;
    let days = |then: u64| installation.now.saturating_sub(then) / 86_400;
    let Some((file, made)) = backup::last_backup(&state) else {
        return Ok(Diagnosis::warning("no backup was made from this checkout"));
    };
    let (age, verified) = (days(made), state.get("verified_backup_at").as_deref().and_then(clock::parse_rfc3339));
    let path = Path::new(&file);
    let old = |age: u64| format!("{} old", count(age, "day"));
    Ok(if !path.is_file() {
        Diagnosis::warning(format!("the last backup, {file}, no longer exists"))
    } else if age > OLD {
        Diagnosis::warning(format!("the last backup, {file}, is {}", old(age)))
    } else if verified.is_none_or(|then| days(then) > LONG_AGO) {
        Diagnosis::warning(format!("no backup was verified in the last {LONG_AGO} days"))
    } else if files::is_same_file_system(path, Path::new("/var/lib/docker")) {
        Diagnosis::warning(format!("{file} is on the disk of Omni's data")).fix("write it to another disk: --to DIR")
    } else {
        let verified = verified.map_or(0, days);
        Diagnosis::ok(format!("{file}, {}, verified {} ago", old(age), count(verified, "day")))
    })
}

/// Checks that an existing Omni did not start with an empty store: it would be healthy, but without its machines.
pub fn store(installation: &Installation<'_>) -> Verdict {
    installation.container(OMNI)?;
    let state = installation.cx.reload_state()?;
    let times = ["omni_configured_at", "last_backup_at"].map(|key| clock::parse_rfc3339(&state.get(key)?));
    let Some(before) = times.into_iter().flatten().min() else {
        return Err(installation.missing_verdict("the state does not record when Omni was set up"));
    };
    let began = omni_stack::empty_store_time(installation.cx)?;
    let Some(began) = began.filter(|began| *began > before) else {
        return Ok(Diagnosis::ok("its log shows no other store"));
    };
    let (began, before) = (clock::date(began), clock::date(before));
    Ok(Diagnosis::failed(format!(
        "Omni created an empty store on {began} (`initializing new key store`), but one has existed since {before}"
    )))
}

/// Checks whether access that bypasses Omni is enabled or disabled on purpose. Omni disables it by default (omni v1.10.6
/// `internal/pkg/config/schema.json`).
pub fn break_glass(installation: &Installation<'_>) -> Verdict {
    installation.clusters()?;
    let settings = site::read(installation.cx)?.unwrap_or_default();
    Ok(match check::site::setting_texts(&settings, &["features", "enableBreakGlassConfigs"]).into_iter().next() {
        Some(value) => Diagnosis::ok(format!("enableBreakGlassConfigs is {value} in docker/site.yaml")),
        None => Diagnosis::warning("off by default: while Omni is down, its clusters cannot be reached"),
    })
}

/// Checks the backups of the clusters' etcd, which Omni makes if a template and its own settings enable them.
pub fn etcd_backups(installation: &Installation<'_>) -> Verdict {
    let (with, without): (Vec<&Resource>, Vec<&Resource>) =
        installation.clusters()?.iter().partition(|cluster| cluster.flag(&["backupconfiguration", "enabled"]));
    let names = |clusters: &[&Resource]| {
        clusters.iter().map(|found| format!("`{}`", found.metadata.id)).collect::<Vec<_>>().join(", ")
    };
    let mut all = Diagnosis::ok(format!("of {}", names(&with)));
    if !without.is_empty() {
        all = all.and(Diagnosis::warning(format!("no backups of etcd: {}", names(&without))));
    }
    if with.is_empty() {
        return Ok(all);
    }
    let settings = site::read(installation.cx)?.unwrap_or_default();
    if check::stack::backup_store(&installation.compose(), &settings) == Some(false) {
        return Ok(all.and(Diagnosis::warning(format!("Omni has no storage for the backups of {}", names(&with)))));
    }
    let statuses = installation.omnictl()?.list("etcdbackupstatuses", None)?;
    let failed = statuses.iter().filter(|status| !status.text(&["error"]).is_empty());
    Ok(failed.fold(all, |all, status| {
        let words = format!("the last backup of `{}` failed: {}", status.metadata.id, status.text(&["error"]));
        all.and(Diagnosis::warning(words))
    }))
}

pub fn login(installation: &Installation<'_>) -> Verdict {
    installation.container(SIDECAR)?;
    Ok(break_glass_verdict(omni_stack::guard_sidecar(installation.cx, installation.containers()?)))
}

fn break_glass_verdict(guarded: Result<String, Failure>) -> Diagnosis {
    match guarded {
        Ok(detail) => Diagnosis::ok(detail),
        Err(failure) if failure.code == Code::Conflict => {
            Diagnosis::failed(failure.cause.replace('\n', "; ")).fix(failure.hint)
        }
        Err(failure) => failure.into(),
    }
}

pub fn account(installation: &Installation<'_>) -> Verdict {
    let id = installation.required_value("OMNI_ACCOUNT_UUID")?;
    Ok(if id.eq_ignore_ascii_case(DEFAULT_ACCOUNT) {
        Diagnosis::warning(format!("{id} is Omni's default, shared by every Omni without a UUID of its own")).fix(
            "keep it where machines have joined, since they belong to it; for a new Omni clear OMNI_ACCOUNT_UUID in docker/.env and run `cargo xtask omni-setup`",
        )
    } else if values::is_uuid(id) {
        Diagnosis::ok(id)
    } else {
        Diagnosis::failed(format!("{id:?} is not a valid UUID"))
    })
}

pub fn user(installation: &Installation<'_>) -> Verdict {
    Ok(values::check_initial_user(
        installation.required_value("OMNI_INITIAL_USER")?,
        installation.value("OIDC_ISSUER_URL"),
    ))
}

pub fn provider_version(installation: &Installation<'_>) -> Diagnosis {
    let (omni, _) = images(installation, OMNI);
    let (provider, running) = images(installation, PROVIDER);
    stack::check_provider_pairing(omni.as_deref(), provider.as_deref(), running.as_deref())
}
