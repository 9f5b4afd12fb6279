//! Checks that a running Omni is healthy, and that the values of `omni-setup` are plausible: address, certificate with its chain
//! and key, issuer, user, the store's key.

use std::net::IpAddr;
use std::time::SystemTime;

use crate::flow::omni_inputs::OmniInputs;
use crate::flow::{doctor, omni_stack};
use crate::prelude::*;
use check::certificate;
use check::diagnosis::{Diagnosis, State};
use check::values::{check_initial_user, check_issuer, check_lan_address};
use domain::clock;
use domain::secret::Secret;
use domain::spec::store_key;
use runtime::files;
use runtime::tool::compose::Compose;
use runtime::tool::docker::Docker;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::{Tool, gpg};
use runtime::ui::Check;

/// The checks of a running Omni, all of which are checks of `doctor`.
const IDS: &str = "docker.engine docker.containers docker.other-omni network.lan-address network.ports certificates.served keys.store \
     keys.slots omni.health omni.data omni.store omni.backup omni.break-glass omni.etcd-backups omni.account omni.licence omni.versions";

/// Checks Omni end to end. Returns the findings, and whether one of them is a warning.
///
/// # Errors
/// Returns an error if a check fails, or if it is unknown whether Omni is healthy.
pub fn verify(cx: &Cx) -> anyhow::Result<(Value, bool)> {
    let results = doctor::run(cx, doctor::CHECKS.iter().filter(|entry| IDS.split(' ').any(|id| id == entry.id)), true);
    let data = doctor::document(&results, false);
    if let Some(failure) = doctor::failure(cx, &results) {
        return Err(failure.with(data).next("cargo xtask omni-status").into());
    }
    let healthy = results.iter().any(|found| found.entry.id == "omni.health" && found.verdict.state == State::Ok);
    if !healthy {
        return Err(Failure::new(Code::Failed, "cannot tell whether Omni is healthy")
            .cause(doctor::summary(&results))
            .with(data)
            .next("cargo xtask doctor --area omni")
            .into());
    }
    Ok((data, results.iter().any(|found| found.verdict.state == State::Warning)))
}

/// Checks the values in parallel: that each is plausible, and that the store's key can be used.
///
/// # Errors
/// Returns the first check that fails.
pub fn check_inputs(cx: &Cx, compose: &Compose<'_>, inputs: &OmniInputs, store: Option<bool>) -> anyhow::Result<()> {
    let mut checks = value_checks(cx, inputs);
    checks.push(Check::new("key", "Check the key of Omni's store", || check_store_key(cx, store)));
    checks.push(Check::new("data", "Check that Omni's data is on mounts", || {
        Ok(StepResult::ok((), omni_stack::guard(cx, &compose.containers()?)?))
    }));
    cx.ui.run_checks("checking the values", checks).into_iter().collect()
}

/// Returns the checks of the values alone.
pub fn value_checks<'a>(cx: &'a Cx, values: &'a OmniInputs) -> Vec<Check<'a, ()>> {
    vec![
        Check::new("lan", "Check the LAN address that machines reach", || {
            result("--lan-address or OMNI_LAN_ADDRESS", check_lan(values.get("OMNI_LAN_ADDRESS"), &values.host()))
        }),
        Check::new("certificate", "Check Omni's certificate", || {
            let (cert, key) = (values.get("OMNI_TLS_CERT"), values.get("OMNI_TLS_KEY"));
            let flags = "--tls-cert or OMNI_TLS_CERT, --tls-key or OMNI_TLS_KEY";
            result(flags, check_certificate(cx, &values.host(), cert, Some(key)))
        }),
        Check::new("issuer", "Check the issuer", || {
            result(
                "--issuer or OIDC_ISSUER_URL",
                check_issuer(values.get("OIDC_ISSUER_URL"), Some(values.get("OMNI_DOMAIN"))),
            )
        }),
        Check::new("user", "Check the name of the first administrator", || {
            let found = check_initial_user(values.get("OMNI_INITIAL_USER"), Some(values.get("OIDC_ISSUER_URL")));
            result("--initial-user or OMNI_INITIAL_USER", found)
        }),
    ]
}

/// Turns a verdict on the value of `flags` into the result of a check.
fn result(flags: &str, verdict: Diagnosis) -> anyhow::Result<StepResult<()>> {
    doctor::step_result(verdict, |wrong| {
        let fix = wrong.fix.map_or(String::new(), |fix| format!("{fix}; "));
        Failure::new(Code::Usage, wrong.detail).hint(format!("{fix}give it as {flags}"))
    })
}

pub fn check_lan(address: &str, host: &str) -> Diagnosis {
    let local = |text: &str| text == "localhost" || text.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if local(address) && local(host) {
        return Diagnosis::warning("a loopback address works only for a trial on one host; machines cannot join");
    }
    check_lan_address(address)
}

/// Checks the certificate for `host`, and its private key if that is already known.
pub fn check_certificate(cx: &Cx, host: &str, cert: &str, key: Option<&str>) -> Diagnosis {
    let read = |path: &str| match files::read_optional_text(&omni_stack::host_path(cx, path)) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(Diagnosis::failed(format!("{path} does not exist"))),
        Err(_) if omni_stack::host_path(cx, path).is_dir() => Err(Diagnosis::failed(format!("{path} is a directory"))),
        Err(_) if files::describe_non_file(&omni_stack::host_path(cx, path)).is_some() => {
            Err(Diagnosis::failed(format!("{path} is not a file")))
        }
        Err(failure) if failure.kind != Kind::Permission => {
            let fix = "convert it with `openssl x509 -inform der -in FILE` or `openssl pkcs12 -in FILE -nodes`, which print PEM";
            Err(Diagnosis::failed(failure.message).fix(fix))
        }
        // The engine reads the file as root.
        Err(_) => Err(Diagnosis::unknown(format!("{path} cannot be read by this user, so it was not checked"))),
    };
    let (text, key_text) = match (read(cert), key.map(read).transpose()) {
        (Ok(text), Ok(key_text)) => (text, key_text),
        (Err(verdict), Ok(_)) | (Ok(_), Err(verdict)) => return verdict,
        (Err(first), Err(second)) => return first.and(second),
    };
    let chain = match certificate::read_pem(&text) {
        Ok(chain) => chain,
        Err(why) => return Diagnosis::failed(format!("{cert}: {why}")),
    };
    let roots = omni_stack::trusted_roots(cx.settings.ca_file(None).map(|found| found.value).as_deref());
    let now = clock::unix_seconds(SystemTime::now());
    let found = doctor::certificate_diagnosis(&certificate::check_chain(&chain, host, roots.as_deref(), now));
    let (Some(leaf), Some(key), Some(key_text)) = (chain.first(), key, key_text) else { return found };
    match certificate::key_matches(leaf, &key_text) {
        Ok(Some(false)) => found.and(Diagnosis::failed(format!("{key} is not the private key of {cert}"))),
        Err(why) => found.and(Diagnosis::failed(format!("{key}: {why}"))),
        Ok(_) => found,
    }
}

/// Checks the store's key: an existing key must decrypt, and a missing one can be created only if there is no store yet.
fn check_store_key(cx: &Cx, store: Option<bool>) -> anyhow::Result<StepResult<()>> {
    let path = cx.paths.store_key();
    let Some(text) = files::read_optional_text(&path)? else {
        if store == Some(true) {
            return Err(Failure::new(Code::Conflict, "docker/omni.asc does not exist, but Omni has a store")
                .cause("the store is encrypted with that key, and no other key opens it")
                .hint("restore docker/omni.asc from your backup; if nothing in the store is needed, remove it: `docker volume rm omni-scale_omni-etcd omni-scale_omni-sqlite`")
                .into());
        }
        Tool::Gpg.find()?;
        return Ok(StepResult::ok((), "none yet; gpg can create one"));
    };
    store_key::check(&text, clock::unix_seconds(SystemTime::now())).map_err(|unfit| {
        Failure::new(Code::Invalid, "Omni cannot use docker/omni.asc").cause(unfit.why).hint(unfit.fix)
    })?;
    if Tool::Gpg.find().is_err() {
        return Ok(StepResult::warning((), "it looks valid, but was not tested: gpg is not installed"));
    }
    gpg::check_store_key(cx, &Secret::new(text))?;
    Ok(StepResult::ok((), "it decrypts without a passphrase"))
}

/// Refuses to continue if this host has another Omni: a second one would start empty next to the one that has the clusters.
///
/// # Errors
/// Fails with [`Code::Conflict`] and a list of the others.
pub fn refuse_other_omni(cx: &Cx) -> Result<(), Failure> {
    let found: Vec<String> = Docker::find(cx)?.other_omnis()?.into_iter().map(|(words, _)| words).collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Code::Conflict, "there is another Omni on this host, and a new, empty Omni would start next to it")
        .cause(found.join("\n"))
        .hint("take it over, or remove it if nothing in it is needed: docs/how-to/operations.md, Move an existing Omni to this kit")
        .next("cargo xtask omni-adopt --dry-run"))
}

/// Reports whether Omni's licence is accepted, as far as a logged-in user can tell: `accepted`, `open` or `unknown`. Only a
/// person accepts it, never a task. If `needed`, prompts the operator to confirm that they have accepted it since.
///
/// # Errors
/// Fails with [`Code::Interrupted`] if they have not.
pub fn report_licence(cx: &Cx, endpoint: &str, needed: bool) -> anyhow::Result<&'static str> {
    let asked = Omnictl::find(cx).and_then(|omnictl| omnictl.get("sysversions", "current"));
    let state = match asked {
        Ok(_) => "accepted",
        Err(failure) if failure.kind == Kind::Licence => "open",
        Err(_) => "unknown",
    };
    let title = "Omni's licence (EULA)";
    if state == "accepted" {
        cx.ui.note("licence", title, Status::Ok, "accepted: Omni answers API calls");
        return Ok(state);
    }
    let page = format!("{endpoint}/eula");
    let detail = match state {
        "open" => format!("not accepted yet: Omni answers no API calls until you accept it at {page}"),
        _ => format!("cannot tell whether it is accepted; read and accept it at {page}"),
    };
    cx.ui.note("licence", title, Status::Warning, detail);
    if cx.ask.can_prompt() {
        cx.ui.say(&format!(
            "  Omni is free for home labs and tests; production needs a licence from Sidero Labs. Read it at {page}."
        ));
        cx.ui.say("  This task never accepts it for you.");
    }
    if needed && cx.ask.can_prompt() {
        let question = "Is it accepted? The next step, the service account, requires that";
        if !cx.ask.confirm(question, true)? {
            return Err(Failure::new(Code::Interrupted, "the service account was not created")
                .cause("the answer was no; Omni is set up and stays as it is")
                .hint("run the same command again when the licence is accepted")
                .into());
        }
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_omni_check_is_a_doctor_check() {
        for id in IDS.split(' ') {
            assert!(doctor::CHECKS.iter().any(|entry| entry.id == id), "{id}");
        }
    }
}
