//! Takes runs, queues them, runs them, and tells how they went.

mod admission;
mod batches;
mod flows;
mod follow;
mod foreign;
mod intake;
mod live;
mod local;
mod outcome;
mod reads;
pub(crate) mod recorder;
mod recovery;
mod relay;
mod running;
mod session;
mod slots;
mod together;

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use indexmap::IndexMap;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::{BatchId, ExecutionId, FlowId};

use crate::diagnostic::Diagnostic;
use crate::event::RunEvent;
use crate::record::{Batch, Execution, Trigger};
use crate::repository::RepositoryError;

pub use local::{ExecutorConfig, ExecutorHandle, ExecutorParts, start};

/// What to run.
#[derive(Debug, Clone)]
pub enum Definition {
    /// A stored flow.
    Stored {
        /// Which.
        flow_id: FlowId,
        /// Which version; none: the newest.
        version: Option<u32>,
    },
    /// A text that is not stored.
    Inline {
        /// The text: exactly one flow.
        yaml: String,
    },
}

/// A run to accept.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// The caller's id: submitting twice with one id submits once.
    pub id: ExecutionId,
    /// What to run.
    pub definition: Definition,
    /// Variables.
    pub variables: IndexMap<String, serde_json::Value>,
    /// Name of a stored environment.
    pub environment: Option<String>,
    /// Values of the flow's `env_file`, resolved by the client.
    pub env_file: IndexMap<String, String>,
    /// Makes random values repeat.
    pub seed: Option<u64>,
    /// Teardown failures fail the run; warnings are errors.
    pub strict: bool,
    /// Checks everything, runs no action.
    pub dry_run: bool,
    /// The variables hold one row of the flow's `data`; a data-driven flow runs only so.
    pub data_row: bool,
    /// What started it.
    pub trigger: Trigger,
    /// The caller's key and a hash of what it asked for: the same key and hash give the first run again.
    pub idempotency: Option<Idempotency>,
    /// The trace to join (32 hex digits).
    pub trace_id: Option<String>,
}

/// Which runs to accept together.
#[derive(Debug, Clone)]
pub enum BatchSource {
    /// Every flow of a suite, a data-driven one once for each of its rows.
    Suite(String),
    /// One flow, once for each row of its `data`.
    Flow(Definition),
}

/// Runs to accept together.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// The caller's id: submitting twice with one id submits once.
    pub id: BatchId,
    /// Which.
    pub source: BatchSource,
    /// How many of them run at a time, from 1.
    pub parallelism: u32,
    /// Variables of every run; a row's own come before them.
    pub variables: IndexMap<String, serde_json::Value>,
    /// Name of a stored environment.
    pub environment: Option<String>,
    /// Values of each flow's `env_file`, resolved by the client.
    pub env_file: IndexMap<String, String>,
    /// Makes random values repeat.
    pub seed: Option<u64>,
    /// As [`NewRun::strict`].
    pub strict: bool,
    /// As [`NewRun::dry_run`].
    pub dry_run: bool,
    /// What started them.
    pub trigger: Trigger,
    /// The caller's key and a hash of what it asked for: the same key and hash give the first batch again.
    pub idempotency: Option<Idempotency>,
}

/// A caller's idempotency key, kept for 24 hours.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The key, 1–255 characters.
    pub key: String,
    /// SHA-256 of the request (route and body), in hex.
    pub request_hash: String,
}

/// A run was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// No such flow.
    #[error("flow `{0}` does not exist")]
    FlowNotFound(FlowId),
    /// No such version.
    #[error("flow `{0}` has no version {1}")]
    VersionNotFound(FlowId, u32),
    /// No such environment.
    #[error("environment `{0}` does not exist")]
    UnknownEnvironment(String),
    /// No flow belongs to this suite.
    #[error("no flow belongs to the suite `{0}`")]
    SuiteNotFound(String),
    /// The flow has `data` and the run is of no row.
    #[error(
        "the flow has `data`: send one run for each row, with the row in `variables` and `data_row: true`, or run it with \
         the command line"
    )]
    DataDriven,
    /// The text has mistakes.
    #[error("the flow has mistakes")]
    InvalidFlow(Vec<Diagnostic>),
    /// A rule of the request is broken: field and rule.
    #[error("{0}")]
    Invalid(String),
    /// The key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyMismatch,
    /// The queue is full.
    #[error("the queue is full ({0} runs)")]
    Overloaded(usize),
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The runner is another process, and none answered. The run may have been accepted: submitting it again with its id
    /// tells.
    #[error("submit to the runner")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// The flows' store failed.
    #[error("read the flow")]
    Storage(#[from] testmesh_storage::StorageError),
    /// The executions' store failed.
    #[error("store the execution")]
    Repository(#[from] RepositoryError),
}

impl SubmitError {
    /// The stable word for it.
    pub fn code(&self) -> ErrorCode {
        match self {
            SubmitError::FlowNotFound(_) => ErrorCode::FlowNotFound,
            SubmitError::VersionNotFound(..) => ErrorCode::VersionNotFound,
            SubmitError::SuiteNotFound(_) => ErrorCode::SuiteNotFound,
            SubmitError::UnknownEnvironment(_) | SubmitError::Invalid(_) | SubmitError::DataDriven => {
                ErrorCode::InvalidRequest
            }
            SubmitError::InvalidFlow(_) => ErrorCode::InvalidFlow,
            SubmitError::IdempotencyMismatch => ErrorCode::IdempotencyMismatch,
            SubmitError::Overloaded(_) => ErrorCode::Overloaded,
            SubmitError::Stopping | SubmitError::Unreachable(_) => ErrorCode::Unavailable,
            SubmitError::Storage(error) => error.code(),
            SubmitError::Repository(error) => error.code(),
        }
    }
}

/// What a cancellation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It will stop.
    Requested,
    /// It was over already.
    AlreadyFinished,
    /// No such execution.
    NotFound,
}

/// Runs flows.
#[async_trait]
pub trait Executor: Send + Sync {
    /// Accepts a run: when this returns, a crash does not lose it. The execution has no steps yet.
    async fn submit(&self, run: NewRun) -> Result<Execution, SubmitError>;
    /// Waits until the execution is final and stored, then gives it with definition and steps; `None` when `timeout`
    /// passed first or there is no such execution.
    async fn wait(&self, id: ExecutionId, timeout: Duration) -> Result<Option<Execution>, RepositoryError>;
    /// Stops an execution.
    async fn cancel(&self, id: ExecutionId) -> Result<Cancelled, RepositoryError>;
    /// Accepts runs that belong together, all or none, and runs them a few at a time: when this returns, a crash does not
    /// lose them.
    async fn submit_batch(&self, batch: NewBatch) -> Result<Batch, SubmitError>;
    /// Waits until every run of the batch is final; `None` when `timeout` passed first or there is no such batch.
    async fn wait_batch(&self, id: BatchId, timeout: Duration) -> Result<Option<Batch>, RepositoryError>;
    /// Stops every run of a batch that is not over.
    async fn cancel_batch(&self, id: BatchId) -> Result<Cancelled, RepositoryError>;
    /// Every event with a greater `seq`, stored ones first, then live ones; ends after `execution.finished`.
    /// `None`: no such execution.
    async fn events(
        &self,
        id: ExecutionId,
        after: u64,
    ) -> Result<Option<BoxStream<'static, RunEvent>>, RepositoryError>;
}
