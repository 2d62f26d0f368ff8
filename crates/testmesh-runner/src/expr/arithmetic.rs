//! Sums and products of numbers. Integers never wrap, decimals stay exact, and floats are added as they are written:
//! `0.1 + 0.2` is `0.3`.

use rust_decimal::Decimal;
use rust_decimal::prelude::{FromPrimitive as _, ToPrimitive as _};

use super::EvalError;
use super::ast::Operator;
use super::eval::error;
use super::explain::with_article;
use crate::value::{Value, is_number, parse_number, shortest_decimal};

/// `left op right` for the operators of arithmetic.
pub(super) fn apply(operator: Operator, left: &Value, right: &Value) -> Result<Value, EvalError> {
    if let Some(moved) = super::time::shift(operator, left, right)? {
        return Ok(moved);
    }
    if operator == Operator::Add {
        let glued = (matches!(left, Value::Text(_)) || matches!(right, Value::Text(_)))
            .then(|| left.to_text().zip(right.to_text()));
        if let Some(Some((left, right))) = glued {
            return Ok(Value::from(format!("{left}{right}")));
        }
        if let (Some(left), Some(right)) = (left.items(), right.items()) {
            return Ok(Value::list(left.iter().chain(right.iter()).cloned().collect()));
        }
    }
    if let (Some(left), Some(right)) = (operand(left), operand(right)) {
        return numbers(operator, &left, &right);
    }
    let (symbol, left, right) = (operator.symbol(), with_article(left), with_article(right));
    Err(error(format!("`{symbol}` takes numbers, not {left} and {right}")))
}

/// `left + right`, both of them numbers.
pub(super) fn add_numbers(left: &Value, right: &Value) -> Result<Value, EvalError> {
    match operand(right) {
        Some(right) => numbers(Operator::Add, left, &right),
        None => Err(error(format!("a sum takes numbers, not {}", with_article(right)))),
    }
}

/// The integer that a number, or the text of one, is.
pub(super) fn integer(value: &Value) -> Option<i64> {
    operand(value)?.as_i64()
}

/// `-number`.
pub(super) fn negate(number: &Value) -> Result<Value, EvalError> {
    Ok(match number {
        Value::Float(float) => Value::Float(-float),
        Value::Decimal(decimal) => Value::Decimal(-decimal),
        _ => match whole(number).map(|number| fit(-number)) {
            Some(Some(negated)) => negated,
            Some(None) => return Err(overflow()),
            None => return Err(error(format!("`-` takes a number, not {}", with_article(number)))),
        },
    })
}

/// How a fraction is dropped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rounding {
    /// To this many decimal places, halves away from zero.
    Nearest(u32),
    Down,
    Up,
    ToZero,
}

/// `number` rounded: an integer where no places are kept and it fits.
pub(super) fn round(number: &Value, how: Rounding) -> Result<Value, EvalError> {
    if whole(number).is_some() {
        return Ok(number.clone());
    }
    let exact = match number {
        Value::Decimal(decimal) => Some(*decimal),
        Value::Float(float) => shortest_decimal(*float),
        _ => None,
    };
    let Some(exact) = exact else {
        // A float too large for a decimal has no fraction.
        return Ok(number.clone());
    };
    let rounded = match how {
        Rounding::Nearest(places) => {
            exact.round_dp_with_strategy(places, rust_decimal::RoundingStrategy::MidpointAwayFromZero)
        }
        Rounding::Down => exact.floor(),
        Rounding::Up => exact.ceil(),
        Rounding::ToZero => exact.trunc(),
    };
    if !matches!(how, Rounding::Nearest(places) if places > 0)
        && let Some(fitting) = rounded.to_i128().and_then(fit)
    {
        return Ok(fitting);
    }
    Ok(match number {
        Value::Float(_) => from_decimal_as_float(rounded)?,
        _ => Value::Decimal(rounded),
    })
}

/// The number that `value` says, or `value` itself when it says none.
pub(super) fn operand_of(value: Value) -> Value {
    operand(&value).unwrap_or(value)
}

/// A number, also out of its text: values of the environment are always text.
fn operand(value: &Value) -> Option<Value> {
    match value {
        Value::Text(text) => parse_number(text.trim()),
        number if is_number(number) => Some(number.clone()),
        _ => None,
    }
}

fn numbers(operator: Operator, left: &Value, right: &Value) -> Result<Value, EvalError> {
    if let (Some(left), Some(right)) = (whole(left), whole(right)) {
        return integers(operator, left, right);
    }
    let any_float = matches!(left, Value::Float(_)) || matches!(right, Value::Float(_));
    if let (Some(left), Some(right)) = (exact(left), exact(right)) {
        let result = match operator {
            Operator::Add => left.checked_add(right),
            Operator::Subtract => left.checked_sub(right),
            Operator::Multiply => left.checked_mul(right),
            _ if right.is_zero() => return Err(division_by_zero()),
            Operator::Divide => left.checked_div(right),
            _ => left.checked_rem(right),
        };
        match result {
            Some(result) if any_float => return from_decimal_as_float(result),
            Some(result) => return Ok(Value::Decimal(result)),
            None => {}
        }
    }
    let (Some(left), Some(right)) = (left.as_f64(), right.as_f64()) else { return Err(overflow()) };
    let result = match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        _ if right == 0.0 => return Err(division_by_zero()),
        Operator::Divide => left / right,
        _ => left % right,
    };
    if result.is_finite() { Ok(Value::Float(result)) } else { Err(overflow()) }
}

fn integers(operator: Operator, left: i128, right: i128) -> Result<Value, EvalError> {
    let result = match operator {
        Operator::Add => Some(left + right),
        Operator::Subtract => Some(left - right),
        Operator::Multiply => left.checked_mul(right),
        _ if right == 0 => return Err(division_by_zero()),
        Operator::Divide if left % right == 0 => Some(left / right),
        Operator::Divide => {
            #[allow(clippy::cast_precision_loss, reason = "a quotient with a fraction is a float")]
            return Ok(Value::Float(left as f64 / right as f64));
        }
        _ => Some(left % right),
    };
    result.and_then(fit).ok_or_else(overflow)
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(number) => Some((*number).into()),
        Value::UInt(number) => Some((*number).into()),
        _ => None,
    }
}

fn exact(value: &Value) -> Option<Decimal> {
    match value {
        Value::Decimal(decimal) => Some(*decimal),
        Value::Float(float) => shortest_decimal(*float),
        _ => Decimal::from_i128(whole(value)?),
    }
}

fn fit(number: i128) -> Option<Value> {
    i64::try_from(number).map(Value::Int).or_else(|_| u64::try_from(number).map(Value::UInt)).ok()
}

fn from_decimal_as_float(decimal: Decimal) -> Result<Value, EvalError> {
    Value::Decimal(decimal).as_f64().map(Value::Float).ok_or_else(overflow)
}

fn overflow() -> EvalError {
    error("the result is too large for a number")
}

fn division_by_zero() -> EvalError {
    error("division by zero")
}
