//! Reads executions.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::value::RawValue;
use testmesh_shared::db::{JsonText, Stamp, Unsigned};
use testmesh_shared::ids::{BatchId, ExecutionId};
use testmesh_shared::page::{Page, PageKey, PageRequest};
use testmesh_shared::{on_db, sql};

use crate::event::{RunEvent, RunEventKind};
use crate::record::{Batch, Execution, ExecutionStatus, StepRecord};
use crate::repository::row::{ExecutionRow, SummaryRow, word_of};
use crate::repository::{ExecutionFilter, ExecutionRepository, RepositoryError, Store, events, failed};

/// Rows of events read at once: each is one write of the recorder.
const EVENT_ROWS: i64 = 8;

#[async_trait]
impl ExecutionRepository for Store {
    async fn find(&self, id: ExecutionId) -> Result<Option<Execution>, RepositoryError> {
        let operation = || format!("read execution `{id}`");
        let row: Result<Option<ExecutionRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../../sql/find_execution.sql"))
                .bind(id.as_uuid())
                .fetch_optional(engine.reader())
                .await
        });
        let Some(row) = row.map_err(failed(operation()))? else { return Ok(None) };
        let mut execution = row.into_execution().map_err(failed(operation()))?;
        if execution.status == ExecutionStatus::Running {
            // What it has come to so far, with the steps that are still going.
            for event in self.events(id, 1).await? {
                execution.apply(&event);
            }
            execution.steps.get_or_insert_default();
        } else {
            let steps = self.steps(id).await.map_err(failed(operation()))?;
            execution.steps = Some(steps.into_iter().map(Arc::new).collect());
        }
        Ok(Some(execution))
    }

    async fn list(&self, filter: &ExecutionFilter, page: PageRequest) -> Result<Page<Execution>, RepositoryError> {
        let (statement, of) = match (filter.batch_id, filter.flow_id) {
            (Some(batch), _) => (include_str!("../../sql/list_executions_of_batch.sql"), Some(batch.as_uuid())),
            (None, Some(flow)) => (include_str!("../../sql/list_executions_of_flow.sql"), Some(flow.as_uuid())),
            (None, None) => (include_str!("../../sql/list_executions.sql"), None),
        };
        let rows: Result<Vec<SummaryRow>, _> = on_db!(&self.db, engine => {
            let query = sqlx::query_as(statement)
                .bind(filter.status.map(ExecutionStatus::as_str))
                .bind(filter.trigger.and_then(word_of))
                .bind(filter.schedule_id)
                .bind(filter.since.map(Stamp))
                .bind(filter.until.map(Stamp))
                .bind(page.after.map(|key| Stamp(key.created_at)))
                .bind(page.after.map(|key| key.id))
                .bind(i64::from(page.limit) + 1);
            match of {
                Some(id) => query.bind(id).fetch_all(engine.reader()).await,
                None => query.fetch_all(engine.reader()).await,
            }
        });
        let items = rows.and_then(|rows| rows.into_iter().map(SummaryRow::into_execution).collect());
        let mut items: Vec<Execution> = items.map_err(failed("list executions"))?;
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more);
        let next = next.map(|last| PageKey { created_at: last.queued_at, id: last.id.as_uuid() });
        Ok(Page { items, next })
    }

    async fn batch(&self, id: BatchId) -> Result<Option<Batch>, RepositoryError> {
        Ok(self.held_batch(id).await?.map(|held| held.batch))
    }

    async fn step(&self, id: ExecutionId, step: &str) -> Result<Option<StepRecord>, RepositoryError> {
        let record: Result<Option<JsonText<StepRecord>>, _> = on_db!(&self.db, engine => {
            match step.parse::<u32>() {
                Ok(ordinal) => {
                    sqlx::query_scalar(include_str!("../../sql/find_step_by_ordinal.sql"))
                        .bind(id.as_uuid())
                        .bind(Unsigned(ordinal))
                        .fetch_optional(engine.reader())
                        .await
                }
                Err(_) => {
                    sqlx::query_scalar(include_str!("../../sql/find_step_by_id.sql"))
                        .bind(id.as_uuid())
                        .bind(step)
                        .fetch_optional(engine.reader())
                        .await
                }
            }
        });
        let record = record.map_err(failed(format!("read a step of execution `{id}`")))?;
        Ok(record.map(|record| record.0))
    }

    async fn events(&self, id: ExecutionId, after: u64) -> Result<Vec<RunEvent>, RepositoryError> {
        let (mut all, mut after) = (Vec::new(), after);
        loop {
            let page = self.events_page(id, after).await?;
            match page.last() {
                Some(last) => after = last.seq,
                None => return Ok(all),
            }
            all.extend(page);
        }
    }
}

impl Store {
    /// The next few stored events with a greater `seq`; none: that was all.
    pub(crate) async fn events_page(&self, id: ExecutionId, after: u64) -> Result<Vec<RunEvent>, RepositoryError> {
        self.read_events(id, after).await.map_err(failed(format!("read the events of execution `{id}`")))
    }

    async fn read_events(&self, id: ExecutionId, after: u64) -> Result<Vec<RunEvent>, sqlx::Error> {
        if after == 0 {
            return Ok(self.find_summary(id).await?.map(first_event).into_iter().collect());
        }
        let rows: Vec<(i64, String)> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../../sql/list_events.sql"))
                .bind(id.as_uuid())
                .bind(i64::try_from(after).unwrap_or(i64::MAX))
                .bind(EVENT_ROWS)
                .fetch_all(engine.reader())
                .await?
        });
        let mut stored: Vec<&RawValue> = Vec::new();
        for (_, events) in &rows {
            let list: Vec<&RawValue> =
                serde_json::from_str(events).map_err(|error| sqlx::Error::Decode(error.into()))?;
            stored.extend(list);
        }
        let ordinals = events::ordinals(&stored);
        let mut records = HashMap::new();
        if !ordinals.is_empty() {
            let steps: Vec<JsonText<StepRecord>> = on_db!(&self.db, engine => {
                sqlx::query_scalar(sql!(&self.db, "../../sql/list_some_steps"))
                    .bind(id.as_uuid())
                    .bind(JsonText(ordinals))
                    .fetch_all(engine.reader())
                    .await?
            });
            records.extend(steps.into_iter().map(|JsonText(step)| (step.ordinal, step)));
        }
        let mut restored = Vec::with_capacity(stored.len());
        for event in stored {
            restored.push(events::restore(id, event, &mut records)?);
        }
        restored.retain(|event| event.seq > after);
        Ok(restored)
    }

    /// A run without its text and steps.
    pub(crate) async fn find_summary(&self, id: ExecutionId) -> Result<Option<Execution>, sqlx::Error> {
        let row: Option<SummaryRow> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../../sql/find_summary.sql"))
                .bind(id.as_uuid())
                .fetch_optional(engine.reader())
                .await?
        });
        row.map(SummaryRow::into_execution).transpose()
    }

    async fn steps(&self, id: ExecutionId) -> Result<Vec<StepRecord>, sqlx::Error> {
        let steps: Vec<JsonText<StepRecord>> = on_db!(&self.db, engine => {
            sqlx::query_scalar(include_str!("../../sql/list_steps.sql"))
                .bind(id.as_uuid())
                .fetch_all(engine.reader())
                .await?
        });
        Ok(steps.into_iter().map(|step| step.0).collect())
    }
}

/// `execution.queued`: the run as it was before anything happened to it.
fn first_event(execution: Execution) -> RunEvent {
    let queued = Execution {
        status: ExecutionStatus::Queued,
        started_at: None,
        finished_at: None,
        duration_ms: None,
        passed_steps: 0,
        failed_steps: 0,
        skipped_steps: 0,
        error: None,
        trace_id: None,
        runner: None,
        definition: None,
        steps: None,
        ..execution
    };
    RunEvent { seq: 1, execution_id: queued.id, time: queued.queued_at, kind: RunEventKind::Queued(Box::new(queued)) }
}
