//! Opens connections: TCP by the connector, a proxy's tunnel, TLS, then the handshake of HTTP itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use ::http::uri::Scheme;
use ::http::{HeaderValue, Uri};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::error::HttpError;
use super::pool::Sender;
use super::{ConnectionOptions, HttpVersion, Shared, Timings};
use crate::net::{NetError, Proxy};
use crate::tasks::Tasks;
use crate::tls::TlsError;

/// Longest answer of a proxy that is asked for a tunnel.
const PROXY_HEAD_LIMIT: usize = 16 << 10;

/// What a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    https: bool,
    host: String,
    port: u16,
    proxy: Option<Proxy>,
}

impl Target {
    pub(super) fn of(uri: &Uri, proxy: Option<Proxy>) -> Result<Self, HttpError> {
        let refuse = |reason| HttpError::Url { url: uri.to_string(), reason };
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(refuse("only `http` and `https` are supported")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| refuse("it names no host"))?;
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        Ok(Self { https, host: host.to_owned(), port, proxy })
    }

    /// The proxy that gets the request itself, absolute URI and all; `None` when it is asked for a tunnel instead.
    pub(super) fn forwarding_proxy(&self, http2: bool) -> Option<&Proxy> {
        if self.https || http2 { None } else { self.proxy.as_ref() }
    }
}

/// What requests to one place have in common, made once for all of them.
#[derive(Debug)]
pub(super) struct Route {
    /// The URI's authority as it is written, without user and password.
    authority: String,
    pub(super) target: Target,
    pub(super) options: ConnectionOptions,
    /// What the `Host` header says.
    pub(super) host: HeaderValue,
}

impl Route {
    pub(super) fn of(uri: &Uri, proxy: Option<Proxy>, options: &ConnectionOptions) -> Result<Self, HttpError> {
        let target = Target::of(uri, proxy)?;
        let authority = authority(uri);
        let default_port = if target.https { ":443" } else { ":80" };
        let host = HeaderValue::from_str(authority.strip_suffix(default_port).unwrap_or(authority))
            .map_err(|_| HttpError::Url { url: uri.to_string(), reason: "its host cannot be sent" })?;
        Ok(Self { authority: authority.to_owned(), target, options: options.clone(), host })
    }

    /// Whether both lead to the same place by equal connections.
    pub(super) fn is(&self, other: &Arc<Self>) -> bool {
        std::ptr::eq(self, &raw const **other) || (self.target == other.target && self.options == other.options)
    }

    /// Whether a request for `uri` with these options goes this way. (The proxy follows from both.)
    pub(super) fn leads_to(&self, uri: &Uri, options: &ConnectionOptions) -> bool {
        let scheme = if self.target.https { Scheme::HTTPS } else { Scheme::HTTP };
        uri.scheme() == Some(&scheme) && self.authority == authority(uri) && self.options == *options
    }
}

fn authority(uri: &Uri) -> &str {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Opens a connection and notes what each phase took.
pub(super) async fn open(
    shared: &Arc<Shared>,
    route: &Arc<Route>,
    timings: &mut Timings,
) -> Result<(Sender, SocketAddr), HttpError> {
    let Route { target, options, .. } = &**route;
    let (tcp, peer) = open_tcp(shared, target, options, timings).await?;
    let (transport, http2): (Box<dyn Transport>, bool) = if target.https {
        let started = Instant::now();
        let tls = shared.tls.handshake(tcp, &target.host, &options.tls, options.version.protocols()).await?;
        timings.tls = Some(started.elapsed());
        let negotiated = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        if options.version == HttpVersion::Http2 && !negotiated {
            let source = std::io::Error::other("the server does not offer HTTP/2");
            return Err(TlsError::Handshake { host: target.host.clone(), source }.into());
        }
        (Box::new(tls), negotiated)
    } else {
        (Box::new(tcp), options.version == HttpVersion::Http2)
    };
    let sender = handshake(&shared.tasks, transport, http2).await?;
    if let Sender::Http2(sender) = &sender {
        shared.pool.put(Sender::Http2(sender.clone()), peer, route);
    }
    Ok((sender, peer))
}

async fn open_tcp(
    shared: &Shared,
    target: &Target,
    options: &ConnectionOptions,
    timings: &mut Timings,
) -> Result<(TcpStream, SocketAddr), HttpError> {
    let connector = &shared.connector;
    let (host, port) = match &target.proxy {
        Some(proxy) => (proxy.host.as_str(), proxy.port),
        None => (target.host.as_str(), target.port),
    };
    if target.proxy.is_some() && !connector.policy().is_open() {
        // The proxy resolves the name itself, so this cannot be pinned; what is denied here is not asked for there.
        match connector.resolve(&target.host, target.port).await {
            Err(denied @ NetError::Denied { .. }) => return Err(denied.into()),
            Err(NetError::Resolve { .. } | NetError::Connect { .. }) | Ok(_) => {}
        }
    }
    let connected = connector.tcp(host, port).await?;
    let (mut stream, peer) = (connected.stream, connected.peer);
    timings.dns = Some(connected.dns);
    let mut connect = connected.connect;
    if let Some(proxy) = &target.proxy
        && target.forwarding_proxy(options.version == HttpVersion::Http2).is_none()
    {
        let started = Instant::now();
        tunnel(&mut stream, proxy, target).await?;
        connect += started.elapsed();
    }
    timings.connect = Some(connect);
    Ok((stream, peer))
}

/// Asks a proxy to connect to the target and leaves `stream` at the first byte that comes from there.
async fn tunnel(stream: &mut TcpStream, proxy: &Proxy, target: &Target) -> Result<(), HttpError> {
    let authority = format!("{}:{}", target.host, target.port);
    let refused = |reason: String| HttpError::Proxy {
        proxy: format!("{}:{}", proxy.host, proxy.port),
        target: authority.clone(),
        reason,
    };
    let authorization =
        proxy.authorization.as_ref().map(|value| format!("Proxy-Authorization: {value}\r\n")).unwrap_or_default();
    let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| refused(error.to_string()))?;
    let head = read_proxy_head(stream).await.map_err(|error| refused(error.to_string()))?;
    let status_line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status_line = String::from_utf8_lossy(status_line);
    match status_line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..3)) {
        Some("2") => Ok(()),
        Some(_) => Err(refused(format!("it answered `{status_line}`"))),
        None => Err(refused("its answer is not HTTP".to_owned())),
    }
}

/// Reads up to the empty line and not a byte further: what follows belongs to the target.
async fn read_proxy_head(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut window = [0; 1024];
    loop {
        let seen = stream.peek(&mut window).await?;
        if seen == 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "it closed the connection"));
        }
        let before = head.len();
        head.extend_from_slice(&window[..seen]);
        let end = head.windows(4).position(|four| four == b"\r\n\r\n").map(|start| start + 4);
        head.truncate(end.unwrap_or(head.len()));
        let taken = head.len() - before;
        stream.read_exact(&mut window[..taken]).await?;
        if end.is_some() {
            return Ok(head);
        }
        if head.len() > PROXY_HEAD_LIMIT {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "its answer has no end"));
        }
    }
}

async fn handshake(tasks: &Tasks, transport: Box<dyn Transport>, http2: bool) -> Result<Sender, HttpError> {
    let io = TokioIo::new(transport);
    if http2 {
        let (sender, connection) = http2::Builder::new(TaskExecutor(tasks.clone()))
            .adaptive_window(true)
            .handshake(io)
            .await
            .map_err(HttpError::from_hyper)?;
        drive(tasks, connection);
        Ok(Sender::Http2(sender))
    } else {
        let (sender, connection) = http1::handshake(io).await.map_err(HttpError::from_hyper)?;
        drive(tasks, connection);
        Ok(Sender::Http1(sender))
    }
}

/// Runs a connection until it or the client ends.
fn drive<T>(tasks: &Tasks, connection: impl Future<Output = hyper::Result<T>> + Send + 'static) {
    let cancel = tasks.cancelled().clone();
    tasks.spawn(async move {
        // The request that the connection fails gets the error itself.
        let _ = cancel.run_until_cancelled(connection).await;
    });
}

/// Runs what HTTP/2 connections do beside their own task, for hyper: tracked, and until the tasks are asked to end.
#[derive(Debug, Clone)]
pub struct TaskExecutor(pub Tasks);

impl<F> hyper::rt::Executor<F> for TaskExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let cancel = self.0.cancelled().clone();
        // On the heap: they are as large as the largest of them, and handed on several times, for each request.
        let future = Box::pin(future);
        self.0.spawn(async move {
            let _ = cancel.run_until_cancelled(future).await;
        });
    }
}
