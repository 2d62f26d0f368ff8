//! Jobs in a database: one row each, from the firing to the verdict.

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use testmesh_shared::clock::Clock;
use testmesh_shared::db::{Db, JsonText, Stamp, Unsigned};
use testmesh_shared::ids::{ExecutionId, FlowId, JobId, ScheduleId, new_uuid};
use testmesh_shared::on_db;
use testmesh_shared::page::{Page, PageKey, PageRequest};
use uuid::Uuid;

use crate::firing::Firing;
use crate::schedule_repository::{failed, page_of, word};
use crate::{Job, JobFilter, JobStatus, NewTrigger, Retry, Schedule, ScheduleSpec, SchedulerError};

/// Reads and writes jobs, on behalf of callers.
#[derive(Debug, Clone)]
pub(crate) struct JobRepository {
    pub(crate) db: Db,
}

/// What a job was fired with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Payload {
    pub(crate) flow_version: Option<u32>,
    pub(crate) environment: Option<String>,
    pub(crate) variables: IndexMap<String, serde_json::Value>,
    pub(crate) retry: Retry,
}

impl From<&ScheduleSpec> for Payload {
    fn from(spec: &ScheduleSpec) -> Self {
        Self {
            flow_version: spec.flow_version,
            environment: spec.environment.clone(),
            variables: spec.variables.clone(),
            retry: spec.retry.clone(),
        }
    }
}

#[derive(sqlx::FromRow)]
struct JobRow {
    id: Uuid,
    schedule_id: Option<Uuid>,
    manual: bool,
    nominal_at: Stamp,
    flow_id: Uuid,
    payload: JsonText<Payload>,
    state: String,
    attempt: Unsigned,
    max_attempts: Unsigned,
    available_at: Stamp,
    dispatched_at: Option<Stamp>,
    seen_at: Option<Stamp>,
    finished_at: Option<Stamp>,
    outcome: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    execution_id: Option<Uuid>,
    created_at: Stamp,
}

impl TryFrom<JobRow> for Job {
    type Error = sqlx::Error;

    fn try_from(row: JobRow) -> Result<Self, sqlx::Error> {
        let time = |stamp: Option<Stamp>| stamp.map(|stamp| stamp.0);
        Ok(Self {
            id: JobId::from(row.id),
            schedule_id: row.schedule_id.map(ScheduleId::from),
            manual: row.manual,
            nominal_at: row.nominal_at.0,
            flow_id: FlowId::from(row.flow_id),
            flow_version: row.payload.0.flow_version,
            environment: row.payload.0.environment,
            status: word("state", &row.state)?,
            attempt: row.attempt.0,
            max_attempts: row.max_attempts.0,
            available_at: row.available_at.0,
            dispatched_at: time(row.dispatched_at),
            seen_at: time(row.seen_at),
            finished_at: time(row.finished_at),
            outcome: row.outcome,
            reason: row.reason,
            message: row.message,
            execution_id: row.execution_id.map(ExecutionId::from),
            created_at: row.created_at.0,
        })
    }
}

/// A job as the statement takes it.
#[derive(Serialize)]
pub(crate) struct NewJob {
    id: Uuid,
    schedule_id: Uuid,
    nominal_at: Stamp,
    flow_id: Uuid,
    payload: String,
    state: &'static str,
    attempt: u32,
    max_attempts: u32,
    available_at: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    created_at: Stamp,
}

impl JobRepository {
    /// Stores a firing by hand, unless its id or key was used before; the job that it is.
    pub(crate) async fn trigger(
        &self,
        schedule: &Schedule,
        trigger: &NewTrigger,
        now: DateTime<Utc>,
    ) -> Result<Option<Job>, SchedulerError> {
        let NewTrigger { job_id, key } = trigger;
        let row: Result<Option<JobRow>, sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            sqlx::query(include_str!("../sql/insert_trigger.sql"))
                .bind(job_id.as_uuid())
                .bind(schedule.id.as_uuid())
                .bind(key.as_deref())
                .bind(Stamp(now))
                .bind(schedule.spec.flow_id.as_uuid())
                .bind(JsonText(Payload::from(&schedule.spec)))
                .bind(Unsigned(schedule.spec.retry.max_attempts))
                .execute(&mut *tx)
                .await?;
            let row = sqlx::query_as(include_str!("../sql/find_trigger.sql"))
                .bind(job_id.as_uuid())
                .bind(schedule.id.as_uuid())
                .bind(key.as_deref())
                .fetch_optional(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(row)
        }.await);
        read(row, || format!("fire schedule `{}`", schedule.id))
    }

    /// The job with this id.
    pub(crate) async fn find(&self, id: JobId) -> Result<Option<Job>, SchedulerError> {
        let row: Result<Option<JobRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../sql/find_job.sql"))
                .bind(id.as_uuid())
                .fetch_optional(engine.reader())
                .await
        });
        read(row, || format!("read job `{id}`"))
    }

    /// A page of jobs, newest first.
    pub(crate) async fn list(&self, filter: &JobFilter, page: PageRequest) -> Result<Page<Job>, SchedulerError> {
        let status = filter.status.map(JobStatus::as_str);
        let of_all_schedules = listing(filter.status);
        let rows: Result<Vec<JobRow>, sqlx::Error> = on_db!(&self.db, engine => match filter.schedule_id {
            Some(schedule) => {
                sqlx::query_as(include_str!("../sql/list_jobs_of_schedule.sql"))
                    .bind(schedule.as_uuid())
                    .bind(page.after.map(|key| Stamp(key.created_at)))
                    .bind(page.after.map(|key| key.id))
                    .bind(status)
                    .bind(i64::from(page.limit) + 1)
                    .fetch_all(engine.reader())
                    .await
            }
            None => {
                sqlx::query_as(of_all_schedules)
                    .bind(page.after.map(|key| key.id))
                    .bind(status)
                    .bind(i64::from(page.limit) + 1)
                    .fetch_all(engine.reader())
                    .await
            }
        });
        let jobs: Result<Vec<Job>, _> = rows.and_then(|rows| rows.into_iter().map(Job::try_from).collect());
        let jobs = jobs.map_err(failed("list jobs"))?;
        Ok(page_of(jobs, page, |job| {
            let time = if filter.schedule_id.is_some() { job.nominal_at } else { job.created_at };
            PageKey { created_at: time, id: job.id.as_uuid() }
        }))
    }

    /// Gives a job that died at `attempt` one more. `None`: there is no such job, or it did not.
    pub(crate) async fn retry(
        &self,
        id: JobId,
        attempt: u32,
        now: DateTime<Utc>,
    ) -> Result<Option<Job>, SchedulerError> {
        let row: Result<Option<JobRow>, sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            let row = sqlx::query_as(include_str!("../sql/retry_job.sql"))
                .bind(id.as_uuid())
                .bind(Unsigned(attempt))
                .bind(Stamp(now))
                .fetch_optional(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(row)
        }.await);
        read(row, || format!("retry job `{id}`"))
    }
}

/// What a firing of `schedule` is stored as.
pub(crate) fn new_job(schedule: &Schedule, payload: &Payload, firing: Firing, now: DateTime<Utc>) -> NewJob {
    let is_over = firing.status == JobStatus::Skipped;
    let (reason, message) = firing.skipped.unzip();
    NewJob {
        id: new_uuid(&At(now)),
        schedule_id: schedule.id.as_uuid(),
        nominal_at: Stamp(firing.nominal_at),
        flow_id: schedule.spec.flow_id.as_uuid(),
        payload: json(payload),
        state: firing.status.as_str(),
        attempt: u32::from(!is_over),
        max_attempts: schedule.spec.retry.max_attempts,
        available_at: Stamp(firing.available_at),
        finished_at: is_over.then_some(Stamp(now)),
        reason,
        message,
        created_at: Stamp(now),
    }
}

/// A clock that shows one time, for ids.
#[derive(Debug, Clone, Copy)]
struct At(DateTime<Utc>);

impl Clock for At {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

/// What a statement takes.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("a batch holds nothing that JSON cannot")
}

/// The listing whose index holds the jobs of this state.
fn listing(status: Option<JobStatus>) -> &'static str {
    match status {
        None | Some(JobStatus::Passed) => include_str!("../sql/list_jobs.sql"),
        Some(JobStatus::Failed | JobStatus::Cancelled | JobStatus::Dead | JobStatus::Skipped) => {
            include_str!("../sql/list_jobs_in_trouble.sql")
        }
        Some(JobStatus::Waiting | JobStatus::Queued | JobStatus::Dispatched | JobStatus::Running) => {
            include_str!("../sql/list_unfinished_jobs.sql")
        }
    }
}

fn read(
    row: Result<Option<JobRow>, sqlx::Error>,
    operation: impl FnOnce() -> String,
) -> Result<Option<Job>, SchedulerError> {
    let job = row.and_then(|row| row.map(Job::try_from).transpose());
    job.map_err(|source| SchedulerError::Database { operation: operation(), source })
}
