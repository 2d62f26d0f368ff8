//! What a process finds of the one before it: runs that were going are lost, runs that waited start again.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use testmesh_shared::clock::Clock;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::ExecutionId;

use crate::event::{RunEvent, RunEventKind};
use crate::executor::local::Local;
use crate::executor::recorder::{chain, keys_expired};
use crate::record::{Execution, ExecutionError, ExecutionStatus, StepStatus};
use crate::repository::{
    Batch, EventsRow, ExecutionRepository, FinishRow, QueuedRun, RepositoryError, StepRow, Store, StoredEvent,
};

/// Ends every run that was going when the process before this one ended: whether its last step did its work, nobody
/// can tell.
pub(crate) async fn settle_lost(store: &Store, clock: &dyn Clock) -> Result<(), RepositoryError> {
    for id in store.running().await? {
        let Some(execution) = store.find(id).await? else { continue };
        let last = store.events(id, 1).await?.last().map_or(1, |event| event.seq);
        let batch = closing(execution, last, clock.now()).map_err(|error| RepositoryError {
            operation: format!("end execution `{id}` as lost"),
            source: sqlx::Error::Encode(error.into()),
        })?;
        store.write(&batch, keys_expired(clock)).await?;
        tracing::warn!(execution.id = %id, "the server stopped while this run was going: it is lost");
    }
    Ok(())
}

/// The rows that end `execution`: a closing event, the steps that were going, the final state.
fn closing(mut execution: Execution, last: u64, time: DateTime<Utc>) -> Result<Batch, serde_json::Error> {
    let execution_id = execution.id;
    let going: Vec<u32> =
        execution.steps.iter().flatten().filter(|step| is_going(step.status)).map(|step| step.ordinal).collect();
    let since = execution.started_at.unwrap_or(time);
    let event = RunEvent {
        seq: last + 1,
        execution_id,
        time,
        kind: RunEventKind::Finished {
            status: ExecutionStatus::Error,
            duration_ms: u64::try_from((time - since).num_milliseconds()).unwrap_or(0),
            error: Some(ExecutionError {
                code: ErrorCode::Lost,
                message: "the server stopped while the run was going".to_owned(),
            }),
        },
    };
    execution.apply(&event);
    let mut batch = Batch::default();
    for step in execution.steps.iter().flatten().filter(|step| going.contains(&step.ordinal)) {
        batch.steps.push(StepRow {
            execution_id,
            ordinal: step.ordinal,
            step_id: step.id.clone(),
            phase: step.phase,
            status: step.status,
            record: serde_json::value::to_raw_value(step)?,
        });
    }
    let events = vec![StoredEvent::of(&event)?.event];
    batch.events.push(EventsRow { execution_id, seq_from: event.seq, seq_to: event.seq, events });
    batch.finishes.push(FinishRow::new(&execution));
    Ok(batch)
}

fn is_going(status: StepStatus) -> bool {
    matches!(status, StepStatus::Pending | StepStatus::Running)
}

/// Puts a run that never started back into the queue. One that can no longer be run ends with the reason.
pub(crate) async fn resume(local: &Arc<Local>, queued: QueuedRun) {
    let id: ExecutionId = queued.execution.id;
    let execution = Execution { definition: None, ..queued.execution.clone() };
    let definition: Arc<str> = Arc::from(queued.execution.definition.as_deref().unwrap_or_default());
    let run = local.new_live(execution, definition);
    local.add_live(&run);
    run.accepted();
    match local.sources.replan(queued).await {
        Ok(plan) => local.wait_for_slot(run, plan.request, None).await,
        Err(error) => {
            let message = format!("the run cannot be resumed: {}", chain(&error));
            tracing::warn!(execution.id = %id, "{message}");
            let error = ExecutionError { code: error.code(), message };
            local.finish_unrun(&run, ExecutionStatus::Error, Some(error)).await;
        }
    }
}
