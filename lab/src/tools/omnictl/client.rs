//! The connection to Omni: actually dials the endpoint and checks its certificate, then sends the calls to the lab
//! (siderolabs/omni v1.9.3 client/pkg/omnictl/internal/access/client.go).

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::de::DeserializeOwned;

use crate::go_errors::{self, Endpoint};
use crate::omni::api::OmniCall;
use crate::omni::keys;
use crate::omni::kinds::{self, OmniRelease, ResourceType};
use crate::omni::names::{EPHEMERAL, SYS_VERSION};
use crate::omni::query::Term;
use crate::omni::resource::{Key, Resource};
use crate::tools::failure::ToolError;
use crate::tools::protocol::{self, Request, Start};

/// A connection that the server has accepted.
pub struct Connection {
    client: protocol::Client,
    key: Option<String>,
    /// The release of this omnictl.
    pub release: OmniRelease,
    /// The endpoint as omnictl prints it.
    pub endpoint: String,
    /// Keys that this build does not know.
    pub drops: &'static [&'static str],
}

impl Connection {
    /// Connects as every command that needs the server does.
    pub fn connect(mut client: protocol::Client, start: &Start, insecure: bool) -> Result<Connection, ToolError> {
        let env = |name: &str| std::env::var(name).ok();
        let key = env("SIDERO_SERVICE_ACCOUNT_KEY").or_else(|| env("OMNI_SERVICE_ACCOUNT_KEY"));
        if let Some(key) = &key {
            keys::read(key)?;
        }
        let configured = || configured_url().unwrap_or_else(|| "grpc://127.0.0.1:8080".to_owned());
        let url = match env("OMNI_ENDPOINT").filter(|url| !url.is_empty()) {
            Some(url) => url,
            None if key.is_some() => String::new(),
            None => configured(),
        };
        let endpoint = Endpoint::parse(&url)?;
        if start.has_fault("omnictl-hangs") {
            client.wait_for_end();
            return Err(ToolError::Lab(anyhow::anyhow!("the lab has ended")));
        }
        dial(&endpoint, start, insecure)?;
        let endpoint = match url.strip_prefix("http://") {
            Some(rest) => format!("grpc://{rest}"),
            None => url,
        };
        let drops: &[&str] = if start.has_fault("omnictl-drops-keys") { &["kernelargs", "grpctunnel"] } else { &[] };
        let mut client = Connection { client, key, release: start.release, endpoint, drops };
        client.check_version()?;
        check_start(start)?;
        Ok(client)
    }

    fn check_version(&mut self) -> Result<(), ToolError> {
        let version = self.get(SYS_VERSION, EPHEMERAL, "current")?;
        let api = version.spec["backendapiversion"].as_u64().unwrap_or(0);
        if api != 2 {
            let text = format!("client API version mismatch: backend API version {api}, client API version 2");
            return Err(ToolError::Message(text));
        }
        Ok(())
    }

    /// Makes a call to Omni.
    pub fn call<T: DeserializeOwned>(&mut self, call: OmniCall) -> Result<T, ToolError> {
        Ok(self.client.ask(&Request::Omni { key: self.key.clone(), call: Box::new(call) })?)
    }

    /// Returns a resource.
    pub fn get(&mut self, typ: &str, namespace: &str, id: &str) -> Result<Resource, ToolError> {
        self.call(OmniCall::Get(Key::new(typ, namespace, id)))
    }

    /// Returns a resource; `None` if it does not exist.
    pub fn find(&mut self, key: &Key) -> Result<Option<Resource>, ToolError> {
        match self.get(&key.typ, &key.namespace, &key.id) {
            Ok(found) => Ok(Some(found)),
            Err(why) if why.not_found() => Ok(None),
            Err(why) => Err(why),
        }
    }

    /// Returns all resources of a type that match every term.
    pub fn list(&mut self, typ: &str, namespace: &str, terms: Vec<Term>) -> Result<Vec<Resource>, ToolError> {
        self.call(OmniCall::List { typ: typ.to_owned(), namespace: namespace.to_owned(), terms })
    }

    /// Prints resources as `get -o json` does. The lab formats the text, so that ten thousand resources are serialized only once.
    pub fn print(&mut self, typ: &str, namespace: &str, terms: Vec<Term>) -> Result<(), ToolError> {
        let call = Box::new(OmniCall::List { typ: typ.to_owned(), namespace: namespace.to_owned(), terms });
        let length = self.client.ask(&Request::Print { key: self.key.clone(), call })?;
        Ok(self.client.print(length)?)
    }

    /// Waits up to `within_ms` for a change after the given revision and returns the current one.
    pub fn wait_for_change(&mut self, after: u64, within_ms: u64) -> Result<u64, ToolError> {
        Ok(self.client.ask(&Request::Change { after, within_ms })?)
    }

    /// Resolves the name of a resource type on the command line.
    pub fn resolve(&self, name: &str) -> Result<&'static ResourceType, ToolError> {
        let mut found = kinds::resolve(self.release, name);
        match found.len() {
            0 => Err(ToolError::Message(format!("resource {name:?} is not registered"))),
            1 => Ok(found.remove(0)),
            _ => {
                let names: Vec<String> = found.iter().map(|kind| kind.typ.to_ascii_lowercase()).collect();
                Err(ToolError::Message(format!("resource type {name:?} is ambiguous: [{}]", names.join(" "))))
            }
        }
    }
}

/// Checks that come before a command's own output (client.go checkVersion, checkNotifications).
fn check_start(start: &Start) -> Result<(), ToolError> {
    let newer = start.has_fault("omnictl-newer-than-omni");
    if newer || start.has_fault("omnictl-version-differs") {
        let own = start.release.tag();
        let text = format!(
            "[WARN] omnictl version {:?} differs from the backend version \"1.8.2\".\n",
            own.trim_start_matches('v')
        );
        crate::tools::err(&text);
    }
    match newer {
        true => Err(ToolError::Message(
            "failed to list notifications: rpc error: code = PermissionDenied desc = no access is permitted".to_owned(),
        )),
        false => Ok(()),
    }
}

/// The URL of the current context in the omniconfig.
fn configured_url() -> Option<String> {
    let home = || Some(Path::new(&std::env::var_os("HOME")?).join(".talos/omni/config"));
    let path = std::env::var_os("OMNICONFIG").filter(|path| !path.is_empty()).map(Into::into).or_else(home)?;
    let config: serde_yaml::Value = serde_yaml::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    let context = config.get("context")?.as_str()?;
    config.get("contexts")?.get(context)?.get("url")?.as_str().map(str::to_owned)
}

/// Opens the connection that the real program would open, and fails with its error messages.
fn dial(endpoint: &Endpoint, start: &Start, insecure: bool) -> Result<(), ToolError> {
    if endpoint.host.is_empty() {
        let text =
            "rpc error: code = Unavailable desc = delegating_resolver: invalid target address \"\": missing address";
        return Err(ToolError::Message(text.to_owned()));
    }
    let fail = |cause: &str| ToolError::Message(go_errors::grpc_error(endpoint, cause));
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).map_err(|why| fail(&why.to_string()))?;
    let own = endpoint.port == start.omni_port;
    if own && start.omni_down {
        return Err(fail("connection reset"));
    }
    if !endpoint.secure {
        // Omni's front speaks only TLS, like a deployment with certificates; any other server here is not a gRPC server.
        let text = "rpc error: code = Unavailable desc = connection error: desc = \"error reading server preface: http2: \
                    failed reading the frame payload: http2: frame too large, note that the frame header looked like an \
                    HTTP/1.1 header\"";
        return Err(ToolError::Message(text.to_owned()));
    }
    if own && !insecure {
        // The lab's certificate is known, so it is enough to look for its CA in the trust store. A handshake would give the
        // same result, and takes longer than everything else in an unoptimized build.
        if !is_trusted(&start.omni_ca) {
            return Err(fail("invalid peer certificate: UnknownIssuer"));
        }
        if let Some(cause) = &start.omni_tls {
            return Err(fail(cause));
        }
    } else if !insecure {
        handshake(&endpoint.host, stream).map_err(|why| fail(&why))?;
    }
    if start.html {
        return Err(ToolError::Message(go_errors::not_grpc(200, "OK", "text/html; charset=utf-8")));
    }
    if !own {
        let text = "rpc error: code = Unavailable desc = connection error: desc = \"transport: authentication handshake \
                    failed: credentials: cannot check peer: missing selected ALPN property. If you upgraded from a grpc-go \
                    version earlier than 1.67, your TLS connections may have stopped working due to ALPN enforcement. For \
                    more details, see: https://github.com/grpc/grpc-go/issues/434\"";
        return Err(ToolError::Message(text.to_owned()));
    }
    Ok(())
}

fn handshake(host: &str, mut stream: TcpStream) -> Result<(), String> {
    let mut roots = rustls::RootCertStore::empty();
    for pem in read_trust_store() {
        for certificate in CertificateDer::pem_slice_iter(&pem).flatten() {
            // Certificates that cannot be parsed are skipped; the rest of the bundle is still usable.
            let _ = roots.add(certificate);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| "invalid peer certificate: NotValidForName".to_owned())?;
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).map_err(|why| why.to_string())?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|why| why.to_string())?;
    }
    Ok(())
}

/// Whether a CA is in the trust store.
fn is_trusted(ca: &str) -> bool {
    let wanted = CertificateDer::pem_slice_iter(ca.as_bytes()).flatten().next();
    let Some(wanted) = wanted else { return false };
    read_trust_store().iter().any(|pem| CertificateDer::pem_slice_iter(pem).flatten().any(|found| found == wanted))
}

/// The trust store of Go on Linux (crypto/x509 root_unix.go): SSL_CERT_FILE or the first bundle of the system, and SSL_CERT_DIR.
fn read_trust_store() -> Vec<Vec<u8>> {
    const BUNDLES: &[&str] = &[
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/pki/tls/cacert.pem",
        "/etc/ssl/cert.pem",
    ];
    let mut out = Vec::new();
    match std::env::var("SSL_CERT_FILE").ok().filter(|path| !path.is_empty()) {
        Some(path) => out.extend(std::fs::read(path)),
        None => out.extend(BUNDLES.iter().find_map(|path| std::fs::read(path).ok())),
    }
    for dir in std::env::var("SSL_CERT_DIR").unwrap_or_default().split(':').filter(|dir| !dir.is_empty()) {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        out.extend(entries.filter_map(|entry| std::fs::read(entry.path()).ok()));
    }
    out
}
