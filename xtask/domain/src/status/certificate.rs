//! Certificates and their keys, read: a small reader of DER (X.690, RFC 5280), since a report on a file must not depend on
//! which openssl is there.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::clock;

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub der: Vec<u8>,
    /// The name as it stands in the certificate: compared byte by byte, as chains are built.
    pub subject: Vec<u8>,
    pub issuer: Vec<u8>,
    /// Seconds since 1970.
    pub not_before: u64,
    pub not_after: u64,
    pub dns: Vec<String>,
    pub addresses: Vec<IpAddr>,
    /// The key itself, as the certificate holds it, without its algorithm.
    pub public_key: Vec<u8>,
    /// It may sign others.
    pub authority: bool,
}

impl Certificate {
    /// Understands one certificate.
    ///
    /// # Errors
    /// That it is none.
    pub fn parse(der: &[u8]) -> Result<Certificate, String> {
        certificate(der).ok_or_else(|| "it is not a valid X.509 certificate".to_owned())
    }

    pub fn self_signed(&self) -> bool {
        self.subject == self.issuer
    }

    /// The common name of the subject, for messages.
    pub fn name(&self) -> String {
        common_name(&self.subject).unwrap_or_else(|| "without a name".to_owned())
    }

    /// The common name of the issuer.
    pub fn issuer_name(&self) -> Option<String> {
        common_name(&self.issuer)
    }

    /// Whether a client that asks for `host` takes it (RFC 6125: a star stands for one whole label, the first).
    pub fn covers(&self, host: &str) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.dns.iter().any(|name| {
            let name = name.to_ascii_lowercase();
            match name.strip_prefix("*.") {
                Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
                None => name == host,
            }
        })
    }

    /// The names that it covers, in words.
    pub fn names(&self) -> String {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let names: Vec<String> = self.dns.iter().cloned().chain(addresses).collect();
        if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") }
    }
}

/// The certificates in a PEM text, in its order, as Go reads it (`crypto/tls` X509KeyPair): text between them is passed by.
///
/// # Errors
/// What is wrong with which one.
pub fn read_pem(text: &str) -> Result<Vec<Certificate>, String> {
    let mut found = Vec::new();
    for (label, body) in blocks(text) {
        if label == "TRUSTED CERTIFICATE" {
            return Err("a certificate in openssl's own form (TRUSTED CERTIFICATE), which Omni passes by".to_owned());
        }
        if label != "CERTIFICATE" {
            continue;
        }
        let der = body.ok_or_else(|| format!("certificate {} is not valid base64", found.len() + 1))?;
        found.push(Certificate::parse(&der).map_err(|why| format!("certificate {}: {why}", found.len() + 1))?);
    }
    if found.is_empty() && text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(
            "there is text before `-----BEGIN CERTIFICATE-----` on its line, so Omni does not see the certificate"
                .to_owned(),
        );
    }
    Ok(found)
}

/// Whether the private key in `pem` belongs to `certificate`; `None` for a kind of key that does not tell (Ed25519).
///
/// # Errors
/// Why it is no key that a server can use.
pub fn key_fits(certificate: &Certificate, pem: &str) -> Result<Option<bool>, String> {
    if pem.contains("Proc-Type: 4,ENCRYPTED") || pem.contains("BEGIN ENCRYPTED PRIVATE KEY") {
        return Err("it has a passphrase, which Omni cannot enter".to_owned());
    }
    for (label, body) in blocks(pem) {
        if !label.ends_with("PRIVATE KEY") {
            continue;
        }
        let der = body.ok_or("it is not valid base64")?;
        let public = match label.as_str() {
            "RSA PRIVATE KEY" => modulus(&der, 1),
            "EC PRIVATE KEY" => point(&der),
            _ => inner_key(&der),
        };
        let Some(public) = public else { return Ok(None) };
        // An RSA key stands in the certificate as SEQUENCE { modulus, exponent }.
        let own = modulus(&certificate.public_key, 0).unwrap_or_else(|| certificate.public_key.clone());
        return Ok(Some(own == public));
    }
    Err("it contains no private key".to_owned())
}

/// The public half inside PKCS#8: RSA's modulus, or the point of an elliptic curve.
fn inner_key(der: &[u8]) -> Option<Vec<u8>> {
    let (_, body, _) = tlv(der)?;
    let (_, _, rest) = tlv(body)?;
    let (_, _, rest) = tlv(rest)?;
    let (0x04, key, _) = tlv(rest)? else { return None };
    modulus(key, 1).or_else(|| point(key))
}

/// The first INTEGER after `skip` others in a SEQUENCE, if it is long enough for a modulus.
fn modulus(der: &[u8], skip: usize) -> Option<Vec<u8>> {
    let (0x30, mut body, _) = tlv(der)? else { return None };
    for _ in 0..skip {
        (_, _, body) = tlv(body)?;
    }
    let (0x02, number, _) = tlv(body)? else { return None };
    (number.len() > 64).then(|| number.to_vec())
}

/// The public point of an ECPrivateKey (RFC 5915), which is optional there.
fn point(der: &[u8]) -> Option<Vec<u8>> {
    let (0x30, mut body, _) = tlv(der)? else { return None };
    while let Some((tag, content, rest)) = tlv(body) {
        if tag == 0xa1 {
            let (0x03, bits, _) = tlv(content)? else { return None };
            return Some(bits.get(1..)?.to_vec());
        }
        body = rest;
    }
    None
}

/// Label and contents of each PEM block; `None` for contents that are no base64.
fn blocks(text: &str) -> Vec<(String, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.match_indices("-----BEGIN ").map(|(at, _)| at).find(|at| begins_line(rest, *at)) {
        let after = &rest[at + "-----BEGIN ".len()..];
        let Some((label, after)) = after.split_once("-----") else { break };
        let end = format!("-----END {label}-----");
        let Some((body, after)) = after.split_once(end.as_str()) else { break };
        let joined: String = body.split_whitespace().collect();
        found.push((label.to_owned(), STANDARD.decode(joined).ok()));
        rest = after;
    }
    found
}

fn begins_line(text: &str, at: usize) -> bool {
    at == 0 || text.as_bytes()[at - 1] == b'\n'
}

/// Tag, contents and what follows one value.
fn tlv(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, &first) = (bytes.first()?, bytes.get(1)?);
    let (length, head) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x84 => {
            let count = usize::from(first & 0x7f);
            let digits = bytes.get(2..2 + count)?;
            (digits.iter().fold(0usize, |sum, &digit| sum << 8 | usize::from(digit)), 2 + count)
        }
        _ => return None,
    };
    let end = head.checked_add(length)?;
    Some((tag, bytes.get(head..end)?, bytes.get(end..)?))
}

/// One value with its tag and length, and what follows it.
fn whole(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, _, rest) = tlv(bytes)?;
    Some((&bytes[..bytes.len() - rest.len()], rest))
}

fn certificate(der: &[u8]) -> Option<Certificate> {
    let (0x30, body, _) = tlv(der)? else { return None };
    let (0x30, mut rest, _) = tlv(body)? else { return None };
    // Version, which may be left out.
    if rest.first() == Some(&0xa0) {
        (_, _, rest) = tlv(rest)?;
    }
    let (_, _, rest) = tlv(rest)?;
    let (_, _, rest) = tlv(rest)?;
    let (issuer, rest) = whole(rest)?;
    let (0x30, validity, rest) = tlv(rest)? else { return None };
    let (before_tag, before, validity) = tlv(validity)?;
    let (after_tag, after, _) = tlv(validity)?;
    let (subject, rest) = whole(rest)?;
    let (0x30, key, mut rest) = tlv(rest)? else { return None };
    let (_, _, bits) = tlv(key)?;
    let (0x03, bits, _) = tlv(bits)? else { return None };
    let mut found = Certificate {
        der: whole(der)?.0.to_vec(),
        subject: subject.to_vec(),
        issuer: issuer.to_vec(),
        not_before: time(before_tag, before)?,
        not_after: time(after_tag, after)?,
        dns: Vec::new(),
        addresses: Vec::new(),
        public_key: bits.get(1..)?.to_vec(),
        authority: false,
    };
    while let Some((tag, content, after)) = tlv(rest) {
        if tag == 0xa3 {
            let (0x30, list, _) = tlv(content)? else { return None };
            extensions(list, &mut found)?;
        }
        rest = after;
    }
    Some(found)
}

fn extensions(mut list: &[u8], found: &mut Certificate) -> Option<()> {
    while !list.is_empty() {
        let (0x30, extension, rest) = tlv(list)? else { return None };
        list = rest;
        let (0x06, oid, mut value) = tlv(extension)? else { return None };
        if value.first() == Some(&0x01) {
            (_, _, value) = tlv(value)?;
        }
        let (0x04, value, _) = tlv(value)? else { return None };
        match oid {
            // subjectAltName
            [0x55, 0x1d, 0x11] => {
                let (0x30, mut names, _) = tlv(value)? else { return None };
                while let Some((tag, name, rest)) = tlv(names) {
                    match (tag, name.len()) {
                        (0x82, _) => found.dns.push(String::from_utf8_lossy(name).into_owned()),
                        (0x87, 4) => found.addresses.push(<[u8; 4]>::try_from(name).ok()?.into()),
                        (0x87, 16) => found.addresses.push(<[u8; 16]>::try_from(name).ok()?.into()),
                        _ => {}
                    }
                    names = rest;
                }
            }
            // basicConstraints
            [0x55, 0x1d, 0x13] => {
                let (0x30, constraints, _) = tlv(value)? else { return None };
                found.authority = matches!(tlv(constraints), Some((0x01, [0xff], _)));
            }
            _ => {}
        }
    }
    Some(())
}

/// UTCTime and GeneralizedTime in the forms that RFC 5280 allows.
fn time(tag: u8, text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        0x17 => {
            let year: i64 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        0x18 => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let field = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    clock::unix(year, field(0)?, field(2)?, [field(4)?, field(6)?, field(8)?])
}

/// The last common name in a Name.
fn common_name(name: &[u8]) -> Option<String> {
    let (0x30, mut sets, _) = tlv(name)? else { return None };
    let (mut found, mut other) = (None, None);
    while let Some((_, set, rest)) = tlv(sets) {
        let (0x30, pair, _) = tlv(set)? else { return None };
        let (0x06, oid, value) = tlv(pair)? else { return None };
        let (_, text, _) = tlv(value)?;
        let text = String::from_utf8_lossy(text).into_owned();
        if oid == [0x55, 0x04, 0x03] {
            found = Some(text)
        } else {
            other = Some(text)
        }
        sets = rest;
    }
    found.or(other)
}
