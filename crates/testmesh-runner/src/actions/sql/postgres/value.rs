//! PostgreSQL's text of a value, both ways.

use bytes::Bytes;
use bytestring::ByteString;
use postgres_types::{Kind, Oid, Type};
use rust_decimal::Decimal;

use crate::value::Value;

/// A value from its text, by the type of its column. What has no counterpart stays text.
pub(super) fn read(column: &Type, bytes: &Bytes) -> Value {
    let Ok(text) = ByteString::try_from(bytes.clone()) else { return Value::Bytes(bytes.clone()) };
    match column.kind() {
        Kind::Array(item) => array(item, &text).unwrap_or(Value::Text(text)),
        _ => scalar(column, text),
    }
}

fn scalar(column: &Type, text: ByteString) -> Value {
    let read = match *column {
        Type::BOOL => Some(Value::Bool(&*text == "t")),
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => text.parse().ok().map(Value::Int),
        Type::FLOAT4 | Type::FLOAT8 => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float),
        Type::NUMERIC => Decimal::from_str_exact(&text).ok().map(Value::Decimal),
        Type::JSON | Type::JSONB => Value::from_json_bytes(text.as_bytes().clone()).ok(),
        Type::BYTEA => text.strip_prefix("\\x").and_then(hex).map(Value::Bytes),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => Some(Value::Text(timestamp(&text))),
        _ => None,
    };
    read.unwrap_or(Value::Text(text))
}

fn hex(digits: &str) -> Option<Bytes> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits.as_bytes().chunks(2).map(|two| Some(digit(*two.first()?)? << 4 | digit(*two.get(1)?)?)).collect()
}

/// RFC 3339 of `2026-11-24 06:10:23.5+00`; `infinity` and years before Christ stay as they are.
fn timestamp(text: &ByteString) -> ByteString {
    let Some((date, time)) = text.split_once(' ').filter(|(_, time)| !time.contains(' ')) else { return text.clone() };
    match time.split_once('+') {
        Some((time, "00")) => format!("{date}T{time}Z").into(),
        _ => format!("{date}T{time}").into(),
    }
}

/// `{1,NULL,"a \"b\"",{2}}`; none when it is not that.
fn array(item: &Type, text: &str) -> Option<Value> {
    // `[0:2]={…}`: the bounds say where it starts to count.
    let start = text.find('{')?;
    let mut letters = text[start..].chars().peekable();
    let list = items(item, &mut letters)?;
    letters.next().is_none().then_some(list)
}

fn items(item: &Type, letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Value> {
    (letters.next()? == '{').then_some(())?;
    let mut list = Vec::new();
    loop {
        match letters.peek()? {
            '}' => {
                letters.next();
                return Some(Value::list(list));
            }
            '{' => list.push(items(item, letters)?),
            '"' => {
                letters.next();
                list.push(scalar(item, in_quotes(letters)?.into()));
            }
            ',' => {
                letters.next();
            }
            _ => {
                let mut word = String::new();
                while let Some(letter) = letters.next_if(|letter| !matches!(letter, ',' | '}')) {
                    word.push(if letter == '\\' { letters.next()? } else { letter });
                }
                list.push(if word == "NULL" { Value::Null } else { scalar(item, word.into()) });
            }
        }
    }
}

fn in_quotes(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut text = String::new();
    loop {
        match letters.next()? {
            '"' => return Some(text),
            '\\' => text.push(letters.next()?),
            letter => text.push(letter),
        }
    }
}

/// The text that a parameter is sent as; none for null. Lists are arrays or JSON, by what the statement takes.
pub(super) fn written(value: &Value, wanted: Option<Oid>) -> Option<ByteString> {
    let wanted = wanted.and_then(Type::from_oid);
    match value {
        Value::Null => None,
        Value::Bytes(bytes) => {
            use std::fmt::Write as _;
            let mut text = String::with_capacity(2 + bytes.len() * 2);
            text.push_str("\\x");
            for byte in bytes {
                let _ = write!(text, "{byte:02x}");
            }
            Some(text.into())
        }
        _ if value.is_list() && wanted.is_some_and(|wanted| matches!(wanted.kind(), Kind::Array(_))) => {
            let mut text = String::new();
            write_array(value, &mut text);
            Some(text.into())
        }
        _ => value.to_text(),
    }
}

fn write_array(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("NULL"),
        _ if value.is_list() => {
            text.push('{');
            for (at, item) in value.items().iter().flat_map(|items| items.iter()).enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_array(item, text);
            }
            text.push('}');
        }
        _ => {
            text.push('"');
            for letter in written(value, None).unwrap_or_default().chars() {
                if matches!(letter, '"' | '\\') {
                    text.push('\\');
                }
                text.push(letter);
            }
            text.push('"');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(column: &Type, text: &str, expected: &serde_json::Value) {
        assert_eq!(&read(column, &Bytes::copy_from_slice(text.as_bytes())).to_json(), expected, "{text}");
    }

    #[test]
    fn values_are_typed_by_their_column() {
        use serde_json::json;
        check(&Type::INT8, "9223372036854775807", &json!(i64::MAX));
        check(&Type::TEXT, "00123", &json!("00123"));
        check(&Type::BOOL, "t", &json!(true));
        check(&Type::FLOAT8, "NaN", &json!("NaN"));
        check(&Type::JSONB, r#"{"a": [1]}"#, &json!({"a": [1]}));
        check(&Type::TIMESTAMPTZ, "2026-11-24 06:10:23.5+00", &json!("2026-11-24T06:10:23.5Z"));
        check(&Type::TIMESTAMP, "2026-11-24 06:10:23", &json!("2026-11-24T06:10:23"));
        check(&Type::TIMESTAMP, "infinity", &json!("infinity"));
        check(&Type::TEXT_ARRAY, r#"{a,"b \"c\", d",NULL,"NULL"}"#, &json!(["a", "b \"c\", d", null, "NULL"]));
        check(&Type::INT4_ARRAY, "{{1,2},{3,4}}", &json!([[1, 2], [3, 4]]));
        check(&Type::INT4_ARRAY, "[0:1]={1,2}", &json!([1, 2]));
        check(&Type::INT4_ARRAY, "{}", &json!([]));
        assert_eq!(read(&Type::BYTEA, &Bytes::from_static(b"\\x00ff")), Value::Bytes(Bytes::from_static(&[0, 255])));
        let exact = read(&Type::NUMERIC, &Bytes::from_static(b"59.980"));
        assert!(matches!(exact, Value::Decimal(_)) && exact.to_text().unwrap() == "59.980");
    }

    #[test]
    fn lists_are_written_as_arrays_where_one_is_wanted() {
        let list = Value::from_json(serde_json::json!([1, "a \"b\"", null, [true]]));
        assert_eq!(written(&list, Some(Type::TEXT_ARRAY.oid())).unwrap(), r#"{"1","a \"b\"",NULL,{"true"}}"#);
        assert_eq!(written(&list, Some(Type::JSONB.oid())).unwrap(), r#"[1,"a \"b\"",null,[true]]"#);
        assert_eq!(written(&Value::Null, None), None);
    }
}
