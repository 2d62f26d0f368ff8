//! The loop that deletes jobs that finished long ago, in small batches.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use testmesh_shared::db::{Db, Stamp};
use testmesh_shared::on_db;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::local::{Time, trouble};

/// Jobs that one statement deletes.
const BATCH: i64 = 1_000;
/// How often it looks.
const EVERY: Duration = Duration::from_mins(10);
/// A rest between batches, so that they do not crowd out what is due.
const REST: Duration = Duration::from_millis(200);

/// Deletes old jobs until it is told to end.
pub(crate) struct Retention {
    pub(crate) db: Db,
    pub(crate) time: Time,
    pub(crate) keep: Duration,
}

impl Retention {
    pub(crate) async fn run(self, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            let wait = match self.turn().await {
                Ok(wait) => wait,
                Err(error) => {
                    trouble("delete old jobs", &error);
                    EVERY
                }
            };
            tokio::select! {
                // Cancel-safe: waiting for a cancellation keeps no state.
                () = cancel.cancelled() => {}
                // Cancel-safe per docs on `sleep()`.
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Deletes a batch; how long to wait for the next.
    async fn turn(&self) -> Result<Duration, sqlx::Error> {
        let keep = TimeDelta::from_std(self.keep).unwrap_or(TimeDelta::MAX);
        let Some(before) = self.time.now().await?.checked_sub_signed(keep) else { return Ok(EVERY) };
        let deleted = on_db!(&self.db, engine => {
            let mut tx = engine.begin().await?;
            let deleted = sqlx::query(include_str!("../sql/delete_finished_jobs.sql"))
                .bind(first_id(before))
                .bind(Stamp(before))
                .bind(BATCH)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            deleted.rows_affected()
        });
        Ok(if deleted == BATCH.unsigned_abs() { REST } else { EVERY })
    }
}

/// The smallest id that a job made at `time` can have: ids are in the order of creation.
fn first_id(time: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(time.timestamp_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}
