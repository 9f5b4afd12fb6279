//! HTTP through curl. Each request is a configuration on standard input, so that no header or token is ever an argument. The
//! operator's `~/.curlrc` is not read (`-q`), redirects are not followed, and every request has limits.

use std::path::Path;
use std::time::Duration;

use xshell::cmd;

use super::{Tool, errors};
use crate::cx::Cx;
use crate::files;
use crate::proc::{self, CommandOutput, Job};
use domain::clock;
use domain::failure::{Code, Failure, Kind};
use domain::secret::{Secret, redact};

/// A request: a GET, or a POST of a JSON document.
#[derive(Default)]
pub struct Request<'a> {
    pub url: String,
    /// The `Authorization` header, if the server needs one.
    pub authorization: Option<&'a Secret>,
    /// A JSON document to POST; without one the request is a GET.
    pub json: Option<&'a Secret>,
    /// Certificate authorities to trust in addition to the system's.
    pub ca_file: Option<&'a str>,
    /// Skip certificate verification.
    pub insecure: bool,
    pub timeout: Duration,
    /// Write the body to this file instead of returning it.
    pub output: Option<&'a Path>,
    /// Follow redirects, over https only: downloads of releases are redirected. Never with a login.
    pub follow: bool,
    /// Connect to this address instead of resolving the host name of the URL; TLS still verifies the name.
    pub connect: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// A request with TLS verification and a timeout of ten seconds.
    pub fn get(url: impl Into<String>) -> Request<'a> {
        Request { url: url.into(), timeout: Duration::from_secs(10), ..Request::default() }
    }
}

/// A response, with any status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// The reason phrase: Proxmox puts its reasons only there.
    pub reason: String,
    /// In lower case, without parameters.
    pub content_type: String,
    pub body: String,
    /// The server's time in seconds since 1970, if it sends one.
    pub date: Option<u64>,
}

/// The largest accepted response: Proxmox describes ten thousand machines in 3 MB. curl before 8.4 checks this limit only if
/// the server announces the size, so curl's output has the same limit.
const MAX_RESPONSE_BYTES: usize = 16 << 20;
/// The largest download, which is written to a file: a release of omnictl has about 100 MB.
const MAX_DOWNLOAD_BYTES: usize = 1 << 30;

/// What curl prints after the body: status and content type, also if the body was written to a file.
const TRAILER: &str = "\\n%{http_code} %{content_type}";

/// The trailer for one of several responses, which starts with the lengths of the headers and of the body.
const TRAILER_OF_EACH: &str = "\\n%{size_header} %{size_download} %{http_code} %{content_type}";

/// Sends the request.
///
/// # Errors
/// [`Code::Unreachable`] with curl's reason; [`Code::Timeout`] if there is no response in time.
pub fn fetch(cx: &Cx, purpose: &str, request: &Request<'_>) -> Result<Reply, Failure> {
    let config = config(request, std::slice::from_ref(&request.url), TRAILER);
    let mut text = run(cx, purpose, request, config, 1)?;
    if request.output.is_some() {
        text.drain(..text.len() - text.trim_start_matches('\n').len());
    }
    parse(text, request.output.is_some()).map_err(|text| {
        Failure::new(Code::Unreachable, format!("{purpose}: the response of {} is not valid HTTP", request.url))
            // Redact before truncating: a truncated secret is not recognized.
            .cause(redact(&text).chars().take(200).collect::<String>())
    })
}

/// Sends the request to each of these addresses of one server, one after the other over one connection: starting curl and a TLS
/// handshake take longer than a short response. `request.url` is the server's address, for errors.
///
/// # Errors
/// Fails like [`fetch`]; the first error ends it.
pub fn fetch_each(cx: &Cx, purpose: &str, request: &Request<'_>, urls: &[String]) -> Result<Vec<Reply>, Failure> {
    let config = config(request, urls, TRAILER_OF_EACH) + "fail-early\n";
    let text = run(cx, purpose, request, config, urls.len())?;
    parse_each(&text).filter(|replies| replies.len() == urls.len()).ok_or_else(|| {
        Failure::new(Code::Unreachable, format!("{purpose}: the responses of {} are not valid HTTP", request.url))
    })
}

/// Runs curl with this configuration for `urls` requests and returns its output.
fn run(cx: &Cx, purpose: &str, request: &Request<'_>, config: String, urls: usize) -> Result<String, Failure> {
    let curl = Tool::Curl.find()?;
    request.ca_file.map_or(Ok(()), check_authorities)?;
    let shell = proc::shell()?;
    let patience = request.timeout.saturating_mul(u32::try_from(urls).unwrap_or(u32::MAX));
    // curl's own limit applies first; this deadline is for a curl that hangs.
    let job = Job::new(purpose, cmd!(shell, "{curl} -q --config -"))
        .stdin(config)
        .limit(MAX_RESPONSE_BYTES, too_large(&request.url))
        .deadline(patience + Duration::from_secs(5));
    let ended = cx.proc.run(job)?;
    if ended.is_success() { Ok(ended.stdout) } else { Err(explain(&ended, request)) }
}

/// Refuses a device or a pipe as the file of certificate authorities: curl and omnictl would read it indefinitely.
///
/// # Errors
/// [`Code::Prerequisite`] with the type of the file.
pub fn check_authorities(file: &str) -> Result<(), Failure> {
    files::describe_non_file(Path::new(file)).map_or(Ok(()), |cause| {
        Err(Failure::new(Code::Prerequisite, format!("`{file}` contains no certificate authorities"))
            .cause(cause)
            .hint("check --ca-file and SSL_CERT_FILE"))
    })
}

/// A curl configuration file that sends the request to each of these addresses, with curl's quoting.
fn config(request: &Request<'_>, urls: &[String], trailer: &str) -> String {
    let quoted = |value: &str| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', ""));
    let mut lines: Vec<String> = urls.iter().map(|url| format!("url = {}", quoted(url))).collect();
    lines.extend([
        "silent".to_owned(),
        "show-error".to_owned(),
        "globoff".to_owned(),
        "suppress-connect-headers".to_owned(),
        "http1.1".to_owned(),
        format!("connect-timeout = {}", request.timeout.as_secs().clamp(1, 10)),
        format!("max-time = {}", request.timeout.as_secs_f64().max(0.1)),
        format!("max-filesize = {}", if request.output.is_some() { MAX_DOWNLOAD_BYTES } else { MAX_RESPONSE_BYTES }),
        format!("write-out = {}", quoted(trailer).replace("\\\\n", "\\n")),
    ]);
    match request.output {
        Some(path) => lines.push(format!("output = {}", quoted(&path.to_string_lossy()))),
        None => lines.push("include".to_owned()),
    }
    if let Some(secret) = request.authorization {
        lines.push(format!("header = {}", quoted(&format!("Authorization: {}", secret.expose()))));
    }
    if let Some(json) = request.json {
        lines.push("header = \"Content-Type: application/json\"".to_owned());
        lines.push(format!("data-raw = {}", quoted(json.expose())));
    }
    if let Some(file) = request.ca_file {
        lines.push(format!("cacert = {}", quoted(file)));
        // A CA file replaces the default bundle; with the directory, the public authorities stay trusted too, as in Go.
        if Path::new("/etc/ssl/certs").is_dir() {
            lines.push("capath = \"/etc/ssl/certs\"".to_owned());
        }
    }
    if request.follow && request.authorization.is_none() {
        lines.extend(["location".to_owned(), "max-redirs = 5".to_owned(), "proto-redir = \"=https\"".to_owned()]);
    }
    if let Some(address) = request.connect {
        let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        lines.push(format!("connect-to = {}", quoted(&format!("::{address}:"))));
    }
    if request.url.starts_with("http://") {
        // Only containers of this host are addressed without TLS, and no proxy reaches them.
        lines.push("noproxy = \"*\"".to_owned());
    }
    if request.insecure {
        lines.push("insecure".to_owned());
    }
    lines.join("\n") + "\n"
}

/// Parses the response in curl's output: headers, body and trailer, or only the trailer. Returns the output if it is not a
/// response. The body is not copied, because it may be large.
fn parse(mut text: String, trailer_only: bool) -> Result<Reply, String> {
    let Some((mut reply, body)) = parse_head(&text, trailer_only) else { return Err(text) };
    text.truncate(body.end);
    text.drain(..body.start);
    reply.body = text;
    Ok(reply)
}

/// Parses the responses of several requests in curl's output, from the end, where the lengths are.
fn parse_each(mut text: &str) -> Option<Vec<Reply>> {
    let mut replies = Vec::new();
    while !text.is_empty() {
        let (rest, trailer) = text.rsplit_once('\n')?;
        let mut words = trailer.splitn(3, ' ');
        let (headers, body): (usize, usize) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let start = rest.len().checked_sub(headers.checked_add(body)?)?;
        replies.push(parse(format!("{}\n{}", rest.get(start..)?, words.next()?), false).ok()?);
        text = &rest[..start];
    }
    replies.reverse();
    Some(replies)
}

/// The response without its body, and the range of the body.
fn parse_head(text: &str, trailer_only: bool) -> Option<(Reply, std::ops::Range<usize>)> {
    let (mut rest, trailer) = text.rsplit_once('\n').unwrap_or(("", text));
    let (code, content_type) = trailer.split_once(' ').unwrap_or((trailer, ""));
    let status = code.parse().ok()?;
    let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut reply = Reply { status, reason: String::new(), content_type, body: String::new(), date: None };
    if trailer_only {
        return Some((reply, 0..0));
    }
    let end = rest.len();
    loop {
        let (head, body) = rest.split_once("\r\n\r\n").or_else(|| rest.split_once("\n\n"))?;
        let line = head.lines().next()?;
        let mut words = line.splitn(3, ' ');
        let (_, found, reason) = (words.next()?, words.next()?.parse::<u16>().ok()?, words.next().unwrap_or_default());
        // An interim response (100 Continue) comes before the real one.
        if found < 200 && status != found {
            rest = body;
            continue;
        }
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("date").then(|| clock::parse_http_date(value.trim()))?
        };
        reply.date = head.lines().find_map(header);
        reason.trim().clone_into(&mut reply.reason);
        return Some((reply, end - body.len()..end));
    }
}

/// The failure for curl's exit status, from `program-errors.yaml`.
fn explain(ended: &CommandOutput, request: &Request<'_>) -> Failure {
    let url = request.url.as_str();
    let (code, output) = (ended.status.code(), ended.stderr.trim().trim_start_matches("curl: "));
    if failed_at_proxy(request, code, output) {
        return Failure::new(Code::Unreachable, format!("the proxy from the environment cannot reach {url}"))
            .cause(output)
            .kind(Kind::Proxy)
            .hint(format!(
                "correct HTTPS_PROXY, or reach the host without it: `export NO_PROXY={}`",
                host_and_port(url).0
            ));
    }
    if code == Some(63) {
        return too_large(url);
    }
    // After a rejected certificate, the other lines are curl's advice, not the reason.
    let output = if code == Some(60) { output.lines().next().unwrap_or_default() } else { output };
    let seconds = request.timeout.as_secs().to_string();
    let cause = if output.is_empty() { ended.failure().message } else { output.to_owned() };
    let known = errors::explain("curl", code, output, &cause, &[("url", url), ("seconds", &seconds)]);
    known.unwrap_or_else(|| ended.failure())
}

/// Whether a request failed at the proxy that curl takes from the environment (recorded with curl 7.88): the proxy's name does
/// not resolve (5), the proxy refuses the tunnel (56, 97), or the failed connection (7) was not to the host of the URL.
fn failed_at_proxy(request: &Request<'_>, code: Option<i32>, output: &str) -> bool {
    match code {
        Some(5 | 97) => true,
        Some(56) => output.contains("CONNECT tunnel failed"),
        Some(7) => {
            let (host, port) = host_and_port(&request.url);
            let to = |host: &str| output.contains(&format!("Failed to connect to {host} port {port} "));
            output.contains("Failed to connect to ") && !to(host) && !request.connect.is_some_and(to)
        }
        _ => false,
    }
}

/// The host of a URL, without a login and brackets, and its port.
fn host_and_port(url: &str) -> (&str, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = place.rsplit('@').next().unwrap_or_default();
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    (host, port.unwrap_or(if scheme == "http" { "80" } else { "443" }))
}

fn too_large(url: &str) -> Failure {
    Failure::new(Code::Unreachable, format!("the response of {url} is larger than {} MiB", MAX_RESPONSE_BYTES >> 20))
        .cause("the task stopped reading it")
        .hint("check the address: it may belong to another service")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_only_in_curls_configuration() {
        let secret = Secret::new("PVEAPIToken=a@b!c=canary-\"curl\\-1");
        let request = Request { authorization: Some(&secret), ..Request::get("https://h/x") };
        let config = config(&request, &[], TRAILER);
        assert!(config.contains(r#"header = "Authorization: PVEAPIToken=a@b!c=canary-\"curl\\-1""#), "{config}");
        assert!(config.contains(r#"write-out = "\n%{http_code} %{content_type}""#), "{config}");
        assert!(!config.contains("insecure"));
    }

    #[test]
    fn curl_response_is_parsed() {
        let text = "HTTP/1.1 403 Permission check failed (/storage/local, Datastore.Audit)\r\ndate: Sun, 22 Nov 2026 03:04:05 GMT\r\n\r\n{\"data\":null}\n403 application/json;charset=UTF-8";
        let reply = parse(text.to_owned(), false).unwrap();
        assert_eq!(reply.status, 403);
        assert_eq!(reply.reason, "Permission check failed (/storage/local, Datastore.Audit)");
        assert_eq!((reply.content_type.as_str(), reply.body.as_str()), ("application/json", "{\"data\":null}"));
        assert_eq!(reply.date, Some(1_795_316_645));
        let reply = parse("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n\n200 ".to_owned(), false).unwrap();
        assert_eq!((reply.status, reply.reason.as_str(), reply.body.as_str()), (200, "OK", ""));
        assert_eq!(parse("200 text/html".to_owned(), true).unwrap().content_type, "text/html");
        assert!(parse(String::new(), false).is_err());
        assert!(parse("000 ".to_owned(), false).is_err());
    }

    #[test]
    fn proxy_is_named_only_where_the_request_failed_there() {
        let rows: Vec<(String, i32, String, bool)> =
            serde_yaml::from_str(include_str!("../../tests/corpus/proxy.yaml")).unwrap();
        for (url, code, output, expected) in rows {
            assert_eq!(failed_at_proxy(&Request::get(&url), Some(code), &output), expected, "{url} {output}");
        }
        let places = ["https://u:p@omni.lan:444/a?b", "https://[::1]/x", "http://x"].map(host_and_port);
        assert_eq!(places, [("omni.lan", "444"), ("::1", "443"), ("x", "80")]);
    }

    #[test]
    fn replies_are_split_by_their_lengths() {
        // A body may look like the next response, or like a trailer.
        let bodies = ["{\"data\":1}", "\n5 5 200 text/html\nHTTP/1.1 500 no\r\n\r\n", ""];
        let text: String = bodies
            .iter()
            .map(|body| {
                let head = "HTTP/1.1 200 OK\r\n\r\n";
                format!("{head}{body}\n{} {} 200 application/json", head.len(), body.len())
            })
            .collect();
        let replies = parse_each(&text).unwrap();
        assert_eq!(replies.iter().map(|reply| reply.body.as_str()).collect::<Vec<_>>(), bodies);
        for broken in [&text[1..], &text[..text.len() - 1], "9 9 200 x", "\nx"] {
            assert!(
                parse_each(broken).is_none_or(|found| found.len() != 3 || found[2].content_type != "application/json")
            );
        }
        let urls = ["https://h/a", "https://h/b"].map(str::to_owned);
        let config = config(&Request::get("https://h"), &urls, TRAILER_OF_EACH);
        assert!(config.starts_with("url = \"https://h/a\"\nurl = \"https://h/b\"\nsilent\n"), "{config}");
        assert!(config.contains(r#"write-out = "\n%{size_header} %{size_download}"#), "{config}");
    }
}
