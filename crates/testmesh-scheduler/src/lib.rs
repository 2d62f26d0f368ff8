//! When a flow runs: cron schedules, the times they fire, and the queue of jobs that this makes.
//!
//! Owns the schema `scheduler` and nothing else. It decides whether and how often a flow runs; what happened is decided
//! by runners, which it meets on a stream: `RunFlow` goes down, reports come back. The job table is the truth: losing,
//! repeating or reordering messages changes latency and nothing else. Any number of processes share one database; no
//! one of them leads.

pub mod cron;
mod dispatcher;
mod firing;
mod job_repository;
mod local;
mod reports;
mod retention;
mod schedule_repository;
mod schema;
mod settlement;
mod ticker;
mod words;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize, Serializer};
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::{ExecutionId, FlowId, JobId, ScheduleId};
use testmesh_shared::page::{Page, PageRequest};
use utoipa::ToSchema;

use crate::cron::Cron;
use crate::words::words;

pub use local::{SchedulerConfig, SchedulerHandle, SchedulerParts, client, start};
pub use schema::SCHEMA;

/// The most attempts that a job can have.
pub const MAX_ATTEMPTS: u32 = 20;
/// The most missed firings that can be caught up.
pub const MAX_CATCHUP: u32 = 1_000;
/// The longest jitter, in seconds.
pub const MAX_JITTER_S: u32 = 3_600;
/// The longest wait before another attempt, in seconds.
pub const MAX_BACKOFF_S: u32 = 86_400;

words! {
    /// What becomes of firings that were missed by more than a minute.
    Misfire {
        /// One run, for the newest of them, stands for all.
        FireOnce = "fire_once",
        /// None runs.
        Skip = "skip",
        /// The newest of them run, oldest first, up to `catchup_max`.
        CatchUp = "catch_up",
    }
}

words! {
    /// What becomes of a firing while a run of the same schedule is still going.
    Overlap {
        /// It does not run.
        Skip = "skip",
        /// It waits for the one before it.
        Queue = "queue",
        /// They run side by side.
        Allow = "allow",
    }
}

words! {
    /// An outcome after which a job is tried again.
    RetryOn {
        /// The platform could not run it, or the runner was lost. Always tried again.
        Error = "error",
        /// An assertion or a step failed.
        Failed = "failed",
    }
}

words! {
    /// How far a job is.
    JobStatus {
        /// A run of the same schedule is still going, and this one comes after it.
        Waiting = "waiting",
        /// For its time, or for the dispatcher.
        Queued = "queued",
        /// Sent to the runners.
        Dispatched = "dispatched",
        /// A runner has it.
        Running = "running",
        /// Every step passed.
        Passed = "passed",
        /// An assertion or a step failed.
        Failed = "failed",
        /// Somebody stopped it.
        Cancelled = "cancelled",
        /// No attempt came to a verdict, and none is left.
        Dead = "dead",
        /// It did not run; the reason says why.
        Skipped = "skipped",
    }
}

/// A word that is not of its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown word")]
pub struct UnknownWord;

/// How often and when a job is tried again. An error and a lost runner always count; a failure only where `retry_on`
/// says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Retry {
    /// Attempts in all, the first one included (1 to 20).
    #[schema(minimum = 1, maximum = 20)]
    pub max_attempts: u32,
    /// The longest wait before the second attempt, in seconds; it doubles with each one after. The wait itself is drawn
    /// between nothing and that.
    #[schema(minimum = 0, maximum = 86400)]
    pub backoff_s: u32,
    /// A bound on the doubling, in seconds.
    #[schema(minimum = 0, maximum = 86400)]
    pub backoff_max_s: u32,
    /// What is tried again.
    pub retry_on: Vec<RetryOn>,
}

impl Default for Retry {
    /// Three attempts, the waits before the others at most 5 s and 10 s.
    fn default() -> Self {
        Self { max_attempts: 3, backoff_s: 5, backoff_max_s: 300, retry_on: vec![RetryOn::Error] }
    }
}

/// What a schedule does, as its author says.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ScheduleSpec {
    /// Unique, 1 to 255 characters.
    pub name: String,
    /// The flow to run.
    pub flow_id: FlowId,
    /// Which version of it; null is the newest at the time.
    pub flow_version: Option<u32>,
    /// When it fires.
    #[schema(value_type = String, example = "30 9 * * mon-fri")]
    pub cron: Cron,
    /// Whose wall clock `cron` is about.
    #[serde(serialize_with = "zone_name")]
    #[schema(value_type = String, example = "Europe/Berlin")]
    pub timezone: Tz,
    /// What becomes of missed firings.
    pub misfire: Misfire,
    /// How many missed firings `catch_up` runs at most (1 to 1,000).
    #[schema(minimum = 1, maximum = 1000)]
    pub catchup_max: u32,
    /// What becomes of a firing while a run is still going.
    pub overlap: Overlap,
    /// Each firing is late by up to this many seconds, drawn anew (0 to 3,600).
    #[schema(minimum = 0, maximum = 3600)]
    pub jitter_s: u32,
    /// Name of the environment to run in.
    pub environment: Option<String>,
    /// Run variables.
    pub variables: IndexMap<String, serde_json::Value>,
    /// How often a job is tried.
    pub retry: Retry,
}

/// A schedule to create.
#[derive(Debug, Clone)]
pub struct NewSchedule {
    /// The caller's id: creating twice with one id creates once.
    pub id: ScheduleId,
    /// What it does.
    pub spec: ScheduleSpec,
    /// Whether it fires from now on, or is paused.
    pub enabled: bool,
}

/// A stored schedule.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// What it does.
    #[serde(flatten)]
    pub spec: ScheduleSpec,
    /// Whether it fires; paused when not.
    pub enabled: bool,
    /// Counts changes, from 1.
    pub revision: u32,
    /// When it fires next; null while it is paused.
    #[serde(serialize_with = "testmesh_shared::timestamp::optional_millis")]
    pub next_fire_at: Option<DateTime<Utc>>,
    /// When it was created.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub updated_at: DateTime<Utc>,
}

/// Which schedules to list.
#[derive(Debug, Clone, Default)]
pub struct ScheduleFilter {
    /// Of this flow.
    pub flow_id: Option<FlowId>,
}

/// A firing by hand.
#[derive(Debug, Clone)]
pub struct NewTrigger {
    /// The caller's id: firing twice with one id fires once.
    pub job_id: JobId,
    /// A key of the caller's own: firing twice with one key fires once, for as long as the job is kept.
    pub key: Option<String>,
}

/// One firing with all its attempts.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The schedule that fired.
    pub schedule_id: Option<ScheduleId>,
    /// Whether it was fired by hand.
    pub manual: bool,
    /// The time that it is for.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub nominal_at: DateTime<Utc>,
    /// The flow that runs.
    pub flow_id: FlowId,
    /// Which version of it; null is the newest at the time.
    pub flow_version: Option<u32>,
    /// Name of the environment.
    pub environment: Option<String>,
    /// How far it is.
    pub status: JobStatus,
    /// The attempt that it is at, from 1; 0 when it never ran.
    pub attempt: u32,
    /// How many there can be.
    pub max_attempts: u32,
    /// When it may start, or start again.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub available_at: DateTime<Utc>,
    /// When its attempt was sent to the runners, for the first time.
    #[serde(serialize_with = "testmesh_shared::timestamp::optional_millis")]
    pub dispatched_at: Option<DateTime<Utc>>,
    /// When a runner last said that it has it.
    #[serde(serialize_with = "testmesh_shared::timestamp::optional_millis")]
    pub seen_at: Option<DateTime<Utc>>,
    /// When it became final.
    #[serde(serialize_with = "testmesh_shared::timestamp::optional_millis")]
    pub finished_at: Option<DateTime<Utc>>,
    /// What the last finished attempt came to: `passed`, `failed`, `error`, `cancelled`, `lost`.
    pub outcome: Option<String>,
    /// Why it did not run (`overlap`, `misfire`, `paused`, `deleted`, `queue_full`), or a stable word for what went wrong.
    pub reason: Option<String>,
    /// The same for people.
    pub message: Option<String>,
    /// The execution of the newest attempt that a runner told of.
    pub execution_id: Option<ExecutionId>,
    /// When it was made.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub created_at: DateTime<Utc>,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Of this schedule; these are listed by the time they are for, all others by their creation.
    pub schedule_id: Option<ScheduleId>,
    /// As far as this.
    pub status: Option<JobStatus>,
}

/// The scheduler did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// Another schedule has this name.
    #[error("the name `{name}` is taken")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The stored schedule has another revision than the caller expected.
    #[error("revision {expected} expected, {found} found")]
    RevisionMismatch {
        /// What the caller expected.
        expected: u32,
        /// What is stored.
        found: u32,
    },
    /// Only a dead job can be retried.
    #[error("job `{job}` is {status}, not dead")]
    NotDead {
        /// The job.
        job: JobId,
        /// How far it is.
        status: JobStatus,
    },
    /// The database did not do it.
    #[error("{operation}")]
    Database {
        /// What was tried, with its ids.
        operation: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
}

impl SchedulerError {
    /// The stable word for it.
    pub fn code(&self) -> ErrorCode {
        match self {
            SchedulerError::NameTaken { .. } => ErrorCode::NameTaken,
            SchedulerError::RevisionMismatch { .. } => ErrorCode::PreconditionFailed,
            SchedulerError::NotDead { .. } => ErrorCode::JobNotDead,
            SchedulerError::Database { .. } => ErrorCode::Unavailable,
        }
    }
}

/// Keeps schedules and the jobs that they fire. Absent things are `None` or `false`, never an error.
#[async_trait]
pub trait Scheduler: Send + Sync {
    /// Stores a new schedule. Whether its flow exists is the caller's to check.
    async fn create(&self, schedule: NewSchedule) -> Result<Schedule, SchedulerError>;
    /// The schedule with this id.
    async fn find(&self, id: ScheduleId) -> Result<Option<Schedule>, SchedulerError>;
    /// A page of schedules, newest first by creation.
    async fn list(&self, filter: &ScheduleFilter, page: PageRequest) -> Result<Page<Schedule>, SchedulerError>;
    /// Puts `spec` in the place of what is stored; jobs that fired before keep what they were fired with. With
    /// `expected`, only if that is the stored revision.
    async fn update(
        &self,
        id: ScheduleId,
        spec: ScheduleSpec,
        expected: Option<u32>,
    ) -> Result<Option<Schedule>, SchedulerError>;
    /// Deletes it. Its jobs stay; those not sent to a runner yet do not run. `false`: there was none.
    async fn delete(&self, id: ScheduleId, expected: Option<u32>) -> Result<bool, SchedulerError>;
    /// From now on it does not fire; jobs that fired already run. Nothing changes when it is paused already.
    async fn pause(&self, id: ScheduleId) -> Result<Option<Schedule>, SchedulerError>;
    /// From now on it fires again. What it missed leaves one job that says so.
    async fn resume(&self, id: ScheduleId) -> Result<Option<Schedule>, SchedulerError>;
    /// Fires it now, whether it is paused or a run is going. `None`: no such schedule.
    async fn trigger(&self, id: ScheduleId, trigger: NewTrigger) -> Result<Option<Job>, SchedulerError>;
    /// A page of jobs, newest first.
    async fn list_jobs(&self, filter: &JobFilter, page: PageRequest) -> Result<Page<Job>, SchedulerError>;
    /// The job with this id.
    async fn find_job(&self, id: JobId) -> Result<Option<Job>, SchedulerError>;
    /// Gives a job that died at `attempt` one attempt more. One that is past that attempt is left as it stands, so that
    /// repeating this is harmless.
    async fn retry_job(&self, id: JobId, attempt: u32) -> Result<Option<Job>, SchedulerError>;
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference to the field")]
fn zone_name<S: Serializer>(zone: &Tz, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(zone.name())
}
