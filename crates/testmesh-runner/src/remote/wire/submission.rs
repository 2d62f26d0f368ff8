//! Runs and batches to accept, and filters, as messages.

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use testmesh_shared::ids::{BatchId, ExecutionId, FlowId};
use testmesh_shared::page::{PageKey, PageRequest};
use tonic::Status;

use super::{document, id, malformed, proto, record};
use crate::diagnostic::Diagnostic;
use crate::executor::{BatchSource, Definition, Idempotency, NewBatch, NewRun};
use crate::record::{ExecutionStatus, Trigger};
use crate::repository::ExecutionFilter;

impl TryFrom<NewRun> for proto::SubmitRequest {
    type Error = Status;

    fn try_from(run: NewRun) -> Result<Self, Status> {
        let options = proto::Options {
            variables: document(&run.variables)?,
            environment: run.environment,
            env_file: named(run.env_file),
            seed: run.seed,
            strict: run.strict,
            dry_run: run.dry_run,
            trigger: proto::Trigger::from(run.trigger).into(),
            idempotency: run.idempotency.map(Into::into),
        };
        Ok(Self {
            id: run.id.to_string(),
            definition: Some(run.definition.into()),
            options: Some(options),
            data_row: run.data_row,
            trace_id: run.trace_id,
        })
    }
}

impl TryFrom<proto::SubmitRequest> for NewRun {
    type Error = Status;

    fn try_from(request: proto::SubmitRequest) -> Result<Self, Status> {
        let options = request.options.unwrap_or_default();
        Ok(Self {
            id: id::<ExecutionId>(&request.id)?,
            definition: read_definition(request.definition)?,
            variables: read_variables(&options.variables)?,
            trigger: read_trigger(options.trigger)?.ok_or_else(|| malformed("no trigger"))?,
            environment: options.environment,
            env_file: unnamed(options.env_file),
            seed: options.seed,
            strict: options.strict,
            dry_run: options.dry_run,
            data_row: request.data_row,
            idempotency: options.idempotency.map(Into::into),
            trace_id: request.trace_id,
        })
    }
}

impl TryFrom<NewBatch> for proto::SubmitBatchRequest {
    type Error = Status;

    fn try_from(batch: NewBatch) -> Result<Self, Status> {
        let options = proto::Options {
            variables: document(&batch.variables)?,
            environment: batch.environment,
            env_file: named(batch.env_file),
            seed: batch.seed,
            strict: batch.strict,
            dry_run: batch.dry_run,
            trigger: proto::Trigger::from(batch.trigger).into(),
            idempotency: batch.idempotency.map(Into::into),
        };
        let source = match batch.source {
            BatchSource::Suite(suite) => proto::submit_batch_request::Source::Suite(suite),
            BatchSource::Flow(definition) => proto::submit_batch_request::Source::Flow(definition.into()),
        };
        let (id, parallelism) = (batch.id.to_string(), batch.parallelism);
        Ok(Self { id, source: Some(source), parallelism, options: Some(options) })
    }
}

impl TryFrom<proto::SubmitBatchRequest> for NewBatch {
    type Error = Status;

    fn try_from(request: proto::SubmitBatchRequest) -> Result<Self, Status> {
        let options = request.options.unwrap_or_default();
        let source = match request.source {
            Some(proto::submit_batch_request::Source::Suite(suite)) => BatchSource::Suite(suite),
            Some(proto::submit_batch_request::Source::Flow(flow)) => BatchSource::Flow(read_definition(Some(flow))?),
            None => return Err(malformed("no source")),
        };
        Ok(Self {
            id: id::<BatchId>(&request.id)?,
            source,
            parallelism: request.parallelism,
            variables: read_variables(&options.variables)?,
            trigger: read_trigger(options.trigger)?.ok_or_else(|| malformed("no trigger"))?,
            environment: options.environment,
            env_file: unnamed(options.env_file),
            seed: options.seed,
            strict: options.strict,
            dry_run: options.dry_run,
            idempotency: options.idempotency.map(Into::into),
        })
    }
}

impl From<Definition> for proto::Definition {
    fn from(definition: Definition) -> Self {
        let kind = match definition {
            Definition::Stored { flow_id, version } => {
                proto::definition::Kind::Stored(proto::StoredFlow { flow_id: flow_id.to_string(), version })
            }
            Definition::Inline { yaml } => proto::definition::Kind::Yaml(yaml),
        };
        Self { kind: Some(kind) }
    }
}

fn read_definition(definition: Option<proto::Definition>) -> Result<Definition, Status> {
    match definition.and_then(|definition| definition.kind) {
        Some(proto::definition::Kind::Stored(flow)) => {
            Ok(Definition::Stored { flow_id: id::<FlowId>(&flow.flow_id)?, version: flow.version })
        }
        Some(proto::definition::Kind::Yaml(yaml)) => Ok(Definition::Inline { yaml }),
        None => Err(malformed("no definition")),
    }
}

fn read_variables(document: &[u8]) -> Result<IndexMap<String, serde_json::Value>, Status> {
    if document.is_empty() {
        return Ok(IndexMap::new());
    }
    serde_json::from_slice(document).map_err(|error| malformed(&format!("variables: {error}")))
}

fn named(values: IndexMap<String, String>) -> Vec<proto::Named> {
    values.into_iter().map(|(name, value)| proto::Named { name, value }).collect()
}

fn unnamed(values: Vec<proto::Named>) -> IndexMap<String, String> {
    values.into_iter().map(|named| (named.name, named.value)).collect()
}

impl From<Idempotency> for proto::Idempotency {
    fn from(Idempotency { key, request_hash }: Idempotency) -> Self {
        Self { key, request_hash }
    }
}

impl From<proto::Idempotency> for Idempotency {
    fn from(proto::Idempotency { key, request_hash }: proto::Idempotency) -> Self {
        Self { key, request_hash }
    }
}

/// The mistakes of a flow, as documents.
pub(crate) fn mistakes(diagnostics: &[Diagnostic]) -> Result<proto::Findings, Status> {
    let findings = diagnostics.iter().map(document).collect::<Result<_, _>>()?;
    Ok(proto::Findings { findings })
}

/// The mistakes in documents.
pub(crate) fn read_mistakes(findings: &proto::Findings) -> Result<Vec<Diagnostic>, Status> {
    findings.findings.iter().map(|document| record(document)).collect()
}

impl From<Trigger> for proto::Trigger {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Api => Self::Api,
            Trigger::Schedule => Self::Schedule,
            Trigger::Manual => Self::Manual,
            Trigger::Cli => Self::Cli,
        }
    }
}

fn read_trigger(trigger: i32) -> Result<Option<Trigger>, Status> {
    match proto::Trigger::try_from(trigger) {
        Ok(proto::Trigger::Unspecified) => Ok(None),
        Ok(proto::Trigger::Api) => Ok(Some(Trigger::Api)),
        Ok(proto::Trigger::Schedule) => Ok(Some(Trigger::Schedule)),
        Ok(proto::Trigger::Manual) => Ok(Some(Trigger::Manual)),
        Ok(proto::Trigger::Cli) => Ok(Some(Trigger::Cli)),
        Err(_) => Err(malformed("unknown trigger")),
    }
}

impl From<ExecutionStatus> for proto::ExecutionStatus {
    fn from(status: ExecutionStatus) -> Self {
        match status {
            ExecutionStatus::Queued => Self::Queued,
            ExecutionStatus::Running => Self::Running,
            ExecutionStatus::Passed => Self::Passed,
            ExecutionStatus::Failed => Self::Failed,
            ExecutionStatus::Error => Self::Error,
            ExecutionStatus::Cancelled => Self::Cancelled,
        }
    }
}

fn read_status(status: i32) -> Result<Option<ExecutionStatus>, Status> {
    match proto::ExecutionStatus::try_from(status) {
        Ok(proto::ExecutionStatus::Unspecified) => Ok(None),
        Ok(proto::ExecutionStatus::Queued) => Ok(Some(ExecutionStatus::Queued)),
        Ok(proto::ExecutionStatus::Running) => Ok(Some(ExecutionStatus::Running)),
        Ok(proto::ExecutionStatus::Passed) => Ok(Some(ExecutionStatus::Passed)),
        Ok(proto::ExecutionStatus::Failed) => Ok(Some(ExecutionStatus::Failed)),
        Ok(proto::ExecutionStatus::Error) => Ok(Some(ExecutionStatus::Error)),
        Ok(proto::ExecutionStatus::Cancelled) => Ok(Some(ExecutionStatus::Cancelled)),
        Err(_) => Err(malformed("unknown status")),
    }
}

impl proto::ListExecutionsRequest {
    /// The question for this page of what `filter` lets through.
    pub(crate) fn of(filter: &ExecutionFilter, page: PageRequest) -> Self {
        Self {
            batch_id: filter.batch_id.map(|id| id.to_string()),
            flow_id: filter.flow_id.map(|id| id.to_string()),
            status: filter.status.map_or(proto::ExecutionStatus::Unspecified, Into::into).into(),
            trigger: filter.trigger.map_or(proto::Trigger::Unspecified, Into::into).into(),
            schedule_id: filter.schedule_id.map(|id| id.to_string()),
            since_us: filter.since.map(|time| time.timestamp_micros()),
            until_us: filter.until.map(|time| time.timestamp_micros()),
            limit: page.limit,
            after: page.after.map(Into::into),
        }
    }

    /// What it asks for.
    pub(crate) fn read(self) -> Result<(ExecutionFilter, PageRequest), Status> {
        let filter = ExecutionFilter {
            batch_id: self.batch_id.as_deref().map(id).transpose()?,
            flow_id: self.flow_id.as_deref().map(id).transpose()?,
            status: read_status(self.status)?,
            trigger: read_trigger(self.trigger)?,
            schedule_id: self.schedule_id.as_deref().map(read_uuid).transpose()?,
            since: self.since_us.map(read_time).transpose()?,
            until: self.until_us.map(read_time).transpose()?,
        };
        let after = self.after.map(PageKey::try_from).transpose()?;
        Ok((filter, PageRequest { limit: self.limit, after }))
    }
}

impl From<PageKey> for proto::PageKey {
    fn from(key: PageKey) -> Self {
        Self { created_at_us: key.created_at.timestamp_micros(), id: key.id.to_string() }
    }
}

impl TryFrom<proto::PageKey> for PageKey {
    type Error = Status;

    fn try_from(key: proto::PageKey) -> Result<Self, Status> {
        Ok(Self { created_at: read_time(key.created_at_us)?, id: read_uuid(&key.id)? })
    }
}

fn read_time(micros: i64) -> Result<DateTime<Utc>, Status> {
    DateTime::from_timestamp_micros(micros).ok_or_else(|| malformed("a time that is out of range"))
}

fn read_uuid(text: &str) -> Result<uuid::Uuid, Status> {
    uuid::Uuid::try_parse(text).map_err(|_| malformed("an id that is no UUID"))
}
