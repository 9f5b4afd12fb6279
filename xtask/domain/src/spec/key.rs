//! Parses service-account keys offline: base64 of JSON `{"name", "pgp_key"}` with an armored OpenPGP key inside
//! (siderolabs/go-api-signature v0.3.12 `pkg/serviceaccount`). The name shows the kind of key and the packets its expiry: Omni
//! lets keys expire silently, by default after a year.

use serde::Deserialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::failure::{Code, Failure};
use crate::words::count;

/// The public data of a key. Contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The service account: `automation`, or `infra-provider:proxmox`.
    pub name: String,
    /// When the key expires; `None` if it does not.
    pub expires: Option<SystemTime>,
}

#[derive(Deserialize)]
struct Envelope {
    name: String,
    pgp_key: String,
}

/// Prefix of the service account names of infrastructure providers (omni v1.9.3 `client/pkg/omnictl/infraprovider.go`).
const PROVIDER: &str = "infra-provider:";

impl KeyInfo {
    /// Parses the text of a key.
    ///
    /// # Errors
    /// Returns the reason if the key is not valid, without quoting the key.
    pub fn parse(text: &str) -> Result<KeyInfo, String> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| "it is not base64".to_owned())?;
        let envelope: Envelope = serde_json::from_slice(&bytes)
            .map_err(|_| "it is base64, but does not contain Omni's JSON {\"name\", \"pgp_key\"}".to_owned())?;
        let packets = unarmor(&envelope.pgp_key).ok_or("its pgp_key is not an armored OpenPGP private key")?;
        let expires = expiry(&packets).ok_or("the OpenPGP packets of its pgp_key are truncated or damaged")?;
        Ok(KeyInfo { name: envelope.name, expires })
    }

    /// Returns the provider that the key is for, if it is a provider key.
    pub fn provider(&self) -> Option<&str> {
        self.name.strip_prefix(PROVIDER)
    }

    /// Whether the key is expired at `now`.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// Returns the remaining lifetime; `None` if unlimited, zero if expired.
    pub fn remaining_lifetime(&self, now: SystemTime) -> Option<Duration> {
        self.expires.map(|at| at.duration_since(now).unwrap_or_default())
    }
}

/// Checks that the provider `id` can register with the key in `text` at `now`; `place` is where the key was found.
///
/// # Errors
/// Returns [`Code::Invalid`] with the reason and how to get a valid key.
pub fn check_provider_key(text: &str, id: &str, place: &str, now: SystemTime) -> Result<KeyInfo, Failure> {
    let refuse = |cause: String| {
        Failure::new(Code::Invalid, format!("the provider's key ({place}) cannot be used"))
            .cause(cause)
            .hint(format!(
                "create the key for this provider: `omnictl infraprovider create {id}` (or `renewkey {id}` if the provider exists), or in Omni under Settings, Infra Providers"
            ))
    };
    let info = KeyInfo::parse(text).map_err(refuse)?;
    match info.provider() {
        None => Err(refuse(format!(
            "it belongs to the ordinary service account `{}`; only infra-provider:<id> keys can register a provider with Omni",
            info.name
        ))),
        Some(found) if found != id => Err(refuse(format!(
            "it is the key of the provider `{found}`, but this provider runs as `{id}`; Omni requires an exact match, including letter case"
        ))),
        Some(_) if info.is_expired(now) => {
            let days = info.expires.and_then(|at| now.duration_since(at).ok()).unwrap_or_default().as_secs() / 86_400;
            Err(refuse(format!("it expired {} ago", count(days, "day"))).hint(format!(
                "renew it: `cargo xtask keys --rotate provider`, or run `omnictl infraprovider renewkey {id}` and set the new OMNI_SERVICE_ACCOUNT_KEY in docker/.env as OMNI_INFRA_PROVIDER_KEY"
            )).next("cargo xtask keys --rotate provider"))
        }
        Some(_) => Ok(info),
    }
}

/// Returns when the token (JWT, RFC 7519) in a kubeconfig for a cluster expires, in seconds since the Unix epoch. The outer
/// `None` means that no user has a token. Prefers the user that omnictl named after the cluster, `INSTANCE-CLUSTER-USER`.
///
/// # Errors
/// Returns the reason if the kubeconfig or the token cannot be parsed.
pub fn token_expiry(kubeconfig: &str, cluster: &str) -> Result<Option<Option<u64>>, String> {
    let config: Value = serde_yaml::from_str(kubeconfig).map_err(|error| format!("not valid YAML: {error}"))?;
    let users = config["users"].as_array().ok_or("not a kubeconfig: it has no `users`")?;
    let of_cluster =
        |user: &&Value| user["name"].as_str().is_some_and(|name| format!("{name}-").contains(&format!("-{cluster}-")));
    let mut found = users.iter().filter(of_cluster).chain(users).filter_map(|user| user["user"]["token"].as_str());
    let Some(token) = found.next() else { return Ok(None) };
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Option<Value> = claims.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(Some(claims.ok_or("its token cannot be read")?["exp"].as_u64()))
}

/// Returns the bytes of an armored private key.
pub(super) fn unarmor(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once("-----BEGIN PGP PRIVATE KEY BLOCK-----")?;
    let (body, _) = rest.split_once("-----END PGP PRIVATE KEY BLOCK-----")?;
    // Headers end at the first blank line; the checksum line starts with `=`.
    let lines = body.lines().map(str::trim).skip_while(|line| line.is_empty());
    let has_headers = lines.clone().next().is_some_and(|line| line.contains(": "));
    let lines = lines.skip_while(|line| has_headers && !line.is_empty());
    let data: String = lines.filter(|line| !line.is_empty() && !line.starts_with('=')).collect();
    STANDARD.decode(data).ok()
}

/// Returns when the key in these packets (RFC 4880) expires. The outer `None` means that the packets are damaged.
fn expiry(mut packets: &[u8]) -> Option<Option<SystemTime>> {
    let mut created = None;
    let mut expires: Option<u64> = None;
    while !packets.is_empty() {
        let (tag, body, rest) = packet(packets)?;
        packets = rest;
        match tag {
            // Secret key packet: the version, then the creation time.
            5 => created = Some(u64::from(u32_at(body, 1)?)),
            2 if body.first() == Some(&4) => {
                let fields = lifetimes(body)?;
                let ends = [(created, fields.key), (fields.created.map(u64::from), fields.signature)];
                for (start, seconds) in ends {
                    if let (Some(start), Some(seconds)) = (start, seconds.filter(|&seconds| seconds != 0)) {
                        let end = start + u64::from(seconds);
                        expires = Some(expires.map_or(end, |other| other.min(end)));
                    }
                }
            }
            _ => {}
        }
    }
    created?;
    Some(expires.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)))
}

#[derive(Default)]
pub(super) struct Lifetimes {
    pub(super) created: Option<u32>,
    pub(super) signature: Option<u32>,
    pub(super) key: Option<u32>,
    /// Key flags (subpacket 27); 0x0c are the two encryption bits.
    pub(super) flags: Option<u8>,
}

/// Parses the hashed subpackets of a version 4 signature (after the type and two algorithms): creation time (2), and the
/// lifetimes of signature (3) and key (9), in seconds.
pub(super) fn lifetimes(signature: &[u8]) -> Option<Lifetimes> {
    let length = usize::from(u16::from_be_bytes([*signature.get(4)?, *signature.get(5)?]));
    let mut fields = signature.get(6..6 + length)?;
    let mut found = Lifetimes::default();
    while !fields.is_empty() {
        let (length, used) = field_length(fields, 255)?;
        let field = fields.get(used..used + length)?;
        match field.first()? & 0x7f {
            2 => found.created = u32_at(field, 1),
            3 => found.signature = u32_at(field, 1),
            9 => found.key = u32_at(field, 1),
            27 => found.flags = field.get(1).copied(),
            _ => {}
        }
        fields = &fields[used + length..];
    }
    Some(found)
}

/// Parses a packet with either header format; returns the tag, the body and the remaining bytes.
pub(super) fn packet(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let head = *bytes.first()?;
    let (tag, length, used): (u8, usize, usize) = if head & 0x40 != 0 {
        let (length, used) = field_length(bytes.get(1..)?, 224)?;
        (head & 0x3f, length, used + 1)
    } else {
        let second = usize::from(*bytes.get(1)?);
        let (length, used) = match head & 3 {
            0 => (second, 2),
            1 => (second * 256 + usize::from(*bytes.get(2)?), 3),
            2 => (u32_at(bytes, 1)? as usize, 5),
            _ => (bytes.len() - 1, 1),
        };
        ((head >> 2) & 0x0f, length, used)
    };
    let end = used.checked_add(length)?;
    Some((tag, bytes.get(used..end)?, bytes.get(end..)?))
}

/// Parses a length of one, two or five octets; also returns its size. First octets from `end` on are not two-octet lengths.
fn field_length(bytes: &[u8], end: u8) -> Option<(usize, usize)> {
    match *bytes.first()? {
        first @ 0..192 => Some((usize::from(first), 1)),
        first if first < end => Some(((usize::from(first) - 192) * 256 + usize::from(*bytes.get(1)?) + 192, 2)),
        255 => Some((u32_at(bytes, 1)? as usize, 5)),
        _ => None,
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a key with the real structure and the given `created` time and lifetime in seconds; the secret material is zeros.
    fn key(name: &str, created: u32, lifetime: Option<u32>) -> String {
        let mut secret_key = vec![4];
        secret_key.extend(created.to_be_bytes());
        secret_key.extend([22; 40]);
        let mut fields = vec![5, 2];
        fields.extend(created.to_be_bytes());
        if let Some(seconds) = lifetime {
            fields.extend([5, 0x89]);
            fields.extend(seconds.to_be_bytes());
        }
        let mut signature = vec![4, 0x13, 22, 8, 0, fields.len() as u8];
        signature.extend(fields);
        signature.extend([0; 20]);
        let mut packets = Vec::new();
        for (tag, body) in [(5u8, secret_key), (13, b"a <a@b>".to_vec()), (2, signature)] {
            packets.extend([0xc0 | tag, body.len() as u8]);
            packets.extend(body);
        }
        let armored = format!(
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{}\n=AAAA\n-----END PGP PRIVATE KEY BLOCK-----",
            STANDARD.encode(packets)
        );
        STANDARD.encode(serde_json::json!({"name": name, "pgp_key": armored}).to_string())
    }

    fn time_at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn parse_reads_kind_and_expiry() {
        let info = KeyInfo::parse(&key("infra-provider:proxmox", 1000, Some(500))).unwrap();
        assert_eq!(info.provider(), Some("proxmox"));
        assert_eq!(info.expires, Some(time_at(1500)));
        assert!(!info.is_expired(time_at(1499)) && info.is_expired(time_at(1500)));
        assert_eq!(KeyInfo::parse(&key("automation", 1000, None)).unwrap().expires, None);
    }

    #[test]
    fn check_refuses_keys_of_other_providers() {
        let good = key("infra-provider:proxmox", 1000, Some(500));
        assert!(check_provider_key(&good, "proxmox", "docker/.env", time_at(1200)).is_ok());
        let cases = [
            (key("automation", 1000, Some(500)), "ordinary service account `automation`"),
            (key("infra-provider:Proxmox", 1000, Some(500)), "exact match"),
            (key("infra-provider:proxmox", 1000, Some(10)), "expired"),
            ("no key!".to_owned(), "not base64"),
            (STANDARD.encode("{}"), "not contain Omni"),
            (STANDARD.encode("{\"name\":\"x\",\"pgp_key\":\"y\"}"), "not an armored"),
        ];
        for (text, why) in cases {
            let failure = check_provider_key(&text, "proxmox", "docker/.env", time_at(1200)).unwrap_err();
            assert!(failure.cause.contains(why), "{why}: {failure}");
        }
    }

    #[test]
    fn token_expiry_is_read_from_kubeconfig() {
        let user = |name: &str, claims: &str| {
            let token = format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims));
            format!("{{name: {name}, user: {{token: {token}}}}}")
        };
        let config = |claims: &str| format!("users: [{}]\n", user("a", claims));
        assert_eq!(token_expiry(&config("{\"exp\": 1795316645}"), "demo"), Ok(Some(Some(1_795_316_645))));
        assert_eq!(token_expiry(&config("{}"), "demo"), Ok(Some(None)));
        assert_eq!(token_expiry("users: [{name: a, user: {exec: {}}}]\n", "demo"), Ok(None));
        let merged = [user("omni-demo2-ops", "{\"exp\": 1}"), user("omni-demo-ops", "{\"exp\": 2}")].join(", ");
        assert_eq!(token_expiry(&format!("users: [{merged}]\n"), "demo"), Ok(Some(Some(2))));
        for damaged in [config("no JSON").as_str(), "users: [", "", "clusters: []\n"] {
            assert!(token_expiry(damaged, "demo").is_err(), "{damaged}");
        }
    }

    #[test]
    fn damaged_packets_are_refused_without_a_panic() {
        let good = key("a", 1000, Some(500));
        let json: serde_json::Value = serde_json::from_slice(&STANDARD.decode(&good).unwrap()).unwrap();
        let packets = unarmor(json["pgp_key"].as_str().unwrap()).unwrap();
        for end in 0..packets.len() {
            let _ = expiry(&packets[..end]);
            let mut bent = packets.clone();
            bent[end] ^= 0xff;
            let _ = expiry(&bent);
        }
        assert_eq!(expiry(&packets[..packets.len() - 1]), None);
    }
}
