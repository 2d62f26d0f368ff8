//! Stores batches: the batch and all its runs in one transaction, so that there is never a part of one.

use chrono::{DateTime, Utc};
use testmesh_shared::db::{JsonText, Stamp, Unsigned};
use testmesh_shared::ids::{BatchId, ExecutionId, FlowId, SessionId};
use testmesh_shared::{on_db, sql};
use uuid::Uuid;

use crate::record::{Batch, BatchCounts, ExecutionStatus};
use crate::repository::outbox::AttemptKey;
use crate::repository::row::{QueuedRow, word};
use crate::repository::{Message, OutboxRow, QueuedRun, RepositoryError, Store, change_ids, failed};

/// A batch and what only its session needs to know.
#[derive(Debug, Clone)]
pub(crate) struct HeldBatch {
    pub(crate) batch: Batch,
    pub(crate) session_id: Option<SessionId>,
    pub(crate) cancel_requested: bool,
}

#[derive(sqlx::FromRow)]
struct BatchRow {
    id: Uuid,
    kind: String,
    name: String,
    flow_id: Option<Uuid>,
    environment: Option<String>,
    parallelism: Unsigned,
    total: Unsigned,
    trigger_kind: String,
    schedule_id: Option<Uuid>,
    job_id: Option<Uuid>,
    attempt: Unsigned,
    session_id: Option<Uuid>,
    cancel_requested: bool,
    created_at: Stamp,
    finished_at: Option<Stamp>,
}

impl Store {
    pub(crate) async fn held_batch(&self, id: BatchId) -> Result<Option<HeldBatch>, RepositoryError> {
        self.read_batch(id).await.map_err(failed(format!("read batch `{id}`")))
    }

    async fn read_batch(&self, id: BatchId) -> Result<Option<HeldBatch>, sqlx::Error> {
        let row: Option<BatchRow> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../../sql/find_batch.sql"))
                .bind(id.as_uuid())
                .fetch_optional(engine.reader())
                .await?
        });
        let Some(row) = row else { return Ok(None) };
        // Read after the batch: a batch that is over has no run that goes on.
        let members: Vec<(String, i64)> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../../sql/count_members.sql"))
                .bind(id.as_uuid())
                .fetch_all(engine.reader())
                .await?
        });
        let mut counts = BatchCounts::default();
        for (status, members) in members {
            counts.add(word::<ExecutionStatus>(&status)?, u32::try_from(members).unwrap_or(u32::MAX));
        }
        row.into_held(counts).map(Some)
    }

    /// The first run of a batch.
    pub(crate) async fn first_member(&self, id: BatchId) -> Result<Option<ExecutionId>, RepositoryError> {
        let found: Result<Option<Uuid>, _> = on_db!(&self.db, engine => {
            sqlx::query_scalar(include_str!("../../sql/find_first_member.sql"))
                .bind(id.as_uuid())
                .fetch_optional(engine.reader())
                .await
        });
        Ok(found.map_err(failed(format!("read batch `{id}`")))?.map(ExecutionId::from))
    }

    /// The next runs of a batch that wait in the session, after the place `after`, with what they need to start.
    pub(crate) async fn queued_members(
        &self,
        id: BatchId,
        session: SessionId,
        after: Option<u32>,
        limit: u32,
    ) -> Result<Vec<QueuedRun>, RepositoryError> {
        let rows: Result<Vec<QueuedRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../../sql/list_queued_members.sql"))
                .bind(session.as_uuid())
                .bind(id.as_uuid())
                .bind(Unsigned(limit))
                .bind(after.map_or(-1, i64::from))
                .fetch_all(engine.reader())
                .await
        });
        let queued = rows.and_then(|rows| rows.into_iter().map(QueuedRow::into_queued).collect());
        queued.map_err(failed(format!("read runs of batch `{id}` that wait")))
    }

    /// Batches that the session has and that are not over.
    pub(crate) async fn held_batches(&self, session: SessionId) -> Result<Vec<BatchId>, RepositoryError> {
        let ids: Result<Vec<Uuid>, _> = on_db!(&self.db, engine => {
            sqlx::query_scalar(include_str!("../../sql/list_held_batches.sql"))
                .bind(session.as_uuid())
                .fetch_all(engine.reader())
                .await
        });
        Ok(ids.map_err(failed("list the batches of a session"))?.into_iter().map(BatchId::from).collect())
    }

    /// The batches that attempts of jobs became.
    pub(crate) async fn batches_of(&self, keys: &[AttemptKey]) -> Result<Vec<BatchId>, RepositoryError> {
        let ids: Result<Vec<Uuid>, _> = on_db!(&self.db, engine => {
            sqlx::query_scalar(sql!(&self.db, "../../sql/list_batch_attempts"))
                .bind(JsonText(keys))
                .fetch_all(engine.reader())
                .await
        });
        Ok(ids.map_err(failed("read attempts of jobs"))?.into_iter().map(BatchId::from).collect())
    }

    /// Asks for the end of a batch. `false`: it is over, or does not exist.
    pub(crate) async fn request_batch_cancel(&self, id: BatchId) -> Result<bool, RepositoryError> {
        let statement = include_str!("../../sql/request_batch_cancel.sql");
        let ids = change_ids!(&self.db, statement, id.as_uuid());
        Ok(!ids.map_err(failed(format!("ask for the end of batch `{id}`")))?.is_empty())
    }

    /// Ends a batch of the session whose runs are all over, and stores what is told of it. `None`: they are not, or the
    /// batch is not the session's.
    pub(crate) async fn finish_batch(
        &self,
        id: BatchId,
        session: SessionId,
        time: DateTime<Utc>,
        message: Option<&OutboxRow>,
    ) -> Result<Option<Vec<Message>>, RepositoryError> {
        let finished: Result<Option<Vec<Message>>, sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            let ids: Vec<Uuid> = sqlx::query_scalar(include_str!("../../sql/finish_batch.sql"))
                .bind(id.as_uuid())
                .bind(session.as_uuid())
                .bind(Stamp(time))
                .fetch_all(&mut *tx)
                .await?;
            if ids.is_empty() {
                return Ok(None);
            }
            let mut messages = Vec::new();
            if let Some(message) = message {
                messages = sqlx::query_as(sql!(&self.db, "../../sql/insert_outbox"))
                    .bind(JsonText([message]))
                    .fetch_all(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
            Ok(Some(messages))
        }.await);
        finished.map_err(failed(format!("end batch `{id}`")))
    }
}

impl BatchRow {
    fn into_held(self, counts: BatchCounts) -> Result<HeldBatch, sqlx::Error> {
        let finished_at = self.finished_at.map(|stamp| stamp.0);
        let batch = Batch {
            id: BatchId::from(self.id),
            kind: word(&self.kind)?,
            name: self.name,
            flow_id: self.flow_id.map(FlowId::from),
            status: counts.status(finished_at.is_some()),
            trigger: word(&self.trigger_kind)?,
            schedule_id: self.schedule_id,
            job_id: self.job_id,
            attempt: self.attempt.0,
            environment: self.environment,
            parallelism: self.parallelism.0,
            created_at: self.created_at.0,
            finished_at,
            total: self.total.0,
            counts,
        };
        let session_id = self.session_id.map(SessionId::from);
        Ok(HeldBatch { batch, session_id, cancel_requested: self.cancel_requested })
    }
}
