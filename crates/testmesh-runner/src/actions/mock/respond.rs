//! The answer of an endpoint: a response, or a fault that keeps it from arriving.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use testmesh_shared::host::Answer;

use crate::action::ActionError;
use crate::actions::http_request::header;
use crate::engine::{Resolved, items, mismatch};
use crate::record::ErrorKind;
use crate::value::Value;

/// The words for what can go wrong on purpose.
pub(super) const FAULTS: &[&str] = &["reset", "close", "malformed", "truncate", "hang"];

/// What is no HTTP, whoever reads it.
const NONSENSE: &[u8] = b"\x16\x03not http at all\r\n\r\n\x00\xff\xfe";
/// The longest pause before an answer.
const LONGEST_DELAY: Duration = Duration::from_hours(1);

/// An answer, ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    pub(super) delay: Duration,
    fault: Option<Fault>,
}

/// What an endpoint answered, as contracts see it.
#[derive(Debug, Clone)]
pub(in crate::actions) struct Answered {
    pub(in crate::actions) status: u16,
    /// Names in small letters.
    pub(in crate::actions) headers: Vec<(String, String)>,
    pub(in crate::actions) body: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Reset,
    Close,
    Malformed,
    Truncate,
    Hang,
}

impl Fault {
    fn word(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Close => "close",
            Self::Malformed => "malformed",
            Self::Truncate => "truncate",
            Self::Hang => "hang",
        }
    }
}

impl Prepared {
    /// Reads a resolved `response`.
    pub(super) fn read(config: &Resolved) -> Result<Self, ActionError> {
        let status = config.integer("status")?.unwrap_or(200);
        let status = u16::try_from(status).ok().filter(|status| (200..=599).contains(status));
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.ok_or_else(|| {
            let value = config.value("status").cloned().unwrap_or_default();
            mismatch("status", "a status from 200 to 599", &value)
        })?;
        let mut headers = HeaderMap::new();
        for (name, value) in &config.map("headers")? {
            for value in items(value).unwrap_or_else(|| vec![value.clone()]) {
                let (name, value) = header(name, &value.to_text().unwrap_or_default())?;
                headers.append(name, value);
            }
        }
        let (body, content_type) = body(config)?;
        if let Some(content_type) = content_type {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
        }
        // Both follow from the body.
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
        Ok(Self { status, headers, body, delay: delay(config)?, fault: fault(config)? })
    }

    /// An answer of the mock server itself.
    pub(super) fn own(status: StatusCode, body: &serde_json::Value) -> Self {
        let content_type = HeaderValue::from_static("application/json");
        let headers = [(CONTENT_TYPE, content_type)].into_iter().collect();
        Self { status, headers, body: body.to_string().into(), delay: Duration::ZERO, fault: None }
    }

    /// The status, or the fault.
    pub(super) fn told(&self) -> Value {
        match self.fault {
            None => Value::Int(i64::from(self.status.as_u16())),
            Some(fault) => Value::from(fault.word()),
        }
    }

    /// Bytes of the body.
    pub(super) fn size(&self) -> usize {
        self.body.len()
    }

    /// Status, headers and body, unless a fault keeps them from arriving. A body that is no text is left out.
    pub(super) fn answered(&self) -> Option<Answered> {
        if self.fault.is_some() {
            return None;
        }
        let headers = self.headers.iter();
        let headers = headers
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let is_json =
            self.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().windows(4).any(|part| part == b"json"));
        let body = match std::str::from_utf8(&self.body) {
            Ok("") | Err(_) => None,
            Ok(text) if is_json => serde_json::from_str(text).ok(),
            Ok(text) => Some(text.into()),
        };
        Some(Answered { status: self.status.as_u16(), headers: headers.collect(), body })
    }

    /// Waits and gives what is sent.
    pub(super) async fn answer(self) -> Answer {
        tokio::time::sleep(self.delay).await;
        let raw = |bytes: Bytes, reset| Answer::Raw { bytes, reset };
        match self.fault {
            None => {
                let mut response = Response::new(self.body);
                *response.status_mut() = self.status;
                *response.headers_mut() = self.headers;
                Answer::Response(response)
            }
            Some(Fault::Reset) => raw(Bytes::new(), true),
            Some(Fault::Close) => raw(Bytes::new(), false),
            Some(Fault::Malformed) => raw(Bytes::from_static(NONSENSE), false),
            Some(Fault::Truncate) => raw(self.half(), false),
            // Ends with the mock server, or when the client gives up.
            Some(Fault::Hang) => std::future::pending().await,
        }
    }

    /// The whole head and half of the body.
    fn half(&self) -> Bytes {
        let reason = self.status.canonical_reason().unwrap_or_default();
        let mut sent = format!("HTTP/1.1 {} {reason}\r\n", self.status.as_u16()).into_bytes();
        for (name, value) in &self.headers {
            sent.extend_from_slice(name.as_str().as_bytes());
            sent.extend_from_slice(b": ");
            sent.extend_from_slice(value.as_bytes());
            sent.extend_from_slice(b"\r\n");
        }
        // A body of nothing has no half: the client waits for a byte that never comes.
        sent.extend_from_slice(format!("content-length: {}\r\n\r\n", self.body.len().max(1)).as_bytes());
        sent.extend_from_slice(&self.body[..self.body.len() / 2]);
        sent.into()
    }
}

/// The body, and what it is when no header says so.
fn body(config: &Resolved) -> Result<(Bytes, Option<&'static str>), ActionError> {
    const JSON: &str = "application/json";
    const TEXT: &str = "text/plain; charset=utf-8";
    let json = |value: &Value| serde_json::to_vec(value).map(Bytes::from).unwrap_or_default();
    if let Some(value) = config.value("body_json") {
        return Ok((json(value), Some(JSON)));
    }
    if let Some(text) = config.text("body_text")? {
        return Ok((text.into_bytes(), Some(TEXT)));
    }
    if let Some(text) = config.text("body_base64")? {
        let bytes = STANDARD
            .decode(text.trim())
            .map_err(|error| ActionError::new(ErrorKind::Config, format!("`body_base64` is not base64: {error}")))?;
        return Ok((bytes.into(), Some("application/octet-stream")));
    }
    Ok(match config.value("body") {
        None | Some(Value::Null) => (Bytes::new(), None),
        Some(Value::Text(text)) => (text.clone().into_bytes(), Some(TEXT)),
        Some(Value::Bytes(bytes)) => (bytes.clone(), Some("application/octet-stream")),
        Some(value) => (json(value), Some(JSON)),
    })
}

fn delay(config: &Resolved) -> Result<Duration, ActionError> {
    let milliseconds = config.integer("delay_ms")?.and_then(|n| u64::try_from(n).ok()).map(Duration::from_millis);
    let delay = config.duration("delay")?.or(milliseconds).unwrap_or_default();
    if delay > LONGEST_DELAY {
        return Err(ActionError::new(ErrorKind::Config, format!("`delay` is longer than {LONGEST_DELAY:?}")));
    }
    Ok(delay)
}

fn fault(config: &Resolved) -> Result<Option<Fault>, ActionError> {
    let Some(word) = config.text("fault")? else { return Ok(None) };
    let all = [Fault::Reset, Fault::Close, Fault::Malformed, Fault::Truncate, Fault::Hang];
    let fault = all.into_iter().find(|fault| fault.word() == &*word);
    fault.map(Some).ok_or_else(|| mismatch("fault", &FAULTS.join(", "), &Value::Text(word)))
}
