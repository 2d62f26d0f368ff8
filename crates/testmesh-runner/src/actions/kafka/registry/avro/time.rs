//! Dates and times of Avro as texts, as the actions for databases show them, and back.

use bytestring::ByteString;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Utc};

use super::schema::Unit;

/// The day 1970-01-01, counted as chrono does.
const EPOCH: i32 = 719_163;

/// `2026-01-02`; none when no calendar has that day.
pub(super) fn date(days: i32) -> Option<ByteString> {
    let date = NaiveDate::from_num_days_from_ce_opt(days.checked_add(EPOCH)?)?;
    Some(date.format("%Y-%m-%d").to_string().into())
}

/// `03:04:05.678`; none when no day has that time.
pub(super) fn time(count: i64, unit: Unit) -> Option<ByteString> {
    let (seconds, nanos) = split(count, unit);
    let time = NaiveTime::from_num_seconds_from_midnight_opt(u32::try_from(seconds).ok()?, nanos)?;
    Some(time.format("%H:%M:%S%.f").to_string().into())
}

/// `2026-01-02T03:04:05.678Z`; none when no calendar has that moment.
pub(super) fn timestamp(count: i64, unit: Unit) -> Option<ByteString> {
    let (seconds, nanos) = split(count, unit);
    Some(DateTime::from_timestamp(seconds, nanos)?.to_rfc3339_opts(SecondsFormat::AutoSi, true).into())
}

/// `2026-01-02T03:04:05.678`; none when no calendar has it.
pub(super) fn local(count: i64, unit: Unit) -> Option<ByteString> {
    let (seconds, nanos) = split(count, unit);
    let time = DateTime::from_timestamp(seconds, nanos)?.naive_utc();
    Some(time.format("%Y-%m-%dT%H:%M:%S%.f").to_string().into())
}

/// The days that a date's text says.
pub(super) fn days(text: &str) -> Option<i32> {
    let date: NaiveDate = text.trim().parse().ok()?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// What a time's text says, in the unit; none when it says more than the unit can.
pub(super) fn time_count(text: &str, unit: Unit) -> Option<i64> {
    let since = text.trim().parse::<NaiveTime>().ok()?.signed_duration_since(NaiveTime::MIN);
    exact(since.num_nanoseconds()?, unit)
}

/// What the text of a moment says, in the unit; none when it says more than the unit can.
pub(super) fn timestamp_count(text: &str, unit: Unit) -> Option<i64> {
    count(DateTime::parse_from_rfc3339(text.trim()).ok()?.to_utc(), unit)
}

/// As [`timestamp_count`], of a date and time without a zone.
pub(super) fn local_count(text: &str, unit: Unit) -> Option<i64> {
    let text = text.trim().replacen(' ', "T", 1);
    count(text.parse::<NaiveDateTime>().ok()?.and_utc(), unit)
}

fn count(moment: DateTime<Utc>, unit: Unit) -> Option<i64> {
    let nanos = i64::from(moment.timestamp_subsec_nanos());
    let per_second = 1_000_000_000 / size(unit);
    moment.timestamp().checked_mul(per_second)?.checked_add(exact(nanos, unit)?)
}

fn exact(nanos: i64, unit: Unit) -> Option<i64> {
    (nanos % size(unit) == 0).then_some(nanos / size(unit))
}

/// Nanoseconds of a unit.
fn size(unit: Unit) -> i64 {
    match unit {
        Unit::Millis => 1_000_000,
        Unit::Micros => 1_000,
        Unit::Nanos => 1,
    }
}

/// Seconds, and the nanoseconds beyond them.
fn split(count: i64, unit: Unit) -> (i64, u32) {
    let per_second = 1_000_000_000 / size(unit);
    let nanos = count.rem_euclid(per_second) * size(unit);
    (count.div_euclid(per_second), u32::try_from(nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_were_written() {
        for (text, count, unit) in [
            ("2026-01-02T03:04:05.678Z", 1_767_323_045_678, Unit::Millis),
            ("1969-12-31T23:59:59.999Z", -1, Unit::Millis),
            ("2026-01-02T03:04:05.000001Z", 1_767_323_045_000_001, Unit::Micros),
            ("2026-01-02T03:04:05.000000001Z", 1_767_323_045_000_000_001, Unit::Nanos),
        ] {
            assert_eq!(timestamp(count, unit).unwrap(), text);
            assert_eq!(timestamp_count(text, unit), Some(count), "{text}");
            let bare = text.trim_end_matches('Z');
            assert_eq!((local(count, unit).unwrap(), local_count(bare, unit)), (bare.into(), Some(count)), "{bare}");
        }
        assert_eq!(timestamp_count("2026-01-02T03:04:05+01:00", Unit::Millis), Some(1_767_319_445_000));
        for (text, days_since) in [("1970-01-01", 0), ("2026-01-02", 20_455), ("1969-12-31", -1)] {
            assert_eq!((date(days_since).unwrap(), days(text)), (text.into(), Some(days_since)));
        }
        assert_eq!(time(11_045_678, Unit::Millis).unwrap(), "03:04:05.678");
        assert_eq!(time_count("03:04:05.678", Unit::Millis), Some(11_045_678));
        assert_eq!(time(86_400_000, Unit::Millis), None, "there is no such time of day");
    }

    #[test]
    fn what_a_unit_cannot_say_is_refused() {
        assert_eq!(timestamp_count("2026-01-02T03:04:05.0001Z", Unit::Millis), None);
        assert_eq!(time_count("03:04:05.0000001", Unit::Micros), None);
        for text in ["soon", "2026-01-02", "2026-13-01T00:00:00Z"] {
            assert_eq!(timestamp_count(text, Unit::Millis), None, "{text}");
        }
    }
}
