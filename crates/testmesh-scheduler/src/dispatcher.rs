//! The loop that sends jobs to the runners: those that are due, and those that are out without a sign of life.
//!
//! One mechanism serves first dispatch, retries, delays, lost messages and an emptied stream: a job is marked first and
//! sent after the commit, and is due again unless a runner tells of it. What is due again is sent again only when the
//! stream does not have it any more: runners that are busy read later, and more of the same would keep them busier.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use testmesh_shared::db::{Db, JsonText, Stamp, Unsigned};
use testmesh_shared::ids::{FlowId, JobId, ScheduleId};
use testmesh_shared::messages::RunFlow;
use testmesh_shared::stream::{Stream, StreamError, Topic};
use testmesh_shared::{on_db, sql};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::job_repository::{Payload, json};
use crate::local::{Time, Wakers, trouble};
use crate::settlement::SIGN_OF_LIFE;

/// Jobs that one statement takes.
const BATCH: i64 = 500;
/// Jobs that may be out without that a runner told of them. What waits beyond waits in the table, so that a stream whose
/// readers are busy is not filled with the same jobs again and again.
const WINDOW: i64 = 5_000;
/// How many of these must be told of before it looks whether the window is open again: a look counts what is out, and a
/// batch of a few jobs costs nearly as much as a full one.
const ROOM: u64 = 500;
/// It looks after this time at the latest: other processes are told of jobs too.
const CLOSED: Duration = Duration::from_millis(50);
/// How many messages of a stream it looks at, to see which jobs need not be sent again. What is lost is sent again when
/// a stream has fewer, so that nothing makes it grow beyond that.
const LOOK: usize = 20_000;
/// How long what it saw there counts.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(1);
/// How often it looks although nothing is due: another process may have made a job, and died.
const IDLE: Duration = Duration::from_secs(1);
/// How long it leaves what another process is about to send, or waits for the window to open; doubled up to 32 times.
const HELD: Duration = Duration::from_millis(10);
/// How long the stream may take for a batch, or for a look at it.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// When a batch that could not be sent is due again.
const UNSENT: TimeDelta = TimeDelta::seconds(1);

/// Sends due jobs until it is told to end.
pub(crate) struct Dispatcher {
    pub(crate) db: Db,
    pub(crate) time: Time,
    pub(crate) wakers: Wakers,
    pub(crate) stream: Arc<dyn Stream>,
    /// Turns in a row that could not take what was due.
    pub(crate) n_held: u32,
    pub(crate) window: Window,
    pub(crate) seen: Option<Seen>,
}

/// Whether more jobs may go out.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The last batch was not a full one.
    short: bool,
    /// Since when as many are out as may be, and how many runners had told of by then.
    closed: Option<(Instant, u64)>,
}

impl Window {
    /// How long to wait before the next look, unless enough is told of before.
    fn wait(&mut self, n_told: u64) -> Option<Duration> {
        let (since, before) = self.closed?;
        let wait = CLOSED.saturating_sub(since.elapsed());
        if wait.is_zero() || n_told - before >= ROOM {
            self.closed = None;
            return None;
        }
        Some(wait)
    }
}

/// What the stream had when it was looked at.
#[derive(Debug)]
pub(crate) struct Seen {
    at: DateTime<Utc>,
    attempts: HashSet<Attempt>,
    /// It had more than was looked at.
    more: bool,
}

/// Of a [`RunFlow`], what says which attempt it is about.
#[derive(Debug, Deserialize, PartialEq, Eq, Hash)]
struct Attempt {
    job_id: JobId,
    attempt: u32,
}

impl Seen {
    /// Garbage among the messages is the runners' to report.
    fn new(messages: &[String], at: DateTime<Utc>) -> Self {
        let attempts = messages.iter().filter_map(|message| serde_json::from_str(message).ok()).collect();
        Self { at, attempts, more: messages.len() >= LOOK }
    }

    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        (TimeDelta::zero()..LOOK_AGAIN).contains(&(now - self.at))
    }

    /// Whether a job need not be sent again.
    fn has(&self, run: &RunFlow) -> bool {
        self.more || self.attempts.contains(&Attempt { job_id: run.job_id, attempt: run.attempt })
    }
}

#[derive(sqlx::FromRow)]
struct DueRow {
    id: Uuid,
    attempt: Unsigned,
    schedule_id: Option<Uuid>,
    manual: bool,
    nominal_at: Stamp,
    flow_id: Uuid,
    payload: JsonText<Payload>,
    dispatched_at: Option<Stamp>,
}

/// Jobs that were taken, and are due again at `until` unless a runner tells of them.
struct Taken {
    /// Whose attempt was never sent.
    fresh: Vec<RunFlow>,
    /// Whose attempt was sent, without a sign of life since.
    overdue: Vec<RunFlow>,
    until: DateTime<Utc>,
}

impl From<DueRow> for RunFlow {
    fn from(row: DueRow) -> Self {
        let Payload { flow_version, environment, variables, retry: _ } = row.payload.0;
        Self {
            job_id: JobId::from(row.id),
            attempt: row.attempt.0,
            schedule_id: row.schedule_id.map(ScheduleId::from),
            manual: row.manual,
            nominal_at: row.nominal_at.0,
            flow_id: FlowId::from(row.flow_id),
            flow_version,
            environment,
            variables,
        }
    }
}

impl Dispatcher {
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            let wait = match self.turn().await {
                Ok(wait) => wait,
                Err(error) => trouble("send jobs to the runners", &error),
            };
            tokio::select! {
                // Cancel-safe: waiting for a cancellation keeps no state.
                () = cancel.cancelled() => {}
                // Cancel-safe: a permit that is given while nobody waits is kept.
                () = self.wakers.dispatch.notified() => {}
                // Cancel-safe per docs on `sleep()`.
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Sends what is due, a batch at most; how long to wait for the next turn.
    async fn turn(&mut self) -> Result<Duration, sqlx::Error> {
        let n_told = self.wakers.n_told.load(Ordering::Relaxed);
        if let Some(wait) = self.window.wait(n_told) {
            return Ok(wait);
        }
        let held = self.time.held().map(Stamp);
        let (Stamp(now), next_at, any_waiting): (Stamp, Option<Stamp>, bool) = on_db!(&self.db, engine => {
            sqlx::query_as(sql!(&self.db, "../sql/look_jobs")).bind(held).fetch_one(engine.reader()).await?
        });
        if any_waiting && self.release(now).await? > 0 {
            return Ok(Duration::ZERO);
        }
        let Some(Stamp(next_at)) = next_at else { return Ok(IDLE) };
        if next_at > now {
            return Ok((next_at - now).to_std().unwrap_or(IDLE).min(IDLE));
        }
        if std::mem::take(&mut self.window.short) && self.n_out(now).await? >= WINDOW {
            self.window.closed = Some((Instant::now(), n_told));
            return Ok(CLOSED);
        }
        let Taken { mut fresh, overdue, until } = self.take(now).await?;
        let n_taken = fresh.len() + overdue.len();
        self.window.short = i64::try_from(n_taken).is_ok_and(|count| count < BATCH);
        if n_taken == 0 {
            self.n_held = self.n_held.saturating_add(1);
            return Ok(HELD * (1 << self.n_held.min(5)));
        }
        self.n_held = 0;
        fresh.extend(self.lost(overdue, now).await);
        self.send(fresh, now, until).await?;
        Ok(Duration::ZERO)
    }

    /// Lets the next job of each schedule go that has nothing else going.
    async fn release(&self, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
        on_db!(&self.db, engine => {
            let mut tx = engine.begin().await?;
            let released =
                sqlx::query(sql!(&self.db, "../sql/release_waiting")).bind(Stamp(now)).execute(&mut *tx).await?;
            tx.commit().await?;
            Ok(released.rows_affected())
        })
    }

    /// Jobs that are out and that no runner told of.
    async fn n_out(&self, now: DateTime<Utc>) -> Result<i64, sqlx::Error> {
        on_db!(&self.db, engine => {
            sqlx::query_scalar(include_str!("../sql/count_out.sql")).bind(Stamp(now)).fetch_one(engine.reader()).await
        })
    }

    async fn take(&self, now: DateTime<Utc>) -> Result<Taken, sqlx::Error> {
        let until = now + SIGN_OF_LIFE;
        let rows: Vec<DueRow> = on_db!(&self.db, engine => {
            let mut tx = engine.begin().await?;
            let rows = sqlx::query_as(sql!(&self.db, "../sql/take_due_jobs"))
                .bind(Stamp(now))
                .bind(Stamp(until))
                .bind(BATCH)
                .bind(WINDOW)
                .fetch_all(&mut *tx)
                .await?;
            tx.commit().await?;
            rows
        });
        let (fresh, overdue): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.dispatched_at.is_some_and(|Stamp(at)| at == now));
        let messages = |rows: Vec<DueRow>| rows.into_iter().map(RunFlow::from).collect();
        Ok(Taken { fresh: messages(fresh), overdue: messages(overdue), until })
    }

    /// Those of `overdue` that the stream does not have any more: all, when it does not say.
    async fn lost(&mut self, mut overdue: Vec<RunFlow>, now: DateTime<Utc>) -> Vec<RunFlow> {
        if overdue.is_empty() {
            return overdue;
        }
        if !self.seen.as_ref().is_some_and(|seen| seen.is_fresh(now)) {
            let look = tokio::time::timeout(PUBLISH_TIMEOUT, self.stream.under_way(Topic::RunFlow, LOOK)).await;
            self.seen = match look.unwrap_or_else(|_| Err(late("look at what is under way"))) {
                Ok(messages) => Some(Seen::new(&messages, now)),
                Err(error) => {
                    tracing::warn!(%error, n_jobs = overdue.len(), "jobs may be sent again although they wait already");
                    None
                }
            };
        }
        if let Some(seen) = &self.seen {
            overdue.retain(|run| !seen.has(run));
        }
        overdue
    }

    /// After the commit: a crash before this line leaves jobs that are due again soon.
    async fn send(&self, due: Vec<RunFlow>, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<(), sqlx::Error> {
        if due.is_empty() {
            return Ok(());
        }
        let payloads: Vec<String> = due.iter().map(json).collect();
        let published = tokio::time::timeout(PUBLISH_TIMEOUT, self.stream.publish(Topic::RunFlow, &payloads)).await;
        let error = match published {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => late("publish"),
        };
        tracing::warn!(%error, n_jobs = due.len(), "jobs could not be sent to the runners; they will be sent again");
        let ids = json(&due.iter().map(|message| message.job_id).collect::<Vec<_>>());
        on_db!(&self.db, engine => {
            let mut tx = engine.begin().await?;
            sqlx::query(sql!(&self.db, "../sql/give_back_jobs"))
                .bind(ids)
                .bind(Stamp(now + UNSENT))
                .bind(Stamp(until))
                .execute(&mut *tx)
                .await?;
            tx.commit().await
        })
    }
}

fn late(operation: &'static str) -> StreamError {
    StreamError { operation, reason: "no answer in time".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_window_is_looked_at_after_enough_was_told_or_time_passed() {
        let check = |closed_for: Option<Duration>, told_since: u64, waits: bool| {
            let since = closed_for.map(|ago| Instant::now().checked_sub(ago).unwrap());
            let mut window = Window { short: true, closed: since.map(|since| (since, 1_000)) };
            assert_eq!(window.wait(1_000 + told_since).is_some(), waits, "{closed_for:?} {told_since}");
            assert_eq!(window.closed.is_some(), waits, "{closed_for:?} {told_since}");
        };
        check(None, 0, false);
        check(Some(Duration::ZERO), 0, true);
        check(Some(Duration::ZERO), ROOM - 1, true);
        check(Some(Duration::ZERO), ROOM, false);
        check(Some(CLOSED), 0, false);
    }
}
