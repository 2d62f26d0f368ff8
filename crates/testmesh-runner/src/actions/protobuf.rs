//! Values as messages and messages as values, by the JSON mapping of Protocol Buffers with three differences: 64-bit
//! integers are numbers, fields keep the names of the description, and fields without a value show their default.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, SerializeOptions,
    Value as Part,
};

use crate::engine::describe;
use crate::flow::suggest;
use crate::value::{Value, to_whole};

const OPTIONS: SerializeOptions =
    SerializeOptions::new().stringify_64_bit_integers(false).use_proto_field_name(true).skip_default_fields(false);
/// Messages inside messages that a request may have, as many as a decoder takes.
const DEEPEST: usize = 100;

/// A message as a value.
pub(super) fn value(message: &DynamicMessage) -> Result<Value, String> {
    let mut json = Vec::with_capacity(256);
    let name = message.descriptor().full_name().to_owned();
    let unsaid = |error| format!("a `{name}` cannot be shown as JSON: {error}");
    message.serialize_with_options(&mut serde_json::Serializer::new(&mut json), &OPTIONS).map_err(unsaid)?;
    // Through text, because only that writes a 32-bit float with its own digits.
    Value::from_json_bytes(Bytes::from(json)).map_err(|error| error.to_string())
}

/// A value as a message of this type. `path` is where it is written, for errors.
pub(super) fn message(of: &MessageDescriptor, value: &Value, path: &str) -> Result<DynamicMessage, String> {
    build(of, value, path, 0)
}

fn build(of: &MessageDescriptor, value: &Value, path: &str, depth: usize) -> Result<DynamicMessage, String> {
    if depth >= DEEPEST {
        return Err(format!("`{path}` lies deeper than {DEEPEST} messages"));
    }
    if of.full_name().starts_with("google.protobuf.") && of.parent_file().name().starts_with("google/protobuf/") {
        let read = DynamicMessage::deserialize(of.clone(), value.to_json());
        return read.map_err(|error| format!("`{path}` takes a `{}`: {error}", of.full_name()));
    }
    let Some(entries) = value.entries() else {
        return Err(format!("`{path}` takes a map, a `{}`, got {}", of.full_name(), describe(value)));
    };
    let mut message = DynamicMessage::new(of.clone());
    for (name, value) in &entries.entries {
        let field = of.get_field_by_name(name).or_else(|| of.get_field_by_json_name(name));
        let field = field.ok_or_else(|| unknown_field(of, name, path))?;
        let path = format!("{path}.{name}");
        if value.is_null() && !takes_null(&field) {
            continue;
        }
        if let Some(oneof) = field.containing_oneof()
            && let Some(other) = oneof.fields().find(|other| message.has_field(other))
        {
            let (one, other) = (field.name(), other.name());
            return Err(format!("`{path}`: `{one}` and `{other}` exclude each other (`oneof {}`)", oneof.name()));
        }
        let part = part(&field, value, &path, depth)?;
        message.set_field(&field, part);
    }
    Ok(message)
}

fn unknown_field(of: &MessageDescriptor, name: &str, path: &str) -> String {
    let fields: Vec<FieldDescriptor> = of.fields().collect();
    let names: Vec<&str> = fields.iter().map(FieldDescriptor::name).collect();
    let near = suggest::near(name, names.iter().copied());
    let help = suggest::did_you_mean(&near).unwrap_or_else(|| match names.as_slice() {
        [] => "it has no fields".to_owned(),
        names if names.len() <= 12 => format!("it has {}", suggest::quoted(names)),
        names => format!("the nearest are {}", suggest::quoted(&suggest::nearest(name, names.iter().copied()))),
    });
    format!("`{path}`: `{}` has no field `{name}`: {help}", of.full_name())
}

/// `google.protobuf.Value` and `NullValue` can be null; any other field is then left out.
fn takes_null(field: &FieldDescriptor) -> bool {
    if field.is_list() || field.is_map() {
        return false;
    }
    match field.kind() {
        Kind::Message(message) => message.full_name() == "google.protobuf.Value",
        Kind::Enum(kind) => kind.full_name() == "google.protobuf.NullValue",
        _ => false,
    }
}

fn part(field: &FieldDescriptor, value: &Value, path: &str, depth: usize) -> Result<Part, String> {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return Err(format!("`{path}` is described wrongly")) };
        let entries = value.entries().ok_or_else(|| format!("`{path}` takes a map, got {}", describe(value)))?;
        let mut map = HashMap::with_capacity(entries.entries.len());
        for (name, value) in &entries.entries {
            let path = format!("{path}.{name}");
            let key = scalar(&entry.map_entry_key_field().kind(), &Value::Text(name.clone()), &path, depth)?;
            map.insert(map_key(key, &path)?, scalar(&entry.map_entry_value_field().kind(), value, &path, depth)?);
        }
        return Ok(Part::Map(map));
    }
    if field.is_list() {
        let items = value.items().ok_or_else(|| format!("`{path}` takes a list, got {}", describe(value)))?;
        let kind = field.kind();
        let parts = items.iter().enumerate().map(|(at, item)| scalar(&kind, item, &format!("{path}[{at}]"), depth));
        return parts.collect::<Result<_, _>>().map(Part::List);
    }
    scalar(&field.kind(), value, path, depth)
}

fn map_key(key: Part, path: &str) -> Result<MapKey, String> {
    Ok(match key {
        Part::Bool(key) => MapKey::Bool(key),
        Part::I32(key) => MapKey::I32(key),
        Part::I64(key) => MapKey::I64(key),
        Part::U32(key) => MapKey::U32(key),
        Part::U64(key) => MapKey::U64(key),
        Part::String(key) => MapKey::String(key),
        _ => return Err(format!("`{path}` is described wrongly")),
    })
}

fn scalar(kind: &Kind, value: &Value, path: &str, depth: usize) -> Result<Part, String> {
    let takes = |what: &str| format!("`{path}` takes {what}, got {}", describe(value));
    match kind {
        Kind::Message(of) => build(of, value, path, depth + 1).map(Part::Message),
        Kind::Enum(of) => enumerated(of, value, path).map(Part::EnumNumber),
        Kind::Bool => match value {
            Value::Bool(truth) => Ok(Part::Bool(*truth)),
            Value::Text(text) => text.trim().parse().map(Part::Bool).map_err(|_| takes("`true` or `false`")),
            _ => Err(takes("`true` or `false`")),
        },
        Kind::String => match value {
            Value::Text(text) => Ok(Part::String(text.to_string())),
            Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Decimal(_) => {
                Ok(Part::String(value.to_text().map(String::from).unwrap_or_default()))
            }
            _ => Err(takes("a text")),
        },
        Kind::Bytes => match value {
            Value::Bytes(bytes) => Ok(Part::Bytes(bytes.clone())),
            Value::Text(text) => {
                let decoded = STANDARD.decode(text.as_bytes()).or_else(|_| URL_SAFE.decode(text.as_bytes()));
                decoded.map(|bytes| Part::Bytes(bytes.into())).map_err(|_| takes("bytes in base64"))
            }
            _ => Err(takes("bytes in base64")),
        },
        Kind::Double => float(value).map(Part::F64).ok_or_else(|| takes("a number")),
        #[allow(clippy::cast_possible_truncation, reason = "the field has 32 bits")]
        Kind::Float => float(value).map(|number| Part::F32(number as f32)).ok_or_else(|| takes("a number")),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            within(value).map(Part::I32).ok_or_else(|| takes("an integer of 32 bits"))
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            within(value).map(Part::I64).ok_or_else(|| takes("an integer of 64 bits"))
        }
        Kind::Uint32 | Kind::Fixed32 => {
            within(value).map(Part::U32).ok_or_else(|| takes("an integer of 32 bits without a sign"))
        }
        Kind::Uint64 | Kind::Fixed64 => {
            within(value).map(Part::U64).ok_or_else(|| takes("an integer of 64 bits without a sign"))
        }
    }
}

/// A whole number that fits; also from its text, as in JSON's `"1"`.
fn within<N: TryFrom<i128>>(value: &Value) -> Option<N> {
    N::try_from(to_whole(value)?).ok()
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Decimal(_) => value.to_text()?.parse().ok(),
        Value::Text(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        },
        _ => None,
    }
}

fn enumerated(of: &EnumDescriptor, value: &Value, path: &str) -> Result<i32, String> {
    if of.full_name() == "google.protobuf.NullValue" && value.is_null() {
        return Ok(0);
    }
    if let Value::Text(name) = value {
        if let Some(found) = of.get_value_by_name(name) {
            return Ok(found.number());
        }
        if within::<i32>(value).is_none() {
            let values: Vec<_> = of.values().collect();
            let names: Vec<&str> = values.iter().map(prost_reflect::EnumValueDescriptor::name).collect();
            let near = suggest::near(name, names.iter().copied());
            let help = suggest::did_you_mean(&near).unwrap_or_else(|| {
                let few = &names[..names.len().min(12)];
                format!("it has {}", suggest::quoted(few))
            });
            return Err(format!("`{path}`: `{}` has no value `{name}`: {help}", of.full_name()));
        }
    }
    within(value).ok_or_else(|| format!("`{path}` takes a name of `{}`, got {}", of.full_name(), describe(value)))
}

#[cfg(test)]
mod tests {
    use protox::Compiler;
    use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
    use serde_json::json;

    use super::*;

    const SOURCE: &str = r#"
        syntax = "proto3";
        import "google/protobuf/timestamp.proto";
        import "google/protobuf/struct.proto";
        message Thing {
            string name = 1;
            int64 stock = 2;
            uint64 serial = 3;
            float weight = 4;
            bool active = 5;
            Kind kind = 6;
            repeated string tags = 7;
            map<string, int32> sizes = 8;
            google.protobuf.Timestamp made_at = 9;
            optional string note = 10;
            oneof payload { string text = 11; bytes blob = 12; }
            Thing part = 13;
            google.protobuf.Value any = 14;
            map<int32, bool> flags = 15;
        }
        enum Kind { KIND_UNKNOWN = 0; KIND_BOOK = 1; }
    "#;

    struct Source;

    impl FileResolver for Source {
        fn open_file(&self, name: &str) -> Result<File, protox::Error> {
            if name == "thing.proto" {
                File::from_source(name, SOURCE)
            } else {
                Err(protox::Error::file_not_found(name))
            }
        }
    }

    fn thing() -> MessageDescriptor {
        let mut resolver = ChainFileResolver::new();
        resolver.add(Source);
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true).open_file("thing.proto").unwrap();
        compiler.descriptor_pool().get_message_by_name("Thing").unwrap()
    }

    #[test]
    fn what_is_written_comes_back_with_defaults_beside_it() {
        let written = json!({
            "name": "Lamp", "stock": i64::MAX, "serial": u64::MAX, "weight": 1.1, "kind": "KIND_BOOK", "tags": ["a"],
            "sizes": {"s": 1}, "madeAt": "2026-01-02T03:04:05Z", "blob": "AAE=", "any": null, "part": {"stock": "7"},
            "flags": {"1": true},
        });
        let message = message(&thing(), &Value::from_json(written), "request").unwrap();
        let back = value(&message).unwrap().to_json();
        for (path, expected) in [
            ("/stock", json!(i64::MAX)),
            ("/serial", json!(u64::MAX)),
            ("/weight", json!(1.1)),
            ("/active", json!(false)),
            ("/kind", json!("KIND_BOOK")),
            ("/made_at", json!("2026-01-02T03:04:05Z")),
            ("/blob", json!("AAE=")),
            ("/any", json!(null)),
            ("/part/stock", json!(7)),
            ("/part/tags", json!([])),
            ("/flags/1", json!(true)),
        ] {
            assert_eq!(back.pointer(path), Some(&expected), "{path} of {back}");
        }
        assert!(back.get("note").is_none() && back.get("text").is_none(), "absent and without a default: {back}");
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_path() {
        for (written, expected) in [
            (json!({"nam": "x"}), "`request`: `Thing` has no field `nam`: did you mean `name`?"),
            (json!({"part": {"stok": 1}}), "`request.part`: `Thing` has no field `stok`: did you mean `stock`?"),
            (json!({"tags": "x"}), "`request.tags` takes a list, got the string \"x\""),
            (json!({"tags": ["x", {}]}), "`request.tags[1]` takes a text, got the map {}"),
            (json!({"sizes": {"s": 1.5}}), "`request.sizes.s` takes an integer of 32 bits, got the number 1.5"),
            (json!({"serial": -1}), "`request.serial` takes an integer of 64 bits without a sign, got the integer -1"),
            (json!({"active": 1}), "`request.active` takes `true` or `false`, got the integer 1"),
            (json!({"kind": "BOOK"}), "`request.kind`: `Kind` has no value `BOOK`: it has `KIND_UNKNOWN`, `KIND_BOOK`"),
            (json!({"blob": "?"}), "`request.blob` takes bytes in base64, got the string \"?\""),
            (
                json!({"text": "x", "blob": ""}),
                "`request.blob`: `blob` and `text` exclude each other (`oneof payload`)",
            ),
            (json!([1]), "`request` takes a map, a `Thing`, got the list [1]"),
        ] {
            let error = message(&thing(), &Value::from_json(written), "request").unwrap_err();
            assert_eq!(error, expected);
        }
        let error = message(&thing(), &Value::from_json(json!({"made_at": "soon"})), "request").unwrap_err();
        assert!(error.starts_with("`request.made_at` takes a `google.protobuf.Timestamp`: "), "{error}");
    }
}
