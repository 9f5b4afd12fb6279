//! Omni's certificate, as the file has it and as it is served.

use super::Seen;
use super::seen::{of, told, verdict};
use crate::flow::omni_stack::{host_and_port, host_path};
use check::certificate::{self, Certificate, Judgement};
use check::diagnosis::{Diagnosis, State};
use domain::failure::{Code, Kind};
use domain::words::count;
use runtime::files;

/// A judgement as a verdict: the first fault with its fix, all of them in the detail.
pub fn judged(found: &Judgement) -> Diagnosis {
    let of = |make: fn(String) -> Diagnosis, list: &[(String, String)]| {
        let details: Vec<&str> = list.iter().map(|(what, _)| what.as_str()).collect();
        list.first().map(|(_, fix)| make(details.join("; ")).fix(fix.clone()))
    };
    of(Diagnosis::failed, &found.faults)
        .or_else(|| of(Diagnosis::warning, &found.warnings))
        .unwrap_or_else(|| Diagnosis::ok(format!("{} left", count(found.days_left, "day"))))
}

pub fn file(seen: &Seen<'_>) -> Diagnosis {
    verdict(|| {
        let host = host_and_port(seen.needs("OMNI_DOMAIN")?).0;
        let (cert, key) = (seen.needs("OMNI_TLS_CERT")?, seen.needs("OMNI_TLS_KEY")?);
        let chain = read(seen, cert)?;
        let mut found = judged(&certificate::judge(&chain, &host, seen.roots(), seen.now));
        let leaf = chain.first().ok_or_else(|| found.clone())?;
        let serves = |served: &[Certificate]| served.first().is_some_and(|served| served.der == leaf.der);
        if found.state != State::Ok && seen.served().is_some_and(|served| served.as_deref().is_ok_and(serves)) {
            found = Diagnosis::unknown("it is the one that is served: certificates.served says what is wrong");
        }
        let text = match text(seen, key) {
            Ok(text) => text,
            Err(verdict) => return Ok(found.and(verdict)),
        };
        Ok(match certificate::key_fits(leaf, &text) {
            Ok(Some(false)) => found.and(Diagnosis::failed(format!("{key} is not its private key"))),
            Err(why) => found.and(Diagnosis::failed(format!("{key}: {why}"))),
            Ok(_) => found,
        })
    })
}

fn read(seen: &Seen<'_>, path: &str) -> Result<Vec<Certificate>, Diagnosis> {
    certificate::read_pem(&text(seen, path)?).map_err(|why| Diagnosis::failed(format!("{path}: {why}")))
}

/// A file that may be root's alone.
fn text(seen: &Seen<'_>, path: &str) -> Result<String, Diagnosis> {
    match files::read_text_if_there(&host_path(seen.cx, path)) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(Diagnosis::failed(format!("{path} does not exist"))),
        Err(failure) if failure.kind == Kind::Permission => {
            Err(Diagnosis::unknown(format!("{path} is root's alone: run `cargo xtask doctor` as root to look into it")))
        }
        Err(failure) => Err(Diagnosis::failed(told(&failure))),
    }
}

pub fn served(seen: &Seen<'_>) -> Diagnosis {
    verdict(|| {
        let absent = || seen.absent("the address of Omni is not known");
        let (host, _) = seen.place().ok_or_else(absent)?.tls();
        let chain = match seen.served().ok_or_else(absent)? {
            Ok(chain) => chain,
            // Where nobody answers, `omni.health` says so.
            Err(failure) if matches!(failure.code, Code::Unreachable | Code::Timeout) => {
                return Err(Diagnosis::unknown(told(failure)));
            }
            Err(failure) => return Err(of(failure)),
        };
        let mut found = judged(&certificate::judge(chain, &host, seen.roots(), seen.now));
        if found.state == State::Warning && seen.certificate_refused() {
            // What may do for machines does not do here: no task can ask Omni.
            found.state = State::Failed;
        }
        let own = seen.value("OMNI_TLS_CERT").and_then(|path| read(seen, path).ok());
        Ok(match (own.as_deref().and_then(<[_]>::first), chain.first()) {
            (Some(file), Some(served)) if file.der != served.der => found.and(
                Diagnosis::warning("another certificate is served than the one in the file: it was renewed since")
                    .fix("`cargo xtask stack-up --recreate`"),
            ),
            _ => found,
        })
    })
}
