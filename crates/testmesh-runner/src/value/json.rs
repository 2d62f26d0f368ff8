//! Values to and from JSON, through serde and through `serde_json`'s own tree.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytestring::ByteString;
use rust_decimal::prelude::ToPrimitive as _;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

use super::{Entries, Map, Value};

/// See [`Value::from_json`].
pub(super) fn from_json(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(truth),
        serde_json::Value::Number(number) => from_number(&number),
        serde_json::Value::String(text) => Value::Text(text.into()),
        serde_json::Value::Array(items) => Value::list(items.into_iter().map(from_json).collect()),
        serde_json::Value::Object(entries) => {
            Value::map(entries.into_iter().map(|(key, value)| (key, from_json(value))))
        }
    }
}

fn from_number(number: &serde_json::Number) -> Value {
    if let Some(integer) = number.as_i64() {
        Value::Int(integer)
    } else if let Some(integer) = number.as_u64() {
        Value::UInt(integer)
    } else {
        number.as_f64().map_or(Value::Null, Value::Float)
    }
}

/// See [`Value::to_json`].
pub(super) fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::Int(number) => (*number).into(),
        Value::UInt(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Decimal(number) => match (number.is_integer(), number.to_i64(), number.to_u64()) {
            (true, Some(integer), _) => integer.into(),
            (true, None, Some(integer)) => integer.into(),
            _ => super::compare::to_f64(value).into(),
        },
        Value::Text(text) => serde_json::Value::String(text.to_string()),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(map) => map.entries.iter().map(|(key, item)| (key.to_string(), to_json(item))).collect(),
        Value::Raw(raw) => serde_json::from_str(raw.text()).unwrap_or_else(|_| raw.text().into()),
        Value::Bytes(bytes) => serde_json::Value::String(STANDARD.encode(bytes)),
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => out.serialize_unit(),
            Value::Bool(truth) => out.serialize_bool(*truth),
            Value::Int(number) => out.serialize_i64(*number),
            Value::UInt(number) => out.serialize_u64(*number),
            Value::Float(number) => out.serialize_f64(*number),
            // A float would lose digits; the text of a decimal is a JSON number as it stands.
            Value::Decimal(number) => {
                RawValue::from_string(number.to_string()).map_err(S::Error::custom)?.serialize(out)
            }
            Value::Text(text) => out.serialize_str(text),
            Value::List(items) => out.collect_seq(items.iter()),
            Value::Map(map) => {
                let mut entries = out.serialize_map(Some(map.entries.len()))?;
                for (key, value) in &map.entries {
                    entries.serialize_entry(&**key, value)?;
                }
                entries.end()
            }
            Value::Raw(raw) => serde_json::from_str::<&RawValue>(raw.text()).map_err(S::Error::custom)?.serialize(out),
            Value::Bytes(bytes) => out.serialize_str(&STANDARD.encode(bytes)),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Reader { document: None })
    }
}

/// Parses `document`. Texts without an escape in them share its memory.
pub(super) fn parse_shared(document: &ByteString) -> Result<Value, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(document);
    let value = Reader { document: Some(document) }.deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Reader<'d> {
    /// What is parsed, where texts may share its memory.
    document: Option<&'d ByteString>,
}

impl Reader<'_> {
    /// A part of what is parsed.
    fn part(self, text: &str) -> ByteString {
        self.document.map_or_else(|| text.into(), |document| document.slice_ref(text))
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        self.deserialize(source)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value, E> {
        Ok(Value::Text(self.part(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::with_capacity(list.size_hint().unwrap_or(0).min(4096));
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::list(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut entries = Entries::default();
        while let Some(key) = object.next_key_seed(KeyReader(self))? {
            let value = object.next_value_seed(self)?;
            entries.insert(key, value);
        }
        Ok(Value::Map(Arc::new(Map { entries, ignore_case: false })))
    }
}

/// Reads a key of an object.
struct KeyReader<'d>(Reader<'d>);

impl<'de> DeserializeSeed<'de> for KeyReader<'_> {
    type Value = ByteString;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<ByteString, D::Error> {
        source.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeyReader<'_> {
    type Value = ByteString;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<ByteString, E> {
        Ok(self.0.part(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<ByteString, E> {
        Ok(key.into())
    }
}
