//! Service-account keys: base64 of JSON with an armored OpenPGP key, as Omni hands them out and omnictl reads them
//! (siderolabs/go-api-signature v0.3.13 pkg/serviceaccount, pkg/pgp).

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{DecodeError, Engine as _};
use ring::digest;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

/// A year, in seconds: the lifetime of every key that omnictl makes unless `serviceaccount create` was told otherwise.
pub const YEAR: u32 = 365 * 24 * 3600;
/// Before the name of an infrastructure provider in the `name` of its key.
pub const PROVIDER_PREFIX: &str = "infra-provider:";
/// OID of Ed25519 in OpenPGP with its length (RFC 9580 §9.2, legacy EdDSA).
const ED25519: &[u8] = &[9, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
/// EdDSA, legacy.
const ALGORITHM: u8 = 22;

/// A new key pair of a service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// What goes into `OMNI_SERVICE_ACCOUNT_KEY`. Secret.
    pub encoded: String,
    /// Lower-case hex: the public key id that Omni shows.
    pub fingerprint: String,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
}

/// What a key says about itself, checked as far as a server can: the secret fits the public part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadKey {
    /// The `name` in the JSON: `automation`, or `infra-provider:proxmox`.
    pub name: String,
    /// Fingerprint in lower-case hex.
    pub fingerprint: String,
}

/// The e-mail form of a service account's name, which is the id of its identity (omni client/pkg/access).
pub fn identity(name: &str) -> String {
    match name.strip_prefix(PROVIDER_PREFIX) {
        Some(base) => format!("{base}@infra-provider.serviceaccount.omni.sidero.dev"),
        None => format!("{name}@serviceaccount.omni.sidero.dev"),
    }
}

/// Makes a key that begins at `created` (seconds since 1970) and lives `lifetime` seconds.
pub fn generate(name: &str, created: i64, lifetime: u32) -> anyhow::Result<NewKey> {
    let mut seed = [0u8; 32];
    crate::tls::fill(&mut seed)?;
    let pair =
        Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| anyhow::anyhow!("the seed makes no Ed25519 key"))?;
    let born = u32::try_from(created).unwrap_or(0);
    let public = public_body(born, pair.public_key().as_ref());
    let base = name.strip_prefix(PROVIDER_PREFIX).unwrap_or(name);
    let user = format!("{base} (linux/amd64) <{}>", identity(name));
    let mut secret = public.clone();
    let mpi = mpi(&seed);
    let checksum = mpi.iter().fold(0u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
    secret.push(0); // not encrypted
    secret.extend(&mpi);
    secret.extend(checksum.to_be_bytes());
    let fingerprint = fingerprint(&public);
    let mut packets = packet(5, &secret);
    packets.extend(packet(13, user.as_bytes()));
    packets.extend(packet(2, &self_signature(&pair, &public, user.as_bytes(), born, lifetime, &fingerprint)));
    let json = serde_json::to_string(&json!({"name": name, "pgp_key": armor(&packets)}))?;
    Ok(NewKey {
        encoded: STANDARD.encode(json),
        fingerprint: crate::tls::hex(&fingerprint),
        expires: created + i64::from(lifetime),
    })
}

/// Reads a key as omnictl does before it calls anybody; the error is omnictl's.
pub fn read(encoded: &str) -> Result<ReadKey, String> {
    let bytes = decode_base64(encoded)?;
    let (name, armored) = decode_json(&bytes)?;
    let packets = dearmor(&armored);
    if armored.trim().is_empty() {
        return Err("gopenpgp: the key does not contain any entity".to_owned());
    }
    let broken =
        || "gopenpgp: error in reading key ring: openpgp: invalid data: tag byte does not have MSB set".to_owned();
    let packets = packets.ok_or_else(broken)?;
    let (tag, body) = first_packet(&packets).ok_or_else(broken)?;
    // version, time, algorithm, curve, then the point as an MPI of 263 bits
    let public_end = 1 + 4 + 1 + ED25519.len() + 2 + 33;
    let public = body.get(..public_end).filter(|body| tag == 5 && body[0] == 4 && body[5] == ALGORITHM);
    let unsupported = "gopenpgp: error in reading key ring: openpgp: unsupported feature: public key type";
    Ok(ReadKey { name, fingerprint: crate::tls::hex(&fingerprint(public.ok_or(unsupported)?)) })
}

fn decode_json(bytes: &[u8]) -> Result<(String, String), String> {
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(why) if why.is_eof() => return Err("unexpected end of JSON input".to_owned()),
        Err(_) => {
            let first = bytes.iter().find(|b| !b.is_ascii_whitespace()).map_or('?', |b| char::from(*b));
            return Err(format!("invalid character '{first}' looking for beginning of value"));
        }
    };
    let kind = match &value {
        Value::Object(_) | Value::Null => "",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
    };
    if !kind.is_empty() {
        return Err(format!("json: cannot unmarshal {kind} into Go value of type serviceaccount.JSON"));
    }
    let text = |field: &str| match &value[field] {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        _ => Err(format!("json: cannot unmarshal a value into Go struct field JSON.{field} of type string")),
    };
    Ok((text("name")?, text("pgp_key")?))
}

/// Standard base64 with Go's error: the offset of the first byte that cannot stand where it is.
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

fn public_body(created: u32, point: &[u8]) -> Vec<u8> {
    let mut body = vec![4];
    body.extend(created.to_be_bytes());
    body.push(ALGORITHM);
    body.extend(ED25519);
    body.extend([0x01, 0x07, 0x40]); // an MPI of 263 bits that begins with 0x40: the point in its native form
    body.extend(point);
    body
}

fn fingerprint(public: &[u8]) -> Vec<u8> {
    let mut hashed = vec![0x99];
    hashed.extend(u16::try_from(public.len()).unwrap_or(0).to_be_bytes());
    hashed.extend(public);
    digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &hashed).as_ref().to_vec()
}

fn self_signature(
    pair: &Ed25519KeyPair,
    public: &[u8],
    user: &[u8],
    created: u32,
    lifetime: u32,
    fingerprint: &[u8],
) -> Vec<u8> {
    let sub = |kind: u8, data: &[u8]| -> Vec<u8> {
        let mut out = vec![u8::try_from(data.len() + 1).unwrap_or(0), kind];
        out.extend(data);
        out
    };
    let mut hashed = Vec::new();
    hashed.extend(sub(0x82, &created.to_be_bytes()));
    hashed.extend(sub(0x83, &lifetime.to_be_bytes()));
    hashed.extend(sub(0x89, &lifetime.to_be_bytes())); // the key's own expiration, counted from its creation
    hashed.extend(sub(11, &[9, 7]));
    hashed.extend(sub(16, &fingerprint[12..]));
    hashed.extend(sub(21, &[8]));
    hashed.extend(sub(22, &[0, 2]));
    hashed.extend(sub(25, &[1]));
    hashed.extend(sub(0x80 | 27, &[3]));
    hashed.extend(sub(30, &[1]));
    let issuer: Vec<u8> = std::iter::once(4).chain(fingerprint.iter().copied()).collect();
    hashed.extend(sub(33, &issuer));
    let mut head = vec![4, 0x13, ALGORITHM, 8]; // positive certification, SHA-256
    head.extend(u16::try_from(hashed.len()).unwrap_or(0).to_be_bytes());
    head.extend(&hashed);
    let mut signed = vec![0x99];
    signed.extend(u16::try_from(public.len()).unwrap_or(0).to_be_bytes());
    signed.extend(public);
    signed.push(0xb4);
    signed.extend(u32::try_from(user.len()).unwrap_or(0).to_be_bytes());
    signed.extend(user);
    signed.extend(&head);
    signed.extend([4, 0xff]);
    signed.extend(u32::try_from(head.len()).unwrap_or(0).to_be_bytes());
    let hash = digest::digest(&digest::SHA256, &signed);
    let signature = pair.sign(hash.as_ref());
    let mut body = head;
    body.extend([0, 0]); // no unhashed subpackets
    body.extend(&hash.as_ref()[..2]);
    body.extend(mpi(&signature.as_ref()[..32]));
    body.extend(mpi(&signature.as_ref()[32..]));
    body
}

/// A number as OpenPGP writes it: its length in bits, then its bytes without leading zeros.
fn mpi(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    let rest = &bytes[start..];
    let bits = rest.first().map_or(0, |first| rest.len() * 8 - first.leading_zeros() as usize);
    let mut out = u16::try_from(bits).unwrap_or(0).to_be_bytes().to_vec();
    out.extend(rest);
    out
}

fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xc0 | tag];
    match body.len() {
        short @ 0..192 => out.push(u8::try_from(short).unwrap_or(0)),
        long => {
            let rest = long - 192;
            out.push(u8::try_from(rest / 256 + 192).unwrap_or(223));
            out.push(u8::try_from(rest % 256).unwrap_or(0));
        }
    }
    out.extend(body);
    out
}

fn first_packet(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let first = *bytes.first()?;
    if first & 0xc0 == 0xc0 {
        let length = usize::from(*bytes.get(1)?);
        let (start, length) = match length {
            0..192 => (2, length),
            _ => (3, (length - 192) * 256 + usize::from(*bytes.get(2)?) + 192),
        };
        return Some((first & 0x3f, bytes.get(start..start + length)?));
    }
    None
}

fn armor(packets: &[u8]) -> String {
    let body = STANDARD.encode(packets);
    let mut out = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n".to_owned();
    for line in body.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    let sum = crc24(packets).to_be_bytes();
    out.push_str(&format!("={}\n-----END PGP PRIVATE KEY BLOCK-----", STANDARD.encode(&sum[1..])));
    out
}

fn dearmor(text: &str) -> Option<Vec<u8>> {
    let inner = text.split_once("-----BEGIN PGP PRIVATE KEY BLOCK-----")?.1;
    let inner = inner.split_once("-----END PGP PRIVATE KEY BLOCK-----")?.0;
    let lines = inner.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains(':'));
    let (sums, body): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with('='));
    let packets = STANDARD.decode(body.concat()).ok()?;
    let sum = crc24(&packets).to_be_bytes();
    sums.iter().all(|line| line[1..] == STANDARD.encode(&sum[1..])).then_some(packets)
}

/// RFC 9580 §6.1.1.
fn crc24(bytes: &[u8]) -> u32 {
    let mut crc = 0x00b7_04ce_u32;
    for byte in bytes {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
        }
    }
    crc & 0x00ff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back() {
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
    fn errors_are_those_of_omnictl() {
        let encode = |text: &str| STANDARD.encode(text);
        for (key, wanted) in [
            (String::new(), "unexpected end of JSON input"),
            ("abcd==".to_owned(), "illegal base64 data at input byte 4"),
            ("abc".to_owned(), "illegal base64 data at input byte 0"),
            ("a b".to_owned(), "illegal base64 data at input byte 1"),
            (encode("{}"), "gopenpgp: the key does not contain any entity"),
            (encode("x"), "invalid character 'x' looking for beginning of value"),
            (encode("5"), "json: cannot unmarshal number into Go value of type serviceaccount.JSON"),
            (
                encode("{\"name\":\"x\",\"pgp_key\":\"x\"}"),
                "gopenpgp: error in reading key ring: openpgp: invalid data: tag byte does not have MSB set",
            ),
        ] {
            assert_eq!(read(&key).unwrap_err(), wanted, "{key:?}");
        }
    }
}
