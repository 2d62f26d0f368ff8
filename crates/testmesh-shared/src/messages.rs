//! What the scheduler and the runner tell each other. A contract between two domains belongs to neither.
//!
//! Every message is a hint about a row in a database: losing, repeating or reordering messages changes latency and
//! nothing else. Receivers are idempotent by `(job_id, attempt)` and ignore fields that they do not know, so that two
//! releases can talk to each other.

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::ids::{ExecutionId, FlowId, JobId, ScheduleId};

/// Scheduler to runner, on [`Topic::RunFlow`](crate::stream::Topic::RunFlow): run this attempt of this job, unless it
/// was taken already; then say how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFlow {
    /// The job.
    pub job_id: JobId,
    /// Which attempt of it, from 1.
    pub attempt: u32,
    /// The schedule that fired; none: a job without one.
    pub schedule_id: Option<ScheduleId>,
    /// Whether a person fired it by hand.
    #[serde(default)]
    pub manual: bool,
    /// The time that it is for.
    pub nominal_at: DateTime<Utc>,
    /// The flow to run.
    pub flow_id: FlowId,
    /// Which version; none: the newest.
    pub flow_version: Option<u32>,
    /// The environment to run it in.
    pub environment: Option<String>,
    /// Run variables.
    #[serde(default)]
    pub variables: IndexMap<String, serde_json::Value>,
}

/// Runner to scheduler, on [`Topic::RunFinished`](crate::stream::Topic::RunFinished): how an attempt stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// The job.
    pub job_id: JobId,
    /// Which attempt of it.
    pub attempt: u32,
    /// The execution that it became.
    pub execution_id: ExecutionId,
    /// How far it is.
    pub state: RunState,
}

/// How far an attempt is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RunState {
    /// A runner has it and is alive.
    Running,
    /// It is over.
    Finished {
        /// What came out.
        outcome: Outcome,
        /// When it ended.
        finished_at: DateTime<Utc>,
        /// The stable word for what went wrong; none when nothing did.
        #[serde(default)]
        code: Option<String>,
        /// What went wrong.
        #[serde(default)]
        message: Option<String>,
    },
}

/// What came out of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every step passed.
    Passed,
    /// An assertion or a step failed: a verdict.
    Failed,
    /// It could not be run: no verdict.
    Error,
    /// Somebody stopped it.
    Cancelled,
    /// The runner that had it is gone, and what it did is not known.
    Lost,
}
