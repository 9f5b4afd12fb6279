//! A small HTTP/1.1 server and client for the simulated services, over plain TCP or TLS.
//!
//! HTTP/2 is left out on purpose: Proxmox VE puts its error text into the status line, which HTTP/2 does not have
//! (pve-http-server 5 `AnyEvent.pm:293`, read by go-proxmox v0.3.2 `proxmox.go:294`).

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Bytes, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Timeout of a client's request and its response, in real time.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest body that is read, in bytes.
const BODY_LIMIT: usize = 64 << 20;

/// The media type of JSON responses, as pveproxy sends it.
pub const JSON: &str = "application/json;charset=UTF-8";

/// A request with its whole body. The path is as it was sent, still percent-encoded.
pub type Request = hyper::Request<Bytes>;

/// Returns the first value of a header, or `None` if it is missing or not text.
pub fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// A response: what a handler returns to the server, and what the client returns to its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code, 100 to 999.
    pub status: u16,
    /// The reason phrase; `None` for the standard phrase of the status.
    pub reason: Option<String>,
    /// Headers, without the length and date that the server adds.
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// Creates a response without a body.
    pub fn empty(status: u16) -> Reply {
        Reply { status, reason: None, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Creates a response with a body of the given media type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Reply {
        Reply { body: body.into(), ..Reply::empty(status) }.with_header("content-type", content_type)
    }

    /// Creates a JSON response.
    pub fn json(status: u16, value: &Value) -> Reply {
        Reply::new(status, JSON, value.to_string())
    }

    /// Sets the reason phrase. Characters that are not allowed in a status line become spaces.
    pub fn with_reason(mut self, reason: &str) -> Reply {
        let clean = |c: char| if c == '\t' || (c >= ' ' && c != '\x7f') { c } else { ' ' };
        self.reason = Some(reason.chars().map(clean).collect());
        self
    }

    /// Adds a header. An invalid value is ignored.
    pub fn with_header(mut self, name: &'static str, value: &str) -> Reply {
        self.headers.extend(HeaderValue::try_from(value).ok().map(|value| (HeaderName::from_static(name), value)));
        self
    }

    /// Returns the first value of a header, or `None` if it is missing or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Returns the reason phrase, by default the standard phrase of the status.
    pub fn reason(&self) -> &str {
        let usual = || StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        self.reason.as_deref().or_else(usual).unwrap_or("")
    }

    /// Returns the status line without the version, e.g. `403 Permission check failed (/, Sys.Audit)`.
    pub fn status_line(&self) -> String {
        format!("{} {}", self.status, self.reason())
    }

    /// Parses the body as JSON.
    pub fn value(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
    }
}

/// How a server listens and responds.
#[derive(Clone)]
pub struct Listen {
    /// The address; port 0 picks a free port.
    pub addr: SocketAddr,
    /// `None` for plain HTTP.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Real time to wait before each response, to simulate a slow network.
    pub latency: Duration,
}

/// A running server. Dropping it stops it and closes all its connections.
pub struct Server {
    addr: SocketAddr,
    secure: bool,
    accepting: tokio::task::JoinHandle<()>,
}

impl Server {
    /// The address of the server, with its actual port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL, `https://127.0.0.1:PORT` or `http://…`, without a trailing slash.
    pub fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Handles a request; `None` drops the connection.
type Handler = Arc<dyn Fn(Request) -> Pin<Box<dyn Future<Output = Option<Reply>> + Send>> + Send + Sync>;

/// Starts a server that handles every request with `handler`. Fails if the address cannot be bound.
pub async fn serve<H, F>(listen: Listen, handler: H) -> Result<Server>
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Option<Reply>> + Send + 'static,
{
    let listener = TcpListener::bind(listen.addr).await.with_context(|| format!("cannot listen on {}", listen.addr))?;
    let addr = listener.local_addr().context("cannot read the address that was bound")?;
    let secure = listen.tls.is_some();
    let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
    let accepting = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            match listener.accept().await {
                Ok((stream, _peer)) => {
                    drop(connections.spawn(connection(stream, listen.clone(), Arc::clone(&handler))))
                }
                // Out of file descriptors, or the peer has already closed the connection: both are temporary.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
            while connections.try_join_next().is_some() {}
        }
    });
    Ok(Server { addr, secure, accepting })
}

/// Serves a connection until it ends. Errors only concern the peer, so they are ignored.
async fn connection(stream: TcpStream, listen: Listen, handler: Handler) {
    // Without this, small responses wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    match listen.tls {
        None => requests(stream, listen.latency, handler).await,
        Some(tls) => {
            if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                requests(stream, listen.latency, handler).await;
            }
        }
    }
}

async fn requests<S>(stream: S, latency: Duration, handler: Handler)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(|request| async {
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let reply = match read(request).await {
            Ok(request) => handler(request).await,
            // The rest of the body may still follow on this connection.
            Err(status) => Some(Reply::empty(status).with_header("connection", "close")),
        };
        // An error makes hyper drop the connection.
        reply.map(response).ok_or_else(|| std::io::Error::other("dropped on purpose"))
    });
    // A client may close its half of the connection after the request and still wait for the response.
    let mut server = hyper::server::conn::http1::Builder::new();
    let _ = server.half_close(true).max_buf_size(256 << 10).serve_connection(TokioIo::new(stream), service).await;
}

/// Reads the whole request. The error is the status of the response that rejects it.
async fn read(request: hyper::Request<Incoming>) -> Result<Request, u16> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_LIMIT).collect().await;
    let status =
        |why: Box<dyn std::error::Error + Send + Sync>| if why.is::<LengthLimitError>() { 413u16 } else { 400 };
    Ok(Request::from_parts(head, body.map_err(status)?.to_bytes()))
}

fn response(reply: Reply) -> hyper::Response<Full<Bytes>> {
    let mut response = hyper::Response::new(Full::new(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    // hyper writes `<none>` for an unknown status; real servers leave the reason empty.
    let unknown = response.status().canonical_reason().is_none().then(String::new);
    if let Some(reason) = reply.reason.or(unknown)
        && let Ok(phrase) = ReasonPhrase::try_from(reason.into_bytes())
    {
        response.extensions_mut().insert(phrase);
    }
    *response.headers_mut() = reply.headers;
    response
}

/// An HTTP client that trusts one certificate authority, or every certificate. Clones share their connections.
#[derive(Clone)]
pub struct Client(legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Client {
    /// Creates a client that trusts the certificates in `ca_pem`, or all if it is `None`. Fails if the PEM has no certificate.
    pub fn new(ca_pem: Option<&str>) -> Result<Client> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .context("TLS: no protocol version")?;
        let tls = match ca_pem {
            Some(pem) => builder.with_root_certificates(roots(pem)?).with_no_client_auth(),
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(provider)))
                .with_no_client_auth(),
        };
        let connector = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        Ok(Client(legacy::Client::builder(TokioExecutor::new()).build(connector.enable_http1().build())))
    }

    /// Sends a request and reads the whole response, whatever its status. Times out after 30 s of real time. The error is
    /// the whole chain of causes in one line.
    pub async fn request(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, String> {
        let exchange = tokio::time::timeout(TIMEOUT, self.exchange(method, url, headers, body.into()));
        let reply = exchange.await.map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))?;
        reply.map_err(|why| format!("{why:#}"))
    }

    async fn exchange(&self, method: &str, url: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Reply> {
        let mut request = hyper::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, body) = self.0.request(request.body(Full::new(body))?).await?.into_parts();
        let own = head.extensions.get::<ReasonPhrase>();
        Ok(Reply {
            status: head.status.as_u16(),
            reason: own.map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).into_owned()),
            headers: head.headers,
            body: Limited::new(body, BODY_LIMIT).collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes(),
        })
    }
}

fn roots(pem: &str) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|why| anyhow::anyhow!("the CA bundle is broken: {why}"))?;
        store.add(certificate).context("the CA bundle holds something that is not an authority")?;
    }
    anyhow::ensure!(!store.is_empty(), "the CA bundle holds no certificate");
    Ok(store)
}

/// `insecureSkipVerify`: accepts any certificate, but still verifies the handshake.
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::go_errors::tls_error;
    use crate::tls::{Ca, Leaf};

    async fn answer(request: Request) -> Option<Reply> {
        match request.uri().path() {
            "/reason" => Some(Reply::empty(500).with_reason("VM 100 is running - destroy failed\r\nX-Injected: 1")),
            "/odd" => Some(Reply::empty(595)),
            "/hangup" => None,
            _ => {
                let query = request.uri().query().unwrap_or_default().to_owned();
                Some(Reply::new(200, "text/plain", request.into_body()).with_header("x-query", &query))
            }
        }
    }

    #[tokio::test]
    async fn client_rejects_untrusted_certificates() {
        let (ca, other) = (Ca::new().unwrap(), Ca::new().unwrap());
        let (trusting, strange, lenient) = (
            Client::new(Some(&ca.pem())).unwrap(),
            Client::new(Some(&other.pem())).unwrap(),
            Client::new(None).unwrap(),
        );
        for (leaf, refusal) in [
            (Leaf::Good, None),
            (Leaf::Expired, Some("certificate has expired or is not yet valid")),
            (Leaf::NotYetValid, Some("certificate has expired or is not yet valid")),
            (Leaf::WrongName, Some("because it doesn't contain any IP SANs")),
            (Leaf::SelfSigned, Some("certificate signed by unknown authority")),
        ] {
            let addr = SocketAddr::from(([127, 0, 0, 1], 0));
            let tls = Some(ca.server_config_showing(move || leaf).unwrap().0);
            let server = serve(Listen { addr, tls, latency: Duration::ZERO }, answer).await.unwrap();
            let ask = async |client: &Client, path: &str| {
                client.request("POST", &format!("{}{path}", server.url()), &[], "hello").await
            };
            let refused = ask(&trusting, "/").await.err().and_then(|why| tls_error("127.0.0.1", &why));
            assert_eq!(refused.is_some(), refusal.is_some(), "{leaf:?}");
            assert!(refused.unwrap_or_default().ends_with(refusal.unwrap_or_default()), "{leaf:?}");
            assert!(ask(&strange, "/").await.unwrap_err().contains("invalid peer certificate"));
            let reply = ask(&lenient, "/?a=1").await.unwrap();
            assert_eq!((&reply.body[..], reply.header("x-query")), (&b"hello"[..], Some("a=1")));
            let line = ask(&lenient, "/reason").await.unwrap().status_line();
            assert_eq!(line, "500 VM 100 is running - destroy failed  X-Injected: 1");
            assert_eq!(ask(&lenient, "/odd").await.unwrap().status_line(), "595 ");
            assert!(ask(&lenient, "/hangup").await.is_err());
        }
    }
}
