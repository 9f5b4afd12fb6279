//! The stack, as docker and its files tell.

use std::path::Path;

use super::Installation;
use super::installation::{images, one_line, sidecar, verdict};
use crate::flow::backup;
use crate::flow::omni_stack;
use check::diagnosis::{Diagnosis, State};
use check::{stack, values};
use domain::clock;
use domain::failure::{Code, Failure};
use domain::status::docker::Container;
use domain::words::count;
use runtime::files;
use runtime::tool::compose::{OMNI, PROVIDER, SIDECAR};
use runtime::tool::docker::Docker;

/// The account id of an Omni that is given none (omni v1.9.3 `internal/pkg/config/schema.json`).
const DEFAULT_ACCOUNT: &str = "edd2822a-7834-4fe0-8172-cc5581f13a8d";

pub fn containers(installation: &Installation<'_>) -> Diagnosis {
    verdict(|| {
        let found = installation.containers()?;
        if found.is_empty() {
            return Err(match installation.set_up {
                false => installation.absent(""),
                // It may run on another host.
                true if installation.health().is_some_and(Result::is_ok) => {
                    Diagnosis::warning("the stack is not up here, and Omni answers")
                }
                true => Diagnosis::failed("the stack is not up").fix("`cargo xtask stack-up`"),
            });
        }
        let bad = omni_stack::unwell(found);
        if !bad.is_empty() {
            // An unhealthy sidecar is what a lost login looks like from Docker.
            let others = found.iter().filter(|container| container.service != SIDECAR);
            let sidecar_alone = others.clone().all(Container::well);
            if sidecar_alone
                && sidecar(installation).is_ok()
                && super::services::tailscale(installation).state == State::Failed
            {
                return Ok(Diagnosis::unknown(format!("{}: tailscale.state says why", bad.join("; "))));
            }
            let first = found.iter().find(|container| !container.well());
            let service = first.map_or(OMNI, |container| &container.service);
            let back = match first.map(|container| container.state.as_str()) {
                Some("exited" | "created" | "dead") => "`cargo xtask stack-up` starts what has ended",
                _ => "`cargo xtask stack-up --recreate` recreates all containers",
            };
            return Ok(Diagnosis::failed(bad.join("; "))
                .fix(format!("{back}; `cargo xtask stack-logs {service}` names what it knows")));
        }
        let missing: Vec<&str> = omni_stack::services(omni_stack::with_provider(installation.cx).is_ok())
            .into_iter()
            .filter(|service| !found.iter().any(|container| container.service == *service))
            .collect();
        if !missing.is_empty() {
            return Ok(Diagnosis::warning(format!("no container of {}", missing.join(", "))));
        }
        Ok(Diagnosis::ok(format!("{} of {}", found.len(), found.len())))
    })
}

pub fn data(installation: &Installation<'_>) -> Diagnosis {
    verdict(|| {
        installation.container(OMNI)?;
        Ok(kept(omni_stack::guard_omni(installation.cx, installation.containers()?)))
    })
}

pub fn other(installation: &Installation<'_>) -> Diagnosis {
    verdict(|| {
        let unknown = |failure: Failure| Diagnosis::unknown(one_line(&failure));
        let found = Docker::find(installation.cx).and_then(|docker| docker.other_omnis()).map_err(unknown)?;
        let mut all = Diagnosis::ok("none");
        for (words, runs) in found {
            all = all.and(if runs { Diagnosis::failed(words) } else { Diagnosis::warning(words) });
        }
        Ok(all)
    })
}

/// A backup is old after this many days.
const OLD: u64 = 3;
/// A backup was verified too long ago after this many days.
const LONG_AGO: u64 = 35;

pub fn backup(installation: &Installation<'_>) -> Diagnosis {
    verdict(|| {
        installation.container(OMNI)?;
        let state = installation.cx.fresh_state().map_err(|failure| Diagnosis::unknown(one_line(&failure)))?;
        let days = |then: u64| installation.now.saturating_sub(then) / 86_400;
        let Some((file, made)) = backup::last(&state) else {
            return Ok(Diagnosis::warning("no backup was made from this checkout"));
        };
        let (age, verified) = (days(made), state.get("verified_backup_at").as_deref().and_then(clock::seconds));
        let path = Path::new(&file);
        let old = |age: u64| format!("{} old", count(age, "day"));
        Ok(if !path.is_file() {
            Diagnosis::warning(format!("the last backup, {file}, is not there any more"))
        } else if age > OLD {
            Diagnosis::warning(format!("the last backup, {file}, is {}", old(age)))
        } else if verified.is_none_or(|then| days(then) > LONG_AGO) {
            Diagnosis::warning(format!("no backup was verified in the last {LONG_AGO} days"))
        } else if files::same_disk(path, Path::new("/var/lib/docker")) {
            Diagnosis::warning(format!("{file} is on the disk of Omni's data"))
                .fix("write it to another disk: --to DIR")
        } else {
            Diagnosis::ok(format!("{file}, {}", old(age)))
        })
    })
}

pub fn login(installation: &Installation<'_>) -> Diagnosis {
    verdict(|| {
        installation.container(SIDECAR)?;
        Ok(kept(omni_stack::guard_sidecar(installation.cx, installation.containers()?)))
    })
}

fn kept(guarded: Result<String, Failure>) -> Diagnosis {
    match guarded {
        Ok(detail) => Diagnosis::ok(detail),
        Err(failure) if failure.code == Code::Conflict => {
            Diagnosis::failed(failure.cause.replace('\n', "; ")).fix(failure.hint)
        }
        Err(failure) => Diagnosis::unknown(one_line(&failure)),
    }
}

pub fn account(installation: &Installation<'_>) -> Diagnosis {
    verdict(|| {
        let id = installation.needs("OMNI_ACCOUNT_UUID")?;
        Ok(if id.eq_ignore_ascii_case(DEFAULT_ACCOUNT) {
            Diagnosis::warning(format!("{id} is Omni's default, which every Omni has that was given no other")).fix(
                "keep it where machines have joined, since they belong to it; for a new Omni empty OMNI_ACCOUNT_UUID in docker/.env and run `cargo xtask omni-setup`",
            )
        } else if values::is_uuid(id) {
            Diagnosis::ok(id)
        } else {
            Diagnosis::failed(format!("{id:?} is not a valid UUID"))
        })
    })
}

pub fn user(installation: &Installation<'_>) -> Diagnosis {
    verdict(|| {
        Ok(values::initial_user(installation.needs("OMNI_INITIAL_USER")?, installation.value("OIDC_ISSUER_URL")))
    })
}

pub fn provider_version(installation: &Installation<'_>) -> Diagnosis {
    let (omni, _) = images(installation, OMNI);
    let (provider, running) = images(installation, PROVIDER);
    stack::provider_pairing(omni.as_deref(), provider.as_deref(), running.as_deref())
}
