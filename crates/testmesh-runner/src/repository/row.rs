//! Rows as the database gives them, and what they stand for.

use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde::de::value::StrDeserializer;
use testmesh_shared::db::{JsonText, Stamp, Unsigned};
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::{BatchId, ExecutionId, FlowId};
use uuid::Uuid;

use crate::record::{Execution, ExecutionError};

/// A run without its text and steps.
#[derive(sqlx::FromRow)]
pub(super) struct SummaryRow {
    id: Uuid,
    flow_id: Option<Uuid>,
    flow_name: String,
    flow_version: Option<Unsigned>,
    status: String,
    trigger_kind: String,
    schedule_id: Option<Uuid>,
    job_id: Option<Uuid>,
    attempt: Unsigned,
    batch_id: Option<Uuid>,
    environment: Option<String>,
    variables: JsonText<IndexMap<String, serde_json::Value>>,
    queued_at: Stamp,
    started_at: Option<Stamp>,
    finished_at: Option<Stamp>,
    duration_ms: Option<i64>,
    total_steps: Unsigned,
    passed_steps: Unsigned,
    failed_steps: Unsigned,
    skipped_steps: Unsigned,
    error_code: Option<String>,
    error_message: Option<String>,
    trace_id: Option<String>,
    runner: Option<String>,
}

/// A run with its text.
#[derive(sqlx::FromRow)]
pub(super) struct ExecutionRow {
    #[sqlx(flatten)]
    summary: SummaryRow,
    definition: String,
}

/// A run that waits, with what it needs to start.
#[derive(sqlx::FromRow)]
pub(super) struct QueuedRow {
    #[sqlx(flatten)]
    execution: ExecutionRow,
    options: Option<String>,
    cancel_requested: bool,
    batch_row: Option<Unsigned>,
}

/// A run that was accepted and has not started.
pub(crate) struct QueuedRun {
    /// The run with its definition.
    pub(crate) execution: Execution,
    /// What it was submitted with besides, as JSON.
    pub(crate) options: Option<String>,
    /// Whether somebody wants it to end.
    pub(crate) cancel_requested: bool,
    /// Its place in its batch.
    pub(crate) batch_row: Option<u32>,
}

impl SummaryRow {
    pub(super) fn into_execution(self) -> Result<Execution, sqlx::Error> {
        let error = match (self.error_code, self.error_message) {
            (Some(code), message) => {
                Some(ExecutionError { code: word::<ErrorCode>(&code)?, message: message.unwrap_or_default() })
            }
            (None, _) => None,
        };
        Ok(Execution {
            id: ExecutionId::from(self.id),
            flow_id: self.flow_id.map(FlowId::from),
            flow_name: self.flow_name,
            flow_version: self.flow_version.map(|version| version.0),
            status: word(&self.status)?,
            trigger: word(&self.trigger_kind)?,
            schedule_id: self.schedule_id,
            job_id: self.job_id,
            attempt: self.attempt.0,
            batch_id: self.batch_id.map(BatchId::from),
            environment: self.environment,
            variables: self.variables.0,
            queued_at: self.queued_at.0,
            started_at: self.started_at.map(|stamp| stamp.0),
            finished_at: self.finished_at.map(|stamp| stamp.0),
            duration_ms: self.duration_ms.and_then(|duration| u64::try_from(duration).ok()),
            total_steps: self.total_steps.0,
            passed_steps: self.passed_steps.0,
            failed_steps: self.failed_steps.0,
            skipped_steps: self.skipped_steps.0,
            error,
            trace_id: self.trace_id,
            runner: self.runner,
            definition: None,
            steps: None,
        })
    }
}

impl ExecutionRow {
    pub(super) fn into_execution(self) -> Result<Execution, sqlx::Error> {
        let execution = self.summary.into_execution()?;
        Ok(Execution { definition: Some(self.definition), ..execution })
    }
}

impl QueuedRow {
    pub(super) fn into_queued(self) -> Result<QueuedRun, sqlx::Error> {
        Ok(QueuedRun {
            execution: self.execution.into_execution()?,
            options: self.options,
            cancel_requested: self.cancel_requested,
            batch_row: self.batch_row.map(|row| row.0),
        })
    }
}

/// One of the words of an enum.
pub(super) fn word<T: DeserializeOwned>(text: &str) -> Result<T, sqlx::Error> {
    T::deserialize(StrDeserializer::<serde_json::Error>::new(text)).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// The word of an enum, to compare a column with.
pub(super) fn word_of<T: serde::Serialize>(value: T) -> Option<String> {
    serde_json::to_value(value).ok()?.as_str().map(str::to_owned)
}
