//! `docker/omni.asc`, the key that encrypts Omni's store. Omni cannot prompt for a passphrase, needs an encryption subkey, and
//! cannot open the store after the key expires (omni v1.9.3: `failed to init cipher: failed to provide key`).
//!
//! The packets of the key are parsed here (RFC 4880, RFC 9580), so that no gpg and no keyring are needed.

use crate::clock;
use crate::spec::key::{lifetimes, packet, u32_at, unarmor};

/// A usable key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreKey {
    /// The user ID, for example `Omni (etcd encryption) <admin@example.com>`.
    pub user: String,
    /// When its encryption subkey expires, in seconds since the Unix epoch.
    pub expires: Option<u64>,
}

/// Why a key cannot be used, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableKey {
    pub why: String,
    pub fix: String,
}

/// A key or subkey with the properties from its signatures.
#[derive(Default)]
struct Part {
    created: u64,
    algorithm: u8,
    locked: bool,
    flags: Option<u8>,
    lifetime: Option<u64>,
    revoked: bool,
}

impl Part {
    /// Whether it may encrypt, according to its flags or, without flags, its algorithm (1, 2 RSA, 16 ElGamal, 18 ECDH, 25 X25519,
    /// 26 X448).
    fn can_encrypt(&self) -> bool {
        let able = matches!(self.algorithm, 1 | 2 | 16 | 18 | 25 | 26);
        able && self.flags.is_none_or(|flags| flags & 0x0c != 0)
    }

    fn expires(&self) -> Option<u64> {
        self.lifetime.map(|seconds| self.created + seconds)
    }
}

/// Checks the text of `docker/omni.asc` at `now`, in seconds since the Unix epoch.
///
/// # Errors
/// Returns the reason if Omni could not use the key.
pub fn check(text: &str, now: u64) -> Result<StoreKey, UnusableKey> {
    let no = |why: &str, fix: &str| Err(UnusableKey { why: why.to_owned(), fix: fix.to_owned() });
    let export =
        "export the private key: `gpg --armor --export-secret-keys FINGERPRINT` (docs/how-to/gpg-key-setup.md)";
    if text.contains("BEGIN PGP PUBLIC KEY BLOCK") {
        return no("it is a public key", export);
    }
    let Some(packets) = unarmor(text) else { return no("it is not an armored OpenPGP private key", export) };
    let Some((parts, user)) = parts(&packets) else { return no("its packets are truncated or damaged", export) };
    let Some(primary) = parts.first() else { return no("it contains no private key", export) };
    if parts.iter().any(|part| part.locked) {
        return no(
            "it has a passphrase, which Omni cannot enter",
            "create a key without a passphrase before Omni starts for the first time: starting with this key makes the empty store unusable (docs/how-to/gpg-key-setup.md)",
        );
    }
    if primary.revoked {
        return no("it is revoked", "use the key that the store was created with, or create a new key for a new store");
    }
    let able: Vec<&Part> = parts.iter().filter(|part| part.can_encrypt() && !part.revoked).collect();
    if able.is_empty() {
        return no(
            "it has no encryption subkey",
            "add a subkey: `gpg --quick-add-key FINGERPRINT rsa4096 encr never`, then export the key again",
        );
    }
    // A subkey expires with its primary key; a key without an expiry outlasts all others.
    let end = |part: &&Part| [part.expires(), primary.expires()].into_iter().flatten().min();
    let expires = if able.iter().any(|part| end(part).is_none()) { None } else { able.iter().filter_map(end).max() };
    if let Some(at) = expires.filter(|at| *at <= now) {
        return no(
            &format!("it expired on {}", clock::date(at)),
            "remove its expiry: `gpg --quick-set-expire FINGERPRINT 0`, again with '*' for its subkeys, then export the key again",
        );
    }
    Ok(StoreKey { user, expires })
}

/// Returns the keys in order, the primary key first, and the user ID.
fn parts(mut packets: &[u8]) -> Option<(Vec<Part>, String)> {
    let (mut found, mut user) = (Vec::<Part>::new(), String::new());
    while !packets.is_empty() {
        let (tag, body, rest) = packet(packets)?;
        packets = rest;
        match tag {
            5 | 7 => found.push(part(body)?),
            13 if user.is_empty() => user = String::from_utf8_lossy(body).into_owned(),
            2 if body.first() == Some(&4) => {
                let fields = lifetimes(body)?;
                let Some(last) = found.last_mut() else { continue };
                match body.get(1)? {
                    // Certification of a user ID, direct-key signature, subkey binding.
                    0x10..=0x13 | 0x18 | 0x1f => {
                        last.flags = fields.flags.or(last.flags);
                        let seconds = fields.key.filter(|&seconds| seconds != 0).map(u64::from);
                        last.lifetime = seconds.or(last.lifetime);
                    }
                    0x20 | 0x28 => last.revoked = true,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    Some((found, user))
}

/// Parses a secret key or subkey: version, time, algorithm, the public numbers, then the octet that specifies the encryption of
/// the private numbers, 0 for none.
fn part(body: &[u8]) -> Option<Part> {
    let version = *body.first()?;
    let (created, algorithm) = (u64::from(u32_at(body, 1)?), *body.get(5)?);
    let at = match version {
        4 => public_length(algorithm, body.get(6..)?)? + 6,
        6 => usize::try_from(u32_at(body, 6)?).ok()?.checked_add(10)?,
        _ => return None,
    };
    Some(Part { created, algorithm, locked: *body.get(at)? != 0, ..Part::default() })
}

/// Returns the number of octets of the public numbers of a version 4 key.
fn public_length(algorithm: u8, body: &[u8]) -> Option<usize> {
    let number = |at: usize| {
        let bits = usize::from(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
        Some(at + 2 + bits.div_ceil(8))
    };
    let counted = |at: usize| Some(at + 1 + usize::from(*body.get(at)?));
    match algorithm {
        1..=3 => number(number(0)?),
        16 => number(number(number(0)?)?),
        17 => number(number(number(number(0)?)?)?),
        18 => counted(number(counted(0)?)?),
        19 | 22 => number(counted(0)?),
        25 | 27 => Some(32),
        26 => Some(56),
        28 => Some(57),
        _ => return None,
    }
    .filter(|end| *end < body.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    /// 22 Nov 2026.
    const NOW: u64 = 1_795_316_645;

    fn fixture(name: &str) -> String {
        let file = format!("{}/../tests/fixtures/pgp/{name}.b64", env!("CARGO_MANIFEST_DIR"));
        let body = std::fs::read_to_string(&file).expect(&file);
        format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\n{body}-----END PGP PRIVATE KEY BLOCK-----\n")
    }

    #[test]
    fn gpg_keys_are_classified() {
        for name in ["good", "rsa"] {
            let key = check(&fixture(name), NOW).unwrap();
            assert_eq!(key, StoreKey { user: "Omni (etcd encryption) <admin@example.com>".into(), expires: None });
        }
        let ending = check(&fixture("expiring"), NOW).unwrap();
        assert_eq!(ending.expires.map(clock::date).as_deref(), Some("2028-11-21"));
        let cases = [
            ("passphrase", NOW, "passphrase"),
            ("sign-only", NOW, "no encryption subkey"),
            ("expiring", 1_900_000_000, "expired on 2028-11-21"),
        ];
        for (name, now, why) in cases {
            let unfit = check(&fixture(name), now).unwrap_err();
            assert!(unfit.why.contains(why), "{name}: {unfit:?}");
        }
    }

    #[test]
    fn key_flags_decide_encryption() {
        let packets = unarmor(&fixture("rsa")).unwrap();
        // Subpacket 27 of a subkey: encrypt messages and storage (0x0c), only one of them, or sign (0x02).
        let with = |flags: u8| {
            let at = packets.windows(3).position(|bytes| bytes == [2, 27, 0x0c]).unwrap() + 2;
            let text = STANDARD.encode([&packets[..at], &[flags], &packets[at + 1..]].concat());
            let text =
                format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{text}\n-----END PGP PRIVATE KEY BLOCK-----\n");
            check(&text, NOW).is_ok()
        };
        assert_eq!([0x0c, 0x04, 0x08, 0x02].map(with), [true, true, true, false]);
    }

    #[test]
    fn check_refuses_all_but_private_keys() {
        let public = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert!(check(public, NOW).unwrap_err().why.contains("public key"));
        assert!(check("", NOW).unwrap_err().why.contains("not an armored"));
    }

    #[test]
    fn damage_is_refused_without_a_panic() {
        let packets = unarmor(&fixture("good")).unwrap();
        let armored = |bytes: &[u8]| {
            let text = STANDARD.encode(bytes);
            format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{text}\n-----END PGP PRIVATE KEY BLOCK-----\n")
        };
        for at in 0..packets.len() {
            let _ = check(&armored(&packets[..at]), NOW);
            let mut bent = packets.clone();
            bent[at] ^= 0xff;
            let _ = check(&armored(&bent), NOW);
        }
        assert!(check(&armored(&packets[..40]), NOW).is_err());
    }
}
