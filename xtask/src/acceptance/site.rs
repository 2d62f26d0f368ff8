//! A server as a case sees it: requests to a base URL, answers with what must be in them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(45);
/// How often something that is awaited is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Counts names.
static NAMES: AtomicU64 = AtomicU64::new(0);

/// The server.
#[derive(Debug, Clone)]
pub(super) struct Site {
    authority: String,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    what: String,
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) text: String,
}

impl Site {
    pub(super) fn new(authority: &str) -> Self {
        Self { authority: authority.to_owned() }
    }

    /// A name that nobody else uses.
    pub(super) fn name(what: &str) -> String {
        format!("{what}-{}-{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, String> {
        self.send("GET", path, &[], Body::None).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Answer, String> {
        self.send("POST", path, &[], Body::Json(body)).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Answer, String> {
        self.send("PUT", path, &[], Body::Json(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Answer, String> {
        self.send("DELETE", path, &[], Body::None).await
    }

    /// Stores a flow; its id.
    pub(super) async fn stored(&self, yaml: &str) -> Result<String, String> {
        let answer = self.send("POST", "/api/v1/flows", &[], Body::Yaml(yaml)).await?;
        text(&answer.expect(201)?, "id")
    }

    /// Runs a stored flow and waits for its end.
    pub(super) async fn run(&self, flow: &str, body: &Value) -> Result<Value, String> {
        self.post(&format!("/api/v1/flows/{flow}/executions?wait=30s"), body).await?.expect(200)
    }

    /// Sends one request on a connection of its own.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body<'_>,
    ) -> Result<Answer, String> {
        let what = format!("{method} {path}");
        let exchange = async {
            let stream = TcpStream::connect(&self.authority).await.map_err(|error| format!("{what}: {error}"))?;
            stream.set_nodelay(true).map_err(|error| format!("{what}: {error}"))?;
            let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
            let (mut sender, connection) = handshake.await.map_err(|error| format!("{what}: {error}"))?;
            let mut request = Request::builder().method(method).uri(path).header("host", &self.authority);
            let (content_type, bytes) = match body {
                Body::None => (None, Bytes::new()),
                Body::Json(value) => (Some("application/json"), Bytes::from(value.to_string())),
                Body::Yaml(text) => (Some("application/yaml"), Bytes::from(text.to_owned())),
            };
            if let Some(content_type) = content_type {
                request = request.header("content-type", content_type);
            }
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Full::new(bytes)).map_err(|error| format!("{what}: {error}"))?;
            let exchange = async {
                let response = sender.send_request(request).await.map_err(|error| format!("{what}: {error}"))?;
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                let body = response.into_body().collect().await.map_err(|error| format!("{what}: {error}"))?;
                let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                Ok(Answer { what: what.clone(), status, headers, text })
            };
            let mut exchange = std::pin::pin!(exchange);
            tokio::select! {
                answer = exchange.as_mut() => answer,
                // The whole answer may have been read before the connection ended.
                _ = connection => exchange.await,
            }
        };
        tokio::time::timeout(ANSWER, exchange).await.map_err(|_| format!("{what}: no answer"))?
    }

    /// Asks for `path` until a field of the answer is one of `wanted`.
    pub(super) async fn until(&self, path: &str, field: &str, wanted: &[&str]) -> Result<Value, String> {
        let started = Instant::now();
        loop {
            let found = self.get(path).await?.expect(200)?;
            if found[field].as_str().is_some_and(|word| wanted.contains(&word)) {
                return Ok(found);
            }
            if started.elapsed() > ANSWER {
                return Err(format!("{path}: `{field}` did not become {wanted:?}: {found}"));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// What a request carries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body<'a> {
    None,
    Json(&'a Value),
    Yaml(&'a str),
}

impl Answer {
    /// The body as JSON, if the status is this.
    pub(super) fn expect(&self, status: u16) -> Result<Value, String> {
        if self.status != status {
            return Err(format!("{} answered {} instead of {status}: {}", self.what, self.status, self.text));
        }
        if self.text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&self.text).map_err(|error| format!("{}: {error} in `{}`", self.what, self.text))
    }

    /// The problem document, if status and code are these.
    pub(super) fn problem(&self, status: u16, code: &str) -> Result<Value, String> {
        let problem = self.expect(status)?;
        if problem["code"] != code || self.header("content-type") != "application/problem+json" {
            return Err(format!("{}: the code `{code}` was expected: {problem}", self.what));
        }
        Ok(problem)
    }

    /// A header, empty when it is not there.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A text of an object.
pub(super) fn text(value: &Value, field: &str) -> Result<String, String> {
    value[field].as_str().map(str::to_owned).ok_or_else(|| format!("no text `{field}` in {value}"))
}

/// The elements of a list in an object.
pub(super) fn items<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>, String> {
    value[field].as_array().ok_or_else(|| format!("no list `{field}` in {value}"))
}

/// An error that names `what` unless both are the same.
pub(super) fn same<A, B>(what: &str, found: &A, wanted: &B) -> Result<(), String>
where
    A: std::fmt::Debug + PartialEq<B> + ?Sized,
    B: std::fmt::Debug + ?Sized,
{
    if found == wanted { Ok(()) } else { Err(format!("{what}: {found:?} instead of {wanted:?}")) }
}

/// An error unless it holds.
pub(super) fn holds(what: &str, is_so: bool) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(what.to_owned()) }
}
