//! The loop that takes in what runners report, in batches: one statement settles a batch, and its entries are
//! acknowledged after the commit, so that a crash only repeats work. Whatever is no report, or is about a job or an
//! attempt that is not out, changes nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use testmesh_shared::db::{Db, JsonText, Unsigned};
use testmesh_shared::ids::JobId;
use testmesh_shared::messages::{RunReport, RunState};
use testmesh_shared::stream::{Entry, Stream, StreamError, Topic};
use testmesh_shared::{on_db, sql};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::JobStatus;
use crate::job_repository::{Payload, json};
use crate::local::{Time, Wakers, trouble};
use crate::settlement::{RetryRule, Settlement, needs_rule, settle};

/// Entries that one statement settles.
const BATCH: usize = 500;
/// How long a read waits for an entry.
const READ_WAIT: Duration = Duration::from_secs(5);
/// How long it waits after a stream that did not answer.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// How long the stream may take to forget a batch.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes in reports until it is told to end.
pub(crate) struct Reports {
    pub(crate) db: Db,
    pub(crate) time: Time,
    pub(crate) wakers: Wakers,
    pub(crate) stream: Arc<dyn Stream>,
}

#[derive(sqlx::FromRow)]
struct RuleRow {
    id: Uuid,
    attempt: Unsigned,
    max_attempts: Unsigned,
    payload: JsonText<Payload>,
}

impl Reports {
    pub(crate) async fn run(self, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            let read = tokio::select! {
                // Cancel-safe: waiting for a cancellation keeps no state.
                () = cancel.cancelled() => return,
                // Cancel-safe: entries that were read and not acknowledged are read again.
                read = self.stream.read(Topic::RunFinished, BATCH, READ_WAIT) => read,
            };
            let wait = match read {
                Ok(entries) if entries.is_empty() => continue,
                Ok(entries) => self.take_in(&entries, &cancel).await,
                Err(error) => {
                    tracing::warn!(%error, "reports of runners cannot be read");
                    Some(AFTER_ERROR)
                }
            };
            if let Some(wait) = wait {
                sleep(wait, &cancel).await;
            }
        }
    }

    /// Stores a batch, however often that takes, and has it forgotten. Gives back how long to rest.
    async fn take_in(&self, entries: &[Entry], cancel: &CancellationToken) -> Option<Duration> {
        let reports = newest_of_each(entries);
        while let Err(error) = self.settle(&reports).await {
            sleep(trouble("store what runners report", &error), cancel).await;
            if cancel.is_cancelled() {
                return None;
            }
        }
        let ids: Vec<String> = entries.iter().map(|entry| entry.id.clone()).collect();
        let forgotten = self.stream.acknowledge(Topic::RunFinished, &ids);
        let error = match tokio::time::timeout(ACKNOWLEDGE_TIMEOUT, forgotten).await {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => error,
            Err(_) => StreamError { operation: "acknowledge", reason: "no answer in time".to_owned() },
        };
        tracing::warn!(%error, "reports of runners were stored, and will be read again");
        Some(AFTER_ERROR)
    }

    async fn settle(&self, reports: &HashMap<(JobId, u32), RunReport>) -> Result<(), sqlx::Error> {
        if reports.is_empty() {
            return Ok(());
        }
        let now = self.time.now().await?;
        let rules = self.rules(reports).await?;
        let mut settlements: Vec<Settlement> = reports
            .values()
            .map(|report| settle(report, rules.get(&(report.job_id, report.attempt)), now, rand::random()))
            .collect();
        settlements.sort_unstable_by_key(|settlement| settlement.job_id);
        let settled: Vec<(Uuid, String)> = on_db!(&self.db, engine => {
            let mut tx = engine.begin().await?;
            let settled = sqlx::query_as(sql!(&self.db, "../sql/settle_jobs"))
                .bind(json(&settlements))
                .fetch_all(&mut *tx)
                .await?;
            tx.commit().await?;
            settled
        });
        for (job, _) in settled.iter().filter(|(_, state)| state == JobStatus::Dead.as_str()) {
            tracing::warn!(job.id = %job, "a job is dead: no attempt came to a verdict");
        }
        self.wakers.n_told.fetch_add(settled.len() as u64, Ordering::Relaxed);
        if settled.iter().any(|(_, state)| state != JobStatus::Running.as_str()) {
            // Another attempt may be due, and others may have waited for these.
            self.wakers.dispatch.notify_one();
        }
        Ok(())
    }

    /// How often the jobs may be tried whose reports leave that open.
    async fn rules(
        &self,
        reports: &HashMap<(JobId, u32), RunReport>,
    ) -> Result<HashMap<(JobId, u32), RetryRule>, sqlx::Error> {
        let open = reports.values().filter(|report| needs_rule(&report.state));
        let open: Vec<JobId> = open.map(|report| report.job_id).collect();
        if open.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<RuleRow> = on_db!(&self.db, engine => {
            sqlx::query_as(sql!(&self.db, "../sql/find_retry_rules"))
                .bind(json(&open))
                .fetch_all(engine.reader())
                .await?
        });
        let rule = |row: RuleRow| {
            let rule = RetryRule { max_attempts: row.max_attempts.0, retry: row.payload.0.retry };
            ((JobId::from(row.id), row.attempt.0), rule)
        };
        Ok(rows.into_iter().map(rule).collect())
    }
}

/// One report for each attempt: that it is over counts for more than that it is alive.
fn newest_of_each(entries: &[Entry]) -> HashMap<(JobId, u32), RunReport> {
    let mut newest: HashMap<(JobId, u32), RunReport> = HashMap::with_capacity(entries.len());
    for entry in entries {
        let report: RunReport = match serde_json::from_str(&entry.payload) {
            Ok(report) => report,
            Err(error) => {
                tracing::warn!(entry = entry.id, %error, "what is no report was found among those of runners");
                continue;
            }
        };
        let key = (report.job_id, report.attempt);
        if report.state != RunState::Running || !newest.contains_key(&key) {
            newest.insert(key, report);
        }
    }
    newest
}

async fn sleep(wait: Duration, cancel: &CancellationToken) {
    tokio::select! {
        // Cancel-safe: waiting for a cancellation keeps no state.
        () = cancel.cancelled() => {}
        // Cancel-safe per docs on `sleep()`.
        () = tokio::time::sleep(wait) => {}
    }
}
