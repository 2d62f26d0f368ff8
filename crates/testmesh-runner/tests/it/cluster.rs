//! Several runners on one PostgreSQL: who settles what a dead one had, and what one sees of another's runs.

use std::future::Future;
use std::time::Duration;

use futures::StreamExt;
use testmesh_runner::executor::{Cancelled, SubmitError};
use testmesh_runner::record::{ExecutionStatus, Phase, StepStatus};
use testmesh_shared::db::Db;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::ExecutionId;

use crate::server::{LOG, LONG, PATIENCE, Server, Shared};

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
    assert!(matches!(one.refused(crate::server::inline(LOG)).await, SubmitError::Stopping));
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
            if let Ok(execution) = server.executor.submit(crate::server::inline(LOG)).await {
                return execution.id;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let id = tokio::time::timeout(PATIENCE, again).await.unwrap();
    assert_eq!(server.executor.wait(id, PATIENCE).await.unwrap().unwrap().status, ExecutionStatus::Passed);
}
