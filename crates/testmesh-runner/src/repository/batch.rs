//! What one transaction of the writer stores: rows of a JSON list, one statement per table.
//!
//! PostgreSQL refuses a whole list when there is a `\u0000` anywhere in it, and keeps none in a text. So JSON inside a row
//! travels as a text, where it is escaped twice, and a plain text has its NULs replaced. What is null is left out: it reads
//! the same, and reading a list is a third of what storing it costs.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use testmesh_shared::db::Stamp;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::{BatchId, ExecutionId, SessionId};
use uuid::Uuid;

use crate::record::{Execution, ExecutionStatus, Phase, StepStatus, Trigger};

/// Rows to store together: all of them or none.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) keys: Vec<KeyRow>,
    pub(crate) inserts: Vec<InsertRow>,
    pub(crate) starts: Vec<StartRow>,
    pub(crate) steps: Vec<StepRow>,
    pub(crate) events: Vec<EventsRow>,
    pub(crate) finishes: Vec<FinishRow>,
    /// Runs whose events are stored and that go on.
    pub(crate) holds: Vec<HoldRow>,
    /// What is told when a run of `finishes` is over.
    pub(crate) outbox: Vec<OutboxRow>,
}

/// What every write of a run is conditional on: whoever has lost the run stores nothing of it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Fence {
    /// Whose the run is.
    pub(crate) session_id: SessionId,
    /// Which attempt of its job it is.
    pub(crate) attempt: u32,
}

/// A caller's idempotency key.
#[derive(Serialize)]
pub(crate) struct KeyRow {
    pub(crate) key: String,
    pub(crate) request_hash: String,
    pub(crate) execution_id: ExecutionId,
    pub(crate) created_at: Stamp,
}

/// A new execution.
#[derive(Serialize)]
pub(crate) struct InsertRow {
    pub(crate) id: ExecutionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_id: Option<Uuid>,
    #[serde(serialize_with = "plain")]
    flow_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_version: Option<u32>,
    definition_hash: String,
    pub(crate) status: ExecutionStatus,
    trigger: Trigger,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<Uuid>,
    #[serde(serialize_with = "optional_plain", skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    #[serde(serialize_with = "as_text")]
    variables: IndexMap<String, serde_json::Value>,
    queued_at: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Stamp>,
    total_steps: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<String>,
    #[serde(flatten)]
    fence: Fence,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_at: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<BatchId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) batch_row: Option<u32>,
    #[serde(skip)]
    pub(super) definition: String,
}

/// A waiting execution that starts.
#[derive(Serialize)]
pub(crate) struct StartRow {
    pub(crate) id: ExecutionId,
    #[serde(flatten)]
    pub(crate) fence: Fence,
    pub(crate) started_at: Stamp,
    pub(crate) deadline_at: Option<Stamp>,
}

/// A run that goes on.
#[derive(Serialize)]
pub(crate) struct HoldRow {
    pub(crate) id: ExecutionId,
    #[serde(flatten)]
    pub(crate) fence: Fence,
}

/// A message that is stored with what it tells.
#[derive(Serialize)]
pub(crate) struct OutboxRow {
    /// The run that it tells of: it is stored when the run's end is.
    #[serde(skip)]
    pub(crate) execution_id: ExecutionId,
    pub(crate) topic: &'static str,
    pub(crate) payload: String,
    pub(crate) created_at: Stamp,
}

/// A step that ended.
#[derive(Serialize)]
pub(crate) struct StepRow {
    pub(crate) execution_id: ExecutionId,
    pub(crate) ordinal: u32,
    #[serde(serialize_with = "plain")]
    pub(crate) step_id: String,
    pub(crate) phase: Phase,
    pub(crate) status: StepStatus,
    #[serde(serialize_with = "as_text")]
    pub(crate) record: Box<RawValue>,
}

/// Events in a row.
#[derive(Serialize)]
pub(crate) struct EventsRow {
    pub(crate) execution_id: ExecutionId,
    pub(crate) seq_from: u64,
    pub(crate) seq_to: u64,
    #[serde(serialize_with = "as_text")]
    pub(crate) events: Vec<Box<RawValue>>,
}

/// An execution that ended.
#[derive(Serialize)]
pub(crate) struct FinishRow {
    pub(crate) id: ExecutionId,
    #[serde(flatten)]
    fence: Fence,
    status: ExecutionStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    total_steps: u32,
    passed_steps: u32,
    failed_steps: u32,
    skipped_steps: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<ErrorCode>,
    #[serde(serialize_with = "optional_plain", skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(serialize_with = "optional_plain", skip_serializing_if = "Option::is_none")]
    runner: Option<String>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.inserts.is_empty()
            && self.starts.is_empty()
            && self.steps.is_empty()
            && self.events.is_empty()
            && self.finishes.is_empty()
    }
}

impl InsertRow {
    /// The row of `execution`, which `session` has. One that never waits needs no `options`.
    pub(crate) fn new(
        execution: &Execution,
        definition: String,
        options: Option<String>,
        session_id: SessionId,
        deadline_at: Option<DateTime<Utc>>,
    ) -> Self {
        Self {
            id: execution.id,
            flow_id: execution.flow_id.map(testmesh_shared::ids::FlowId::as_uuid),
            flow_name: execution.flow_name.clone(),
            flow_version: execution.flow_version,
            definition_hash: hex(&Sha256::digest(definition.as_bytes())),
            status: execution.status,
            trigger: execution.trigger,
            schedule_id: execution.schedule_id,
            job_id: execution.job_id,
            environment: execution.environment.clone(),
            variables: execution.variables.clone(),
            queued_at: Stamp(execution.queued_at),
            started_at: execution.started_at.map(Stamp),
            total_steps: execution.total_steps,
            trace_id: execution.trace_id.clone(),
            options,
            fence: Fence { session_id, attempt: execution.attempt },
            deadline_at: deadline_at.map(Stamp),
            batch_id: execution.batch_id,
            batch_row: None,
            definition,
        }
    }

    pub(super) fn definition_hash(&self) -> &str {
        &self.definition_hash
    }
}

impl FinishRow {
    /// The final state of `execution`.
    pub(crate) fn new(execution: &Execution, fence: Fence) -> Self {
        Self {
            id: execution.id,
            fence,
            status: execution.status,
            started_at: execution.started_at.map(Stamp),
            finished_at: execution.finished_at.map(Stamp),
            duration_ms: execution.duration_ms,
            total_steps: execution.total_steps,
            passed_steps: execution.passed_steps,
            failed_steps: execution.failed_steps,
            skipped_steps: execution.skipped_steps,
            error_code: execution.error.as_ref().map(|error| error.code),
            error_message: execution.error.as_ref().map(|error| error.message.clone()),
            trace_id: execution.trace_id.clone(),
            runner: execution.runner.clone(),
        }
    }
}

/// A value as a text that holds its JSON.
fn as_text<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&serde_json::to_string(value).map_err(S::Error::custom)?)
}

fn plain<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&without_nul(text))
}

#[allow(clippy::ref_option, reason = "the shape that serde calls")]
fn optional_plain<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().map(without_nul).serialize(serializer)
}

/// A text that both engines keep.
pub(super) fn without_nul(text: &str) -> Cow<'_, str> {
    match memchr::memchr(0, text.as_bytes()) {
        Some(_) => Cow::Owned(text.replace('\0', "\u{fffd}")),
        None => Cow::Borrowed(text),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a text cannot fail");
        text
    })
}
