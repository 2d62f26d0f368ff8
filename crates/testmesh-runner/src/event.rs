//! What happens in a run, as a closed set of events. `seq` starts at 1 and has no gaps.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use testmesh_shared::ids::ExecutionId;
use utoipa::ToSchema;

use crate::record::{AttemptRecord, Execution, ExecutionError, ExecutionStatus, LogRecord, Phase, StepRecord};

/// One event: `{"seq":12,"type":"step.finished","execution_id":…,"time":…,"data":{…}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunEvent {
    /// Its place in the run.
    pub seq: u64,
    /// The run.
    pub execution_id: ExecutionId,
    /// When.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub time: DateTime<Utc>,
    /// What happened.
    #[serde(flatten)]
    pub kind: RunEventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", content = "data")]
pub enum RunEventKind {
    /// The run was accepted: the execution without definition and steps.
    #[serde(rename = "execution.queued")]
    Queued(Box<Execution>),
    /// A worker has it.
    #[serde(rename = "execution.started")]
    Started {
        /// Top-level steps of all phases.
        total_steps: u32,
        /// The trace of the run.
        trace_id: Option<String>,
        /// Name of the process that runs it.
        runner: Option<String>,
    },
    /// A step starts.
    #[serde(rename = "step.started")]
    StepStarted(StepStart),
    /// An attempt failed and another follows.
    #[serde(rename = "step.retrying")]
    StepRetrying {
        /// The step's ordinal.
        ordinal: u32,
        /// The step's id.
        id: String,
        /// The attempt that failed.
        attempt: Box<AttemptRecord>,
        /// How long until the next one.
        delay_ms: u64,
    },
    /// A step ended, in whatever way but skipped.
    #[serde(rename = "step.finished")]
    StepFinished(Arc<StepRecord>),
    /// A step was skipped; there was no `step.started`.
    #[serde(rename = "step.skipped")]
    StepSkipped(Arc<StepRecord>),
    /// A step logged something.
    #[serde(rename = "log")]
    Log {
        /// The step's ordinal.
        ordinal: u32,
        /// The step's id.
        id: String,
        /// The line.
        #[serde(flatten)]
        line: LogRecord,
    },
    /// The run is over; nothing follows.
    #[serde(rename = "execution.finished")]
    Finished {
        /// How.
        status: ExecutionStatus,
        /// From start to end.
        duration_ms: u64,
        /// Why it came to no verdict.
        error: Option<ExecutionError>,
    },
}

/// A step that starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepStart {
    /// Its place in the run, from 1.
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
}

/// Who listens to a run. Called in order, from one task at a time; must not block.
pub trait EventSink: Send + Sync {
    /// Takes the next event.
    fn emit(&self, event: RunEvent);
}
