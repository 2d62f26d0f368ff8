//! Values into Avro's binary form.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::schema::{Decimal, Field, FixedAs, IntAs, LongAs, Place, Schema, Type, Unit};
use super::{DEEPEST, Fault, decimal, default, time};
use crate::engine::describe;
use crate::flow::suggest;
use crate::value::{Map, Value, is_number, to_whole};

/// The bytes of a value.
pub(super) fn write(schema: &Schema, value: &Value) -> Result<Vec<u8>, Fault> {
    let mut writer = Writer { schema, out: Vec::with_capacity(64) };
    writer.value(schema.root(), value, How { exactly: false, depth: 0 })?;
    Ok(writer.out)
}

/// How a value is taken.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// Only as what it is: no text for a number, and no number for a text. So branches of a union are told apart.
    pub(super) exactly: bool,
    pub(super) depth: usize,
}

impl How {
    fn deeper(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

pub(super) struct Writer<'s> {
    pub(super) schema: &'s Schema,
    pub(super) out: Vec<u8>,
}

impl Writer<'_> {
    /// Writes a value; when it does not fit, what was written of it is still there.
    pub(super) fn value(&mut self, place: Place, value: &Value, how: How) -> Result<(), Fault> {
        if how.depth > DEEPEST {
            return Err(Fault::new(format!("lies deeper than {DEEPEST} values")));
        }
        match self.schema.at(place) {
            Type::Null | Type::Open => value.is_null().then_some(()).ok_or_else(|| takes("null", value)),
            Type::Boolean => {
                let truth = match value {
                    Value::Text(text) if !how.exactly => text.trim().parse().ok(),
                    value => value.as_bool(),
                };
                self.out.push(u8::from(truth.ok_or_else(|| takes("`true` or `false`", value))?));
                Ok(())
            }
            Type::Int(kind) => self.int(*kind, value, how),
            Type::Long(kind) => self.long(*kind, value, how),
            Type::Float => {
                let number = float(value, how).ok_or_else(|| takes("a number", value))?;
                #[allow(clippy::cast_possible_truncation, reason = "the field has 32 bits")]
                self.out.extend_from_slice(&(number as f32).to_le_bytes());
                Ok(())
            }
            Type::Double => {
                let number = float(value, how).ok_or_else(|| takes("a number", value))?;
                self.out.extend_from_slice(&number.to_le_bytes());
                Ok(())
            }
            Type::Bytes(kind) => {
                let bytes = match (kind, value) {
                    (Some(kind), value) if !matches!(value, Value::Bytes(_)) => decimal_bytes(*kind, value, how)?,
                    (_, value) => bytes(value, how).ok_or_else(|| takes("bytes in base64", value))?,
                };
                self.prefixed(&bytes);
                Ok(())
            }
            Type::Text { uuid } => self.text(*uuid, value, how),
            Type::Fixed { size, kind, .. } => {
                let bytes = fixed(*size, *kind, value, how)?;
                self.out.extend_from_slice(&bytes);
                Ok(())
            }
            Type::Enum { name, symbols } => {
                let known = value.as_str().and_then(|text| symbols.iter().position(|symbol| *symbol == text));
                let number = known.ok_or_else(|| {
                    let names: Vec<&str> = symbols.iter().map(|symbol| &**symbol).collect();
                    takes(&format!("a name of `{name}` ({})", few(&names)), value)
                })?;
                self.varint(i64::try_from(number).unwrap_or(i64::MAX));
                Ok(())
            }
            Type::Array(of) => self.array(*of, value, how),
            Type::Map(of) => self.map(*of, value, how),
            Type::Union(branches) => self.union(branches, value, how),
            Type::Record { name, fields } => self.record(name, fields, value, how),
        }
    }

    fn int(&mut self, kind: IntAs, value: &Value, how: How) -> Result<(), Fault> {
        let (what, from_text): (_, fn(&str) -> Option<i64>) = match kind {
            IntAs::Number => ("an integer of 32 bits", |_| None),
            IntAs::Date => ("a date such as `2026-01-02`", |text| time::days(text).map(i64::from)),
            IntAs::TimeMillis => ("a time such as `03:04:05.678`", |text| time::time_count(text, Unit::Millis)),
        };
        let number = value.as_str().and_then(from_text).or_else(|| whole(value, how));
        let number = number.filter(|number| i32::try_from(*number).is_ok()).ok_or_else(|| takes(what, value))?;
        self.varint(number);
        Ok(())
    }

    fn long(&mut self, kind: LongAs, value: &Value, how: How) -> Result<(), Fault> {
        let text = value.as_str();
        let (what, said) = match kind {
            LongAs::Number => ("an integer of 64 bits", None),
            LongAs::TimeMicros => {
                ("a time such as `03:04:05.678901`", text.and_then(|text| time::time_count(text, Unit::Micros)))
            }
            LongAs::Timestamp(unit) => (moment(unit), text.and_then(|text| time::timestamp_count(text, unit))),
            LongAs::Local(unit) => (
                "a date and time without a zone such as `2026-01-02T03:04:05`",
                text.and_then(|text| time::local_count(text, unit)),
            ),
        };
        let number = said.or_else(|| whole(value, how)).ok_or_else(|| takes(what, value))?;
        self.varint(number);
        Ok(())
    }

    fn text(&mut self, uuid: bool, value: &Value, how: How) -> Result<(), Fault> {
        let text = match value {
            Value::Text(text) => Some(text.clone()),
            Value::Bool(_) => (!how.exactly).then(|| value.to_text()).flatten(),
            value if is_number(value) && !how.exactly => value.to_text(),
            _ => None,
        };
        let what = if uuid { "a UUID" } else { "a text" };
        let text = text.filter(|text| !uuid || uuid::Uuid::try_parse(text).is_ok());
        self.prefixed(text.ok_or_else(|| takes(what, value))?.as_bytes());
        Ok(())
    }

    fn array(&mut self, of: Place, value: &Value, how: How) -> Result<(), Fault> {
        let items = value.items().ok_or_else(|| takes("a list", value))?;
        if !items.is_empty() {
            self.count(items.len());
        }
        for (at, item) in items.iter().enumerate() {
            self.value(of, item, how.deeper()).map_err(|fault| fault.in_item(at))?;
        }
        self.count(0);
        Ok(())
    }

    fn map(&mut self, of: Place, value: &Value, how: How) -> Result<(), Fault> {
        let map = value.entries().ok_or_else(|| takes("a map", value))?;
        if !map.entries.is_empty() {
            self.count(map.entries.len());
        }
        for (name, value) in &map.entries {
            self.prefixed(name.as_bytes());
            self.value(of, value, how.deeper()).map_err(|fault| fault.in_field(name))?;
        }
        self.count(0);
        Ok(())
    }

    fn record(&mut self, name: &str, fields: &[Field], value: &Value, how: How) -> Result<(), Fault> {
        let map = value.entries().ok_or_else(|| takes(&format!("a map, a `{name}`"), value))?;
        if let Some(unknown) = map.entries.keys().find(|key| fields.iter().all(|field| field.name != **key)) {
            return Err(unknown_field(name, unknown, fields));
        }
        for field in fields {
            self.field(name, field, &map, how)?;
        }
        Ok(())
    }

    fn field(&mut self, record: &str, field: &Field, map: &Map, how: How) -> Result<(), Fault> {
        let value = match (map.get(&field.name), &field.default) {
            (Some(value), _) => value.clone(),
            (None, Some(json)) => default::value(self.schema, field.of, json),
            (None, None) if self.schema.takes_null(field.of) => Value::Null,
            (None, None) => {
                let (name, of) = (&field.name, self.schema.name(field.of));
                return Err(Fault::new(format!(
                    "lacks `{name}`: `{record}` has that field, a `{of}`, without a default"
                )));
            }
        };
        self.value(field.of, &value, how.deeper()).map_err(|fault| fault.in_field(&field.name))
    }

    fn prefixed(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn count(&mut self, count: usize) {
        self.varint(i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn varint(&mut self, number: i64) {
        push_varint(&mut self.out, number);
    }
}

/// Adds an integer as Avro and the registry's messages write it.
pub(in crate::actions::kafka::registry) fn push_varint(out: &mut Vec<u8>, number: i64) {
    let mut rest = (number << 1 ^ number >> 63).cast_unsigned();
    while rest > 0x7f {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// "takes a number, got the string \"x\"".
pub(super) fn takes(what: &str, value: &Value) -> Fault {
    Fault::new(format!("takes {what}, got {}", describe(value)))
}

fn moment(unit: Unit) -> &'static str {
    match unit {
        Unit::Millis => "a moment such as `2026-01-02T03:04:05.678Z`",
        Unit::Micros => "a moment such as `2026-01-02T03:04:05.678901Z`",
        Unit::Nanos => "a moment such as `2026-01-02T03:04:05.678901234Z`",
    }
}

/// Names for an error, not too many.
fn few(names: &[&str]) -> String {
    let shown = suggest::quoted(&names[..names.len().min(12)]);
    if names.len() > 12 { format!("{shown} …") } else { shown }
}

fn unknown_field(record: &str, name: &str, fields: &[Field]) -> Fault {
    let names: Vec<&str> = fields.iter().map(|field| &*field.name).collect();
    let help = suggest::did_you_mean(&suggest::near(name, names.iter().copied()));
    let help = help.unwrap_or_else(|| format!("it has {}", few(&names)));
    Fault::new(format!("has `{name}`, which `{record}` has not: {help}"))
}

fn whole(value: &Value, how: How) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        _ if how.exactly => None,
        _ => to_whole(value).and_then(|number| i64::try_from(number).ok()),
    }
}

fn float(value: &Value, how: How) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Decimal(_) => value.as_f64(),
        Value::Text(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ if how.exactly => None,
            text => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        },
        _ if how.exactly => None,
        _ => value.as_f64(),
    }
}

fn bytes(value: &Value, how: How) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Some(bytes.to_vec()),
        Value::Text(text) if !how.exactly => {
            STANDARD.decode(text.as_bytes()).or_else(|_| URL_SAFE.decode(text.as_bytes())).ok()
        }
        _ => None,
    }
}

fn decimal_bytes(kind: Decimal, value: &Value, how: How) -> Result<Vec<u8>, Fault> {
    let text = match value {
        Value::Decimal(_) => value.to_text(),
        Value::Text(text) if !how.exactly => Some(text.clone()),
        value if is_number(value) && !how.exactly => value.to_text(),
        _ => None,
    };
    let text = text.ok_or_else(|| takes("a number", value))?;
    decimal::write(text.trim(), kind).map_err(Fault::new)
}

fn fixed(size: usize, kind: FixedAs, value: &Value, how: How) -> Result<Vec<u8>, Fault> {
    let of_size = |bytes: Vec<u8>| {
        let found = bytes.len();
        (found == size).then_some(bytes).ok_or_else(|| Fault::new(format!("takes {size} bytes, got {found}")))
    };
    match (kind, value) {
        (FixedAs::Decimal(kind), value) if !matches!(value, Value::Bytes(_)) => {
            let bytes = decimal_bytes(kind, value, how)?;
            decimal::widened(&bytes, size).ok_or_else(|| takes(&format!("a number of {size} bytes"), value))
        }
        (FixedAs::Uuid, Value::Text(text)) => {
            let uuid = uuid::Uuid::try_parse(text).map_err(|_| takes("a UUID", value))?;
            Ok(uuid.as_bytes().to_vec())
        }
        (FixedAs::Duration, value) if value.is_map() => {
            let part = |name: &str| match value.get(name) {
                None | Some(Value::Null) => Ok(0),
                Some(part) => to_whole(&part)
                    .and_then(|part| u32::try_from(part).ok())
                    .ok_or_else(|| takes("an integer of 32 bits without a sign", &part).in_field(name)),
            };
            let parts = [part("months")?, part("days")?, part("milliseconds")?];
            Ok(parts.iter().flat_map(|part| part.to_le_bytes()).collect())
        }
        (_, value) => of_size(bytes(value, how).ok_or_else(|| takes(&format!("{size} bytes in base64"), value))?),
    }
}
