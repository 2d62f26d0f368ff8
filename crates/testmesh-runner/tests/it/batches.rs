//! Batches: accepted whole, run a few at a time, ended as one, on both engines.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::json;
use testmesh_runner::executor::{BatchSource, Cancelled, Definition, NewBatch, SubmitError};
use testmesh_runner::record::{Batch, ExecutionStatus, Trigger};
use testmesh_runner::repository::ExecutionFilter;
use testmesh_shared::clock::SystemClock;
use testmesh_shared::ids::{BatchId, FlowId};
use testmesh_shared::page::PageRequest;
use testmesh_storage::{FlowHeader, NewFlow};

use crate::server::{PATIENCE, Server, Shared};

macro_rules! contract {
    ($($name:ident,)*) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    let dir = tempfile::tempdir().unwrap();
                    super::$name(super::Server::open(dir.path(), 4, 100).await).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    if let Some(shared) = super::Shared::create().await {
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
                    if let Some(shared) = super::Shared::create().await {
                        super::$name(shared.open(4, None).await.remote().await).await;
                    }
                }
            )*
        }
    };
}

contract! {
    every_row_runs_in_order_with_its_values,
    no_more_run_at_a_time_than_asked_for,
    suite_runs_its_flows_and_shows_those_that_cannot_run,
    cancelled_batch_ends_its_runs_and_starts_no_more,
    what_cannot_be_a_batch_is_refused,
}

fn batch(source: BatchSource, parallelism: u32) -> NewBatch {
    NewBatch {
        id: BatchId::generate(&SystemClock),
        source,
        parallelism,
        variables: IndexMap::new(),
        environment: None,
        env_file: IndexMap::new(),
        seed: None,
        strict: false,
        dry_run: false,
        trigger: Trigger::Api,
        idempotency: None,
    }
}

fn rows(count: usize, step: &str) -> BatchSource {
    let rows = (0..count).map(|n| format!("{{n: {n}}}")).collect::<Vec<_>>().join(", ");
    BatchSource::Flow(Definition::Inline { yaml: format!("name: rows\ndata: [{rows}]\nsteps:\n  - {step}\n") })
}

async fn over(server: &Server, id: BatchId) -> Batch {
    server.executor.wait_batch(id, PATIENCE).await.unwrap().expect("the batch ends")
}

async fn members(server: &Server, id: BatchId) -> Vec<testmesh_runner::record::Execution> {
    let filter = ExecutionFilter { batch_id: Some(id), ..ExecutionFilter::default() };
    let mut items = server.executions.list(&filter, PageRequest { limit: 200, after: None }).await.unwrap().items;
    items.reverse();
    items
}

async fn store(server: &Server, name: &str, yaml: String) {
    let header =
        FlowHeader { name: name.to_owned(), description: None, suite: Some("all".to_owned()), tags: Vec::new() };
    server.flows.create(NewFlow { id: FlowId::generate(&SystemClock), header, yaml }).await.unwrap();
}

async fn every_row_runs_in_order_with_its_values(server: Server) {
    let step = "{action: assert, config: {assertions: ['n != 70', 'common == 1']}}";
    let mut new = batch(rows(150, step), 8);
    new.variables = [("common".to_owned(), json!(1)), ("n".to_owned(), json!("the row's comes first"))].into();
    let accepted = server.executor.submit_batch(new.clone()).await.unwrap();
    assert_eq!((accepted.total, accepted.status), (150, ExecutionStatus::Queued));
    let again = server.executor.submit_batch(new).await.unwrap();
    assert_eq!(again.id, accepted.id);
    let ended = over(&server, accepted.id).await;
    assert_eq!((ended.status, ended.counts.passed, ended.counts.failed), (ExecutionStatus::Failed, 149, 1));
    assert!(ended.finished_at.is_some());
    let members = members(&server, accepted.id).await;
    assert!(
        members.iter().map(|member| &member.variables["n"]).eq((0..150).map(|n| json!(n)).collect::<Vec<_>>().iter())
    );
    assert_eq!(members[70].status, ExecutionStatus::Failed);
    assert_eq!(server.executor.cancel_batch(accepted.id).await.unwrap(), Cancelled::AlreadyFinished);
}

async fn no_more_run_at_a_time_than_asked_for(server: Server) {
    let id =
        server.executor.submit_batch(batch(rows(8, "{action: delay, config: {duration: 40ms}}"), 2)).await.unwrap().id;
    let mut most = 0;
    loop {
        let batch = server.executions.batch(id).await.unwrap().unwrap();
        most = most.max(batch.counts.running);
        if batch.finished_at.is_some() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(most, 2);
}

async fn suite_runs_its_flows_and_shows_those_that_cannot_run(server: Server) {
    let passes = "steps:\n  - {action: log, config: {message: hello}}\n";
    store(&server, "b", format!("name: b\nsuite: all\n{passes}")).await;
    store(&server, "a", format!("name: a\nsuite: all\ndata: [{{x: 1}}, {{x: 2}}]\n{passes}")).await;
    store(&server, "c", format!("name: c\nsuite: all\ninput: {{who: {{required: true}}}}\n{passes}")).await;
    let id = server.executor.submit_batch(batch(BatchSource::Suite("all".to_owned()), 1)).await.unwrap().id;
    let ended = over(&server, id).await;
    assert_eq!(
        (ended.status, ended.total, ended.counts.passed, ended.counts.errors),
        (ExecutionStatus::Error, 4, 3, 1)
    );
    let members = members(&server, id).await;
    assert_eq!(members.iter().map(|member| member.flow_name.as_str()).collect::<Vec<_>>(), ["a", "a", "b", "c"]);
    assert!(members[3].error.as_ref().unwrap().message.contains("`who`"));
}

async fn cancelled_batch_ends_its_runs_and_starts_no_more(server: Server) {
    let new = batch(rows(90, "{id: nap, action: delay, config: {duration: 50s}}"), 2);
    let id = server.executor.submit_batch(new).await.unwrap().id;
    let first = members(&server, id).await[0].id;
    server.reached(first, "step.started").await;
    assert_eq!(server.executor.cancel_batch(id).await.unwrap(), Cancelled::Requested);
    let ended = over(&server, id).await;
    assert_eq!((ended.status, ended.counts.cancelled), (ExecutionStatus::Cancelled, 90));
    let started = members(&server, id).await.iter().filter(|member| member.started_at.is_some()).count();
    assert!(started <= 3, "{started} were started");
    assert_eq!(server.executor.cancel_batch(BatchId::generate(&SystemClock)).await.unwrap(), Cancelled::NotFound);
}

async fn what_cannot_be_a_batch_is_refused(server: Server) {
    let none = server.executor.submit_batch(batch(BatchSource::Suite("none".to_owned()), 1)).await.unwrap_err();
    assert!(matches!(none, SubmitError::SuiteNotFound(_)), "{none}");
    let mistaken = server.executor.submit_batch(batch(rows(2, "{action: nonsense}"), 1)).await.unwrap_err();
    assert!(matches!(mistaken, SubmitError::InvalidFlow(_)), "{mistaken}");
    let still =
        server.executor.submit_batch(batch(rows(2, "{action: log, config: {message: x}}"), 0)).await.unwrap_err();
    assert!(matches!(still, SubmitError::Invalid(_)), "{still}");
    let wait = server.executor.wait_batch(BatchId::generate(&SystemClock), Duration::ZERO).await.unwrap();
    assert_eq!(wait, None);
}

#[test]
fn batch_of_a_killed_process_goes_on_in_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let life = |work: std::pin::Pin<Box<dyn Future<Output = BatchId>>>| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let id = runtime.block_on(work);
        drop(runtime);
        id
    };
    let path = dir.path().to_owned();
    let id = life(Box::pin(async move {
        let server = Server::open(&path, 4, 100).await;
        let nap = "{action: delay, config: {duration: '${n}00ms'}}";
        let id = server.executor.submit_batch(batch(rows(6, nap), 2)).await.unwrap().id;
        let last = members(&server, id).await[2].id;
        server.reached(last, "step.started").await;
        id
    }));
    let path = dir.path().to_owned();
    life(Box::pin(async move {
        let server = Server::open(&path, 4, 100).await;
        let ended = over(&server, id).await;
        assert_eq!(ended.counts.passed + ended.counts.errors, 6, "{ended:?}");
        assert!((1..=2).contains(&ended.counts.errors), "{ended:?}");
        id
    }));
}

#[tokio::test]
async fn batch_goes_on_elsewhere_when_its_process_drains_and_is_seen_and_cancelled_from_anywhere() {
    let Some(shared) = Shared::create().await else { return };
    let (one, two) = (Arc::new(shared.open(4, None).await), shared.open(4, None).await);
    let first =
        one.executor.submit_batch(batch(rows(30, "{action: delay, config: {duration: 60ms}}"), 2)).await.unwrap().id;
    let waited = two.executor.wait_batch(first, PATIENCE);
    let drained = one.handle.drain(PATIENCE);
    let (waited, ()) = tokio::join!(waited, drained);
    assert_eq!(waited.unwrap().unwrap().counts.passed, 30);
    let three = shared.open(4, None).await;
    let second =
        two.executor.submit_batch(batch(rows(10, "{action: delay, config: {duration: 50s}}"), 2)).await.unwrap().id;
    assert_eq!(three.executor.cancel_batch(second).await.unwrap(), Cancelled::Requested);
    let ended = over(&three, second).await;
    assert_eq!((ended.status, ended.counts.cancelled), (ExecutionStatus::Cancelled, 10));
}
