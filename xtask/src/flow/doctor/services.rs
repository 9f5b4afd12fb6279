//! Omni, the provider, Proxmox, tsidp and the tailnet.

use super::installation::{Verdict, check_sidecar, from_failure, images, is_failure, proxmox_of};
use super::{Installation, certificates};
use crate::flow::{audit, provider, proxmox as flow_proxmox, tsidp};
use check::capacity::room;
use check::diagnosis::{Diagnosis, State};
use check::stack::{self, Versions};
use check::{grant, values};
use domain::failure::{Code, Failure, Kind};
use domain::spec::hujson;
use domain::words::count;
use runtime::files;
use runtime::tool::compose::{Compose, OMNI};
use runtime::triage::Issues;
use yaml::Finding;

/// How many lines of Omni's log are searched.
const LOG: u32 = 300;

pub fn health(installation: &Installation<'_>) -> Verdict {
    let absent = || installation.missing_verdict("the address of Omni is not known");
    let (asked, place) = (installation.health().ok_or_else(absent)?, installation.omni_address().ok_or_else(absent)?);
    Ok(match asked {
        Ok(()) => Diagnosis::ok(place.words()),
        Err(failure) => unhealthy_verdict(installation, failure),
    })
}

/// The verdict if Omni does not answer. A cause that another check reports is not reported again.
fn unhealthy_verdict(installation: &Installation<'_>, failure: &Failure) -> Diagnosis {
    let see = |id: &str| Diagnosis::unknown(format!("{}: see {id}", failure.line()));
    if installation.is_certificate_refused() && is_failure(certificates::served(installation)) {
        return see("certificates.served");
    }
    let omni = installation.containers().map(|all| stack::service(all, OMNI));
    // If Docker shows the stack, or it is set up here, its Omni is the one that was queried.
    if installation.set_up && omni.is_ok_and(|omni| omni.is_none_or(|container| container.state != "running")) {
        return see("docker.containers");
    }
    from_failure(failure)
}

pub fn licence(installation: &Installation<'_>) -> Diagnosis {
    match installation.server() {
        Ok(_) => Diagnosis::ok("Omni answers API calls"),
        Err(failure) if failure.kind == Kind::Licence => {
            Diagnosis::failed(failure.message.clone()).fix(failure.hint.clone())
        }
        Err(failure) if failure.code == Code::MissingInput => {
            installation.missing_verdict("Omni was not queried: nobody is logged in")
        }
        Err(failure) => Diagnosis::unknown(failure.message.clone()),
    }
}

pub fn versions(installation: &Installation<'_>) -> Diagnosis {
    let (pinned, running) = images(installation, OMNI);
    if let Err(failure) = installation.server()
        && failure.kind == Kind::Version
    {
        return Diagnosis::failed(failure.line());
    }
    let omnictl = installation.omnictl_version().and_then(|version| version.as_ref().ok().cloned());
    stack::check_pairing(&Versions { pinned, running, server: installation.server().as_ref().ok().cloned(), omnictl })
}

pub fn provider_id(installation: &Installation<'_>) -> Verdict {
    installation.required_value("OMNI_INFRA_PROVIDER_KEY")?;
    let id = installation.cx.settings.provider_id(None).value;
    let found = installation.omnictl()?.list("infraproviders", None)?;
    let ids: Vec<&str> = found.iter().map(|each| each.metadata.id.as_str()).collect();
    if ids.contains(&id.as_str()) {
        return Ok(Diagnosis::ok(id));
    }
    Ok(match ids.iter().find(|other| other.eq_ignore_ascii_case(&id)) {
        Some(other) => Diagnosis::failed(format!("Omni has `{other}`, docker/.env has `{id}`"))
            .fix(format!("set OMNI_PROVIDER_ID in docker/.env to {other}, then `cargo xtask provider-setup`")),
        None if ids.is_empty() => Diagnosis::failed("Omni knows no provider").fix("`cargo xtask provider-setup`"),
        None => Diagnosis::failed(format!("Omni does not know `{id}`, but {}", ids.join(", "))),
    })
}

pub fn proxmox(installation: &Installation<'_>) -> Verdict {
    let found = proxmox_of(installation)?;
    Ok(match found.version(installation.cx) {
        Ok(version) => Diagnosis::ok(format!("{}, version {version}", found.url)),
        Err(failure) => from_failure(&failure),
    })
}

/// Runs the audit, and returns its result in one line.
pub fn permissions(installation: &Installation<'_>) -> Verdict {
    // Other checks report what prevents the audit.
    let found = proxmox_of(installation).map_err(|early| Diagnosis::skipped(early.detail))?;
    Ok(match audit::summary(installation.cx, &found, &|_| true) {
        Ok(audit::Summary { missing: None, present }) => {
            Diagnosis::ok(format!("{} present", count(present, "privilege")))
        }
        Ok(audit::Summary { missing: Some(failure), .. }) => Diagnosis::failed(failure.line()).fix(failure.hint),
        Err(failure) => Diagnosis::skipped(format!("Proxmox could not be queried: {}", failure.line())),
    })
}

/// Checks the free space for the disks of the project's own classes and for ISO images.
pub fn storages(installation: &Installation<'_>) -> Verdict {
    let found = proxmox_of(installation).map_err(|early| Diagnosis::skipped(early.detail))?;
    let unasked = |failure: Failure| Diagnosis::skipped(format!("Proxmox could not be queried: {}", failure.line()));
    let nodes = flow_proxmox::read_storages(installation.cx, &found).map_err(unasked)?;
    let machines =
        audit::requirements(installation.cx, &|_| true).map_or_else(|_| Vec::new(), |wanted| wanted.machines);
    let lacking = room::shortages(&nodes, &machines);
    let words: Vec<&str> = lacking.iter().map(|shortage| shortage.words.as_str()).collect();
    Ok(match lacking.iter().any(|shortage| shortage.everywhere) {
        _ if lacking.is_empty() => Diagnosis::ok("for each class of yours, and for ISO images"),
        true => Diagnosis::failed(words.join("; ")),
        false => Diagnosis::warning(words.join("; ")),
    })
}

pub fn registration(installation: &Installation<'_>) -> Verdict {
    installation.required_value("OMNI_INFRA_PROVIDER_KEY")?;
    let id = installation.cx.settings.provider_id(None).value;
    let omnictl = installation.omnictl()?;
    if let Ok(container) = installation.container(&installation.cx.settings.provider_service())
        && container.state != "running"
    {
        let words = format!("its container is not running: {}", container.status);
        return match installation.checks.contains(&"docker.containers") {
            true => Err(Diagnosis::unknown(words)),
            false => Ok(Diagnosis::failed(words).fix("`cargo xtask stack-up`")),
        };
    }
    Ok(match provider::registration(installation.cx, &omnictl, &id) {
        Ok(Some(health)) if health.is_healthy() => Diagnosis::ok(health.describe()),
        Ok(Some(health)) => Diagnosis::failed(format!("`{id}`: {}", health.describe())),
        // Another check reports that.
        Ok(None) => Diagnosis::unknown(format!("Omni knows no provider `{id}`")),
        Err(failure) => failure.into(),
    })
}

pub fn issuer(installation: &Installation<'_>) -> Verdict {
    Ok(values::check_issuer(installation.required_value("OIDC_ISSUER_URL")?, installation.value("OMNI_DOMAIN")))
}

pub fn discovery(installation: &Installation<'_>) -> Verdict {
    let issuer = installation.required_value("OIDC_ISSUER_URL")?;
    check_sidecar(installation)?;
    if values::check_issuer(issuer, installation.value("OMNI_DOMAIN")).state == State::Failed {
        return Err(Diagnosis::unknown("see tsidp.issuer"));
    }
    Ok(match tsidp::discover(installation.cx, issuer) {
        // Outside of the tailnet, no name resolves.
        Err(failure) if is_failure(tailscale(installation)) => {
            Diagnosis::unknown(format!("{}: see tailscale.state", failure.line()))
        }
        Ok(found) => found.verdict,
        // The error is Docker's, not wget's: the request was never made.
        Err(failure) if failure.code == Code::Failed => Diagnosis::unknown(failure.line()),
        Err(failure) => from_failure(&failure),
    })
}

pub fn claims(installation: &Installation<'_>) -> Verdict {
    let refused = refused_logins(installation);
    let path = installation.cx.paths.root().join("tsidp/grant.json");
    let shown = installation.cx.paths.show(&path);
    let Some(text) = files::read_optional_text(&path)? else {
        return Ok(refused.unwrap_or_else(|| Diagnosis::unknown("the policy of the tailnet is not visible from here")));
    };
    let findings = match hujson::parse(&shown, &text) {
        Ok(root) => grant::lint(&shown, &root, None),
        Err(finding) => vec![finding],
    };
    let lint = match findings.iter().find(|finding| finding.is_error()) {
        Some(Finding { place, message, fix, .. }) => Diagnosis::failed(format!("{place}: {message}")).fix(fix.clone()),
        None => Diagnosis::ok(format!("{shown} is correct; the policy in use on the tailnet is not visible from here")),
    };
    Ok(match refused {
        Some(refused) => refused.and(lint),
        None => lint,
    })
}

/// Searches Omni's log for refused logins.
fn refused_logins(installation: &Installation<'_>) -> Option<Diagnosis> {
    installation.container(OMNI).ok()?;
    let log = Compose::find(installation.cx).ok()?.log(OMNI, LOG).ok()?;
    let issues = Issues::of(installation.cx).ok()?;
    let hit = issues.find(&log).into_iter().rfind(|hit| hit.issue.area == "tsidp")?;
    Some(Diagnosis::failed(format!("Omni's log shows `{}`: {}", hit.issue.id, hit.issue.title)).fix(hit.fix()))
}

pub fn tailscale(installation: &Installation<'_>) -> Verdict {
    let domain = installation.required_value("OMNI_DOMAIN")?;
    check_sidecar(installation)?;
    Ok(match installation.tailscale() {
        Ok(text) => stack::check_tailscale(text, domain, installation.now),
        Err(failure) => Diagnosis::unknown(failure.line()),
    })
}

pub fn state(installation: &Installation<'_>) -> Verdict {
    let state = &installation.cx.settings.state;
    let lists = [("machine_classes", "machineclasses", "machine class"), ("clusters", "clusters", "cluster")];
    if lists.iter().all(|(key, _, _)| state.list(key).is_empty()) {
        return Err(Diagnosis::skipped("the state lists no class and no cluster"));
    }
    let omnictl = installation.omnictl()?;
    let mut gone = Vec::new();
    for (key, kind, word) in lists {
        let names = state.list(key);
        if names.is_empty() {
            continue;
        }
        let found = omnictl.list(kind, None)?;
        let absent = names.into_iter().filter(|name| !found.iter().any(|each| each.metadata.id == *name));
        gone.extend(absent.map(|name| (word, name)));
    }
    let words: Vec<String> = gone.iter().map(|(word, name)| format!("{word} `{name}`")).collect();
    let ways: Vec<String> = gone
        .iter()
        .map(|(word, name)| match *word {
            "cluster" => format!(
                "`cargo xtask cluster-sync {name}` creates it again, `cargo xtask cluster-delete {name}` forgets it"
            ),
            _ => format!("`cargo xtask machineclass-apply {name}` creates it again"),
        })
        .collect();
    Ok(if gone.is_empty() {
        Diagnosis::ok("everything that it lists is in Omni")
    } else {
        Diagnosis::warning(format!("not in Omni: {}", words.join(", "))).fix(ways.join("; "))
    })
}
