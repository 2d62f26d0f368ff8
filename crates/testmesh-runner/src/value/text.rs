//! The text of a value, as a template inserts it.

use bytestring::ByteString;

use super::Value;

/// See [`Value::to_text`].
pub(super) fn to_text(value: &Value) -> Option<ByteString> {
    match value {
        Value::Null => None,
        Value::Bool(true) => Some(ByteString::from_static("true")),
        Value::Bool(false) => Some(ByteString::from_static("false")),
        Value::Text(text) => Some(text.clone()),
        Value::Raw(raw) => Some(raw.shared_text()),
        Value::List(_) | Value::Map(_) => serde_json::to_string(value).ok().map(ByteString::from),
        Value::Bytes(bytes) => Some(match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes).into(),
        }),
        Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Decimal(_) => number(value).map(ByteString::from),
    }
}

/// The canonical text of a number: integers without exponent, floats in their shortest form.
pub(super) fn number(value: &Value) -> Option<String> {
    match value {
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        Value::Float(number) => Some(float(*number)),
        Value::Decimal(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Shortest, and without an exponent up to 21 digits, as browsers write numbers.
fn float(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude == 0.0 || (1e-7..1e21).contains(&magnitude) { number.to_string() } else { format!("{number:e}") }
}
