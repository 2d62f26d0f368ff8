//! Protocol Buffers: a schema is a `.proto` file, and a message begins with which of the file's messages it is.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::{DynamicMessage, FileDescriptor, MessageDescriptor};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::avro::{push_varint, varint};
use crate::actions::{http_request::chain, protobuf};
use crate::flow::suggest;
use crate::value::Value;

/// What Confluent's registries let every schema import, for its options and for decimals.
const WELL_KNOWN: [(&str, &str); 2] = [
    (
        "confluent/meta.proto",
        "syntax = \"proto3\"; package confluent; import \"google/protobuf/descriptor.proto\";
         message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; repeated Rule rules = 4; }
         message Rule { string name = 1; string doc = 2; string expr = 3; string sql = 4; }
         extend google.protobuf.FileOptions { Meta file_meta = 1088; }
         extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
         extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
         extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
         extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }",
    ),
    (
        "confluent/type/decimal.proto",
        "syntax = \"proto3\"; package confluent.type;
         message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }",
    ),
];
/// What the schema itself is called among those that it imports.
const NAME: &str = "the-schema.proto";
/// Messages inside messages that an index may lead into.
const DEEPEST: usize = 32;

pub(super) struct Schema(FileDescriptor);

impl Schema {
    /// Compiles it. `referenced` are files by the names that they are imported by.
    pub(super) fn parse(text: &str, referenced: &[(&str, &str)]) -> Result<Self, String> {
        let named = WELL_KNOWN.iter().chain(referenced).map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let sources = named.chain([(NAME.to_owned(), text.to_owned())]).collect();
        let mut resolver = ChainFileResolver::new();
        resolver.add(Sources(sources));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        let wrong = |error: &dyn std::error::Error| format!("the Protobuf schema cannot be used: {}", chain(error));
        compiler.include_imports(true).open_file(NAME).map_err(|error| wrong(&error))?;
        let file = compiler.descriptor_pool().get_file_by_name(NAME);
        file.map(Self).ok_or_else(|| "the Protobuf schema has no file".to_owned())
    }

    pub(super) fn read(&self, mut bytes: Bytes, root: &str) -> Result<Value, String> {
        let of = self.indexed(&mut bytes).map_err(|problem| format!("`{root}` {problem}"))?;
        let name = of.full_name().to_owned();
        let message = DynamicMessage::decode(of, bytes).map_err(|error| format!("`{root}` is no `{name}`: {error}"))?;
        protobuf::value(&message)
    }

    pub(super) fn write(&self, value: &Value, root: &str, named: Option<&str>) -> Result<Vec<u8>, String> {
        let of = self.named(named)?;
        let message = protobuf::message(&of, value, root)?;
        let mut out = Vec::with_capacity(message.encoded_len() + 8);
        // The path to a message in a file alternates between a field of the description and a place.
        let places: Vec<i32> = of.path().iter().skip(1).step_by(2).copied().collect();
        match places.as_slice() {
            [0] => out.push(0),
            places => {
                push_varint(&mut out, i64::try_from(places.len()).unwrap_or(i64::MAX));
                for place in places {
                    push_varint(&mut out, i64::from(*place));
                }
            }
        }
        message.encode(&mut out).map_err(|error| format!("`{root}` cannot be written: {error}"))?;
        Ok(out)
    }

    /// The message that the indexes before it say; none stand for the file's first.
    fn indexed(&self, bytes: &mut Bytes) -> Result<MessageDescriptor, String> {
        let mut next = || varint(bytes).map_err(|problem| problem.unwrap_or("ends before it says which message it is"));
        let count = usize::try_from(next()?).ok().filter(|count| *count <= DEEPEST);
        let count = count.ok_or("says that it lies in too many messages")?;
        let mut indexes = (0..count).map(|_| next()).collect::<Result<Vec<i64>, _>>()?;
        if indexes.is_empty() {
            indexes.push(0);
        }
        let mut found: Option<MessageDescriptor> = None;
        for index in &indexes {
            let at = usize::try_from(*index).unwrap_or(usize::MAX);
            found = match &found {
                None => self.0.messages().nth(at),
                Some(around) => around.child_messages().nth(at),
            };
            if found.is_none() {
                return Err(format!("is message {indexes:?} of its schema, which has none there"));
            }
        }
        found.ok_or_else(|| "is of a schema without messages".to_owned())
    }

    /// The message with this name, its package spelled out or not; without a name the file's first.
    fn named(&self, name: Option<&str>) -> Result<MessageDescriptor, String> {
        let Some(name) = name else {
            return self.0.messages().next().ok_or_else(|| "the Protobuf schema has no message".to_owned());
        };
        let mut all: Vec<MessageDescriptor> = self.0.messages().collect();
        let mut at = 0;
        while let Some(message) = all.get(at) {
            let inner: Vec<_> = message.child_messages().filter(|inner| !inner.is_map_entry()).collect();
            all.extend(inner);
            at += 1;
        }
        let short = format!("{}.{name}", self.0.package_name());
        let found = all.iter().find(|message| message.full_name() == name || message.full_name() == short);
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(MessageDescriptor::full_name).collect();
            let near = suggest::did_you_mean(&suggest::near(name, names.iter().copied()));
            let help = near.unwrap_or_else(|| format!("it has {}", suggest::quoted(&names[..names.len().min(12)])));
            format!("the Protobuf schema has no message `{name}`: {help}")
        })
    }
}

/// The files that a schema is made of, by name.
struct Sources(HashMap<String, String>);

impl FileResolver for Sources {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let text = self.0.get(name).ok_or_else(|| protox::Error::file_not_found(name))?;
        match described(text) {
            Some(described) => {
                Ok(File::from_file_descriptor_proto(FileDescriptorProto { name: Some(name.to_owned()), ..described }))
            }
            None => File::from_source(name, text),
        }
    }
}

/// A file that was registered as its description in base64, as some clients do and some registries keep it.
fn described(text: &str) -> Option<FileDescriptorProto> {
    let bytes = STANDARD.decode(text.trim()).ok()?;
    FileDescriptorProto::decode(bytes.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FILE: &str = "syntax = \"proto3\"; package shop; import \"money.proto\"; import \"confluent/meta.proto\";
        message A { string x = 1; message B { int32 n = 1; message C { bool b = 1; } } map<string, int32> m = 2; }
        message D { shop.money.Money total = 1 [(confluent.field_meta).doc = \"what it costs\"]; }";
    const MONEY: &str = "syntax = \"proto3\"; package shop.money; import \"confluent/type/decimal.proto\";
        message Money { int64 cents = 1; confluent.type.Decimal exact = 2; }";

    fn schema() -> Schema {
        Schema::parse(FILE, &[("money.proto", MONEY)]).unwrap()
    }

    #[test]
    fn a_message_begins_with_its_place_in_the_file() {
        for (name, value, head) in [
            (None, json!({"x": "a"}), vec![0]),
            (Some("A.B"), json!({"n": 1}), vec![4, 0, 0]),
            (Some("shop.A.B.C"), json!({"b": true}), vec![6, 0, 0, 0]),
            (Some("D"), json!({"total": {"cents": 5}}), vec![2, 2]),
        ] {
            let bytes = schema().write(&Value::from_json(value.clone()), "payload", name).unwrap();
            assert!(bytes.starts_with(&head), "{name:?}: {bytes:?}");
            let read = schema().read(bytes.into(), "value").unwrap().to_json();
            for (key, item) in value.as_object().unwrap() {
                let found = &read[key];
                assert!(found == item || found["cents"] == item["cents"], "{name:?}: {read}");
            }
        }
        // The first message may be spelled out, too.
        assert_eq!(schema().read(vec![2, 0, 10, 1, b'a'].into(), "value").unwrap().to_json()["x"], json!("a"));
    }

    #[test]
    fn a_file_may_be_registered_as_its_description() {
        let described = STANDARD.encode(schema().0.file_descriptor_proto().encode_to_vec());
        let schema = Schema::parse(&described, &[("money.proto", MONEY)]).unwrap();
        let bytes = schema.write(&Value::from_json(json!({"n": 1})), "payload", Some("A.B")).unwrap();
        assert_eq!(bytes, [4, 0, 0, 8, 1]);
    }

    #[test]
    fn what_is_no_message_of_the_file_is_told() {
        for (bytes, expected) in [
            (vec![], "`value` ends before it says which message it is"),
            (vec![2], "`value` ends before it says which message it is"),
            (vec![2, 20], "`value` is message [10] of its schema, which has none there"),
            (vec![4, 0, 8], "`value` is message [0, 4] of its schema, which has none there"),
            (vec![1], "`value` says that it lies in too many messages"),
            (vec![0xfe, 0xff, 3], "`value` says that it lies in too many messages"),
        ] {
            assert_eq!(schema().read(bytes.clone().into(), "value").unwrap_err(), expected, "{bytes:?}");
        }
        let error = schema().read(vec![0, 10, 5, b'a'].into(), "value").unwrap_err();
        assert!(error.starts_with("`value` is no `shop.A`: "), "{error}");
        let error = schema().write(&Value::from_json(json!({"y": 1})), "payload", None).unwrap_err();
        assert_eq!(error, "`payload`: `shop.A` has no field `y`: it has `x`, `m`");
        let error = schema().write(&Value::Null, "payload", Some("shop.E")).unwrap_err();
        assert!(error.starts_with("the Protobuf schema has no message `shop.E`: "), "{error}");
        for (text, expected) in [("syntax", "the Protobuf schema cannot be used: "), (FILE, "money.proto")] {
            let error = Schema::parse(text, &[]).err().unwrap();
            assert!(error.contains(expected), "{error}");
        }
    }
}
