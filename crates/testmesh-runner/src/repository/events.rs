//! Events as they are stored: the end of a step is its ordinal, whatever else happened is the event itself.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use testmesh_shared::ids::ExecutionId;

use crate::event::{RunEvent, RunEventKind};
use crate::record::StepRecord;

/// An event and, when it ends a step, the step's record: each written out once.
pub(crate) struct StoredEvent {
    /// What goes into the list of events.
    pub(crate) event: Box<RawValue>,
    /// What goes into the table of steps.
    pub(crate) record: Option<Box<RawValue>>,
}

impl StoredEvent {
    pub(crate) fn of(event: &RunEvent) -> Result<Self, serde_json::Error> {
        let (end, record) = match &event.kind {
            RunEventKind::StepFinished(record) => (End::Finished, record),
            RunEventKind::StepSkipped(record) => (End::Skipped, record),
            RunEventKind::Queued(_)
            | RunEventKind::Started { .. }
            | RunEventKind::StepStarted(_)
            | RunEventKind::StepRetrying { .. }
            | RunEventKind::Log { .. }
            | RunEventKind::Finished { .. } => return Ok(Self { event: to_raw_value(event)?, record: None }),
        };
        let stored = StepEnd { seq: event.seq, time: event.time, end, ordinal: record.ordinal };
        Ok(Self { event: to_raw_value(&stored)?, record: Some(to_raw_value(record)?) })
    }

    /// How much memory it takes until it is written.
    pub(crate) fn size(&self) -> usize {
        self.event.get().len() + self.record.as_ref().map_or(0, |record| record.get().len())
    }
}

#[derive(Serialize, Deserialize)]
struct StepEnd {
    seq: u64,
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    time: DateTime<Utc>,
    end: End,
    ordinal: u32,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum End {
    Finished,
    Skipped,
}

/// The ordinals of the steps whose ends are among stored events.
pub(super) fn ordinals(events: &[&RawValue]) -> Vec<u32> {
    events.iter().filter_map(|event| step_end(event)).map(|end| end.ordinal).collect()
}

/// Makes a stored event whole again, with the records of the steps.
pub(super) fn restore(
    execution_id: ExecutionId,
    event: &RawValue,
    records: &mut HashMap<u32, StepRecord>,
) -> Result<RunEvent, sqlx::Error> {
    let Some(StepEnd { seq, time, end, ordinal }) = step_end(event) else {
        return serde_json::from_str(event.get()).map_err(|error| sqlx::Error::Decode(error.into()));
    };
    let missing = || sqlx::Error::Decode(format!("step {ordinal} of event {seq} is not stored").into());
    let record = Arc::new(records.remove(&ordinal).ok_or_else(missing)?);
    let kind = match end {
        End::Finished => RunEventKind::StepFinished(record),
        End::Skipped => RunEventKind::StepSkipped(record),
    };
    Ok(RunEvent { seq, execution_id, time, kind })
}

/// Whole events have no key `ordinal` of their own, so the two kinds cannot be taken for one another.
fn step_end(event: &RawValue) -> Option<StepEnd> {
    serde_json::from_str(event.get()).ok()
}
