//! `tsidp-verify`: checks whether people can log in to Omni through tsidp, as far as possible without a person.
//!
//! 1. Checks the policy of the tailnet, if it was given: the grants that tsidp reads, and the access to tsidp.
//! 2. Checks that the issuer is written as tsidp writes it.
//! 3. Fetches the discovery document and the keys from inside Omni's own network, which is the sidecar's. tsidp itself and the
//!    host of Omni are not on the tailnet in the same way as Omni, so a response there proves little.
//! 4. Checks that the client's ID and secret have the form that tsidp gives them.
//! 5. Checks that tsidp's admin page is closed to Omni's node.

use std::path::Path;

use crate::flow::{doctor, tsidp};
use crate::prelude::*;
use check::diagnosis::{Diagnosis, State};
use check::oidc::{self, Discovery};
use check::{grant, values};
use domain::spec::hujson;
use domain::words;
use runtime::files;
use runtime::proc;
use runtime::tool::compose::{Compose, SIDECAR};

/// A policy file has only kilobytes.
const LIMIT: u64 = 1 << 20;

pub fn run(policy: Option<&Path>, cx: &Cx) -> anyhow::Result<Outcome> {
    let mut failures: Vec<Failure> = Vec::new();
    let mut keep = |result: anyhow::Result<()>| {
        if let Err(error) = result {
            failures.push(Failure::of(&error));
        }
    };
    let mut findings = Vec::new();
    if let Some(policy) = policy {
        // Read before the step starts, so that pasted input does not mix with its spinner.
        let read = read(policy);
        if proc::is_interrupted() {
            return Err(read.err().unwrap_or_else(|| proc::interruption("reading the policy")).into());
        }
        keep(
            cx.ui.step("policy", "Check that the tailnet's policy lets people log in", || {
                lint(cx, read?, &mut findings)
            }),
        );
    }
    let issuer = cx.settings.env_file.get("OIDC_ISSUER_URL").map(str::to_owned);
    match &issuer {
        Some(issuer) => check_tsidp(cx, issuer, &mut keep),
        None if policy.is_some() => {
            cx.ui.say("  docker/.env sets no issuer: only the policy was checked");
        }
        None => return Err(no_issuer().into()),
    }
    let data = json!({ "issuer": issuer, "findings": findings });
    let Some(first) = failures.first().cloned() else {
        let done = Outcome::done(match (issuer, findings.len()) {
            (Some(_), _) => "people can log in, as far as can be checked without the policy",
            (None, 0) => "the policy is correct",
            (None, _) => "the policy has no error; read its warnings",
        });
        let look = "cargo xtask tsidp-verify --policy FILE   # copied from Tailscale's admin console";
        return Ok(if policy.is_none() { done.next(look) } else { done }.with(data));
    };
    for failure in &failures[1..] {
        cx.ui.fail(failure);
    }
    Err(first.with(data).into())
}

fn no_issuer() -> Failure {
    Failure::missing(vec![MissingValue::env("address of tsidp", "OIDC_ISSUER_URL")])
        .cause("docker/.env does not set it")
        .next("cargo xtask omni-setup")
}

/// Step 1: checks the policy.
fn lint(cx: &Cx, (shown, text): (String, String), findings: &mut Vec<Value>) -> anyhow::Result<StepResult<()>> {
    let user = cx.settings.env_file.get("OMNI_INITIAL_USER");
    let found = match hujson::parse(&shown, &text) {
        Ok(root) => grant::lint(&shown, &root, user),
        Err(finding) => vec![finding],
    };
    for finding in &found {
        cx.ui.print_data(&finding.to_string());
        findings.push(serde_json::to_value(finding)?);
    }
    match (found.iter().filter(|finding| finding.is_error()).count(), found.len()) {
        (0, 0) => Ok(StepResult::ok((), shown)),
        (0, count) => Ok(StepResult::warning((), format!("{shown}: {count} to review"))),
        (errors, _) => Err(Failure::new(Code::Invalid, format!("{shown} has {}", words::count(errors, "mistake")))
            .hint("fix what is listed above")
            .into()),
    }
}

/// Reads the policy. Returns its name and its text.
fn read(policy: &Path) -> Result<(String, String), Failure> {
    if policy == Path::new("-") {
        let failed = |why: String| Failure::new(Code::Failed, "cannot read standard input").cause(why);
        let bytes = proc::read_stdin(LIMIT)?.map_err(|error| failed(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| failed(error.to_string()))?;
        return Ok(("standard input".to_owned(), text));
    }
    let shown = policy.display().to_string();
    let text = files::read_optional_text(policy)?.ok_or_else(|| {
        Failure::new(Code::NotFound, format!("`{shown}` does not exist")).hint(
            "copy the policy from Tailscale's admin console (Access controls) into a file, or paste it: --policy -",
        )
    })?;
    Ok((shown, text))
}

/// Steps 2 to 5: checks tsidp itself.
fn check_tsidp(cx: &Cx, issuer: &str, keep: &mut impl FnMut(anyhow::Result<()>)) {
    let env = &cx.settings.env_file;
    keep(
        cx.ui.step("issuer", "Check the issuer", || check_result(values::check_issuer(issuer, env.get("OMNI_DOMAIN")))),
    );
    let inside = sidecar_runs(cx);
    let from = if inside { "from the sidecar" } else { "from this host, since the sidecar is not running" };
    let mut jwks = None;
    let mut reached = false;
    keep(cx.ui.step("discovery", format!("Check that tsidp answers, asked {from}"), || {
        let text = tsidp::fetch(cx, inside, &format!("{issuer}/.well-known/openid-configuration"))?;
        reached = true;
        let Discovery { verdict, jwks: found } = oidc::discovery(&text, issuer);
        jwks = found;
        check_result(verdict)
    }));
    if let Some(jwks) = jwks.filter(|url| url.starts_with("https://")) {
        keep(cx.ui.step("keys", "Fetch its keys", || check_result(oidc::keys(&tsidp::fetch(cx, inside, &jwks)?))));
    }
    keep(cx.ui.step("client", "Check that tsidp issued the client", || {
        check_result(check_client(env.get("OIDC_CLIENT_ID"), env.get("OIDC_CLIENT_SECRET")))
    }));
    if inside && reached {
        keep(cx.ui.step("admin", "Check that tsidp's admin page is closed to Omni's node", || {
            check_result(check_admin_api(cx, issuer))
        }));
    }
}

/// Turns a verdict into the result of a step.
fn check_result(verdict: Diagnosis) -> anyhow::Result<StepResult<()>> {
    doctor::step_result(verdict, |wrong| Failure::new(Code::Failed, wrong.detail).hint(wrong.fix.unwrap_or_default()))
}

fn check_client(id: Option<&str>, secret: Option<&str>) -> Diagnosis {
    let (Some(id), Some(secret)) = (id, secret) else {
        return Diagnosis::failed("docker/.env has no OIDC_CLIENT_ID or no OIDC_CLIENT_SECRET")
            .fix("create a client on tsidp's admin page, redirect URI https://<OMNI_DOMAIN>/oidc/consume");
    };
    match (values::check_client("OIDC_CLIENT_ID", id), values::check_client("OIDC_CLIENT_SECRET", secret)) {
        (Diagnosis { state: State::Ok, .. }, Diagnosis { state: State::Ok, .. }) => {
            Diagnosis::ok("ID and secret have the expected form")
        }
        (Diagnosis { state: State::Ok, .. }, secret) => secret,
        (id, _) => id,
    }
}

/// Checks the admin page: a tagged device that can open it could create clients and read their secrets.
fn check_admin_api(cx: &Cx, issuer: &str) -> Diagnosis {
    let words = ["wget", "-q", "-T", "10", "-O", "/dev/null", &format!("{issuer}/")];
    match Compose::find(cx)
        .and_then(|compose| compose.exec(SIDECAR, "trying tsidp's admin page from the sidecar", &words))
    {
        Ok(ended) if ended.is_success() => {
            Diagnosis::warning("it can be opened from the sidecar: the grant of the admin page is too wide")
                .fix("grant allow_admin_ui only to autogroup:admin")
        }
        Ok(ended) if ended.stderr.contains("403") => Diagnosis::ok("403"),
        Ok(ended) => Diagnosis::unknown(ended.stderr.trim().to_owned()),
        Err(failure) => Diagnosis::unknown(failure.to_string()),
    }
}

fn sidecar_runs(cx: &Cx) -> bool {
    let found = Compose::find(cx).and_then(|compose| compose.containers());
    found.is_ok_and(|found| found.iter().any(|each| each.service == SIDECAR && each.state == "running"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_client_accepts_only_the_form_of_tsidp() {
        let (id, secret) = ("0123456789abcdef".repeat(2), "0123456789abcdef".repeat(4));
        assert_eq!(check_client(Some(&id), Some(&secret)).state, State::Ok);
        assert_eq!(check_client(Some("unused"), Some(&secret)).state, State::Warning);
        assert_eq!(check_client(Some(&id), Some("short")).state, State::Warning);
        assert_eq!(check_client(Some(&id), None).state, State::Failed);
        assert!(!check_client(Some(&id), Some("canary-secret")).detail.contains("canary"));
    }
}
