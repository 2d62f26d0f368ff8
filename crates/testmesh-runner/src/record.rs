//! What is kept of a run: the execution, its steps, their attempts and assertions.
//!
//! An [`Execution`] with its steps is a fold over the run's events ([`Execution::apply`]), so the recorder, the reports
//! and the console can never disagree.

mod batch;
mod lazy;

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::{BatchId, ExecutionId, FlowId};

pub use self::batch::{Batch, BatchCounts, BatchKind};
pub use self::lazy::LazyJson;
use crate::event::{RunEvent, RunEventKind, StepStart};
use utoipa::ToSchema;

/// Room for so many steps is made when a run starts.
const MOST_EXPECTED: u32 = 1_000;

/// State of an execution. Once final it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExecutionStatus {
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Every step held.
    Passed,
    /// A step failed.
    Failed,
    /// The platform could not run it.
    Error,
    /// It was stopped.
    Cancelled,
}

/// State of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepStatus {
    /// Has not started.
    Pending,
    /// Is running.
    Running,
    /// Did what it should.
    Passed,
    /// An assertion or output did not hold.
    Failed,
    /// The action could not be done.
    Error,
    /// Did not run; `skip_reason` says why.
    Skipped,
    /// Failed, and `on_error: continue` lets the flow go on.
    Tolerated,
    /// Was stopped.
    Cancelled,
}

/// Part of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before the test.
    Setup,
    /// The test.
    Main,
    /// After it, always.
    Teardown,
}

/// What started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// A request.
    Api,
    /// A schedule that was due.
    Schedule,
    /// A schedule, by hand.
    Manual,
    /// The command line.
    Cli,
}

/// What kind of trouble a step had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ErrorKind {
    /// It took too long.
    Timeout,
    /// No connection, or it broke.
    Connection,
    /// The other side spoke nonsense, or more than allowed.
    Protocol,
    /// An assertion did not hold, or an output is missing.
    Assertion,
    /// The step's configuration is not usable.
    Config,
    /// An expression or reference could not be evaluated.
    Expression,
    /// A policy denies it.
    Policy,
    /// A fault in TestMesh itself.
    Internal,
}

/// Why a step did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepError {
    /// What kind of trouble.
    pub kind: ErrorKind,
    /// A lower-case fragment that names the thing.
    pub message: String,
}

/// Why an execution did not pass or fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionError {
    /// A stable word.
    pub code: ErrorCode,
    /// A lower-case fragment that names the thing.
    pub message: String,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// The stored flow, if it was one.
    pub flow_id: Option<FlowId>,
    /// The flow's name when it ran.
    pub flow_name: String,
    /// The flow's version when it ran.
    pub flow_version: Option<u32>,
    /// State.
    pub status: ExecutionStatus,
    /// What started it.
    pub trigger: Trigger,
    /// The schedule that started it.
    pub schedule_id: Option<uuid::Uuid>,
    /// The job it ran for.
    pub job_id: Option<uuid::Uuid>,
    /// Which attempt of the job it is, from 1.
    #[serde(default = "first_attempt")]
    pub attempt: u32,
    /// The batch it belongs to.
    #[serde(default)]
    pub batch_id: Option<BatchId>,
    /// The environment's name.
    pub environment: Option<String>,
    /// What it was given, secrets masked.
    pub variables: IndexMap<String, serde_json::Value>,
    /// When it was accepted.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub queued_at: DateTime<Utc>,
    /// When a worker took it.
    #[serde(serialize_with = "testmesh_shared::timestamp::optional_millis")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(serialize_with = "testmesh_shared::timestamp::optional_millis")]
    pub finished_at: Option<DateTime<Utc>>,
    /// From start to end.
    pub duration_ms: Option<u64>,
    /// Top-level steps of all phases.
    pub total_steps: u32,
    /// Of these, passed (tolerated ones are counted in none of the three).
    pub passed_steps: u32,
    /// Failed or error.
    pub failed_steps: u32,
    /// Skipped.
    pub skipped_steps: u32,
    /// Why it did not come to a verdict; null when it did.
    pub error: Option<ExecutionError>,
    /// The trace that every request of the run belongs to.
    pub trace_id: Option<String>,
    /// Name of the process that ran it.
    pub runner: Option<String>,
    /// The flow's text when it ran; null in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// Its steps in the order they started; null in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Arc<StepRecord>>>,
}

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepRecord {
    /// Its place in the run, from 1, in the order steps started.
    pub ordinal: u32,
    /// Its id in the flow.
    pub id: String,
    /// Its name, resolved; its id when it has none.
    pub name: String,
    /// The action.
    #[schema(value_type = String)]
    pub action: Cow<'static, str>,
    /// Part of the flow.
    pub phase: Phase,
    /// Ordinal of the step it is nested in.
    pub parent: Option<u32>,
    /// Which turn of a loop, from 0.
    pub iteration: Option<u32>,
    /// Its first line in the flow file.
    pub line: u32,
    /// State.
    pub status: StepStatus,
    /// Why it was skipped.
    pub skip_reason: Option<String>,
    /// How many attempts were made.
    pub attempt: u32,
    /// Every attempt but the last (the step's own fields are the last one's).
    pub attempts: Vec<AttemptRecord>,
    /// When the first attempt started.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub started_at: DateTime<Utc>,
    /// All attempts and waits together.
    pub duration_ms: u64,
    /// What was asked.
    #[schema(value_type = Option<serde_json::Value>)]
    pub request: Option<LazyJson>,
    /// What came back.
    #[schema(value_type = Option<serde_json::Value>)]
    pub response: Option<LazyJson>,
    /// Every assertion.
    pub assertions: Vec<AssertionRecord>,
    /// Captured values.
    pub outputs: IndexMap<String, serde_json::Value>,
    /// What it logged.
    pub logs: Vec<LogRecord>,
    /// Why it did not pass.
    pub error: Option<StepError>,
}

/// One attempt that was followed by another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AttemptRecord {
    /// From 1.
    pub attempt: u32,
    /// How it ended.
    pub status: StepStatus,
    /// When it started.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: u64,
    /// What came back, if that differs from the attempt before.
    pub response: Option<serde_json::Value>,
    /// The assertions that did not hold.
    pub assertions: Vec<AssertionRecord>,
    /// Why it did not pass.
    pub error: Option<StepError>,
}

/// What an assertion came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AssertionRecord {
    /// Its text.
    #[schema(value_type = String)]
    pub expression: Arc<str>,
    /// Whether it holds.
    pub passed: bool,
    /// What was found.
    pub actual: Option<serde_json::Value>,
    /// What was wanted.
    pub expected: Option<serde_json::Value>,
    /// Why it does not hold; null when it does.
    pub message: Option<String>,
    /// Its line in the flow file.
    pub line: u32,
}

/// A line a step logged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogRecord {
    /// When.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub time: DateTime<Utc>,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// The text.
    pub message: String,
    /// More, if any.
    pub data: Option<serde_json::Value>,
}

impl Execution {
    /// A run that was accepted at `queued_at` and waits for a worker; the fields that a caller knows more about are its
    /// to set.
    pub fn queued(id: ExecutionId, flow_name: impl Into<String>, trigger: Trigger, queued_at: DateTime<Utc>) -> Self {
        Self {
            id,
            flow_id: None,
            flow_name: flow_name.into(),
            flow_version: None,
            status: ExecutionStatus::Queued,
            trigger,
            schedule_id: None,
            job_id: None,
            attempt: 1,
            batch_id: None,
            environment: None,
            variables: IndexMap::new(),
            queued_at,
            started_at: None,
            finished_at: None,
            duration_ms: None,
            total_steps: 0,
            passed_steps: 0,
            failed_steps: 0,
            skipped_steps: 0,
            error: None,
            trace_id: None,
            runner: None,
            definition: None,
            steps: None,
        }
    }

    /// As [`Execution::take`], for an event that others need too.
    pub fn apply(&mut self, event: &RunEvent) {
        self.take(event.clone());
    }

    /// Takes an event into the record. Events come in the order of their `seq`.
    ///
    /// A step that never said how it ended was stopped: when the run is over, it counts as cancelled.
    pub fn take(&mut self, event: RunEvent) {
        match event.kind {
            RunEventKind::Queued(execution) => *self = *execution,
            RunEventKind::Started { total_steps, trace_id, runner } => {
                self.status = ExecutionStatus::Running;
                self.started_at = Some(event.time);
                self.total_steps = total_steps;
                self.trace_id = trace_id;
                self.runner = runner;
                self.steps.get_or_insert_with(|| Vec::with_capacity(total_steps.min(MOST_EXPECTED) as usize));
            }
            RunEventKind::StepStarted(start) => {
                self.steps.get_or_insert_default().push(Arc::new(StepRecord::running(start, event.time)));
            }
            RunEventKind::StepRetrying { ordinal, attempt, .. } => {
                if let Some(step) = self.step_mut(ordinal) {
                    step.attempt = attempt.attempt + 1;
                    step.attempts.push(*attempt);
                }
            }
            RunEventKind::Log { ordinal, line, .. } => {
                if let Some(step) = self.step_mut(ordinal) {
                    step.logs.push(line);
                }
            }
            RunEventKind::StepFinished(record) | RunEventKind::StepSkipped(record) => self.settle(record),
            RunEventKind::Finished { status, duration_ms, error } => {
                self.status = status;
                self.finished_at = Some(event.time);
                self.duration_ms = Some(duration_ms);
                self.error = error;
                for step in self.steps.iter_mut().flatten() {
                    if matches!(step.status, StepStatus::Pending | StepStatus::Running) {
                        Arc::make_mut(step).status = StepStatus::Cancelled;
                    }
                }
            }
        }
    }

    /// The record of the step with this ordinal. Steps are in the order of their ordinals.
    fn step_mut(&mut self, ordinal: u32) -> Option<&mut StepRecord> {
        let steps = self.steps.as_mut()?;
        let place = steps.binary_search_by_key(&ordinal, |step| step.ordinal).ok()?;
        steps.get_mut(place).map(Arc::make_mut)
    }

    fn settle(&mut self, record: Arc<StepRecord>) {
        if record.parent.is_none() {
            match record.status {
                StepStatus::Passed => self.passed_steps += 1,
                StepStatus::Failed | StepStatus::Error => self.failed_steps += 1,
                StepStatus::Skipped => self.skipped_steps += 1,
                StepStatus::Pending | StepStatus::Running | StepStatus::Tolerated | StepStatus::Cancelled => {}
            }
        }
        let steps = self.steps.get_or_insert_default();
        match steps.binary_search_by_key(&record.ordinal, |step| step.ordinal) {
            Ok(place) => steps[place] = record,
            Err(_) => steps.push(record),
        }
    }
}

/// Records of before there were attempts are of the first.
fn first_attempt() -> u32 {
    1
}

impl StepRecord {
    /// A step that has just started.
    pub(crate) fn running(start: StepStart, started_at: DateTime<Utc>) -> Self {
        Self {
            ordinal: start.ordinal,
            id: start.id,
            name: start.name,
            action: start.action,
            phase: start.phase,
            parent: start.parent,
            iteration: start.iteration,
            line: start.line,
            status: StepStatus::Running,
            skip_reason: None,
            attempt: 1,
            attempts: Vec::new(),
            started_at,
            duration_ms: 0,
            request: None,
            response: None,
            assertions: Vec::new(),
            outputs: IndexMap::new(),
            logs: Vec::new(),
            error: None,
        }
    }
}

impl ErrorKind {
    /// The word for it: `timeout`.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Timeout => "timeout",
            ErrorKind::Connection => "connection",
            ErrorKind::Protocol => "protocol",
            ErrorKind::Assertion => "assertion",
            ErrorKind::Config => "config",
            ErrorKind::Expression => "expression",
            ErrorKind::Policy => "policy",
            ErrorKind::Internal => "internal",
        }
    }
}

impl StepStatus {
    /// Whether it keeps the flow from passing.
    pub fn is_failure(self) -> bool {
        match self {
            StepStatus::Failed | StepStatus::Error => true,
            StepStatus::Pending
            | StepStatus::Running
            | StepStatus::Passed
            | StepStatus::Skipped
            | StepStatus::Tolerated
            | StepStatus::Cancelled => false,
        }
    }
}

impl ExecutionStatus {
    /// The word for it: `passed`.
    pub fn as_str(self) -> &'static str {
        match self {
            ExecutionStatus::Queued => "queued",
            ExecutionStatus::Running => "running",
            ExecutionStatus::Passed => "passed",
            ExecutionStatus::Failed => "failed",
            ExecutionStatus::Error => "error",
            ExecutionStatus::Cancelled => "cancelled",
        }
    }

    /// Whether it never changes again.
    pub fn is_final(self) -> bool {
        match self {
            ExecutionStatus::Queued | ExecutionStatus::Running => false,
            ExecutionStatus::Passed | ExecutionStatus::Failed | ExecutionStatus::Error | ExecutionStatus::Cancelled => {
                true
            }
        }
    }
}
