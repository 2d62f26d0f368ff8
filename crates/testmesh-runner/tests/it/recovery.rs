//! What the next process finds after this one stopped, in order or by force.

use std::time::Duration;

use testmesh_runner::executor::{NewRun, SubmitError};
use testmesh_runner::record::{ExecutionStatus, StepStatus};
use testmesh_shared::error::ErrorCode;
use tokio::runtime::Runtime;

use crate::server::{LOG, LONG, Server, inline};

/// Runs `life` on a runtime of its own that ends without notice: every task stops where it is, as a killed process does.
fn killed_after<T>(life: impl Future<Output = T>) -> T {
    let runtime = Runtime::new().unwrap();
    let left = runtime.block_on(life);
    drop(runtime);
    left
}

#[test]
fn killed_server_leaves_no_run_running_and_none_lost_from_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let (running, waiting) = killed_after(async {
        let server = Server::open(dir.path(), 1, 10).await;
        let running = server.submit(LONG).await.id;
        server.reached(running, "step.started").await;
        let run = NewRun { variables: [("x".to_owned(), serde_json::json!("y"))].into(), seed: Some(7), ..inline(LOG) };
        (running, server.executor.submit(run).await.unwrap().id)
    });
    killed_after(async {
        let server = Server::open(dir.path(), 1, 10).await;
        let lost = server.finished(running).await;
        assert_eq!(lost.status, ExecutionStatus::Error);
        assert_eq!(lost.error.as_ref().unwrap().code, ErrorCode::Lost);
        assert!(lost.finished_at.is_some());
        assert_eq!(lost.steps.as_ref().unwrap()[0].status, StepStatus::Cancelled);
        let events = server.executions.events(running, 0).await.unwrap();
        assert_eq!(
            events.iter().map(|event| event.seq).collect::<Vec<_>>(),
            (1..=events.len() as u64).collect::<Vec<_>>()
        );
        assert_eq!(serde_json::to_value(events.last().unwrap()).unwrap()["type"], "execution.finished");
        let resumed = server.finished(waiting).await;
        assert_eq!(resumed.status, ExecutionStatus::Passed);
        assert_eq!(resumed.variables["x"], "y");
    });
    killed_after(async {
        let server = Server::open(dir.path(), 1, 10).await;
        assert_eq!(server.finished(running).await.error.unwrap().code, ErrorCode::Lost);
        assert_eq!(server.finished(waiting).await.status, ExecutionStatus::Passed);
    });
}

#[test]
fn draining_lets_runs_end_keeps_the_queue_and_takes_nothing_new() {
    let dir = tempfile::tempdir().unwrap();
    let (short, waiting) = killed_after(async {
        let server = Server::open(dir.path(), 1, 10).await;
        let yaml = "name: f\nsteps:\n  - {action: delay, config: {duration: 150ms}}\n";
        let short = server.submit(yaml).await.id;
        let waiting = server.submit(LOG).await.id;
        let draining = server.handle.drain(Duration::from_secs(20));
        let refusing = async {
            tokio::task::yield_now().await;
            assert!(matches!(server.refused(inline(LOG)).await, SubmitError::Stopping));
        };
        tokio::join!(draining, refusing);
        assert_eq!(server.finished(short).await.status, ExecutionStatus::Passed);
        (short, waiting)
    });
    killed_after(async {
        let server = Server::open(dir.path(), 1, 10).await;
        assert_eq!(server.finished(short).await.status, ExecutionStatus::Passed);
        assert_eq!(server.finished(waiting).await.status, ExecutionStatus::Passed);
    });
}

#[test]
fn draining_cancels_what_does_not_end_in_time_and_runs_its_teardown() {
    let dir = tempfile::tempdir().unwrap();
    let long = killed_after(async {
        let server = Server::open(dir.path(), 1, 10).await;
        let long = server.submit(LONG).await.id;
        server.reached(long, "step.started").await;
        let drained = server.handle.drain(Duration::from_hours(1));
        let hurried = async { server.handle.hurry() };
        tokio::join!(drained, hurried);
        long
    });
    killed_after(async {
        let server = Server::open(dir.path(), 1, 10).await;
        let execution = server.finished(long).await;
        assert_eq!(execution.status, ExecutionStatus::Cancelled);
        let steps = execution.steps.unwrap();
        assert_eq!((steps[1].id.as_str(), steps[1].status), ("clean", StepStatus::Passed));
    });
}
