//! The listener's loop: HTTP/1.1 with bounds on connections and on the time a request's head may take.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use testmesh_shared::tasks::Tasks;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Time for a request's head to arrive.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Connections open at once; more wait in the operating system's backlog.
const CONNECTIONS: usize = 4096;

/// How long a failed `accept` (no free file handle) waits before the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `stop` fires, then lets requests that are being answered finish, for at most
/// `grace`.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, grace: Duration) {
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
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    serve_connection(stream, router, stop).await;
                    drop(permit);
                });
            }
            Err(error) => pause_after(&error).await,
        }
    }
    drop(listener);
    if tokio::time::timeout(grace, connections.join()).await.is_err() {
        tracing::warn!("some connections were still open when the server stopped");
    }
}

async fn serve_connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    // Answers are written whole; waiting to fill a packet only adds latency. A failure is not worth a refusal.
    let _ = stream.set_nodelay(true);
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).with_upgrades();
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
        tracing::debug!(error = %error, "a connection ended early");
    }
}

async fn pause_after(error: &io::Error) {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused => {}
        _ => {
            tracing::error!(error = %error, "cannot accept connections");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}
