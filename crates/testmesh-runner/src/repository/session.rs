//! Who holds which runs: sessions with a lease, and what they take over from dead ones.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use testmesh_shared::db::{Db, JsonText, Stamp, Unsigned};
use testmesh_shared::ids::{BatchId, ExecutionId, SessionId};
use testmesh_shared::{on_db, sql};
use uuid::Uuid;

use crate::record::ExecutionStatus;
use crate::repository::row::{QueuedRow, word};
use crate::repository::{QueuedRun, RepositoryError, Store, change, change_ids, failed};

/// What a look at the database found to be done.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(crate) struct Probe {
    /// Runs or batches of dead sessions.
    pub(crate) orphans: bool,
    /// Messages that somebody stored a while ago and did not publish.
    pub(crate) unpublished: bool,
    /// Sessions that died a while ago.
    pub(crate) remains: bool,
    now: Stamp,
}

impl Probe {
    /// The database's time.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.now.0
    }
}

/// How far a run of another process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) status: ExecutionStatus,
    pub(crate) seq: u64,
}

impl Store {
    /// Whether several processes share the database.
    pub(crate) fn is_shared(&self) -> bool {
        self.db.is_shared()
    }

    /// The database's own time.
    pub(crate) async fn now(&self) -> Result<DateTime<Utc>, RepositoryError> {
        self.db.now().await.map_err(failed("read the database's time"))
    }

    /// Begins a session at `now`. Where one process has the database, it never ends by itself.
    pub(crate) async fn open_session(
        &self,
        id: SessionId,
        name: &str,
        slots: usize,
        (now, lease): (DateTime<Utc>, Duration),
    ) -> Result<(), RepositoryError> {
        let until =
            if self.is_shared() { now + lease } else { DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(2_900_000) };
        let slots = Unsigned(u32::try_from(slots).unwrap_or(u32::MAX));
        let statement = include_str!("../../sql/insert_session.sql");
        change!(&self.db, statement, id.as_uuid(), name, slots, Stamp(now), Stamp(until))
            .map(drop)
            .map_err(failed("begin a session"))
    }

    /// Says at `now` that the session lives. `false`: it is dead.
    pub(crate) async fn renew_session(
        &self,
        id: SessionId,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<bool, RepositoryError> {
        let statement = include_str!("../../sql/renew_session.sql");
        let renewed = change!(&self.db, statement, id.as_uuid(), Stamp(now), Stamp(now + lease));
        Ok(renewed.map_err(failed("renew a session"))? > 0)
    }

    /// Gives what waits in the session to others and says that it takes nothing more. `ahead`: runs that were marked as
    /// running and did nothing.
    pub(crate) async fn drain_session(&self, id: SessionId, ahead: &[ExecutionId]) -> Result<(), RepositoryError> {
        let shared = self.is_shared();
        let drained: Result<(), sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            sqlx::query(include_str!("../../sql/drain_session.sql")).bind(id.as_uuid()).execute(&mut *tx).await?;
            if !ahead.is_empty() {
                sqlx::query(sql!(&self.db, "../../sql/put_back"))
                    .bind(id.as_uuid())
                    .bind(JsonText(ahead))
                    .execute(&mut *tx)
                    .await?;
            }
            if shared {
                sqlx::query(include_str!("../../sql/release_queued.sql")).bind(id.as_uuid()).execute(&mut *tx).await?;
                sqlx::query(include_str!("../../sql/release_batches.sql")).bind(id.as_uuid()).execute(&mut *tx).await?;
            }
            tx.commit().await
        }.await);
        drained.map_err(failed("drain a session"))
    }

    /// Ends the session: what it still has is others' to settle.
    pub(crate) async fn close_session(&self, id: SessionId) -> Result<(), RepositoryError> {
        let closed = change!(&self.db, include_str!("../../sql/delete_session.sql"), id.as_uuid());
        closed.map(drop).map_err(failed("end a session"))
    }

    /// Where one process has the database, ends every session but its own.
    pub(crate) async fn close_other_sessions(&self, id: SessionId) -> Result<(), RepositoryError> {
        let closed = change!(&self.db, include_str!("../../sql/delete_other_sessions.sql"), id.as_uuid());
        closed.map(drop).map_err(failed("end the sessions before this one"))
    }

    /// Forgets sessions that died before `before`.
    pub(crate) async fn forget_sessions(&self, before: DateTime<Utc>) -> Result<(), RepositoryError> {
        let done = change!(&self.db, include_str!("../../sql/delete_dead_sessions.sql"), Stamp(before));
        done.map(drop).map_err(failed("forget dead sessions"))
    }

    /// What there is to be done; none where one process has the database, which does it all itself.
    pub(crate) async fn probe(&self) -> Result<Option<Probe>, RepositoryError> {
        match &self.db {
            Db::Postgres(engine) => sqlx::query_as(include_str!("../../sql/probe.postgres.sql"))
                .fetch_one(engine.reader())
                .await
                .map(Some)
                .map_err(failed("look for what is left to do")),
            Db::Sqlite(_) => Ok(None),
        }
    }

    /// Makes up to `limit` runs that dead sessions were running the session's.
    pub(crate) async fn take_running(
        &self,
        session: SessionId,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<ExecutionId>, RepositoryError> {
        let statement = sql!(&self.db, "../../sql/take_running");
        let ids = change_ids!(&self.db, statement, session.as_uuid(), Stamp(now), Unsigned(limit));
        Ok(ids.map_err(failed("take over runs of dead sessions"))?.into_iter().map(ExecutionId::from).collect())
    }

    /// Puts up to `limit` runs that wait in dead sessions, or in none, into the session's queue.
    pub(crate) async fn take_queued(
        &self,
        session: SessionId,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<QueuedRun>, RepositoryError> {
        let statement = sql!(&self.db, "../../sql/take_queued");
        let ids = change_ids!(&self.db, statement, session.as_uuid(), Stamp(now), Unsigned(limit));
        let ids = ids.map_err(failed("take over runs that wait"))?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.queued(session, &ids.into_iter().map(ExecutionId::from).collect::<Vec<_>>()).await
    }

    /// Those of `ids` that wait in the session, with what they need to start.
    pub(crate) async fn queued(
        &self,
        session: SessionId,
        ids: &[ExecutionId],
    ) -> Result<Vec<QueuedRun>, RepositoryError> {
        let rows: Result<Vec<QueuedRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(sql!(&self.db, "../../sql/list_queued"))
                .bind(session.as_uuid())
                .bind(JsonText(ids))
                .fetch_all(engine.reader())
                .await
        });
        let queued = rows.and_then(|rows| rows.into_iter().map(QueuedRow::into_queued).collect());
        queued.map_err(failed("read runs that wait"))
    }

    /// Runs that the session has, by what the database knows.
    pub(crate) async fn held(
        &self,
        session: SessionId,
    ) -> Result<Vec<(ExecutionId, ExecutionStatus)>, RepositoryError> {
        let rows: Result<Vec<(Uuid, String)>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../../sql/list_held.sql"))
                .bind(session.as_uuid())
                .fetch_all(engine.reader())
                .await
        });
        let held = rows.and_then(|rows| {
            rows.into_iter().map(|(id, status)| Ok((ExecutionId::from(id), word(&status)?))).collect()
        });
        held.map_err(failed("list the runs of a session"))
    }

    /// Makes up to `limit` batches of dead sessions, or of none, the session's, with their runs that wait.
    pub(crate) async fn take_batches(
        &self,
        session: SessionId,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<BatchId>, RepositoryError> {
        let taken: Result<Vec<Uuid>, sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            let ids: Vec<Uuid> = sqlx::query_scalar(sql!(&self.db, "../../sql/take_batches"))
                .bind(session.as_uuid())
                .bind(Stamp(now))
                .bind(Unsigned(limit))
                .fetch_all(&mut *tx)
                .await?;
            for id in &ids {
                sqlx::query(include_str!("../../sql/take_members.sql"))
                    .bind(session.as_uuid())
                    .bind(*id)
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
            Ok(ids)
        }.await);
        Ok(taken.map_err(failed("take over batches"))?.into_iter().map(BatchId::from).collect())
    }

    /// Asks for a run's end. Gives its state; one that was `queued` is the session's now, and is not started any more.
    pub(crate) async fn request_cancel(
        &self,
        id: ExecutionId,
        session: SessionId,
    ) -> Result<Option<ExecutionStatus>, RepositoryError> {
        let statement = include_str!("../../sql/request_cancel.sql");
        let found: Result<Option<String>, sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            let status: Option<String> = sqlx::query_scalar(statement)
                .bind(id.as_uuid())
                .bind(session.as_uuid())
                .fetch_optional(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(status)
        }.await);
        let status = found.and_then(|status| status.map(|status| word(&status)).transpose());
        status.map_err(failed(format!("ask for the end of execution `{id}`")))
    }

    /// Runs and batches of the session that somebody wants to end.
    pub(crate) async fn cancelled(&self, session: SessionId) -> Result<Vec<Uuid>, RepositoryError> {
        let ids: Result<Vec<Uuid>, _> = on_db!(&self.db, engine => {
            sqlx::query_scalar(include_str!("../../sql/list_cancelled.sql"))
                .bind(session.as_uuid())
                .fetch_all(engine.reader())
                .await
        });
        ids.map_err(failed("look for cancelled runs"))
    }

    /// Whether somebody wants this run to end.
    pub(crate) async fn is_cancel_requested(&self, id: ExecutionId) -> Result<bool, RepositoryError> {
        let found: Result<Option<bool>, _> = on_db!(&self.db, engine => {
            sqlx::query_scalar(include_str!("../../sql/is_cancel_requested.sql"))
                .bind(id.as_uuid())
                .fetch_optional(engine.reader())
                .await
        });
        Ok(found.map_err(failed(format!("read execution `{id}`")))?.unwrap_or(false))
    }

    /// How far runs have come. Those that are missing do not exist.
    pub(crate) async fn progress(&self, ids: &[ExecutionId]) -> Result<Vec<(ExecutionId, Seen)>, RepositoryError> {
        let rows: Result<Vec<(Uuid, String, i64)>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(sql!(&self.db, "../../sql/list_progress"))
                .bind(JsonText(ids))
                .fetch_all(engine.reader())
                .await
        });
        let seen = rows.and_then(|rows| {
            let seen = |(id, status, seq): (Uuid, String, i64)| {
                Ok((ExecutionId::from(id), Seen { status: word(&status)?, seq: seq.unsigned_abs() }))
            };
            rows.into_iter().map(seen).collect()
        });
        seen.map_err(failed("follow runs of other processes"))
    }
}
