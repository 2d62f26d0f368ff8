//! What dead sessions left behind: runs that were going are lost, runs that waited start again here.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::{ExecutionId, SessionId};

use crate::event::{RunEvent, RunEventKind};
use crate::executor::live::LiveRun;
use crate::executor::local::Local;
use crate::executor::outcome;
use crate::executor::recorder::{chain, keys_expired};
use crate::record::{Execution, ExecutionError, ExecutionStatus, StepStatus};
use crate::repository::{
    Batch, EventsRow, ExecutionRepository, Fence, FinishRow, QueuedRun, RepositoryError, StepRow, StoredEvent,
};

/// Runs that were going and are taken over at once. Few: whoever dies between taking them and ending them leaves them
/// for another lease, so that must not take long.
const RUNNING: u32 = 8;
/// Runs that wait and are taken over at once.
const QUEUED: u32 = 256;
/// Batches that are taken over at once.
const BATCHES: u32 = 16;

/// Takes over what sessions had that are dead at `now`, as far as there is room for it.
pub(crate) async fn take_over(
    local: &Arc<Local>,
    session: SessionId,
    now: DateTime<Utc>,
) -> Result<(), RepositoryError> {
    loop {
        let ids = local.store.take_running(session, now, RUNNING).await?;
        settle_lost(local, &ids, session).await?;
        if ids.len() < RUNNING as usize {
            break;
        }
    }
    loop {
        // The only process that has the database takes them all: nobody else will.
        let room = if local.store.is_shared() { u32::try_from(local.slots.room()).unwrap_or(QUEUED) } else { QUEUED };
        let wanted = room.min(QUEUED);
        if wanted == 0 {
            break;
        }
        let queued = local.store.take_queued(session, now, wanted).await?;
        let taken = queued.len();
        for run in queued {
            resume(local, session, run).await;
        }
        if taken < wanted as usize {
            break;
        }
    }
    for id in local.store.take_batches(session, now, BATCHES).await? {
        local.resume_batch(id, session).await?;
    }
    Ok(())
}

/// Settles runs that the session has by what the database knows, and that this process does not know: a commit whose
/// answer was lost, or a take-over that was cut short.
pub(crate) async fn audit(local: &Arc<Local>, session: SessionId) -> Result<(), RepositoryError> {
    let held = local.store.held(session).await?;
    let unknown = held.into_iter().filter(|(id, _)| local.live_run(*id).is_none());
    let (queued, running): (Vec<_>, Vec<_>) = unknown.partition(|(_, status)| *status == ExecutionStatus::Queued);
    let running: Vec<ExecutionId> = running.into_iter().map(|(id, _)| id).collect();
    for ids in running.chunks(RUNNING as usize) {
        settle_lost(local, ids, session).await?;
    }
    let queued: Vec<ExecutionId> = queued.into_iter().map(|(id, _)| id).collect();
    for ids in queued.chunks(QUEUED as usize) {
        for run in local.store.queued(session, ids).await? {
            resume(local, session, run).await;
        }
    }
    local.audit_batches(session).await
}

/// Ends runs that were going when their session died, in one write: whether their last step did its work, nobody can tell.
async fn settle_lost(local: &Local, ids: &[ExecutionId], session_id: SessionId) -> Result<(), RepositoryError> {
    let mut batch = Batch::default();
    for id in ids {
        let Some(execution) = local.store.find(*id).await? else { continue };
        let cancelled = local.store.is_cancel_requested(*id).await?;
        let last = local.store.events(*id, 1).await?.last().map_or(1, |event| event.seq);
        let fence = Fence { session_id, attempt: execution.attempt };
        add_closing(&mut batch, execution, cancelled, (last, local.clock.now()), fence).map_err(|error| {
            RepositoryError::database(format!("end execution `{id}` as lost"), sqlx::Error::Encode(error.into()))
        })?;
    }
    if batch.finishes.is_empty() {
        return Ok(());
    }
    let committed = local.store.write(&batch, keys_expired(&*local.clock)).await?;
    for id in &committed.held {
        tracing::warn!(execution.id = %id, "the runner of this run is gone: it is lost");
    }
    if let Some(relay) = &local.relay {
        relay.publish(committed.messages);
    }
    Ok(())
}

/// Adds the rows that end `execution`: a closing event after the `last`, the steps that were going, the final state.
fn add_closing(
    batch: &mut Batch,
    mut execution: Execution,
    cancelled: bool,
    (last, time): (u64, DateTime<Utc>),
    fence: Fence,
) -> Result<(), serde_json::Error> {
    let execution_id = execution.id;
    let going: Vec<u32> =
        execution.steps.iter().flatten().filter(|step| is_going(step.status)).map(|step| step.ordinal).collect();
    let since = execution.started_at.unwrap_or(time);
    let (status, code, message) = if cancelled {
        (ExecutionStatus::Cancelled, ErrorCode::Cancelled, "cancelled, and the runner that had it is gone")
    } else {
        (ExecutionStatus::Error, ErrorCode::Lost, "the server stopped while the run was going")
    };
    let event = RunEvent {
        seq: last + 1,
        execution_id,
        time,
        kind: RunEventKind::Finished {
            status,
            duration_ms: u64::try_from((time - since).num_milliseconds()).unwrap_or(0),
            error: Some(ExecutionError { code, message: message.to_owned() }),
        },
    };
    execution.apply(&event);
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
    batch.outbox.extend(outcome::message(&execution));
    batch.finishes.push(FinishRow::new(&execution, fence));
    Ok(())
}

fn is_going(status: StepStatus) -> bool {
    matches!(status, StepStatus::Pending | StepStatus::Running)
}

/// Puts a run that never started into the queue. One that is to be ended, or can no longer be run, ends.
/// Gives the run, unless it is here already.
pub(crate) async fn resume(local: &Arc<Local>, session: SessionId, queued: QueuedRun) -> Option<Arc<LiveRun>> {
    let id: ExecutionId = queued.execution.id;
    let execution = Execution { definition: None, ..queued.execution.clone() };
    let definition: Arc<str> = Arc::from(queued.execution.definition.as_deref().unwrap_or_default());
    let run = local.new_live(execution, definition, session);
    if !local.add_live(&run) {
        return None;
    }
    run.accepted();
    if queued.cancel_requested {
        local.finish_cancelled(&run).await;
        return Some(run);
    }
    match local.sources.replan(queued).await {
        Ok(plan) => local.wait_for_slot(Arc::clone(&run), plan.request, None).await,
        Err(error) => {
            let message = format!("the run cannot be resumed: {}", chain(&error));
            tracing::warn!(execution.id = %id, "{message}");
            let error = ExecutionError { code: error.code(), message };
            local.finish_unrun(&run, ExecutionStatus::Error, Some(error)).await;
        }
    }
    Some(run)
}
