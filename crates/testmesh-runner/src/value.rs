//! The values a flow works with: JSON's kinds, plus exact decimals, bytes, and JSON that has not been parsed yet.
//!
//! Cloning a value never copies its contents. A large JSON body stays the bytes that arrived ([`Value::Raw`]) and is
//! parsed only along the paths a flow looks at, so a 50 MB reply with one assertion costs 50 MB and not five times that.
// SKELETON: owner L1 implements; keeps the variants and these signatures (may add).

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use indexmap::IndexMap;
use rust_decimal::Decimal;

/// A value.
#[derive(Debug, Clone, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer that fits in 64 bits with a sign.
    Int(i64),
    /// An integer above `i64::MAX`; never a smaller one.
    UInt(u64),
    /// A binary floating-point number; never NaN or infinite when it came from JSON.
    Float(f64),
    /// An exact decimal, from a source that had one.
    Decimal(Decimal),
    /// Text.
    Text(ByteString),
    /// A list.
    List(Arc<Vec<Value>>),
    /// A map that keeps the order of its keys.
    Map(Arc<Map>),
    /// A part of a JSON document known to be valid, an object or a list, not parsed yet.
    Raw(RawJson),
    /// Bytes that are not text.
    Bytes(Bytes),
}

/// A map of values in the order of insertion.
#[derive(Debug, Clone, Default)]
pub struct Map {
    /// The entries.
    pub entries: IndexMap<ByteString, Value>,
    /// Whether look-ups ignore the case of ASCII letters (HTTP headers do).
    pub ignore_case: bool,
}

impl Map {
    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self.entries.get(key) {
            Some(value) => Some(value),
            None if self.ignore_case => {
                self.entries.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
            }
            None => None,
        }
    }
}

impl<K: Into<ByteString>> FromIterator<(K, Value)> for Map {
    fn from_iter<T: IntoIterator<Item = (K, Value)>>(entries: T) -> Self {
        Self { entries: entries.into_iter().map(|(key, value)| (key.into(), value)).collect(), ignore_case: false }
    }
}

/// Valid JSON text of an object or a list, still unparsed.
#[derive(Debug, Clone)]
pub struct RawJson {
    pub(crate) bytes: Bytes,
}

impl Value {
    /// Reads JSON. Up to 256 KiB it is parsed; above that it is checked and kept as [`Value::Raw`].
    pub fn from_json_bytes(bytes: Bytes) -> Result<Value, serde_json::Error> {
        let _ = bytes;
        unimplemented!()
    }
    /// From `serde_json`'s value.
    pub fn from_json(json: serde_json::Value) -> Value {
        let _ = json;
        unimplemented!()
    }
    /// To `serde_json`'s value. Decimals become numbers (nearest float when they do not fit); bytes become base64 text.
    pub fn to_json(&self) -> serde_json::Value {
        unimplemented!()
    }
    /// A map of `entries`.
    pub fn map<K: Into<ByteString>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
        Value::Map(Arc::new(entries.into_iter().collect()))
    }
    /// A list of `items`.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Arc::new(items))
    }
    /// The member `key` of a map; `None` for a missing key and for anything that is no map.
    pub fn get(&self, key: &str) -> Option<Value> {
        let _ = key;
        unimplemented!()
    }
    /// Item `index` of a list; a negative index counts from the end.
    pub fn index(&self, index: i64) -> Option<Value> {
        let _ = index;
        unimplemented!()
    }
    /// Characters of a text, items of a list, keys of a map, bytes; 0 for null; `None` for the rest.
    pub fn len(&self) -> Option<usize> {
        unimplemented!()
    }
    /// `null`, `boolean`, `integer`, `number`, `string`, `list`, `map` or `bytes`.
    pub fn type_name(&self) -> &'static str {
        unimplemented!()
    }
    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
    /// Whether both are the same value: numbers by value, a text and a number or boolean when the text is its
    /// canonical form, lists and maps by their contents.
    pub fn equals(&self, other: &Value) -> bool {
        let _ = other;
        unimplemented!()
    }
    /// Order of numbers, of texts, and of a number and the text of one; `None` where there is no order.
    pub fn compare(&self, other: &Value) -> Option<Ordering> {
        let _ = other;
        unimplemented!()
    }
    /// The text a template inserts: integers without exponent, shortest floats, JSON for lists and maps.
    /// `None` for null.
    pub fn to_text(&self) -> Option<ByteString> {
        unimplemented!()
    }
}
