//! The internal listener's loop: HTTP/1.1 and HTTP/2, by mutual TLS when there are certificates, bounded.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::Credentials;
use crate::http::TaskExecutor;
use crate::tasks::Tasks;

/// Time for a TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Time for a request's head on HTTP/1.1, the wait for it included: longer than a client keeps an idle connection, so
/// that it is the client that gives it up and no request meets a closing connection.
const HEAD_TIME: Duration = Duration::from_mins(2);

/// How often an HTTP/2 connection that is silent is asked whether it is alive, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Requests at once on one HTTP/2 connection: each of the caller's own callers (4,096 of them, by the public listener)
/// may wait for something, which must not hold up the others. As many may hang up before they were heard.
const STREAMS: u32 = 8192;

/// Connections open at once; more wait in the operating system's backlog.
const CONNECTIONS: usize = 4096;

/// How long a failed `accept` (no free file handle) waits before the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Among the extensions of a request that came over a connection whose client showed a certificate of the authority.
#[derive(Debug, Clone, Copy)]
pub(super) struct VerifiedPeer;

/// Serves `service` on `listener` until `stop` fires, then lets calls that are being answered finish, for at most
/// `grace`. `service` is an axum router; a gRPC server's routes are one too. Put the [`Gate`](super::Gate) in it: this
/// takes care of TLS alone.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    credentials: Credentials,
    stop: CancellationToken,
    grace: Duration,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connections = Tasks::new();
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = tokio::select! {
            // Cancel-safe: waiting for a cancellation keeps no state.
            () = stop.cancelled() => break,
            // Cancel-safe per docs on `acquire_owned()`: only the place in the queue is lost.
            permit = Arc::clone(&free).acquire_owned() => permit.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            // Cancel-safe: waiting for a cancellation keeps no state.
            () = stop.cancelled() => break,
            // Cancel-safe per docs on `accept()`.
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let listening = Listening { service: service.clone(), stop: stop.clone(), tasks: connections.clone() };
                let credentials = credentials.clone();
                connections.spawn(async move {
                    listening.accept(stream, &credentials).await;
                    drop(permit);
                });
            }
            Err(error) => pause_after(&error).await,
        }
    }
    drop(listener);
    if tokio::time::timeout(grace, connections.join()).await.is_err() {
        tracing::warn!("some internal connections were still open when the process stopped");
    }
}

/// What each connection needs.
struct Listening<S> {
    service: S,
    stop: CancellationToken,
    tasks: Tasks,
}

impl<S, B> Listening<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn accept(self, stream: TcpStream, credentials: &Credentials) {
        // Answers are written whole; waiting to fill a packet only adds latency. A failure is not worth a refusal.
        let _ = stream.set_nodelay(true);
        let Some(tls) = credentials.tls() else { return self.converse(stream, false).await };
        let acceptor = TlsAcceptor::from(tls.server());
        match tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.converse(stream, true).await,
            Ok(Err(error)) => tracing::warn!(error = %error, "a TLS handshake of an internal call failed"),
            Err(_) => tracing::warn!("a TLS handshake of an internal call took too long"),
        }
    }

    /// Answers what comes over an open connection until either side ends it.
    async fn converse(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, verified: bool) {
        let Listening { service, stop, tasks } = self;
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            if verified {
                request.extensions_mut().insert(VerifiedPeer);
            }
            hyper::service::Service::call(&TowerToHyperService::new(service.clone()), request)
        });
        let mut builder = auto::Builder::new(TaskExecutor(tasks));
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
        let (interval, timeout) = PING;
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(interval)
            .keep_alive_timeout(timeout)
            .adaptive_window(true)
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(STREAMS as usize);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let outcome = tokio::select! {
            // Not dropped in between: the same pinned future goes on below.
            outcome = connection.as_mut() => outcome,
            // Cancel-safe: waiting for a cancellation keeps no state.
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(error, "an internal connection ended early");
        }
    }
}

async fn pause_after(error: &io::Error) {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused => {}
        _ => {
            tracing::error!(error = %error, "cannot accept internal connections");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}
