//! Firing: misfires, overlap, jitter, and rules that hold for any expression.

use indexmap::IndexMap;
use proptest::prelude::*;
use testmesh_shared::clock::SystemClock;
use testmesh_shared::ids::FlowId;

use super::*;
use crate::cron::{Cron, parse_zone};
use crate::{JobStatus, Retry};

fn spec(cron: &str, misfire: Misfire, overlap: Overlap) -> ScheduleSpec {
    ScheduleSpec {
        name: "nightly".to_owned(),
        flow_id: FlowId::generate(&SystemClock),
        flow_version: None,
        cron: Cron::parse(cron).unwrap(),
        timezone: parse_zone("UTC").unwrap(),
        misfire,
        catchup_max: 3,
        overlap,
        jitter_s: 0,
        environment: None,
        variables: IndexMap::new(),
        retry: Retry::default(),
    }
}

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-03-10T{text}Z").parse().unwrap()
}

/// `12:00:00 queued`, and the reason where there is one.
fn shown(fired: &Fired) -> Vec<String> {
    let show = |firing: &Firing| {
        let reason = firing.skipped.as_ref().map_or(String::new(), |(reason, _)| format!(" {reason}"));
        format!("{} {}{reason}", firing.nominal_at.format("%H:%M:%S"), firing.status)
    };
    fired.firings.iter().map(show).collect()
}

fn check(spec: &ScheduleSpec, (first, now): (&str, &str), unfinished: u64, expect: &[&str], next: &str) {
    let fired = fire(spec, at(first), at(now), unfinished, || 0.0);
    assert_eq!((shown(&fired), fired.next_at), (expect.iter().map(|&line| line.to_owned()).collect(), Some(at(next))));
}

#[test]
fn a_schedule_fires_once_when_it_is_due() {
    let spec = spec("*/5 * * * *", Misfire::FireOnce, Overlap::Skip);
    check(&spec, ("12:00:00", "12:00:00"), 0, &["12:00:00 queued"], "12:05:00");
    check(&spec, ("12:00:00", "12:00:59"), 0, &["12:00:00 queued"], "12:05:00");
    check(&spec, ("12:05:00", "12:04:59"), 0, &[], "12:05:00");
}

#[test]
fn what_is_late_by_less_than_a_minute_is_not_missed() {
    let spec = spec("* * * * * *", Misfire::Skip, Overlap::Allow);
    check(&spec, ("12:00:00", "12:00:02"), 0, &["12:00:00 queued", "12:00:01 queued", "12:00:02 queued"], "12:00:03");
    let fired = fire(&spec, at("12:00:00"), at("12:01:00"), 0, || 0.0);
    assert_eq!(fired.firings.len(), 61);
    assert!(fired.firings.iter().all(|firing| firing.skipped.is_none()));
}

#[test]
fn missed_firings_follow_the_rule_for_misfires() {
    let every_minute = |misfire| spec("* * * * *", misfire, Overlap::Allow);
    let (due, next) = (("09:00:00", "12:00:30"), "12:01:00");
    check(&every_minute(Misfire::Skip), due, 0, &["09:00:00 skipped misfire", "12:00:00 queued"], next);
    check(&every_minute(Misfire::FireOnce), due, 0, &["09:00:00 skipped misfire", "12:00:00 queued"], next);
    let caught_up = ["09:00:00 skipped misfire", "11:57:00 queued", "11:58:00 queued", "11:59:00 queued"];
    check(&every_minute(Misfire::CatchUp), due, 0, &[&caught_up[..], &["12:00:00 queued"]].concat(), next);

    let hourly = |misfire| spec("0 * * * *", misfire, Overlap::Allow);
    let (due, next) = (("11:00:00", "12:30:00"), "13:00:00");
    check(&hourly(Misfire::Skip), due, 0, &["11:00:00 skipped misfire"], next);
    check(&hourly(Misfire::FireOnce), due, 0, &["11:00:00 skipped misfire", "12:00:00 queued"], next);
    check(&hourly(Misfire::CatchUp), due, 0, &["11:00:00 queued", "12:00:00 queued"], next);
    check(&hourly(Misfire::FireOnce), ("12:00:00", "12:30:00"), 0, &["12:00:00 queued"], next);
}

#[test]
fn what_is_left_out_is_counted() {
    let message = |cron: &str, now: &str| {
        let fired = fire(&spec(cron, Misfire::Skip, Overlap::Allow), at("01:00:00"), at(now), 0, || 0.0);
        fired.firings[0].skipped.clone().unwrap().1
    };
    assert!(message("0 * * * *", "01:30:00").starts_with("1 firing, from"));
    assert!(message("0 * * * *", "03:30:00").starts_with("3 firings, from"));
    assert!(message("* * * * * *", "03:30:00").starts_with("more than 1000 firings, from"));
    let hourly = spec("0 * * * *", Misfire::FireOnce, Overlap::Skip);
    let missed = missed_while_paused(&hourly, at("01:00:00"), at("02:00:00")).unwrap();
    assert_eq!((missed.nominal_at, missed.skipped.as_ref().unwrap().0), (at("01:00:00"), "paused"));
    assert!(missed.skipped.unwrap().1.starts_with("2 firings"));
    assert_eq!(missed_while_paused(&hourly, at("03:00:00"), at("02:00:00")), None);
}

#[test]
fn a_run_that_is_still_going_decides_by_the_rule_for_overlap() {
    let every_second = |overlap| spec("* * * * * *", Misfire::CatchUp, overlap);
    let (due, next) = (("12:00:00", "12:00:01"), "12:00:02");
    check(&every_second(Overlap::Skip), due, 1, &["12:00:00 skipped overlap", "12:00:01 skipped overlap"], next);
    check(&every_second(Overlap::Skip), due, 0, &["12:00:00 queued", "12:00:01 skipped overlap"], next);
    check(&every_second(Overlap::Queue), due, 0, &["12:00:00 queued", "12:00:01 waiting"], next);
    check(&every_second(Overlap::Queue), due, 7, &["12:00:00 waiting", "12:00:01 waiting"], next);
    check(&every_second(Overlap::Queue), due, 999, &["12:00:00 waiting", "12:00:01 skipped queue_full"], next);
    check(&every_second(Overlap::Allow), due, 5_000, &["12:00:00 queued", "12:00:01 queued"], next);
    let hourly = spec("0 * * * *", Misfire::CatchUp, Overlap::Skip);
    let caught_up = ["10:00:00 queued", "11:00:00 waiting", "12:00:00 waiting"];
    check(&hourly, ("10:00:00", "12:30:00"), 0, &caught_up, "13:00:00");
}

#[test]
fn jitter_delays_the_run_and_not_the_time_it_is_for() {
    let mut spec = spec("*/5 * * * *", Misfire::FireOnce, Overlap::Skip);
    spec.jitter_s = 60;
    let fired = fire(&spec, at("12:00:00"), at("12:00:00"), 0, || 0.5);
    assert_eq!((fired.firings[0].nominal_at, fired.firings[0].available_at), (at("12:00:00"), at("12:00:30")));
    assert_eq!(fired.next_at, Some(at("12:05:00")));
}

#[test]
fn an_interval_keeps_its_rhythm() {
    let spec = spec("@every 90s", Misfire::CatchUp, Overlap::Allow);
    check(&spec, ("12:00:00", "12:03:10"), 0, &["12:00:00 queued", "12:01:30 queued", "12:03:00 queued"], "12:04:30");
}

#[test]
fn years_of_missed_seconds_are_not_walked_through() {
    let spec = spec("* * * * * *", Misfire::FireOnce, Overlap::Skip);
    let now = at("12:00:00");
    let fired = fire(&spec, now - TimeDelta::days(3_650), now, 0, || 0.0);
    assert_eq!(fired.next_at, Some(at("12:00:01")));
    assert_eq!(fired.firings[0].status, JobStatus::Skipped);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// However late, a schedule goes on after now, no time comes twice, and every time that is due is a job, or is left
    /// out by one that comes before it.
    #[test]
    fn every_due_time_is_accounted_for_once(
        cron in prop::sample::select(vec!["* * * * *", "*/7 * * * *", "0 3 * * *", "30 2 * * sun", "@every 45s", "0 0 1 * *"]),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
        misfire in prop::sample::select(Misfire::ALL.to_vec()),
        overlap in prop::sample::select(Overlap::ALL.to_vec()),
        start in 1_760_000_000_i64..1_830_000_000,
        late_s in 0_i64..200_000,
        unfinished in 0_u64..3,
    ) {
        let mut spec = spec(cron, misfire, overlap);
        spec.timezone = parse_zone(zone).unwrap();
        let first = spec.cron.next_after(DateTime::from_timestamp(start, 0).unwrap(), spec.timezone).unwrap();
        let now = first + TimeDelta::seconds(late_s);
        let fired = fire(&spec, first, now, unfinished, || 0.5);
        prop_assert!(fired.next_at.is_some_and(|next| next > now));
        let due: Vec<_> = std::iter::successors(Some(first), |last| spec.cron.next_after(*last, spec.timezone))
            .take_while(|time| *time <= now)
            .collect();
        let nominal: Vec<_> = fired.firings.iter().map(|firing| firing.nominal_at).collect();
        prop_assert!(nominal.is_sorted_by(|a, b| a < b), "{nominal:?}");
        prop_assert_eq!(nominal[0], first);
        prop_assert!(nominal.iter().all(|time| due.contains(time)));
        // Only the first may stand for others; the rest follow each other without a gap.
        prop_assert!(due.ends_with(&nominal[1..]));
        prop_assert_eq!(spec.cron.newest(first, now, spec.timezone, 5), &due[due.len().saturating_sub(5)..]);
    }
}
