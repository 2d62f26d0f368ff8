//! Schedules in a database: one row each.

use std::error::Error;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use testmesh_shared::db::{Db, JsonText, Stamp, Unsigned};
use testmesh_shared::ids::{FlowId, ScheduleId};
use testmesh_shared::page::{Page, PageKey, PageRequest};
use testmesh_shared::{on_db, sql};
use uuid::Uuid;

use crate::cron::{Cron, CronError, parse_zone};
use crate::firing::missed_while_paused;
use crate::job_repository::{Payload, json, new_job};
use crate::{NewSchedule, Retry, Schedule, ScheduleFilter, ScheduleSpec, SchedulerError};

/// Reads and writes schedules; decides nothing about when they fire.
#[derive(Debug, Clone)]
pub(crate) struct ScheduleRepository {
    pub(crate) db: Db,
}

#[derive(sqlx::FromRow)]
pub(crate) struct ScheduleRow {
    id: Uuid,
    name: String,
    flow_id: Uuid,
    flow_version: Option<Unsigned>,
    cron: String,
    timezone: String,
    misfire: String,
    catchup_max: Unsigned,
    overlap: String,
    jitter_s: Unsigned,
    environment: Option<String>,
    variables: JsonText<IndexMap<String, serde_json::Value>>,
    retry: JsonText<Retry>,
    enabled: bool,
    revision: Unsigned,
    next_fire_at: Option<Stamp>,
    created_at: Stamp,
    updated_at: Stamp,
}

/// A schedule as it is stored: while it is paused, too, with the next time that it is for.
pub(crate) struct StoredSchedule {
    pub(crate) schedule: Schedule,
    pub(crate) next_at: Option<DateTime<Utc>>,
}

impl ScheduleRow {
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }
}

impl TryFrom<ScheduleRow> for StoredSchedule {
    type Error = sqlx::Error;

    fn try_from(row: ScheduleRow) -> Result<Self, sqlx::Error> {
        Self::read(row, Cron::parse)
    }
}

impl StoredSchedule {
    /// A row as what it stands for; `parse` reads its cron expression.
    pub(crate) fn read(
        row: ScheduleRow,
        parse: impl FnOnce(&str) -> Result<Cron, CronError>,
    ) -> Result<Self, sqlx::Error> {
        let next_at = row.next_fire_at.map(|stamp| stamp.0);
        let spec = ScheduleSpec {
            name: row.name,
            flow_id: FlowId::from(row.flow_id),
            flow_version: row.flow_version.map(|version| version.0),
            cron: decoded("cron", parse(&row.cron))?,
            timezone: decoded("timezone", parse_zone(&row.timezone))?,
            misfire: word("misfire", &row.misfire)?,
            catchup_max: row.catchup_max.0,
            overlap: word("overlap", &row.overlap)?,
            jitter_s: row.jitter_s.0,
            environment: row.environment,
            variables: row.variables.0,
            retry: row.retry.0,
        };
        let schedule = Schedule {
            id: ScheduleId::from(row.id),
            spec,
            enabled: row.enabled,
            revision: row.revision.0,
            next_fire_at: next_at.filter(|_| row.enabled),
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        };
        Ok(Self { schedule, next_at })
    }
}

/// Binds an id and all that a schedule does: `$1` to `$13`.
macro_rules! bind_spec {
    ($statement:expr, $id:expr, $spec:expr) => {
        sqlx::query_as($statement)
            .bind($id.as_uuid())
            .bind($spec.name.as_str())
            .bind($spec.flow_id.as_uuid())
            .bind($spec.flow_version.map(Unsigned))
            .bind($spec.cron.as_str())
            .bind($spec.timezone.name())
            .bind($spec.misfire.as_str())
            .bind(Unsigned($spec.catchup_max))
            .bind($spec.overlap.as_str())
            .bind(Unsigned($spec.jitter_s))
            .bind($spec.environment.as_deref())
            .bind(JsonText(&$spec.variables))
            .bind(JsonText(&$spec.retry))
    };
}

impl ScheduleRepository {
    /// Stores a schedule, unless there is one with its id.
    pub(crate) async fn insert(
        &self,
        new: &NewSchedule,
        next_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<(), SchedulerError> {
        let NewSchedule { id, spec, enabled } = new;
        let stored: Result<(), sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            let _: Vec<(i64,)> = bind_spec!(include_str!("../sql/insert_schedule.sql"), id, spec)
                .bind(*enabled)
                .bind(next_at.map(Stamp))
                .bind(Stamp(now))
                .fetch_all(&mut *tx)
                .await?;
            tx.commit().await
        }.await);
        stored.map_err(refused(&spec.name, || format!("store schedule `{}`", spec.name)))
    }

    /// The schedule with this id.
    pub(crate) async fn find(&self, id: ScheduleId) -> Result<Option<StoredSchedule>, SchedulerError> {
        let row: Result<Option<ScheduleRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../sql/find_schedule.sql"))
                .bind(id.as_uuid())
                .fetch_optional(engine.reader())
                .await
        });
        read(row, || format!("read schedule `{id}`"))
    }

    /// A page of schedules, newest first.
    pub(crate) async fn list(
        &self,
        filter: &ScheduleFilter,
        page: PageRequest,
    ) -> Result<Page<Schedule>, SchedulerError> {
        let rows: Result<Vec<ScheduleRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../sql/list_schedules.sql"))
                .bind(page.after.map(|key| Stamp(key.created_at)))
                .bind(page.after.map(|key| key.id))
                .bind(filter.flow_id.map(FlowId::as_uuid))
                .bind(i64::from(page.limit) + 1)
                .fetch_all(engine.reader())
                .await
        });
        let stored: Result<Vec<StoredSchedule>, _> =
            rows.and_then(|rows| rows.into_iter().map(StoredSchedule::try_from).collect());
        let schedules = stored.map_err(failed("list schedules"))?.into_iter().map(|stored| stored.schedule).collect();
        Ok(page_of(schedules, page, |item| PageKey { created_at: item.created_at, id: item.id.as_uuid() }))
    }

    /// Puts `spec` in place, and `next_at` when the times it fires change.
    pub(crate) async fn update(
        &self,
        id: ScheduleId,
        spec: &ScheduleSpec,
        expected: Option<u32>,
        (next_at, now): (Option<DateTime<Utc>>, DateTime<Utc>),
    ) -> Result<Option<StoredSchedule>, SchedulerError> {
        let row: Result<Option<ScheduleRow>, sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            let row = bind_spec!(include_str!("../sql/update_schedule.sql"), id, spec)
                .bind(next_at.map(Stamp))
                .bind(Stamp(now))
                .bind(expected.map(Unsigned))
                .fetch_optional(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(row)
        }.await);
        let row = row.map_err(refused(&spec.name, || format!("store schedule `{id}`")))?;
        if row.is_none() {
            self.explain_miss(id, expected).await?;
        }
        read(Ok(row), || format!("read schedule `{id}`"))
    }

    /// Deletes a schedule; its jobs that no runner was told of do not run.
    pub(crate) async fn delete(
        &self,
        id: ScheduleId,
        expected: Option<u32>,
        now: DateTime<Utc>,
    ) -> Result<bool, SchedulerError> {
        let deleted: Result<u64, sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            let done = sqlx::query(include_str!("../sql/delete_schedule.sql"))
                .bind(id.as_uuid())
                .bind(expected.map(Unsigned))
                .execute(&mut *tx)
                .await?;
            if done.rows_affected() > 0 {
                sqlx::query(include_str!("../sql/drop_jobs_of_schedule.sql"))
                    .bind(id.as_uuid())
                    .bind(Stamp(now))
                    .bind("its schedule was deleted before it ran")
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
            Ok(done.rows_affected())
        }.await);
        match deleted.map_err(failed(format!("delete schedule `{id}`")))? {
            0 => self.explain_miss(id, expected).await.map(|()| false),
            _ => Ok(true),
        }
    }

    /// Pauses a schedule that is not. `None`: there is none, or it is paused.
    pub(crate) async fn pause(
        &self,
        id: ScheduleId,
        now: DateTime<Utc>,
    ) -> Result<Option<StoredSchedule>, SchedulerError> {
        let row: Result<Option<ScheduleRow>, sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            let row = sqlx::query_as(include_str!("../sql/pause_schedule.sql"))
                .bind(id.as_uuid())
                .bind(Stamp(now))
                .fetch_optional(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(row)
        }.await);
        read(row, || format!("pause schedule `{id}`"))
    }

    /// Lets a paused schedule fire from now on. `None`: it is not as it was read any more.
    pub(crate) async fn resume(
        &self,
        paused: &StoredSchedule,
        now: DateTime<Utc>,
    ) -> Result<Option<StoredSchedule>, SchedulerError> {
        let Schedule { id, spec, revision, .. } = &paused.schedule;
        let next_at = spec.cron.next_after(now, spec.timezone);
        let missed = paused.next_at.and_then(|first| missed_while_paused(spec, first, now));
        let row: Result<Option<ScheduleRow>, sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            let row = sqlx::query_as(include_str!("../sql/resume_schedule.sql"))
                .bind(id.as_uuid())
                .bind(Stamp(now))
                .bind(next_at.map(Stamp))
                .bind(Unsigned(*revision))
                .fetch_optional(&mut *tx)
                .await?;
            if row.is_some() && let Some(missed) = missed {
                let job = new_job(&paused.schedule, &Payload::from(spec), missed, now);
                sqlx::query(sql!(&self.db, "../sql/insert_jobs")).bind(json(&[job])).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            Ok(row)
        }.await);
        read(row, || format!("resume schedule `{id}`"))
    }

    /// Tells why a guarded statement changed nothing: fine when there is no such schedule.
    async fn explain_miss(&self, id: ScheduleId, expected: Option<u32>) -> Result<(), SchedulerError> {
        let found: Result<Option<Unsigned>, _> = on_db!(&self.db, engine => {
            sqlx::query_scalar(include_str!("../sql/find_schedule_revision.sql"))
                .bind(id.as_uuid())
                .fetch_optional(engine.reader())
                .await
        });
        match (found.map_err(failed(format!("read schedule `{id}`")))?, expected) {
            (Some(Unsigned(found)), Some(expected)) => Err(SchedulerError::RevisionMismatch { expected, found }),
            _ => Ok(()),
        }
    }
}

fn read(
    row: Result<Option<ScheduleRow>, sqlx::Error>,
    operation: impl FnOnce() -> String,
) -> Result<Option<StoredSchedule>, SchedulerError> {
    let stored = row.and_then(|row| row.map(StoredSchedule::try_from).transpose());
    stored.map_err(|source| SchedulerError::Database { operation: operation(), source })
}

fn refused(name: &str, operation: impl FnOnce() -> String) -> impl FnOnce(sqlx::Error) -> SchedulerError {
    move |source| {
        let taken = source.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation);
        if taken {
            SchedulerError::NameTaken { name: name.to_owned() }
        } else {
            SchedulerError::Database { operation: operation(), source }
        }
    }
}

pub(crate) fn failed(operation: impl Into<String>) -> impl FnOnce(sqlx::Error) -> SchedulerError {
    let operation = operation.into();
    move |source| SchedulerError::Database { operation, source }
}

/// A value of a column, as its own type has checked it.
pub(crate) fn decoded<T, E>(column: &str, parsed: Result<T, E>) -> Result<T, sqlx::Error>
where
    E: Error + Send + Sync + 'static,
{
    parsed.map_err(|error| sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(error) })
}

pub(crate) fn word<T: FromStr<Err = crate::UnknownWord>>(column: &str, text: &str) -> Result<T, sqlx::Error> {
    decoded(column, text.parse())
}

/// Makes a page of up to one item more than asked for: that one tells whether another page follows.
pub(crate) fn page_of<T>(mut items: Vec<T>, page: PageRequest, key: impl Fn(&T) -> PageKey) -> Page<T> {
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(key) } else { None };
    Page { items, next }
}
