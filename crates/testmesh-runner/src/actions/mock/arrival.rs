//! A request as a mock server sees it, and as it is recorded.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use chrono::{DateTime, Utc};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request};

use super::respond::{Answered, Prepared};
use crate::value::{Map, Value};

/// Bytes of a body that are recorded; a longer one is recorded as text of this length.
const RECORDED_BODY: usize = 256 << 10;

/// A request.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) method: String,
    /// The path as it was sent.
    pub(super) path: String,
    /// Path and query as they were sent.
    pub(super) url: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    /// JSON and forms are values, what is no text is bytes.
    pub(super) body: Value,
    /// The body as it was sent; none when it is no text.
    pub(super) text: Option<ByteString>,
    /// Whether the body was larger than the mock server takes, so that there is none.
    pub(super) too_large: bool,
    size: usize,
}

impl Incoming {
    pub(super) fn read(request: Request<Option<Bytes>>) -> Self {
        let (parts, body) = request.into_parts();
        let too_large = body.is_none();
        let bytes = body.unwrap_or_default();
        let size = bytes.len();
        let text = ByteString::try_from(bytes.clone()).ok();
        let query = parts.uri.query().unwrap_or_default();
        Self {
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            url: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            body: body_value(&parts.headers, text.as_ref(), bytes),
            headers: parts.headers,
            text,
            too_large,
            size,
        }
    }

    /// Every value of a header.
    pub(super) fn header(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).into_iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }

    /// Every value of a parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Vec<String> {
        self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    /// `GET /users?page=2`.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.url)
    }

    /// The body as it was sent: JSON as a value, a form as its text; none when it is empty, or no text.
    fn sent_body(&self) -> Option<serde_json::Value> {
        let text = self.text.as_ref().filter(|text| !text.is_empty())?;
        if is_form(&self.headers) { Some(text.to_string().into()) } else { Some(self.body.to_json()) }
    }

    fn query_value(&self) -> Value {
        several(self.query.iter().map(|(name, value)| (name.as_str(), value.as_str())), false)
    }

    fn headers_value(&self) -> Value {
        let values =
            self.headers.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())));
        let values: Vec<_> = values.collect();
        several(values.iter().map(|(name, value)| (*name, &**value)), true)
    }

    /// The names that templates see of it: `request`, `path`, `query`, `headers`, `body`.
    pub(super) fn names(&self, params: &[(String, String)]) -> Vec<(ByteString, Value)> {
        let params = Value::map(params.iter().map(|(name, value)| (name.as_str(), Value::from(value.as_str()))));
        let (query, headers) = (self.query_value(), self.headers_value());
        let request = Value::map([
            ("method", Value::from(self.method.as_str())),
            ("path", Value::from(self.path.as_str())),
            ("url", Value::from(self.url.as_str())),
            ("query", query.clone()),
            ("query_params", query.clone()),
            ("headers", headers.clone()),
            ("body", self.body.clone()),
            ("body_text", self.text.clone().map_or(Value::Null, Value::Text)),
            ("params", params.clone()),
            ("path_params", params.clone()),
        ]);
        let names = [
            ("request", request),
            ("path", params),
            ("query", query),
            ("headers", headers),
            ("body", self.body.clone()),
        ];
        names.into_iter().map(|(name, value)| (ByteString::from_static(name), value)).collect()
    }
}

/// Names with their values; a name that comes more than once has a list of them.
fn several<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>, ignore_case: bool) -> Value {
    let mut map = Map { ignore_case, ..Map::default() };
    for (name, value) in pairs {
        let value = Value::from(value);
        let together = match map.entries.get(name) {
            None => value,
            Some(Value::List(items)) => Value::list(items.iter().cloned().chain([value]).collect()),
            Some(first) => Value::list(vec![first.clone(), value]),
        };
        map.entries.insert(name.into(), together);
    }
    Value::Map(Arc::new(map))
}

/// The content type without its parameters, in small letters; empty when there is none.
fn essence(headers: &HeaderMap) -> String {
    let declared = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let essence = declared.as_deref().and_then(|declared| declared.split(';').next());
    essence.unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_form(headers: &HeaderMap) -> bool {
    essence(headers) == "application/x-www-form-urlencoded"
}

/// The body by its content type; without one, JSON is known by how it begins.
fn body_value(headers: &HeaderMap, text: Option<&ByteString>, bytes: Bytes) -> Value {
    let Some(text) = text else { return Value::Bytes(bytes) };
    let essence = essence(headers);
    if is_form(headers) {
        let pairs: Vec<_> = url::form_urlencoded::parse(text.as_bytes()).collect();
        return several(pairs.iter().map(|(name, value)| (&**name, &**value)), false);
    }
    if text.is_empty() {
        return Value::Null;
    }
    let is_json = essence.contains("json") || (essence.is_empty() && text.trim_start().starts_with(['{', '[']));
    let parsed = if is_json { Value::from_json_bytes(bytes).ok() } else { None };
    parsed.unwrap_or_else(|| Value::Text(text.clone()))
}

/// A request and what it was answered, as contracts see it.
#[derive(Debug, Clone)]
pub(in crate::actions) struct Exchange {
    pub(in crate::actions) method: String,
    /// Path and query.
    pub(in crate::actions) url: String,
    pub(in crate::actions) path: String,
    pub(in crate::actions) query: Vec<(String, String)>,
    /// Names in small letters.
    pub(in crate::actions) request_headers: Vec<(String, String)>,
    pub(in crate::actions) request_body: Option<serde_json::Value>,
    pub(in crate::actions) answered: Answered,
}

/// A request, recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    /// Its place among all requests, from 1.
    pub(super) number: u64,
    pub(super) time: DateTime<Utc>,
    pub(super) incoming: Incoming,
    /// The endpoint that answered.
    pub(super) endpoint: Option<String>,
    /// What was answered.
    pub(super) answer: Prepared,
    /// Why there was no proper answer.
    pub(super) error: Option<String>,
}

impl Recorded {
    /// Bytes that it keeps in memory, about.
    pub(super) fn weight(&self) -> usize {
        self.incoming.size * 2 + self.answer.size() + 2_048
    }

    /// Both sides of it, when an endpoint answered without a fault.
    pub(super) fn exchange(&self) -> Option<Exchange> {
        let incoming = &self.incoming;
        if self.endpoint.is_none() || self.error.is_some() {
            return None;
        }
        let answered = self.answer.answered()?;
        let headers = incoming.headers.iter();
        Some(Exchange {
            method: incoming.method.clone(),
            url: incoming.url.clone(),
            path: incoming.path.clone(),
            query: incoming.query.clone(),
            request_headers: headers
                .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            request_body: incoming.sent_body(),
            answered,
        })
    }

    pub(super) fn value(&self) -> Value {
        let incoming = &self.incoming;
        let body = match &incoming.text {
            Some(text) if text.len() > RECORDED_BODY => {
                let end = (0..=RECORDED_BODY).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
                Value::from(&text[..end])
            }
            _ => incoming.body.clone(),
        };
        let text = |text: &Option<String>| text.as_deref().map_or(Value::Null, Value::from);
        Value::map([
            ("number", Value::from(self.number)),
            ("time", Value::from(self.time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))),
            ("method", Value::from(incoming.method.as_str())),
            ("path", Value::from(incoming.path.as_str())),
            ("url", Value::from(incoming.url.as_str())),
            ("query", incoming.query_value()),
            ("headers", incoming.headers_value()),
            ("body", body),
            ("endpoint", text(&self.endpoint)),
            ("status", self.answer.told()),
            ("error", text(&self.error)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(content_type: Option<&str>, text: &'static str) -> Value {
        let mut request = Request::post("/a?x=1&x=2&y=%20");
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        Incoming::read(request.body(Some(Bytes::from_static(text.as_bytes()))).unwrap()).body
    }

    #[test]
    fn a_body_is_read_by_its_type() {
        for (content_type, text, expect) in [
            (Some("application/json"), r#"{"a": 1}"#, serde_json::json!({"a": 1})),
            (Some("application/problem+json; charset=utf-8"), "[1]", serde_json::json!([1])),
            (Some("application/json"), "{", serde_json::json!("{")),
            (None, r#" {"a": 1}"#, serde_json::json!({"a": 1})),
            (None, "a", serde_json::json!("a")),
            (Some("text/plain"), "{}", serde_json::json!("{}")),
            (
                Some("application/x-www-form-urlencoded"),
                "a=1&b=x+y&a=2",
                serde_json::json!({"a": ["1", "2"], "b": "x y"}),
            ),
            (Some("application/json"), "", serde_json::json!(null)),
        ] {
            assert_eq!(body(content_type, text).to_json(), expect, "{content_type:?} {text}");
        }
    }

    #[test]
    fn templates_see_every_part_of_a_request() {
        let request = Request::get("/a?x=1&x=2").header("X-One", "1").body(Some(Bytes::new())).unwrap();
        let names = Incoming::read(request).names(&[("id".to_owned(), "7".to_owned())]);
        let all = Value::map(names);
        assert_eq!(all.get("path").unwrap().to_json(), serde_json::json!({"id": "7"}));
        assert_eq!(all.get("query").unwrap().to_json(), serde_json::json!({"x": ["1", "2"]}));
        assert_eq!(all.get("headers").unwrap().get("X-ONE").unwrap(), Value::from("1"));
        assert_eq!(all.get("request").unwrap().get("path").unwrap(), Value::from("/a"));
    }
}
