//! What Redis says, as values.

use bytes::Bytes;
use bytestring::ByteString;

use crate::value::Value;

/// A reply; `Err` is an error inside it: code and message.
pub(super) fn value(reply: redis::Value) -> Result<Value, (ByteString, String)> {
    use redis::Value as Reply;
    let list = |items: Vec<Reply>| items.into_iter().map(value).collect::<Result<Vec<_>, _>>().map(Value::list);
    Ok(match reply {
        Reply::Nil => Value::Null,
        Reply::Okay => Value::from("OK"),
        Reply::Int(number) => Value::Int(number),
        Reply::Double(number) => Value::Float(number),
        Reply::Boolean(truth) => Value::Bool(truth),
        Reply::SimpleString(text) | Reply::VerbatimString { text, .. } => Value::from(text),
        Reply::BulkString(bytes) | Reply::BigNumber(bytes) => text(bytes),
        Reply::Array(items) | Reply::Set(items) => list(items)?,
        Reply::Push { data, .. } => list(data)?,
        Reply::Attribute { data, .. } => value(*data)?,
        Reply::Map(entries) => {
            let mut map = Vec::with_capacity(entries.len());
            for (name, entry) in entries {
                map.push((value(name)?.to_text().unwrap_or_default(), value(entry)?));
            }
            Value::map(map)
        }
        Reply::ServerError(error) => {
            return Err((error.code().into(), error.details().unwrap_or_default().to_owned()));
        }
        other => Value::from(format!("{other:?}")),
    })
}

/// Text where it is one.
fn text(bytes: Vec<u8>) -> Value {
    let bytes = Bytes::from(bytes);
    ByteString::try_from(bytes.clone()).map_or(Value::Bytes(bytes), Value::Text)
}
