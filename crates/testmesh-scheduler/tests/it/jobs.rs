//! Jobs as callers see them: firing by hand, lists, retrying.

use testmesh_scheduler::{JobFilter, JobStatus, NewTrigger, Overlap, ScheduleSpec, SchedulerError};
use testmesh_shared::clock::SystemClock;
use testmesh_shared::ids::{JobId, ScheduleId};
use testmesh_shared::messages::Outcome;
use testmesh_shared::page::PageRequest;

use crate::world::{World, contract, new_trigger, spec, time, until};

contract! {
    firing_by_hand_runs_now,
    firing_twice_with_one_id_or_key_fires_once,
    a_dead_job_can_be_retried_by_hand,
    only_a_dead_job_can_be_retried,
    lists_are_in_order_and_in_pages,
    jobs_outlive_their_schedule,
    finished_jobs_are_deleted_after_a_month,
}

async fn firing_by_hand_runs_now(mut world: World) {
    let schedule = world.create(spec("nightly")).await;
    world.scheduler.pause(schedule.id).await.unwrap();
    let first = world.trigger(schedule.id).await;
    assert!(first.manual);
    assert_eq!((first.nominal_at, first.flow_id), (time("2026-03-10T12:00:00Z"), schedule.spec.flow_id));
    let message = world.sent().await;
    assert_eq!((message.job_id, message.attempt, message.manual), (first.id, 1, true));
    // Another one at the same time, while that is still going.
    let second = world.trigger(schedule.id).await;
    assert_eq!(world.sent().await.job_id, second.id);
}

async fn firing_twice_with_one_id_or_key_fires_once(mut world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    let other = world.create(spec("other")).await.id;
    let trigger = new_trigger();
    let first = world.scheduler.trigger(schedule, trigger.clone()).await.unwrap().unwrap();
    let again = world.scheduler.trigger(schedule, trigger).await.unwrap().unwrap();
    assert_eq!(first.id, again.id);
    let keyed = || NewTrigger { key: Some("deploy 17".to_owned()), ..new_trigger() };
    let second = world.scheduler.trigger(schedule, keyed()).await.unwrap().unwrap();
    let again = world.scheduler.trigger(schedule, keyed()).await.unwrap().unwrap();
    assert_eq!(second.id, again.id);
    let third = world.scheduler.trigger(other, keyed()).await.unwrap().unwrap();
    let mut sent = [world.sent().await.job_id, world.sent().await.job_id, world.sent().await.job_id];
    sent.sort_unstable();
    let mut expect = [first.id, second.id, third.id];
    expect.sort_unstable();
    assert_eq!(sent, expect);
    assert_eq!(world.jobs(schedule).await.len(), 2);
}

async fn a_dead_job_can_be_retried_by_hand(mut world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    let id = world.trigger(schedule).await.id;
    for _ in 0..3 {
        let message = world.sent().await;
        world.finish(&message, Outcome::Error).await;
    }
    let dead = world.settled(id, JobStatus::Dead).await;
    assert_eq!((dead.attempt, dead.outcome.as_deref(), dead.reason.as_deref()), (3, Some("error"), Some("error")));
    assert!(dead.finished_at.is_some());
    let retried = world.scheduler.retry_job(id, 3).await.unwrap().unwrap();
    assert_eq!((retried.status, retried.attempt, retried.max_attempts), (JobStatus::Queued, 4, 4));
    assert_eq!(retried.finished_at, None);
    // Repeating it is harmless.
    assert_eq!(world.scheduler.retry_job(id, 3).await.unwrap().unwrap().attempt, 4);
    let message = world.sent().await;
    assert_eq!((message.job_id, message.attempt), (id, 4));
    world.finish(&message, Outcome::Passed).await;
    let passed = world.settled(id, JobStatus::Passed).await;
    assert_eq!((passed.attempt, passed.outcome.as_deref(), passed.reason), (4, Some("passed"), None));
}

async fn only_a_dead_job_can_be_retried(mut world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    let id = world.trigger(schedule).await.id;
    let message = world.sent().await;
    let error = world.scheduler.retry_job(id, 1).await.unwrap_err();
    assert!(matches!(error, SchedulerError::NotDead { .. }), "{error:?}");
    world.finish(&message, Outcome::Failed).await;
    world.settled(id, JobStatus::Failed).await;
    let error = world.scheduler.retry_job(id, 1).await.unwrap_err();
    assert!(matches!(error, SchedulerError::NotDead { status: JobStatus::Failed, .. }), "{error:?}");
    assert_eq!(world.scheduler.retry_job(JobId::generate(&SystemClock), 1).await.unwrap(), None);
}

async fn lists_are_in_order_and_in_pages(mut world: World) {
    let schedule = world.create(ScheduleSpec { overlap: Overlap::Allow, ..spec("nightly") }).await.id;
    let other = world.create(spec("other")).await.id;
    let mut expect = Vec::new();
    for number in 0..6 {
        // Ids are in the order of the clock that makes them; this one is the world's.
        let trigger = NewTrigger { job_id: JobId::generate(&world.clock), key: None };
        let of = if number == 3 { other } else { schedule };
        let job = world.scheduler.trigger(of, trigger).await.unwrap().unwrap();
        expect.push(job.id);
        let message = world.sent().await;
        let outcome = [Outcome::Passed, Outcome::Failed][number % 2];
        world.finish(&message, outcome).await;
        world.settled(job.id, [JobStatus::Passed, JobStatus::Failed][number % 2]).await;
        world.advance(1);
    }
    expect.reverse();
    let listed = async |schedule_id: Option<ScheduleId>, status| {
        let filter = JobFilter { schedule_id, status };
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = world.scheduler.list_jobs(&filter, PageRequest { limit: 2, after }).await.unwrap();
            seen.extend(page.items.into_iter().map(|job| job.id));
            after = page.next;
            if after.is_none() {
                return seen;
            }
        }
    };
    let chosen = |indexes: &[usize]| indexes.iter().map(|&index| expect[index]).collect::<Vec<_>>();
    assert_eq!(listed(None, None).await, expect);
    assert_eq!(listed(None, Some(JobStatus::Passed)).await, chosen(&[1, 3, 5]));
    assert_eq!(listed(None, Some(JobStatus::Failed)).await, chosen(&[0, 2, 4]));
    assert_eq!(listed(None, Some(JobStatus::Queued)).await, []);
    assert_eq!(listed(Some(schedule), None).await, chosen(&[0, 1, 3, 4, 5]));
    assert_eq!(listed(Some(schedule), Some(JobStatus::Failed)).await, chosen(&[0, 4]));
    assert_eq!(listed(Some(other), None).await, chosen(&[2]));
}

async fn jobs_outlive_their_schedule(mut world: World) {
    let schedule = world.create(ScheduleSpec { overlap: Overlap::Queue, ..spec("nightly") }).await.id;
    world.advance(300);
    let going = world.sent().await;
    world.advance(300);
    let waiting = world.n_jobs(schedule, 2).await[1].id;
    assert!(world.scheduler.delete(schedule, None).await.unwrap());
    let dropped = world.job(waiting).await;
    assert_eq!((dropped.status, dropped.reason.as_deref()), (JobStatus::Skipped, Some("deleted")));
    world.finish(&going, Outcome::Passed).await;
    world.settled(going.job_id, JobStatus::Passed).await;
    assert_eq!(world.jobs(schedule).await.len(), 2);
}

async fn finished_jobs_are_deleted_after_a_month(mut world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    world.scheduler.pause(schedule).await.unwrap();
    let mut jobs = Vec::new();
    for _ in 0..3 {
        // Ids tell how old a job is; they are made by the world's clock here.
        let trigger = NewTrigger { job_id: JobId::generate(&world.clock), key: None };
        jobs.push(world.scheduler.trigger(schedule, trigger).await.unwrap().unwrap().id);
        let message = world.sent().await;
        if jobs.len() != 2 {
            world.finish(&message, Outcome::Passed).await;
            world.settled(message.job_id, JobStatus::Passed).await;
        }
        world.advance(15 * 86_400);
    }
    world.handle.drain().await;
    // 45, 30 and 15 days old, and the second not over.
    let next = world.another();
    until("the oldest is gone", async || world.scheduler.find_job(jobs[0]).await.unwrap().is_none().then_some(()))
        .await;
    next.drain().await;
    let left: Vec<_> = world.jobs(schedule).await.into_iter().map(|job| job.id).collect();
    assert_eq!(left, jobs[1..]);
}
