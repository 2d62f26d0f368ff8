//! Decimals of any size: the bytes of a whole number, big end first, and how many of its digits follow the point.

use super::schema::Decimal;
use crate::value::Value;

/// Digits that are moved at once.
const CHUNK: u64 = 1_000_000_000;

/// The number that `bytes` are, `scale` digits of it after the point. What is too long for a decimal is its text.
pub(super) fn read(bytes: &[u8], scale: usize) -> Value {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let magnitude = if negative { negated(bytes) } else { bytes.to_vec() };
    let mut digits = digits(magnitude);
    if digits.len() <= scale {
        digits.insert_str(0, &"0".repeat(scale + 1 - digits.len()));
    }
    if scale > 0 {
        digits.insert(digits.len() - scale, '.');
    }
    if negative {
        digits.insert(0, '-');
    }
    rust_decimal::Decimal::from_str_exact(&digits).map_or_else(|_| Value::from(digits), Value::Decimal)
}

/// The bytes of a number that is written as `text`, as few as it needs; what is wrong with it when it does not fit.
pub(super) fn write(text: &str, of: Decimal) -> Result<Vec<u8>, String> {
    let Decimal { precision, scale } = of;
    let takes = || format!("takes a number of {precision} digits, {scale} of them after the point, got {text}");
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let fraction = fraction.trim_end_matches('0');
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) || fraction.len() > scale {
        return Err(takes());
    }
    let digits = format!("{whole}{fraction}{}", "0".repeat(scale - fraction.len()));
    let digits = digits.trim_start_matches('0');
    if digits.len() > precision {
        return Err(takes());
    }
    let bytes = magnitude(digits);
    Ok(if negative { negated(&bytes) } else { bytes })
}

/// As many bytes as `size`, the sign carried on; none when they are too many.
pub(super) fn widened(bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let missing = size.checked_sub(bytes.len())?;
    let sign = if bytes.first().is_some_and(|first| first & 0x80 != 0) { 0xff } else { 0 };
    Some([vec![sign; missing], bytes.to_vec()].concat())
}

/// The two's complement, as short as the value allows.
fn negated(bytes: &[u8]) -> Vec<u8> {
    let mut turned: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
    for byte in turned.iter_mut().rev() {
        let (sum, carried) = byte.overflowing_add(1);
        *byte = sum;
        if !carried {
            break;
        }
    }
    // A byte that only repeats the sign of the next one says nothing.
    let idle = turned.windows(2).take_while(|two| two[0] == 0xff && two[1] & 0x80 != 0).count();
    turned.split_off(idle)
}

/// The decimal digits of a number without a sign.
fn digits(mut bytes: Vec<u8>) -> String {
    let mut chunks = Vec::new();
    while bytes.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u64;
        for byte in &mut bytes {
            rest = rest << 8 | u64::from(*byte);
            *byte = u8::try_from(rest / CHUNK).unwrap_or(u8::MAX);
            rest %= CHUNK;
        }
        chunks.push(rest);
    }
    let Some(first) = chunks.pop() else { return "0".to_owned() };
    chunks.iter().rev().fold(first.to_string(), |text, chunk| format!("{text}{chunk:09}"))
}

/// The bytes of a number from its digits, with a first bit that says that it has no sign.
fn magnitude(digits: &str) -> Vec<u8> {
    let mut little = vec![0_u8];
    for digit in digits.bytes() {
        let mut carried = u32::from(digit - b'0');
        for byte in &mut little {
            carried += u32::from(*byte) * 10;
            *byte = carried.to_le_bytes()[0];
            carried >>= 8;
        }
        if carried > 0 {
            little.push(carried.to_le_bytes()[0]);
        }
    }
    if little.last().is_some_and(|last| last & 0x80 != 0) {
        little.push(0);
    }
    little.reverse();
    little
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_come_back() {
        let of = Decimal { precision: 60, scale: 2 };
        for text in ["0.00", "0.01", "-0.01", "1.27", "1.28", "-1.28", "-1.29", "2.55", "2.56", "-12345678901.23"] {
            let bytes = write(text, of).unwrap();
            assert_eq!(read(&bytes, 2).to_text().unwrap(), text, "{bytes:?}");
        }
        let long = "-1234567890123456789012345678901234567890.12";
        assert_eq!(read(&write(long, of).unwrap(), 2).to_text().unwrap(), long);
        assert_eq!(write("1.28", of).unwrap(), [0, 0x80], "from the specification's rule: two's complement");
        assert_eq!(write("-1.28", of).unwrap(), [0x80]);
        assert_eq!(widened(&[0x80], 3).unwrap(), [0xff, 0xff, 0x80]);
        assert_eq!(widened(&[1, 2, 3], 2), None);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let of = Decimal { precision: 4, scale: 2 };
        for text in ["1.234", "123.45", "x", "", "1e5", "1.2.3"] {
            let problem = write(text, of).unwrap_err();
            assert_eq!(problem, format!("takes a number of 4 digits, 2 of them after the point, got {text}"));
        }
        assert_eq!(write("1.230", of).unwrap(), [0x7b]);
    }
}
