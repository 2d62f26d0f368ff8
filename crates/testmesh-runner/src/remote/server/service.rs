//! Each method of the service: the request read, the trait asked, the answer written.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use testmesh_shared::ids::{BatchId, ExecutionId};
use testmesh_shared::internal::{CallContext, RELEASE};
use testmesh_shared::tasks::Tasks;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use super::follow::tell;
use crate::executor::{Cancelled, Executor, SubmitError};
use crate::remote::wire::{self, EventParts, ExecutionParts, ListParts, proto};
use crate::repository::{ExecutionRepository, RepositoryError};

/// The longest wait; longer ones would overflow the clock.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// What the service answers with.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) executor: Arc<dyn Executor>,
    pub(super) executions: Arc<dyn ExecutionRepository>,
    pub(super) stopping: CancellationToken,
    pub(super) closing: CancellationToken,
    /// Work that goes on when its caller is gone.
    pub(super) tasks: Tasks,
}

type Answer<T> = Result<Response<T>, Status>;
type Parts<T> = BoxStream<'static, Result<T, Status>>;

impl Served {
    /// Does `work` to its end, even when the caller hangs up meanwhile: a cancelled submission is not half done.
    async fn whole<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, Status> {
        let context = CallContext::current().unwrap_or_else(CallContext::generate);
        let done = self.tasks.spawn(context.scope(work).in_current_span()).await;
        done.map_err(|_| Status::internal("a fault in the runner; its log has the reason"))
    }

    /// What `waiting` comes to, unless this process stops first.
    async fn waited<T>(
        &self,
        timeout: Duration,
        waiting: impl Future<Output = Result<Option<T>, RepositoryError>>,
    ) -> Result<Option<T>, Status> {
        let started = Instant::now();
        // Both are cancel-safe: they only wait.
        tokio::select! {
            ended = waiting => match ended {
                // It was told to stop; nothing is known of what it waited for.
                Ok(None) if self.stopping.is_cancelled() && started.elapsed() < timeout => Err(wire::stopping()),
                ended => ended.map_err(|error| wire::repository_status(&error)),
            },
            () = self.closing.cancelled() => Err(wire::stopping()),
        }
    }
}

#[tonic::async_trait]
impl proto::runner_server::Runner for Served {
    type WaitStream = Parts<proto::ExecutionPart>;
    type WaitBatchStream = Parts<proto::BatchResponse>;
    type FollowStream = Parts<proto::Events>;
    type FindExecutionStream = Parts<proto::ExecutionPart>;
    type ListExecutionsStream = Parts<proto::ExecutionList>;
    type ListEventsStream = Parts<proto::Events>;

    async fn greet(&self, _: Request<proto::GreetRequest>) -> Answer<proto::GreetResponse> {
        Ok(Response::new(proto::GreetResponse { version: RELEASE.to_owned() }))
    }

    async fn submit(&self, request: Request<proto::SubmitRequest>) -> Answer<proto::SubmitResponse> {
        use proto::submit_response::Outcome;
        let run = request.into_inner().try_into()?;
        let executor = Arc::clone(&self.executor);
        let outcome = match self.whole(async move { executor.submit(run).await }).await? {
            Ok(execution) => Outcome::Execution(wire::document(&execution)?),
            Err(SubmitError::InvalidFlow(mistakes)) => Outcome::Mistakes(wire::mistakes(&mistakes)?),
            Err(error) => return Err(wire::submit_status(&error)),
        };
        Ok(Response::new(proto::SubmitResponse { outcome: Some(outcome) }))
    }

    async fn wait(&self, request: Request<proto::WaitRequest>) -> Answer<Self::WaitStream> {
        let request = request.into_inner();
        let id: ExecutionId = wire::id(&request.id)?;
        let timeout = Duration::from_millis(request.timeout_ms).min(LONGEST_WAIT);
        let served = self.clone();
        let ended = async move { served.waited(timeout, served.executor.wait(id, timeout)).await };
        Ok(Response::new(stream::once(ended).map_ok(ExecutionParts::stream).try_flatten().boxed()))
    }

    async fn cancel(&self, request: Request<proto::CancelRequest>) -> Answer<proto::CancelResponse> {
        let id: ExecutionId = wire::id(&request.into_inner().id)?;
        let executor = Arc::clone(&self.executor);
        cancelled(self.whole(async move { executor.cancel(id).await }).await?)
    }

    async fn submit_batch(&self, request: Request<proto::SubmitBatchRequest>) -> Answer<proto::SubmitBatchResponse> {
        use proto::submit_batch_response::Outcome;
        let batch = request.into_inner().try_into()?;
        let executor = Arc::clone(&self.executor);
        let outcome = match self.whole(async move { executor.submit_batch(batch).await }).await? {
            Ok(batch) => Outcome::Batch(wire::document(&batch)?),
            Err(SubmitError::InvalidFlow(mistakes)) => Outcome::Mistakes(wire::mistakes(&mistakes)?),
            Err(error) => return Err(wire::submit_status(&error)),
        };
        Ok(Response::new(proto::SubmitBatchResponse { outcome: Some(outcome) }))
    }

    async fn wait_batch(&self, request: Request<proto::WaitRequest>) -> Answer<Self::WaitBatchStream> {
        let request = request.into_inner();
        let id: BatchId = wire::id(&request.id)?;
        let timeout = Duration::from_millis(request.timeout_ms).min(LONGEST_WAIT);
        let served = self.clone();
        let ended = async move {
            let batch = served.waited(timeout, served.executor.wait_batch(id, timeout)).await?;
            Ok(proto::BatchResponse { batch: batch.as_ref().map(wire::document).transpose()? })
        };
        Ok(Response::new(stream::once(ended).boxed()))
    }

    async fn cancel_batch(&self, request: Request<proto::CancelRequest>) -> Answer<proto::CancelResponse> {
        let id: BatchId = wire::id(&request.into_inner().id)?;
        let executor = Arc::clone(&self.executor);
        cancelled(self.whole(async move { executor.cancel_batch(id).await }).await?)
    }

    async fn follow(&self, request: Request<proto::EventsRequest>) -> Answer<Self::FollowStream> {
        let proto::EventsRequest { id, after } = request.into_inner();
        let events = self.executor.events(wire::id(&id)?, after).await;
        let events = events.map_err(|error| wire::repository_status(&error))?;
        let events = events.ok_or_else(wire::execution_not_found)?;
        Ok(Response::new(tell(events, self.stopping.clone(), self.closing.clone())))
    }

    async fn find_execution(&self, request: Request<proto::FindRequest>) -> Answer<Self::FindExecutionStream> {
        let id: ExecutionId = wire::id(&request.into_inner().id)?;
        let found = self.executions.find(id).await.map_err(|error| wire::repository_status(&error))?;
        Ok(Response::new(ExecutionParts::stream(found)))
    }

    async fn list_executions(
        &self,
        request: Request<proto::ListExecutionsRequest>,
    ) -> Answer<Self::ListExecutionsStream> {
        let (filter, page) = request.into_inner().read()?;
        let page = self.executions.list(&filter, page).await.map_err(|error| wire::repository_status(&error))?;
        Ok(Response::new(ListParts::stream(page)))
    }

    async fn find_batch(&self, request: Request<proto::FindRequest>) -> Answer<proto::BatchResponse> {
        let id: BatchId = wire::id(&request.into_inner().id)?;
        let batch = self.executions.batch(id).await.map_err(|error| wire::repository_status(&error))?;
        let batch = batch.as_ref().map(wire::document).transpose()?;
        Ok(Response::new(proto::BatchResponse { batch }))
    }

    async fn find_step(&self, request: Request<proto::FindStepRequest>) -> Answer<proto::StepResponse> {
        let request = request.into_inner();
        let id: ExecutionId = wire::id(&request.execution_id)?;
        let step = self.executions.step(id, &request.step).await.map_err(|error| wire::repository_status(&error))?;
        let step = step.as_ref().map(wire::document).transpose()?;
        Ok(Response::new(proto::StepResponse { step }))
    }

    async fn list_events(&self, request: Request<proto::EventsRequest>) -> Answer<Self::ListEventsStream> {
        let proto::EventsRequest { id, after } = request.into_inner();
        let events = self.executions.events(wire::id(&id)?, after).await;
        let events = events.map_err(|error| wire::repository_status(&error))?;
        Ok(Response::new(stream::iter(EventParts::new(events)).boxed()))
    }
}

fn cancelled(outcome: Result<Cancelled, RepositoryError>) -> Answer<proto::CancelResponse> {
    use proto::cancel_response::Outcome;
    let outcome = match outcome.map_err(|error| wire::repository_status(&error))? {
        Cancelled::Requested => Outcome::Requested,
        Cancelled::AlreadyFinished => Outcome::AlreadyFinished,
        Cancelled::NotFound => Outcome::NotFound,
    };
    Ok(Response::new(proto::CancelResponse { outcome: outcome.into() }))
}
