//! What expressions mean, when they fire, and what is said about wrong ones.

mod oracle;

use chrono::{DateTime, Utc};

use super::{Cron, CronError, parse_zone};

fn time(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time in the test")
}

#[track_caller]
fn check(expression: &str, zone: &str, from: &str, expected: &[&str]) {
    let cron = Cron::parse(expression).unwrap();
    let zone = parse_zone(zone).unwrap();
    let expected: Vec<_> = expected.iter().map(|text| time(text)).collect();
    assert_eq!(cron.upcoming(time(from), zone, expected.len()), expected, "{expression} in {zone}");
}

#[track_caller]
fn refuse(expression: &str, message: &str) {
    let error = Cron::parse(expression).expect_err(expression);
    assert_eq!(error.to_string(), message);
}

#[test]
fn fires_on_the_wall_clock_of_its_zone() {
    let cases: &[(&str, &str, &str, &[&str])] = &[
        ("*/15 * * * *", "UTC", "2026-01-01T00:00:00Z", &["2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"]),
        ("30 9 * * mon-fri", "Europe/Berlin", "2026-11-20T12:00:00Z", &["2026-11-23T08:30:00Z"]),
        ("15 30 9 * * *", "UTC", "2026-01-01T00:00:00Z", &["2026-01-01T09:30:15Z"]),
        ("@hourly", "Asia/Kolkata", "2026-01-01T00:00:00Z", &["2026-01-01T00:30:00Z", "2026-01-01T01:30:00Z"]),
        ("@weekly", "UTC", "2026-01-01T00:00:00Z", &["2026-01-04T00:00:00Z"]),
        ("0 0 l * *", "UTC", "2026-02-01T00:00:00Z", &["2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"]),
        ("0 0 * * fri#2", "UTC", "2026-01-01T00:00:00Z", &["2026-01-09T00:00:00Z"]),
        ("0 0 15w * *", "UTC", "2026-08-01T00:00:00Z", &["2026-08-14T00:00:00Z"]),
        ("0 0 * * 7", "UTC", "2026-01-01T00:00:00Z", &["2026-01-04T00:00:00Z"]),
        ("0 0 * * fri-sun", "UTC", "2026-01-01T00:00:00Z", &["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
    ];
    for (expression, zone, from, expected) in cases {
        check(expression, zone, from, expected);
    }
}

#[test]
fn days_of_month_and_week_are_alternatives_unless_one_begins_with_a_star() {
    check("0 0 13 * 5", "UTC", "2026-03-01T00:00:00Z", &["2026-03-06T00:00:00Z", "2026-03-13T00:00:00Z"]);
    check("0 0 */2 * 1", "UTC", "2026-03-01T00:00:00Z", &["2026-03-09T00:00:00Z", "2026-03-23T00:00:00Z"]);
}

#[test]
fn every_counts_elapsed_time_from_whole_seconds() {
    check("@every 1h30m", "UTC", "2026-01-01T00:00:00.400Z", &["2026-01-01T01:30:00Z", "2026-01-01T03:00:00Z"]);
    check("@EVERY 90s", "UTC", "2026-01-01T00:00:00Z", &["2026-01-01T00:01:30Z"]);
}

#[test]
fn a_mistake_is_told_by_the_name_of_its_field() {
    let cases = [
        ("", "the cron expression is empty"),
        (
            "* * *",
            "`* * *` has 3 fields: five (minute hour day-of-month month day-of-week) or six (second first) are wanted",
        ),
        ("61 * * * *", "minute: `61` is out of range: 0 to 59 is wanted"),
        ("* 24 * * *", "hour: `24` is out of range: 0 to 23 is wanted"),
        ("* * 0 * *", "day-of-month: `0` is out of range: 1 to 31 is wanted"),
        ("* * * foo *", "month: `foo` is out of range: 1 to 12 or jan to dec is wanted"),
        ("* * * * 8", "day-of-week: `8` is out of range: 0 to 7 or sun to sat is wanted"),
        ("*/0 * * * *", "minute: `*/0` has a step that is not a number from 1 to 59"),
        ("5/10 * * * *", "minute: `5/10` steps from one value: write `5-59/…` or `*/…`"),
        ("* 22-2 * * *", "hour: `22-2` goes backwards: write `22-23,0-2`"),
        ("1,,2 * * * *", "minute: `` is empty: a value is missing beside a comma"),
        ("*,5 * * * *", "minute: `*,5` mixes `*` with other values: leave one of them out"),
        ("0 0 * * fri#6", "day-of-week: `fri#6` counts the days of a month: 1 to 5 comes after `#`"),
        ("0 0 30 2 *", "`0 0 30 2 *` never fires: no date matches"),
        ("@often", "`@often` is no shortcut: @yearly, @monthly, @weekly, @daily, @hourly and `@every 5m` are"),
        (
            "@every 0s",
            "`@every 0s`: an interval of at least one second is wanted, such as `90s`, `5m`, `1h30m` or `1d`",
        ),
    ];
    for (expression, message) in cases {
        refuse(expression, message);
    }
    assert_eq!(
        parse_zone("Mars/Olympus").unwrap_err(),
        CronError::Zone { name: "Mars/Olympus".to_owned() },
        "a zone that does not exist"
    );
}

#[test]
fn fixed_times_fire_once_when_clocks_change() {
    // Berlin: 2026-03-29 02:00 → 03:00 at 01:00 UTC; 2026-10-25 03:00 → 02:00 at 01:00 UTC.
    check("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    check("0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]);
    check("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    // Samoa left out 30 December 2011.
    check("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", &["2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z"]);
}

#[test]
fn wildcards_follow_elapsed_time_when_clocks_change() {
    let half_hours = [
        "2026-10-25T00:00:00Z",
        "2026-10-25T00:30:00Z",
        "2026-10-25T01:00:00Z",
        "2026-10-25T01:30:00Z",
        "2026-10-25T02:00:00Z",
    ];
    check("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", &half_hours);
    check("*/30 2 * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", &half_hours[..4]);
    check("*/30 2 * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", &["2026-03-30T00:00:00Z"]);
}
