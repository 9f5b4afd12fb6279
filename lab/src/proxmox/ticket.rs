//! Tickets and CSRF tokens: what a login with a password gives, good for two hours
//! (pve-common `Ticket.pm`, pve-access-control `AccessControl.pm` `verify_ticket`).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::hmac;

/// Seconds for which a ticket is good.
const LIFETIME: u64 = 2 * 60 * 60;
/// Seconds by which a ticket may come from the future.
const EARLY: u64 = 300;

/// The cluster's signing key. It never leaves the process.
pub struct SigningKeys {
    key: hmac::Key,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeys(…)")
    }
}

impl SigningKeys {
    /// A key from random bytes.
    pub fn new(random: &[u8]) -> SigningKeys {
        SigningKeys { key: hmac::Key::new(hmac::HMAC_SHA256, random) }
    }

    /// A ticket for a user, `PVE:omni@pve:6B024E0A::…`, made at `now` (Unix time).
    pub fn ticket(&self, user: &str, now: u64) -> String {
        let plain = format!("PVE:{user}:{now:08X}");
        let signature = self.sign(&plain);
        format!("{plain}::{signature}")
    }

    /// The user that a ticket was made for, if it is genuine and still good.
    pub fn verify(&self, ticket: &str, now: u64) -> Option<String> {
        let (plain, signature) = ticket.split_once("::")?;
        let mut parts = plain.split(':');
        let (kind, user, made, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next());
        let genuine = kind == "PVE" && rest.is_none() && self.is_genuine(plain, signature);
        (genuine && fresh(made, now)).then(|| user.to_owned())
    }

    /// The token that a client with a ticket must send with every change.
    pub fn csrf(&self, user: &str, now: u64) -> String {
        let signature = self.sign(&format!("csrf:{user}:{now:08X}"));
        format!("{now:08X}:{signature}")
    }

    /// Whether such a token is genuine and still good.
    pub fn verify_csrf(&self, user: &str, token: &str, now: u64) -> bool {
        let Some((made, signature)) = token.split_once(':') else { return false };
        self.is_genuine(&format!("csrf:{user}:{made}"), signature) && fresh(made, now)
    }

    fn sign(&self, text: &str) -> String {
        STANDARD_NO_PAD.encode(hmac::sign(&self.key, text.as_bytes()))
    }

    fn is_genuine(&self, text: &str, signature: &str) -> bool {
        let signature = STANDARD_NO_PAD.decode(signature);
        signature.is_ok_and(|signature| hmac::verify(&self.key, text.as_bytes(), &signature).is_ok())
    }
}

fn fresh(made: &str, now: u64) -> bool {
    u64::from_str_radix(made, 16).is_ok_and(|made| made <= now + EARLY && now <= made.saturating_add(LIFETIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_for_two_hours() {
        let (keys, now) = (SigningKeys::new(b"one"), 1_800_000_000);
        let ticket = keys.ticket("omni@pve", now);
        assert_eq!(keys.verify(&ticket, now + LIFETIME).as_deref(), Some("omni@pve"));
        assert_eq!(keys.verify(&ticket, now + LIFETIME + 1), None);
        assert_eq!(keys.verify(&ticket, now - EARLY - 1), None);
    }

    #[test]
    fn a_forged_ticket_is_none() {
        let (keys, now) = (SigningKeys::new(b"one"), 1_800_000_000);
        let ticket = keys.ticket("omni@pve", now);
        assert_eq!(SigningKeys::new(b"two").verify(&ticket, now), None);
        assert_eq!(keys.verify(&ticket.replace("omni@pve", "root@pam"), now), None);
        for broken in ["", "::", "PVE:a", "PVE:a:zz::AAAA", "PVE:omni@pve:6B024E0A:x::AAAA"] {
            assert_eq!(keys.verify(broken, now), None, "{broken}");
        }
    }
}
