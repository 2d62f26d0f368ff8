//! The runner's traits over the wire, with several runners as one.

mod call;
mod follow;
mod peer;
mod pool;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream::BoxStream;
use testmesh_shared::ids::{BatchId, ExecutionId};
use testmesh_shared::internal::{Credentials, Dialer, InvalidTarget, Target};
use testmesh_shared::page::{Page, PageRequest};
use tonic::Status;
use uuid::Uuid;

use self::call::{Answered, Effort};
use self::pool::Pool;
use super::wire::proto::{self, cancel_response::Outcome};
use super::wire::{self, Failed};
use crate::event::RunEvent;
use crate::executor::{Cancelled, Executor, NewBatch, NewRun, SubmitError};
use crate::record::{Batch, Execution, StepRecord};
use crate::repository::{ExecutionFilter, ExecutionRepository, RepositoryError};

/// Time for a read, with all its repetitions.
const READ: Effort = Effort { time: Duration::from_secs(10), patience: Duration::from_secs(3), lasts: false };
/// Time for a submission or a cancellation.
const WRITE: Effort = Effort { time: Duration::from_secs(30), ..READ };
/// Time for a batch, whose flows are all compiled and stored.
const WRITE_BATCH: Effort = Effort { time: Duration::from_mins(1), ..READ };
/// Time for `/readyz`.
const CHECK: Effort = Effort { time: Duration::from_millis(1500), patience: Duration::ZERO, lasts: false };
/// Time for the first event stream to open.
const FOLLOW: Effort = Effort { lasts: true, ..READ };
/// What a wait has beyond its own time.
const WAIT_MARGIN: Duration = Duration::from_secs(10);
/// How long those who wait or follow bear that no runner answers: a restart takes no longer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Runs and batches whose runner is remembered.
const REMEMBERED: u64 = 16_384;
/// For so long: whoever submitted a run has waited for it by then.
const REMEMBERED_FOR: Duration = Duration::from_mins(15);

/// Uses the runners at `targets`, each `http://host:port` or, with certificates, `https://host:port`. Connects in the
/// background, to every address that a name stands for, and keeps on trying.
///
/// # Errors
/// [`InvalidTarget`] names the first target that is none.
pub fn connect(targets: &[String], credentials: &Credentials) -> Result<RemoteRunner, InvalidTarget> {
    let dialer = |url: &String| Target::parse(url, credentials).map(|target| Dialer::new(target, credentials.clone()));
    let dialers = targets.iter().map(dialer).collect::<Result<Vec<_>, _>>()?;
    let remembered = moka::sync::Cache::builder().max_capacity(REMEMBERED).time_to_live(REMEMBERED_FOR).build();
    Ok(RemoteRunner { remote: Arc::new(Remote { pool: Pool::open(dialers, credentials.clone()), remembered }) })
}

/// The runners of other processes.
pub struct RemoteRunner {
    remote: Arc<Remote>,
}

impl RemoteRunner {
    /// What takes runs.
    pub fn executor(&self) -> Arc<dyn Executor> {
        Arc::clone(&self.remote) as _
    }

    /// What reads them.
    pub fn executions(&self) -> Arc<dyn ExecutionRepository> {
        Arc::clone(&self.remote) as _
    }

    /// Whether a runner answers. `Some` notes those that do not.
    ///
    /// # Errors
    /// [`RepositoryError::Unreachable`] when none does.
    pub async fn check(&self) -> Result<Option<String>, RepositoryError> {
        let greet = |mut client: call::Client| async move { client.greet(proto::GreetRequest {}).await };
        let answered = self.remote.pool.call(CHECK, None, greet).await;
        answered.map_err(|failed| wire::repository_error("greet the runner", failed))?;
        Ok(self.remote.pool.note())
    }

    /// Ends the connections.
    pub async fn close(&self) {
        self.remote.pool.close().await;
    }
}

struct Remote {
    pool: Arc<Pool>,
    /// Who accepted a run or batch: there its end is known first.
    remembered: moka::sync::Cache<Uuid, std::net::SocketAddr>,
}

impl Remote {
    fn remember<T>(&self, id: Uuid, answered: Answered<T>) -> T {
        self.remembered.insert(id, answered.lease.address());
        answered.answer
    }
}

/// How long to try a wait of this `timeout`.
fn wait_effort(timeout: Duration) -> Effort {
    Effort { time: timeout.saturating_add(WAIT_MARGIN), patience: PATIENCE, lasts: false }
}

/// The question for the rest of a wait that ends at `end`.
fn wait_request(id: Uuid, end: Option<Instant>, timeout: Duration) -> proto::WaitRequest {
    let left = end.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
    proto::WaitRequest { id: id.to_string(), timeout_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX) }
}

#[async_trait]
impl Executor for Remote {
    async fn submit(&self, run: NewRun) -> Result<Execution, SubmitError> {
        use proto::submit_response::Outcome;
        let id = run.id;
        let request: proto::SubmitRequest = sendable(run.try_into())?;
        let submit = |mut client: call::Client| {
            let request = request.clone();
            async move { client.submit(request).await }
        };
        let answered = self.pool.call(WRITE, None, submit).await.map_err(wire::submit_error)?;
        match self.remember(id.as_uuid(), answered).into_inner().outcome {
            Some(Outcome::Execution(execution)) => wire::record(&execution).map_err(unreadable),
            Some(Outcome::Mistakes(mistakes)) => {
                Err(SubmitError::InvalidFlow(wire::read_mistakes(&mistakes).map_err(unreadable)?))
            }
            None => Err(unreadable(Status::data_loss("an answer of another release"))),
        }
    }

    async fn wait(&self, id: ExecutionId, timeout: Duration) -> Result<Option<Execution>, RepositoryError> {
        let id = id.as_uuid();
        let end = Instant::now().checked_add(timeout);
        let wait = |mut client: call::Client| async move {
            wire::collect_execution(client.wait(wait_request(id, end, timeout)).await?.into_inner()).await
        };
        let answered = self.pool.call(wait_effort(timeout), self.remembered.get(&id), wait).await;
        answered.map(|answered| answered.answer).map_err(failed(|| format!("wait for execution `{id}`")))
    }

    async fn cancel(&self, id: ExecutionId) -> Result<Cancelled, RepositoryError> {
        let id = id.as_uuid();
        let cancel = |mut client: call::Client| async move {
            read_cancelled(client.cancel(proto::CancelRequest { id: id.to_string() }).await?.into_inner())
        };
        let answered = self.pool.call(WRITE, self.remembered.get(&id), cancel).await;
        answered.map(|answered| answered.answer).map_err(failed(|| format!("cancel execution `{id}`")))
    }

    async fn submit_batch(&self, batch: NewBatch) -> Result<Batch, SubmitError> {
        use proto::submit_batch_response::Outcome;
        let id = batch.id;
        let request: proto::SubmitBatchRequest = sendable(batch.try_into())?;
        let submit = |mut client: call::Client| {
            let request = request.clone();
            async move { client.submit_batch(request).await }
        };
        let answered = self.pool.call(WRITE_BATCH, None, submit).await.map_err(wire::submit_error)?;
        match self.remember(id.as_uuid(), answered).into_inner().outcome {
            Some(Outcome::Batch(batch)) => wire::record(&batch).map_err(unreadable),
            Some(Outcome::Mistakes(mistakes)) => {
                Err(SubmitError::InvalidFlow(wire::read_mistakes(&mistakes).map_err(unreadable)?))
            }
            None => Err(unreadable(Status::data_loss("an answer of another release"))),
        }
    }

    async fn wait_batch(&self, id: BatchId, timeout: Duration) -> Result<Option<Batch>, RepositoryError> {
        let id = id.as_uuid();
        let end = Instant::now().checked_add(timeout);
        let wait = |mut client: call::Client| async move {
            let answer = client.wait_batch(wait_request(id, end, timeout)).await?.into_inner().message().await?;
            answer.and_then(|answer| answer.batch).map(|batch| wire::record(&batch)).transpose()
        };
        let answered = self.pool.call(wait_effort(timeout), self.remembered.get(&id), wait).await;
        answered.map(|answered| answered.answer).map_err(failed(|| format!("wait for batch `{id}`")))
    }

    async fn cancel_batch(&self, id: BatchId) -> Result<Cancelled, RepositoryError> {
        let id = id.as_uuid();
        let cancel = |mut client: call::Client| async move {
            read_cancelled(client.cancel_batch(proto::CancelRequest { id: id.to_string() }).await?.into_inner())
        };
        let answered = self.pool.call(WRITE, self.remembered.get(&id), cancel).await;
        answered.map(|answered| answered.answer).map_err(failed(|| format!("cancel batch `{id}`")))
    }

    async fn events(
        &self,
        id: ExecutionId,
        after: u64,
    ) -> Result<Option<BoxStream<'static, RunEvent>>, RepositoryError> {
        let preferred = self.remembered.get(&id.as_uuid());
        let followed = follow::follow(Arc::clone(&self.pool), id, after, FOLLOW, preferred).await;
        followed.map_err(failed(|| format!("follow execution `{id}`")))
    }
}

#[async_trait]
impl ExecutionRepository for Remote {
    async fn find(&self, id: ExecutionId) -> Result<Option<Execution>, RepositoryError> {
        let find = |mut client: call::Client| async move {
            let request = proto::FindRequest { id: id.to_string() };
            wire::collect_execution(client.find_execution(request).await?.into_inner()).await
        };
        let answered = self.pool.call(READ, None, find).await;
        answered.map(|answered| answered.answer).map_err(failed(|| format!("read execution `{id}`")))
    }

    async fn list(&self, filter: &ExecutionFilter, page: PageRequest) -> Result<Page<Execution>, RepositoryError> {
        let request = proto::ListExecutionsRequest::of(filter, page);
        let list = |mut client: call::Client| {
            let request = request.clone();
            async move { wire::collect_list(client.list_executions(request).await?.into_inner()).await }
        };
        let answered = self.pool.call(READ, None, list).await;
        answered.map(|answered| answered.answer).map_err(failed(|| "list executions".to_owned()))
    }

    async fn batch(&self, id: BatchId) -> Result<Option<Batch>, RepositoryError> {
        let find = |mut client: call::Client| async move {
            let answer = client.find_batch(proto::FindRequest { id: id.to_string() }).await?.into_inner();
            answer.batch.map(|batch| wire::record(&batch)).transpose()
        };
        let answered = self.pool.call(READ, None, find).await;
        answered.map(|answered| answered.answer).map_err(failed(|| format!("read batch `{id}`")))
    }

    async fn step(&self, id: ExecutionId, step: &str) -> Result<Option<StepRecord>, RepositoryError> {
        let find = |mut client: call::Client| {
            let request = proto::FindStepRequest { execution_id: id.to_string(), step: step.to_owned() };
            async move {
                let answer = client.find_step(request).await?.into_inner();
                answer.step.map(|step| wire::record(&step)).transpose()
            }
        };
        let answered = self.pool.call(READ, None, find).await;
        answered.map(|answered| answered.answer).map_err(failed(|| format!("read step `{step}` of execution `{id}`")))
    }

    async fn events(&self, id: ExecutionId, after: u64) -> Result<Vec<RunEvent>, RepositoryError> {
        let list = |mut client: call::Client| async move {
            let request = proto::EventsRequest { id: id.to_string(), after };
            wire::collect_events(client.list_events(request).await?.into_inner()).await
        };
        let answered = self.pool.call(READ, None, list).await;
        answered.map(|answered| answered.answer).map_err(failed(|| format!("read events of execution `{id}`")))
    }
}

fn read_cancelled(answer: proto::CancelResponse) -> Result<Cancelled, Status> {
    match answer.outcome() {
        Outcome::Requested => Ok(Cancelled::Requested),
        Outcome::AlreadyFinished => Ok(Cancelled::AlreadyFinished),
        Outcome::NotFound => Ok(Cancelled::NotFound),
        Outcome::Unspecified => Err(Status::data_loss("an outcome of another release")),
    }
}

fn failed(operation: impl Fn() -> String) -> impl FnOnce(Failed) -> RepositoryError {
    move |failed| wire::repository_error(&operation(), failed)
}

/// A request that the runner takes.
fn sendable<M: prost::Message>(request: Result<M, Status>) -> Result<M, SubmitError> {
    let request = request.map_err(|status| SubmitError::Invalid(status.message().to_owned()))?;
    let bytes = request.encoded_len();
    if bytes > wire::MESSAGE_BYTES {
        let limit = wire::MESSAGE_BYTES;
        return Err(SubmitError::Invalid(format!("a submission of {bytes} bytes is larger than {limit} bytes")));
    }
    Ok(request)
}

fn unreadable(status: Status) -> SubmitError {
    SubmitError::Unreachable(status.into())
}
