//! Repositories whose work is timed where it is done, whoever calls them and from where.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use testmesh_runner::event::RunEvent;
use testmesh_runner::record::{Batch, Execution, StepRecord};
use testmesh_runner::repository::{ExecutionFilter, ExecutionRepository, RepositoryError};
use testmesh_shared::ids::{BatchId, ExecutionId, FlowId};
use testmesh_shared::page::{Page, PageRequest};
use testmesh_storage::{
    FlowEdit, FlowFilter, FlowRepository, FlowSummary, FlowVersion, NewFlow, StorageError, StoredFlow,
};

/// What the last call took. Clones look at the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    nanoseconds: Arc<AtomicU64>,
}

impl Watch {
    /// The work of the last call that came to its end.
    pub(crate) fn last(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Acquire))
    }

    async fn time<T>(&self, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let done = work.await;
        let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.store(took, Ordering::Release);
        done
    }
}

/// A repository under watch. What it adds to a call is what any repository behind a trait does: one dynamic dispatch.
pub(crate) struct Watched<R: ?Sized> {
    pub(crate) inner: Arc<R>,
    pub(crate) watch: Watch,
}

#[async_trait]
impl FlowRepository for Watched<dyn FlowRepository> {
    async fn create(&self, flow: NewFlow) -> Result<StoredFlow, StorageError> {
        self.watch.time(self.inner.create(flow)).await
    }

    async fn find(&self, id: FlowId) -> Result<Option<StoredFlow>, StorageError> {
        self.watch.time(self.inner.find(id)).await
    }

    async fn find_by_name(&self, name: &str) -> Result<Option<StoredFlow>, StorageError> {
        self.watch.time(self.inner.find_by_name(name)).await
    }

    async fn list(&self, filter: &FlowFilter, page: PageRequest) -> Result<Page<FlowSummary>, StorageError> {
        self.watch.time(self.inner.list(filter, page)).await
    }

    async fn update(&self, id: FlowId, edit: FlowEdit) -> Result<Option<StoredFlow>, StorageError> {
        self.watch.time(self.inner.update(id, edit)).await
    }

    async fn delete(&self, id: FlowId, expected: Option<u32>) -> Result<bool, StorageError> {
        self.watch.time(self.inner.delete(id, expected)).await
    }

    async fn versions(&self, id: FlowId) -> Result<Option<Vec<FlowVersion>>, StorageError> {
        self.watch.time(self.inner.versions(id)).await
    }

    async fn version(&self, id: FlowId, version: u32) -> Result<Option<FlowVersion>, StorageError> {
        self.watch.time(self.inner.version(id, version)).await
    }
}

#[async_trait]
impl ExecutionRepository for Watched<dyn ExecutionRepository> {
    async fn find(&self, id: ExecutionId) -> Result<Option<Execution>, RepositoryError> {
        self.watch.time(self.inner.find(id)).await
    }

    async fn list(&self, filter: &ExecutionFilter, page: PageRequest) -> Result<Page<Execution>, RepositoryError> {
        self.watch.time(self.inner.list(filter, page)).await
    }

    async fn batch(&self, id: BatchId) -> Result<Option<Batch>, RepositoryError> {
        self.watch.time(self.inner.batch(id)).await
    }

    async fn step(&self, id: ExecutionId, step: &str) -> Result<Option<StepRecord>, RepositoryError> {
        self.watch.time(self.inner.step(id, step)).await
    }

    async fn events(&self, id: ExecutionId, after: u64) -> Result<Vec<RunEvent>, RepositoryError> {
        self.watch.time(self.inner.events(id, after)).await
    }
}
