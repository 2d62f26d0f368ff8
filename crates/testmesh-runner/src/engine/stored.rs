//! Values as records keep them: plain JSON, with what is too long cut.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use bytestring::ByteString;
use serde_json::Value as Json;

use crate::action::Shown;
use crate::mask::Masker;
use crate::record::LazyJson;
use crate::value::{Map, Value};

/// Bytes of a body, or of any one value, that a record keeps (`http-api.md`).
pub(crate) const BODY_LIMIT: usize = 256 * 1024;

/// A request or response for the record. What is made later is looked at by those who want it; where there are secrets
/// it is made at once, so that what leaves the run is masked.
pub(crate) fn exchange(shown: &Shown, masker: &Masker) -> Option<LazyJson> {
    match shown {
        Shown::Nothing => None,
        Shown::Later(make) if masker.is_empty() => Some(LazyJson::later(Arc::clone(make))),
        shown => {
            let message = message(shown.value(), masker);
            (!message.is_null()).then(|| LazyJson::of(message))
        }
    }
}

/// As [`message`], of a run without secrets.
pub(crate) fn recorded(value: Value) -> Value {
    message(value, &Masker::default())
}

/// A request or response of JSON's own kinds. A body that is too long is cut, and `truncated` and `size` (of the whole,
/// in bytes) stand beside it.
pub(crate) fn message(value: Value, masker: &Masker) -> Value {
    let Value::Map(map) = &value else {
        return cut(&value, masker).map_or(value, |(kept, _)| kept);
    };
    if !map.entries.values().any(needs_cut) {
        return value;
    }
    let mut message = Map::default();
    for (key, value) in &map.entries {
        let (kept, size) = cut(value, masker).unwrap_or_else(|| (value.clone(), None));
        message.entries.insert(key.clone(), kept);
        if let (Some(size), "body") = (size, &**key) {
            message.entries.insert(ByteString::from_static("truncated"), Value::Bool(true));
            message.entries.insert(ByteString::from_static("size"), Value::from(size));
        }
    }
    Value::Map(Arc::new(message))
}

/// A value for the record.
pub(crate) fn value(value: &Value, masker: &Masker) -> Json {
    match cut(value, masker) {
        Some((kept, _)) => kept.to_json(),
        None => value.to_json(),
    }
}

/// Whether a value cannot be kept as it is.
fn needs_cut(value: &Value) -> bool {
    !is_plain(value) || room(value, BODY_LIMIT).is_none()
}

/// Whether there are but JSON's own kinds in a value, all of them parsed.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Text(_) => true,
        Value::Decimal(_) | Value::Raw(_) | Value::Bytes(_) => false,
        Value::List(items) => items.iter().all(is_plain),
        Value::Map(map) => map.entries.values().all(is_plain),
    }
}

/// What is kept of `value`, and its full size in bytes when it was cut; `None` when it is kept as it is.
fn cut(value: &Value, masker: &Masker) -> Option<(Value, Option<usize>)> {
    let text = |kept: String, size| Some((Value::Text(kept.into()), Some(size)));
    match value {
        Value::Text(whole) if whole.len() > BODY_LIMIT => text(head(whole, masker), whole.len()),
        Value::Raw(raw) if raw.text().len() > BODY_LIMIT => {
            let start = lossy_head(&raw.shared_text().into_bytes(), masker);
            text(head(&start, masker), raw.text().len())
        }
        // Whole groups of three bytes, so that the text decodes.
        Value::Bytes(bytes) if bytes.len() > BODY_LIMIT => {
            text(STANDARD.encode(&bytes[..BODY_LIMIT / 3 * 3]), bytes.len())
        }
        Value::List(_) | Value::Map(_) if room(value, BODY_LIMIT).is_none() => {
            let whole = value.to_text().unwrap_or_default();
            text(head(&whole, masker), whole.len())
        }
        _ if is_plain(value) => None,
        _ => Some((Value::from_json(value.to_json()), None)),
    }
}

/// The first bytes of JSON text, a little more than is kept.
fn lossy_head(bytes: &Bytes, masker: &Masker) -> String {
    let end = bytes.len().min(BODY_LIMIT + masker.longest() + 4);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The first [`BODY_LIMIT`] bytes of a longer text. Masked before it is cut: half a secret would not be found later.
fn head(text: &str, masker: &Masker) -> String {
    let longest = masker.longest();
    let mut hidden = masker.text(prefix(text, BODY_LIMIT + longest)).into_owned();
    // What is left of a secret that the cut went through lies in the last bytes.
    let keep = prefix(&hidden, hidden.len().saturating_sub(longest).min(BODY_LIMIT)).len();
    hidden.truncate(keep);
    hidden
}

/// The longest prefix of at most `limit` bytes that ends at a character.
fn prefix(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What is left of `room` bytes after the JSON of `value`, about; `None` when it does not fit.
fn room(value: &Value, room: usize) -> Option<usize> {
    match value {
        Value::Text(text) => room.checked_sub(text.len() + 2),
        Value::Raw(raw) => room.checked_sub(raw.text().len()),
        Value::Bytes(bytes) => room.checked_sub(bytes.len() / 3 * 4),
        Value::List(items) => items.iter().try_fold(room, |left, item| self::room(item, left.checked_sub(1)?)),
        Value::Map(map) => {
            map.entries.iter().try_fold(room, |left, (key, value)| self::room(value, left.checked_sub(key.len() + 4)?))
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Decimal(_) => {
            room.checked_sub(4)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_messages_are_kept_whole() {
        let response = Value::map([("status", Value::Int(200)), ("body", Value::Text("hello".into()))]);
        let json = message(response, &Masker::default()).to_json();
        assert_eq!(json, serde_json::json!({"status": 200, "body": "hello"}));
        assert!(exchange(&Value::Null.into(), &Masker::default()).is_none());
    }

    #[test]
    fn long_bodies_are_cut_and_say_so() {
        let body = "é".repeat(BODY_LIMIT);
        let response = Value::map([("body", Value::Text(body.as_str().into()))]);
        let json = message(response, &Masker::default()).to_json();
        assert_eq!(json["truncated"], true);
        assert_eq!(json["size"], body.len());
        assert_eq!(json["body"].as_str().unwrap().len(), BODY_LIMIT);
    }

    #[test]
    fn unparsed_json_is_cut_by_bytes() {
        let text = format!("[\"{}\"]", "x".repeat(2 * BODY_LIMIT));
        let body = Value::from_json_bytes(Bytes::from(text.clone())).unwrap();
        let json = message(Value::map([("body", body)]), &Masker::default()).to_json();
        assert_eq!(json["size"], text.len());
        assert_eq!(json["body"].as_str().unwrap(), &text[..BODY_LIMIT]);
    }

    #[test]
    fn long_binary_bodies_stay_decodable() {
        let body = Value::Bytes(Bytes::from(vec![7; BODY_LIMIT + 10]));
        let json = message(Value::map([("body", body)]), &Masker::default()).to_json();
        assert_eq!(json["size"], BODY_LIMIT + 10);
        assert_eq!(STANDARD.decode(json["body"].as_str().unwrap()).unwrap(), vec![7; BODY_LIMIT / 3 * 3]);
    }

    #[test]
    fn large_lists_are_cut_as_text() {
        let list = Value::list((0..BODY_LIMIT).map(|_| Value::Text("y".into())).collect());
        let kept = value(&list, &Masker::default());
        assert_eq!(kept.as_str().unwrap().len(), BODY_LIMIT);
    }

    #[test]
    fn a_secret_across_the_cut_leaves_no_part_of_itself() {
        let secret = "topsecretvalue";
        let masker = Masker::new([secret.to_owned()]);
        for shift in 0..=secret.len() {
            let text = format!("{}{secret}{}", "x".repeat(BODY_LIMIT - shift), "z".repeat(100));
            let kept = value(&Value::Text(text.as_str().into()), &masker);
            assert!(!kept.as_str().unwrap().contains("top"), "shift {shift}");
        }
    }
}
