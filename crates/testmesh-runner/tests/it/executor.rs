//! The executor: what is accepted, how it runs, what those who wait and follow are told.

use std::time::Duration;

use futures::StreamExt;
use indexmap::IndexMap;
use serde_json::json;
use testmesh_runner::event::RunEvent;
use testmesh_runner::executor::{Cancelled, Definition, Executor, Idempotency, NewRun, SubmitError};
use testmesh_runner::record::{ExecutionStatus, Phase, StepStatus};
use testmesh_shared::clock::SystemClock;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::{EnvironmentId, ExecutionId, FlowId, WriteId};
use testmesh_storage::{FlowEdit, FlowHeader, NewEnvironment, NewFlow};

use crate::server::{LOG, LONG, PATIENCE, Server, inline};

/// Each function on an executor of its own, on every engine.
macro_rules! contract {
    ($($name:ident,)*) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    let dir = tempfile::tempdir().unwrap();
                    super::$name(super::Server::open(dir.path(), 4, 100).await).await;
                }
            )*
        }

        mod on_postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    if let Some(shared) = crate::server::Shared::create().await {
                        super::$name(shared.open(4, None).await).await;
                    }
                }
            )*
        }

        mod remote_on_sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    let dir = tempfile::tempdir().unwrap();
                    super::$name(super::Server::open(dir.path(), 4, 100).await.remote().await).await;
                }
            )*
        }

        mod remote_on_postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    if let Some(shared) = crate::server::Shared::create().await {
                        super::$name(shared.open(4, None).await.remote().await).await;
                    }
                }
            )*
        }
    };
}

contract! {
    submitted_run_is_stored_before_it_is_acknowledged_and_ends_stored,
    failed_assertion_fails_the_run,
    stored_flow_runs_in_the_version_asked_for_with_its_environment,
    what_cannot_run_is_refused_with_the_reason,
    events_resume_after_every_seq_without_gap_or_duplicate,
    every_follower_of_a_long_story_hears_all_of_it,
    run_too_large_to_keep_in_memory_is_complete_when_waited_for,
    cancelling_a_running_run_stops_it_and_runs_its_teardown,
    flows_with_one_lock_never_overlap,
    a_data_driven_flow_runs_with_the_row_it_is_given,
    one_key_gives_one_run,
    one_id_gives_one_run,
    waiting_ends_with_the_time_given,
    many_small_runs_all_end_once,
}

async fn collect(executor: &dyn Executor, id: ExecutionId, after: u64) -> Vec<RunEvent> {
    let events = executor.events(id, after).await.unwrap().unwrap();
    tokio::time::timeout(PATIENCE, events.collect()).await.expect("the stream ends with the run")
}

fn wire(events: &[RunEvent]) -> Vec<serde_json::Value> {
    events.iter().map(|event| serde_json::to_value(event).unwrap()).collect()
}

async fn submitted_run_is_stored_before_it_is_acknowledged_and_ends_stored(server: Server) {
    let accepted = server.submit(LOG).await;
    assert_eq!((accepted.status, accepted.flow_name.as_str()), (ExecutionStatus::Queued, "log"));
    assert!(server.executions.find(accepted.id).await.unwrap().is_some());
    let execution = server.finished(accepted.id).await;
    assert_eq!(execution.status, ExecutionStatus::Passed);
    assert_eq!((execution.total_steps, execution.passed_steps), (1, 1));
    assert_eq!(execution.definition.as_deref(), Some(LOG));
    let steps = execution.steps.unwrap();
    assert_eq!((steps.len(), steps[0].id.as_str(), steps[0].logs[0].message.as_str()), (1, "one", "hello"));
}

async fn failed_assertion_fails_the_run(server: Server) {
    let yaml = "name: f\nsteps:\n  - {action: assert, config: {data: {n: 1}, assertions: [n == 2]}}\n";
    let id = server.submit(yaml).await.id;
    let execution = server.finished(id).await;
    assert_eq!((execution.status, execution.failed_steps), (ExecutionStatus::Failed, 1));
}

async fn stored_flow_runs_in_the_version_asked_for_with_its_environment(server: Server) {
    let id = FlowId::generate(&SystemClock);
    let header = || FlowHeader { name: "greet".to_owned(), description: None, suite: None, tags: Vec::new() };
    let text = |word: &str| {
        format!("name: greet\nsteps:\n  - action: log\n    config: {{message: '{word} ${{WHO}} ${{HOW}}'}}\n")
    };
    server.flows.create(NewFlow { id, header: header(), yaml: text("hello") }).await.unwrap();
    let write = WriteId::generate(&SystemClock);
    let edit = FlowEdit { write, header: header(), yaml: text("goodbye"), expected: None };
    server.flows.update(id, edit).await.unwrap();
    let variables: IndexMap<_, _> = [("WHO".to_owned(), json!("world"))].into();
    let environment = NewEnvironment { name: "here".to_owned(), description: None, variables };
    server.environments.create(EnvironmentId::generate(&SystemClock), environment).await.unwrap();
    for (version, expect) in [(None, "goodbye world 7"), (Some(1), "hello world 7"), (Some(2), "goodbye world 7")] {
        let run = NewRun {
            definition: Definition::Stored { flow_id: id, version },
            environment: Some("here".to_owned()),
            variables: [("HOW".to_owned(), json!(7))].into(),
            ..inline("")
        };
        let accepted = server.executor.submit(run).await.unwrap();
        let execution = server.finished(accepted.id).await;
        assert_eq!(execution.steps.unwrap()[0].logs[0].message, expect);
        assert_eq!((execution.flow_id, execution.flow_version), (Some(id), version.or(Some(2))));
    }
    let missing = NewRun { definition: Definition::Stored { flow_id: id, version: Some(3) }, ..inline("") };
    assert!(matches!(server.refused(missing).await, SubmitError::VersionNotFound(_, 3)));
}

async fn what_cannot_run_is_refused_with_the_reason(server: Server) {
    let flow_id = FlowId::generate(&SystemClock);
    let cases = [
        (
            NewRun { definition: Definition::Stored { flow_id, version: None }, ..inline("") },
            ErrorCode::FlowNotFound,
            "does not exist",
        ),
        (
            NewRun { environment: Some("nowhere".to_owned()), ..inline(LOG) },
            ErrorCode::InvalidRequest,
            "environment `nowhere`",
        ),
        (inline("name: f\nsteps: [{action: nonsense}]"), ErrorCode::InvalidFlow, "mistakes"),
        (inline(&format!("{LOG}---\n{LOG}")), ErrorCode::InvalidFlow, "mistakes"),
        (inline(&format!("{LOG}data: [{{a: 1}}]\n")), ErrorCode::InvalidRequest, "command line"),
        (inline(&format!("{LOG}env_file: .env\n")), ErrorCode::InvalidRequest, "env_file"),
        (inline(&format!("{LOG}input: {{who: {{required: true}}}}\n")), ErrorCode::InvalidRequest, "`who`"),
    ];
    for (run, code, text) in cases {
        let id = run.id;
        let error = server.refused(run).await;
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(server.executions.find(id).await.unwrap(), None);
    }
}

async fn events_resume_after_every_seq_without_gap_or_duplicate(server: Server) {
    let yaml = "name: f\nsteps:\n  - {action: log, config: {message: a}}\n  - {action: delay, config: {duration: 120ms}}\n  - {action: log, config: {message: b}}\n";
    let id = server.submit(yaml).await.id;
    let live = collect(&*server.executor, id, 0).await;
    let seqs: Vec<u64> = live.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=live.len() as u64).collect::<Vec<_>>());
    let types: Vec<_> = wire(&live).iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!((types[0].as_str(), types[1].as_str()), ("execution.queued", "execution.started"));
    assert_eq!(types.last().unwrap(), "execution.finished");
    for after in 0..=live.len() {
        let resumed = collect(&*server.executor, id, after as u64).await;
        assert_eq!(wire(&resumed), wire(&live[after..]), "after {after}");
    }
    assert!(server.executor.events(ExecutionId::generate(&SystemClock), 0).await.unwrap().is_none());
}

async fn every_follower_of_a_long_story_hears_all_of_it(server: Server) {
    let steps = (0..150).map(|n| format!("  - {{id: s{n}, action: log, config: {{message: '{}'}}}}", "x".repeat(2000)));
    let steps = steps.collect::<Vec<_>>().join("\n");
    let id = server.submit(&format!("name: f\nsteps:\n{steps}\n")).await.id;
    let followers = (0..6_u64).map(|n| collect(&*server.executor, id, n * 40));
    let told = futures::future::join_all(followers).await;
    let stored = server.executions.events(id, 0).await.unwrap();
    assert_eq!(stored.len(), 1 + 1 + 150 * 3 + 1);
    for (n, told) in told.iter().enumerate() {
        assert_eq!(wire(told), wire(&stored[n * 40..]), "follower {n}");
    }
}

async fn run_too_large_to_keep_in_memory_is_complete_when_waited_for(server: Server) {
    let steps = (0..60).map(|n| format!("  - {{id: s{n}, action: log, config: {{message: '{n} ${{BIG}}'}}}}"));
    let steps = steps.collect::<Vec<_>>().join("\n");
    let run = NewRun {
        variables: [("BIG".to_owned(), json!("x".repeat(100_000)))].into(),
        ..inline(&format!("name: f\nsteps:\n{steps}\n"))
    };
    let id = server.executor.submit(run).await.unwrap().id;
    let execution = server.finished(id).await;
    assert_eq!((execution.status, execution.passed_steps), (ExecutionStatus::Passed, 60));
    let steps = execution.steps.unwrap();
    assert!(steps.iter().zip(0..).all(|(step, n)| step.logs[0].message.starts_with(&format!("{n} xxx"))));
    assert!(steps.iter().all(|step| step.logs[0].message.len() > 100_000));
}

async fn cancelling_a_running_run_stops_it_and_runs_its_teardown(server: Server) {
    let id = server.submit(LONG).await.id;
    server.reached(id, "step.started").await;
    assert_eq!(server.executor.cancel(id).await.unwrap(), Cancelled::Requested);
    let execution = server.finished(id).await;
    assert_eq!(execution.status, ExecutionStatus::Cancelled);
    let steps = execution.steps.unwrap();
    let ends: Vec<_> = steps.iter().map(|step| (step.id.as_str(), step.phase, step.status)).collect();
    assert_eq!(ends, [("sleep", Phase::Main, StepStatus::Cancelled), ("clean", Phase::Teardown, StepStatus::Passed)]);
    assert_eq!(server.executor.cancel(id).await.unwrap(), Cancelled::AlreadyFinished);
    assert_eq!(server.executor.cancel(ExecutionId::generate(&SystemClock)).await.unwrap(), Cancelled::NotFound);
}

#[tokio::test]
async fn cancelled_run_that_waits_never_starts() {
    let dir = tempfile::tempdir().unwrap();
    check_cancelled_while_waiting(Server::open(dir.path(), 1, 100).await).await;
}

#[tokio::test]
async fn cancelled_run_that_waits_at_a_remote_runner_never_starts() {
    let dir = tempfile::tempdir().unwrap();
    check_cancelled_while_waiting(Server::open(dir.path(), 1, 100).await.remote().await).await;
}

async fn check_cancelled_while_waiting(server: Server) {
    let first = server.submit(LONG).await.id;
    let second = server.submit(LOG).await.id;
    assert_eq!(server.executor.cancel(second).await.unwrap(), Cancelled::Requested);
    let execution = server.finished(second).await;
    assert_eq!((execution.status, execution.started_at), (ExecutionStatus::Cancelled, None));
    let types: Vec<_> =
        wire(&collect(&*server.executor, second, 0).await).iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["execution.queued", "execution.finished"]);
    server.executor.cancel(first).await.unwrap();
    server.finished(first).await;
}

#[tokio::test]
async fn concurrency_and_queue_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    check_bounds(Server::open(dir.path(), 2, 1).await).await;
}

#[tokio::test]
async fn concurrency_and_queue_of_a_remote_runner_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    check_bounds(Server::open(dir.path(), 2, 1).await.remote().await).await;
}

async fn check_bounds(server: Server) {
    let (a, b) = (server.submit(LONG).await.id, server.submit(LONG).await.id);
    let waits = server.submit(LONG).await.id;
    assert!(matches!(server.refused(inline(LOG)).await, SubmitError::Overloaded(1)));
    server.reached(a, "step.started").await;
    server.reached(b, "step.started").await;
    let waiting = server.executions.find(waits).await.unwrap().unwrap();
    assert_eq!(waiting.status, ExecutionStatus::Queued);
    server.executor.cancel(a).await.unwrap();
    server.reached(waits, "step.started").await;
    for id in [b, waits] {
        server.executor.cancel(id).await.unwrap();
        assert_eq!(server.finished(id).await.status, ExecutionStatus::Cancelled);
    }
}

async fn flows_with_one_lock_never_overlap(server: Server) {
    let yaml = "name: f\nconfig: {lock: shared}\nsteps:\n  - {action: delay, config: {duration: 30ms}}\n";
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(server.submit(yaml).await.id);
    }
    let mut spans = Vec::new();
    for id in ids {
        let execution = server.finished(id).await;
        let step = &execution.steps.unwrap()[0];
        spans.push((step.started_at, i64::try_from(step.duration_ms).unwrap()));
    }
    spans.sort_unstable();
    for pair in spans.windows(2) {
        // Durations are cut to milliseconds.
        assert!(pair[1].0 >= pair[0].0 + chrono::TimeDelta::milliseconds(pair[0].1 - 1), "{spans:?}");
    }
}

async fn a_data_driven_flow_runs_with_the_row_it_is_given(server: Server) {
    let yaml = format!("{LOG}data: [{{word: one}}]\n");
    let run = NewRun { variables: [("word".to_owned(), json!("one"))].into(), data_row: true, ..inline(&yaml) };
    let accepted = server.executor.submit(run).await.unwrap();
    assert_eq!(server.finished(accepted.id).await.status, ExecutionStatus::Passed);
}

fn keyed(yaml: &str, key: &str, hash: &str) -> NewRun {
    NewRun { idempotency: Some(Idempotency { key: key.to_owned(), request_hash: hash.to_owned() }), ..inline(yaml) }
}

async fn one_key_gives_one_run(server: Server) {
    let submissions = (0..8).map(|_| server.executor.submit(keyed(LOG, "key", "hash")));
    let ids: Vec<_> = futures::future::join_all(submissions).await.into_iter().map(|run| run.unwrap().id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    server.finished(ids[0]).await;
    let again = server.executor.submit(keyed(LOG, "key", "hash")).await.unwrap();
    assert_eq!((again.id, again.status), (ids[0], ExecutionStatus::Passed));
    assert!(matches!(server.refused(keyed(LOG, "key", "other")).await, SubmitError::IdempotencyMismatch));
    let other = server.executor.submit(keyed(LOG, "key 2", "hash")).await.unwrap();
    assert_ne!(other.id, ids[0]);
}

async fn one_id_gives_one_run(server: Server) {
    let run = inline(LOG);
    let submissions = (0..4).map(|_| server.executor.submit(run.clone()));
    for accepted in futures::future::join_all(submissions).await {
        assert_eq!(accepted.unwrap().id, run.id);
    }
    server.finished(run.id).await;
    assert_eq!(server.executor.submit(run.clone()).await.unwrap().status, ExecutionStatus::Passed);
    assert_eq!(
        collect(&*server.executor, run.id, 0).await.len(),
        server.executions.events(run.id, 0).await.unwrap().len()
    );
}

async fn waiting_ends_with_the_time_given(server: Server) {
    let id = server.submit(LONG).await.id;
    assert_eq!(server.executor.wait(id, Duration::from_millis(20)).await.unwrap(), None);
    assert_eq!(server.executor.wait(ExecutionId::generate(&SystemClock), PATIENCE).await.unwrap(), None);
    server.executor.cancel(id).await.unwrap();
    server.finished(id).await;
}

async fn many_small_runs_all_end_once(server: Server) {
    let runs = (0..100).map(|_| async {
        let id = server.submit(LOG).await.id;
        server.executor.wait(id, PATIENCE).await.unwrap().unwrap()
    });
    let ended = futures::future::join_all(runs).await;
    assert!(ended.iter().all(|execution| execution.status == ExecutionStatus::Passed));
    let stored = server.executions.events(ended[0].id, 0).await.unwrap();
    assert_eq!(stored.last().unwrap().seq, stored.len() as u64);
}
