//! Connections of a run to gRPC servers: one for each address, which all calls share.
//!
//! They are HTTP/2 over a socket that the run's connector opened, and end with the run. What a server says about a call
//! is told apart from trouble on the way by one thing: whether a `grpc-status` came.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use bytestring::ByteString;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body::Frame;
use parking_lot::Mutex;
use prost_reflect::DescriptorPool;
use testmesh_shared::net::Connector;
use testmesh_shared::tasks::Tasks;
use testmesh_shared::tls::{Protocols, TlsClient};
use tonic::body::Body;
use tonic::codegen::Service;

use super::GrpcError;
use super::link::{Answer, Link};
use super::target::Target;
use crate::action::ActionError;
use crate::actions::http_request::chain;
use crate::engine::Resolved;
use crate::files::Files;

/// gRPC is spoken over HTTP/2 alone.
const HTTP2: Protocols = &[b"h2"];
/// How clients read `grpc-status-details-bin`.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The connections of one run.
#[derive(Default)]
pub(super) struct Channels {
    peers: Mutex<Vec<Arc<Peer>>>,
    /// Those that an address alone names, so that it is read once.
    by_address: Mutex<HashMap<ByteString, Arc<Peer>>>,
    tls: TlsClient,
    /// A few for each connection.
    tasks: Tasks,
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
    }
}

/// A server that the run has called.
pub(super) struct Peer {
    pub(super) target: Target,
    /// For people: `localhost:50051`.
    pub(super) shown: ByteString,
    /// Where calls say that they go.
    origin: Result<Uri, String>,
    /// Held while the connection is made, so that steps beside each other wait for one and do not make one each.
    link: tokio::sync::Mutex<Option<Link>>,
    /// What reflection said about each service.
    pub(super) services: Mutex<HashMap<String, DescriptorPool>>,
}

impl Peer {
    fn new(target: Target) -> Self {
        let (link, services) = Default::default();
        let origin = Uri::try_from(target.origin()).map_err(|error| error.to_string());
        Self { shown: target.shown().into(), origin, target, link, services }
    }

    /// Where calls say that they go.
    pub(super) fn origin(&self) -> Result<&Uri, GrpcError> {
        self.origin.as_ref().map_err(|error| GrpcError::Config(format!("the host cannot be asked for: {error}")))
    }
}

impl Channels {
    /// The server that the configuration names.
    pub(super) async fn read(&self, config: &Resolved, files: &Files) -> Result<Arc<Peer>, ActionError> {
        let alone = ["tls", "verify_tls"].iter().all(|key| config.value(key).is_none());
        let address = config.text("address")?.filter(|_| alone);
        if let Some(known) = address.as_ref().and_then(|address| self.by_address.lock().get(address).cloned()) {
            return Ok(known);
        }
        let peer = self.peer(Box::pin(Target::read(config, files)).await?);
        if let Some(address) = address {
            self.by_address.lock().insert(address, Arc::clone(&peer));
        }
        Ok(peer)
    }

    fn peer(&self, target: Target) -> Arc<Peer> {
        let mut peers = self.peers.lock();
        if let Some(known) = peers.iter().find(|peer| peer.target == target) {
            return Arc::clone(known);
        }
        let peer = Arc::new(Peer::new(target));
        peers.push(Arc::clone(&peer));
        peer
    }

    /// A channel for one call, over the connection that is there, or a new one.
    pub(super) async fn open(&self, connector: &Connector, peer: &Peer) -> Result<Channel, GrpcError> {
        let mut kept = peer.link.lock().await;
        if let Some(link) = kept.as_mut()
            && link.is_open().await
        {
            return Ok(Channel::over(link.clone()));
        }
        // On the heap: rare and large, and every call would have to make room for it.
        let link = Box::pin(self.connect(connector, &peer.target)).await?;
        *kept = Some(link.clone());
        Ok(Channel::over(link))
    }

    async fn connect(&self, connector: &Connector, target: &Target) -> Result<Link, GrpcError> {
        let tcp = connector.tcp(&target.host, target.port).await?.stream;
        let link = match &target.tls {
            None => Link::over(tcp, &self.tasks).await,
            Some(options) => {
                let tls = self.tls.handshake(tcp, &target.host, options, HTTP2).await?;
                if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err(GrpcError::Broken("the server does not offer HTTP/2 over TLS".to_owned()));
                }
                Link::over(tls, &self.tasks).await
            }
        };
        link.map_err(|error| GrpcError::Broken(chain(&error)))
    }
}

/// Trouble with a call on its way.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The connection broke, or does not speak HTTP/2.
    #[error(transparent)]
    Http(#[from] h2::Error),
    /// Whoever answered does not speak gRPC.
    #[error("it answered HTTP {status} with the content type `{content_type}`, and not gRPC")]
    NotGrpc { status: StatusCode, content_type: String },
}

/// A connection as one call uses it.
#[derive(Clone)]
pub(super) struct Channel {
    link: Link,
    said: Arc<AtomicBool>,
}

impl Channel {
    fn over(link: Link) -> Self {
        Self { link, said: Arc::default() }
    }

    /// The same connection for another call.
    pub(super) fn again(&self) -> Self {
        Self::over(self.link.clone())
    }

    /// Whether the server gave a status; otherwise an error is trouble on the way.
    pub(super) fn said(&self) -> bool {
        self.said.load(Ordering::Relaxed)
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Noted>;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Self::Response, CallError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let said = Arc::clone(&self.said);
        let answer = self.link.clone().send(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            let kind = answer.headers().get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
            if answer.status() != StatusCode::OK || !kind.starts_with(b"application/grpc") {
                let content_type = String::from_utf8_lossy(kind).into_owned();
                return Err(CallError::NotGrpc { status: answer.status(), content_type });
            }
            note_status(answer.headers_mut(), &said);
            Ok(answer.map(|body| Noted { body, said }))
        })
    }
}

/// The messages and the trailers of an answer.
pub(super) struct Noted {
    body: Answer,
    said: Arc<AtomicBool>,
}

impl http_body::Body for Noted {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let mut frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            note_status(trailers, &self.said);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(CallError::Http)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Notes whether there is a status; details that are not what they claim to be are left out.
fn note_status(headers: &mut HeaderMap, said: &AtomicBool) {
    const DETAILS: &str = "grpc-status-details-bin";
    if headers.contains_key("grpc-status") {
        said.store(true, Ordering::Relaxed);
    }
    if headers.get(DETAILS).is_some_and(|details| BASE64.decode(details.as_bytes()).is_err()) {
        headers.remove(DETAILS);
    }
}
