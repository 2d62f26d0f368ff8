//! Keeps executions: the schema `executions`.
//!
//! A step's record is stored once: the stored event that ends a step holds its ordinal alone and is made whole again
//! when it is read. All writes are batches of the executor's one writer ([`Batch`]).

mod batch;
mod batches;
mod events;
mod outbox;
mod read;
mod row;
mod schema;
mod session;
mod write;

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use testmesh_shared::db::Db;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::{BatchId, ExecutionId, FlowId};
use testmesh_shared::page::{Page, PageRequest};

use crate::event::RunEvent;
use crate::record::{self, Execution, ExecutionStatus, StepRecord, Trigger};

pub(crate) use batch::{Batch, EventsRow, Fence, FinishRow, HoldRow, InsertRow, KeyRow, OutboxRow, StartRow, StepRow};
pub(crate) use events::StoredEvent;
pub(crate) use outbox::{Attempt, AttemptKey, Message};
pub(crate) use row::QueuedRun;
pub use schema::SCHEMA;
pub(crate) use write::Committed;

/// The executions in `db`, which is of [`SCHEMA`].
pub fn execution_repository(db: &Db) -> Arc<dyn ExecutionRepository> {
    Arc::new(Store::new(db.clone()))
}

/// The statements of the schema `executions`. Clones share the connections.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    db: Db,
}

impl Store {
    pub(crate) fn new(db: Db) -> Self {
        Self { db }
    }
}

/// Runs a statement that changes rows, in a transaction of its own. Gives how many it changed.
macro_rules! change {
    ($db:expr, $statement:expr $(, $value:expr)* $(,)?) => {
        on_db!($db, engine => async {
            let mut tx = engine.begin().await?;
            let done = sqlx::query($statement)$(.bind($value))*.execute(&mut *tx).await?;
            tx.commit().await?;
            Ok::<u64, sqlx::Error>(done.rows_affected())
        }.await)
    };
}
use change;

/// As [`change`], for a statement that gives the ids of the rows that it changed.
macro_rules! change_ids {
    ($db:expr, $statement:expr $(, $value:expr)* $(,)?) => {
        on_db!($db, engine => async {
            let mut tx = engine.begin().await?;
            let ids: Vec<Uuid> = sqlx::query_scalar($statement)$(.bind($value))*.fetch_all(&mut *tx).await?;
            tx.commit().await?;
            Ok::<Vec<Uuid>, sqlx::Error>(ids)
        }.await)
    };
}
use change_ids;

fn failed(operation: impl Into<String>) -> impl FnOnce(sqlx::Error) -> RepositoryError {
    let operation = operation.into();
    move |source| RepositoryError::database(operation, source)
}

/// Which executions to list.
#[derive(Debug, Clone, Default)]
pub struct ExecutionFilter {
    /// Of this batch, whatever the flow.
    pub batch_id: Option<BatchId>,
    /// Of this flow.
    pub flow_id: Option<FlowId>,
    /// In this state.
    pub status: Option<ExecutionStatus>,
    /// Started by this.
    pub trigger: Option<Trigger>,
    /// Started by this schedule.
    pub schedule_id: Option<uuid::Uuid>,
    /// Queued at or after.
    pub since: Option<DateTime<Utc>>,
    /// Queued before.
    pub until: Option<DateTime<Utc>>,
}

/// The executions could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The database did not do what it was asked.
    #[error("{operation}")]
    Database {
        /// What was tried, with its ids.
        operation: String,
        /// What the driver said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The runner is another process, and none answered.
    #[error("{operation}")]
    Unreachable {
        /// What it was asked for.
        operation: String,
        /// What came instead of an answer.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl RepositoryError {
    /// The stable word for it.
    pub fn code(&self) -> ErrorCode {
        match self {
            RepositoryError::Database { .. } | RepositoryError::Unreachable { .. } => ErrorCode::Unavailable,
        }
    }

    pub(crate) fn database(operation: impl Into<String>, source: sqlx::Error) -> Self {
        Self::Database { operation: operation.into(), source: source.into() }
    }
}

/// Reads executions.
#[async_trait]
pub trait ExecutionRepository: Send + Sync {
    /// One execution with its definition and steps (bodies cut as stored).
    async fn find(&self, id: ExecutionId) -> Result<Option<Execution>, RepositoryError>;
    /// A page of executions without definition and steps, newest first.
    async fn list(&self, filter: &ExecutionFilter, page: PageRequest) -> Result<Page<Execution>, RepositoryError>;
    /// A batch with the counts of its executions. ([`ExecutionFilter::batch_id`] lists them.)
    async fn batch(&self, id: BatchId) -> Result<Option<record::Batch>, RepositoryError>;
    /// One step: by ordinal when `step` is a number, else the first with that id (main, then setup, then teardown).
    async fn step(&self, id: ExecutionId, step: &str) -> Result<Option<StepRecord>, RepositoryError>;
    /// Stored events with a greater `seq`, in order.
    async fn events(&self, id: ExecutionId, after: u64) -> Result<Vec<RunEvent>, RepositoryError>;
}

#[cfg(test)]
mod tests;
