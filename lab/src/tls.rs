//! The lab's own certificate authority: what a private CA is in a real deployment.
//!
//! Keys are ECDSA P-256. Certificates follow RFC 5280 closely enough for OpenSSL in strict mode, Go's crypto/x509 and
//! rustls; they are made by hand because a certificate crate costs every `cargo xtask` more than these pages.

mod der;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

pub use der::civil;

const DAY: Duration = Duration::from_secs(86_400);
/// The longest life that Apple's and most browsers' rules ever allowed a server certificate.
const LIFE: Duration = Duration::from_secs(825 * 86_400);

const ECDSA_WITH_SHA256: &[u32] = &[1, 2, 840, 10045, 4, 3, 2];
const EC_PUBLIC_KEY: &[u32] = &[1, 2, 840, 10045, 2, 1];
const PRIME256V1: &[u32] = &[1, 2, 840, 10045, 3, 1, 7];
const COMMON_NAME: &[u32] = &[2, 5, 4, 3];
const ORGANIZATION: &[u32] = &[2, 5, 4, 10];
const SUBJECT_KEY_ID: &[u32] = &[2, 5, 29, 14];
const KEY_USAGE: &[u32] = &[2, 5, 29, 15];
const SUBJECT_ALT_NAME: &[u32] = &[2, 5, 29, 17];
const BASIC_CONSTRAINTS: &[u32] = &[2, 5, 29, 19];
const AUTHORITY_KEY_ID: &[u32] = &[2, 5, 29, 35];
const EXTENDED_KEY_USAGE: &[u32] = &[2, 5, 29, 37];
const SERVER_AUTH: &[u32] = &[1, 3, 6, 1, 5, 5, 7, 3, 1];

/// What a server shows: one good certificate, and the ones that go wrong in the field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leaf {
    /// For 127.0.0.1, ::1 and localhost, from a day ago for 825 days.
    #[default]
    Good,
    /// As `Good`, but its time ended yesterday.
    Expired,
    /// As `Good`, but its time begins tomorrow: what a client with a slow clock sees.
    NotYetValid,
    /// Valid in time, for `pve.example.invalid` only.
    WrongName,
    /// As `Good`, but signed by its own key: what a fresh Proxmox or a careless proxy shows.
    SelfSigned,
}

/// What lies on a server's disk for its TLS, as PEM.
pub struct Files {
    /// Its certificate, and the authority's.
    pub chain: String,
    /// Its private key.
    pub key: String,
}

/// A certificate authority that lives as long as the lab does; its key is never written anywhere.
pub struct Ca {
    identity: Identity,
    certificate: Vec<u8>,
}

/// A name with its key.
struct Identity {
    name: Vec<u8>,
    key: EcdsaKeyPair,
    pkcs8: Vec<u8>,
}

impl Identity {
    fn new(common_name: &str) -> Result<Identity> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .map_err(|_| anyhow!("cannot make a P-256 key: the system gave no random bytes"))?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random)
            .map_err(|why| anyhow!("cannot read back a new P-256 key: {why}"))?;
        Ok(Identity { name: name(common_name), key, pkcs8: pkcs8.as_ref().to_vec() })
    }

    fn public_key(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    /// RFC 5280 §4.2.1.2 (1): the SHA-1 of the public key's bits.
    fn key_id(&self) -> Vec<u8> {
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, self.public_key()).as_ref().to_vec()
    }
}

/// What a certificate says besides names and keys.
struct Content {
    from: SystemTime,
    until: SystemTime,
    extensions: Vec<Vec<u8>>,
}

impl Ca {
    /// A new authority with a new key. Fails only if the system has no random bytes.
    pub fn new() -> Result<Ca> {
        let mut mark = [0u8; 4];
        fill(&mut mark)?;
        // A name of its own: a trust store that holds the authorities of two labs stays unambiguous.
        let identity = Identity::new(&format!("Omni-Scale lab CA {}", hex(&mark)))?;
        let now = SystemTime::now();
        let content = Content {
            from: now - DAY,
            until: now + LIFE,
            extensions: vec![
                extension(BASIC_CONSTRAINTS, true, &der::sequence(&[der::yes(), der::unsigned(&[0])])),
                extension(KEY_USAGE, true, &der::named_bits(&[5, 6])), // keyCertSign, cRLSign
                extension(SUBJECT_KEY_ID, false, &der::octets(&identity.key_id())),
            ],
        };
        let certificate = certify(&identity, &identity, &content)?;
        Ok(Ca { identity, certificate })
    }

    /// The authority's certificate as PEM: what goes into `--cacert`, `SSL_CERT_FILE` or a bundle.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// TLS 1.3 for a server with a good certificate.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>> {
        self.server_config_with(Leaf::Good)
    }

    /// TLS 1.3 for a server that shows the given certificate.
    pub fn server_config_with(&self, leaf: Leaf) -> Result<Arc<rustls::ServerConfig>> {
        self.server_config_and_files(leaf).map(|(config, _)| config)
    }

    /// The same, and the files that such a server would have.
    pub fn server_config_and_files(&self, leaf: Leaf) -> Result<(Arc<rustls::ServerConfig>, Files)> {
        let (certificate, key) = self.issue(leaf)?;
        let above = if leaf == Leaf::SelfSigned { String::new() } else { self.pem() };
        let files = Files { chain: pem("CERTIFICATE", &certificate) + &above, key: pem("PRIVATE KEY", &key) };
        let chain = vec![CertificateDer::from(certificate)];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
        let mut config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .context("TLS: no protocol version")?
                .with_no_client_auth()
                .with_single_cert(chain, key)
                .with_context(|| format!("TLS: the {leaf:?} certificate does not fit its key"))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok((Arc::new(config), files))
    }

    /// A new certificate (DER) and its key (PKCS #8).
    fn issue(&self, leaf: Leaf) -> Result<(Vec<u8>, Vec<u8>)> {
        let now = SystemTime::now();
        let (from, until) = match leaf {
            Leaf::Expired => (now - DAY * 91, now - DAY),
            Leaf::NotYetValid => (now + DAY, now + LIFE),
            _ => (now - DAY, now + LIFE),
        };
        let (common_name, names) = match leaf {
            Leaf::WrongName => ("pve.example.invalid", vec![dns("pve.example.invalid")]),
            _ => {
                let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                ("localhost", [vec![dns("localhost")], addresses.map(ip).to_vec()].concat())
            }
        };
        let subject = Identity::new(common_name)?;
        let issuer = if leaf == Leaf::SelfSigned { &subject } else { &self.identity };
        let content = Content {
            from,
            until,
            extensions: vec![
                extension(BASIC_CONSTRAINTS, true, &der::sequence(&[])),
                extension(KEY_USAGE, true, &der::named_bits(&[0])), // digitalSignature
                extension(EXTENDED_KEY_USAGE, false, &der::sequence(&[der::oid(SERVER_AUTH)])),
                extension(SUBJECT_ALT_NAME, false, &der::sequence(&names)),
                extension(SUBJECT_KEY_ID, false, &der::octets(&subject.key_id())),
                extension(AUTHORITY_KEY_ID, false, &der::sequence(&[der::implicit(0, &issuer.key_id())])),
            ],
        };
        Ok((certify(issuer, &subject, &content)?, subject.pkcs8))
    }
}

/// The certificate of `subject`, signed by `issuer` (RFC 5280 §4.1).
fn certify(issuer: &Identity, subject: &Identity, content: &Content) -> Result<Vec<u8>> {
    let algorithm = der::sequence(&[der::oid(ECDSA_WITH_SHA256)]);
    let public_key = der::sequence(&[
        der::sequence(&[der::oid(EC_PUBLIC_KEY), der::oid(PRIME256V1)]),
        der::bits(subject.public_key()),
    ]);
    let to_be_signed = der::sequence(&[
        der::explicit(0, &der::unsigned(&[2])), // version 3
        serial()?,
        algorithm.clone(),
        issuer.name.clone(),
        der::sequence(&[der::time(content.from), der::time(content.until)]),
        subject.name.clone(),
        public_key,
        der::explicit(3, &der::sequence(&content.extensions)),
    ]);
    let signature = issuer
        .key
        .sign(&SystemRandom::new(), &to_be_signed)
        .map_err(|_| anyhow!("cannot sign a certificate: the system gave no random bytes"))?;
    Ok(der::sequence(&[to_be_signed, algorithm, der::bits(signature.as_ref())]))
}

/// 127 random bits, never zero: unique within any authority.
fn serial() -> Result<Vec<u8>> {
    let mut bytes = [0u8; 16];
    fill(&mut bytes)?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(der::unsigned(&bytes))
}

fn name(common_name: &str) -> Vec<u8> {
    let attribute = |kind, value| der::set_of_one(der::sequence(&[der::oid(kind), der::text(value)]));
    der::sequence(&[attribute(ORGANIZATION, "Omni-Scale lab"), attribute(COMMON_NAME, common_name)])
}

fn extension(kind: &[u32], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { der::yes() } else { Vec::new() };
    der::sequence(&[der::oid(kind), critical, der::octets(value)])
}

fn dns(name: &str) -> Vec<u8> {
    der::implicit(2, name.as_bytes())
}

fn ip(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(four) => der::implicit(7, &four.octets()),
        IpAddr::V6(six) => der::implicit(7, &six.octets()),
    }
}

/// PEM with lines of 64 characters (RFC 7468).
pub fn pem(label: &str, bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// Random bytes from the system, for keys, tickets and identifiers.
pub fn fill(bytes: &mut [u8]) -> Result<()> {
    SystemRandom::new().fill(bytes).map_err(|_| anyhow!("the system gave no random bytes"))
}

/// Lowercase hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{CertificateError, Error, RootCertStore};

    /// What a client that trusts only `ca` says of a certificate for `host`.
    fn verdict(ca: &Ca, leaf: Leaf, host: &str) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let (certificate, _key) = ca.issue(leaf).unwrap();
        let host = ServerName::try_from(host.to_owned()).unwrap();
        verifier
            .verify_server_cert(&CertificateDer::from(certificate), &[], &host, &[], UnixTime::now())
            .map(|_verified| ())
    }

    #[test]
    fn the_good_certificate_is_good_for_every_loopback_name() {
        let ca = Ca::new().unwrap();
        for host in ["127.0.0.1", "::1", "localhost"] {
            assert_eq!(verdict(&ca, Leaf::Good, host), Ok(()), "{host}");
        }
        assert!(verdict(&ca, Leaf::Good, "example.org").is_err());
    }

    #[test]
    fn each_bad_certificate_is_bad_for_its_own_reason() {
        let ca = Ca::new().unwrap();
        let why = |leaf| match verdict(&ca, leaf, "localhost") {
            Err(Error::InvalidCertificate(why)) => why,
            other => panic!("{leaf:?}: {other:?}"),
        };
        assert!(matches!(why(Leaf::Expired), CertificateError::ExpiredContext { .. }));
        assert!(matches!(why(Leaf::NotYetValid), CertificateError::NotValidYetContext { .. }));
        assert!(matches!(why(Leaf::WrongName), CertificateError::NotValidForNameContext { .. }));
        assert_eq!(why(Leaf::SelfSigned), CertificateError::UnknownIssuer);
    }

    #[test]
    fn another_authority_is_not_trusted() {
        let (ours, theirs) = (Ca::new().unwrap(), Ca::new().unwrap());
        assert_ne!(ours.pem(), theirs.pem());
        let (certificate, _key) = theirs.issue(Leaf::Good).unwrap();
        assert_ne!(certificate, theirs.issue(Leaf::Good).unwrap().0);
        assert_eq!(ours.server_config().unwrap().alpn_protocols, [b"http/1.1".to_vec()]);
    }

    #[test]
    fn pem_lines_are_64_wide() {
        let text = pem("X", &[0; 100]);
        let widths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(widths, [17, 64, 64, 8, 15]);
    }
}
