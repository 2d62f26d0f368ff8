//! What runners report: once, twice, late, about nothing, and nonsense.

use testmesh_scheduler::{JobStatus, Retry, RetryOn, ScheduleSpec};
use testmesh_shared::clock::SystemClock;
use testmesh_shared::ids::JobId;
use testmesh_shared::messages::{Outcome, RunReport, RunState};
use testmesh_shared::stream::{Stream, Topic};

use crate::world::{World, contract, finished, running, spec, time, until};

contract! {
    a_verdict_ends_a_job,
    an_error_is_tried_again_until_the_job_is_dead,
    a_failure_is_tried_again_only_where_the_schedule_says_so,
    a_lost_runner_counts_as_an_error,
    a_report_of_a_verdict_counts_once,
    reports_about_other_attempts_change_nothing,
    nonsense_is_put_aside,
    a_wait_between_attempts_is_kept,
    reports_are_taken_in_after_a_restart,
}

async fn a_verdict_ends_a_job(mut world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    for (outcome, status) in [
        (Outcome::Passed, JobStatus::Passed),
        (Outcome::Failed, JobStatus::Failed),
        (Outcome::Cancelled, JobStatus::Cancelled),
    ] {
        let id = world.trigger(schedule).await.id;
        world.sent().await;
        world.advance(1);
        let report = finished(id, 1, outcome);
        world.report(std::slice::from_ref(&report)).await;
        let job = world.settled(id, status).await;
        assert_eq!((job.attempt, job.execution_id), (1, Some(report.execution_id)));
        assert_eq!(job.outcome.as_deref(), Some(status.as_str()));
        assert!(job.finished_at > Some(job.nominal_at));
    }
}

async fn an_error_is_tried_again_until_the_job_is_dead(mut world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    let id = world.trigger(schedule).await.id;
    for attempt in 1..=3 {
        let message = world.sent().await;
        assert_eq!((message.job_id, message.attempt), (id, attempt));
        let state = RunState::Finished {
            outcome: Outcome::Error,
            finished_at: time("2026-03-10T12:00:00Z"),
            code: Some("timeout".to_owned()),
            message: Some(format!("attempt {attempt}\0")),
        };
        world.report(&[RunReport { state, ..finished(id, attempt, Outcome::Error) }]).await;
    }
    let job = world.settled(id, JobStatus::Dead).await;
    assert_eq!((job.attempt, job.outcome.as_deref(), job.reason.as_deref()), (3, Some("error"), Some("timeout")));
    assert_eq!(job.message.as_deref(), Some("attempt 3\u{fffd}"));
}

async fn a_failure_is_tried_again_only_where_the_schedule_says_so(mut world: World) {
    let retry = Retry { max_attempts: 2, backoff_s: 0, backoff_max_s: 0, retry_on: vec![RetryOn::Failed] };
    let schedule = world.create(ScheduleSpec { retry, ..spec("flaky") }).await.id;
    let id = world.trigger(schedule).await.id;
    let first = world.sent().await;
    world.finish(&first, Outcome::Failed).await;
    let second = world.sent().await;
    assert_eq!((second.job_id, second.attempt), (id, 2));
    world.finish(&second, Outcome::Passed).await;
    // A pass after a retry is shown as such.
    assert_eq!(world.settled(id, JobStatus::Passed).await.attempt, 2);
    let id = world.trigger(schedule).await.id;
    for _ in 0..2 {
        let message = world.sent().await;
        world.finish(&message, Outcome::Failed).await;
    }
    assert_eq!(world.settled(id, JobStatus::Failed).await.attempt, 2);
}

async fn a_lost_runner_counts_as_an_error(mut world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    let id = world.trigger(schedule).await.id;
    for _ in 0..3 {
        let message = world.sent().await;
        world.finish(&message, Outcome::Lost).await;
    }
    let job = world.settled(id, JobStatus::Dead).await;
    assert_eq!((job.attempt, job.outcome.as_deref(), job.reason.as_deref()), (3, Some("lost"), Some("lost")));
}

async fn a_report_of_a_verdict_counts_once(mut world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    let id = world.trigger(schedule).await.id;
    let message = world.sent().await;
    let passed = finished(id, 1, Outcome::Passed);
    // In one batch, with a sign of life behind it; then again, and with another outcome.
    world.report(&[running(id, 1), passed.clone(), passed.clone(), running(id, 1)]).await;
    let first = world.settled(id, JobStatus::Passed).await;
    world.report(&[passed, running(id, 1)]).await;
    world.finish(&message, Outcome::Error).await;
    // What came after it was taken in shows that they were too.
    let other = world.trigger(schedule).await.id;
    let message = world.sent().await;
    world.finish(&message, Outcome::Passed).await;
    world.settled(other, JobStatus::Passed).await;
    assert_eq!(world.job(id).await, first);
}

async fn reports_about_other_attempts_change_nothing(mut world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    let id = world.trigger(schedule).await.id;
    let first = world.sent().await;
    world.finish(&first, Outcome::Error).await;
    let second = world.sent().await;
    assert_eq!(second.attempt, 2);
    let stranger = JobId::generate(&SystemClock);
    world.report(&[finished(id, 1, Outcome::Passed), finished(id, 3, Outcome::Passed), running(id, 1)]).await;
    world.report(&[finished(id, 0, Outcome::Lost), finished(stranger, 1, Outcome::Failed), running(stranger, 1)]).await;
    world.finish(&second, Outcome::Failed).await;
    let job = world.settled(id, JobStatus::Failed).await;
    assert_eq!(job.attempt, 2);
    assert_eq!(world.scheduler.find_job(stranger).await.unwrap(), None);
}

async fn nonsense_is_put_aside(mut world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    let id = world.trigger(schedule).await.id;
    let message = world.sent().await;
    let nonsense = ["", "{", "[]", "null", "\u{0}", "{\"job_id\":\"x\"}", "{\"state\":{\"state\":\"finished\"}}"];
    world.stream.publish(Topic::RunFinished, &nonsense.map(str::to_owned)).await.unwrap();
    world.finish(&message, Outcome::Passed).await;
    world.settled(id, JobStatus::Passed).await;
}

async fn a_wait_between_attempts_is_kept(mut world: World) {
    let retry = Retry { backoff_s: 1_000, backoff_max_s: 1_000, ..Retry::default() };
    let schedule = world.create(ScheduleSpec { retry, ..spec("patient") }).await.id;
    let id = world.trigger(schedule).await.id;
    let first = world.sent().await;
    world.finish(&first, Outcome::Error).await;
    let job = until("it is queued again", async || Some(world.job(id).await).filter(|job| job.attempt == 2)).await;
    let wait = job.available_at - job.nominal_at;
    assert!((0..=1_000).contains(&wait.num_seconds()), "{wait}");
    world.advance_to(job.available_at);
    assert_eq!(world.sent().await.attempt, 2);
}

async fn reports_are_taken_in_after_a_restart(mut world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    let id = world.trigger(schedule).await.id;
    let message = world.sent().await;
    world.handle.drain().await;
    world.finish(&message, Outcome::Passed).await;
    let _next = world.another();
    world.settled(id, JobStatus::Passed).await;
}
