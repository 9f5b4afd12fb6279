//! Checks of certificates: the names they cover, their dates, and whether the chain is complete.
//!
//! Signatures are not verified here; a TLS connection to Omni shows what a client accepts.

use domain::clock;
use domain::words::count;

pub use domain::status::certificate::{Certificate, key_matches, read_pem};

/// Warn this many days before a certificate expires; certbot renews at 30.
pub const SOON_DAYS: i64 = 21;

/// The result of checking a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainReport {
    /// What a client would refuse, each with its fix.
    pub faults: Vec<(String, String)>,
    /// What will become a fault, or may be one, each with its fix.
    pub warnings: Vec<(String, String)>,
    /// Whole days until the first certificate of the chain expires; negative if one has expired.
    pub days_left: i64,
}

impl ChainReport {
    fn add_fault(&mut self, what: impl Into<String>, fix: impl Into<String>) {
        self.faults.push((what.into(), fix.into()));
    }

    fn add_warning(&mut self, what: String, fix: &str) {
        self.warnings.push((what, fix.to_owned()));
    }
}

/// Checks `chain`, leaf first, for `host` at `now` (seconds since the Unix epoch). `roots` are the authorities that this machine
/// trusts; without them the end of the chain cannot be checked.
pub fn check_chain(chain: &[Certificate], host: &str, roots: Option<&[Certificate]>, now: u64) -> ChainReport {
    let mut found = ChainReport::default();
    let Some(leaf) = chain.first() else {
        found.add_fault("it contains no certificate", "use the full chain, in PEM");
        return found;
    };
    check_names(leaf, chain, host, &mut found);
    let used = &chain[..used_length(chain, roots, now)];
    check_dates(used, now, &mut found);
    check_links(used, roots, now, &mut found);
    found
}

/// Returns how many certificates of the chain a client uses: it stops where it trusts the issuer, and the rest does no harm, for
/// example the signature of an older root that has since expired.
fn used_length(chain: &[Certificate], roots: Option<&[Certificate]>, now: u64) -> usize {
    let linked = chain.windows(2).take_while(|pair| pair[0].issuer == pair[1].subject).count() + 1;
    let trusted = |each: &Certificate| roots.is_some_and(|roots| is_trusted(roots, each, now));
    chain.iter().take(linked).position(trusted).map_or(chain.len(), |at| at + 1)
}

/// Returns true if one of `roots` that has not expired is the issuer of `each`.
fn is_trusted(roots: &[Certificate], each: &Certificate, now: u64) -> bool {
    roots.iter().any(|root| root.subject == each.issuer && now < root.not_after)
}

fn check_names(leaf: &Certificate, chain: &[Certificate], host: &str, found: &mut ChainReport) {
    if leaf.covers(host) {
        return;
    }
    if let Some(at) = chain.iter().position(|each| each.covers(host)) {
        return found
            .add_fault(format!("the certificate for {host} is number {} in the file, not the first", at + 1), ORDER);
    }
    let what = format!("it does not cover {host}: it is for {}", leaf.names());
    found.add_fault(what, format!("get a certificate for {host}; machines and the provider use only that name"));
}

fn check_dates(chain: &[Certificate], now: u64, found: &mut ChainReport) {
    let days = |seconds: i64| seconds.div_euclid(86_400);
    let left = |each: &Certificate| days(each.not_after as i64 - now as i64);
    found.days_left = chain.iter().map(left).min().unwrap_or_default();
    for each in chain {
        let (name, until) = (each.name(), clock::date(each.not_after));
        if now < each.not_before {
            let what = format!("`{name}` is valid only from {} on", clock::date(each.not_before));
            found.add_fault(what, "check this machine's clock; the certificate becomes valid after the current time");
        } else if now >= each.not_after {
            found.add_fault(format!("`{name}` expired on {until}"), RENEW);
        } else if left(each) < SOON_DAYS {
            found.add_warning(format!("`{name}` expires on {until}, in {}", count(left(each), "day")), RENEW);
        }
    }
}

const RENEW: &str = "renew it (certbot: `certbot renew`), then recreate the stack: `cargo xtask stack-up --recreate`";
const ORDER: &str = "put the server's certificate first, then the issuer of each certificate";
const CHAIN: &str = "use the full chain: certbot's fullchain.pem, not cert.pem";

fn check_links(chain: &[Certificate], roots: Option<&[Certificate]>, now: u64, found: &mut ChainReport) {
    for (at, pair) in chain.windows(2).enumerate() {
        if pair[0].issuer != pair[1].subject {
            let issuer = pair[0].issuer_name().unwrap_or_default();
            let (at, next) = (at + 1, pair[1].name());
            return found.add_fault(
                format!("certificate {at} is not followed by its issuer `{issuer}`, but by `{next}`"),
                ORDER,
            );
        }
    }
    let Some(last) = chain.last() else { return };
    if last.is_self_signed() && chain.len() == 1 {
        let what = "it is self-signed: machines reject it unless they are configured to trust it".to_owned();
        return found.add_warning(
            what,
            "use a certificate from a public CA, or add the CA to the machines (Talos: TrustedRootsConfig)",
        );
    }
    let issuer = last.issuer_name().unwrap_or_else(|| "an unnamed authority".to_owned());
    match roots {
        Some(roots) if is_trusted(roots, last, now) => {}
        Some(_) if chain.len() == 1 => found.add_fault(
            format!("the chain is incomplete: it contains only the server's certificate, and the issuer `{issuer}` is not a trusted root"),
            CHAIN,
        ),
        Some(_) => found.add_warning(
            format!("the chain ends at `{issuer}`, which this machine does not trust"),
            "make machines trust that authority, or add the certificate that the chain lacks",
        ),
        None if chain.len() == 1 => found.add_warning(
            format!("the chain has only the server's certificate; this machine cannot check whether `{issuer}` is trusted"),
            CHAIN,
        ),
        None => {}
    }
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
