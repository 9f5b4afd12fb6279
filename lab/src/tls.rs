//! The lab's own certificate authority, in place of the private CA of a real deployment.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

const DAY: Duration = Duration::from_secs(86_400);
/// The longest lifetime that the rules of Apple and most browsers ever allowed for a server certificate.
const LIFE: Duration = Duration::from_secs(825 * 86_400);

/// The certificate that a server presents: a valid one, or one with a problem that real deployments have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leaf {
    /// For 127.0.0.1, ::1 and localhost; valid from a day ago for 825 days.
    #[default]
    Good,
    /// As `Good`, but expired yesterday.
    Expired,
    /// As `Good`, but valid from tomorrow: what a client with a slow clock sees.
    NotYetValid,
    /// Not expired, but for `pve.example.invalid` only.
    WrongName,
    /// As `Good`, but self-signed, like that of a fresh Proxmox or a careless proxy.
    SelfSigned,
}

/// The TLS files of a server, as PEM.
#[derive(Clone)]
pub struct Files {
    /// The server's certificate, followed by the authority's.
    pub chain: String,
    pub key: String,
}

/// The certificates of a server, and the choice of which to present.
struct CertificateResolver {
    leaf: Box<dyn Fn() -> Leaf + Send + Sync>,
    current: Arc<CertifiedKey>,
    good: Arc<CertifiedKey>,
}

impl std::fmt::Debug for CertificateResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificateResolver")
    }
}

impl ResolvesServerCert for CertificateResolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(if (self.leaf)() == Leaf::Good { &self.good } else { &self.current }))
    }
}

/// A certificate authority that exists as long as the lab does. Its key is never written anywhere.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    /// Creates an authority with a new key. Fails only if the system has no random bytes.
    pub fn new() -> Result<Ca> {
        // A unique name, so that a trust store with the authorities of two labs is unambiguous.
        let mut params = params(&format!("Omni-Scale lab CA {}", random_hex(4)?));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = params.self_signed(&key).context("cannot sign the authority's certificate")?;
        Ok(Ca { pem: certificate.pem(), issuer: Issuer::new(params, key) })
    }

    /// Returns the authority's certificate as PEM, for `--cacert`, `SSL_CERT_FILE` or a bundle.
    pub fn pem(&self) -> String {
        self.pem.clone()
    }

    /// Returns a TLS 1.3 configuration that evaluates `leaf` at each handshake, and presents the good certificate or else the
    /// one that `leaf` returns now. Also returns the server's current files, and those with the good certificate.
    pub fn server_config_showing(
        &self,
        leaf: impl Fn() -> Leaf + Send + Sync + 'static,
    ) -> Result<(Arc<rustls::ServerConfig>, Files, Files)> {
        let (good, good_files) = self.certified(Leaf::Good)?;
        let (current, files) = match leaf() {
            Leaf::Good => (Arc::clone(&good), good_files.clone()),
            other => self.certified(other)?,
        };
        let resolver = Arc::new(CertificateResolver { leaf: Box::new(leaf), current, good });
        let mut config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .context("TLS: no protocol version")?
                .with_no_client_auth()
                .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok((Arc::new(config), files, good_files))
    }

    fn certified(&self, leaf: Leaf) -> Result<(Arc<CertifiedKey>, Files)> {
        let (certificate, key) = self.issue(leaf)?;
        let above = if leaf == Leaf::SelfSigned { "" } else { &self.pem };
        let files = Files { chain: certificate.pem() + above, key: key.serialize_pem() };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = any_supported_type(&key).with_context(|| format!("TLS: the key of the {leaf:?} certificate"))?;
        Ok((Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)), files))
    }

    /// Issues a certificate and its key.
    fn issue(&self, leaf: Leaf) -> Result<(rcgen::Certificate, KeyPair)> {
        let now = SystemTime::now();
        let name = if leaf == Leaf::WrongName { "pve.example.invalid" } else { "localhost" };
        let mut params = params(name);
        params.subject_alt_names.push(SanType::DnsName(name.try_into().context("the name of a certificate")?));
        if leaf != Leaf::WrongName {
            let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            params.subject_alt_names.extend(addresses.map(SanType::IpAddress));
        }
        match leaf {
            Leaf::Expired => (params.not_before, params.not_after) = ((now - DAY * 91).into(), (now - DAY).into()),
            Leaf::NotYetValid => params.not_before = (now + DAY).into(),
            _ => {}
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().context("cannot make a key")?;
        let signed = match leaf {
            Leaf::SelfSigned => params.self_signed(&key),
            _ => params.signed_by(&key, &self.issuer),
        };
        Ok((signed.context("cannot sign a certificate")?, key))
    }
}

/// Returns the parameters of a certificate for this name, valid from a day ago.
fn params(common_name: &str) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::OrganizationName, "Omni-Scale lab");
    params.distinguished_name.push(DnType::CommonName, common_name);
    (params.not_before, params.not_after) = ((now - DAY).into(), (now + LIFE).into());
    params
}

/// Fills a buffer with random bytes from the system, for keys, tickets and identifiers.
pub fn fill(bytes: &mut [u8]) -> Result<()> {
    SystemRandom::new().fill(bytes).map_err(|_| anyhow!("the system gave no random bytes"))
}

/// Returns this many random bytes from the system, in hexadecimal.
pub fn random_hex(bytes: usize) -> Result<String> {
    let mut buffer = vec![0u8; bytes];
    fill(&mut buffer)?;
    Ok(hex(&buffer))
}

/// Returns a random version 4 UUID.
pub fn uuid(random: &mut fastrand::Rng) -> String {
    let hex = format!("{:032x}", random.u128(..));
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30])
}

/// Formats bytes in lowercase hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
