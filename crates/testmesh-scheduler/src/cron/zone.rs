//! From the wall clock to instants and back, across the changes of a zone's clocks.
//!
//! The calendar is searched on the wall clock alone, as if it were UTC; what a wall-clock time means in a zone is
//! decided here, and nowhere else.

use chrono::{DateTime, Days, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// No two changes of a zone's clocks are closer than this.
const BETWEEN_CHANGES: TimeDelta = TimeDelta::hours(12);

/// The longest stretch that a change ever skipped: Samoa left out a whole day in 2011.
const LONGEST_GAP: TimeDelta = TimeDelta::hours(25);

/// Whether any date matches at all. Eight years always hold a leap day; forty, one on each weekday.
pub(super) fn ever_fires(pattern: &croner::Cron) -> bool {
    let start = DateTime::UNIX_EPOCH.naive_utc();
    next_on_wall(pattern, start, true).is_some_and(|found| found < start + Days::new(41 * 366))
}

/// The first firing after `after` of an expression whose minute and hour are fixed.
///
/// The instant of a wall-clock time never decreases as that time grows, so the first wall-clock match whose instant is
/// late enough is the answer, and no match at or before `after`'s own wall-clock time can be.
pub(super) fn next_fixed(pattern: &croner::Cron, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    let mut wall = wall_clock(after, zone);
    loop {
        wall = next_on_wall(pattern, wall, false)?;
        let instant = instant_of(wall, zone)?;
        if instant > after {
            return Some(instant);
        }
    }
}

/// The first instant after `after` whose wall-clock time matches.
///
/// Between two changes wall clock and elapsed time run side by side, so each such stretch is searched for itself.
pub(super) fn next_elapsed(pattern: &croner::Cron, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    let mut start = after;
    let mut inclusive = false;
    loop {
        let offset = offset_at(start, zone);
        let match_in_offset = next_on_wall(pattern, start.naive_utc() + offset, inclusive)?;
        let candidate = (match_in_offset - offset).and_utc();
        match first_change(start, candidate, zone) {
            None => return Some(candidate),
            Some(change) => start = change,
        }
        inclusive = true;
    }
}

fn next_on_wall(pattern: &croner::Cron, from: NaiveDateTime, inclusive: bool) -> Option<NaiveDateTime> {
    pattern.find_next_occurrence(&from.and_utc(), inclusive).ok().map(|found| found.naive_utc())
}

fn offset_at(instant: DateTime<Utc>, zone: Tz) -> TimeDelta {
    let seconds = zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc();
    TimeDelta::seconds(i64::from(seconds))
}

fn wall_clock(instant: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    instant.naive_utc() + offset_at(instant, zone)
}

/// What a fixed wall-clock time means: its instant, the first of two, or the first valid one after it.
fn instant_of(wall: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&wall) {
        MappedLocalTime::Single(instant) | MappedLocalTime::Ambiguous(instant, _) => Some(instant.to_utc()),
        MappedLocalTime::None => {
            // The change lies where the offset differs, within the longest gap around this time taken as UTC.
            let around = wall.and_utc();
            first_change_after_wall(wall, around - LONGEST_GAP, around + LONGEST_GAP, zone)
        }
    }
}

/// The change at which the zone's wall clock jumps over `wall`.
fn first_change_after_wall(
    wall: NaiveDateTime,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    zone: Tz,
) -> Option<DateTime<Utc>> {
    let mut start = from;
    while let Some(change) = first_change(start, to, zone) {
        if wall_clock(change, zone) > wall {
            return Some(change);
        }
        start = change;
    }
    None
}

/// The first instant in `(from, to]` at which the zone's offset is another than just before.
fn first_change(from: DateTime<Utc>, to: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    let offset = offset_at(from, zone);
    let mut start = from;
    while start < to {
        let end = (start + BETWEEN_CHANGES).min(to);
        if offset_at(end, zone) != offset {
            return Some(bisect(start, end, zone));
        }
        start = end;
    }
    None
}

/// The second within `(before, after]` at which the offset of `before` ends.
fn bisect(before: DateTime<Utc>, after: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
    let offset = offset_at(before, zone);
    let (mut low, mut high) = (before.timestamp(), after.timestamp());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let instant = DateTime::from_timestamp(middle, 0).expect("between two valid instants");
        if offset_at(instant, zone) == offset { low = middle } else { high = middle }
    }
    DateTime::from_timestamp(high, 0).expect("between two valid instants")
}
