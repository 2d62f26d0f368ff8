//! Calls of another process over HTTP, a question and an answer in JSON: pooled, limited, repeated where that is safe.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::dial::connection_options;
use super::{CallContext, CallError, Credentials, Target, WireError, header};
use crate::error::ErrorCode;
use crate::http::{FullResponse, HttpClient, HttpError, HttpVersion};
use crate::net::Connector;
use crate::tls::TlsError;

/// The longest pause before the first repetition; each later one may be four times as long.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// What a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// For the call with all its repetitions (default 5 s).
    pub time: Duration,
    /// How often it is tried (default 4), with pauses of up to 25, 100 and 400 ms between.
    pub attempts: u32,
    /// Bytes of an answer (default 64 MiB).
    pub answer_bytes: u64,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self { time: Duration::from_secs(5), attempts: 4, answer_bytes: 64 << 20 }
    }
}

/// Whether a call may be made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Carrying it out twice is as good as once.
    Always,
    /// Only while it is certain that it was not carried out: there was no connection, or it was turned away.
    WhileNotBegun,
}

/// What came back.
#[derive(Debug)]
pub struct Answer<T> {
    /// The answer itself.
    pub value: T,
    /// Whether an earlier attempt may have been carried out too, though its answer was lost.
    pub repeated: bool,
}

/// Calls one process. Clones share the connections: HTTP/1.1, kept alive, at most 64 of them idle.
#[derive(Debug, Clone)]
pub struct Client {
    http: HttpClient,
    target: Target,
    credentials: Credentials,
    limits: ClientLimits,
}

/// An attempt that failed, and what that says about the next.
enum Failed {
    /// Nothing was carried out.
    BeforeWork(CallError),
    /// It may have been carried out.
    Uncertain(CallError),
    /// Another attempt would fare no better.
    Final(CallError),
}

impl Client {
    /// For calls of the process at `target`. Makes no connection yet.
    pub fn new(target: Target, credentials: Credentials, limits: ClientLimits) -> Self {
        Self { http: HttpClient::new(Connector::default()), target, credentials, limits }
    }

    /// The same connections under other limits.
    #[must_use]
    pub fn with_limits(&self, limits: ClientLimits) -> Self {
        Self { limits, ..self.clone() }
    }

    /// Where it calls.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Posts `question` to `path` and reads the answer. An answer of any status but 200 is a [`CallError`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<Q, A>(&self, path: &str, question: &Q, repeat: Repeat) -> Result<Answer<A>, CallError>
    where
        Q: Serialize + Sync + ?Sized,
        A: DeserializeOwned,
    {
        let body = serde_json::to_vec(question).expect("questions are structs of plain values");
        let (response, repeated) = self.exchange(path, body.into(), repeat).await?;
        let value = serde_json::from_slice(&response.body).map_err(|error| {
            // Its message can quote the answer, which may hold what must not be logged.
            let place = format!("{:?} at line {} column {}", error.classify(), error.line(), error.column());
            self.malformed(&response.headers, place)
        })?;
        Ok(Answer { value, repeated })
    }

    /// Sends until there is an answer of 200, for as long and as often as the limits allow.
    async fn exchange(&self, path: &str, body: Bytes, repeat: Repeat) -> Result<(FullResponse, bool), CallError> {
        let started = Instant::now();
        let context = CallContext::current().unwrap_or_else(CallContext::generate);
        let left = context.deadline.map(|deadline| deadline.saturating_duration_since(started));
        let time = left.map_or(self.limits.time, |left| left.min(self.limits.time));
        let mut repeated = false;
        let attempts = async {
            let mut attempt = 1;
            loop {
                let left = time.saturating_sub(started.elapsed());
                let error = match self.attempt(path, body.clone(), left).await {
                    Ok(response) => return Ok((response, repeated)),
                    Err(Failed::Final(error)) => return Err(error),
                    Err(Failed::BeforeWork(error)) => error,
                    Err(Failed::Uncertain(error)) if repeat == Repeat::WhileNotBegun => return Err(error),
                    Err(Failed::Uncertain(error)) => {
                        repeated = true;
                        error
                    }
                };
                if attempt >= self.limits.attempts {
                    return Err(error);
                }
                tracing::debug!(request_id = %context.request_id, path, attempt, "internal call failed: {error}");
                tokio::time::sleep(pause(attempt)).await;
                attempt += 1;
            }
        };
        // One scope for all attempts, so that they share the request id and the trace.
        match tokio::time::timeout(time, context.clone().scope(attempts)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::TimedOut { target: self.target.to_string(), time }),
        }
    }

    async fn attempt(&self, path: &str, body: Bytes, left: Duration) -> Result<FullResponse, Failed> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        let uri = format!("{}{path}", self.target);
        *request.uri_mut() = uri.parse().map_err(|_| {
            let source = HttpError::Url { url: uri.clone(), reason: "it cannot be sent" };
            Failed::Final(self.unreachable(source))
        })?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.credentials.stamp(request.headers_mut(), Some(left));
        let options = connection_options(&self.credentials, HttpVersion::Http1);
        let response = self.http.send(request, &options).await.map_err(|error| self.failed(error))?;
        let response = response.collect(self.limits.answer_bytes).await.map_err(|error| self.failed(error))?;
        if response.status == StatusCode::OK { Ok(response) } else { Err(self.declined(&response)) }
    }

    /// What an answer that never came says about the next attempt.
    fn failed(&self, error: HttpError) -> Failed {
        match error {
            HttpError::Net(_) | HttpError::Tls(TlsError::Handshake { .. }) | HttpError::Proxy { .. } => {
                Failed::BeforeWork(self.unreachable(error))
            }
            HttpError::Closed(_) => Failed::Uncertain(self.unreachable(error)),
            HttpError::Url { .. } | HttpError::Tls(TlsError::Settings { .. }) => Failed::Final(self.unreachable(error)),
            HttpError::TooLarge { limit } => {
                Failed::Final(CallError::TooLarge { target: self.target.to_string(), limit })
            }
            HttpError::Protocol(_) | HttpError::Decode { .. } => {
                Failed::Final(self.malformed(&HeaderMap::new(), error.to_string()))
            }
        }
    }

    /// What an answer other than 200 says about the next attempt.
    fn declined(&self, response: &FullResponse) -> Failed {
        let target = self.target.to_string();
        let error: Option<WireError> = serde_json::from_slice(&response.body).ok();
        let error = match (response.status, error) {
            (StatusCode::UNAUTHORIZED, error) => {
                let message = error.map_or_else(|| "it gave no reason".to_owned(), |error| error.message);
                return Failed::Final(CallError::Unauthorized { target, message });
            }
            (_, Some(error)) => error,
            // A proxy on the way, or a server that stops.
            (StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT, None) => {
                WireError::new(ErrorCode::Unavailable, format!("status {}", response.status.as_u16()))
            }
            (status, None) => {
                let reason = format!("status {} without an error in JSON", status.as_u16());
                return Failed::Final(self.malformed(&response.headers, reason));
            }
        };
        let error = CallError::Answered { target, error };
        match response.status {
            _ if response.headers.contains_key(header::TURNED_AWAY) && response.status.is_server_error() => {
                Failed::BeforeWork(error)
            }
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Failed::Uncertain(error)
            }
            _ => Failed::Final(error),
        }
    }

    fn unreachable(&self, source: HttpError) -> CallError {
        CallError::Unreachable { target: self.target.to_string(), source }
    }

    fn malformed(&self, headers: &HeaderMap, reason: String) -> CallError {
        let release = headers.get(header::RELEASE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        CallError::Malformed { target: self.target.to_string(), release, reason }
    }
}

/// A random part of the longest pause after this attempt, so that many callers do not come back at once.
fn pause(attempt: u32) -> Duration {
    let longest = FIRST_PAUSE * 4_u32.saturating_pow(attempt - 1);
    longest.mul_f64(rand::random::<f64>())
}
