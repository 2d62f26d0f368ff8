//! Schedules that fire: overlap, misfires, pauses, jitter, the changes of the clocks.

use chrono::{DateTime, Utc};
use serde_json::json;
use testmesh_scheduler::cron::{Cron, parse_zone};
use testmesh_scheduler::{Job, JobStatus, Misfire, Overlap, ScheduleSpec};
use testmesh_shared::messages::Outcome;

use crate::world::{World, contract, spec, time};

contract! {
    a_firing_is_a_job_with_all_that_the_schedule_says,
    what_overlaps_is_left_out_and_says_so,
    what_queues_waits_for_the_one_before_it,
    what_may_overlap_runs_side_by_side,
    missed_firings_follow_the_rule_for_misfires,
    a_paused_schedule_does_not_fire_and_says_what_it_missed,
    jitter_delays_a_job_and_not_the_next,
    fixed_times_fire_once_when_the_clocks_change,
    many_schedules_fire_at_the_same_second,
}

fn told(jobs: &[Job]) -> Vec<String> {
    let tell = |job: &Job| {
        let reason = job.reason.as_deref().map_or(String::new(), |reason| format!(" {reason}"));
        format!("{} {}{reason}", job.nominal_at.format("%H:%M"), job.status)
    };
    jobs.iter().map(tell).collect()
}

async fn a_firing_is_a_job_with_all_that_the_schedule_says(mut world: World) {
    let variables = [("z".to_owned(), json!("\u{0}")), ("a".to_owned(), json!(1.5))].into_iter().collect();
    let spec =
        ScheduleSpec { flow_version: Some(4), environment: Some("staging".to_owned()), variables, ..spec("nightly") };
    let schedule = world.create(spec.clone()).await;
    world.advance(300);
    let message = world.sent().await;
    assert_eq!((message.schedule_id, message.manual, message.attempt), (Some(schedule.id), false, 1));
    assert_eq!(message.nominal_at, time("2026-03-10T12:05:00Z"));
    assert_eq!((message.flow_id, message.flow_version), (spec.flow_id, Some(4)));
    assert_eq!((message.environment, message.variables), (spec.environment, spec.variables));
    let job = world.job(message.job_id).await;
    assert_eq!((job.status, job.attempt, job.max_attempts), (JobStatus::Dispatched, 1, 3));
    let stored = world.scheduler.find(schedule.id).await.unwrap().unwrap();
    assert_eq!((stored.next_fire_at, stored.revision), (Some(time("2026-03-10T12:10:00Z")), 1));
}

async fn what_overlaps_is_left_out_and_says_so(mut world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    world.advance(300);
    let first = world.sent().await;
    world.advance(300);
    world.n_jobs(schedule, 2).await;
    world.finish(&first, Outcome::Passed).await;
    world.settled(first.job_id, JobStatus::Passed).await;
    world.advance(300);
    world.sent().await;
    let jobs = world.n_jobs(schedule, 3).await;
    assert_eq!(told(&jobs), ["12:05 passed", "12:10 skipped overlap", "12:15 dispatched"]);
    assert_eq!((jobs[1].attempt, jobs[1].finished_at), (0, Some(time("2026-03-10T12:10:00Z"))));
}

async fn what_queues_waits_for_the_one_before_it(mut world: World) {
    let schedule = world.create(ScheduleSpec { overlap: Overlap::Queue, ..spec("nightly") }).await.id;
    let mut messages = Vec::new();
    world.advance(300);
    messages.push(world.sent().await);
    for n_jobs in 2..4 {
        world.advance(300);
        let jobs = world.n_jobs(schedule, n_jobs).await;
        assert_eq!(jobs.last().unwrap().status, JobStatus::Waiting);
    }
    for n_done in 0..3 {
        world.finish(&messages[n_done], [Outcome::Passed, Outcome::Failed, Outcome::Passed][n_done]).await;
        if n_done < 2 {
            messages.push(world.sent().await);
        }
    }
    world.settled(messages[2].job_id, JobStatus::Passed).await;
    assert!(messages.is_sorted_by(|a, b| a.nominal_at < b.nominal_at));
    assert_eq!(told(&world.jobs(schedule).await), ["12:05 passed", "12:10 failed failed", "12:15 passed"]);
}

async fn what_may_overlap_runs_side_by_side(mut world: World) {
    world.create(ScheduleSpec { overlap: Overlap::Allow, ..spec("nightly") }).await;
    for _ in 0..3 {
        world.advance(300);
        world.sent().await;
    }
}

async fn missed_firings_follow_the_rule_for_misfires(mut world: World) {
    let mut of = Vec::new();
    for misfire in Misfire::ALL {
        let spec = ScheduleSpec { misfire: *misfire, catchup_max: 2, ..spec(misfire.as_str()) };
        of.push(world.create(spec).await.id);
    }
    // Down from 12:00 to 12:18.
    world.advance(18 * 60);
    world.sent().await;
    world.sent().await;
    assert_eq!(told(&world.n_jobs(of[0], 2).await), ["12:05 skipped misfire", "12:15 dispatched"]);
    assert_eq!(told(&world.n_jobs(of[1], 1).await), ["12:05 skipped misfire"]);
    let caught_up = world.n_jobs(of[2], 3).await;
    assert_eq!(told(&caught_up), ["12:05 skipped misfire", "12:10 dispatched", "12:15 waiting"]);
    let next = world.scheduler.find(of[0]).await.unwrap().unwrap().next_fire_at;
    assert_eq!(next, Some(time("2026-03-10T12:20:00Z")));
}

async fn a_paused_schedule_does_not_fire_and_says_what_it_missed(mut world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    world.scheduler.pause(schedule).await.unwrap();
    world.advance(11 * 60);
    // What another schedule did shows that this one had its turn.
    let other = world.create(ScheduleSpec { cron: Cron::parse("@every 1m").unwrap(), ..spec("other") }).await.id;
    world.advance(60);
    assert_eq!(world.sent().await.schedule_id, Some(other));
    assert!(world.jobs(schedule).await.is_empty());
    world.scheduler.resume(schedule).await.unwrap();
    let jobs = world.n_jobs(schedule, 1).await;
    assert_eq!(told(&jobs), ["12:05 skipped paused"]);
    assert!(jobs[0].message.as_deref().unwrap().starts_with("2 firings"), "{:?}", jobs[0].message);
    world.scheduler.pause(other).await.unwrap();
    world.advance(180);
    assert_eq!(world.sent().await.schedule_id, Some(schedule));
}

async fn jitter_delays_a_job_and_not_the_next(mut world: World) {
    let schedule = world.create(ScheduleSpec { jitter_s: 60, ..spec("nightly") }).await.id;
    world.advance(300);
    let job = world.n_jobs(schedule, 1).await.remove(0);
    let late = job.available_at - job.nominal_at;
    assert!((0..=60).contains(&late.num_seconds()), "{late}");
    assert_eq!(job.status, JobStatus::Queued);
    world.advance(60);
    assert_eq!(world.sent().await.job_id, job.id);
}

/// From before a change of the clocks to after it.
const CHANGES: &[(&str, &str, &str, [&str; 3])] = &[
    (
        "Europe/Berlin",
        "30 2 * * *",
        "2026-03-28T00:00:00Z",
        ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
    ),
    (
        "Europe/Berlin",
        "30 2 * * *",
        "2026-10-24T00:00:00Z",
        ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
    ),
    (
        "Europe/Berlin",
        "30 2 * * *",
        "2027-03-27T00:00:00Z",
        ["2027-03-27T01:30:00Z", "2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"],
    ),
    (
        "Europe/Berlin",
        "30 2 * * *",
        "2027-10-30T00:00:00Z",
        ["2027-10-30T00:30:00Z", "2027-10-31T00:30:00Z", "2027-11-01T01:30:00Z"],
    ),
    (
        "America/New_York",
        "30 2 * * *",
        "2026-03-07T00:00:00Z",
        ["2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"],
    ),
    (
        "America/New_York",
        "30 1 * * *",
        "2026-10-31T00:00:00Z",
        ["2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
    ),
    (
        "America/New_York",
        "30 2 * * *",
        "2027-03-13T00:00:00Z",
        ["2027-03-13T07:30:00Z", "2027-03-14T07:00:00Z", "2027-03-15T06:30:00Z"],
    ),
    (
        "America/New_York",
        "30 2 * * *",
        "2027-11-06T00:00:00Z",
        ["2027-11-06T06:30:00Z", "2027-11-07T07:30:00Z", "2027-11-08T07:30:00Z"],
    ),
];

async fn fixed_times_fire_once_when_the_clocks_change(mut world: World) {
    let mut changes = CHANGES.to_vec();
    changes.sort_by_key(|change| change.2);
    for (zone, cron, start, expect) in changes {
        world.advance_to(time(start));
        let spec = ScheduleSpec {
            cron: Cron::parse(cron).unwrap(),
            timezone: parse_zone(zone).unwrap(),
            ..spec(&format!("{zone} {start}"))
        };
        let schedule = world.create(spec).await.id;
        let mut nominal: Vec<DateTime<Utc>> = Vec::new();
        while nominal.len() < expect.len() {
            let next = world.scheduler.find(schedule).await.unwrap().unwrap().next_fire_at.unwrap();
            world.advance_to(next);
            let message = world.sent().await;
            world.finish(&message, Outcome::Passed).await;
            world.settled(message.job_id, JobStatus::Passed).await;
            nominal.push(message.nominal_at);
        }
        assert_eq!(nominal, expect.map(time), "{zone} {start}");
        assert_eq!(world.jobs(schedule).await.len(), expect.len());
        world.scheduler.delete(schedule, None).await.unwrap();
    }
}

async fn many_schedules_fire_at_the_same_second(mut world: World) {
    let mut expect = Vec::new();
    for number in 0..450 {
        expect.push(world.create(spec(&format!("schedule {number}"))).await.id);
    }
    world.advance(300);
    let mut fired = Vec::new();
    for _ in 0..expect.len() {
        fired.push(world.sent().await.schedule_id.unwrap());
    }
    fired.sort_unstable();
    expect.sort_unstable();
    assert_eq!(fired, expect);
}
