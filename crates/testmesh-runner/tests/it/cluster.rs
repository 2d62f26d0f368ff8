//! Several runners on one PostgreSQL: who settles what a dead one had, and what one sees of another's runs.

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use futures::StreamExt;
use testmesh_runner::executor::{Cancelled, SubmitError};
use testmesh_runner::record::{ExecutionStatus, Phase, StepStatus};
use testmesh_shared::db::Db;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::ExecutionId;

use crate::server::{LOG, LONG, PATIENCE, Server, Shared, inline};

/// A server in a runtime of its own, which can be ended like a process that is killed.
struct Doomed {
    runtime: Option<tokio::runtime::Runtime>,
}

impl Doomed {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { runtime: Some(runtime) }
    }

    async fn run<F>(&self, work: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.runtime.as_ref().unwrap().spawn(work).await.unwrap()
    }

    fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A runner with one slot that is taken by a run, behind which another waits.
async fn busy(doomed: &Doomed, shared: &Shared) -> (ExecutionId, ExecutionId) {
    let shared = shared.clone();
    let work = async move {
        let server = Server::leak(shared.open(1, None).await);
        let running = server.submit(LONG).await.id;
        server.reached(running, "step.started").await;
        (running, server.submit(LOG).await.id)
    };
    doomed.run(work).await
}

#[tokio::test]
async fn run_of_a_killed_runner_is_lost_and_what_waited_runs_elsewhere() {
    let Some(shared) = Shared::create().await else { return };
    let mut doomed = Doomed::new();
    let (running, waiting) = busy(&doomed, &shared).await;
    let server = shared.open(4, None).await;
    doomed.kill();
    let lost = server.finished(running).await;
    assert_eq!((lost.status, lost.error.unwrap().code), (ExecutionStatus::Error, ErrorCode::Lost));
    assert_eq!(lost.steps.unwrap()[0].status, StepStatus::Cancelled);
    let events = server.executions.events(running, 0).await.unwrap();
    assert!(events.iter().map(|event| event.seq).eq(1..=events.len() as u64));
    assert_eq!(server.finished(waiting).await.status, ExecutionStatus::Passed);
}

#[tokio::test]
async fn run_of_a_runner_that_stands_still_in_a_transaction_is_lost_all_the_same() {
    let Some(shared) = Shared::create().await else { return };
    let mut doomed = Doomed::new();
    let (running, _) = busy(&doomed, &shared).await;
    let server = shared.open(4, None).await;
    // What a recorder does before it stores something, on a connection like its own; and then nothing more comes.
    let Db::Postgres(engine) = shared.executions().await else { panic!("it is PostgreSQL") };
    let mut still = engine.begin().await.unwrap();
    let hold = "select id from executions.executions where id = $1 for share";
    sqlx::query(hold).bind(running.as_uuid()).execute(&mut *still).await.unwrap();
    doomed.kill();
    let lost = server.finished(running).await;
    assert_eq!((lost.status, lost.error.unwrap().code), (ExecutionStatus::Error, ErrorCode::Lost));
    still.commit().await.unwrap_err();
}

#[tokio::test]
async fn run_of_a_live_runner_is_left_alone() {
    let Some(shared) = Shared::create().await else { return };
    let doomed = Doomed::new();
    let (running, _) = busy(&doomed, &shared).await;
    let server = shared.open(4, None).await;
    let waited = server.executor.wait(running, crate::server::LEASE * 2).await.unwrap();
    assert!(waited.is_none());
    let execution = server.executions.find(running).await.unwrap().unwrap();
    assert_eq!(execution.status, ExecutionStatus::Running);
}

#[tokio::test]
async fn cancelling_reaches_a_run_of_another_process_and_its_teardown_runs() {
    let Some(shared) = Shared::create().await else { return };
    let doomed = Doomed::new();
    let (running, waiting) = busy(&doomed, &shared).await;
    let server = shared.open(1, None).await;
    assert_eq!(server.executor.cancel(waiting).await.unwrap(), Cancelled::Requested);
    let execution = server.executions.find(waiting).await.unwrap().unwrap();
    assert_eq!((execution.status, execution.started_at), (ExecutionStatus::Cancelled, None), "final at once");
    let asked = std::time::Instant::now();
    assert_eq!(server.executor.cancel(running).await.unwrap(), Cancelled::Requested);
    let execution = server.finished(running).await;
    assert!(asked.elapsed() < Duration::from_secs(5), "took {:?}", asked.elapsed());
    assert_eq!(execution.status, ExecutionStatus::Cancelled);
    let steps = execution.steps.unwrap();
    assert_eq!((steps[1].phase, steps[1].status), (Phase::Teardown, StepStatus::Passed));
    assert_eq!(server.executor.cancel(running).await.unwrap(), Cancelled::AlreadyFinished);
}

#[tokio::test]
async fn run_of_a_killed_runner_ends_as_cancelled_when_that_was_asked_for() {
    let Some(shared) = Shared::create().await else { return };
    let mut doomed = Doomed::new();
    let (running, _) = busy(&doomed, &shared).await;
    doomed.kill();
    let server = shared.open(1, None).await;
    assert_eq!(server.executor.cancel(running).await.unwrap(), Cancelled::Requested);
    assert_eq!(server.finished(running).await.status, ExecutionStatus::Cancelled);
}

#[tokio::test]
async fn another_process_follows_a_run_without_gaps_and_resumes_anywhere() {
    let Some(shared) = Shared::create().await else { return };
    let (one, two) = (shared.open(4, None).await, shared.open(4, None).await);
    let steps = (0..40).map(|n| {
        let pause = if n % 10 == 0 { "30ms" } else { "1ms" };
        format!("  - {{action: log, config: {{message: 'line {n}'}}}}\n  - {{action: delay, config: {{duration: {pause}}}}}\n")
    });
    let id = one.submit(&format!("name: f\nsteps:\n{}", steps.collect::<String>())).await.id;
    let resumed = async {
        let mut last = 0;
        let mut seen = Vec::new();
        // Comes back after every third event, as a client does whose connection breaks.
        loop {
            let mut events = two.executor.events(id, last).await.unwrap().unwrap().take(3);
            let before = last;
            while let Some(event) = events.next().await {
                last = event.seq;
                seen.push(event);
            }
            if last == before {
                return seen;
            }
        }
    };
    let whole = async { two.executor.events(id, 0).await.unwrap().unwrap().collect::<Vec<_>>().await };
    let both = async { tokio::join!(resumed, whole, two.executor.wait(id, PATIENCE)) };
    let (resumed, whole, waited) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert_eq!(waited.unwrap().unwrap().status, ExecutionStatus::Passed);
    let stored = one.executions.events(id, 0).await.unwrap();
    assert!(stored.iter().map(|event| event.seq).eq(1..=stored.len() as u64));
    assert_eq!(resumed, stored);
    assert_eq!(whole, stored);
}

#[tokio::test]
async fn draining_hands_waiting_runs_to_others() {
    let Some(shared) = Shared::create().await else { return };
    let (one, two) = (shared.open(1, None).await, shared.open(4, None).await);
    let long = one.submit("name: f\nsteps:\n  - {action: delay, config: {duration: 1500ms}}\n").await.id;
    let waiting = one.submit(LOG).await.id;
    let drained = one.handle.drain(PATIENCE);
    let taken = async {
        let execution = two.finished(waiting).await;
        assert_eq!(execution.status, ExecutionStatus::Passed);
    };
    tokio::join!(drained, taken);
    assert_eq!(two.finished(long).await.status, ExecutionStatus::Passed);
    assert!(matches!(one.refused(inline(LOG)).await, SubmitError::Stopping));
}

#[tokio::test]
async fn run_that_is_being_stored_while_draining_begins_is_handed_to_others() {
    let Some(shared) = Shared::create().await else { return };
    let (one, two) = (shared.open(1, None).await, shared.open(4, None).await);
    let long = one.submit(LONG).await.id;
    one.reached(long, "step.started").await;
    let Db::Postgres(engine) = shared.executions().await else { panic!("it is PostgreSQL") };
    let run = inline(LOG);
    let id = run.id;
    // Somebody else is about to store a run with this id: the server's own statement waits for what comes of it.
    let mut rival = engine.begin().await.unwrap();
    let insert = "insert into executions.executions (id, flow_name, definition_hash, status, trigger_kind, variables, \
                  queued_at, total_steps, passed_steps, failed_steps, skipped_steps) \
                  select $1, flow_name, definition_hash, 'queued', trigger_kind, variables, queued_at, 0, 0, 0, 0 \
                  from executions.executions where id = $2";
    sqlx::query(insert).bind(id.as_uuid()).bind(long.as_uuid()).execute(&mut *rival).await.unwrap();
    let submitted = one.executor.submit(run);
    let taken = async {
        let waits = "select count(*) from pg_locks w join pg_locks h on h.transactionid = w.transactionid and h.granted \
                     where not w.granted and h.pid = pg_backend_pid()";
        wait_for(&mut rival, waits).await;
        let draining = async {
            wait_for(&mut rival, "select count(*) from executions.runner_sessions where draining").await;
            rival.rollback().await.unwrap();
            while two.executions.find(id).await.unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(two.finished(id).await.status, ExecutionStatus::Passed);
            one.handle.hurry();
        };
        tokio::join!(one.handle.drain(PATIENCE), draining);
    };
    let (submitted, ()) = tokio::join!(submitted, taken);
    assert_eq!(submitted.unwrap().id, id);
    assert_eq!(two.finished(long).await.status, ExecutionStatus::Cancelled);
}

/// Waits until a count is not zero.
async fn wait_for(connection: &mut sqlx::PgConnection, count: &'static str) {
    let counted = async {
        while sqlx::query_scalar::<_, i64>(count).fetch_one(&mut *connection).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("it comes to that");
}

#[tokio::test]
async fn cancellation_whose_caller_goes_away_is_carried_out_or_not_begun() {
    let Some(shared) = Shared::create().await else { return };
    let (one, two) = (shared.open(1, None).await, shared.open(1, None).await);
    let long = one.submit(LONG).await.id;
    one.reached(long, "step.started").await;
    let Db::Postgres(engine) = shared.executions().await else { panic!("it is PostgreSQL") };
    // Gone a little later each time, until the answer comes.
    for patience in 1.. {
        let id = one.submit(LOG).await.id;
        let answer = polled(two.executor.cancel(id), patience).await;
        let begun =
            "select count(*) from executions.executions where id = $1 and (cancel_requested or status = 'cancelled')";
        let begun: i64 = sqlx::query_scalar(begun).bind(id.as_uuid()).fetch_one(engine.reader()).await.unwrap();
        if begun > 0 || answer.is_some() {
            assert_eq!(two.finished(id).await.status, ExecutionStatus::Cancelled, "gone after {patience} looks");
        }
        if let Some(answer) = answer {
            assert_eq!(answer.unwrap(), Cancelled::Requested);
            return;
        }
    }
}

/// What comes of `work`, unless that takes more than so many looks: then it is dropped.
async fn polled<T>(work: impl Future<Output = T>, looks: usize) -> Option<T> {
    let (mut work, mut left) = (Box::pin(work), looks);
    let done = std::future::poll_fn(|context| {
        left = left.saturating_sub(1);
        match work.as_mut().poll(context) {
            Poll::Pending if left == 0 => Poll::Ready(None),
            polled => polled.map(Some),
        }
    });
    done.await
}

#[tokio::test]
async fn process_whose_session_died_gives_its_runs_up_and_goes_on_with_another() {
    let Some(shared) = Shared::create().await else { return };
    let server = shared.open(4, None).await;
    let running = server.submit(LONG).await.id;
    server.reached(running, "step.started").await;
    let Db::Postgres(engine) = shared.executions().await else { panic!("it is PostgreSQL") };
    let mut tx = engine.begin().await.unwrap();
    sqlx::query("delete from executions.runner_sessions").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let lost = server.finished(running).await;
    assert_eq!((lost.status, lost.error.unwrap().code), (ExecutionStatus::Error, ErrorCode::Lost));
    let again = async {
        loop {
            if let Ok(execution) = server.executor.submit(inline(LOG)).await {
                return execution.id;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let id = tokio::time::timeout(PATIENCE, again).await.unwrap();
    assert_eq!(server.executor.wait(id, PATIENCE).await.unwrap().unwrap().status, ExecutionStatus::Passed);
}
