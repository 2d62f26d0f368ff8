//! What Redis answers to the commands that read entries. Read by hand: the library refuses a whole reply when one field
//! of one entry is not text, and anybody may write to a key.

use std::time::Duration;

use ::redis::Value;

use super::FIELD;
use crate::stream::Entry;

/// Before every entry's id.
pub(super) const NO_ENTRY: &str = "0-0";

/// Entries of a reply, those that are messages apart from those that are not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    /// The ids of entries without a message that is text.
    pub(super) garbage: Vec<String>,
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.garbage.is_empty()
    }
}

/// The reply to `XREADGROUP` with one key: nothing, or `[[key, [entry, …]]]`.
pub(super) fn read(reply: &Value) -> Found {
    match items(reply).first().map(items) {
        Some([_, found]) => entries(found),
        _ => Found::default(),
    }
}

/// The reply to `XAUTOCLAIM`: `[where to go on, [entry, …], …]`.
pub(super) fn claimed(reply: &Value) -> (String, Found) {
    match items(reply) {
        [next, found, ..] => (text(next).unwrap_or_default(), entries(found)),
        _ => (String::new(), Found::default()),
    }
}

/// Consumers of the reply to `XINFO CONSUMERS` that have nothing pending, with the milliseconds for which they have been
/// idle: `[[name, …, pending, …, idle, …], …]`.
pub(super) fn without_pending(reply: &Value) -> Vec<(String, u64)> {
    let consumer = |value: &Value| {
        let field = |name: &str| field(items(value), name);
        let (Some(Value::Int(0)), Some(Value::Int(idle))) = (field("pending"), field("idle")) else { return None };
        Some((text(field("name")?)?, u64::try_from(*idle).unwrap_or(0)))
    };
    items(reply).iter().filter_map(consumer).collect()
}

/// The messages in the reply to `XRANGE`: `[entry, …]`.
pub(super) fn range(reply: &Value) -> impl Iterator<Item = String> {
    entries(reply).entries.into_iter().map(|entry| entry.payload)
}

/// The id of the last entry in the reply to `XRANGE`, whatever is in it.
pub(super) fn last_id(reply: &Value) -> Option<String> {
    text(items(items(reply).last()?).first()?)
}

/// How far a group has read, in the reply to `XINFO GROUPS`: `[[name, …, last-delivered-id, …], …]`.
pub(super) fn last_delivered(reply: &Value, group: &str) -> Option<String> {
    let named = |value: &&Value| field(items(value), "name").and_then(text).as_deref() == Some(group);
    text(field(items(items(reply).iter().find(named)?), "last-delivered-id")?)
}

/// The ids of entries in the reply to `XPENDING` that were given out less than `age` ago: `[[id, consumer, idle, …], …]`.
pub(super) fn pending_within(reply: &Value, age: Duration) -> Vec<String> {
    let id = |value: &Value| match items(value) {
        [id, _, Value::Int(idle), ..] if i128::from(*idle) < i128::try_from(age.as_millis()).unwrap_or(i128::MAX) => {
            text(id)
        }
        _ => None,
    };
    items(reply).iter().filter_map(id).collect()
}

/// The value that stands after `name`.
fn field<'a>(fields: &'a [Value], name: &str) -> Option<&'a Value> {
    fields.chunks_exact(2).find(|pair| text(&pair[0]).as_deref() == Some(name)).map(|pair| &pair[1])
}

fn entries(list: &Value) -> Found {
    let mut found = Found::default();
    for entry in items(list) {
        let Some(id) = items(entry).first().and_then(text) else { continue };
        match items(entry).get(1).and_then(payload) {
            Some(payload) => found.entries.push(Entry { id, payload }),
            None => found.garbage.push(id),
        }
    }
    found
}

/// The message in `[field, value, …]`.
fn payload(fields: &Value) -> Option<String> {
    let mut pairs = items(fields).chunks_exact(2);
    pairs
        .find(|pair| matches!(&pair[0], Value::BulkString(name) if name == FIELD.as_bytes()))
        .and_then(|pair| text(&pair[1]))
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(bytes: &[u8]) -> Value {
        Value::BulkString(bytes.to_vec())
    }

    fn entry(id: &str, fields: &[&[u8]]) -> Value {
        Value::Array(vec![bulk(id.as_bytes()), Value::Array(fields.iter().map(|field| bulk(field)).collect())])
    }

    #[test]
    fn what_is_no_message_is_told_apart() {
        let list = Value::Array(vec![
            entry("1-0", &[b"payload", b"{}"]),
            entry("2-0", &[b"other", b"{}"]),
            entry("3-0", &[b"payload", b"\xff"]),
            entry("4-0", &[b"\xff", b"x", b"payload", b"[]"]),
            Value::Array(vec![bulk(b"5-0"), Value::Nil]),
        ]);
        let found = read(&Value::Array(vec![Value::Array(vec![bulk(b"key"), list])]));
        let message = |id: &str, payload: &str| Entry { id: id.to_owned(), payload: payload.to_owned() };
        assert_eq!(found.entries, [message("1-0", "{}"), message("4-0", "[]")]);
        assert_eq!(found.garbage, ["2-0", "3-0", "5-0"]);
    }

    #[test]
    fn no_reply_is_no_entry() {
        assert!(read(&Value::Nil).is_empty());
        assert!(read(&Value::Int(3)).is_empty());
        assert_eq!(claimed(&Value::Nil), (String::new(), Found::default()));
    }
}
