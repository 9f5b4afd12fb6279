//! The server: one task a connection, a limit on everything.

use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{Answer, Reply, Request, within};

/// How a server listens and what it tolerates.
#[derive(Clone)]
pub struct ServerOptions {
    /// Port 0 takes a free one.
    pub addr: SocketAddr,
    /// `None` speaks plain HTTP.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The largest body that is read, in bytes; a larger one is answered with 413.
    pub body_limit: usize,
    /// Real time for each of: TLS handshake, headers (and idling between requests), body.
    pub read_timeout: Duration,
    /// Real time that every answer waits first, as over a slow network.
    pub latency: Duration,
    /// Connections served at once; more wait in the listen queue.
    pub connections: usize,
}

impl ServerOptions {
    /// Plain HTTP or TLS on `addr`, bodies up to 64 MiB, 30 s for each read, no latency, 512 connections.
    pub fn new(addr: SocketAddr, tls: Option<Arc<rustls::ServerConfig>>) -> ServerOptions {
        ServerOptions {
            addr,
            tls,
            body_limit: 64 << 20,
            read_timeout: Duration::from_secs(30),
            latency: Duration::ZERO,
            connections: 512,
        }
    }
}

/// A running server. Dropping it ends it at once; [`Server::stop`] lets answers under way finish.
pub struct Server {
    addr: SocketAddr,
    secure: bool,
    stop: watch::Sender<bool>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Where it listens; the port is the real one.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `https://127.0.0.1:PORT` or `http://…`, without a slash at the end.
    pub fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// Takes no more connections, lets requests under way finish for up to a second, then ends.
    pub async fn stop(mut self) {
        // An error means that the accept loop is gone already.
        let _ = self.stop.send(true);
        let _ = within(Duration::from_secs(1), &mut self.accepting).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Listens and answers every request with `handler`. Fails if the address cannot be bound.
pub async fn serve<H, F>(options: ServerOptions, handler: H) -> Result<Server>
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future + Send + 'static,
    F::Output: Into<Answer>,
{
    let listener =
        TcpListener::bind(options.addr).await.with_context(|| format!("cannot listen on {}", options.addr))?;
    let addr = listener.local_addr().context("cannot read the address that was bound")?;
    let secure = options.tls.is_some();
    let (stop, stopping) = watch::channel(false);
    let accepting = tokio::spawn(accept(listener, options, Arc::new(handler), stopping));
    Ok(Server { addr, secure, stop, accepting })
}

/// Takes connections until told to stop; dropping it drops them all.
async fn accept<H, F>(listener: TcpListener, options: ServerOptions, handler: Arc<H>, stopping: watch::Receiver<bool>)
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future + Send + 'static,
    F::Output: Into<Answer>,
{
    let slots = Arc::new(Semaphore::new(options.connections));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let Some((slot, accepted)) = until(stopping.clone(), next).await else { break };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _peer)) => {
                let (options, handler, stopping) = (options.clone(), Arc::clone(&handler), stopping.clone());
                connections.spawn(async move {
                    connection(stream, options, handler, stopping).await;
                    drop(slot);
                });
            }
            // Out of file descriptors, or the peer was quicker: both pass.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Runs `work` unless told to stop first.
async fn until<F: Future>(mut stopping: watch::Receiver<bool>, work: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        // The sender is gone only when the server is being dropped: that is a stop, too.
        _ = stopping.wait_for(|stop| *stop) => None,
        done = work => Some(done),
    }
}

/// One connection from its first byte to its last. What goes wrong on it is its peer's business.
async fn connection<H, F>(stream: TcpStream, options: ServerOptions, handler: Arc<H>, stopping: watch::Receiver<bool>)
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future + Send + 'static,
    F::Output: Into<Answer>,
{
    // Without it small answers wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    match options.tls.clone() {
        None => requests(stream, options, handler, stopping).await,
        Some(tls) => {
            let handshake = within(options.read_timeout, TlsAcceptor::from(tls).accept(stream)).await;
            if let Some(Ok(stream)) = handshake {
                requests(stream, options, handler, stopping).await;
            }
        }
    }
}

async fn requests<S, H, F>(stream: S, options: ServerOptions, handler: Arc<H>, stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future + Send + 'static,
    F::Output: Into<Answer>,
{
    let timeout = options.read_timeout;
    let service = service_fn(move |request| {
        let (options, handler) = (options.clone(), Arc::clone(&handler));
        async move { answer(request, &options, &*handler).await }
    });
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            // A client that has said all may close its half and still wait for the answer.
            .half_close(true)
            .header_read_timeout(timeout)
            .max_buf_size(256 << 10)
            .serve_connection(TokioIo::new(stream), service)
    );
    if until(stopping, connection.as_mut()).await.is_none() {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

async fn answer<H, F>(
    request: hyper::Request<Incoming>,
    options: &ServerOptions,
    handler: &H,
) -> Result<hyper::Response<Full<Bytes>>, Dropped>
where
    H: Fn(Request) -> F,
    F: Future,
    F::Output: Into<Answer>,
{
    if !options.latency.is_zero() {
        tokio::time::sleep(options.latency).await;
    }
    let answer = match read(request, options).await {
        Ok(request) => handler(request).await.into(),
        Err(reply) => Answer::Reply(reply),
    };
    match answer {
        Answer::Reply(reply) => Ok(response(reply)),
        Answer::Hangup => Err(Dropped),
    }
}

/// The whole request, or what to say of it.
async fn read(request: hyper::Request<Incoming>, options: &ServerOptions) -> Result<Request, Reply> {
    let (head, body) = request.into_parts();
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        value.to_str().ok().map(|value| (name.as_str().to_owned(), value.to_owned()))
    };
    let body = match within(options.read_timeout, Limited::new(body, options.body_limit).collect()).await {
        Some(Ok(body)) => body.to_bytes(),
        Some(Err(why)) if why.is::<LengthLimitError>() => return Err(refusal(413)),
        Some(Err(_)) => return Err(refusal(400)),
        None => return Err(refusal(408)),
    };
    Ok(Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or("").to_owned(),
        headers: head.headers.iter().filter_map(text).collect(),
        body,
    })
}

/// A refusal after which the connection is of no further use: what follows on it may be the rest of a body.
fn refusal(status: u16) -> Reply {
    Reply::empty(status).with_header("connection", "close")
}

fn response(reply: Reply) -> hyper::Response<Full<Bytes>> {
    let mut response = hyper::Response::new(Full::new(reply.body));
    *response.status_mut() = hyper::StatusCode::from_u16(reply.status).unwrap_or_default();
    // hyper writes `<none>` for a status that it does not know; real servers leave such a reason empty.
    let unknown = response.status().canonical_reason().is_none().then(String::new);
    if let Some(reason) = reply.reason.or(unknown)
        && let Ok(phrase) = ReasonPhrase::try_from(reason.into_bytes())
    {
        response.extensions_mut().insert(phrase);
    }
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// The error that makes hyper drop a connection.
#[derive(Debug)]
struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is dropped on purpose")
    }
}

impl StdError for Dropped {}
