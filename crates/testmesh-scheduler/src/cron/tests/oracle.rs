//! Every zone's changes of the clocks from 2000 to 2037, sampled, against an oracle that knows nothing but the offset
//! of each minute.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

use crate::cron::Cron;

/// Of the changes by one hour, one in this many is looked at, unless the environment names another number; all others
/// are rare and all looked at.
const STRIDE: usize = 101;
/// The variable that does.
const STRIDE_VARIABLE: &str = "TESTMESH_ORACLE_STRIDE";

/// What is compared before and after a change.
const AROUND: TimeDelta = TimeDelta::hours(30);

/// Minute and hour of the expressions, whether they are fixed, and the rule for a wall-clock minute.
type Case = (&'static str, bool, fn(&NaiveDateTime) -> bool);

const CASES: &[Case] = &[
    ("30 2 * * *", true, |wall| wall.hour() == 2 && wall.minute() == 30),
    ("0,15,45 0-3 * * *", true, |wall| wall.hour() <= 3 && [0, 15, 45].contains(&wall.minute())),
    ("59 23 * * *", true, |wall| wall.hour() == 23 && wall.minute() == 59),
    ("*/20 * * * *", false, |wall| wall.minute().is_multiple_of(20)),
    ("*/30 1-2 * * *", false, |wall| (1..=2).contains(&wall.hour()) && wall.minute().is_multiple_of(30)),
    ("10 */2 * * *", false, |wall| wall.hour().is_multiple_of(2) && wall.minute() == 10),
];

#[test]
#[allow(clippy::print_stdout, reason = "the drill reads how much was compared")]
fn every_zone_s_changes_follow_the_rule() {
    #[allow(clippy::disallowed_methods, reason = "the drill is told by the environment to look at every change")]
    let stride = std::env::var(STRIDE_VARIABLE).map_or(STRIDE, |stride| stride.parse().expect("a number"));
    let mut seen = 0;
    let mut compared = 0;
    for zone in TZ_VARIANTS {
        for change in changes(zone) {
            seen += 1;
            let by_an_hour =
                (offset(zone, change) - offset(zone, change - TimeDelta::minutes(1))).num_seconds().abs() == 3_600;
            if !by_an_hour || seen % stride == 0 {
                compare(zone, change);
                compared += 1;
            }
        }
    }
    println!("{compared} of {seen} changes were compared");
    assert!(seen > 10_000 && compared > 300, "{compared} of {seen} changes were compared");
}

fn offset(zone: Tz, instant: DateTime<Utc>) -> TimeDelta {
    TimeDelta::seconds(i64::from(zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc()))
}

/// The minutes at which a zone's offset changes. No zone changed twice within five days in these years.
fn changes(zone: Tz) -> Vec<DateTime<Utc>> {
    let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
    let (mut start, end) = (at("2000-01-01T00:00:00Z"), at("2037-12-31T00:00:00Z"));
    let mut found = Vec::new();
    while start < end {
        let next = start + TimeDelta::days(5);
        let before = offset(zone, start);
        if offset(zone, next) != before {
            let (mut same, mut other) = (0, (next - start).num_minutes());
            while other - same > 1 {
                let middle = same.midpoint(other);
                if offset(zone, start + TimeDelta::minutes(middle)) == before { same = middle } else { other = middle }
            }
            found.push(start + TimeDelta::minutes(other));
        }
        start = next;
    }
    found
}

fn compare(zone: Tz, change: DateTime<Utc>) {
    let (start, end) = (change - AROUND, change + AROUND);
    let minutes: Vec<(DateTime<Utc>, NaiveDateTime)> = (0..=(end - start).num_minutes())
        .map(|minute| start + TimeDelta::minutes(minute))
        .map(|instant| (instant, instant.naive_utc() + offset(zone, instant)))
        .collect();
    for (expression, fixed, matches) in CASES {
        let expected = if *fixed { fixed_times(&minutes, *matches) } else { elapsed_times(&minutes, *matches) };
        let cron = Cron::parse(expression).expect(expression);
        let mut found = Vec::new();
        let mut last = start;
        while let Some(next) = cron.next_after(last, zone).filter(|next| *next <= end) {
            found.push(next);
            last = next;
        }
        assert_eq!(found, expected, "`{expression}` in {zone} around {change}");
    }
}

/// Every minute whose wall clock matches.
fn elapsed_times(
    minutes: &[(DateTime<Utc>, NaiveDateTime)],
    matches: fn(&NaiveDateTime) -> bool,
) -> Vec<DateTime<Utc>> {
    minutes[1..].iter().filter(|(_, wall)| matches(wall)).map(|(instant, _)| *instant).collect()
}

/// Every wall-clock minute that matches, at its first instant, or where the clock jumps over it.
fn fixed_times(minutes: &[(DateTime<Utc>, NaiveDateTime)], matches: fn(&NaiveDateTime) -> bool) -> Vec<DateTime<Utc>> {
    let mut first = BTreeMap::new();
    for (instant, wall) in minutes {
        first.entry(*wall).or_insert(*instant);
    }
    for pair in minutes.windows(2) {
        let ((_, before), (instant, after)) = (pair[0], pair[1]);
        let skipped = (1..(after - before).num_minutes()).map(|minute| before + TimeDelta::minutes(minute));
        for wall in skipped {
            first.entry(wall).or_insert(instant);
        }
    }
    let mut times: Vec<_> = first.iter().filter(|(wall, _)| matches(wall)).map(|(_, instant)| *instant).collect();
    times.sort_unstable();
    times.dedup();
    // What fired at or before the start is not asked for.
    times.retain(|time| *time > minutes[0].0);
    times
}
