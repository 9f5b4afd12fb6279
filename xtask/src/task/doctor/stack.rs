//! The stack, as docker and its files tell.

use super::Seen;
use super::host::images;
use super::seen::{told, verdict};
use crate::check::hub;
use crate::check::verdict::Verdict;
use crate::failure::Code;
use crate::task::hub as stack;
use crate::tool::compose::{OMNI, PROVIDER, SIDECAR};

pub fn containers(seen: &Seen<'_>) -> Verdict {
    verdict(|| {
        let found = seen.containers()?;
        if found.is_empty() {
            return Err(if seen.set_up { Verdict::warning("the stack is not up") } else { seen.absent("") });
        }
        let bad: Vec<String> = found
            .iter()
            .filter(|container| !container.well())
            .map(|container| format!("{}: {}", container.service, container.status))
            .collect();
        if !bad.is_empty() {
            return Ok(Verdict::failed(bad.join("; ")).fix(format!(
                "`cargo xtask stack-logs {}` names what it knows; all anew: `cargo xtask stack-up --recreate`",
                found.iter().find(|container| !container.well()).map_or(OMNI, |container| &container.service)
            )));
        }
        let missing: Vec<&str> = stack::wanted(stack::with_provider(seen.cx).is_ok())
            .into_iter()
            .filter(|service| !found.iter().any(|container| container.service == *service))
            .collect();
        if !missing.is_empty() {
            return Ok(Verdict::warning(format!("no container of {}", missing.join(", "))));
        }
        Ok(Verdict::ok(format!("{} of {}", found.len(), found.len())))
    })
}

pub fn data(seen: &Seen<'_>) -> Verdict {
    verdict(|| {
        seen.container(OMNI)?;
        Ok(match stack::guard(seen.cx, seen.containers()?) {
            Ok(detail) => Verdict::ok(detail),
            Err(failure) if failure.code == Code::Conflict => {
                Verdict::failed(failure.cause.replace('\n', "; ")).fix(failure.hint)
            }
            Err(failure) => Verdict::unknown(told(&failure)),
        })
    })
}

pub fn account(seen: &Seen<'_>) -> Verdict {
    verdict(|| {
        let id = seen.needs("OMNI_ACCOUNT_UUID")?;
        Ok(if crate::task::omni_setup::is_uuid(id) {
            Verdict::ok(id)
        } else {
            Verdict::failed(format!("{id:?} is no UUID"))
        })
    })
}

pub fn user(seen: &Seen<'_>) -> Verdict {
    verdict(|| Ok(hub::initial_user(seen.needs("OMNI_INITIAL_USER")?, seen.value("OIDC_ISSUER_URL"))))
}

pub fn provider_version(seen: &Seen<'_>) -> Verdict {
    let (omni, _) = images(seen, OMNI);
    let (provider, running) = images(seen, PROVIDER);
    hub::provider_pairing(omni.as_deref(), provider.as_deref(), running.as_deref())
}

/// The sidecar, running.
///
/// # Errors
/// The verdict of a check that needs it.
pub fn sidecar(seen: &Seen<'_>) -> Result<(), Verdict> {
    let sidecar = seen.container(SIDECAR)?;
    if sidecar.state == "running" { Ok(()) } else { Err(Verdict::unknown("the sidecar does not run")) }
}
