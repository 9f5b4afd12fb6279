//! Programs in the sidecar's container: Tailscale's client and busybox's wget, which also reaches tsidp, the OIDC provider
//! of the tailnet. Nothing leaves the lab: the tailnet consists of three simulated responses.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compose::Service;
use crate::faults::Faults;
use crate::omni::resource::rfc3339;

/// The result of running a program in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecResult {
    pub code: i32,
    pub out: String,
    /// Output on stderr.
    pub err: String,
}

/// Address of the sidecar's health endpoint (compose.yaml: TS_LOCAL_ADDR_PORT).
const HEALTH: &str = "127.0.0.1:9002";

/// Runs a program in the container of a service; `None` if it is not simulated.
pub fn run(service: &Service, words: &[String], faults: &Faults) -> Option<ExecResult> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (program, args) = words.split_first()?;
    if !service.image.contains("tailscale/tailscale") {
        // The images of Omni and of the provider contain one program each. Compose prints this on stdout (5.5.1, recorded).
        let why = format!("exec: {program:?}: executable file not found in $PATH: unknown");
        let out = format!("OCI runtime exec failed: exec failed: unable to start container process: {why}\n");
        return Some(ExecResult { code: 126, out, err: String::new() });
    }
    let net = Tailnet { service, faults };
    match *program {
        "tailscale" => net.tailscale(args),
        "wget" => net.wget(args),
        _ => None,
    }
}

fn success(out: String) -> ExecResult {
    ExecResult { code: 0, out, err: String::new() }
}

fn wget_failure(text: &str) -> ExecResult {
    ExecResult { code: 1, out: String::new(), err: format!("wget: {text}\n") }
}

struct Tailnet<'a> {
    service: &'a Service,
    faults: &'a Faults,
}

impl Tailnet<'_> {
    fn env(&self, name: &str) -> &str {
        self.service.environment.get(name).map_or("", String::as_str)
    }

    fn issuer_host(&self) -> &str {
        let host = self.env("OIDC_ISSUER_URL");
        let host = host.split_once("://").map_or(host, |(_, host)| host);
        host.split(['/', ':']).next().unwrap_or_default()
    }

    /// Whether the sidecar has left the tailnet.
    fn is_logged_out(&self) -> bool {
        self.faults.has("tailnet-logged-out")
    }

    /// The node's name: the first label of OMNI_DOMAIN, as derived by the command in the compose file.
    fn name(&self) -> String {
        let label = self.env("OMNI_DOMAIN").split('.').next().unwrap_or_default();
        let taken = self.faults.has("tailnet-name-taken");
        if taken { format!("{label}-1") } else { label.to_owned() }
    }

    /// `tailscale status --json` (tailscale v1.102 cmd/tailscale/cli, ipn/ipnstate.Status).
    fn tailscale(&self, args: &[&str]) -> Option<ExecResult> {
        match args {
            ["status", flags @ ..]
                if flags.contains(&"--json")
                    && flags.iter().all(|flag| matches!(*flag, "--json" | "--peers=false" | "--self=true")) =>
            {
                serde_json::to_string_pretty(&self.status()).ok().map(|text| success(text + "\n"))
            }
            _ => None,
        }
    }

    fn status(&self) -> Value {
        let text = include_str!("../../../data/tailnet/status.json").replace("{name}", &self.name());
        let mut shown: Value = serde_json::from_str(&text).unwrap_or_default();
        if self.faults.has("tailnet-key-expires") {
            // A node without tags must log in again after half a year.
            shown["Self"]["Tags"] = Value::Null;
            shown["Self"]["KeyExpiry"] = rfc3339(crate::omni::wall_now() + 6 * 86_400).into();
        }
        if self.faults.has("tailnet-no-magicdns") {
            shown["CurrentTailnet"]["MagicDNSEnabled"] = false.into();
        }
        if self.is_logged_out() {
            shown["BackendState"] = "NeedsLogin".into();
            (shown["TailscaleIPs"], shown["CurrentTailnet"]) = (Value::Null, Value::Null);
            let own = &mut shown["Self"];
            (own["DNSName"], own["TailscaleIPs"], own["Online"]) = ("".into(), Value::Null, false.into());
        }
        shown
    }

    /// busybox's wget (1.37, in Alpine 3.22): `-q`, `-T SECONDS`, `-O FILE`, one URL.
    fn wget(&self, args: &[&str]) -> Option<ExecResult> {
        let (mut url, mut show) = (None, false);
        let mut words = args.iter();
        while let Some(word) = words.next() {
            match *word {
                "-q" => {}
                "-T" => drop(words.next()?),
                "-O" => show = *words.next()? == "-",
                word if word.starts_with('-') => return None,
                word => url = Some(word),
            }
        }
        let (scheme, rest) = url?.split_once("://")?;
        let (host, path) = rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, path.to_owned()));
        let body = match (scheme, host) {
            ("http", HEALTH) if self.is_logged_out() => {
                Err("server returned error: HTTP/1.1 503 Service Unavailable".to_owned())
            }
            ("http", HEALTH) => Ok(String::new()),
            ("https", host) if host == self.issuer_host() => self.tsidp(&path),
            (_, host) => Err(format!("bad address '{}'", host.split(':').next().unwrap_or_default())),
        };
        Some(match body {
            Ok(body) => success(if show { body } else { String::new() }),
            Err(why) => wget_failure(&why),
        })
    }

    /// tsidp v0.0.12 (server/oidc-*.go, server/ui.go, server/clients.go): serves its documents to everybody, and everything else
    /// only with a grant, which a tagged node does not have.
    fn tsidp(&self, path: &str) -> Result<String, String> {
        if self.is_logged_out() || self.faults.has("tailnet-no-magicdns") {
            return Err(format!("bad address '{}'", self.issuer_host()));
        }
        if self.faults.hit("tsidp-unreachable") {
            return Err("can't connect to remote host (100.64.0.7): Connection refused".to_owned());
        }
        let issuer = self.env("OIDC_ISSUER_URL").trim_end_matches('/').to_owned();
        let issuer = if self.faults.has("tsidp-renamed") { issuer.replacen('.', "-1.", 1) } else { issuer };
        match path {
            ".well-known/openid-configuration" | ".well-known/oauth-authorization-server" => {
                Ok(include_str!("../../../data/tailnet/openid-configuration.json").replace("{issuer}", &issuer))
            }
            // One RSA key of 2048 bits for RS256; nothing is signed with it.
            ".well-known/jwks.json" => Ok(include_str!("../../../data/tailnet/jwks.json").to_owned()),
            "" | "new" | "clients/" if self.faults.has("tsidp-admin-open") => {
                Ok("<!DOCTYPE html>\n<html><head><title>Tailscale OIDC Identity Provider</title></head></html>\n"
                    .to_owned())
            }
            "" | "new" | "clients/" | "register" => Err("server returned error: HTTP/1.1 403 Forbidden".to_owned()),
            _ => Err("server returned error: HTTP/1.1 404 Not Found".to_owned()),
        }
    }
}
