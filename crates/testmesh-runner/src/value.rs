//! The values a flow works with: JSON's kinds, plus exact decimals, bytes, and JSON that has not been parsed yet.
//!
//! Cloning a value never copies its contents. A large JSON body stays the bytes that arrived ([`Value::Raw`]) and is
//! parsed only along the paths a flow looks at, so a 50 MB reply with one assertion costs 50 MB and not five times that.

mod compare;
mod entries;
mod json;
mod raw;
mod text;

use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use bytestring::ByteString;
use rust_decimal::Decimal;

#[cfg(any(feature = "grpc", feature = "kafka"))]
pub(crate) use compare::to_whole;
pub(crate) use compare::{is_number, parse_number, shortest_decimal};
pub use entries::Entries;

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
    pub entries: Entries,
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

/// The names of maps that are made again and again: they share them. Nobody has to see that they differ.
pub(crate) struct Shape<const N: usize> {
    names: [&'static str; N],
    shared: OnceLock<[ByteString; N]>,
}

impl<const N: usize> Shape<N> {
    /// Maps with these names, which must differ.
    pub(crate) const fn new(names: [&'static str; N]) -> Self {
        Self { names, shared: OnceLock::new() }
    }

    /// A map with these values, in the order of the names.
    pub(crate) fn map(&'static self, values: [Value; N]) -> Value {
        let names = self.shared.get_or_init(|| self.names.map(ByteString::from_static));
        Value::Map(Arc::new(Map { entries: Entries::of_shared(names, values), ignore_case: false }))
    }
}

/// Valid JSON text of an object or a list, still unparsed.
#[derive(Debug, Clone)]
pub struct RawJson {
    /// Text and not bytes, so that nothing has to prove again that it is UTF-8.
    text: ByteString,
}

impl Value {
    /// Reads JSON. Up to 256 KiB it is parsed; above that it is checked and kept as [`Value::Raw`].
    pub fn from_json_bytes(bytes: Bytes) -> Result<Value, serde_json::Error> {
        raw::read(bytes)
    }

    /// From `serde_json`'s value.
    pub fn from_json(json: serde_json::Value) -> Value {
        json::from_json(json)
    }

    /// To `serde_json`'s value. Decimals become numbers (nearest float when they do not fit); bytes become base64 text.
    pub fn to_json(&self) -> serde_json::Value {
        json::to_json(self)
    }

    /// A map of `entries`.
    pub fn map<K: Into<ByteString>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
        Value::Map(Arc::new(entries.into_iter().collect()))
    }

    /// A list of `items`.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Arc::new(items))
    }

    /// Text.
    pub fn text(text: impl Into<ByteString>) -> Value {
        Value::Text(text.into())
    }

    /// The member `key` of a map; `None` for a missing key and for anything that is no map.
    pub fn get(&self, key: &str) -> Option<Value> {
        match self {
            Value::Map(map) => map.get(key).cloned(),
            Value::Raw(raw) => raw.get(key),
            _ => None,
        }
    }

    /// Item `index` of a list; a negative index counts from the end.
    pub fn index(&self, index: i64) -> Option<Value> {
        match self {
            Value::List(items) => items.get(position(index, items.len())?).cloned(),
            Value::Raw(raw) => raw.index(index),
            _ => None,
        }
    }

    /// The member `key` without copying it; `None` also for a [`Value::Raw`], which has no parsed member to lend.
    pub(crate) fn get_ref(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(map) => map.get(key),
            _ => None,
        }
    }

    /// Item `index` without copying it; `None` also for a [`Value::Raw`].
    pub(crate) fn index_ref(&self, index: i64) -> Option<&Value> {
        match self {
            Value::List(items) => items.get(position(index, items.len())?),
            _ => None,
        }
    }

    /// The items of a list; `None` for anything else.
    pub fn items(&self) -> Option<Arc<Vec<Value>>> {
        match self {
            Value::List(items) => Some(Arc::clone(items)),
            Value::Raw(raw) if raw.is_list() => Some(Arc::new(raw.items())),
            _ => None,
        }
    }

    /// The entries of a map; `None` for anything else.
    pub fn entries(&self) -> Option<Arc<Map>> {
        match self {
            Value::Map(map) => Some(Arc::clone(map)),
            Value::Raw(raw) if !raw.is_list() => Some(Arc::new(raw.entries())),
            _ => None,
        }
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        match self {
            Value::List(_) => true,
            Value::Raw(raw) => raw.is_list(),
            _ => false,
        }
    }

    /// Whether it is a map.
    pub fn is_map(&self) -> bool {
        match self {
            Value::Map(_) => true,
            Value::Raw(raw) => !raw.is_list(),
            _ => false,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Characters of a text, items of a list, keys of a map, bytes; 0 for null; `None` for the rest.
    pub fn len(&self) -> Option<usize> {
        match self {
            Value::Null => Some(0),
            Value::Text(text) => Some(text.chars().count()),
            Value::List(items) => Some(items.len()),
            Value::Map(map) => Some(map.entries.len()),
            Value::Raw(raw) => Some(raw.len()),
            Value::Bytes(bytes) => Some(bytes.len()),
            Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Decimal(_) => None,
        }
    }

    /// Whether its length is 0; false for what has no length.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// `null`, `boolean`, `integer`, `number`, `string`, `list`, `map` or `bytes`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Int(_) | Value::UInt(_) => "integer",
            Value::Float(_) | Value::Decimal(_) => "number",
            Value::Text(_) => "string",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Raw(raw) => {
                if raw.is_list() {
                    "list"
                } else {
                    "map"
                }
            }
            Value::Bytes(_) => "bytes",
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The integer, if it is a number without a fraction that fits.
    pub fn as_i64(&self) -> Option<i64> {
        compare::to_i64(self)
    }

    /// The nearest float, if it is a number.
    pub fn as_f64(&self) -> Option<f64> {
        compare::to_f64(self)
    }

    /// Whether both are the same value: numbers by value, a text and a number or boolean when the text is its
    /// canonical form, lists and maps by their contents.
    pub fn equals(&self, other: &Value) -> bool {
        compare::equals(self, other)
    }

    /// Order of numbers, of texts, and of a number and the text of one; `None` where there is no order.
    pub fn compare(&self, other: &Value) -> Option<Ordering> {
        compare::compare(self, other)
    }

    /// The text a template inserts: integers without exponent, shortest floats, JSON for lists and maps.
    /// `None` for null.
    pub fn to_text(&self) -> Option<ByteString> {
        text::to_text(self)
    }
}

/// Where a possibly negative index points in a list of `len` items.
fn position(index: i64, len: usize) -> Option<usize> {
    let from_end = usize::try_from(index.unsigned_abs()).ok()?;
    if index < 0 { len.checked_sub(from_end) } else { Some(from_end) }
}

/// Strict equality, for tests and for expressions as written: no text equals a number.
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        compare::identical(self, other)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text.into())
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Value::Int(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or(Value::UInt(number), Value::Int)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Value::from(number as u64)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Float(number)
    }
}

#[cfg(test)]
mod tests;
