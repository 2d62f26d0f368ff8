//! Durations and sizes as flows write them: `300ms`, `1h30m`, `1d`, a bare number of seconds; `10MiB`, `512KB`.

use std::time::Duration;

/// Reads a duration. The error is a fragment that names the text.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err("an empty text is not a duration".to_owned());
    }
    if trimmed.starts_with('-') {
        return Err(format!("`{trimmed}` is negative: a duration cannot be"));
    }
    if let Some(seconds) = plain_number(trimmed) {
        return from_seconds(seconds);
    }
    let mut total = 0.0;
    let mut rest = trimmed;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let unit_end =
            rest[digits..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |found| digits + found);
        let number = plain_number(&rest[..digits]).ok_or_else(|| wrong(trimmed))?;
        total += number * unit_seconds(rest[digits..unit_end].trim()).ok_or_else(|| wrong(trimmed))?;
        rest = &rest[unit_end..];
    }
    from_seconds(total)
}

/// A duration of `seconds`. The error is a fragment that names the number.
pub(crate) fn from_seconds(seconds: f64) -> Result<Duration, String> {
    if seconds < 0.0 {
        return Err(format!("`{seconds}` is negative: a duration cannot be"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{seconds}` seconds is too long"))
}

/// Reads a number of bytes. The error is a fragment that names the text.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let wrong = || format!("`{trimmed}` is not a size: write it like `512KB`, `10MiB`, or a number of bytes");
    let number = plain_number(&trimmed[..digits]).ok_or_else(wrong)?;
    let factor: f64 = match trimmed[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "ki" | "kib" => 1024.0,
        "mi" | "mib" => 1_048_576.0,
        "gi" | "gib" => 1_073_741_824.0,
        _ => return Err(wrong()),
    };
    let bytes = (number * factor).round();
    if bytes > 9e15 {
        return Err(format!("`{trimmed}` is too large"));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative and below 2^53")]
    Ok(bytes as u64)
}

fn plain_number(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if plain { text.parse().ok() } else { None }
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" | "sec" | "second" | "seconds" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    })
}

fn wrong(text: &str) -> String {
    format!("`{text}` is not a duration: write it like `300ms`, `1.5s`, `1h30m`, or a number of seconds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let cases = [
            ("300ms", 300),
            ("1.5s", 1_500),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("5", 5_000),
            ("0.25", 250),
            (" 1m 30s ", 90_000),
            ("0", 0),
        ];
        for (text, expected) in cases {
            let parsed = parse_duration(text).map(|duration| duration.as_millis());
            assert_eq!(parsed, Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_named() {
        for text in ["", "abc", "1x", "s", "-5s", "1.2.3s", "1e400", "5 parsecs", "99999999999999999999d", "١s"] {
            let error = parse_duration(text).expect_err(text);
            assert!(text.is_empty() || error.contains('`'), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_are_read() {
        let cases = [("10", 10), ("512KB", 512_000), ("10MiB", 10_485_760), ("1.5 KiB", 1_536), ("2g", 2_000_000_000)];
        for (text, expected) in cases {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
        for text in ["", "KB", "10 apples", "-1", "99999999999GB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
