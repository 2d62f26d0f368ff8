//! Times in expressions: texts in RFC 3339 that sort like times, and durations in seconds.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

use super::EvalError;
use super::ast::Operator;
use super::eval::error;
use crate::builtins::iso;
use crate::value::Value;

/// `date(value)`, `date(text, layout)`: the time as RFC 3339 in UTC with milliseconds.
pub(super) fn date(value: &Value, layout: Option<&Value>) -> Result<Value, EvalError> {
    let time = match (value, layout) {
        (Value::Null, _) => return Ok(Value::Null),
        (Value::Text(text), Some(layout)) => {
            let layout = layout.as_str().ok_or_else(|| error("`date` takes its format as text"))?;
            check_layout(layout)?;
            DateTime::parse_from_str(text, layout)
                .map(|time| time.to_utc())
                .or_else(|_| NaiveDateTime::parse_from_str(text, layout).map(|time| time.and_utc()))
                .or_else(|_| {
                    NaiveDate::parse_from_str(text, layout).map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc())
                })
                .ok()
        }
        (Value::Text(text), None) => read(text),
        (number, _) => number.as_f64().and_then(from_unix),
    };
    time.map(|time| Value::from(iso(time))).ok_or_else(|| {
        let shown = super::explain::show(value);
        error(format!("`date` cannot read {shown} as a time"))
    })
}

/// `duration(text)`: seconds.
pub(super) fn duration(value: &Value) -> Result<Value, EvalError> {
    let text = match value {
        Value::Text(text) => text.clone(),
        number if crate::value::is_number(number) => number.to_text().unwrap_or_default(),
        _ => return Err(error(format!("`duration` takes a text, not {}", super::explain::with_article(value)))),
    };
    let parsed = crate::units::parse_duration(&text).ok_or_else(|| EvalError {
        message: format!("`{text}` is not a duration"),
        help: Some("write it like `300ms`, `1.5s`, `1h30m`, or a number of seconds".to_owned()),
    })?;
    Ok(seconds(parsed.as_secs_f64()))
}

/// A time in a `strftime` layout.
pub(super) fn format(time: DateTime<Utc>, layout: &str) -> Result<Value, EvalError> {
    check_layout(layout)?;
    Ok(Value::from(time.format(layout).to_string()))
}

/// Times minus times are seconds, and a time plus or minus seconds is a time. `None` for anything else.
pub(super) fn shift(operator: Operator, left: &Value, right: &Value) -> Result<Option<Value>, EvalError> {
    let (Operator::Add | Operator::Subtract, Value::Text(text)) = (operator, left) else { return Ok(None) };
    let Some(time) = stamp(text) else { return Ok(None) };
    if let (Operator::Subtract, Value::Text(other)) = (operator, right) {
        let Some(other) = stamp(other) else { return Ok(None) };
        let apart = (time - other).num_microseconds().ok_or_else(|| error("these times are too far apart"))?;
        #[allow(clippy::cast_precision_loss, reason = "microseconds of any sensible span are exact in a float")]
        return Ok(Some(seconds(apart as f64 / 1e6)));
    }
    let Some(amount) = crate::value::is_number(right).then(|| right.as_f64()).flatten() else { return Ok(None) };
    let amount = if operator == Operator::Add { amount } else { -amount };
    #[allow(clippy::cast_possible_truncation, reason = "a float is cut to the range of integers, and then refused")]
    let delta = TimeDelta::microseconds((amount * 1e6).round() as i64);
    match time.checked_add_signed(delta) {
        Some(moved) if amount.abs() < 1e12 => Ok(Some(Value::from(iso(moved)))),
        _ => Err(error("the time is out of range")),
    }
}

fn stamp(text: &str) -> Option<DateTime<Utc>> {
    // A cheap look first: this is asked for every text that is added to something.
    let looks_like_one = text.len() >= 20 && text.as_bytes()[10] == b'T' && text.as_bytes()[4] == b'-';
    if looks_like_one { DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc()) } else { None }
}

fn read(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text)) {
        return Some(time.to_utc());
    }
    for layout in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, layout) {
            return Some(time.and_utc());
        }
    }
    for layout in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"] {
        if let Ok(time) = DateTime::parse_from_str(text, layout) {
            return Some(time.to_utc());
        }
    }
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(day.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    crate::value::parse_number(text).and_then(|number| number.as_f64()).and_then(from_unix)
}

/// Unix time in seconds, or in milliseconds where seconds would be past the year 5000.
fn from_unix(number: f64) -> Option<DateTime<Utc>> {
    let seconds = if number.abs() >= 1e11 { number / 1e3 } else { number };
    #[allow(clippy::cast_possible_truncation, reason = "cut to the range of integers, and then refused by `checked`")]
    DateTime::from_timestamp_micros((seconds * 1e6).round() as i64)
}

fn seconds(number: f64) -> Value {
    #[allow(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    if number.fract() == 0.0 && number.abs() < 9e15 { Value::Int(number as i64) } else { Value::Float(number) }
}

fn check_layout(layout: &str) -> Result<(), EvalError> {
    if StrftimeItems::new(layout).any(|item| matches!(item, Item::Error)) {
        let mut wrong = error(format!("`{layout}` is not a time format"));
        wrong.help = Some("write it like `%Y-%m-%d %H:%M:%S`".to_owned());
        return Err(wrong);
    }
    Ok(())
}
