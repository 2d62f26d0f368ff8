//! A step's configuration with every reference resolved, read by key with a precise error.

use std::time::Duration;

use bytestring::ByteString;

use crate::action::ActionError;
use crate::record::ErrorKind;
use crate::units::{parse_duration, parse_size};
use crate::value::{Entries, Value};

/// Characters of a value that an error message shows.
const SHOWN: usize = 80;

/// A step's configuration with every reference resolved, read by key with a precise error.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolved {
    /// In the order written. A step has a handful, so they are searched one by one.
    fields: Vec<(ByteString, Value)>,
}

/// Accessors: absent keys and null are `None`; a value of the wrong kind is an [`ActionError`] of kind `config` that
/// names the key, what it takes and what it got: "`timeout` takes a duration such as `30s`, got the list [1, 2]".
impl Resolved {
    /// A configuration of these keys.
    pub(crate) fn new(fields: Vec<(ByteString, Value)>) -> Self {
        Self { fields }
    }

    /// The keys that are written, in their order, with their values.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.fields.iter().map(|(name, value)| (&**name, value))
    }

    /// Whatever it is (null included, when it is written).
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.fields.iter().rfind(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Whatever it is, unless it is null.
    fn present(&self, key: &str) -> Option<&Value> {
        self.value(key).filter(|value| !matches!(value, Value::Null))
    }

    /// Reads `key` with `read`, which gives `None` for a value of the wrong kind.
    fn read<T>(
        &self,
        key: &str,
        takes: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ActionError> {
        let Some(value) = self.present(key) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| mismatch(key, takes, value))
    }

    /// Text; numbers and booleans as their text.
    pub(crate) fn text(&self, key: &str) -> Result<Option<ByteString>, ActionError> {
        self.read(key, "a text", scalar_text)
    }

    /// Text that must be there.
    pub(crate) fn required_text(&self, key: &str) -> Result<ByteString, ActionError> {
        self.text(key)?.ok_or_else(|| ActionError::new(ErrorKind::Config, format!("`{key}` is missing")))
    }

    /// An integer; also from its text.
    pub(crate) fn integer(&self, key: &str) -> Result<Option<i64>, ActionError> {
        self.read(key, "an integer", |value| match value {
            Value::Int(number) => Some(*number),
            Value::Float(number) if number.fract() == 0.0 => scalar_text(value)?.parse().ok(),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        })
    }

    /// A boolean; also from the texts `true` and `false`.
    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, ActionError> {
        self.read(key, "`true` or `false`", |value| match value {
            Value::Bool(truth) => Some(*truth),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        })
    }

    /// A duration: `30s`, `1h30m`, or a number of seconds.
    pub(crate) fn duration(&self, key: &str) -> Result<Option<Duration>, ActionError> {
        self.read(key, "a duration such as `30s`", |value| parse_duration(&scalar_text(value)?))
    }

    /// A number of bytes: `10MiB`, `512KB`, a plain number.
    pub(crate) fn size(&self, key: &str) -> Result<Option<u64>, ActionError> {
        self.read(key, "a size such as `10MiB`", |value| parse_size(&scalar_text(value)?))
    }

    /// A list, or one value alone.
    #[allow(clippy::unnecessary_wraps, reason = "reads like every other accessor")]
    pub(crate) fn list(&self, key: &str) -> Result<Vec<Value>, ActionError> {
        let Some(value) = self.present(key) else {
            return Ok(Vec::new());
        };
        Ok(items(value).unwrap_or_else(|| vec![value.clone()]))
    }

    /// A map with its keys in order; empty when absent.
    pub(crate) fn map(&self, key: &str) -> Result<Entries, ActionError> {
        Ok(self.read(key, "a map", entries)?.unwrap_or_default())
    }

    /// A map as a configuration of its own (`auth.basic`).
    pub(crate) fn section(&self, key: &str) -> Result<Option<Resolved>, ActionError> {
        let entries = self.read(key, "a map", entries)?;
        Ok(entries.map(|entries| Resolved { fields: entries.into_iter().collect() }))
    }
}

/// The items of a list, parsed or not; `None` for anything else.
pub(crate) fn items(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::List(items) => Some(items.to_vec()),
        Value::Raw(_) => match Value::from_json(value.to_json()) {
            Value::List(items) => Some(items.to_vec()),
            _ => None,
        },
        _ => None,
    }
}

/// The entries of a map, parsed or not; `None` for anything else.
pub(crate) fn entries(value: &Value) -> Option<Entries> {
    match value {
        Value::Map(map) => Some(map.entries.clone()),
        Value::Raw(_) => match Value::from_json(value.to_json()) {
            Value::Map(map) => Some(map.entries.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// The text of a text, number or boolean.
fn scalar_text(value: &Value) -> Option<ByteString> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Decimal(_) => value.to_text(),
        Value::Null | Value::List(_) | Value::Map(_) | Value::Raw(_) | Value::Bytes(_) => None,
    }
}

/// "`timeout` takes a duration such as `30s`, got the list [1, 2]".
pub(crate) fn mismatch(key: &str, takes: &str, value: &Value) -> ActionError {
    ActionError::new(ErrorKind::Config, format!("`{key}` takes {takes}, got {}", describe(value)))
}

/// A value with its type, short enough for a message: "the list [1, 2]".
pub(crate) fn describe(value: &Value) -> String {
    let name = value.type_name();
    let shown = match value {
        Value::Null => return "null".to_owned(),
        Value::Bytes(bytes) => return format!("{} bytes", bytes.len()),
        Value::Text(text) => format!("{:?}", shorten(text)),
        _ => shorten(&value.to_text().unwrap_or_default()),
    };
    format!("the {name} {shown}")
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(value: Value) -> Resolved {
        Resolved::new(vec![("key".into(), value)])
    }

    #[test]
    fn scalars_are_read_from_their_text_too() {
        assert_eq!(resolved(Value::Int(5)).text("key").unwrap().unwrap(), "5");
        assert_eq!(resolved(Value::Text("5".into())).integer("key").unwrap(), Some(5));
        assert_eq!(resolved(Value::Text("true".into())).boolean("key").unwrap(), Some(true));
        assert_eq!(resolved(Value::Float(1.5)).duration("key").unwrap(), Some(Duration::from_millis(1_500)));
        assert_eq!(resolved(Value::Text("2KiB".into())).size("key").unwrap(), Some(2_048));
    }

    #[test]
    fn absent_and_null_are_none() {
        for fields in [Resolved::default(), resolved(Value::Null)] {
            assert_eq!(fields.text("key").unwrap(), None);
            assert_eq!(fields.duration("key").unwrap(), None);
            assert!(fields.list("key").unwrap().is_empty());
            assert!(fields.map("key").unwrap().is_empty());
            assert!(fields.section("key").unwrap().is_none());
        }
        assert_eq!(Resolved::default().required_text("key").unwrap_err().message, "`key` is missing");
    }

    #[test]
    fn a_wrong_kind_is_named_with_what_was_found() {
        let list = Value::list(vec![Value::Int(1), Value::Int(2)]);
        let error = resolved(list).duration("key").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.starts_with("`key` takes a duration such as `30s`, got the list "), "{}", error.message);
        let error = resolved(Value::Text("soon".into())).integer("key").unwrap_err();
        assert_eq!(error.message, "`key` takes an integer, got the string \"soon\"");
    }
}
