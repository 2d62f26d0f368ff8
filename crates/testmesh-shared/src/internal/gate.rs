//! In front of everything that is called from another process: who may call, how much, how many, how long.
//!
//! The gate serves axum and tonic alike: it is a tower layer over any body, and only the shape of a refusal differs.
//! What is behind it can ask for [`Admitted`] among a request's extensions, and so cannot be mounted without it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;
use tracing::Instrument;

use super::refusal::{Grpc, Http, Refusal, Render};
use super::serve::VerifiedPeer;
use super::{CallContext, Credentials, RELEASE, TOKEN_SETTING, header};
use crate::error::ErrorCode;

/// Longer ones are not logged: anybody can send them.
const LONGEST_RELEASE: usize = 32;

/// What one process takes on for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// Bytes of a request's body (default 32 MiB: a flow of 4 MiB, were every character escaped six-fold, is 24).
    /// Refused by `Content-Length` here; whoever reads a body of unknown length keeps to it by
    /// [`Admitted::body_bytes`].
    pub body_bytes: usize,
    /// Calls at once (default 1,024); one more is turned away at once, to be repeated. A stream counts until its first
    /// byte.
    pub concurrent: usize,
    /// Longest time until the head of an answer (default 30 s), also for callers that would wait longer.
    pub time: Duration,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self { body_bytes: 32 << 20, concurrent: 1024, time: Duration::from_secs(30) }
    }
}

/// Lets calls with the right credentials through, within limits. Clones count together.
#[derive(Debug, Clone)]
pub struct Gate {
    credentials: Credentials,
    limits: GateLimits,
    free: Arc<Semaphore>,
}

/// Among the extensions of every request that a gate let through; made by nobody else.
#[derive(Debug, Clone, Copy)]
pub struct Admitted {
    body_bytes: usize,
}

impl Admitted {
    /// The most bytes that may be read of the request's body.
    pub fn body_bytes(self) -> usize {
        self.body_bytes
    }
}

impl Gate {
    /// A gate for callers with `credentials`. Without a token among them, calls must come over a connection that
    /// [`serve`](super::serve()) accepted by mutual TLS.
    pub fn new(credentials: Credentials, limits: GateLimits) -> Self {
        Self { credentials, limits, free: Arc::new(Semaphore::new(limits.concurrent)) }
    }

    /// The layer for HTTP: `router.layer(gate.http())`.
    pub fn http(&self) -> GateLayer<Http> {
        GateLayer { gate: self.clone(), shape: Http }
    }

    /// The layer for gRPC: `Server::builder().layer(gate.grpc())`.
    pub fn grpc(&self) -> GateLayer<Grpc> {
        GateLayer { gate: self.clone(), shape: Grpc }
    }

    /// Decides about a request by its head; the permit is for the time until its answer.
    fn admit<B>(&self, request: &Request<B>) -> Result<OwnedSemaphorePermit, Refusal> {
        let refuse = |code, message: String| Refusal { code, message, before_work: true };
        let verified = request.extensions().get::<VerifiedPeer>().is_some();
        if self.credentials.tls().is_some() && !verified {
            let message = "this process wants a client certificate of its own authority".to_owned();
            return Err(refuse(ErrorCode::Unauthorized, message));
        }
        if let Some(token) = self.credentials.token() {
            let presented = bearer(request.headers()).ok_or_else(|| {
                refuse(ErrorCode::Unauthorized, format!("no internal token (`{TOKEN_SETTING}`) came"))
            })?;
            if !token.accepts(presented) {
                let message = format!("the internal token is none of those in this process's `{TOKEN_SETTING}`");
                return Err(refuse(ErrorCode::Unauthorized, message));
            }
        }
        let length = request.headers().get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let limit = self.limits.body_bytes;
        if length.and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length > limit as u64) {
            return Err(refuse(ErrorCode::PayloadTooLarge, format!("the body is larger than {limit} bytes")));
        }
        Arc::clone(&self.free).try_acquire_owned().map_err(|_| {
            let message = format!("{} calls are being answered already", self.limits.concurrent);
            refuse(ErrorCode::Overloaded, message)
        })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(http::header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

/// Puts a [`Gate`] in front of a service.
#[derive(Debug, Clone)]
pub struct GateLayer<R> {
    gate: Gate,
    shape: R,
}

impl<S, R: Clone> tower_layer::Layer<S> for GateLayer<R> {
    type Service = Gated<S, R>;

    fn layer(&self, inner: S) -> Gated<S, R> {
        Gated { inner, gate: self.gate.clone(), shape: self.shape.clone() }
    }
}

/// A service behind a [`Gate`].
#[derive(Debug, Clone)]
pub struct Gated<S, R> {
    inner: S,
    gate: Gate,
    shape: R,
}

impl<S, R, Q, A> Service<Request<Q>> for Gated<S, R>
where
    S: Service<Request<Q>, Response = Response<A>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    R: Render<A>,
    Q: Send + 'static,
    A: Send + 'static,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<A>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        let started = Instant::now();
        let context = CallContext::from_headers(request.headers());
        let (request_id, trace_id) = (Arc::clone(&context.request_id), context.trace.trace_id());
        let path = request.uri().path().to_owned();
        let peer = request.headers().get(header::RELEASE).and_then(|value| value.to_str().ok());
        let peer = peer.filter(|release| release.len() <= LONGEST_RELEASE).map(str::to_owned);
        let admitted = self.gate.admit(&request);
        request.extensions_mut().insert(Admitted { body_bytes: self.gate.limits.body_bytes });
        // The clone takes the next call: this instance is the one that said it is ready.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let (limit, shape) = (self.gate.limits.time, self.shape.clone());
        let span = tracing::info_span!("internal_call", %request_id, trace_id);
        let answer = async move {
            let outcome = match admitted {
                Ok(permit) => {
                    let answer = answer(&mut inner, request, context, limit).await;
                    drop(permit);
                    answer
                }
                Err(refusal) => Err(refusal),
            };
            let mut response = match outcome {
                Ok(answer) => answer?,
                Err(refusal) => {
                    tracing::warn!(path, release = peer, code = %refusal.code, "internal call: {}", refusal.message);
                    shape.render(&refusal)
                }
            };
            let headers = response.headers_mut();
            headers.insert(header::RELEASE, HeaderValue::from_static(RELEASE));
            headers.extend(HeaderValue::from_str(&request_id).ok().map(|id| (header::REQUEST_ID, id)));
            let duration_ms = started.elapsed().as_secs_f64() * 1000.0;
            let status = response.status().as_u16();
            tracing::debug!(path, release = peer, status, duration_ms, "internal call");
            Ok(response)
        };
        Box::pin(answer.instrument(span))
    }
}

/// Runs the call within its time; a panic ends the call and nothing else.
async fn answer<S, Q, A>(
    inner: &mut S,
    request: Request<Q>,
    context: CallContext,
    limit: Duration,
) -> Result<Result<Response<A>, S::Error>, Refusal>
where
    S: Service<Request<Q>, Response = Response<A>>,
{
    let left = context.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let time = left.map_or(limit, |left| left.min(limit));
    let refuse = |code, message: String| Refusal { code, message, before_work: false };
    // Inside the context, as a service may do its work before it gives its future.
    let work = context.scope(async { inner.call(request).await });
    match tokio::time::timeout(time, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(refuse(ErrorCode::Internal, "a fault of this process; its log has the reason".to_owned())),
        Err(_) => {
            Err(refuse(ErrorCode::Timeout, format!("this call had {} ms and did not come to an end", time.as_millis())))
        }
    }
}
