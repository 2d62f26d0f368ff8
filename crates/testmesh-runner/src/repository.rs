//! Keeps executions: the schema `executions`.
// SKELETON: owner S implements (private `SqlExecutionRepository` behind `open`), adds what the recorder needs.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::{ExecutionId, FlowId};
use testmesh_shared::page::{Page, PageRequest};

use crate::event::RunEvent;
use crate::record::{Execution, ExecutionStatus, StepRecord, Trigger};

/// Which executions to list.
#[derive(Debug, Clone, Default)]
pub struct ExecutionFilter {
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

/// The database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{operation}")]
pub struct RepositoryError {
    /// What was tried, with its ids.
    pub operation: String,
    /// What the driver said.
    #[source]
    pub source: sqlx::Error,
}

impl RepositoryError {
    /// The stable word for it.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::Unavailable
    }
}

/// Reads executions.
#[async_trait]
pub trait ExecutionRepository: Send + Sync {
    /// One execution with its definition and steps (bodies cut as stored).
    async fn find(&self, id: ExecutionId) -> Result<Option<Execution>, RepositoryError>;
    /// A page of executions without definition and steps, newest first.
    async fn list(&self, filter: &ExecutionFilter, page: PageRequest) -> Result<Page<Execution>, RepositoryError>;
    /// One step: by ordinal when `step` is a number, else the first with that id (main, then setup, then teardown).
    async fn step(&self, id: ExecutionId, step: &str) -> Result<Option<StepRecord>, RepositoryError>;
    /// Stored events with a greater `seq`, in order.
    async fn events(&self, id: ExecutionId, after: u64) -> Result<Vec<RunEvent>, RepositoryError>;
}
