//! What the drill says to servers: HTTP requests, and commands to Redis as any other program could send them.

use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// A field of the body.
    pub(crate) fn text(&self, field: &str) -> Result<String, String> {
        let body: Value = serde_json::from_str(&self.body).map_err(|error| format!("{error} in `{}`", self.body))?;
        body[field].as_str().map(str::to_owned).ok_or_else(|| format!("no `{field}` in `{}`", self.body))
    }

    /// Itself, if it says that it worked.
    pub(crate) fn done(self, what: &str) -> Result<Self, String> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        Err(format!("{what} answered {}: {}", self.status, self.body))
    }
}

/// Sends one request on a connection of its own. A body that begins with `{` is JSON, any other is YAML.
pub(crate) async fn send(
    authority: &str,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: String,
) -> Result<Answer, String> {
    let exchange = async {
        let stream = TcpStream::connect(authority).await.map_err(|error| format!("connect to {authority}: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let failed = |error: hyper::Error| format!("{method} {path}: {error}");
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(failed)?;
        let content_type = if body.starts_with('{') { "application/json" } else { "application/yaml" };
        let mut request = Request::builder().method(method).uri(path).header("host", authority);
        request = request.header("content-type", content_type);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(failed)?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.map_err(failed)?.to_bytes();
            Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
        };
        let mut exchange = std::pin::pin!(exchange);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            answer = exchange.as_mut() => answer,
            ended = connection.as_mut() => match ended {
                // The whole answer may have been read before the connection ended.
                Ok(()) => exchange.await,
                Err(error) => Err(failed(error)),
            },
        }
    };
    tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| format!("{method} {path}: no answer"))?
}

/// Sends one command to Redis and gives back the first line of the answer. Its own connection, closed after.
pub(crate) fn redis(port: u16, words: &[&[u8]]) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("redis: {error}");
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut command = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        command.extend_from_slice(word);
        command.extend_from_slice(b"\r\n");
    }
    stream.write_all(&command).map_err(failed)?;
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).map_err(failed)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}
