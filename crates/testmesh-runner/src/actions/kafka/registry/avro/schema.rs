//! What an Avro schema says, parsed (specification 1.12, "Schema Declaration").

use std::collections::HashMap;

use bytestring::ByteString;
use serde_json::Value as Json;

use super::DEEPEST;

/// Where a type is among those of its schema.
pub(super) type Place = usize;

/// A schema: its types, which may refer to each other.
#[derive(Debug)]
pub(in crate::actions::kafka::registry) struct Schema {
    types: Vec<Type>,
    root: Place,
}

/// A type.
#[derive(Debug)]
pub(super) enum Type {
    Null,
    Boolean,
    Int(IntAs),
    Long(LongAs),
    Float,
    Double,
    Bytes(Option<Decimal>),
    Text {
        uuid: bool,
    },
    Fixed {
        name: String,
        size: usize,
        kind: FixedAs,
    },
    Enum {
        name: String,
        symbols: Vec<ByteString>,
    },
    Array(Place),
    Map(Place),
    Union(Vec<Place>),
    Record {
        name: String,
        fields: Vec<Field>,
    },
    /// While it is parsed.
    Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IntAs {
    Number,
    Date,
    TimeMillis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LongAs {
    Number,
    TimeMicros,
    /// A moment.
    Timestamp(Unit),
    /// A date and time of no zone.
    Local(Unit),
}

/// What is counted since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FixedAs {
    Bytes,
    Decimal(Decimal),
    Uuid,
    Duration,
}

/// An exact number of so many digits, so many of them after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) precision: usize,
    pub(super) scale: usize,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: ByteString,
    pub(super) of: Place,
    pub(super) default: Option<Json>,
}

impl Schema {
    /// Parses it. `referenced` are schemas whose named types it may use, each after those that it uses itself.
    pub(in crate::actions::kafka::registry) fn parse(text: &str, referenced: &[&str]) -> Result<Self, String> {
        let mut parser = Parser { types: Vec::new(), names: HashMap::new() };
        for text in referenced {
            parser.parse(&json(text)?, "", "$", 0)?;
        }
        let root = parser.parse(&json(text)?, "", "$", 0)?;
        Ok(Self { types: parser.types, root })
    }

    pub(super) fn root(&self) -> Place {
        self.root
    }

    pub(super) fn at(&self, place: Place) -> &Type {
        &self.types[place]
    }

    /// What a type is called in a union: its full name, or the word for it.
    pub(super) fn name(&self, place: Place) -> &str {
        match self.at(place) {
            Type::Null | Type::Open => "null",
            Type::Boolean => "boolean",
            Type::Int(_) => "int",
            Type::Long(_) => "long",
            Type::Float => "float",
            Type::Double => "double",
            Type::Bytes(_) => "bytes",
            Type::Text { .. } => "string",
            Type::Array(_) => "array",
            Type::Map(_) => "map",
            Type::Union(_) => "union",
            Type::Fixed { name, .. } | Type::Enum { name, .. } | Type::Record { name, .. } => name,
        }
    }

    /// Whether null fits.
    pub(super) fn takes_null(&self, place: Place) -> bool {
        match self.at(place) {
            Type::Null => true,
            Type::Union(branches) => branches.iter().any(|branch| matches!(self.at(*branch), Type::Null)),
            _ => false,
        }
    }
}

/// The schema as JSON. A bare word is taken for the primitive type of that name, as registries do.
fn json(text: &str) -> Result<Json, String> {
    match serde_json::from_str(text) {
        Ok(json) => Ok(json),
        Err(_) if primitive(text.trim(), None).is_some() => Ok(Json::from(text.trim())),
        Err(error) => Err(format!("the Avro schema is no JSON: {error}")),
    }
}

fn wrong(place: &str, what: &str) -> String {
    format!("the Avro schema is wrong at `{place}`: {what}")
}

fn primitive(word: &str, attributes: Option<&Json>) -> Option<Type> {
    let logical = attributes.and_then(|json| json.get("logicalType")).and_then(Json::as_str).unwrap_or_default();
    Some(match (word, logical) {
        ("null", _) => Type::Null,
        ("boolean", _) => Type::Boolean,
        ("int", "date") => Type::Int(IntAs::Date),
        ("int", "time-millis") => Type::Int(IntAs::TimeMillis),
        ("int", _) => Type::Int(IntAs::Number),
        ("long", "time-micros") => Type::Long(LongAs::TimeMicros),
        ("long", "timestamp-millis") => Type::Long(LongAs::Timestamp(Unit::Millis)),
        ("long", "timestamp-micros") => Type::Long(LongAs::Timestamp(Unit::Micros)),
        ("long", "timestamp-nanos") => Type::Long(LongAs::Timestamp(Unit::Nanos)),
        ("long", "local-timestamp-millis") => Type::Long(LongAs::Local(Unit::Millis)),
        ("long", "local-timestamp-micros") => Type::Long(LongAs::Local(Unit::Micros)),
        ("long", "local-timestamp-nanos") => Type::Long(LongAs::Local(Unit::Nanos)),
        ("long", _) => Type::Long(LongAs::Number),
        ("float", _) => Type::Float,
        ("double", _) => Type::Double,
        ("bytes", "decimal") => Type::Bytes(attributes.and_then(decimal)),
        ("bytes", _) => Type::Bytes(None),
        ("string", logical) => Type::Text { uuid: logical == "uuid" },
        _ => return None,
    })
}

/// The decimal that the attributes describe. What describes none is ignored, as the specification demands.
fn decimal(attributes: &Json) -> Option<Decimal> {
    let number = |key: &str| attributes.get(key).and_then(Json::as_u64).and_then(|number| usize::try_from(number).ok());
    let (precision, scale) = (number("precision")?, number("scale").unwrap_or(0));
    (precision > 0 && scale <= precision).then_some(Decimal { precision, scale })
}

struct Parser {
    types: Vec<Type>,
    /// By full name.
    names: HashMap<String, Place>,
}

impl Parser {
    fn add(&mut self, of: Type) -> Place {
        self.types.push(of);
        self.types.len() - 1
    }

    fn parse(&mut self, json: &Json, namespace: &str, place: &str, depth: usize) -> Result<Place, String> {
        if depth > DEEPEST {
            return Err(wrong(place, "it lies too deep"));
        }
        match json {
            Json::String(word) => match primitive(word, None) {
                Some(of) => Ok(self.add(of)),
                None => self.named(word, namespace, place),
            },
            Json::Array(branches) => {
                let branches = branches.iter().enumerate();
                let parsed = branches
                    .map(|(at, branch)| self.parse(branch, namespace, &format!("{place}[{at}]"), depth + 1))
                    .collect::<Result<Vec<_>, _>>()?;
                if parsed.is_empty() {
                    return Err(wrong(place, "a union of nothing"));
                }
                Ok(self.add(Type::Union(parsed)))
            }
            Json::Object(_) => self.complex(json, namespace, place, depth),
            _ => Err(wrong(place, "a type is a name, a list or an object")),
        }
    }

    fn named(&self, word: &str, namespace: &str, place: &str) -> Result<Place, String> {
        let full = full_name(word, namespace);
        let found = self.names.get(&full).or_else(|| self.names.get(word));
        found.copied().ok_or_else(|| wrong(place, &format!("there is no type `{full}`")))
    }

    fn complex(&mut self, json: &Json, namespace: &str, place: &str, depth: usize) -> Result<Place, String> {
        let of = json.get("type").ok_or_else(|| wrong(place, "there is no `type`"))?;
        let Json::String(word) = of else {
            return self.parse(of, namespace, &format!("{place}.type"), depth + 1);
        };
        if let Some(of) = primitive(word, Some(json)) {
            return Ok(self.add(of));
        }
        let inner = |key: &str| {
            let found = json.get(key).ok_or_else(|| wrong(place, &format!("there are no `{key}`")))?;
            Ok::<_, String>((found, format!("{place}.{key}")))
        };
        match word.as_str() {
            "array" => {
                let (items, place) = inner("items")?;
                let items = self.parse(items, namespace, &place, depth + 1)?;
                Ok(self.add(Type::Array(items)))
            }
            "map" => {
                let (values, place) = inner("values")?;
                let values = self.parse(values, namespace, &place, depth + 1)?;
                Ok(self.add(Type::Map(values)))
            }
            "record" | "error" | "enum" | "fixed" => self.define(word, json, namespace, (place, depth)),
            word => self.named(word, namespace, place),
        }
    }

    /// A type with a name, which it may use inside of itself.
    fn define(
        &mut self,
        word: &str,
        json: &Json,
        namespace: &str,
        (place, depth): (&str, usize),
    ) -> Result<Place, String> {
        let name = json.get("name").and_then(Json::as_str).ok_or_else(|| wrong(place, "there is no `name`"))?;
        let namespace = json.get("namespace").and_then(Json::as_str).unwrap_or(namespace);
        let name = full_name(name, namespace);
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let at = self.add(Type::Open);
        if self.names.insert(name.clone(), at).is_some() {
            return Err(wrong(place, &format!("`{name}` is described twice")));
        }
        self.types[at] = match word {
            "enum" => {
                let symbols = json.get("symbols").and_then(Json::as_array);
                let symbols = symbols.ok_or_else(|| wrong(place, "there are no `symbols`"))?;
                Type::Enum { name, symbols: symbols.iter().filter_map(Json::as_str).map(ByteString::from).collect() }
            }
            "fixed" => {
                let size = json.get("size").and_then(Json::as_u64).and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or_else(|| wrong(place, "there is no `size`"))?;
                let kind = match json.get("logicalType").and_then(Json::as_str) {
                    Some("decimal") => decimal(json).map_or(FixedAs::Bytes, FixedAs::Decimal),
                    Some("uuid") if size == 16 => FixedAs::Uuid,
                    Some("duration") if size == 12 => FixedAs::Duration,
                    _ => FixedAs::Bytes,
                };
                Type::Fixed { name, size, kind }
            }
            _ => {
                let fields = json.get("fields").and_then(Json::as_array);
                let fields = fields.ok_or_else(|| wrong(place, "there are no `fields`"))?;
                let parsed = fields.iter().enumerate().map(|(at, field)| {
                    let place = format!("{place}.fields[{at}]");
                    self.field(field, &namespace, &place, depth + 1)
                });
                Type::Record { fields: parsed.collect::<Result<_, _>>()?, name }
            }
        };
        Ok(at)
    }

    fn field(&mut self, json: &Json, namespace: &str, place: &str, depth: usize) -> Result<Field, String> {
        let name = json.get("name").and_then(Json::as_str).ok_or_else(|| wrong(place, "there is no `name`"))?;
        let of = json.get("type").ok_or_else(|| wrong(place, "there is no `type`"))?;
        let of = self.parse(of, namespace, &format!("{place}.type"), depth)?;
        Ok(Field { name: name.into(), of, default: json.get("default").cloned() })
    }
}

/// A name with a dot in it is full; any other is of the namespace around it.
fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}
