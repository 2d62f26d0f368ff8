//! Jobs on their way to a runner: lost, repeated, refused, and a process that dies in between.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use testmesh_scheduler::{JobStatus, SchedulerConfig, SchedulerHandle, SchedulerParts};
use testmesh_shared::clock::{Clock, FakeClock};
use testmesh_shared::db::Db;
use testmesh_shared::ids::JobId;
use testmesh_shared::messages::Outcome;
use testmesh_shared::stream::{Entry, Stream, StreamError, Topic};

use crate::world::{World, contract, new_schedule, new_trigger, running, spec, until};

contract! {
    a_job_without_a_sign_of_life_is_sent_again,
    what_waits_in_the_stream_is_not_sent_again,
    what_the_stream_lost_is_sent_again_though_others_wait,
    a_sign_of_life_puts_that_off,
    what_a_dead_process_left_is_sent_by_another,
    what_the_stream_refuses_is_sent_later,
    draining_leaves_jobs_where_they_are,
}

async fn a_job_without_a_sign_of_life_is_sent_again(mut world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    let id = world.trigger(schedule).await.id;
    for _ in 0..3 {
        let message = world.received().await;
        assert_eq!((message.job_id, message.attempt), (id, 1));
        // Only once the job is stored as sent is the clock moved.
        world.settled(id, JobStatus::Dispatched).await;
        world.advance(10);
    }
}

/// Jobs in the stream of a runner that has no slot for them.
async fn waiting_jobs(world: &World, count: usize) -> Vec<JobId> {
    let mut ids = Vec::new();
    for number in 0..count {
        let schedule = world.create(spec(&format!("schedule {number}"))).await.id;
        ids.push(world.trigger(schedule).await.id);
    }
    until("all are in the stream", async || has_all(world, &ids).await).await;
    ids
}

async fn has_all(world: &World, ids: &[JobId]) -> Option<()> {
    let waiting = world.waiting().await;
    ids.iter().all(|id| waiting.contains(id)).then_some(())
}

/// Lets these be due again, and waits until whatever is sent for that is in the stream.
async fn overdue(world: &World, ids: &[JobId]) {
    world.advance(10);
    for id in ids {
        until("it was taken", async || Some(world.job(*id).await).filter(|job| job.available_at > world.clock.now()))
            .await;
    }
    // This one is not sent before the turn is over that took them.
    let schedule = world.create(spec("next turn")).await.id;
    let next = world.trigger(schedule).await.id;
    until("the next turn came", async || has_all(world, &[next]).await).await;
    world.scheduler.delete(schedule, None).await.unwrap();
}

fn count(waiting: &[JobId], id: JobId) -> usize {
    waiting.iter().filter(|other| **other == id).count()
}

async fn what_waits_in_the_stream_is_not_sent_again(world: World) {
    let ids = waiting_jobs(&world, 20).await;
    for period in 1..=4 {
        overdue(&world, &ids).await;
        let waiting = world.waiting().await;
        assert!(ids.iter().all(|id| count(&waiting, *id) == 1), "after {period} periods {} wait", waiting.len());
    }
}

async fn what_the_stream_lost_is_sent_again_though_others_wait(mut world: World) {
    let ids = waiting_jobs(&world, 20).await;
    let lost = world.stream.read(Topic::RunFlow, 7, Duration::ZERO).await.unwrap();
    let entries: Vec<_> = lost.iter().map(|entry| entry.id.clone()).collect();
    world.stream.acknowledge(Topic::RunFlow, &entries).await.unwrap();
    assert_eq!(world.waiting().await.len(), 13);
    overdue(&world, &ids).await;
    let waiting = world.waiting().await;
    assert!(ids.iter().all(|id| count(&waiting, *id) == 1), "{} wait", waiting.len());
    // A runner that has room again is given each of them.
    let mut sent = Vec::new();
    while sent.len() < ids.len() {
        sent.extend(Some(world.sent().await.job_id).filter(|id| ids.contains(id)));
    }
}

async fn a_sign_of_life_puts_that_off(mut world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    let id = world.trigger(schedule).await.id;
    let first = world.received().await;
    for _ in 0..3 {
        world.advance(6);
        let before = world.job(id).await.seen_at;
        world.report(&[running(id, 1)]).await;
        until("the report was taken in", async || Some(world.job(id).await).filter(|job| job.seen_at > before)).await;
    }
    assert_eq!(world.job(id).await.status, JobStatus::Running);
    // Were it due again, it would be sent before this one.
    let other = world.trigger(schedule).await.id;
    assert_eq!(world.received().await.job_id, other);
    world.finish(&first, Outcome::Passed).await;
    world.settled(id, JobStatus::Passed).await;
}

/// A stream that takes nothing: it refuses, or never answers.
#[derive(Debug)]
struct Broken {
    answers: bool,
}

#[async_trait]
impl Stream for Broken {
    async fn publish(&self, _: Topic, _: &[String]) -> Result<(), StreamError> {
        if self.answers {
            return Err(StreamError { operation: "publish", reason: "it is away".to_owned() });
        }
        std::future::pending().await
    }

    async fn read(&self, _: Topic, _: usize, wait: Duration) -> Result<Vec<Entry>, StreamError> {
        tokio::time::sleep(wait).await;
        Ok(Vec::new())
    }

    async fn acknowledge(&self, _: Topic, _: &[String]) -> Result<(), StreamError> {
        Ok(())
    }

    async fn under_way(&self, _: Topic, _: usize) -> Result<Vec<String>, StreamError> {
        Ok(Vec::new())
    }

    async fn ping(&self) -> Result<(), StreamError> {
        Ok(())
    }
}

fn start_on(db: Db, clock: FakeClock, stream: Broken) -> SchedulerHandle {
    let parts = SchedulerParts { db, clock: Some(Arc::new(clock)), stream: Arc::new(stream) };
    testmesh_scheduler::start(parts, SchedulerConfig::default())
}

async fn what_a_dead_process_left_is_sent_by_another(mut world: World) {
    world.handle.drain().await;
    // A process of its own, which hangs while it sends the first, so that the second is stored and not sent; then it is
    // gone with all that it was doing.
    let schedule = world.create(spec("nightly")).await.id;
    let first = world.trigger(schedule).await.id;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (db, clock) = (world.db_again(), world.clock.clone());
    let dying = runtime.spawn(async move {
        let handle = start_on(db.await, clock, Broken { answers: false });
        std::future::pending::<()>().await;
        drop(handle);
    });
    world.settled(first, JobStatus::Dispatched).await;
    let second = world.trigger(schedule).await.id;
    dying.abort();
    runtime.shutdown_background();
    assert_eq!(world.job(second).await.status, JobStatus::Queued);

    let next = world.another();
    assert_eq!(world.received().await.job_id, second);
    world.settled(second, JobStatus::Dispatched).await;
    world.clock.advance(chrono::TimeDelta::seconds(10));
    next.wake();
    let mut sent = [world.received().await.job_id, world.received().await.job_id];
    sent.sort_unstable();
    let mut expect = [first, second];
    expect.sort_unstable();
    assert_eq!(sent, expect);
}

async fn what_the_stream_refuses_is_sent_later(mut world: World) {
    world.handle.drain().await;
    let refused = start_on(world.db.clone(), world.clock.clone(), Broken { answers: true });
    let scheduler = refused.scheduler();
    let schedule = scheduler.create(new_schedule(spec("nightly"))).await.unwrap().id;
    let id = scheduler.trigger(schedule, new_trigger()).await.unwrap().unwrap().id;
    until("it was given back", async || {
        let job = world.job(id).await;
        Some(job).filter(|job| {
            job.dispatched_at.is_some() && job.available_at < job.nominal_at + chrono::TimeDelta::seconds(5)
        })
    })
    .await;
    refused.drain().await;
    let _next = world.another();
    world.clock.advance(chrono::TimeDelta::seconds(1));
    assert_eq!(world.received().await.job_id, id);
}

async fn draining_leaves_jobs_where_they_are(world: World) {
    let schedule = world.create(spec("nightly")).await.id;
    world.handle.drain().await;
    let job = world.trigger(schedule).await;
    assert_eq!(world.job(job.id).await.status, JobStatus::Queued);
    assert!(world.stream.read(Topic::RunFlow, 1, Duration::ZERO).await.unwrap().is_empty());
}
