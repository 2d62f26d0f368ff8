//! What is sent comes back the same, also through the release before and the release after.

use chrono::DateTime;
use indexmap::IndexMap;
use prost::Message;
use serde_json::{Value as Json, json};
use testmesh_shared::clock::SystemClock;
use testmesh_shared::ids::{BatchId, ExecutionId, FlowId};
use testmesh_shared::page::{PageKey, PageRequest};
use testmesh_storage::StorageError;

use super::*;
use crate::diagnostic::Diagnostic;
use crate::event::RunEvent;
use crate::executor::{BatchSource, Definition, Idempotency, NewBatch, NewRun, SubmitError};
use crate::record::{Batch, Execution, ExecutionStatus, StepRecord, Trigger};
use crate::repository::{ExecutionFilter, RepositoryError};

const ID: &str = "019a0000-0000-7000-8000-000000000000";

fn step() -> Json {
    json!({
        "ordinal": 1, "id": "one", "name": "one", "action": "log", "phase": "main", "parent": null, "iteration": null,
        "line": 3, "status": "failed", "skip_reason": null, "attempt": 2,
        "attempts": [{
            "attempt": 1, "status": "failed", "started_at": "2026-11-22T18:47:17.123Z", "duration_ms": 1, "response": null,
            "assertions": [], "error": null
        }],
        "started_at": "2026-11-22T18:47:17.123Z", "duration_ms": 5, "request": {"b": 1, "a": [1.5, null]},
        "response": "text",
        "assertions": [{
            "expression": "n == 2", "passed": false, "actual": 1, "expected": 2, "message": "no", "line": 4
        }],
        "outputs": {"n": 1},
        "logs": [{"time": "2026-11-22T18:47:17.123Z", "level": "info", "message": "hello", "data": null}],
        "error": {"kind": "assertion", "message": "no"}
    })
}

fn execution() -> Json {
    json!({
        "id": ID, "flow_id": ID, "flow_name": "f", "flow_version": 2, "status": "failed", "trigger": "api",
        "schedule_id": null, "job_id": null, "attempt": 1, "batch_id": null, "environment": "here",
        "variables": {"z": 1, "a": {"deep": true}}, "queued_at": "2026-11-22T18:47:17.123Z",
        "started_at": "2026-11-22T18:47:17.123Z", "finished_at": null, "duration_ms": null, "total_steps": 1,
        "passed_steps": 0, "failed_steps": 1, "skipped_steps": 0, "error": {"code": "lost", "message": "gone"},
        "trace_id": null, "runner": "here", "definition": "name: f", "steps": [step()]
    })
}

fn event() -> Json {
    json!({
        "seq": 7, "execution_id": ID, "time": "2026-11-22T18:47:17.123Z", "type": "step.finished", "data": step()
    })
}

fn batch() -> Json {
    json!({
        "id": ID, "kind": "suite", "name": "all", "flow_id": null, "status": "running", "trigger": "api",
        "schedule_id": null, "job_id": null, "attempt": 1, "environment": null, "parallelism": 2,
        "created_at": "2026-11-22T18:47:17.123Z", "finished_at": null, "total": 3, "queued": 1, "running": 1, "passed": 1,
        "failed": 0, "errors": 0, "cancelled": 0
    })
}

fn mistake() -> Json {
    json!({
        "code": "limit_exceeded", "severity": "error", "message": "too much", "help": null, "line": 1, "column": 1,
        "end_line": 1, "end_column": 2, "snippet": "name: f\n^"
    })
}

/// Adds a field to every object of a record that the program reads as a struct.
fn add_fields(json: &mut Json) {
    // These are the user's, and are kept as they are.
    const FREE: &[&str] = &["variables", "request", "response", "outputs", "actual", "expected"];
    match json {
        Json::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                if !FREE.contains(&name.as_str()) {
                    add_fields(value);
                }
            }
            fields.insert("of_the_next_release".to_owned(), json!({"more": [1]}));
        }
        Json::Array(items) => items.iter_mut().for_each(add_fields),
        _ => {}
    }
}

/// Takes away the fields that say nothing, as an older release does that does not know them.
fn drop_empty(json: &mut Json) {
    match json {
        Json::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_empty);
        }
        Json::Array(items) => items.iter_mut().for_each(drop_empty),
        _ => {}
    }
}

fn check_record<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(written: &Json) {
    let read = |json: &Json| record::<T>(json.to_string().as_bytes()).unwrap();
    let here = read(written);
    assert_eq!(serde_json::from_slice::<Json>(&document(&here).unwrap()).unwrap(), *written);
    let mut later = written.clone();
    add_fields(&mut later);
    assert_eq!(read(&later), here);
}

#[test]
fn records_of_the_next_release_are_read() {
    check_record::<Execution>(&execution());
    check_record::<StepRecord>(&step());
    check_record::<RunEvent>(&event());
    check_record::<Batch>(&batch());
    check_record::<Diagnostic>(&mistake());
}

#[test]
fn records_of_the_release_before_are_read() {
    let mut before = execution();
    // Free values may hold nulls that mean something.
    before["steps"][0]["request"] = Json::Null;
    let here: Execution = record(before.to_string().as_bytes()).unwrap();
    drop_empty(&mut before);
    before.as_object_mut().unwrap().remove("attempt");
    assert_eq!(record::<Execution>(before.to_string().as_bytes()).unwrap(), here);
}

#[test]
fn event_of_a_kind_that_is_not_known_is_left_out_and_counted() {
    let mut unknown = event();
    unknown["type"] = json!("step.dreamt");
    let part = |json: &Json| proto::Event { seq: 7, document: Bytes::from(json.to_string()) };
    let events = proto::Events { events: vec![part(&event()), part(&unknown)] };
    assert_eq!(read_events(&events).count(), 1);
    assert_eq!(events.events.last().unwrap().seq, 7);
}

fn new_run() -> NewRun {
    NewRun {
        id: ExecutionId::generate(&SystemClock),
        definition: Definition::Stored { flow_id: FlowId::generate(&SystemClock), version: Some(3) },
        variables: [("z".to_owned(), json!(1)), ("a".to_owned(), json!({"b": [null, 1.5]}))].into(),
        environment: Some("here".to_owned()),
        env_file: [("Z".to_owned(), "1".to_owned()), ("A".to_owned(), String::new())].into(),
        seed: Some(u64::MAX),
        strict: true,
        dry_run: true,
        data_row: true,
        trigger: Trigger::Cli,
        idempotency: Some(Idempotency { key: "key".to_owned(), request_hash: "hash".to_owned() }),
        trace_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
    }
}

fn new_batch(source: BatchSource) -> NewBatch {
    let run = new_run();
    NewBatch {
        id: BatchId::generate(&SystemClock),
        source,
        parallelism: 7,
        variables: run.variables,
        environment: run.environment,
        env_file: run.env_file,
        seed: None,
        strict: false,
        dry_run: true,
        trigger: Trigger::Schedule,
        idempotency: None,
    }
}

/// A message as the next release sends it, with a field that this one does not know.
fn of_the_next_release(message: &impl Message) -> Vec<u8> {
    let mut bytes = message.encode_to_vec();
    // Field 1000, a number: 1000 << 3 = 8000, as a varint.
    bytes.extend([0xc0, 0x3e, 0x05]);
    bytes
}

#[test]
fn submissions_arrive_as_they_were_sent() {
    let inline = Definition::Inline { yaml: "name: f\n".to_owned() };
    let plain = NewRun {
        definition: inline.clone(),
        variables: IndexMap::new(),
        environment: None,
        idempotency: None,
        trace_id: None,
        ..new_run()
    };
    for run in [new_run(), plain] {
        let sent: proto::SubmitRequest = run.clone().try_into().unwrap();
        let read = proto::SubmitRequest::decode(&of_the_next_release(&sent)[..]).unwrap();
        assert_eq!(format!("{:?}", NewRun::try_from(read).unwrap()), format!("{run:?}"));
    }
    for source in [BatchSource::Suite("all".to_owned()), BatchSource::Flow(inline)] {
        let batch = new_batch(source);
        let sent: proto::SubmitBatchRequest = batch.clone().try_into().unwrap();
        let read = proto::SubmitBatchRequest::decode(&of_the_next_release(&sent)[..]).unwrap();
        assert_eq!(format!("{:?}", NewBatch::try_from(read).unwrap()), format!("{batch:?}"));
    }
}

#[test]
fn questions_for_pages_arrive_as_they_were_sent() {
    let time = |micros| DateTime::from_timestamp_micros(micros).unwrap();
    let uuid = uuid::Uuid::try_parse(ID).unwrap();
    let full = ExecutionFilter {
        batch_id: Some(uuid.into()),
        flow_id: Some(uuid.into()),
        status: Some(ExecutionStatus::Cancelled),
        trigger: Some(Trigger::Manual),
        schedule_id: Some(uuid),
        since: Some(time(1_234_567_890_123_456)),
        until: Some(time(-1)),
    };
    let after = Some(PageKey { created_at: time(1_234_567_890_123_457), id: uuid });
    for (filter, after) in [(full, after), (ExecutionFilter::default(), None)] {
        let page = PageRequest { limit: 50, after };
        let sent = proto::ListExecutionsRequest::of(&filter, page).encode_to_vec();
        let read = proto::ListExecutionsRequest::decode(&sent[..]).unwrap().read().unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", (filter, page)));
    }
}

#[test]
fn request_that_makes_no_sense_is_refused_with_what_is_wrong() {
    let check = |change: fn(&mut proto::SubmitRequest), expect: &str| {
        let mut request: proto::SubmitRequest = new_run().try_into().unwrap();
        change(&mut request);
        let refused = NewRun::try_from(request).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        assert!(refused.message().contains(expect), "{refused}");
    };
    check(|request| request.id = "x".to_owned(), "`x` is not a UUID");
    check(|request| request.definition = None, "no definition");
    check(|request| request.options = None, "no trigger");
    check(|request| request.options.as_mut().unwrap().trigger = 99, "unknown trigger");
    check(|request| request.options.as_mut().unwrap().variables = Bytes::from("[1"), "variables");
}

#[test]
fn errors_come_back_as_they_were() {
    let flow_id = FlowId::generate(&SystemClock);
    let database = || RepositoryError::database("read it", sqlx::Error::PoolTimedOut);
    let errors = [
        SubmitError::FlowNotFound(flow_id),
        SubmitError::VersionNotFound(flow_id, 3),
        SubmitError::UnknownEnvironment("nowhere, für \u{1f600}".to_owned()),
        SubmitError::SuiteNotFound("none".to_owned()),
        SubmitError::DataDriven,
        SubmitError::Invalid("parallelism: must be at least 1".to_owned()),
        SubmitError::IdempotencyMismatch,
        SubmitError::Overloaded(10_000),
        SubmitError::Stopping,
        SubmitError::Storage(StorageError::Database { operation: "find".to_owned(), source: sqlx::Error::PoolClosed }),
        SubmitError::Repository(database()),
    ];
    for error in errors {
        let status = submit_status(&error);
        let kind = failure_of(&status).unwrap();
        let back = submit_error(Failed::Said(kind));
        assert_eq!(std::mem::discriminant(&back), std::mem::discriminant(&error), "{back}");
        assert_eq!((back.code(), back.to_string()), (error.code(), error.to_string()));
    }
    let kind = failure_of(&repository_status(&database())).unwrap();
    let back = repository_error("find it", Failed::Said(kind));
    assert!(matches!(&back, RepositoryError::Database { operation, .. } if operation == "read it"), "{back:?}");
    assert!(crate::executor::recorder::chain(&back).contains("timed out"), "{back:?}");
}

#[test]
fn failure_of_the_next_release_leaves_the_status_to_go_by() {
    let mut status = submit_status(&SubmitError::Stopping);
    let unknown = of_the_next_release(&proto::Failure { kind: None });
    let value = tonic::metadata::MetadataValue::from_bytes(&unknown);
    status.metadata_mut().insert_bin("testmesh-failure-bin", value);
    assert_eq!(failure_of(&status), None);
}

#[test]
fn long_texts_are_cut_to_fit_into_trailers() {
    let status = submit_status(&SubmitError::Invalid("ä".repeat(100_000)));
    let Some(proto::failure::Kind::Invalid(text)) = failure_of(&status) else { panic!("it is told") };
    assert!(text.len() < 3000 && text.ends_with('…'));
}
