//! What an unquoted YAML scalar means: the core schema of YAML 1.2, with numbers that lose nothing.
//!
//! `yes`, `no`, `on`, `off` are text, and so are numbers with leading zeros (`012`): they are identifiers, not counts.

use rust_decimal::Decimal;

use crate::value::Value;

/// What a scalar means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Literal {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer above `i64::MAX`.
    UInt(u64),
    /// A number that binary floating point holds as written.
    Float(f64),
    /// A number that it does not.
    Decimal(Decimal),
    /// Text.
    Text,
}

impl Literal {
    /// The value; `text` is what is written.
    pub(crate) fn value(self, text: &str) -> Value {
        match self {
            Literal::Null => Value::Null,
            Literal::Bool(value) => Value::Bool(value),
            Literal::Int(value) => Value::Int(value),
            Literal::UInt(value) => Value::UInt(value),
            Literal::Float(value) => Value::Float(value),
            Literal::Decimal(value) => Value::Decimal(value),
            Literal::Text => Value::Text(text.into()),
        }
    }
}

/// Resolves an unquoted scalar.
pub(crate) fn resolve(text: &str) -> Literal {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Literal::Null,
        "true" | "True" | "TRUE" => Literal::Bool(true),
        "false" | "False" | "FALSE" => Literal::Bool(false),
        _ if text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '.')) => number(text),
        _ => Literal::Text,
    }
}

fn number(text: &str) -> Literal {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && digits.chars().all(|digit| digit.is_digit(radix))
        {
            return u64::from_str_radix(digits, radix).map_or(Literal::Text, integer);
        }
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    let shaped = digits(whole)
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
        && !(whole.is_empty() && fraction.is_none_or(str::is_empty));
    if !shaped || leading_zero {
        return Literal::Text;
    }
    if fraction.is_none() && exponent.is_none() {
        if let Ok(value) = text.parse::<i64>() {
            return Literal::Int(value);
        }
        if let Ok(value) = text.parse::<u64>() {
            return Literal::UInt(value);
        }
        // A number of more digits than any type holds is an identifier.
        return Decimal::from_str_exact(text).map_or(Literal::Text, Literal::Decimal);
    }
    fractional(text)
}

fn integer(value: u64) -> Literal {
    i64::try_from(value).map_or(Literal::UInt(value), Literal::Int)
}

/// A float when it says exactly what is written, else a decimal, else (out of every range) the text.
fn fractional(text: &str) -> Literal {
    let float = text.parse::<f64>().ok().filter(|float| float.is_finite());
    let exact = Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok();
    match (float, exact) {
        (Some(float), Some(exact)) => {
            let same = Decimal::from_str_exact(&float.to_string()).is_ok_and(|shown| shown == exact);
            if same { Literal::Float(float) } else { Literal::Decimal(exact) }
        }
        (Some(float), None) => Literal::Float(float),
        (None, Some(exact)) => Literal::Decimal(exact),
        (None, None) => Literal::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_yaml_says_and_lose_nothing() {
        let decimal = |text: &str| Literal::Decimal(Decimal::from_str_exact(text).unwrap());
        for (text, meaning) in [
            ("", Literal::Null),
            ("~", Literal::Null),
            ("true", Literal::Bool(true)),
            ("yes", Literal::Text),
            ("on", Literal::Text),
            ("12", Literal::Int(12)),
            ("-0", Literal::Int(0)),
            ("0x1F", Literal::Int(31)),
            ("012", Literal::Text),
            ("00.5", Literal::Text),
            ("9223372036854775807", Literal::Int(i64::MAX)),
            ("18446744073709551615", Literal::UInt(u64::MAX)),
            ("123456789012345678901234567", decimal("123456789012345678901234567")),
            ("1234567890123456789012345678901234567890", Literal::Text),
            ("40.00", Literal::Float(40.0)),
            ("0.1", Literal::Float(0.1)),
            ("12345678901234567890.123", decimal("12345678901234567890.123")),
            ("1e3", Literal::Float(1000.0)),
            (".5", Literal::Float(0.5)),
            ("1.2.3", Literal::Text),
            ("1e", Literal::Text),
            ("-", Literal::Text),
            (".", Literal::Text),
            (".inf", Literal::Text),
            ("1e999", Literal::Text),
            ("2026-01-01", Literal::Text),
            ("10s", Literal::Text),
        ] {
            assert_eq!(resolve(text), meaning, "{text}");
        }
    }
}
