//! One runner at one address: its connection, kept open, and what is known of how it does.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioTimer;
use parking_lot::Mutex;
use testmesh_shared::http::TaskExecutor;
use testmesh_shared::internal::{Credentials, Dialer};
use testmesh_shared::tasks::Tasks;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Service;

use crate::executor::recorder::chain;

/// Time for a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// How often a connection is asked whether it is alive, and how long it may take to say so: a silent runner is noticed
/// within five seconds, and one that is merely busy is not taken for it.
const PING: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3));
/// Bytes of one stream that may wait here to be read. The connection has no bound of its own: a follower that reads
/// slowly does not hold up the others.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Bytes of the headers and trailers of an answer.
const HEADERS: u32 = 64 << 10;

type Link = http2::SendRequest<Body>;

/// One runner at one address.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    origin: Uri,
    link: Mutex<Option<Link>>,
    in_flight: AtomicUsize,
    /// Others are asked first until then.
    shunned: Mutex<Option<Instant>>,
    /// Why there is no connection.
    trouble: Mutex<Option<String>>,
    /// Fires when the name does not stand for this address any more.
    pub(super) gone: CancellationToken,
}

impl Peer {
    pub(super) fn new(address: SocketAddr, origin: Uri) -> Self {
        Self {
            address,
            origin,
            link: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            shunned: Mutex::default(),
            trouble: Mutex::default(),
            gone: CancellationToken::new(),
        }
    }

    /// Where calls say that they go.
    pub(super) fn origin(&self) -> Uri {
        self.origin.clone()
    }

    /// The open connection.
    pub(super) fn link(&self) -> Option<Link> {
        self.link.lock().clone().filter(|link| !link.is_closed())
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Lets others be asked first, for a while.
    pub(super) fn shun(&self, time: Duration) {
        *self.shunned.lock() = Instant::now().checked_add(time);
    }

    pub(super) fn is_shunned(&self) -> bool {
        self.shunned.lock().is_some_and(|end| Instant::now() < end)
    }

    /// Why there is no connection; none when there is one, or none was tried yet.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Opens the connection and keeps it until it ends or the peer is [`gone`](Peer::gone). `opened` is called when it
    /// is there. `false`: it could not be opened.
    pub(super) async fn hold(&self, dialer: &Dialer, tasks: &Tasks, opened: impl FnOnce()) -> bool {
        let handshake = async {
            let socket = dialer.dial_at(self.address).await.map_err(|error| chain(&error))?;
            builder(tasks).handshake(socket).await.map_err(|error| chain(&error))
        };
        let outcome = match tokio::time::timeout(CONNECT, handshake).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no connection within {} ms", CONNECT.as_millis())),
        };
        let (link, connection) = match outcome {
            Ok(open) => open,
            Err(error) => {
                tracing::debug!(address = %self.address, error, "the runner cannot be reached");
                *self.trouble.lock() = Some(error);
                return false;
            }
        };
        *self.link.lock() = Some(link);
        *self.trouble.lock() = None;
        *self.shunned.lock() = None;
        opened();
        let ended = tokio::select! {
            // Ends as soon as the connection takes no new calls; those in flight are driven elsewhere.
            ended = connection => ended,
            // Cancel-safe: waiting for a cancellation keeps no state. Calls in flight go on.
            () = self.gone.cancelled() => Ok(()),
        };
        *self.link.lock() = None;
        if let Err(error) = ended {
            let error = chain(&error);
            tracing::info!(address = %self.address, error, "the connection to the runner broke");
            *self.trouble.lock() = Some(error);
        }
        true
    }
}

fn builder(tasks: &Tasks) -> http2::Builder<TaskExecutor> {
    let mut builder = http2::Builder::new(TaskExecutor(tasks.clone()));
    let (interval, timeout) = PING;
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(interval)
        .keep_alive_timeout(timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADERS);
    builder
}

/// A connection as the generated client uses it: every request carries the credentials, the trace and the time left.
#[derive(Clone)]
pub(super) struct Channel {
    pub(super) link: Link,
    pub(super) credentials: Credentials,
    /// How long the caller waits; none for a stream that lasts.
    pub(super) time: Option<Duration>,
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Response<Incoming>, hyper::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.link.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        self.credentials.stamp(request.headers_mut(), self.time);
        if let Some(time) = self.time {
            // What any gRPC server or proxy on the way goes by; at most eight digits.
            let milliseconds = time.as_millis().min(99_999_999);
            let value = HeaderValue::try_from(format!("{milliseconds}m"));
            request.headers_mut().extend(value.ok().map(|value| (GRPC_TIMEOUT, value)));
        }
        Box::pin(self.link.send_request(request))
    }
}
