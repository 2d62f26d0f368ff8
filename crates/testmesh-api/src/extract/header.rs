//! Request headers that carry a value of their own.

use axum::http::HeaderMap;
use testmesh_shared::trace::TraceParent;

use crate::problem::Problem;

/// The value of `name` as text; given at most once.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::invalid(format!("the header `{name}` is given more than once")));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Problem::invalid(format!("the header `{name}` must be visible ASCII"))),
    }
}

/// The caller's `Idempotency-Key`: 1 to 255 visible ASCII characters.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(key) = text(headers, "idempotency-key")? else { return Ok(None) };
    if (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Some(key));
    }
    Err(Problem::invalid("the header `idempotency-key` must have 1 to 255 visible ASCII characters"))
}

/// The `Last-Event-ID` a stream goes on after; 0 when there is none.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<u64, Problem> {
    match text(headers, "last-event-id")? {
        None => Ok(0),
        Some(text) => event_number("the header `last-event-id`", text),
    }
}

/// The number of an event: it fits a 64-bit integer with a sign, as databases and JSON readers have it.
pub(crate) fn event_number(field: &str, text: &str) -> Result<u64, Problem> {
    let number = text.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok());
    number.ok_or_else(|| Problem::invalid(format!("{field} must be the number of an event")))
}

/// The trace that a `traceparent` header (W3C Trace Context) names; a malformed one is ignored, as its specification
/// asks.
pub(crate) fn trace_id(headers: &HeaderMap) -> Option<String> {
    trace_parent(headers).map(TraceParent::trace_id)
}

/// As [`trace_id`], with the caller's span in it.
pub(crate) fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get("traceparent")?.to_str().ok()?.parse().ok()
}
