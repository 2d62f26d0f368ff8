//! A load of clients that each keep one connection and send the next request when the last one is answered.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A request that is sent again and again.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) body: Bytes,
    /// What the answer must contain.
    pub(super) wanted: &'static str,
}

/// What a load came to.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// Sends `call` from `clients` connections for `time`; any wrong answer ends it.
pub(super) async fn load(authority: &str, call: &Call, clients: usize, time: Duration) -> Result<Load, String> {
    let started = Instant::now();
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let (authority, call) = (authority.to_owned(), call.clone());
        lanes.spawn(async move { lane(&authority, &call, started + time).await });
    }
    let mut taken = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        taken.extend(lane.map_err(|error| format!("a client ended: {error}"))??);
    }
    let seconds = started.elapsed().as_secs_f64();
    taken.sort_unstable();
    let at = |part: usize| taken.get(taken.len() * part / 100).map_or(0.0, |taken| taken.as_secs_f64() * 1e3);
    #[allow(clippy::cast_precision_loss, reason = "a count of requests fits in 53 bits")]
    let per_second = taken.len() as f64 / seconds;
    Ok(Load { per_second, p50_ms: at(50), p99_ms: at(99) })
}

/// Sends `call` once and gives the answer's body.
pub(super) async fn once(authority: &str, call: &Call) -> Result<String, String> {
    let mut connection = connect(authority).await?;
    send(&mut connection, authority, call).await
}

async fn lane(authority: &str, call: &Call, end: Instant) -> Result<Vec<Duration>, String> {
    let mut connection = connect(authority).await?;
    let mut taken = Vec::new();
    while Instant::now() < end {
        let started = Instant::now();
        send(&mut connection, authority, call).await?;
        taken.push(started.elapsed());
    }
    Ok(taken)
}

/// Opens a connection.
pub(super) async fn connect(authority: &str) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = TcpStream::connect(authority).await.map_err(|error| format!("connect to {authority}: {error}"))?;
    stream.set_nodelay(true).map_err(|error| format!("set no delay: {error}"))?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("speak HTTP with {authority}: {error}"))?;
    #[allow(clippy::disallowed_methods, reason = "the connection ends with its sender")]
    tokio::spawn(connection);
    Ok(sender)
}

/// Sends `call` over an open connection and gives the answer's body.
pub(super) async fn send(
    connection: &mut SendRequest<Full<Bytes>>,
    authority: &str,
    call: &Call,
) -> Result<String, String> {
    let content_type = if call.body.first() == Some(&b'{') { "application/json" } else { "application/yaml" };
    let request = Request::builder()
        .method(call.method)
        .uri(&call.path)
        .header("host", authority)
        .header("content-type", content_type)
        .body(Full::new(call.body.clone()))
        .map_err(|error| format!("build the request: {error}"))?;
    let response = connection.send_request(request).await.map_err(|error| format!("{}: {error}", call.path))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| format!("{}: {error}", call.path))?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    if !status.is_success() || !body.contains(call.wanted) {
        return Err(format!("{} answered {status}: {body}", call.path));
    }
    Ok(body)
}
