//! Checks of certificates: the names they cover, their dates, and whether the chain is complete.
//!
//! Signatures are not verified here; a TLS connection to Omni shows what a client accepts.

use domain::clock;
use domain::words::count;

pub use domain::status::certificate::{Certificate, key_fits, read_pem};

/// Warn this many days before a certificate expires; certbot renews at 30.
pub const SOON_DAYS: i64 = 21;

/// The result for a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainReport {
    /// What a client would refuse, each with its fix.
    pub faults: Vec<(String, String)>,
    /// What will be one, or may be.
    pub warnings: Vec<(String, String)>,
    /// Whole days until the first of the chain ends; negative when it has.
    pub days_left: i64,
}

/// Checks `chain`, leaf first, for `host` at `now` (seconds since 1970). `roots` are the authorities that this machine
/// trusts; without them the end of the chain cannot be checked.
pub fn check_chain(chain: &[Certificate], host: &str, roots: Option<&[Certificate]>, now: u64) -> ChainReport {
    let mut found = ChainReport::default();
    let Some(leaf) = chain.first() else {
        found.faults.push(("it contains no certificate".to_owned(), "use the full chain, in PEM".to_owned()));
        return found;
    };
    names(leaf, chain, host, &mut found);
    let used = &chain[..used(chain, roots, now)];
    dates(used, now, &mut found);
    links(used, roots, now, &mut found);
    found
}

/// How many of the chain a client uses: it stops where it trusts the issuer, and what follows does no harm, such as an
/// older root's signature that has expired since.
fn used(chain: &[Certificate], roots: Option<&[Certificate]>, now: u64) -> usize {
    let linked = chain.windows(2).take_while(|pair| pair[0].issuer == pair[1].subject).count() + 1;
    let trusted = |each: &Certificate| roots.is_some_and(|roots| trusts(roots, each, now));
    chain.iter().take(linked).position(trusted).map_or(chain.len(), |at| at + 1)
}

/// Whether one of `roots` that is still good is the issuer of `each`.
fn trusts(roots: &[Certificate], each: &Certificate, now: u64) -> bool {
    roots.iter().any(|root| root.subject == each.issuer && now < root.not_after)
}

fn names(leaf: &Certificate, chain: &[Certificate], host: &str, found: &mut ChainReport) {
    if leaf.covers(host) {
        return;
    }
    if let Some(at) = chain.iter().position(|each| each.covers(host)) {
        found.faults.push((
            format!("the certificate for {host} is at place {}, not first", at + 1),
            "put the server's certificate first, then each one's issuer".to_owned(),
        ));
        return;
    }
    found.faults.push((
        format!("it does not cover {host}: it is for {}", leaf.names()),
        format!("have it issued for {host}; machines and the provider use that one name"),
    ));
}

fn dates(chain: &[Certificate], now: u64, found: &mut ChainReport) {
    let days = |seconds: i64| seconds.div_euclid(86_400);
    let left = |each: &Certificate| days(each.not_after as i64 - now as i64);
    found.days_left = chain.iter().map(left).min().unwrap_or_default();
    for each in chain {
        let until = clock::date(each.not_after);
        if now < each.not_before {
            let from = clock::date(each.not_before);
            found.faults.push((
                format!("`{}` is good only from {from} on", each.name()),
                "check this machine's clock; the certificate is newer than the time here".to_owned(),
            ));
        } else if now >= each.not_after {
            found.faults.push((format!("`{}` expired on {until}", each.name()), RENEW.to_owned()));
        } else if left(each) < SOON_DAYS {
            found.warnings.push((
                format!("`{}` expires on {until}, in {}", each.name(), count(left(each), "day")),
                RENEW.to_owned(),
            ));
        }
    }
}

const RENEW: &str = "renew it (certbot: `certbot renew`), then recreate the stack: `cargo xtask stack-up --recreate`";
const CHAIN: &str = "use the full chain: certbot's fullchain.pem, not cert.pem";

fn links(chain: &[Certificate], roots: Option<&[Certificate]>, now: u64, found: &mut ChainReport) {
    for (at, pair) in chain.windows(2).enumerate() {
        if pair[0].issuer != pair[1].subject {
            let issuer = pair[0].issuer_name().unwrap_or_default();
            found.faults.push((
                format!("certificate {} is not followed by its issuer `{issuer}`, but by `{}`", at + 1, pair[1].name()),
                "put the server's certificate first, then each one's issuer".to_owned(),
            ));
            return;
        }
    }
    let Some(last) = chain.last() else { return };
    if last.self_signed() && chain.len() == 1 {
        found.warnings.push((
            "it is self-signed: machines refuse it unless they are configured to trust it".to_owned(),
            "use one from a public CA, or add the CA to the machines (Talos: TrustedRootsConfig)".to_owned(),
        ));
        return;
    }
    let issuer = last.issuer_name().unwrap_or_else(|| "an unnamed authority".to_owned());
    match roots {
        Some(roots) if trusts(roots, last, now) => {}
        Some(_) if chain.len() == 1 => found.faults.push((
            format!("the chain is incomplete: it has only the server's certificate, and its issuer `{issuer}` is not a trusted root"),
            CHAIN.to_owned(),
        )),
        Some(_) => found.warnings.push((
            format!("the chain ends at `{issuer}`, which this machine does not trust"),
            "machines must trust that authority, or the chain lacks a certificate".to_owned(),
        )),
        None if chain.len() == 1 => found.warnings.push((
            format!("the chain has only the server's certificate; this machine cannot check whether `{issuer}` is trusted"),
            CHAIN.to_owned(),
        )),
        None => {}
    }
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
