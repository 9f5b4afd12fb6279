//! Requests to tsidp from inside Omni's own network, which is the sidecar's.

use crate::prelude::*;
use check::oidc::{self, Discovery};
use runtime::tool::compose::{Compose, SIDECAR};
use runtime::tool::curl::{self, Request};

/// Fetches the discovery document from inside Omni's network.
///
/// # Errors
/// Fails with [`Code::Unreachable`] and the reason.
pub fn discover(cx: &Cx, issuer: &str) -> Result<Discovery, Failure> {
    Ok(oidc::discovery(&fetch(cx, true, &format!("{issuer}/.well-known/openid-configuration"))?, issuer))
}

/// Fetches `url`, from the sidecar or from this host.
pub fn fetch(cx: &Cx, inside: bool, url: &str) -> Result<String, Failure> {
    if inside {
        return in_sidecar(
            cx,
            &format!("fetching {url} from the sidecar"),
            &["wget", "-q", "-T", "10", "-O", "-", url],
        )
        .map_err(|failure| explain_wget(failure, url));
    }
    let reply = curl::fetch(cx, "querying tsidp", &Request::get(url)).map_err(|failure| {
        failure.hint("this host does not have to be on the tailnet: start the stack to use the sidecar instead (`cargo xtask stack-up`)")
    })?;
    if reply.status == 200 {
        return Ok(reply.body);
    }
    Err(Failure::new(Code::Unreachable, format!("{url} answered {} {}", reply.status, reply.reason)))
}

/// Runs a program in the sidecar's container, which has a shell and wget; the images of Omni and the provider have neither.
///
/// # Errors
/// Fails with [`Code::Failed`] and the program's output.
pub fn in_sidecar(cx: &Cx, purpose: &str, words: &[&str]) -> Result<String, Failure> {
    Ok(Compose::find(cx)?.exec(SIDECAR, purpose, words)?.require_success()?.stdout)
}

/// Explains an error of busybox's wget (1.37, alpine 3.22).
fn explain_wget(failure: Failure, url: &str) -> Failure {
    let error = failure.cause.clone();
    let has = |text: &str| error.contains(text);
    let of = |message: String, hint: &str| {
        Failure::new(Code::Unreachable, message).cause(error.clone()).hint(hint.to_owned())
    };
    if has("bad address") {
        return of(
            format!("the sidecar cannot resolve the name in {url}"),
            "MagicDNS must be on in the tailnet, and tsidp must run under exactly that name (not `idp-1`)",
        );
    }
    if has("timed out") || has("can't connect") || has("refused") || has("unreachable") {
        return of(
            format!("the sidecar cannot reach {url}"),
            "the policy must let the sidecar's tag reach tcp:443 of tsidp (tsidp/grant.json), and tsidp must run: `systemctl status tsidp` on its VM",
        );
    }
    if has("ssl") || has("TLS") || has("certificate") {
        return of(
            format!("no TLS connection to {url}"),
            "enable HTTPS certificates in the admin console (DNS); the first certificate takes a minute",
        );
    }
    if has("server returned error") {
        return of(format!("{url} answered with an error"), "is this tsidp? check OIDC_ISSUER_URL");
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wget_errors_are_explained() {
        let cases = [
            ("wget: bad address 'idp.tail1.ts.net'", "cannot resolve the name"),
            ("wget: can't connect to remote host (100.64.0.7): Connection refused", "cannot reach"),
            ("wget: download timed out", "cannot reach"),
            ("ssl_client: idp.tail1.ts.net: handshake failed: no alert", "no TLS"),
            ("wget: server returned error: HTTP/1.1 502 Bad Gateway", "answered with an error"),
        ];
        for (error, message) in cases {
            let failure = explain_wget(Failure::new(Code::Failed, "x").cause(error), "https://idp");
            assert!(failure.message.contains(message) && failure.code == Code::Unreachable, "{error}: {failure}");
        }
    }
}
