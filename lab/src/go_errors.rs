//! Converts connection errors of rustls and the system to those of Go's net, tls and x509 packages.

use std::net::ToSocketAddrs as _;

/// Returns Go's error for a failed connection to `host:port`. `cause` is the whole chain of causes on our side.
pub fn dial_error(host: &str, port: u16, cause: &str) -> String {
    if let Some(tls) = tls_error(host, cause) {
        return tls;
    }
    let address = format!("{host}:{port}");
    let lower = cause.to_ascii_lowercase();
    if lower.contains("connection refused") {
        return format!("dial tcp {}: connect: connection refused", resolved(host, port).unwrap_or(address));
    }
    if lower.contains("lookup") || lower.contains("name or service") || lower.contains("resolve") {
        return format!("dial tcp: lookup {host}: no such host");
    }
    if lower.contains("timed out") || lower.contains("no answer within") {
        return format!("dial tcp {address}: i/o timeout");
    }
    if lower.contains("reset") {
        return format!("read tcp {address}: read: connection reset by peer");
    }
    "EOF".to_owned()
}

fn resolved(host: &str, port: u16) -> Option<String> {
    (host, port).to_socket_addrs().ok()?.next().map(|found| found.to_string())
}

/// Returns Go's error for a failed TLS handshake, or `None` if the cause is not one.
pub fn tls_error(host: &str, cause: &str) -> Option<String> {
    let x509 = |text: String| Some(format!("tls: failed to verify certificate: x509: {text}"));
    if cause.contains("NotValidForName") || cause.contains("not valid for name") {
        let ip = host.parse::<std::net::IpAddr>().is_ok();
        return x509(match ip {
            true => format!("cannot validate certificate for {host} because it doesn't contain any IP SANs"),
            false => format!("certificate is not valid for any names, but wanted to match {host}"),
        });
    }
    let dated = cause.contains("Expired") || cause.contains("expired");
    if dated || cause.contains("NotValidYet") || cause.contains("not valid yet") {
        return x509("certificate has expired or is not yet valid".to_owned());
    }
    let untrusted = ["UnknownIssuer", "BadSignature", "CaUsedAsEndEntity", "invalid peer certificate"];
    if untrusted.iter().any(|text| cause.contains(text)) {
        return x509("certificate signed by unknown authority".to_owned());
    }
    let garbled = ["corrupt message", "InvalidMessage", "InvalidContentType", "unexpected message"];
    garbled
        .iter()
        .any(|text| cause.contains(text))
        .then(|| "tls: first record does not look like a TLS handshake".to_owned())
}

/// Returns the error of a gRPC client that cannot connect.
pub fn grpc_error(endpoint: &Endpoint, cause: &str) -> String {
    let inner = match tls_error(&endpoint.host, cause) {
        Some(tls) => format!("transport: authentication handshake failed: {tls}"),
        None => format!("transport: Error while dialing: {}", dial_error(&endpoint.host, endpoint.port, cause)),
    };
    if inner.contains("no such host") {
        return "rpc error: code = Unavailable desc = name resolver error: produced zero addresses".to_owned();
    }
    format!("rpc error: code = Unavailable desc = connection error: desc = \"{inner}\"")
}

/// Returns the error of a gRPC client that reaches something other than a gRPC server (google.golang.org/grpc
/// internal/transport/http_util.go).
pub fn not_grpc(status: u16, reason: &str, content_type: &str) -> String {
    let code = match status {
        400 => "Internal",
        401 => "Unauthenticated",
        403 => "PermissionDenied",
        404 => "Unimplemented",
        429 | 502..=504 => "Unavailable",
        _ => "Unknown",
    };
    format!(
        "rpc error: code = {code} desc = unexpected HTTP status code received from server: {status} ({reason}); transport: \
         received unexpected content-type {content_type:?}"
    )
}

/// Returns Go's message for an I/O error.
pub fn go_io(why: &std::io::Error) -> String {
    match why.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => {
            let text = why.to_string();
            text.split(" (os error").next().unwrap_or(&text).to_lowercase()
        }
    }
}

/// An endpoint URL as Omni's clients accept it: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it uses TLS.
    pub secure: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port; 443 or 80 by default.
    pub port: u16,
}

impl Endpoint {
    /// Parses `https://…`, `http://…` or `grpc://…`. The error is Go's.
    pub fn parse(url: &str) -> Result<Endpoint, String> {
        let Some((scheme, rest)) = url.split_once("://") else {
            let first = url.split('/').next().unwrap_or_default();
            if first.contains(':') {
                return Err(format!("parse {url:?}: first path segment in URL cannot contain colon"));
            }
            return Err(
                "rpc error: code = Unavailable desc = delegating_resolver: invalid target address \"\": missing \
                        address"
                    .to_owned(),
            );
        };
        let secure = scheme == "https";
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => match port.parse() {
                Ok(port) => (host, port),
                Err(_) => return Err(format!("parse {url:?}: invalid port {:?} after host", format!(":{port}"))),
            },
            _ => (authority, if secure { 443 } else { 80 }),
        };
        Ok(Endpoint { secure, host: host.trim_matches(['[', ']']).to_owned(), port })
    }
}
