//! Durations and sizes as people write them: `300ms`, `1h30m`, `10MiB`.

use std::time::Duration;

/// The longest duration that is accepted: 365 days.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// Reads `300ms`, `1.5s`, `2m`, `1h30m`, `1d`, or a bare number of seconds. `None` for anything else, and for more than
/// a year.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return seconds(text, 1_000_000_000);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        total = total.checked_add(seconds(number, nanoseconds(unit)?)?)?;
        rest = tail.trim_start();
    }
    (total <= LONGEST).then_some(total)
}

/// How many nanoseconds a unit has.
fn nanoseconds(unit: &str) -> Option<u64> {
    match unit {
        "ns" => Some(1),
        "us" | "µs" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(1_000_000_000),
        "m" => Some(60_000_000_000),
        "h" => Some(3_600_000_000_000),
        "d" => Some(86_400_000_000_000),
        _ => None,
    }
}

/// `number`, which may have a fraction, times a unit of so many nanoseconds, exactly.
fn seconds(number: &str, unit: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || fraction.len() > 9 {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = u128::from(whole) * u128::from(unit);
    if !fraction.is_empty() {
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        nanos += u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit) / scale;
    }
    let duration = Duration::from_nanos(u64::try_from(nanos).ok()?);
    (duration <= LONGEST).then_some(duration)
}

/// Reads `10MiB`, `512KB`, `64k` or a plain number of bytes. `k`, `M` and `G` alone and with `iB` are powers of 1,024;
/// `kB`, `MB` and `GB` are powers of 1,000. Case does not matter.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "k" | "kib" => 1 << 10,
        "mb" => 1_000_000,
        "m" | "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "g" | "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A duration for people, the shortest exact form: `300ms`, `1.5s`, `30s`, `2m`, `1h30m`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = duration.as_secs();
    match (millis, seconds) {
        (0, _) if !duration.is_zero() => format!("{}us", duration.as_micros()),
        (0..1_000, _) => format!("{millis}ms"),
        _ if !millis.is_multiple_of(1_000) => format!("{}s", duration.as_secs_f64()),
        (_, 0..60) => format!("{seconds}s"),
        _ => {
            let parts = [(seconds / 3_600, 'h'), (seconds % 3_600 / 60, 'm'), (seconds % 60, 's')];
            let shown: Vec<String> =
                parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
            shown.concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_written() {
        let cases = [
            ("300ms", Some(300)),
            ("1.5s", Some(1_500)),
            ("2m", Some(120_000)),
            ("1h30m", Some(5_400_000)),
            ("1h 30m", Some(5_400_000)),
            ("1d", Some(86_400_000)),
            ("5", Some(5_000)),
            ("0.25", Some(250)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("1x", None),
            ("-1s", None),
            ("1..5s", None),
            ("1h30", None),
            ("9999999999999999999999s", None),
            ("9999999d", None),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_in_a_form_that_reads_back() {
        for text in ["300ms", "1.5s", "30s", "2m", "1h30m", "24h", "1h1s", "0ms"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(show_duration(duration), text);
        }
    }

    #[test]
    fn sizes_are_read_as_written() {
        let cases = [
            ("10MiB", Some(10 << 20)),
            ("512KB", Some(512_000)),
            ("64k", Some(64 << 10)),
            ("7", Some(7)),
            ("1 GiB", Some(1 << 30)),
            ("", None),
            ("MiB", None),
            ("1.5MiB", None),
            ("-1", None),
            ("99999999999GiB", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }
}
