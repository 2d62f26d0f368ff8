//! What a schema makes of bytes and of values, whatever its language.

use bytes::Bytes;

use super::{avro, json_schema, protobuf};
use crate::value::Value;

/// The language of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Avro,
    Protobuf,
    JsonSchema,
}

impl Format {
    /// As the configuration has it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Format::Avro => "avro",
            Format::Protobuf => "protobuf",
            Format::JsonSchema => "json_schema",
        }
    }

    /// As registries have it.
    pub(super) fn schema_type(self) -> &'static str {
        match self {
            Format::Avro => "AVRO",
            Format::Protobuf => "PROTOBUF",
            Format::JsonSchema => "JSON",
        }
    }

    pub(super) fn of_word(word: &str) -> Option<Self> {
        [Self::Avro, Self::Protobuf, Self::JsonSchema].into_iter().find(|format| format.word() == word)
    }

    /// What a registry says; nothing means Avro.
    pub(super) fn of_schema_type(word: Option<&str>) -> Result<Self, String> {
        let Some(word) = word else { return Ok(Self::Avro) };
        let known = [Self::Avro, Self::Protobuf, Self::JsonSchema].into_iter();
        let found = known.into_iter().find(|format| format.schema_type() == word);
        found.ok_or_else(|| format!("the schema is of the type `{word}`, which is not supported"))
    }
}

/// A schema, ready for use.
pub(super) enum Codec {
    Avro(avro::Schema),
    Protobuf(protobuf::Schema),
    JsonSchema(json_schema::Schema),
}

impl Codec {
    /// Parses a schema. `referenced` are those that it uses, by name, each after those that it uses itself.
    pub(super) fn parse(format: Format, text: &str, referenced: &[(&str, &str)]) -> Result<Self, String> {
        match format {
            Format::Avro => {
                let texts: Vec<&str> = referenced.iter().map(|(_, text)| *text).collect();
                avro::Schema::parse(text, &texts).map(Self::Avro)
            }
            Format::Protobuf => protobuf::Schema::parse(text, referenced).map(Self::Protobuf),
            Format::JsonSchema => json_schema::Schema::parse(text, referenced).map(Self::JsonSchema),
        }
    }

    /// The value that bytes are; `root` is what it is called in errors.
    pub(super) fn read(&self, bytes: Bytes, root: &str) -> Result<Value, String> {
        match self {
            Codec::Avro(schema) => schema.read(bytes, root),
            Codec::Protobuf(schema) => schema.read(bytes, root),
            Codec::JsonSchema(schema) => schema.read(bytes, root),
        }
    }

    /// The bytes of a value; `message` is which message of a Protobuf schema it is.
    pub(super) fn write(&self, value: &Value, root: &str, message: Option<&str>) -> Result<Vec<u8>, String> {
        match self {
            Codec::Avro(schema) => schema.write(value, root),
            Codec::Protobuf(schema) => schema.write(value, root, message),
            Codec::JsonSchema(schema) => schema.write(value, root),
        }
    }
}
