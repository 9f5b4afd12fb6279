//! Omni's certificate: the file, and what is served.

use super::Installation;
use super::installation::{Verdict, from_failure};
use crate::flow::omni_stack::{host_and_port, host_path};
use check::certificate::{self, Certificate, ChainReport};
use check::diagnosis::{Diagnosis, State};
use domain::failure::{Code, Kind};
use domain::words::count;
use runtime::files;

/// Converts a report to a verdict: all faults in the detail, with the fix for the first.
pub fn diagnosis(found: &ChainReport) -> Diagnosis {
    let of = |make: fn(String) -> Diagnosis, list: &[(String, String)]| {
        let details: Vec<&str> = list.iter().map(|(what, _)| what.as_str()).collect();
        list.first().map(|(_, fix)| make(details.join("; ")).fix(fix.clone()))
    };
    of(Diagnosis::failed, &found.faults)
        .or_else(|| of(Diagnosis::warning, &found.warnings))
        .unwrap_or_else(|| Diagnosis::ok(format!("{} left", count(found.days_left, "day"))))
}

pub fn file(installation: &Installation<'_>) -> Verdict {
    let host = host_and_port(installation.required_value("OMNI_DOMAIN")?).0;
    let (cert, key) = (installation.required_value("OMNI_TLS_CERT")?, installation.required_value("OMNI_TLS_KEY")?);
    let chain = read(installation, cert)?;
    let mut found = diagnosis(&certificate::check_chain(&chain, &host, installation.roots(), installation.now));
    let leaf = chain.first().ok_or_else(|| found.clone())?;
    let serves = |served: &[Certificate]| served.first().is_some_and(|served| served.der == leaf.der);
    if found.state != State::Ok && installation.served().is_some_and(|served| served.as_deref().is_ok_and(serves)) {
        found = Diagnosis::unknown("it is the one that is served: see certificates.served");
    }
    let text = match text(installation, key) {
        Ok(text) => text,
        Err(verdict) => return Ok(found.and(verdict)),
    };
    Ok(match certificate::key_matches(leaf, &text) {
        Ok(Some(false)) => found.and(Diagnosis::failed(format!("{key} is not its private key"))),
        Err(why) => found.and(Diagnosis::failed(format!("{key}: {why}"))),
        Ok(_) => found,
    })
}

fn read(installation: &Installation<'_>, path: &str) -> Result<Vec<Certificate>, Diagnosis> {
    certificate::read_pem(&text(installation, path)?).map_err(|why| Diagnosis::failed(format!("{path}: {why}")))
}

/// Reads a file that may be readable only by root.
fn text(installation: &Installation<'_>, path: &str) -> Result<String, Diagnosis> {
    match files::read_optional_text(&host_path(installation.cx, path)) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(Diagnosis::failed(format!("{path} does not exist"))),
        Err(failure) if failure.kind == Kind::Permission => {
            Err(Diagnosis::unknown(format!("only root can read {path}: run `cargo xtask doctor` as root to check it")))
        }
        Err(failure) => Err(Diagnosis::failed(failure.line())),
    }
}

pub fn served(installation: &Installation<'_>) -> Verdict {
    let absent = || installation.missing_verdict("the address of Omni is not known");
    let (host, _) = installation.omni_address().ok_or_else(absent)?.tls();
    let chain = match installation.served().ok_or_else(absent)? {
        Ok(chain) => chain,
        // If nothing answers, `omni.health` reports it.
        Err(failure) if matches!(failure.code, Code::Unreachable | Code::Timeout) => {
            return Err(Diagnosis::unknown(failure.line()));
        }
        Err(failure) => return Err(from_failure(failure)),
    };
    let mut found = diagnosis(&certificate::check_chain(chain, &host, installation.roots(), installation.now));
    if found.state == State::Warning && installation.is_certificate_refused() {
        // Even if machines accept it, no task can query Omni from here.
        found.state = State::Failed;
    }
    let own = installation.value("OMNI_TLS_CERT").and_then(|path| read(installation, path).ok());
    Ok(match (own.as_deref().and_then(<[_]>::first), chain.first()) {
        (Some(file), Some(served)) if file.der != served.der => found.and(
            Diagnosis::warning("the served certificate is not the one in the file, which was renewed since")
                .fix("`cargo xtask stack-up --recreate`"),
        ),
        _ => found,
    })
}
