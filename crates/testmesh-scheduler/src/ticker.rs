//! The loop that fires schedules: takes those that are due, makes a job of each firing, and says when they are due next,
//! all in one transaction, so that a firing is neither lost nor doubled whenever this process dies.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use testmesh_shared::db::{Db, Stamp};
use testmesh_shared::{on_db, sql};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::cron::{Cron, CronError};
use crate::firing::{Fired, fire};
use crate::job_repository::{NewJob, Payload, json, new_job};
use crate::local::{Time, Wakers, trouble};
use crate::schedule_repository::{ScheduleRow, StoredSchedule};

/// Schedules that one transaction takes. Of many that are due at the same moment, the first run while the next are taken.
const BATCH: i64 = 50;
/// How often it looks although nothing is due: another process may have made a schedule, and died.
const IDLE: Duration = Duration::from_secs(2);
/// How long it leaves what another process is about to fire.
const HELD_ELSEWHERE: Duration = Duration::from_millis(25);
/// Cron expressions that are kept read.
const MOST_EXPRESSIONS: usize = 10_000;

/// Fires due schedules until it is told to end.
pub(crate) struct Ticker {
    pub(crate) db: Db,
    pub(crate) time: Time,
    pub(crate) wakers: Wakers,
    pub(crate) expressions: Expressions,
}

/// Cron expressions that were read before: reading one takes as long as storing several jobs.
#[derive(Debug, Default)]
pub(crate) struct Expressions(HashMap<String, Cron>);

impl Expressions {
    fn parse(&mut self, text: &str) -> Result<Cron, CronError> {
        if let Some(known) = self.0.get(text) {
            return Ok(known.clone());
        }
        let parsed = Cron::parse(text)?;
        if self.0.len() >= MOST_EXPRESSIONS {
            self.0.clear();
        }
        self.0.insert(text.to_owned(), parsed.clone());
        Ok(parsed)
    }
}

/// When a schedule is due next, as the statement takes it.
#[derive(Serialize)]
struct Advance {
    id: Uuid,
    next_at: Option<Stamp>,
}

impl Ticker {
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            let wait = match self.turn().await {
                Ok(wait) => wait,
                Err(error) => trouble("fire schedules", &error),
            };
            tokio::select! {
                // Cancel-safe: waiting for a cancellation keeps no state.
                () = cancel.cancelled() => {}
                // Cancel-safe: a permit that is given while nobody waits is kept.
                () = self.wakers.firing.notified() => {}
                // Cancel-safe per docs on `sleep()`.
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Fires what is due, a batch at most; how long to wait for the next turn.
    async fn turn(&mut self) -> Result<Duration, sqlx::Error> {
        let held = self.time.held().map(Stamp);
        let (now, next_at): (Stamp, Option<Stamp>) = on_db!(&self.db, engine => {
            sqlx::query_as(sql!(&self.db, "../sql/look_schedules")).bind(held).fetch_one(engine.reader()).await?
        });
        let Some(Stamp(next_at)) = next_at else { return Ok(IDLE) };
        if next_at > now.0 {
            return Ok((next_at - now.0).to_std().unwrap_or(IDLE).min(IDLE));
        }
        let taken = self.tick(now.0).await?;
        self.wakers.dispatch.notify_one();
        Ok(if taken == 0 { HELD_ELSEWHERE } else { Duration::ZERO })
    }

    /// Fires a batch of what is due at `now`. Gives back how many schedules it took.
    async fn tick(&mut self, now: DateTime<Utc>) -> Result<usize, sqlx::Error> {
        on_db!(&self.db, engine => {
            let mut tx = engine.begin().await?;
            let rows: Vec<ScheduleRow> = sqlx::query_as(sql!(&self.db, "../sql/take_due_schedules"))
                .bind(Stamp(now))
                .bind(BATCH)
                .fetch_all(&mut *tx)
                .await?;
            let taken = rows.len();
            if taken == 0 {
                return Ok(0);
            }
            let ids = json(&rows.iter().map(ScheduleRow::id).collect::<Vec<_>>());
            let unfinished: Vec<(Uuid, i64)> =
                sqlx::query_as(sql!(&self.db, "../sql/count_unfinished")).bind(ids).fetch_all(&mut *tx).await?;
            let (jobs, advances) = plan(rows, &mut self.expressions, &unfinished.into_iter().collect(), now);
            sqlx::query(sql!(&self.db, "../sql/insert_jobs")).bind(json(&jobs)).execute(&mut *tx).await?;
            sqlx::query(sql!(&self.db, "../sql/advance_schedules")).bind(json(&advances)).execute(&mut *tx).await?;
            tx.commit().await?;
            Ok(taken)
        })
    }
}

/// What the schedules of a batch do at `now`, while so many jobs of each are not over.
fn plan(
    rows: Vec<ScheduleRow>,
    expressions: &mut Expressions,
    unfinished: &HashMap<Uuid, i64>,
    now: DateTime<Utc>,
) -> (Vec<NewJob>, Vec<Advance>) {
    let (mut jobs, mut advances) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for row in rows {
        let id = row.id();
        let stored = match StoredSchedule::read(row, |text| expressions.parse(text)) {
            Ok(stored) => stored,
            Err(error) => {
                // A release that reads it will set it going when it is saved again.
                tracing::error!(schedule.id = %id, %error, "a schedule cannot be read and will not fire");
                advances.push(Advance { id, next_at: None });
                continue;
            }
        };
        let going = unfinished.get(&id).copied().and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
        let StoredSchedule { schedule, next_at } = stored;
        let Some(first) = next_at else { continue };
        let Fired { firings, next_at } = fire(&schedule.spec, first, now, going, rand::random::<f64>);
        let payload = Payload::from(&schedule.spec);
        jobs.extend(firings.into_iter().map(|firing| new_job(&schedule, &payload, firing, now)));
        advances.push(Advance { id, next_at: next_at.map(Stamp) });
    }
    (jobs, advances)
}
