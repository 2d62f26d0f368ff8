//! JSON that stays text: checked once when it arrives, and scanned along the paths that are asked for.
//!
//! Invariant: the text of a [`RawJson`] is one valid JSON object or list, no deeper than the parser's limit,
//! and every string in it can be decoded. So scanning it cannot fail.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::{Map, RawJson, Value};

/// Documents up to this many bytes are parsed at once.
const PARSE_LIMIT: usize = 256 * 1024;
/// Texts of documents up to this many bytes share their memory: of a larger one, a short text would keep too much.
const SHARE_LIMIT: usize = 4 * 1024;
/// Parts up to this many bytes are parsed when a path reaches them; larger ones stay unparsed.
const CHILD_LIMIT: usize = 64 * 1024;
/// The parser's own limit on nesting.
const MAX_DEPTH: usize = 127;

/// Reads a document: parsed when it is small, checked and kept when it is large.
pub(super) fn read(bytes: Bytes) -> Result<Value, serde_json::Error> {
    if bytes.len() <= SHARE_LIMIT
        && let Ok(document) = ByteString::try_from(bytes.clone())
    {
        return super::json::parse_shared(&document);
    }
    if bytes.len() <= PARSE_LIMIT {
        return serde_json::from_slice(&bytes);
    }
    let shared = ByteString::try_from(bytes).map_err(<serde_json::Error as de::Error>::custom)?;
    let text: &str = &shared;
    serde_json::from_str::<IgnoredAny>(text)?;
    let start = text.trim_ascii_start().as_bytes().first().copied();
    if !matches!(start, Some(b'{' | b'[')) {
        return serde_json::from_str(text);
    }
    // Skipping neither decodes surrogates nor counts depth; the full parser does, and is asked only where it matters.
    let surrogates = memchr::memmem::find(text.as_bytes(), b"\\ud").is_some()
        || memchr::memmem::find(text.as_bytes(), b"\\uD").is_some();
    if surrogates || depth(text.as_bytes()) > MAX_DEPTH {
        serde_json::from_str::<Strict>(text)?;
    }
    Ok(Value::Raw(RawJson { text: shared }))
}

/// The deepest nesting of valid JSON.
fn depth(json: &[u8]) -> usize {
    let (mut deepest, mut current, mut at) = (0_usize, 0_usize, 0);
    while let Some(&byte) = json.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                current += 1;
                deepest = deepest.max(current);
            }
            b'}' | b']' => current = current.saturating_sub(1),
            b'"' => {
                while let Some(found) = memchr::memchr2(b'"', b'\\', &json[at..]) {
                    at += found + 1;
                    if json[at - 1] == b'"' {
                        break;
                    }
                    at += 1;
                }
            }
            _ => {}
        }
    }
    deepest
}

impl RawJson {
    /// The JSON text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The JSON text, sharing its buffer.
    pub(crate) fn shared_text(&self) -> ByteString {
        self.text.clone()
    }

    /// Whether it is a list; otherwise it is an object.
    pub(super) fn is_list(&self) -> bool {
        self.text().trim_ascii_start().starts_with('[')
    }

    /// The member `key`; of several, the last, as a full parse has it.
    pub(super) fn get(&self, key: &str) -> Option<Value> {
        let found = self.scan(Member { key, found: None })?;
        Some(self.part(found))
    }

    /// The item at `index`, from the end when it is negative.
    pub(super) fn index(&self, index: i64) -> Option<Value> {
        let wanted = if index < 0 { super::position(index, self.len())? } else { usize::try_from(index).ok()? };
        if !self.is_list() {
            return None;
        }
        let found = self.scan(Item { wanted })?;
        Some(self.part(found))
    }

    /// How many items or keys it has.
    pub(super) fn len(&self) -> usize {
        if self.is_list() { self.scan(Count).unwrap_or(0) } else { self.entries().entries.len() }
    }

    /// Its items; large ones stay unparsed.
    pub(super) fn items(&self) -> Vec<Value> {
        self.scan(Parts).unwrap_or_default().into_iter().map(|(_, part)| self.part(part)).collect()
    }

    /// Its entries; large values stay unparsed.
    pub(super) fn entries(&self) -> Map {
        let parts = self.scan(Parts).unwrap_or_default();
        parts.into_iter().map(|(key, part)| (key.into_owned(), self.part(part))).collect()
    }

    fn scan<'a, S>(&'a self, seed: S) -> Option<S::Found>
    where
        S: Scan<'a>,
    {
        let mut json = serde_json::Deserializer::from_str(self.text());
        json.deserialize_any(Scanner(seed)).ok().flatten()
    }

    /// A part of it: parsed when small or a scalar, otherwise the same buffer.
    fn part(&self, part: &str) -> Value {
        if part.len() > CHILD_LIMIT && part.starts_with(['{', '[']) {
            return Value::Raw(RawJson { text: self.text.slice_ref(part) });
        }
        // Only a number beyond the range of floats gets here without being a value: it is kept as it is written.
        serde_json::from_str(part).unwrap_or_else(|_| Value::Text(part.into()))
    }
}

/// What one pass over an object or a list looks for.
trait Scan<'a>: Sized {
    type Found;
    fn object<A: MapAccess<'a>>(self, object: A) -> Result<Option<Self::Found>, A::Error>;
    fn list<A: SeqAccess<'a>>(self, list: A) -> Result<Option<Self::Found>, A::Error>;
}

struct Scanner<S>(S);

impl<'a, S: Scan<'a>> Visitor<'a> for Scanner<S> {
    type Value = Option<S::Found>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'a>>(self, object: A) -> Result<Self::Value, A::Error> {
        self.0.object(object)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, list: A) -> Result<Self::Value, A::Error> {
        self.0.list(list)
    }
}

struct Member<'k, 'a> {
    key: &'k str,
    found: Option<&'a str>,
}

impl<'a> Scan<'a> for Member<'_, 'a> {
    type Found = &'a str;

    fn object<A: MapAccess<'a>>(mut self, mut object: A) -> Result<Option<&'a str>, A::Error> {
        while let Some(matches) = object.next_key_seed(KeyIs(self.key))? {
            if matches {
                self.found = Some(object.next_value::<&RawValue>()?.get());
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(self.found)
    }

    fn list<A: SeqAccess<'a>>(self, mut list: A) -> Result<Option<&'a str>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

struct Item {
    wanted: usize,
}

impl<'a> Scan<'a> for Item {
    type Found = &'a str;

    fn object<A: MapAccess<'a>>(self, mut object: A) -> Result<Option<&'a str>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn list<A: SeqAccess<'a>>(self, mut list: A) -> Result<Option<&'a str>, A::Error> {
        for _ in 0..self.wanted {
            if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = list.next_element::<&RawValue>()?.map(RawValue::get);
        while found.is_some() && list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

struct Count;

impl<'a> Scan<'a> for Count {
    type Found = usize;

    fn object<A: MapAccess<'a>>(self, mut object: A) -> Result<Option<usize>, A::Error> {
        let mut count = 0;
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Some(count))
    }

    fn list<A: SeqAccess<'a>>(self, mut list: A) -> Result<Option<usize>, A::Error> {
        let mut count = 0;
        while list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Some(count))
    }
}

struct Parts;

impl<'a> Scan<'a> for Parts {
    type Found = Vec<(Cow<'a, str>, &'a str)>;

    fn object<A: MapAccess<'a>>(self, mut object: A) -> Result<Option<Self::Found>, A::Error> {
        let mut parts = Vec::new();
        while let Some((key, value)) = object.next_entry::<String, &RawValue>()? {
            parts.push((Cow::Owned(key), value.get()));
        }
        Ok(Some(parts))
    }

    fn list<A: SeqAccess<'a>>(self, mut list: A) -> Result<Option<Self::Found>, A::Error> {
        let mut parts = Vec::new();
        while let Some(value) = list.next_element::<&RawValue>()? {
            parts.push((Cow::Borrowed(""), value.get()));
        }
        Ok(Some(parts))
    }
}

/// Compares a key without keeping it.
struct KeyIs<'k>(&'k str);

impl<'a> DeserializeSeed<'a> for KeyIs<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'a>>(self, key: D) -> Result<bool, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }
    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

/// Parses everything, as a full parse does, and keeps nothing.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Strict)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Strict;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Strict, A::Error> {
        while list.next_element::<Strict>()?.is_some() {}
        Ok(Strict)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Strict, A::Error> {
        while object.next_entry::<Strict, Strict>()?.is_some() {}
        Ok(Strict)
    }
}
