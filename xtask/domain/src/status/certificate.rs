//! Certificates and their keys, read: a report on a file must not depend on which openssl is there.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_parser::asn1_rs::{Any, Class, Tag};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub der: Vec<u8>,
    /// The name as it is in the certificate: compared byte by byte, as chains are built.
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

    pub fn is_self_signed(&self) -> bool {
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
        if names.is_empty() { "no name".to_owned() } else { names.join(", ") }
    }
}

/// The certificates in a PEM text, in its order, as Go reads it (`crypto/tls` X509KeyPair): text between them is passed by.
///
/// # Errors
/// What is wrong with which one.
pub fn read_pem(text: &str) -> Result<Vec<Certificate>, String> {
    let mut found = Vec::new();
    for (label, body) in pem_blocks(text) {
        if label == "TRUSTED CERTIFICATE" {
            return Err("a certificate in OpenSSL's own format (TRUSTED CERTIFICATE), which Omni ignores".to_owned());
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
/// Why a server cannot use it.
pub fn key_matches(certificate: &Certificate, pem: &str) -> Result<Option<bool>, String> {
    if pem.contains("Proc-Type: 4,ENCRYPTED") || pem.contains("BEGIN ENCRYPTED PRIVATE KEY") {
        return Err("it has a passphrase, which Omni cannot enter".to_owned());
    }
    for (label, body) in pem_blocks(pem) {
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
        // An RSA key is in the certificate as SEQUENCE { modulus, exponent }.
        let own = modulus(&certificate.public_key, 0).unwrap_or_else(|| certificate.public_key.clone());
        return Ok(Some(own == public));
    }
    Err("it contains no private key".to_owned())
}

/// The public half inside PKCS#8: RSA's modulus, or the point of an elliptic curve.
fn inner_key(der: &[u8]) -> Option<Vec<u8>> {
    let key = sequence_items(der)?.into_iter().nth(2).filter(|field| field.tag() == Tag::OctetString)?;
    modulus(key.data, 1).or_else(|| point(key.data))
}

/// The INTEGER at a place in a SEQUENCE, if it is long enough for a modulus.
fn modulus(der: &[u8], at: usize) -> Option<Vec<u8>> {
    let number = sequence_items(der)?.into_iter().nth(at).filter(|field| field.tag() == Tag::Integer)?;
    (number.data.len() > 64).then(|| number.data.to_vec())
}

/// The public point of an ECPrivateKey (RFC 5915), which is optional there.
fn point(der: &[u8]) -> Option<Vec<u8>> {
    let is_point = |field: &Any<'_>| field.class() == Class::ContextSpecific && field.tag() == Tag(1);
    let field = sequence_items(der)?.into_iter().find(is_point)?;
    let (_, bits) = Any::from_der(field.data).ok()?;
    (bits.tag() == Tag::BitString).then(|| bits.data.get(1..).map(<[u8]>::to_vec))?
}

/// What is in a SEQUENCE.
fn sequence_items(der: &[u8]) -> Option<Vec<Any<'_>>> {
    let (_, sequence) = Any::from_der(der).ok().filter(|(_, value)| value.tag() == Tag::Sequence)?;
    let (mut rest, mut found) = (sequence.data, Vec::new());
    while !rest.is_empty() {
        let (after, value) = Any::from_der(rest).ok()?;
        found.push(value);
        rest = after;
    }
    Some(found)
}

/// Label and contents of each PEM block; `None` for contents that are no base64.
pub fn pem_blocks(text: &str) -> Vec<(String, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.match_indices("-----BEGIN ").map(|(at, _)| at).find(|at| is_at_line_start(rest, *at)) {
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

fn is_at_line_start(text: &str, at: usize) -> bool {
    at == 0 || text.as_bytes()[at - 1] == b'\n'
}

fn certificate(der: &[u8]) -> Option<Certificate> {
    let (rest, read) = X509Certificate::from_der(der).ok()?;
    let (mut dns, mut addresses) = (Vec::new(), Vec::new());
    let names = read.subject_alternative_name().ok()?;
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(name) => dns.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            _ => {}
        }
    }
    Some(Certificate {
        der: der[..der.len() - rest.len()].to_vec(),
        subject: read.subject().as_raw().to_vec(),
        issuer: read.issuer().as_raw().to_vec(),
        not_before: u64::try_from(read.validity().not_before.timestamp()).ok()?,
        not_after: u64::try_from(read.validity().not_after.timestamp()).ok()?,
        dns,
        addresses,
        public_key: read.public_key().subject_public_key.data.to_vec(),
        authority: read.basic_constraints().ok()?.is_some_and(|constraints| constraints.value.ca),
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// The last common name in a Name, or else its last attribute.
fn common_name(name: &[u8]) -> Option<String> {
    let (_, name) = X509Name::from_der(name).ok()?;
    let found = name.iter_common_name().last().or(name.iter_attributes().last())?;
    Some(String::from_utf8_lossy(found.as_slice()).into_owned())
}
