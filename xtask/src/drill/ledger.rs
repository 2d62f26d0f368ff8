//! What the tables say, read past every proxy and every server, by somebody who may read all of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::task::JoinHandle;

/// How often final states are written down.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// How often the tables are looked at while something is awaited.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The tables.
pub(crate) struct Ledger {
    pub(crate) pool: PgPool,
    /// The first final state of each job and execution that was seen.
    finals: Arc<Mutex<HashMap<String, String>>>,
    watching: JoinHandle<()>,
}

/// What is not finished.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) jobs: i64,
    pub(crate) executions: i64,
    pub(crate) outbox: i64,
}

/// The firings of one schedule, with times in seconds.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Firings {
    /// When the schedule was made.
    pub(crate) made: f64,
    pub(crate) jobs: i64,
    pub(crate) times: i64,
    pub(crate) first: f64,
    pub(crate) last: f64,
}

/// How many have come how far.
pub(crate) type Counts = HashMap<String, i64>;

impl Ledger {
    pub(super) async fn open(url: &str) -> Result<Self, String> {
        let pool = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(5)).connect(url).await;
        let pool = pool.map_err(|error| format!("open the ledger: {error}"))?;
        let finals = Arc::new(Mutex::new(HashMap::new()));
        let (eyes, book) = (pool.clone(), Arc::clone(&finals));
        #[allow(clippy::disallowed_methods, reason = "aborted when the ledger is dropped")]
        let watching = tokio::spawn(async move {
            loop {
                // PostgreSQL may be what is down.
                let _ = write_down(&eyes, &book).await;
                tokio::time::sleep(WATCH_EVERY).await;
            }
        });
        Ok(Self { pool, finals, watching })
    }

    /// Looks into the tables only when it is asked to.
    pub(crate) fn rest(&self) {
        self.watching.abort();
    }

    /// Jobs, executions and messages that are not finished.
    pub(crate) async fn unfinished(&self) -> Result<Open, String> {
        let (jobs, executions, outbox) = sqlx::query_as(
            "select (select count(*) from scheduler.jobs where state in ('waiting', 'queued', 'dispatched', 'running')), \
             (select count(*) from executions.executions where status in ('queued', 'running')), \
             (select count(*) from executions.outbox)",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(|error| format!("count what is open: {error}"))?;
        Ok(Open { jobs, executions, outbox })
    }

    /// Waits until everything is finished; how long that took.
    pub(crate) async fn settle(&self, patience: Duration) -> Result<Duration, String> {
        let started = Instant::now();
        loop {
            let open = self.unfinished().await;
            if let Ok(Open { jobs: 0, executions: 0, outbox: 0 }) = open {
                return Ok(started.elapsed());
            }
            if started.elapsed() > patience {
                return Err(format!("after {} s there still is {open:?}", patience.as_secs()));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Jobs by state.
    pub(crate) async fn jobs(&self) -> Result<Counts, String> {
        self.counts("select state, count(*) from scheduler.jobs group by state").await
    }

    /// Executions by status, and by the word for what went wrong.
    pub(crate) async fn executions(&self) -> Result<Counts, String> {
        self.counts("select status || coalesce(' ' || error_code, ''), count(*) from executions.executions group by 1")
            .await
    }

    async fn counts(&self, statement: &'static str) -> Result<Counts, String> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as(statement).fetch_all(&self.pool).await.map_err(|error| format!("{statement}: {error}"))?;
        Ok(rows.into_iter().collect())
    }

    /// One number.
    pub(crate) async fn number(&self, statement: &'static str) -> Result<i64, String> {
        sqlx::query_scalar(statement).fetch_one(&self.pool).await.map_err(|error| format!("{statement}: {error}"))
    }

    /// One measure, such as a percentile; nothing when there was nothing to measure.
    pub(crate) async fn measure(&self, statement: &'static str) -> Result<Option<f64>, String> {
        sqlx::query_scalar(statement).fetch_one(&self.pool).await.map_err(|error| format!("{statement}: {error}"))
    }

    /// The firings of each schedule that fired.
    pub(crate) async fn firings(&self) -> Result<Vec<Firings>, String> {
        sqlx::query_as(
            "select extract(epoch from s.created_at)::float8 as made, count(*) as jobs, \
             count(distinct j.nominal_at) as times, extract(epoch from min(j.nominal_at))::float8 as first, \
             extract(epoch from max(j.nominal_at))::float8 as last \
             from scheduler.jobs j join scheduler.schedules s on s.id = j.schedule_id \
             where not j.manual group by s.id",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(|error| format!("read the firings: {error}"))
    }

    /// Ids of executions with this status.
    pub(crate) async fn ids(&self, status: &str) -> Result<Vec<String>, String> {
        sqlx::query_scalar("select id::text from executions.executions where status = $1")
            .bind(status)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| format!("list executions: {error}"))
    }

    /// The time in seconds, by PostgreSQL's clock.
    pub(crate) async fn now(&self) -> Result<f64, String> {
        let now: Option<f64> = self.measure("select extract(epoch from clock_timestamp())::float8").await?;
        now.ok_or_else(|| "PostgreSQL does not know the time".to_owned())
    }

    /// Final states that are not what they first were.
    pub(crate) async fn changed_finals(&self) -> Result<Vec<String>, String> {
        let now: HashMap<String, String> = finals_of(&self.pool).await?.into_iter().collect();
        let book = self.finals.lock().map_err(|_| "the book of final states is torn".to_owned())?;
        let changed = book.iter().filter(|(id, state)| now.get(*id) != Some(state));
        Ok(changed.map(|(id, state)| format!("{id}: {state}, then {:?}", now.get(id))).collect())
    }

    /// Writes final states down now.
    #[cfg(test)]
    pub(super) async fn write_down(&self) -> Result<(), String> {
        write_down(&self.pool, &self.finals).await
    }

    /// How many final states were written down.
    pub(crate) fn finals(&self) -> usize {
        self.finals.lock().map_or(0, |book| book.len())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Keeps the first final state of what has one now.
async fn write_down(pool: &PgPool, book: &Mutex<HashMap<String, String>>) -> Result<(), String> {
    let seen = finals_of(pool).await?;
    let mut book = book.lock().map_err(|_| "the book of final states is torn".to_owned())?;
    for (id, state) in seen {
        book.entry(id).or_insert(state);
    }
    Ok(())
}

async fn finals_of(pool: &PgPool) -> Result<Vec<(String, String)>, String> {
    sqlx::query_as(
        "select 'execution ' || id::text, status || ' ' || finished_at::text from executions.executions \
         where status not in ('queued', 'running') \
         union all \
         select 'job ' || id::text, state || ' ' || coalesce(finished_at::text, '') from scheduler.jobs \
         where state not in ('waiting', 'queued', 'dispatched', 'running')",
    )
    .fetch_all(pool)
    .await
    .map_err(|error| format!("list final states: {error}"))
}
