//! The client: keeps connections open and says what went wrong, where.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Uri;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Reply, within};

/// Real time for one whole exchange.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections kept for one host.
const IDLE: usize = 8;
/// The largest body that is read, in bytes.
const BODY_LIMIT: usize = 64 << 20;

/// An HTTP client that trusts one authority, or everybody. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    tls: TlsConnector,
    idle: Mutex<HashMap<String, Vec<SendRequest<Full<Bytes>>>>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub struct ClientError {
    /// `GET https://127.0.0.1:8006/…`, without query.
    pub request: String,
    /// The whole chain of causes in one line.
    pub cause: String,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.request, self.cause)
    }
}

impl std::error::Error for ClientError {}

impl Client {
    /// A client that trusts the certificates in `ca_pem`; `None` trusts every certificate. Fails if the PEM holds none.
    pub fn new(ca_pem: Option<&str>) -> Result<Client> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .context("TLS: no protocol version")?;
        let config = match ca_pem {
            Some(pem) => builder.with_root_certificates(roots(pem)?).with_no_client_auth(),
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(TrustEverybody(provider)))
                .with_no_client_auth(),
        };
        let shared = Shared { tls: TlsConnector::from(Arc::new(config)), idle: Mutex::default() };
        Ok(Client { shared: Arc::new(shared) })
    }

    /// Sends a request and reads the whole answer, whatever its status. Gives up after 30 s of real time.
    pub async fn request(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, ClientError> {
        let fail = |cause: String| {
            let shown = url.split('?').next().unwrap_or(url);
            ClientError { request: format!("{method} {shown}"), cause }
        };
        match within(TIMEOUT, self.exchange(method, url, headers, body.into())).await {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(why)) => Err(fail(format!("{why:#}"))),
            None => Err(fail(format!("no answer within {} s", TIMEOUT.as_secs()))),
        }
    }

    async fn exchange(&self, method: &str, url: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Reply> {
        let uri: Uri = url.parse().context("this is no URL")?;
        let target = Target::of(&uri)?;
        let request = || -> Result<hyper::Request<Full<Bytes>>> {
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            let mut request = hyper::Request::builder().method(method).uri(path).header("host", &target.authority);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request.body(Full::new(body.clone())).context("this is no valid request")
        };
        while let Some(mut connection) = self.take(&target) {
            if connection.ready().await.is_err() {
                continue; // the server closed it while it was idle
            }
            match connection.send_request(request()?).await {
                Ok(response) => return self.read(response, connection, &target).await,
                Err(why) if why.is_canceled() => {} // closed under our hands, nothing was sent
                Err(why) => return Err(why).context("the connection broke"),
            }
        }
        let mut connection = self.connect(&target).await?;
        let response = connection.send_request(request()?).await.context("the connection broke")?;
        self.read(response, connection, &target).await
    }

    async fn connect(&self, target: &Target) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .with_context(|| format!("cannot connect to {}", target.authority))?;
        let _ = stream.set_nodelay(true);
        if !target.secure {
            return start(stream).await;
        }
        let name = ServerName::try_from(target.host.clone()).context("this host name fits no certificate")?;
        let stream = self.shared.tls.connect(name, stream).await.context("TLS")?;
        start(stream).await
    }

    async fn read(
        &self,
        response: hyper::Response<hyper::body::Incoming>,
        connection: SendRequest<Full<Bytes>>,
        target: &Target,
    ) -> Result<Reply> {
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, BODY_LIMIT).collect().await {
            Ok(body) => body.to_bytes(),
            Err(why) => return Err(anyhow::anyhow!("the answer broke off: {why}")),
        };
        self.give_back(connection, target);
        let own = head.extensions.get::<ReasonPhrase>();
        let headers = head.headers.iter();
        Ok(Reply {
            status: head.status.as_u16(),
            reason: own.map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).into_owned()),
            headers: headers
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            body,
        })
    }

    fn take(&self, target: &Target) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.get_mut(&target.key())?.pop()
    }

    fn give_back(&self, connection: SendRequest<Full<Bytes>>, target: &Target) {
        if connection.is_closed() {
            return;
        }
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = idle.entry(target.key()).or_default();
        if idle.len() < IDLE {
            idle.push(connection);
        }
    }
}

/// Where a request goes.
struct Target {
    secure: bool,
    host: String,
    port: u16,
    authority: String,
}

impl Target {
    fn of(uri: &Uri) -> Result<Target> {
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => anyhow::bail!("the URL must begin with https:// or http://"),
        };
        let authority = uri.authority().context("the URL has no host")?;
        Ok(Target {
            secure,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
        })
    }

    fn key(&self) -> String {
        format!("{}{}", if self.secure { "s:" } else { "p:" }, self.authority)
    }
}

async fn start(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.context("HTTP")?;
    // It ends with the sender; its errors reach us through the request.
    tokio::spawn(connection);
    Ok(sender)
}

fn roots(pem: &str) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|why| anyhow::anyhow!("the CA bundle is broken: {why}"))?;
        store.add(certificate).context("the CA bundle holds something that is no authority")?;
    }
    anyhow::ensure!(!store.is_empty(), "the CA bundle holds no certificate");
    Ok(store)
}

/// `insecureSkipVerify`: any certificate will do, though the handshake itself must still be right.
#[derive(Debug)]
struct TrustEverybody(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustEverybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
