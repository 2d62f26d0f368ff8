//! Values out of Avro's binary form. No length is believed before its bytes are there.

use bytes::{Buf, Bytes};
use bytestring::ByteString;

use super::schema::{FixedAs, IntAs, LongAs, Place, Schema, Type, Unit};
use super::{DEEPEST, Fault, decimal, time};
use crate::value::{Entries, Map, Value};

/// Items without a single byte, such as nulls, that a message may have.
const EMPTY_ITEMS: u64 = 100_000;

/// The value that the bytes are, all of them.
pub(super) fn read(schema: &Schema, bytes: Bytes) -> Result<Value, Fault> {
    let mut reader = Reader { schema, rest: bytes, empty_items: EMPTY_ITEMS };
    let value = reader.value(schema.root(), 0)?;
    match reader.rest.len() {
        0 => Ok(value),
        left => Err(Fault::new(format!("is followed by {left} bytes that its schema does not have"))),
    }
}

struct Reader<'s> {
    schema: &'s Schema,
    rest: Bytes,
    /// How many more are believed.
    empty_items: u64,
}

impl Reader<'_> {
    fn value(&mut self, place: Place, depth: usize) -> Result<Value, Fault> {
        if depth > DEEPEST {
            return Err(Fault::new(format!("lies deeper than {DEEPEST} values")));
        }
        Ok(match self.schema.at(place) {
            Type::Null | Type::Open => Value::Null,
            Type::Boolean => match self.take(1)?[0] {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                other => return Err(Fault::new(format!("is no boolean: its byte is {other}"))),
            },
            Type::Int(kind) => self.int(*kind)?,
            Type::Long(kind) => self.long(*kind)?,
            Type::Float => float(self.take(4)?.get_f32_le()),
            Type::Double => double(self.take(8)?.get_f64_le()),
            Type::Bytes(kind) => {
                let bytes = self.prefixed()?;
                kind.map_or_else(|| Value::Bytes(bytes.clone()), |kind| decimal::read(&bytes, kind.scale))
            }
            Type::Text { .. } => Value::Text(self.text()?),
            Type::Fixed { size, kind, .. } => fixed(&self.take(*size)?, *kind),
            Type::Enum { symbols, name } => {
                let number = self.varint()?;
                let symbol = usize::try_from(number).ok().and_then(|number| symbols.get(number));
                let unknown = || Fault::new(format!("is number {number} of `{name}`, which has {}", symbols.len()));
                Value::Text(symbol.ok_or_else(unknown)?.clone())
            }
            Type::Array(of) => self.array(*of, depth)?,
            Type::Map(of) => self.map(*of, depth)?,
            Type::Union(branches) => {
                let number = self.varint()?;
                let branch = usize::try_from(number).ok().and_then(|number| branches.get(number));
                let unknown = || Fault::new(format!("is branch {number} of a union that has {}", branches.len()));
                self.value(*branch.ok_or_else(unknown)?, depth + 1)?
            }
            Type::Record { fields, .. } => {
                let mut entries = Entries::with_capacity(fields.len());
                for field in fields {
                    let value = self.value(field.of, depth + 1).map_err(|fault| fault.in_field(&field.name))?;
                    entries.insert(field.name.clone(), value);
                }
                Value::Map(Map { entries, ignore_case: false }.into())
            }
        })
    }

    fn int(&mut self, kind: IntAs) -> Result<Value, Fault> {
        let number = self.varint()?;
        let small = i32::try_from(number).map_err(|_| Fault::new(format!("is {number}, which is no int")))?;
        let text = match kind {
            IntAs::Number => None,
            IntAs::Date => time::date(small),
            IntAs::TimeMillis => time::time(number, Unit::Millis),
        };
        Ok(text.map_or(Value::Int(number), Value::Text))
    }

    fn long(&mut self, kind: LongAs) -> Result<Value, Fault> {
        let number = self.varint()?;
        let text = match kind {
            LongAs::Number => None,
            LongAs::TimeMicros => time::time(number, Unit::Micros),
            LongAs::Timestamp(unit) => time::timestamp(number, unit),
            LongAs::Local(unit) => time::local(number, unit),
        };
        Ok(text.map_or(Value::Int(number), Value::Text))
    }

    fn array(&mut self, of: Place, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        while let Some(count) = self.block()? {
            for _ in 0..count {
                let before = self.rest.len();
                let at = items.len();
                items.push(self.value(of, depth + 1).map_err(|fault| fault.in_item(at))?);
                self.note_size(before)?;
            }
        }
        Ok(Value::list(items))
    }

    fn map(&mut self, of: Place, depth: usize) -> Result<Value, Fault> {
        let mut entries = Entries::default();
        while let Some(count) = self.block()? {
            for _ in 0..count {
                let name = self.text()?;
                let value = self.value(of, depth + 1).map_err(|fault| fault.in_field(&name))?;
                entries.insert(name, value);
            }
        }
        Ok(Value::Map(Map { entries, ignore_case: false }.into()))
    }

    /// How many items follow; none at the end.
    fn block(&mut self) -> Result<Option<u64>, Fault> {
        let count = self.varint()?;
        if count < 0 {
            // Their size in bytes, for those who want to skip them.
            self.varint()?;
        }
        Ok((count != 0).then_some(count.unsigned_abs()))
    }

    fn note_size(&mut self, before: usize) -> Result<(), Fault> {
        if self.rest.len() == before {
            let left = self.empty_items.checked_sub(1);
            self.empty_items = left.ok_or_else(|| Fault::new(format!("has more than {EMPTY_ITEMS} empty items")))?;
        }
        Ok(())
    }

    fn text(&mut self) -> Result<ByteString, Fault> {
        ByteString::try_from(self.prefixed()?).map_err(|_| Fault::new("is a string that is not UTF-8"))
    }

    fn prefixed(&mut self) -> Result<Bytes, Fault> {
        let length = self.varint()?;
        self.take(usize::try_from(length).map_err(|_| Fault::new(format!("has the length {length}")))?)
    }

    fn take(&mut self, count: usize) -> Result<Bytes, Fault> {
        if self.rest.len() < count {
            return Err(too_early());
        }
        Ok(self.rest.split_to(count))
    }

    /// An integer of up to 64 bits: seven at a time, the sign in the last.
    fn varint(&mut self) -> Result<i64, Fault> {
        varint(&mut self.rest).map_err(|problem| problem.map_or_else(too_early, Fault::new))
    }
}

fn too_early() -> Fault {
    Fault::new("is where the message ends too early")
}

/// An integer of up to 64 bits as Avro and the registry's messages write it; no words when the bytes end in it.
pub(in crate::actions::kafka::registry) fn varint(rest: &mut Bytes) -> Result<i64, Option<&'static str>> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = rest.try_get_u8().map_err(|_| None)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
        }
    }
    Err(Some("is an integer of more than 64 bits"))
}

fn fixed(bytes: &Bytes, kind: FixedAs) -> Value {
    match kind {
        FixedAs::Bytes => Value::Bytes(bytes.clone()),
        FixedAs::Decimal(kind) => decimal::read(bytes, kind.scale),
        FixedAs::Uuid => uuid::Uuid::from_slice(bytes)
            .map_or_else(|_| Value::Bytes(bytes.clone()), |uuid| Value::from(uuid.to_string())),
        FixedAs::Duration => {
            let mut bytes = bytes.clone();
            let parts = ["months", "days", "milliseconds"];
            Value::map(parts.map(|part| (part, bytes.try_get_u32_le().map_or(Value::Null, Value::from))))
        }
    }
}

/// A float of 32 bits with its own digits, not with those of its neighbour of 64 bits.
fn float(number: f32) -> Value {
    number.to_string().parse().map_or(Value::Null, double)
}

/// What JSON has no number for is told in words, as Protocol Buffers do.
fn double(number: f64) -> Value {
    if number.is_nan() {
        Value::from("NaN")
    } else if number.is_infinite() {
        Value::from(if number > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        Value::Float(number)
    }
}
