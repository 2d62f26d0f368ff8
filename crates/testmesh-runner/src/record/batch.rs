//! Runs that belong together, and what they came to as one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use testmesh_shared::ids::{BatchId, FlowId};
use utoipa::ToSchema;

use crate::record::{ExecutionStatus, Trigger};

/// What makes runs belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BatchKind {
    /// They are the flows of one suite.
    Suite,
    /// They are the rows of one flow's data.
    Data,
}

/// Runs that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Batch {
    /// Its id; its executions have it as their `batch_id`.
    pub id: BatchId,
    /// What makes them belong together.
    pub kind: BatchKind,
    /// Name of the suite, or of the flow.
    pub name: String,
    /// The flow, when it is one stored flow's data.
    pub flow_id: Option<FlowId>,
    /// What they came to as one: `failed` when any failed; else `error` when any came to no verdict; else `cancelled`
    /// when any was stopped; else `passed`. Not final before every one of them is.
    pub status: ExecutionStatus,
    /// What started them.
    pub trigger: Trigger,
    /// The schedule that started them.
    pub schedule_id: Option<uuid::Uuid>,
    /// The job they ran for.
    pub job_id: Option<uuid::Uuid>,
    /// Which attempt of the job it is, from 1.
    pub attempt: u32,
    /// The environment's name.
    pub environment: Option<String>,
    /// How many of them run at a time.
    pub parallelism: u32,
    /// When they were accepted.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub created_at: DateTime<Utc>,
    /// When the last of them ended.
    #[serde(serialize_with = "testmesh_shared::timestamp::optional_millis")]
    pub finished_at: Option<DateTime<Utc>>,
    /// How many they are.
    pub total: u32,
    /// How many are in each state.
    #[serde(flatten)]
    pub counts: BatchCounts,
}

/// How many runs of a batch are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchCounts {
    /// Wait.
    pub queued: u32,
    /// Are going.
    pub running: u32,
    /// Every step held.
    pub passed: u32,
    /// A step failed.
    pub failed: u32,
    /// Came to no verdict.
    pub errors: u32,
    /// Were stopped.
    pub cancelled: u32,
}

impl BatchCounts {
    /// Counts `members` more in the state `status`.
    pub(crate) fn add(&mut self, status: ExecutionStatus, members: u32) {
        let count = match status {
            ExecutionStatus::Queued => &mut self.queued,
            ExecutionStatus::Running => &mut self.running,
            ExecutionStatus::Passed => &mut self.passed,
            ExecutionStatus::Failed => &mut self.failed,
            ExecutionStatus::Error => &mut self.errors,
            ExecutionStatus::Cancelled => &mut self.cancelled,
        };
        *count += members;
    }

    /// What runs in these states come to as one; `over`: nothing happens to them any more.
    pub(crate) fn status(self, over: bool) -> ExecutionStatus {
        let begun = self.running + self.passed + self.failed + self.errors + self.cancelled > 0;
        match (over, self) {
            (false, _) if begun => ExecutionStatus::Running,
            (false, _) => ExecutionStatus::Queued,
            (true, Self { failed: 1.., .. }) => ExecutionStatus::Failed,
            (true, Self { errors: 1.., .. }) => ExecutionStatus::Error,
            (true, Self { cancelled: 1.., .. }) => ExecutionStatus::Cancelled,
            (true, _) => ExecutionStatus::Passed,
        }
    }
}

#[cfg(test)]
mod tests {
    use ExecutionStatus::{Cancelled, Error, Failed, Passed, Queued, Running};

    use super::*;

    #[test]
    fn one_failure_outweighs_everything_and_one_pass_nothing() {
        let check = |members: &[ExecutionStatus], over: bool, expect: ExecutionStatus| {
            let mut counts = BatchCounts::default();
            for status in members {
                counts.add(*status, 1);
            }
            assert_eq!(counts.status(over), expect, "{members:?}");
        };
        check(&[Passed, Passed], true, Passed);
        check(&[Passed, Cancelled], true, Cancelled);
        check(&[Passed, Error, Cancelled], true, Error);
        check(&[Failed, Error, Cancelled, Passed], true, Failed);
        check(&[Queued, Queued], false, Queued);
        check(&[Queued, Failed], false, Running);
        check(&[Running, Queued], false, Running);
        check(&[Passed, Passed], false, Running);
    }
}
