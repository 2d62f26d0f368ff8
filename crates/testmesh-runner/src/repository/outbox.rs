//! What is to be told of jobs: messages stored with what they tell, and how attempts stand.

use chrono::{DateTime, Utc};
use serde::Serialize;
use testmesh_shared::db::{JsonText, Stamp, Unsigned};
use testmesh_shared::ids::{ExecutionId, JobId};
use testmesh_shared::{on_db, sql};
use uuid::Uuid;

use crate::record::ExecutionStatus;
use crate::repository::row::word;
use crate::repository::{RepositoryError, Store, change, failed};

/// A stored message.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Message {
    pub(crate) seq: i64,
    pub(crate) payload: String,
}

/// An attempt of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct AttemptKey {
    pub(crate) job_id: JobId,
    pub(crate) attempt: u32,
}

/// What became of an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) key: AttemptKey,
    pub(crate) execution_id: ExecutionId,
    pub(crate) status: ExecutionStatus,
    pub(crate) finished_at: Option<DateTime<Utc>>,
    pub(crate) error_code: Option<String>,
    pub(crate) error_message: Option<String>,
}

#[derive(sqlx::FromRow)]
struct AttemptRow {
    job_id: Uuid,
    attempt: Unsigned,
    id: Uuid,
    status: String,
    finished_at: Option<Stamp>,
    error_code: Option<String>,
    error_message: Option<String>,
}

impl Store {
    /// The oldest messages that were stored before `before`, up to `limit`.
    pub(crate) async fn unpublished(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<Message>, RepositoryError> {
        let messages: Result<Vec<Message>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../../sql/list_outbox.sql"))
                .bind(Stamp(before))
                .bind(Unsigned(limit))
                .fetch_all(engine.reader())
                .await
        });
        messages.map_err(failed("read messages that wait"))
    }

    /// Forgets messages that are published.
    pub(crate) async fn forget_messages(&self, seqs: &[i64]) -> Result<(), RepositoryError> {
        let done = change!(&self.db, sql!(&self.db, "../../sql/delete_outbox"), JsonText(seqs));
        done.map(drop).map_err(failed("forget messages that are published"))
    }

    /// What became of attempts. Those that are missing were never taken.
    pub(crate) async fn attempts(&self, keys: &[AttemptKey]) -> Result<Vec<Attempt>, RepositoryError> {
        let rows: Result<Vec<AttemptRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(sql!(&self.db, "../../sql/list_attempts"))
                .bind(JsonText(keys))
                .fetch_all(engine.reader())
                .await
        });
        let attempts = rows.and_then(|rows| rows.into_iter().map(AttemptRow::into_attempt).collect());
        attempts.map_err(failed("read attempts of jobs"))
    }
}

impl AttemptRow {
    fn into_attempt(self) -> Result<Attempt, sqlx::Error> {
        Ok(Attempt {
            key: AttemptKey { job_id: JobId::from(self.job_id), attempt: self.attempt.0 },
            execution_id: ExecutionId::from(self.id),
            status: word(&self.status)?,
            finished_at: self.finished_at.map(|stamp| stamp.0),
            error_code: self.error_code,
            error_message: self.error_message,
        })
    }
}
