//! The defaults of fields, which a schema writes as JSON.

use serde_json::Value as Json;

use super::schema::{Place, Schema, Type};
use crate::value::Value;

/// The value that a default says. Bytes are written as text there, each letter one byte; a union's default is of its
/// first branch.
pub(super) fn value(schema: &Schema, place: Place, json: &Json) -> Value {
    match (schema.at(place), json) {
        (Type::Bytes(_) | Type::Fixed { .. }, Json::String(text)) => {
            let bytes: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
            bytes.map_or_else(|| Value::from(text.as_str()), |bytes| Value::Bytes(bytes.into()))
        }
        (Type::Array(of), Json::Array(items)) => {
            Value::list(items.iter().map(|item| value(schema, *of, item)).collect())
        }
        (Type::Map(of), Json::Object(entries)) => {
            Value::map(entries.iter().map(|(name, item)| (name.as_str(), value(schema, *of, item))))
        }
        (Type::Record { fields, .. }, Json::Object(entries)) => Value::map(entries.iter().map(|(name, item)| {
            let field = fields.iter().find(|field| *field.name == **name);
            let item = field.map_or_else(|| Value::from_json(item.clone()), |field| value(schema, field.of, item));
            (name.as_str(), item)
        })),
        (Type::Union(branches), json) => match branches.first() {
            Some(first) => value(schema, *first, json),
            None => Value::from_json(json.clone()),
        },
        (_, json) => Value::from_json(json.clone()),
    }
}
