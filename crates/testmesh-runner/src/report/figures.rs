//! Numbers and times as reports write them: a report holds thousands, so they are put together digit by digit.

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

/// Adds a whole number.
pub(super) fn push_number(text: &mut String, number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut left = number;
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
        if left == 0 {
            break;
        }
    }
    text.extend(digits[start..].iter().map(|digit| char::from(*digit)));
}

/// Adds a number of `width` digits, zeros in front.
fn push_padded(text: &mut String, number: u64, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10_u64.pow(place) % 10;
        text.push(char::from(b'0' + u8::try_from(digit).unwrap_or_default()));
    }
}

/// Adds milliseconds as seconds: `1.234`.
pub(super) fn push_seconds(text: &mut String, milliseconds: u64) {
    push_number(text, milliseconds / 1_000);
    text.push('.');
    push_padded(text, milliseconds % 1_000, 3);
}

/// Adds a time for people: `123 ms`, `1.23 s`, `2 min 3 s`.
pub(super) fn push_duration(text: &mut String, milliseconds: u64) {
    match milliseconds {
        0..1_000 => {
            push_number(text, milliseconds);
            text.push_str(" ms");
        }
        1_000..60_000 => {
            push_number(text, milliseconds / 1_000);
            text.push('.');
            push_padded(text, milliseconds % 1_000 / 10, 2);
            text.push_str(" s");
        }
        _ => {
            push_number(text, milliseconds / 60_000);
            text.push_str(" min ");
            push_number(text, milliseconds % 60_000 / 1_000);
            text.push_str(" s");
        }
    }
}

/// Adds date and time, `between` them: `2026-11-24T10:15:30`.
pub(super) fn push_stamp(text: &mut String, time: DateTime<Utc>, between: char) {
    match u64::try_from(time.year()) {
        Ok(year @ 0..10_000) => push_padded(text, year, 4),
        _ => text.push_str(&time.format("%Y").to_string()),
    }
    for (before, number) in [('-', time.month()), ('-', time.day())] {
        text.push(before);
        push_padded(text, number.into(), 2);
    }
    for (before, number) in [(between, time.hour()), (':', time.minute()), (':', time.second())] {
        text.push(before);
        push_padded(text, number.into(), 2);
    }
}

/// Adds a number as JSON writes it, if it has at most three digits behind the point, as times in milliseconds have. Says
/// whether it was added.
pub(super) fn push_thousandths(text: &mut String, number: f64) -> bool {
    // Two decimals of so few digits are never the same float, so this is the shortest one that is.
    const MOST: f64 = 1e12;
    let thousandths = (number * 1_000.0).round();
    let whole = number.is_sign_positive() && thousandths < MOST;
    if !whole || (thousandths / 1_000.0).to_bits() != number.to_bits() {
        return false;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 10^12, and whole")]
    let thousandths = thousandths as u64;
    push_number(text, thousandths / 1_000);
    text.push('.');
    let fraction = thousandths % 1_000;
    match (fraction % 100, fraction % 10) {
        (0, _) => push_padded(text, fraction / 100, 1),
        (_, 0) => push_padded(text, fraction / 10, 2),
        _ => push_padded(text, fraction, 3),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(push: impl FnOnce(&mut String)) -> String {
        let mut text = String::new();
        push(&mut text);
        text
    }

    #[test]
    fn whole_numbers_have_all_their_digits() {
        for number in [0, 7, 10, 99, 100, 1_000_000, u64::MAX] {
            assert_eq!(pushed(|text| push_number(text, number)), number.to_string());
        }
    }

    #[test]
    fn times_are_written_for_machines_and_for_people() {
        for (milliseconds, seconds, duration) in [
            (0, "0.000", "0 ms"),
            (999, "0.999", "999 ms"),
            (1_005, "1.005", "1.00 s"),
            (59_999, "59.999", "59.99 s"),
            (123_456, "123.456", "2 min 3 s"),
        ] {
            assert_eq!(pushed(|text| push_seconds(text, milliseconds)), seconds);
            assert_eq!(pushed(|text| push_duration(text, milliseconds)), duration);
        }
    }

    #[test]
    fn stamps_are_those_of_chrono() {
        for seconds in [0, 1_700_000_000, 951_782_400, -62_135_596_800, 253_402_300_800] {
            let time = DateTime::from_timestamp(seconds, 0).unwrap();
            let expect = time.format("%Y-%m-%dT%H:%M:%S").to_string();
            assert_eq!(pushed(|text| push_stamp(text, time, 'T')), expect);
        }
    }

    #[test]
    fn milliseconds_are_written_as_json_writes_them() {
        let mut numbers: Vec<f64> = (0..5_000).map(|micros| f64::from(micros * 7) / 1_000.0).collect();
        numbers.extend([0.1 + 0.2, -0.0, -1.5, 1e-5, 5e-4, 1e15, 1e300, 999_999_999.999, 123_456.7, f64::MIN_POSITIVE]);
        for number in numbers {
            let mut text = String::new();
            if push_thousandths(&mut text, number) {
                assert_eq!(text, serde_json::to_string(&number).unwrap());
            } else {
                assert_eq!(text, "");
            }
        }
        assert!(push_thousandths(&mut String::new(), 0.25));
    }
}
