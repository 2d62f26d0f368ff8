//! The contract of the executions' store, on every engine.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use testmesh_shared::clock::SystemClock;
use testmesh_shared::db::{DataFolder, Stamp};
use testmesh_shared::ids::{FlowId, JobId, SessionId};

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
    writes_of_a_session_that_lost_the_run_change_nothing,
    runs_of_dead_sessions_are_taken_once_and_live_ones_are_left,
    attempt_of_a_job_is_taken_once,
    message_is_stored_with_the_end_it_tells_of_and_with_no_other,
    cancelled_run_does_not_start,
    drained_session_gives_its_waiting_runs_away,
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

/// The session that has every run, unless a test says otherwise.
fn session() -> SessionId {
    SessionId::from(uuid::Uuid::from_u128(7))
}

fn fence() -> Fence {
    Fence { session_id: session(), attempt: 1 }
}

fn row(execution: &Execution, text: &str, options: Option<&str>) -> InsertRow {
    InsertRow::new(execution, text.to_owned(), options.map(str::to_owned), session(), None)
}

async fn insert(store: &Store, execution: &Execution) {
    let row = row(execution, TEXT, Some("{}"));
    let done = write(store, Batch { inserts: vec![row], ..Batch::default() }).await;
    assert!(done.inserted.contains(&execution.id));
}

async fn start(store: &Store, id: ExecutionId) -> bool {
    let row = StartRow { id, fence: fence(), started_at: Stamp(time(1)), deadline_at: None };
    write(store, Batch { starts: vec![row], ..Batch::default() }).await.started.contains(&id)
}

fn step(ordinal: u32, id: &str, phase: Phase, status: StepStatus) -> StepRecord {
    let start = StepStart {
        ordinal,
        id: id.to_owned(),
        name: format!("step {id}"),
        action: "log".into(),
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
        action: "log".into(),
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
            batch.finishes.push(FinishRow::new(execution, fence()));
        }
        list.push(stored.event);
    }
    batch.holds.push(HoldRow { id: execution.id, fence: fence() });
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
    let waiting = store.queued(session(), &[execution.id]).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].options.as_deref(), Some("{}"));
    assert_eq!(waiting[0].execution, Execution { steps: None, ..expect });
}

async fn insert_with_a_known_id_changes_nothing(store: Store) {
    let execution = queued(0);
    insert(&store, &execution).await;
    let other = Execution { flow_name: "other".to_owned(), ..execution.clone() };
    let row = row(&other, "another text", None);
    let done = write(&store, Batch { inserts: vec![row], ..Batch::default() }).await;
    assert!(done.inserted.is_empty());
    assert_eq!(store.find(execution.id).await.unwrap().unwrap().flow_name, execution.flow_name);
}

async fn run_is_started_once(store: Store) {
    let execution = queued(0);
    insert(&store, &execution).await;
    assert!(start(&store, execution.id).await);
    assert!(!start(&store, execution.id).await);
    assert_eq!(store.held(session()).await.unwrap(), [(execution.id, ExecutionStatus::Running)]);
    assert!(store.queued(session(), &[execution.id]).await.unwrap().is_empty());
}

async fn finished_run_comes_back_with_its_steps_and_events(store: Store) {
    for row in [1, 2, 6] {
        let (execution, events) = finished(&store, 0, row).await;
        assert_eq!(store.find(execution.id).await.unwrap().unwrap(), execution, "{row} events a row");
        assert_eq!(store.events(execution.id, 1).await.unwrap(), events, "{row} events a row");
    }
    assert!(store.held(session()).await.unwrap().is_empty());
}

async fn final_state_never_changes(store: Store) {
    let (execution, _) = finished(&store, 0, 6).await;
    let other = Execution { status: ExecutionStatus::Passed, error: None, ..execution.clone() };
    write(&store, Batch { finishes: vec![FinishRow::new(&other, fence())], ..Batch::default() }).await;
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
    assert!(start(&store, execution.id).await);
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
        batch.inserts.push(row(&execution, TEXT, None));
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
    let row = row(&execution, "name: \u{0}", Some(&json!({"x": "\u{0}"}).to_string()));
    write(&store, Batch { inserts: vec![row], ..Batch::default() }).await;
    let found = store.find(execution.id).await.unwrap().unwrap();
    assert_eq!((found.flow_name.as_str(), found.definition.as_deref()), ("a\u{fffd}b", Some("name: \u{fffd}")));
    assert_eq!(found.variables, execution.variables);
}

async fn writes_of_a_session_that_lost_the_run_change_nothing(store: Store) {
    let mut execution = queued(0);
    insert(&store, &execution).await;
    start(&store, execution.id).await;
    let events = story(execution.id);
    tell(&store, &mut execution, &events[..2]).await;
    let before = store.find(execution.id).await.unwrap();
    let heir = SessionId::generate(&SystemClock);
    let taken = store.take_running(heir, time(2), 10).await.unwrap();
    assert_eq!(taken, [execution.id]);
    tell(&store, &mut execution, &events[2..]).await;
    assert!(!start(&store, execution.id).await);
    assert_eq!(store.find(execution.id).await.unwrap(), before);
    for fence in [Fence { session_id: heir, attempt: 2 }, fence()] {
        let finish = FinishRow::new(&execution, fence);
        assert!(write(&store, Batch { finishes: vec![finish], ..Batch::default() }).await.held.is_empty());
    }
    let finish = FinishRow::new(&execution, Fence { session_id: heir, attempt: 1 });
    assert!(write(&store, Batch { finishes: vec![finish], ..Batch::default() }).await.held.contains(&execution.id));
}

async fn runs_of_dead_sessions_are_taken_once_and_live_ones_are_left(store: Store) {
    let lease = std::time::Duration::from_secs(15);
    let (running, waiting) = (queued(0), queued(1));
    for execution in [&running, &waiting] {
        insert(&store, execution).await;
    }
    start(&store, running.id).await;
    store.open_session(session(), "first", 4, (time(0), lease)).await.unwrap();
    let heir = SessionId::generate(&SystemClock);
    store.open_session(heir, "second", 4, (time(0), lease)).await.unwrap();
    assert!(store.take_running(heir, time(14), 10).await.unwrap().is_empty());
    assert!(store.take_queued(heir, time(14), 10).await.unwrap().is_empty());
    if store.is_shared() {
        assert!(store.renew_session(session(), time(10), lease).await.unwrap());
        assert!(store.take_running(heir, time(24), 10).await.unwrap().is_empty());
        assert!(!store.renew_session(session(), time(25), lease).await.unwrap(), "a dead session stays dead");
    } else {
        store.close_other_sessions(heir).await.unwrap();
    }
    store.forget_sessions(time(25)).await.unwrap();
    assert_eq!(store.take_running(heir, time(25), 10).await.unwrap(), [running.id]);
    let queued = store.take_queued(heir, time(25), 10).await.unwrap();
    assert_eq!(queued.iter().map(|queued| queued.execution.id).collect::<Vec<_>>(), [waiting.id]);
    assert_eq!(store.held(heir).await.unwrap().len(), 2);
}

async fn attempt_of_a_job_is_taken_once(store: Store) {
    let job = JobId::generate(&SystemClock);
    let attempt = |number| Execution { job_id: Some(job.as_uuid()), attempt: number, ..queued(0) };
    let (first, again, second) = (attempt(1), attempt(1), attempt(2));
    let inserts = [&first, &again, &second].map(|execution| row(execution, TEXT, None)).into();
    let done = write(&store, Batch { inserts, ..Batch::default() }).await;
    assert_eq!(done.inserted, [first.id, second.id].into());
    let keys = [1, 2, 3].map(|attempt| AttemptKey { job_id: job, attempt });
    let mut found = store.attempts(&keys).await.unwrap();
    found.sort_by_key(|attempt| attempt.key.attempt);
    let found: Vec<_> = found.iter().map(|attempt| (attempt.key, attempt.execution_id, attempt.status)).collect();
    let expect = [(keys[0], first.id, ExecutionStatus::Queued), (keys[1], second.id, ExecutionStatus::Queued)];
    assert_eq!(found, expect);
}

async fn message_is_stored_with_the_end_it_tells_of_and_with_no_other(store: Store) {
    let (execution, other) = (queued(0), queued(1));
    insert(&store, &execution).await;
    insert(&store, &other).await;
    let message = |execution: &Execution| OutboxRow {
        execution_id: execution.id,
        topic: "run-finished",
        payload: format!("{{\"of\": \"{}\", \"nul\": \"\\u0000\"}}", execution.id),
        created_at: Stamp(time(3)),
    };
    let stranger = Fence { session_id: SessionId::generate(&SystemClock), attempt: 1 };
    let batch = || Batch {
        finishes: vec![FinishRow::new(&execution, fence()), FinishRow::new(&other, stranger)],
        outbox: vec![message(&execution), message(&other)],
        ..Batch::default()
    };
    // As queued: what matters is that the rows are changed.
    let done = write(&store, batch()).await;
    assert_eq!(done.messages.len(), 1);
    let found = store.unpublished(time(4), 10).await.unwrap();
    assert_eq!((found.len(), found[0].payload.as_str()), (1, message(&execution).payload.as_str()));
    assert!(store.unpublished(time(3), 10).await.unwrap().is_empty());
    store.forget_messages(&[found[0].seq]).await.unwrap();
    assert!(store.unpublished(time(4), 10).await.unwrap().is_empty());
}

async fn cancelled_run_does_not_start(store: Store) {
    let (waiting, running) = (queued(0), queued(1));
    for execution in [&waiting, &running] {
        insert(&store, execution).await;
    }
    start(&store, running.id).await;
    let caller = SessionId::generate(&SystemClock);
    assert_eq!(store.request_cancel(waiting.id, session()).await.unwrap(), Some(ExecutionStatus::Queued));
    assert!(!start(&store, waiting.id).await);
    assert_eq!(store.request_cancel(running.id, caller).await.unwrap(), Some(ExecutionStatus::Running));
    assert_eq!(store.held(session()).await.unwrap().len(), 2);
    assert_eq!(store.cancelled(session()).await.unwrap().len(), 2);
    assert!(store.is_cancel_requested(running.id).await.unwrap());
    assert_eq!(store.request_cancel(ExecutionId::generate(&SystemClock), caller).await.unwrap(), None);
}

async fn drained_session_gives_its_waiting_runs_away(store: Store) {
    let (waiting, running, ahead) = (queued(0), queued(1), queued(2));
    let lease = std::time::Duration::from_secs(15);
    store.open_session(session(), "first", 4, (time(0), lease)).await.unwrap();
    for execution in [&waiting, &running, &ahead] {
        insert(&store, execution).await;
    }
    for id in [running.id, ahead.id] {
        start(&store, id).await;
    }
    store.drain_session(session(), &[ahead.id]).await.unwrap();
    let held: Vec<_> = store.held(session()).await.unwrap().into_iter().map(|(id, _)| id).collect();
    let heir = SessionId::generate(&SystemClock);
    let taken = store.take_queued(heir, time(1), 10).await.unwrap();
    let taken: Vec<_> = taken.iter().map(|queued| queued.execution.id).collect();
    if store.is_shared() {
        assert_eq!((held, taken), (vec![running.id], vec![waiting.id, ahead.id]));
    } else {
        // There is nobody else: what waits, waits for the next process.
        assert_eq!((held.len(), taken), (2, vec![ahead.id]));
    }
}
