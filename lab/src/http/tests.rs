//! The two halves held against each other, and the server against clients that misbehave.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::tls::{Ca, Leaf};

fn run<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Answers as the path asks.
async fn answer(request: Request) -> Answer {
    match request.path.as_str() {
        "/reason" => Reply::empty(500).with_reason("VM 100 is running - destroy failed").into(),
        "/odd" => Reply::empty(595).into(),
        "/hangup" => Answer::Hangup,
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(150)).await;
            Reply::new(200, "text/plain", "late").into()
        }
        _ => Reply::new(200, "text/plain", request.body)
            .with_header("x-query", &request.query)
            .with_header("x-method", &request.method)
            .into(),
    }
}

#[test]
fn a_request_goes_there_and_back_over_tls() {
    run(async {
        let ca = Ca::new().unwrap();
        let server = serve(ServerOptions::new(local(), Some(ca.server_config().unwrap())), answer).await.unwrap();
        let client = Client::new(Some(&ca.pem())).unwrap();
        let url = format!("{}/echo?a=1", server.url());
        let reply = client.request("POST", &url, &[("content-type", "text/plain")], "hello").await.unwrap();
        assert_eq!((reply.status_line().as_str(), &reply.body[..]), ("200 OK", &b"hello"[..]));
        assert_eq!((reply.header("x-query"), reply.header("x-method")), (Some("a=1"), Some("POST")));

        let reply = client.request("GET", &format!("{}/reason", server.url()), &[], "").await.unwrap();
        assert_eq!(reply.status_line(), "500 VM 100 is running - destroy failed");
        let reply = client.request("GET", &format!("{}/odd", server.url()), &[], "").await.unwrap();
        assert_eq!(reply.status_line(), "595 ");
        server.stop().await;
    });
}

#[test]
fn trust_is_checked_unless_told_otherwise() {
    run(async {
        let (ca, other) = (Ca::new().unwrap(), Ca::new().unwrap());
        for (leaf, trusted) in [(Leaf::Good, true), (Leaf::Expired, false), (Leaf::SelfSigned, false)] {
            let tls = ca.server_config_with(leaf).unwrap();
            let server = serve(ServerOptions::new(local(), Some(tls)), answer).await.unwrap();
            let url = server.url();
            let get = async |client: Client| client.request("GET", &url, &[], "").await;
            assert_eq!(get(Client::new(Some(&ca.pem())).unwrap()).await.is_ok(), trusted, "{leaf:?}");
            assert!(get(Client::new(None).unwrap()).await.is_ok(), "{leaf:?}");
            let refused = get(Client::new(Some(&other.pem())).unwrap()).await.unwrap_err();
            assert!(refused.cause.contains("invalid peer certificate"), "{refused}");
        }
    });
}

#[test]
fn a_bundle_without_certificates_is_refused() {
    assert!(Client::new(Some("not PEM")).is_err());
    assert!(Client::new(Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")).is_err());
}

#[test]
fn connections_are_kept_and_broken_ones_replaced() {
    run(async {
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        let handler = move |request| {
            count.fetch_add(1, Ordering::Relaxed);
            answer(request)
        };
        let mut options = ServerOptions::new(local(), None);
        options.connections = 1; // a second connection would wait indefinitely
        let server = serve(options, handler).await.unwrap();
        let client = Client::new(None).unwrap();
        for _ in 0..3 {
            client.request("GET", &format!("{}/", server.url()), &[], "").await.unwrap();
        }
        let broken = client.request("GET", &format!("{}/hangup", server.url()), &[], "").await.unwrap_err();
        assert!(broken.cause.contains("broke"), "{broken}");
        client.request("GET", &format!("{}/", server.url()), &[], "").await.unwrap();
        assert_eq!(seen.load(Ordering::Relaxed), 5);
    });
}

#[test]
fn stopping_lets_an_answer_finish() {
    run(async {
        let server = serve(ServerOptions::new(local(), None), answer).await.unwrap();
        let client = Client::new(None).unwrap();
        let url = format!("{}/slow", server.url());
        let asking = tokio::spawn({
            let (client, url) = (client.clone(), url.clone());
            async move { client.request("GET", &url, &[], "").await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.stop().await;
        assert_eq!(&asking.await.unwrap().unwrap().body[..], b"late");
        assert!(client.request("GET", &url, &[], "").await.unwrap_err().cause.contains("cannot connect"));
    });
}

#[test]
fn latency_is_real_time() {
    run(async {
        let mut options = ServerOptions::new(local(), None);
        options.latency = Duration::from_millis(80);
        let server = serve(options, answer).await.unwrap();
        let started = Instant::now();
        Client::new(None).unwrap().request("GET", &server.url(), &[], "").await.unwrap();
        assert!(started.elapsed() >= Duration::from_millis(80));
    });
}

/// Sends bytes, then reads whatever comes until the server closes (it must, within 5 s).
fn raw(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut out = Vec::new();
    let _ = stream.read_to_end(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn clients_that_misbehave_are_refused() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut options = ServerOptions::new(local(), None);
    options.body_limit = 10;
    options.read_timeout = Duration::from_millis(100);
    let server = runtime.block_on(serve(options, answer)).unwrap();
    let post = |head: &str, body: &str| {
        raw(server.addr(), format!("POST / HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n{body}").as_bytes())
    };
    let cases = [
        ("too large", post("content-length: 11", "01234567890"), "HTTP/1.1 413 "),
        ("body never comes", post("content-length: 5", "01"), "HTTP/1.1 408 "),
        ("broken chunk", post("transfer-encoding: chunked", "zz\r\n"), "HTTP/1.1 400 "),
        ("no HTTP", raw(server.addr(), b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"), "HTTP/1.1 400 "),
        ("headers never end", raw(server.addr(), b"GET / HTTP/1.1\r\nhost: x\r\n"), ""),
    ];
    for (name, got, expected) in cases {
        assert!(got.starts_with(expected), "{name}: {got}");
    }
    let fine = post("content-length: 2\r\nconnection: close", "ok");
    assert!(fine.starts_with("HTTP/1.1 200 OK") && fine.ends_with("ok"), "{fine}");
}

#[test]
fn broken_percent_encoding_is_refused() {
    assert_eq!(percent_decode("a%2Fb"), Some("a/b".into()));
    for broken in ["%", "%4", "%zz", "%ff"] {
        assert_eq!(percent_decode(broken), None, "{broken}");
    }
}

#[test]
fn forms_are_read_leniently() {
    let pairs = form_decode("a=1&b=x+y%21&c&=d&&e=%zz");
    let expected = [("a", "1"), ("b", "x y!"), ("c", ""), ("", "d"), ("e", "%zz")];
    assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn a_reason_stays_on_its_line() {
    let reply = Reply::empty(500).with_reason("first\r\nX-Injected: 1");
    assert_eq!(reply.status_line(), "500 first  X-Injected: 1");
    assert_eq!(Reply::empty(404).status_line(), "404 Not Found");
}
