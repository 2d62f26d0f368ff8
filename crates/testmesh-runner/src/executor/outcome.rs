//! What the scheduler is told of an attempt.

use testmesh_shared::db::Stamp;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::{ExecutionId, JobId};
use testmesh_shared::messages::{Outcome, RunReport, RunState};

use crate::record::{Batch, BatchCounts, Execution, ExecutionStatus};
use crate::repository::{Attempt, OutboxRow};

/// The topic's name in the outbox.
const RUN_FINISHED: &str = "run-finished";

/// The message that tells how `execution` ended; none when it ran for no job.
pub(crate) fn message(execution: &Execution) -> Option<OutboxRow> {
    let finished_at = execution.finished_at?;
    let state = RunState::Finished {
        outcome: outcome(execution.status, execution.error.as_ref().map(|error| error.code.as_str()))?,
        finished_at,
        code: execution.error.as_ref().map(|error| error.code.as_str().to_owned()),
        message: execution.error.as_ref().map(|error| error.message.clone()),
    };
    let report = RunReport {
        job_id: JobId::from(execution.job_id?),
        attempt: execution.attempt,
        execution_id: execution.id,
        state,
    };
    Some(OutboxRow {
        execution_id: execution.id,
        topic: RUN_FINISHED,
        payload: text(&report),
        created_at: Stamp(finished_at),
    })
}

/// How a batch stands that ran for a job; none when it ran for none. `first` stands for all its runs.
pub(crate) fn of_batch(batch: &Batch, first: ExecutionId) -> Option<RunReport> {
    let job_id = JobId::from(batch.job_id?);
    let state = match (batch.finished_at, outcome(batch.status, None)) {
        (Some(finished_at), Some(outcome)) => {
            let BatchCounts { failed, errors, cancelled, .. } = batch.counts;
            let message = (outcome != Outcome::Passed).then(|| {
                format!("of {} runs, {failed} failed, {errors} had errors, {cancelled} were cancelled", batch.total)
            });
            RunState::Finished { outcome, finished_at, code: None, message }
        }
        _ => RunState::Running,
    };
    Some(RunReport { job_id, attempt: batch.attempt, execution_id: first, state })
}

/// The message that tells how a batch ended.
pub(crate) fn batch_message(batch: &Batch, first: ExecutionId) -> Option<OutboxRow> {
    let created_at = Stamp(batch.finished_at?);
    let payload = text(&of_batch(batch, first)?);
    Some(OutboxRow { execution_id: first, topic: RUN_FINISHED, payload, created_at })
}

/// How a stored attempt stands.
pub(crate) fn report(attempt: Attempt) -> RunReport {
    let outcome = outcome(attempt.status, attempt.error_code.as_deref());
    let state = match (outcome, attempt.finished_at) {
        (Some(outcome), Some(finished_at)) => {
            RunState::Finished { outcome, finished_at, code: attempt.error_code, message: attempt.error_message }
        }
        _ => RunState::Running,
    };
    RunReport { job_id: attempt.key.job_id, attempt: attempt.key.attempt, execution_id: attempt.execution_id, state }
}

/// A sign of life.
pub(crate) fn running(job_id: JobId, attempt: u32, execution_id: ExecutionId) -> RunReport {
    RunReport { job_id, attempt, execution_id, state: RunState::Running }
}

pub(crate) fn text(report: &RunReport) -> String {
    serde_json::to_string(report).expect("a report is made of texts, numbers and times")
}

/// None: it is not over.
fn outcome(status: ExecutionStatus, code: Option<&str>) -> Option<Outcome> {
    match status {
        ExecutionStatus::Queued | ExecutionStatus::Running => None,
        ExecutionStatus::Passed => Some(Outcome::Passed),
        ExecutionStatus::Failed => Some(Outcome::Failed),
        ExecutionStatus::Cancelled => Some(Outcome::Cancelled),
        ExecutionStatus::Error if code == Some(ErrorCode::Lost.as_str()) => Some(Outcome::Lost),
        ExecutionStatus::Error => Some(Outcome::Error),
    }
}
