//! Several schedulers on one PostgreSQL, by the database's own clock.

use std::collections::HashMap;
use std::time::Duration;

use chrono::TimeDelta;
use testmesh_scheduler::cron::Cron;
use testmesh_scheduler::{JobFilter, JobStatus, NewTrigger, Overlap, ScheduleSpec, SchedulerHandle};
use testmesh_shared::clock::SystemClock;
use testmesh_shared::ids::{JobId, ScheduleId};
use testmesh_shared::messages::{Outcome, RunFlow};
use testmesh_shared::page::PageRequest;
use testmesh_shared::stream::{MemoryStream, Stream, Topic};

use crate::world::{finished, new_schedule, spec, start, until};

/// A runner that passes whatever it is sent, and counts how often.
async fn pass_everything(stream: MemoryStream, until: tokio::time::Instant) -> HashMap<JobId, u32> {
    let mut seen: HashMap<JobId, u32> = HashMap::new();
    while tokio::time::Instant::now() < until {
        let read = stream.read(Topic::RunFlow, 100, Duration::from_millis(50)).await.unwrap();
        let mut reports = Vec::new();
        for entry in &read {
            let message: RunFlow = serde_json::from_str(&entry.payload).unwrap();
            *seen.entry(message.job_id).or_default() += 1;
            reports.push(serde_json::to_string(&finished(message.job_id, message.attempt, Outcome::Passed)).unwrap());
        }
        stream.publish(Topic::RunFinished, &reports).await.unwrap();
        let ids: Vec<_> = read.into_iter().map(|entry| entry.id).collect();
        stream.acknowledge(Topic::RunFlow, &ids).await.unwrap();
    }
    seen
}

async fn create_each_second(handle: &SchedulerHandle, count: usize) -> Vec<ScheduleId> {
    let mut schedules = Vec::new();
    for number in 0..count {
        let spec = ScheduleSpec {
            cron: Cron::parse("* * * * * *").unwrap(),
            overlap: Overlap::Allow,
            ..spec(&format!("schedule {number}"))
        };
        schedules.push(handle.scheduler().create(new_schedule(spec)).await.unwrap().id);
    }
    schedules
}

#[tokio::test]
async fn schedulers_share_schedules_and_fire_each_second_once() {
    let Some(db) = testmesh_shared::db::testing::postgres(&testmesh_scheduler::SCHEMA).await else { return };
    let stream = MemoryStream::new();
    let handles = [start(&db, None, &stream), start(&db, None, &stream), start(&db, None, &stream)];
    let made = create_each_second(&handles[0], 20).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    let seen = pass_everything(stream.clone(), deadline).await;
    let scheduler = handles[1].scheduler();
    for schedule in made {
        scheduler.pause(schedule).await.unwrap();
        let filter = JobFilter { schedule_id: Some(schedule), status: None };
        let jobs = scheduler.list_jobs(&filter, PageRequest { limit: 200, after: None }).await.unwrap().items;
        let nominal: Vec<_> = jobs.iter().rev().map(|job| job.nominal_at).collect();
        assert!(nominal.len() >= 4, "{nominal:?}");
        assert!(nominal.is_sorted_by(|a, b| *b - *a == TimeDelta::seconds(1)), "{nominal:?}");
    }
    // Nobody was slow, so none was sent twice.
    assert!(seen.values().all(|&times| times == 1), "{seen:?}");
    for handle in handles {
        handle.drain().await;
    }
}

#[tokio::test]
async fn a_schedule_of_a_process_that_died_is_fired_by_another() {
    let Some(db) = testmesh_shared::db::testing::postgres(&testmesh_scheduler::SCHEMA).await else { return };
    let stream = MemoryStream::new();
    let survivor = start(&db, None, &stream);
    let maker = start(&db, None, &stream);
    maker.drain().await;
    let schedule = create_each_second(&maker, 1).await[0];
    let deadline = tokio::time::Instant::now() + Duration::from_secs(4);
    assert!(!pass_everything(stream, deadline).await.is_empty());
    let scheduler = survivor.scheduler();
    let filter = JobFilter { schedule_id: Some(schedule), status: Some(JobStatus::Passed) };
    until("a job passed", async || {
        let page = scheduler.list_jobs(&filter, PageRequest { limit: 1, after: None }).await.unwrap();
        page.items.into_iter().next()
    })
    .await;
}

#[tokio::test]
async fn a_process_without_the_scheduler_is_answered_and_leaves_the_work_to_the_one_that_has_it() {
    let Some(db) = testmesh_shared::db::testing::postgres(&testmesh_scheduler::SCHEMA).await else { return };
    let client = testmesh_scheduler::client(db.clone());
    let spec = ScheduleSpec { cron: Cron::parse("0 0 1 1 *").unwrap(), ..spec("once a year") };
    let schedule = client.create(new_schedule(spec)).await.unwrap();
    let job_id = JobId::generate(&SystemClock);
    let job = client.trigger(schedule.id, NewTrigger { job_id, key: None }).await.unwrap().unwrap();
    assert_eq!((job.id, job.status), (job_id, JobStatus::Queued));

    let stream = MemoryStream::new();
    let scheduler = start(&db, None, &stream);
    let seen = pass_everything(stream, tokio::time::Instant::now() + Duration::from_secs(3)).await;
    assert_eq!(seen.get(&job_id), Some(&1));
    until("the job passed", async || {
        client.find_job(job_id).await.unwrap().filter(|job| job.status == JobStatus::Passed)
    })
    .await;
    scheduler.drain().await;
}
