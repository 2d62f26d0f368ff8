//! Stamps on the wire: RFC 3339, in UTC, with milliseconds. For `#[serde(serialize_with = …)]`; reading takes any precision.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// Writes `time` as `2026-11-22T18:47:17.123Z`.
pub fn millis<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// As [`millis`]; absent is null.
#[allow(clippy::ref_option, reason = "serde hands over a reference to the field")]
pub fn optional_millis<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => millis(time, serializer),
        None => serializer.serialize_none(),
    }
}
