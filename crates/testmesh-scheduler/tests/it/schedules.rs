//! Schedules as callers keep them.

use serde_json::json;
use testmesh_scheduler::cron::{Cron, parse_zone};
use testmesh_scheduler::{Misfire, Overlap, Retry, RetryOn, Schedule, ScheduleFilter, ScheduleSpec, SchedulerError};
use testmesh_shared::clock::SystemClock;
use testmesh_shared::ids::{FlowId, ScheduleId};
use testmesh_shared::page::PageRequest;

use crate::world::{World, contract, new_schedule, spec, time};

contract! {
    a_schedule_comes_back_as_it_was_stored,
    creating_twice_with_one_id_creates_once,
    a_name_is_unique,
    an_update_replaces_and_counts,
    an_update_with_a_stale_revision_changes_nothing,
    an_update_of_the_times_moves_the_next_one,
    a_deleted_schedule_is_gone,
    pausing_and_resuming_can_be_repeated,
    pages_cover_the_list_newest_first,
    what_is_not_there_is_none,
}

async fn a_schedule_comes_back_as_it_was_stored(world: World) {
    let spec = ScheduleSpec {
        flow_version: Some(3),
        cron: Cron::parse("30 2 * * mon-fri").unwrap(),
        timezone: parse_zone("Europe/Berlin").unwrap(),
        misfire: Misfire::CatchUp,
        catchup_max: 7,
        overlap: Overlap::Queue,
        jitter_s: 30,
        environment: Some("staging".to_owned()),
        variables: [("z", json!("a\u{0}b")), ("a", json!({"n": [1, null]}))]
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect(),
        retry: Retry { max_attempts: 5, backoff_s: 1, backoff_max_s: 9, retry_on: vec![RetryOn::Failed] },
        ..spec("nächtlich \u{1f319}")
    };
    let created = world.create(spec.clone()).await;
    assert_eq!((&created.spec, created.enabled, created.revision), (&spec, true, 1));
    assert_eq!(created.next_fire_at, Some(time("2026-03-11T01:30:00Z")));
    assert_eq!(world.scheduler.find(created.id).await.unwrap(), Some(created));
}

async fn creating_twice_with_one_id_creates_once(world: World) {
    let new = new_schedule(spec("nightly"));
    let first = world.scheduler.create(new.clone()).await.unwrap();
    world.advance(5);
    assert_eq!(world.scheduler.create(new).await.unwrap(), first);
}

async fn a_name_is_unique(world: World) {
    world.create(spec("nightly")).await;
    let other = world.create(spec("daily")).await;
    let error = world.scheduler.create(new_schedule(spec("nightly"))).await.unwrap_err();
    assert!(matches!(&error, SchedulerError::NameTaken { name } if name == "nightly"), "{error:?}");
    let error = world.scheduler.update(other.id, spec("nightly"), None).await.unwrap_err();
    assert!(matches!(&error, SchedulerError::NameTaken { name } if name == "nightly"), "{error:?}");
    assert_eq!(world.scheduler.find(other.id).await.unwrap(), Some(other));
}

async fn an_update_replaces_and_counts(world: World) {
    let first = world.create(spec("nightly")).await;
    world.advance(5);
    let change = ScheduleSpec { environment: Some("test".to_owned()), ..spec("hourly") };
    let second = world.scheduler.update(first.id, change.clone(), Some(1)).await.unwrap().unwrap();
    assert_eq!((second.id, second.revision, &second.spec), (first.id, 2, &change));
    assert_eq!((second.created_at, second.next_fire_at), (first.created_at, first.next_fire_at));
    assert_eq!(second.updated_at, time("2026-03-10T12:00:05Z"));
    assert_eq!(world.scheduler.find(first.id).await.unwrap(), Some(second));
}

async fn an_update_with_a_stale_revision_changes_nothing(world: World) {
    let stored = world.create(spec("nightly")).await;
    let error = world.scheduler.update(stored.id, spec("other"), Some(3)).await.unwrap_err();
    assert!(matches!(error, SchedulerError::RevisionMismatch { expected: 3, found: 1 }), "{error:?}");
    let error = world.scheduler.delete(stored.id, Some(3)).await.unwrap_err();
    assert!(matches!(error, SchedulerError::RevisionMismatch { expected: 3, found: 1 }), "{error:?}");
    assert_eq!(world.scheduler.find(stored.id).await.unwrap(), Some(stored));
}

async fn an_update_of_the_times_moves_the_next_one(world: World) {
    let id = world.create(spec("nightly")).await.id;
    let next = async |cron: &str, zone: &str| {
        let change =
            ScheduleSpec { cron: Cron::parse(cron).unwrap(), timezone: parse_zone(zone).unwrap(), ..spec("nightly") };
        world.scheduler.update(id, change, None).await.unwrap().unwrap().next_fire_at.unwrap()
    };
    assert_eq!(next("0 18 * * *", "UTC").await, time("2026-03-10T18:00:00Z"));
    assert_eq!(next("0 18 * * *", "Europe/Berlin").await, time("2026-03-10T17:00:00Z"));
}

async fn a_deleted_schedule_is_gone(world: World) {
    let id = world.create(spec("nightly")).await.id;
    assert!(world.scheduler.delete(id, Some(1)).await.unwrap());
    assert!(!world.scheduler.delete(id, None).await.unwrap());
    assert_eq!(world.scheduler.find(id).await.unwrap(), None);
    world.create(spec("nightly")).await;
}

async fn pausing_and_resuming_can_be_repeated(world: World) {
    let id = world.create(spec("nightly")).await.id;
    let paused = world.scheduler.pause(id).await.unwrap().unwrap();
    assert_eq!((paused.enabled, paused.next_fire_at, paused.revision), (false, None, 2));
    assert_eq!(world.scheduler.pause(id).await.unwrap(), Some(paused));
    let resumed = world.scheduler.resume(id).await.unwrap().unwrap();
    assert_eq!(resumed.next_fire_at, Some(time("2026-03-10T12:05:00Z")));
    assert_eq!((resumed.enabled, resumed.revision), (true, 3));
    assert_eq!(world.scheduler.resume(id).await.unwrap(), Some(resumed));
}

async fn pages_cover_the_list_newest_first(world: World) {
    let flow_id = FlowId::generate(&SystemClock);
    let mut expect = Vec::new();
    for number in 0..5 {
        let of_flow = ScheduleSpec { flow_id, ..spec(&format!("schedule {number}")) };
        expect.push(world.create(if number == 2 { spec("other") } else { of_flow }).await);
        world.clock.advance(chrono::TimeDelta::seconds(number % 2));
    }
    expect.sort_by_key(|item| std::cmp::Reverse((item.created_at, item.id)));
    let listed = async |filter: ScheduleFilter| {
        let (mut seen, mut after): (Vec<Schedule>, _) = (Vec::new(), None);
        loop {
            let page = world.scheduler.list(&filter, PageRequest { limit: 2, after }).await.unwrap();
            seen.extend(page.items);
            after = page.next;
            if after.is_none() {
                return seen;
            }
        }
    };
    assert_eq!(listed(ScheduleFilter::default()).await, expect);
    expect.retain(|item| item.spec.flow_id == flow_id);
    assert_eq!(listed(ScheduleFilter { flow_id: Some(flow_id) }).await, expect);
}

async fn what_is_not_there_is_none(world: World) {
    let nobody = ScheduleId::generate(&SystemClock);
    assert_eq!(world.scheduler.update(nobody, spec("x"), Some(7)).await.unwrap(), None);
    assert_eq!(world.scheduler.pause(nobody).await.unwrap(), None);
    assert_eq!(world.scheduler.resume(nobody).await.unwrap(), None);
    assert_eq!(world.scheduler.trigger(nobody, crate::world::new_trigger()).await.unwrap(), None);
}
