//! An HTTP/1.1 and HTTP/2 client over the connector: pooled, TLS loaded when first needed, every phase timed.
//!
//! Making a client costs nothing: no thread, no certificate, no socket before the first request. Dropping the last
//! clone ends every connection; dropping an unfinished request or answer ends that one (HTTP/1) or its stream (HTTP/2).

mod body;
mod connect;
mod decode;
mod error;
mod pool;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::header::{
    CONNECTION, CONTENT_ENCODING, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION, TRANSFER_ENCODING, UPGRADE,
};
use ::http::uri::{PathAndQuery, Scheme};
use ::http::{HeaderMap, Request, StatusCode, Uri, Version};
use bytes::Bytes;
use http_body_util::Full;
use url::Url;

use self::body::Body;
pub use self::connect::TaskExecutor;
use self::connect::{Route, Target};
pub use self::error::{HttpError, HttpErrorKind};
use self::pool::{Lease, Pool, Sender};
use crate::net::{Connector, Proxy};
use crate::tasks::Tasks;
use crate::tls::{Protocols, TlsClient, TlsOptions};

/// A client with its own pool of connections. Clones share it.
#[derive(Debug, Clone)]
pub struct HttpClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connector: Connector,
    pool: Pool,
    tls: TlsClient,
    /// One task for each connection.
    tasks: Tasks,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
    }
}

/// How connections are made. Requests share connections with requests of equal options only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// Which version of HTTP is spoken.
    pub version: HttpVersion,
    /// For `https` URLs.
    pub tls: TlsOptions,
    /// Whether there is a proxy between.
    pub proxy: ProxyChoice,
}

/// Which version of HTTP is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/2 where the server offers it in the TLS handshake, else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: offered alone over TLS, by prior knowledge without.
    Http2,
}

impl HttpVersion {
    /// What to offer in the TLS handshake.
    pub(crate) fn protocols(self) -> Protocols {
        match self {
            HttpVersion::Auto => &[b"h2", b"http/1.1"],
            HttpVersion::Http1 => &[b"http/1.1"],
            HttpVersion::Http2 => &[b"h2"],
        }
    }
}

/// Whether there is a proxy between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ProxyChoice {
    /// As the connector's [`crate::net::Proxies`] say.
    #[default]
    Configured,
    /// None.
    Direct,
    /// This one.
    Through(Proxy),
}

/// What a request took, phase by phase.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// The name look-up; none when the connection was there already.
    pub dns: Option<Duration>,
    /// The TCP handshake, and the proxy's consent; none when the connection was there already.
    pub connect: Option<Duration>,
    /// The TLS handshake; none without TLS or when the connection was there already.
    pub tls: Option<Duration>,
    /// From the request's start to the answer's first byte, the phases above included.
    pub first_byte: Duration,
    /// From the request's start to the answer's last byte read so far.
    pub total: Duration,
}

/// An answer whose body has not been read yet.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// The version of HTTP it came in.
    pub version: Version,
    /// Its headers.
    pub headers: HeaderMap,
    /// What it took up to its head.
    pub timings: Timings,
    /// Who answered: the proxy's address when there is one.
    pub peer: SocketAddr,
    body: Body,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct FullResponse {
    /// Its status.
    pub status: StatusCode,
    /// The version of HTTP it came in.
    pub version: Version,
    /// Its headers.
    pub headers: HeaderMap,
    /// What it took.
    pub timings: Timings,
    /// Its body, unpacked.
    pub body: Bytes,
    /// How many bytes of body came over the wire, still packed.
    pub wire_size: u64,
}

impl HttpClient {
    /// A client whose connections `connector` opens.
    pub fn new(connector: Connector) -> Self {
        let shared = Shared { connector, pool: Pool::default(), tls: TlsClient::default(), tasks: Tasks::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Sends a request and gives the answer once its head is there. The URI must be absolute; `Host` and
    /// `Content-Length` are added. No redirect is followed.
    ///
    /// A request that finds its pooled connection closed goes out on another one, but only when nothing of it was sent.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn send(&self, request: Request<Bytes>, options: &ConnectionOptions) -> Result<Response, HttpError> {
        let started = Instant::now();
        let route = self.route(request.uri(), options)?;
        let mut outgoing = Outgoing::new(request, &route);
        let mut timings = Timings::default();
        loop {
            let pooled = self.shared.pool.take(&route).await;
            let reused = pooled.is_some();
            let (mut sender, peer) = match pooled {
                Some(pooled) => pooled,
                // On the heap: rare and large, and every request would have to make room for it.
                None => Box::pin(connect::open(&self.shared, &route, &mut timings)).await?,
            };
            let request = outgoing.prepare(&sender, &route.target);
            match sender.send(request).await {
                Ok(answer) => {
                    timings.first_byte = started.elapsed();
                    timings.total = timings.first_byte;
                    let lease = Lease::new(Arc::clone(&self.shared), sender, peer, route);
                    let (head, incoming) = answer.into_parts();
                    return Ok(Response {
                        status: head.status,
                        version: head.version,
                        headers: head.headers,
                        timings,
                        peer,
                        body: Body::new(incoming, lease, started),
                    });
                }
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if reused => outgoing.request = unsent,
                    _ => return Err(HttpError::from_hyper(failed.into_error())),
                },
            }
        }
    }

    fn route(&self, uri: &Uri, options: &ConnectionOptions) -> Result<Arc<Route>, HttpError> {
        if let Some(known) = self.shared.pool.route(uri, options) {
            return Ok(known);
        }
        Ok(Arc::new(Route::of(uri, self.proxy_for(uri, options), options)?))
    }

    fn proxy_for(&self, uri: &Uri, options: &ConnectionOptions) -> Option<Proxy> {
        match &options.proxy {
            ProxyChoice::Direct => None,
            ProxyChoice::Through(proxy) => Some(proxy.clone()),
            ProxyChoice::Configured => {
                let https = uri.scheme() == Some(&Scheme::HTTPS);
                let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
                self.shared.connector.proxies().find(https, uri.host()?, port).cloned()
            }
        }
    }
}

impl Response {
    /// The next piece of the body as it came over the wire; `None` at its end.
    ///
    /// # Errors
    /// [`HttpError::Closed`] when the connection breaks off, [`HttpError::Protocol`] when the framing is wrong.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        let chunk = self.body.chunk().await;
        self.timings.total = self.body.elapsed();
        chunk
    }

    /// Reads the body into one buffer and unpacks it.
    ///
    /// # Errors
    /// As [`Response::chunk`]; [`HttpError::TooLarge`] when it is over `limit` bytes, packed or unpacked;
    /// [`HttpError::Decode`] when it is not what `Content-Encoding` says.
    pub async fn collect(mut self, limit: u64) -> Result<FullResponse, HttpError> {
        let packed = self.body.collect(limit).await?;
        self.timings.total = self.body.elapsed();
        let wire_size = packed.len() as u64;
        let body = if packed.is_empty() || !self.headers.contains_key(CONTENT_ENCODING) {
            packed
        } else {
            // On the heap: the decoders are large.
            Box::pin(decode::unpack(&self.headers, packed, limit)).await?
        };
        Ok(FullResponse {
            status: self.status,
            version: self.version,
            headers: self.headers,
            timings: self.timings,
            body,
            wire_size,
        })
    }
}

/// The `http` crate's form of `url`, without user, password and fragment.
///
/// # Errors
/// [`HttpError::Url`] when it has no host, is neither `http` nor `https`, or holds what a request line cannot.
pub fn request_uri(url: &Url) -> Result<Uri, HttpError> {
    let refuse = |reason| HttpError::Url { url: shown(url), reason };
    let scheme = match url.scheme() {
        "http" => Scheme::HTTP,
        "https" => Scheme::HTTPS,
        _ => return Err(refuse("only `http` and `https` are supported")),
    };
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let path = PathAndQuery::try_from(&url[url::Position::BeforePath..url::Position::AfterQuery])
        .map_err(|_| refuse("its path or query cannot be sent"))?;
    Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|_| refuse("its host cannot be used"))
}

/// `url` without user and password, for messages.
pub fn shown(url: &Url) -> String {
    if url.username().is_empty() && url.password().is_none() {
        return url.as_str().to_owned();
    }
    let mut shown = url.clone();
    // Both fail only for URLs that cannot have a user, which then have nothing to hide.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.into()
}

/// A request on its way, put in the form that each connection it is tried on needs.
struct Outgoing {
    request: Request<Full<Bytes>>,
    /// As the caller gave it.
    uri: Uri,
    /// The `Host` header that the caller set, or the URI's.
    host: HeaderValue,
}

impl Outgoing {
    fn new(request: Request<Bytes>, route: &Route) -> Self {
        let mut request = request.map(Full::new);
        let uri = request.uri().clone();
        let host = request.headers_mut().remove(HOST).unwrap_or_else(|| route.host.clone());
        Self { request, uri, host }
    }

    fn prepare(&mut self, sender: &Sender, target: &Target) -> Request<Full<Bytes>> {
        let mut request = std::mem::take(&mut self.request);
        match sender {
            Sender::Http1(_) => {
                *request.version_mut() = Version::HTTP_11;
                request.headers_mut().insert(HOST, self.host.clone());
                *request.uri_mut() = match target.forwarding_proxy(false) {
                    Some(proxy) => {
                        if let Some(value) = &proxy.authorization {
                            let mut value = HeaderValue::from_str(value).expect("base64 is visible ASCII");
                            value.set_sensitive(true);
                            request.headers_mut().insert(PROXY_AUTHORIZATION, value);
                        }
                        self.uri.clone()
                    }
                    None => origin_form(&self.uri),
                };
            }
            Sender::Http2(_) => {
                *request.version_mut() = Version::HTTP_2;
                for name in [HOST, CONNECTION, TRANSFER_ENCODING, UPGRADE, HeaderName::from_static("keep-alive")] {
                    request.headers_mut().remove(name);
                }
                *request.uri_mut() = with_authority(&self.uri, &self.host);
            }
        }
        request
    }
}

fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::from(path)
}

/// HTTP/2 has no `Host` header: what it would say is the URI's authority.
fn with_authority(uri: &Uri, host: &HeaderValue) -> Uri {
    let mut parts = uri.clone().into_parts();
    if let Ok(authority) = host.as_bytes().try_into() {
        parts.authority = Some(authority);
    }
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}
