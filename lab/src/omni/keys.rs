//! Service-account keys: base64 of JSON with an armored OpenPGP key, as Omni issues them and omnictl reads them
//! (siderolabs/go-api-signature v0.3.13 pkg/serviceaccount, pkg/pgp).

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{DecodeError, Engine as _};
use ring::digest;
use serde::{Deserialize, Serialize};

/// A year, in seconds: the lifetime of every key that omnictl creates, unless `serviceaccount create` sets another.
pub const YEAR: u32 = 365 * 24 * 3600;
/// The prefix of an infrastructure provider's name in the `name` of its key.
pub const PROVIDER_PREFIX: &str = "infra-provider:";
/// OID of Ed25519 in OpenPGP, preceded by its length (RFC 9580 §9.2, legacy EdDSA).
const ED25519: &[u8] = &[9, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
/// The public-key algorithm: legacy EdDSA.
const ALGORITHM: u8 = 22;

/// A new key pair of a service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// The value of `OMNI_SERVICE_ACCOUNT_KEY`. Secret.
    pub encoded: String,
    /// Lower-case hex: the public key ID that Omni shows.
    pub fingerprint: String,
    /// When it expires, in seconds since 1970.
    pub expires: i64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Envelope {
    name: String,
    pgp_key: String,
}

/// The contents of a key, checked as far as a server can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedKey {
    /// The `name` in the JSON: `automation`, or `infra-provider:proxmox`.
    pub name: String,
    /// Fingerprint in lower-case hex.
    pub fingerprint: String,
}

/// Returns the e-mail form of a service account's name, which is the ID of its identity (omni client/pkg/access).
pub fn identity(name: &str) -> String {
    match name.strip_prefix(PROVIDER_PREFIX) {
        Some(base) => format!("{base}@infra-provider.serviceaccount.omni.sidero.dev"),
        None => format!("{name}@serviceaccount.omni.sidero.dev"),
    }
}

/// Generates a key that is valid for `lifetime` seconds from `created` (seconds since 1970). It has no secret half and is
/// not actually signed: the lab only reads its fingerprint and its times.
pub fn generate(name: &str, created: i64, lifetime: u32) -> anyhow::Result<NewKey> {
    let mut point = [0u8; 32];
    crate::tls::fill(&mut point)?;
    let born = u32::try_from(created).unwrap_or(0).to_be_bytes();
    // Version, time, algorithm and curve, then an MPI of 263 bits that starts with 0x40: the point in its native form.
    let public = [&[4][..], &born, &[ALGORITHM], ED25519, &[0x01, 0x07, 0x40], &point].concat();
    let fingerprint = fingerprint(&public);
    // A certification with its date, and the lifetime of itself and of the key.
    let lives = lifetime.to_be_bytes();
    let signature = [&[4, 0x13, ALGORITHM, 8, 0, 18][..], &[5, 2], &born, &[5, 3], &lives, &[5, 9], &lives].concat();
    let packets = [packet(5, &public), packet(2, &signature)].concat();
    let json = serde_json::to_string(&Envelope { name: name.to_owned(), pgp_key: armor(&packets) })?;
    Ok(NewKey { encoded: STANDARD.encode(json), fingerprint, expires: created + i64::from(lifetime) })
}

/// Parses a key as omnictl does before its first call. The error is omnictl's.
pub fn read(encoded: &str) -> Result<ParsedKey, String> {
    let bytes = decode_base64(encoded)?;
    let key: Envelope = serde_json::from_slice(&bytes).map_err(|why| match why.is_eof() {
        true => "unexpected end of JSON input".to_owned(),
        false => why.to_string(),
    })?;
    let packets = dearmor(&key.pgp_key);
    if key.pgp_key.trim().is_empty() {
        return Err("gopenpgp: the key does not contain any entity".to_owned());
    }
    let broken =
        || "gopenpgp: error in reading key ring: openpgp: invalid data: tag byte does not have MSB set".to_owned();
    let packets = packets.ok_or_else(broken)?;
    let (tag, body) = match packets[..] {
        [tag, length, ref rest @ ..] if tag & 0xc0 == 0xc0 => (tag & 0x3f, rest.get(..usize::from(length))),
        _ => return Err(broken()),
    };
    // Version, time, algorithm and curve, then the point as an MPI of 263 bits.
    let public_end = 1 + 4 + 1 + ED25519.len() + 2 + 33;
    let public = body.and_then(|body| body.get(..public_end));
    let public = public.filter(|body| tag == 5 && body[0] == 4 && body[5] == ALGORITHM);
    let unsupported = "gopenpgp: error in reading key ring: openpgp: unsupported feature: public key type";
    Ok(ParsedKey { name: key.name, fingerprint: fingerprint(public.ok_or(unsupported)?) })
}

/// Decodes standard base64 with Go's error: the offset of the first invalid byte.
fn decode_base64(text: &str) -> Result<Vec<u8>, String> {
    let kept: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    let lenient = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let decoded = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient).decode(&kept);
    decoded.map_err(|why| {
        let at = match why {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => kept.len() / 4 * 4,
        };
        format!("illegal base64 data at input byte {at}")
    })
}

fn fingerprint(public: &[u8]) -> String {
    let length = u16::try_from(public.len()).unwrap_or(0).to_be_bytes();
    let hashed = [&[0x99][..], &length, public].concat();
    crate::tls::hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &hashed).as_ref())
}

/// Encodes a packet of less than 192 bytes.
fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[0xc0 | tag, u8::try_from(body.len()).unwrap_or(0)], body].concat()
}

fn armor(packets: &[u8]) -> String {
    let body = STANDARD.encode(packets);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{}\n-----END PGP PRIVATE KEY BLOCK-----", lines.join("\n"))
}

fn dearmor(text: &str) -> Option<Vec<u8>> {
    let inner = text.split_once("-----BEGIN PGP PRIVATE KEY BLOCK-----")?.1;
    let inner = inner.split_once("-----END PGP PRIVATE KEY BLOCK-----")?.0;
    let lines = inner.lines().map(str::trim).filter(|line| !line.starts_with('=') && !line.contains(':'));
    STANDARD.decode(lines.collect::<String>()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_key_is_readable() {
        let key = generate("infra-provider:proxmox", 1_795_317_778, YEAR).unwrap();
        let read = read(&key.encoded).unwrap();
        assert_eq!(read.name, "infra-provider:proxmox");
        assert_eq!(read.fingerprint, key.fingerprint);
        assert_eq!(key.expires, 1_795_317_778 + 31_536_000);
        let json = String::from_utf8(STANDARD.decode(&key.encoded).unwrap()).unwrap();
        assert!(json.starts_with(
            "{\"name\":\"infra-provider:proxmox\",\"pgp_key\":\"-----BEGIN PGP PRIVATE KEY BLOCK-----\\n"
        ));
    }

    #[test]
    fn key_errors_match_omnictl() {
        let encode = |text: &str| STANDARD.encode(text);
        for (key, wanted) in [
            (String::new(), "unexpected end of JSON input"),
            ("abcd==".to_owned(), "illegal base64 data at input byte 4"),
            ("abc".to_owned(), "illegal base64 data at input byte 0"),
            ("a b".to_owned(), "illegal base64 data at input byte 1"),
            (encode("{}"), "gopenpgp: the key does not contain any entity"),
            (
                encode("{\"name\":\"x\",\"pgp_key\":\"x\"}"),
                "gopenpgp: error in reading key ring: openpgp: invalid data: tag byte does not have MSB set",
            ),
        ] {
            assert_eq!(read(&key).unwrap_err(), wanted, "{key:?}");
        }
    }
}
