//! Equality and order of values: numbers by value whatever their kind, a text equal to a number by its canonical form.

use std::cmp::Ordering;

use rust_decimal::Decimal;
use rust_decimal::prelude::{FromPrimitive as _, ToPrimitive as _};

use super::{Map, Value};

/// See [`Value::equals`].
pub(super) fn equals(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Text(text), scalar) | (scalar, Value::Text(text)) => match scalar {
            Value::Text(other) => text == other,
            Value::Bool(truth) => &**text == if *truth { "true" } else { "false" },
            _ if is_number(scalar) => is_text_of(text, scalar),
            _ => false,
        },
        _ => alike(left, right, equals),
    }
}

/// Equality where a text never equals a number.
pub(super) fn identical(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => left == right,
        _ => alike(left, right, identical),
    }
}

fn alike(left: &Value, right: &Value, same: fn(&Value, &Value) -> bool) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Bytes(left), Value::Bytes(right)) => left == right,
        (Value::Raw(left), Value::Raw(right)) if left.text() == right.text() => true,
        (Value::List(left), Value::List(right)) => all_alike(left, right, same),
        (Value::Map(left), Value::Map(right)) => maps_alike(left, right, same),
        (Value::Raw(_), _) | (_, Value::Raw(_)) => {
            if let (Some(left), Some(right)) = (left.items(), right.items()) {
                all_alike(&left, &right, same)
            } else if let (Some(left), Some(right)) = (left.entries(), right.entries()) {
                maps_alike(&left, &right, same)
            } else {
                false
            }
        }
        _ => is_number(left) && is_number(right) && numbers(left, right) == Some(Ordering::Equal),
    }
}

fn all_alike(left: &[Value], right: &[Value], same: fn(&Value, &Value) -> bool) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
}

fn maps_alike(left: &Map, right: &Map, same: fn(&Value, &Value) -> bool) -> bool {
    // The side that ignores case is asked, so that it does not matter on which side it stands.
    let (asked, listed) = if left.ignore_case { (left, right) } else { (right, left) };
    asked.entries.len() == listed.entries.len()
        && listed.entries.iter().all(|(key, value)| asked.get(key).is_some_and(|other| same(value, other)))
}

/// See [`Value::compare`].
pub(super) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Some((**left).cmp(&**right)),
        (Value::Text(text), number) if is_number(number) => numbers(&parse_number(text)?, number),
        (number, Value::Text(text)) if is_number(number) => numbers(number, &parse_number(text)?),
        _ => numbers(left, right),
    }
}

/// Whether it is a number of any kind.
pub(crate) fn is_number(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Decimal(_))
}

/// Order of two numbers without rounding either of them where that can be helped.
fn numbers(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Float(left), right) => float_and(*left, right),
        (left, Value::Float(right)) => float_and(*right, left).map(Ordering::reverse),
        (Value::Decimal(left), right) => decimal_and(*left, right),
        (left, Value::Decimal(right)) => decimal_and(*right, left).map(Ordering::reverse),
        _ => Some(integer(left)?.cmp(&integer(right)?)),
    }
}

fn float_and(float: f64, other: &Value) -> Option<Ordering> {
    if let Value::Decimal(decimal) = other {
        // The shortest text of a float is what its writer meant: 0.1 is one tenth.
        return match shortest_decimal(float) {
            Some(exact) => Some(exact.cmp(decimal)),
            None => float.partial_cmp(&decimal.to_f64()?),
        };
    }
    let integer = integer(other)?;
    if float.is_nan() {
        return None;
    }
    // Beyond ±2^64 no integer of ours can be; below, the whole part is exact in 128 bits.
    if float >= 18_446_744_073_709_551_616.0 {
        return Some(Ordering::Greater);
    }
    if float < -9_223_372_036_854_775_808.0 {
        return Some(Ordering::Less);
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the range was checked above, and the fraction is compared next"
    )]
    let whole = float.trunc() as i128;
    Some(whole.cmp(&integer).then_with(|| float.fract().partial_cmp(&0.0).unwrap_or(Ordering::Equal)))
}

fn decimal_and(decimal: Decimal, other: &Value) -> Option<Ordering> {
    let other = match other {
        Value::Decimal(other) => *other,
        _ => Decimal::from_i128(integer(other)?)?,
    };
    Some(decimal.cmp(&other))
}

/// The decimal that the shortest text of `float` says.
pub(crate) fn shortest_decimal(float: f64) -> Option<Decimal> {
    let text = float.to_string();
    Decimal::from_str_exact(&text).ok()
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Int(number) => Some((*number).into()),
        Value::UInt(number) => Some((*number).into()),
        _ => None,
    }
}

/// The whole number that a value is or says: `5`, `5.0`, `"5"`.
#[cfg(any(feature = "grpc", feature = "kafka"))]
pub(crate) fn to_whole(value: &Value) -> Option<i128> {
    match value {
        Value::Text(text) => text.trim().parse().ok(),
        Value::Float(_) | Value::Decimal(_) => {
            let text = value.to_text()?;
            integer(&parse_number(&text)?).or_else(|| text.parse().ok())
        }
        _ => integer(value),
    }
}

fn is_text_of(text: &str, number: &Value) -> bool {
    if super::text::number(number).as_deref() == Some(text) {
        return true;
    }
    // `60.0` and `60` are both how the float 60 is written; a decimal may be written with its zeros or without.
    match number {
        Value::Float(float) => text.strip_suffix(".0").is_some_and(|whole| float.to_string() == whole),
        Value::Decimal(decimal) => decimal.normalize().to_string() == text,
        _ => false,
    }
}

/// The number a text says, in the way JSON writes numbers.
pub(crate) fn parse_number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if let Ok(integer) = text.parse::<i64>() {
        return Some(Value::Int(integer));
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Some(Value::UInt(integer));
    }
    let float = text.parse::<f64>().ok().filter(|float| float.is_finite())?;
    match Decimal::from_str_exact(text) {
        // Digits that a float would lose are kept.
        Ok(exact) if shortest_decimal(float) != Some(exact) => Some(Value::Decimal(exact)),
        _ => Some(Value::Float(float)),
    }
}

/// The integer a number is, if it has no fraction and fits.
pub(super) fn to_i64(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Decimal(number) if number.is_integer() => number.to_i64(),
        Value::Float(number) if number.fract() == 0.0 => number.to_i64(),
        _ => None,
    }
}

/// The nearest float of a number.
#[allow(clippy::cast_precision_loss, reason = "the nearest float is what is asked for")]
pub(super) fn to_f64(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::UInt(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        // Through text: the nearest float of 0.1 is the one that is written `0.1`.
        Value::Decimal(number) => number.to_string().parse().ok(),
        _ => None,
    }
}
