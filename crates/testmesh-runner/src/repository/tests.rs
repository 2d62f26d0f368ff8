//! The contract of the executions' store, on every engine.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use testmesh_shared::clock::SystemClock;
use testmesh_shared::db::{DataFolder, Stamp};
use testmesh_shared::ids::FlowId;

use super::*;
use crate::event::{RunEventKind, StepStart};
use crate::record::{ExecutionError, LogRecord, Phase, StepStatus};

struct Fixture {
    store: Store,
    _dir: tempfile::TempDir,
}

async fn sqlite() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::take(dir.path()).unwrap();
    let db = Db::embedded(&folder, &SCHEMA).await.unwrap();
    Fixture { store: Store::new(db), _dir: dir }
}

/// `None`: there is no server to have a database on.
async fn postgres() -> Option<Store> {
    testmesh_shared::db::testing::postgres(&SCHEMA).await.map(Store::new)
}

macro_rules! contract {
    ($($name:ident,)*) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(super::sqlite().await.store).await;
                }
            )*
        }

        mod on_postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    if let Some(store) = super::postgres().await {
                        super::$name(store).await;
                    }
                }
            )*
        }
    };
}

contract! {
    queued_run_comes_back_as_it_was_stored,
    insert_with_a_known_id_changes_nothing,
    run_is_started_once,
    finished_run_comes_back_with_its_steps_and_events,
    final_state_never_changes,
    running_run_shows_what_it_came_to_so_far,
    step_is_found_by_ordinal_and_by_id,
    events_resume_after_every_seq,
    filters_narrow_the_list,
    pages_cover_the_list_newest_first,
    key_belongs_to_its_first_request_until_it_expires,
    equal_keys_of_one_batch_have_one_owner,
    nul_in_a_text_spoils_no_batch,
}

const TEXT: &str = "name: f\nsteps:\n  - action: log\n";

fn time(seconds: i64) -> DateTime<Utc> {
    "2026-01-31T12:00:00.123456Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(seconds)
}

fn queued(at: i64) -> Execution {
    let id = ExecutionId::generate(&SystemClock);
    let mut execution = Execution::queued(id, "flow \u{1f4b6}", Trigger::Api, time(at));
    execution.flow_id = Some(FlowId::generate(&SystemClock));
    execution.flow_version = Some(3);
    execution.environment = Some("staging".to_owned());
    execution.variables.insert("z".to_owned(), json!({"list": [1, null, "\u{0}\""]}));
    execution.variables.insert("a".to_owned(), json!(u64::MAX));
    execution.total_steps = 2;
    execution
}

async fn write(store: &Store, batch: Batch) -> Committed {
    store.write(&batch, time(-86_400)).await.unwrap()
}

async fn insert(store: &Store, execution: &Execution) {
    let row = InsertRow::new(execution, TEXT.to_owned(), Some("{}".to_owned()));
    let done = write(store, Batch { inserts: vec![row], ..Batch::default() }).await;
    assert!(done.inserted.contains(&execution.id));
}

async fn start(store: &Store, id: ExecutionId) -> bool {
    let row = StartRow { id, started_at: Stamp(time(1)) };
    write(store, Batch { starts: vec![row], ..Batch::default() }).await.started.contains(&id)
}

fn step(ordinal: u32, id: &str, phase: Phase, status: StepStatus) -> StepRecord {
    let start = StepStart {
        ordinal,
        id: id.to_owned(),
        name: format!("step {id}"),
        action: "log".to_owned(),
        phase,
        parent: None,
        iteration: None,
        line: 3,
    };
    let mut step = StepRecord::running(start, "2026-01-31T12:00:02Z".parse().unwrap());
    step.status = status;
    step.response = Some(json!({"body": "x".repeat(5000), "number": 1.5e300}).into());
    step
}

/// A run of two steps: its events from 2 on.
fn story(id: ExecutionId) -> Vec<RunEvent> {
    let first = step(1, "one", Phase::Setup, StepStatus::Passed);
    let second = step(2, "two", Phase::Main, StepStatus::Skipped);
    let start = StepStart {
        ordinal: 1,
        id: "one".to_owned(),
        name: "step one".to_owned(),
        action: "log".to_owned(),
        phase: Phase::Setup,
        parent: None,
        iteration: None,
        line: 3,
    };
    let line = LogRecord {
        time: "2026-01-31T12:00:02Z".parse().unwrap(),
        level: "info".to_owned(),
        message: "hi".to_owned(),
        data: None,
    };
    let trace_id = Some("0af7651916cd43dd8448eb211c80319c".to_owned());
    let error = ExecutionError { code: ErrorCode::Timeout, message: "too slow".to_owned() };
    let kinds = [
        RunEventKind::Started { total_steps: 2, trace_id, runner: Some("here".to_owned()) },
        RunEventKind::StepStarted(start),
        RunEventKind::Log { ordinal: 1, id: "one".to_owned(), line },
        RunEventKind::StepFinished(Arc::new(first)),
        RunEventKind::StepSkipped(Arc::new(second)),
        RunEventKind::Finished { status: ExecutionStatus::Error, duration_ms: 1500, error: Some(error) },
    ];
    let whole = "2026-01-31T12:00:03Z".parse::<DateTime<Utc>>().unwrap();
    kinds.into_iter().zip(2..).map(|(kind, seq)| RunEvent { seq, execution_id: id, time: whole, kind }).collect()
}

/// Stores events as the recorder does: a row, the steps that end in it, the final state if it is there.
async fn tell(store: &Store, execution: &mut Execution, events: &[RunEvent]) {
    let mut batch = Batch::default();
    let mut list = Vec::new();
    for event in events {
        execution.apply(event);
        let stored = StoredEvent::of(event).unwrap();
        if let RunEventKind::StepFinished(step) | RunEventKind::StepSkipped(step) = &event.kind {
            batch.steps.push(StepRow {
                execution_id: execution.id,
                ordinal: step.ordinal,
                step_id: step.id.clone(),
                phase: step.phase,
                status: step.status,
                record: stored.record.unwrap(),
            });
        }
        if matches!(event.kind, RunEventKind::Finished { .. }) {
            batch.finishes.push(FinishRow::new(execution));
        }
        list.push(stored.event);
    }
    let (seq_from, seq_to) = (events[0].seq, events[events.len() - 1].seq);
    batch.events.push(EventsRow { execution_id: execution.id, seq_from, seq_to, events: list });
    write(store, batch).await;
}

/// A finished run, its events stored in rows of `row` events each.
async fn finished(store: &Store, at: i64, row: usize) -> (Execution, Vec<RunEvent>) {
    let mut execution = queued(at);
    insert(store, &execution).await;
    assert!(start(store, execution.id).await);
    let events = story(execution.id);
    for events in events.chunks(row) {
        tell(store, &mut execution, events).await;
    }
    execution.definition = Some(TEXT.to_owned());
    (execution, events)
}

async fn queued_run_comes_back_as_it_was_stored(store: Store) {
    let execution = queued(0);
    insert(&store, &execution).await;
    let expect = Execution { definition: Some(TEXT.to_owned()), steps: Some(Vec::new()), ..execution.clone() };
    let found = store.find(execution.id).await.unwrap().unwrap();
    assert_eq!(found, expect);
    assert!(found.variables.keys().eq(execution.variables.keys()));
    assert_eq!(store.find(ExecutionId::generate(&SystemClock)).await.unwrap(), None);
    let waiting = store.queued().await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].options.as_deref(), Some("{}"));
    assert_eq!(waiting[0].execution, Execution { steps: None, ..expect });
}

async fn insert_with_a_known_id_changes_nothing(store: Store) {
    let execution = queued(0);
    insert(&store, &execution).await;
    let other = Execution { flow_name: "other".to_owned(), ..execution.clone() };
    let row = InsertRow::new(&other, "another text".to_owned(), None);
    let done = write(&store, Batch { inserts: vec![row], ..Batch::default() }).await;
    assert!(done.inserted.is_empty());
    assert_eq!(store.find(execution.id).await.unwrap().unwrap().flow_name, execution.flow_name);
}

async fn run_is_started_once(store: Store) {
    let execution = queued(0);
    insert(&store, &execution).await;
    assert!(start(&store, execution.id).await);
    assert!(!start(&store, execution.id).await);
    assert_eq!(store.running().await.unwrap(), [execution.id]);
    assert!(store.queued().await.unwrap().is_empty());
}

async fn finished_run_comes_back_with_its_steps_and_events(store: Store) {
    for row in [1, 2, 6] {
        let (execution, events) = finished(&store, 0, row).await;
        assert_eq!(store.find(execution.id).await.unwrap().unwrap(), execution, "{row} events a row");
        assert_eq!(store.events(execution.id, 1).await.unwrap(), events, "{row} events a row");
    }
    assert!(store.running().await.unwrap().is_empty());
}

async fn final_state_never_changes(store: Store) {
    let (execution, _) = finished(&store, 0, 6).await;
    let other = Execution { status: ExecutionStatus::Passed, error: None, ..execution.clone() };
    write(&store, Batch { finishes: vec![FinishRow::new(&other)], ..Batch::default() }).await;
    assert!(!start(&store, execution.id).await);
    assert_eq!(store.find(execution.id).await.unwrap(), Some(execution));
}

async fn running_run_shows_what_it_came_to_so_far(store: Store) {
    let mut execution = queued(0);
    insert(&store, &execution).await;
    start(&store, execution.id).await;
    let events = story(execution.id);
    tell(&store, &mut execution, &events[..3]).await;
    let found = store.find(execution.id).await.unwrap().unwrap();
    assert_eq!(found.status, ExecutionStatus::Running);
    assert_eq!(found.trace_id, execution.trace_id);
    let steps = found.steps.unwrap();
    assert_eq!((steps.len(), steps[0].status, steps[0].logs.len()), (1, StepStatus::Running, 1));
}

async fn step_is_found_by_ordinal_and_by_id(store: Store) {
    let mut execution = queued(0);
    insert(&store, &execution).await;
    let steps = [
        step(1, "same", Phase::Setup, StepStatus::Passed),
        step(2, "same", Phase::Main, StepStatus::Failed),
        step(3, "same", Phase::Main, StepStatus::Passed),
        step(4, "last", Phase::Teardown, StepStatus::Passed),
    ];
    let kinds = steps.iter().map(|step| RunEventKind::StepFinished(Arc::new(step.clone())));
    let events: Vec<_> =
        kinds.zip(2..).map(|(kind, seq)| RunEvent { seq, execution_id: execution.id, time: time(0), kind }).collect();
    tell(&store, &mut execution, &events).await;
    let cases = [("1", Some(1)), ("4", Some(4)), ("5", None), ("same", Some(2)), ("last", Some(4)), ("Same", None)];
    for (name, expect) in cases {
        let found = store.step(execution.id, name).await.unwrap();
        assert_eq!(found.as_ref().map(|step| step.ordinal), expect, "{name}");
        assert!(found.is_none_or(|step| steps.contains(&step)), "{name}");
    }
}

async fn events_resume_after_every_seq(store: Store) {
    let (execution, events) = finished(&store, 0, 4).await;
    let all = store.events(execution.id, 0).await.unwrap();
    assert!(matches!(&all[0].kind, RunEventKind::Queued(first) if first.status == ExecutionStatus::Queued));
    assert_eq!(all[1..], events);
    for after in 0..=all.len() {
        let rest = store.events(execution.id, after as u64).await.unwrap();
        assert_eq!(rest, all[after..], "after {after}");
    }
    assert!(store.events(execution.id, u64::MAX).await.unwrap().is_empty());
    assert!(store.events(ExecutionId::generate(&SystemClock), 0).await.unwrap().is_empty());
}

async fn filters_narrow_the_list(store: Store) {
    let first = queued(0);
    insert(&store, &first).await;
    let second = Execution { trigger: Trigger::Schedule, schedule_id: Some(first.id.as_uuid()), ..queued(10) };
    insert(&store, &second).await;
    let (third, _) = finished(&store, 20, 6).await;
    let names: HashMap<ExecutionId, i32> = [(first.id, 1), (second.id, 2), (third.id, 3)].into();
    let none = ExecutionFilter::default;
    let cases = [
        (none(), vec![3, 2, 1]),
        (ExecutionFilter { flow_id: second.flow_id, ..none() }, vec![2]),
        (ExecutionFilter { flow_id: second.flow_id, status: Some(ExecutionStatus::Passed), ..none() }, vec![]),
        (ExecutionFilter { status: Some(ExecutionStatus::Queued), ..none() }, vec![2, 1]),
        (ExecutionFilter { status: Some(ExecutionStatus::Error), ..none() }, vec![3]),
        (ExecutionFilter { trigger: Some(Trigger::Schedule), ..none() }, vec![2]),
        (ExecutionFilter { schedule_id: second.schedule_id, ..none() }, vec![2]),
        (ExecutionFilter { since: Some(time(10)), ..none() }, vec![3, 2]),
        (ExecutionFilter { until: Some(time(10)), ..none() }, vec![1]),
        (ExecutionFilter { since: Some(time(5)), until: Some(time(20)), ..none() }, vec![2]),
    ];
    for (filter, expect) in cases {
        let page = store.list(&filter, PageRequest { limit: 10, after: None }).await.unwrap();
        let found: Vec<_> = page.items.iter().map(|execution| names[&execution.id]).collect();
        assert_eq!(found, expect, "{filter:?}");
        assert!(page.items.iter().all(|item| item.definition.is_none() && item.steps.is_none()));
    }
}

async fn pages_cover_the_list_newest_first(store: Store) {
    let mut expect = Vec::new();
    for number in 0..7 {
        // Pairs share a time, so that the id has to break the tie.
        let execution = queued(number / 2);
        insert(&store, &execution).await;
        expect.push(execution);
    }
    expect.sort_by_key(|execution| std::cmp::Reverse((execution.queued_at, execution.id)));
    for limit in [1, 2, 3, 7, 8] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(&ExecutionFilter::default(), PageRequest { limit, after }).await.unwrap();
            seen.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, expect, "limit {limit}");
    }
}

fn key(name: &str, hash: &str, execution: &Execution, at: i64) -> KeyRow {
    KeyRow {
        key: name.to_owned(),
        request_hash: hash.to_owned(),
        execution_id: execution.id,
        created_at: Stamp(time(at)),
    }
}

async fn submit(store: &Store, rows: Vec<(Execution, KeyRow)>, expired: i64) -> Committed {
    let mut batch = Batch::default();
    for (execution, key) in rows {
        batch.inserts.push(InsertRow::new(&execution, TEXT.to_owned(), None));
        batch.keys.push(key);
    }
    store.write(&batch, time(expired)).await.unwrap()
}

async fn key_belongs_to_its_first_request_until_it_expires(store: Store) {
    let (first, second, third) = (queued(0), queued(1), queued(2));
    let done = submit(&store, vec![(first.clone(), key("k", "hash", &first, 0))], -10).await;
    assert!(done.inserted.contains(&first.id));
    let done = submit(&store, vec![(second.clone(), key("k", "other", &second, 5))], -5).await;
    assert!(done.inserted.is_empty());
    let owner = &done.key_owners["k"];
    assert_eq!((owner.execution_id, owner.request_hash.as_str()), (first.id, "hash"));
    assert_eq!(store.find(second.id).await.unwrap(), None);
    let owner = store.key_owner("k", time(-5)).await.unwrap().unwrap();
    assert_eq!(owner.execution_id, first.id);
    assert!(store.key_owner("k", time(1)).await.unwrap().is_none());
    let done = submit(&store, vec![(third.clone(), key("k", "new", &third, 10))], 5).await;
    assert!(done.inserted.contains(&third.id));
    store.forget_keys(time(11)).await.unwrap();
    assert!(store.key_owner("k", time(-100)).await.unwrap().is_none());
}

async fn equal_keys_of_one_batch_have_one_owner(store: Store) {
    let (first, second) = (queued(0), queued(1));
    let rows = vec![(first.clone(), key("k", "hash", &first, 0)), (second.clone(), key("k", "hash", &second, 0))];
    let done = submit(&store, rows, -10).await;
    assert_eq!(done.inserted, [first.id].into());
    assert_eq!(done.key_owners["k"].execution_id, first.id);
}

async fn nul_in_a_text_spoils_no_batch(store: Store) {
    let execution = Execution { flow_name: "a\u{0}b".to_owned(), ..queued(0) };
    let row = InsertRow::new(&execution, "name: \u{0}".to_owned(), Some(json!({"x": "\u{0}"}).to_string()));
    write(&store, Batch { inserts: vec![row], ..Batch::default() }).await;
    let found = store.find(execution.id).await.unwrap().unwrap();
    assert_eq!((found.flow_name.as_str(), found.definition.as_deref()), ("a\u{fffd}b", Some("name: \u{fffd}")));
    assert_eq!(found.variables, execution.variables);
}
