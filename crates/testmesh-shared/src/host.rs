//! HTTP/1.1 servers that flows run for their systems under test: bounded, and able to break off or talk nonsense.
//!
//! A connection lives in a task of the server; when the server is told to stop, each of them ends, after a moment for an
//! answer that is being sent.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::tasks::Tasks;

/// Time for a request's head, the wait for it included: longer than most clients keep an idle connection.
const HEAD_TIME: Duration = Duration::from_mins(2);
/// How long a failed `accept` (no free file handle) waits before the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long an answer that is being sent may go on when the server is told to stop.
const GRACE: Duration = Duration::from_millis(250);
/// How long writing nonsense may take.
const RAW_TIME: Duration = Duration::from_secs(10);

/// What a server answers.
#[derive(Debug)]
pub enum Answer {
    /// A response.
    Response(Response<Bytes>),
    /// These bytes as they are, whatever they mean; then the connection ends.
    Raw {
        /// What is written.
        bytes: Bytes,
        /// Whether the connection is reset (TCP RST) instead of closed.
        reset: bool,
    },
}

/// What a server bears.
#[derive(Debug, Clone, Copy)]
pub struct HostLimits {
    /// Bytes of a request's body.
    pub body: usize,
    /// Connections at once; more wait in the operating system's backlog.
    pub connections: usize,
}

/// Serves `listener` until the tasks are cancelled, each connection as one of `tasks`. A request comes with its whole
/// body, or with none when that is larger than it may be.
pub async fn serve<H, F>(listener: TcpListener, limits: HostLimits, tasks: Tasks, handler: H)
where
    H: Fn(Request<Option<Bytes>>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let free = Arc::new(Semaphore::new(limits.connections));
    let stop = tasks.cancelled().clone();
    let accepting = async {
        loop {
            let permit = Arc::clone(&free).acquire_owned().await.expect("the semaphore is never closed");
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (handler, stop) = (handler.clone(), stop.clone());
            tasks.spawn(async move {
                connection(stream, limits.body, handler, &stop).await;
                drop(permit);
            });
        }
    };
    let _: Option<Infallible> = stop.run_until_cancelled(accepting).await;
}

/// What ends a connection other than by HTTP.
#[derive(Debug)]
struct Raw {
    bytes: Bytes,
    reset: bool,
}

/// Ends the HTTP of a connection; what follows is a [`Raw`] answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection ends")]
struct Ended;

async fn connection<H, F>(stream: TcpStream, limit: usize, handler: H, stop: &CancellationToken)
where
    H: Fn(Request<Option<Bytes>>) -> F,
    F: Future<Output = Answer>,
{
    // Fails on a connection that is broken already, which the next read will tell.
    let _ = stream.set_nodelay(true);
    let raw = &Mutex::new(None);
    let handler = &handler;
    let service = hyper::service::service_fn(move |request: Request<Incoming>| async move {
        let request = collect(request, limit).await?;
        match handler(request).await {
            Answer::Response(response) => Ok(response.map(Full::new)),
            Answer::Raw { bytes, reset } => {
                *raw.lock() = Some(Raw { bytes, reset });
                Err(Ended)
            }
        }
    });
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service);
    // An error is the client's, or one of ours that `raw` says more about.
    tokio::select! {
        // Not dropped when the other arm wins: it gets a moment to finish its answer.
        _ = &mut serving => {}
        // Cancel-safe: waits for a cancellation.
        () = stop.cancelled() => {
            std::pin::Pin::new(&mut serving).graceful_shutdown();
            let _ = tokio::time::timeout(GRACE, &mut serving).await;
        }
    }
    let stream = serving.into_parts().io.into_inner();
    let ending = raw.lock().take();
    if let Some(ending) = ending {
        // Whoever does not read what was written is closed all the same.
        let _ = stop.run_until_cancelled(tokio::time::timeout(RAW_TIME, end(stream, ending))).await;
    }
}

/// The request with its whole body; none when it is larger than `limit`.
async fn collect(request: Request<Incoming>, limit: usize) -> Result<Request<Option<Bytes>>, Ended> {
    let (parts, body) = request.into_parts();
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(Request::from_parts(parts, Some(body.to_bytes()))),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Ok(Request::from_parts(parts, None)),
        Err(_) => Err(Ended),
    }
}

async fn end(mut stream: TcpStream, ending: Raw) -> io::Result<()> {
    stream.write_all(&ending.bytes).await?;
    if ending.reset {
        return stream.set_zero_linger();
    }
    stream.shutdown().await
}
