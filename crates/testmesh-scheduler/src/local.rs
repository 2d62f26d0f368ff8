//! The scheduler of this process: what callers ask, and the loops that do the work.
//!
//! Every loop is level-triggered and shares the database with those of any number of other processes. A loop that
//! finds nothing to do sleeps until the next thing is due, and is woken by what this process itself changes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use testmesh_shared::clock::Clock;
use testmesh_shared::db::Db;
use testmesh_shared::ids::{JobId, ScheduleId};
use testmesh_shared::page::{Page, PageRequest};
use testmesh_shared::stream::Stream;
use testmesh_shared::tasks::Tasks;
use tokio::sync::Notify;

use crate::dispatcher::{Dispatcher, Window};
use crate::job_repository::JobRepository;
use crate::reports::Reports;
use crate::retention::Retention;
use crate::schedule_repository::{ScheduleRepository, failed};
use crate::ticker::{Expressions, Ticker};
use crate::{
    Job, JobFilter, JobStatus, NewSchedule, NewTrigger, Schedule, ScheduleFilter, ScheduleSpec, Scheduler,
    SchedulerError,
};

/// The shortest rest of a loop after an error; the longest is twice that.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// What the scheduler works with.
pub struct SchedulerParts {
    /// Of [`crate::SCHEMA`].
    pub db: Db,
    /// What time it is; none: the database's own time, as several processes need it. Tests hold it.
    pub clock: Option<Arc<dyn Clock>>,
    /// Where jobs go and reports come from.
    pub stream: Arc<dyn Stream>,
}

/// How the scheduler works.
#[derive(Debug, Clone, Copy)]
pub struct SchedulerConfig {
    /// How long finished jobs are kept (default 30 days).
    pub keep_jobs: Duration,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self { keep_jobs: Duration::from_hours(30 * 24) }
    }
}

/// A running scheduler.
pub struct SchedulerHandle {
    scheduler: Arc<LocalScheduler>,
    tasks: Tasks,
}

/// Starts the loops.
pub fn start(parts: SchedulerParts, config: SchedulerConfig) -> SchedulerHandle {
    let SchedulerParts { db, clock, stream } = parts;
    let (wakers, tasks) = (Wakers::default(), Tasks::new());
    let time = Time { db: db.clone(), clock };
    let cancelled = || tasks.cancelled().clone();
    let ticker =
        Ticker { db: db.clone(), time: time.clone(), wakers: wakers.clone(), expressions: Expressions::default() };
    tasks.spawn(ticker.run(cancelled()));
    let dispatcher = Dispatcher {
        db: db.clone(),
        time: time.clone(),
        wakers: wakers.clone(),
        stream: Arc::clone(&stream),
        n_held: 0,
        window: Window::default(),
        seen: None,
    };
    tasks.spawn(dispatcher.run(cancelled()));
    let reports = Reports { db: db.clone(), time: time.clone(), wakers: wakers.clone(), stream };
    tasks.spawn(reports.run(cancelled()));
    let retention = Retention { db: db.clone(), time: time.clone(), keep: config.keep_jobs };
    tasks.spawn(retention.run(cancelled()));
    SchedulerHandle { scheduler: Arc::new(LocalScheduler::new(db, time, wakers)), tasks }
}

/// Answers callers in a process whose scheduler is another process: both meet in the database of [`crate::SCHEMA`], so
/// nothing else has to be reached. What is changed here is seen there within 2 s.
pub fn client(db: Db) -> Arc<dyn Scheduler> {
    let time = Time { db: db.clone(), clock: None };
    Arc::new(LocalScheduler::new(db, time, Wakers::default()))
}

impl SchedulerHandle {
    /// What callers ask.
    pub fn scheduler(&self) -> Arc<dyn Scheduler> {
        Arc::clone(&self.scheduler) as Arc<dyn Scheduler>
    }

    /// Makes every loop look at once, as after a held clock was moved.
    pub fn wake(&self) {
        self.scheduler.wakers.firing.notify_one();
        self.scheduler.wakers.dispatch.notify_one();
    }

    /// Ends the loops, after what they are doing. Jobs stay where they are; callers are still answered.
    pub async fn drain(&self) {
        self.tasks.shutdown().await;
    }
}

/// Wakes the loops of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wakers {
    /// A schedule is due earlier than before.
    pub(crate) firing: Arc<Notify>,
    /// A job is due earlier than before.
    pub(crate) dispatch: Arc<Notify>,
    /// Jobs that runners have told of so far.
    pub(crate) n_told: Arc<AtomicU64>,
}

/// The time that decides: the database's, unless a clock is held.
#[derive(Debug, Clone)]
pub(crate) struct Time {
    db: Db,
    clock: Option<Arc<dyn Clock>>,
}

impl Time {
    /// The time of a held clock.
    pub(crate) fn held(&self) -> Option<DateTime<Utc>> {
        self.clock.as_ref().map(|clock| clock.now())
    }

    pub(crate) async fn now(&self) -> Result<DateTime<Utc>, sqlx::Error> {
        match self.held() {
            Some(now) => Ok(now),
            None => self.db.now().await,
        }
    }
}

/// Logs why a loop could not do its work; how long it rests before it tries again.
pub(crate) fn trouble(work: &'static str, error: &sqlx::Error) -> Duration {
    tracing::warn!(%error, "the scheduler cannot {work}; it will try again");
    AFTER_ERROR + AFTER_ERROR.mul_f64(rand::random())
}

struct LocalScheduler {
    schedules: ScheduleRepository,
    jobs: JobRepository,
    time: Time,
    wakers: Wakers,
}

impl LocalScheduler {
    fn new(db: Db, time: Time, wakers: Wakers) -> Self {
        Self { schedules: ScheduleRepository { db: db.clone() }, jobs: JobRepository { db }, time, wakers }
    }

    async fn now(&self) -> Result<DateTime<Utc>, SchedulerError> {
        self.time.now().await.map_err(failed("ask the database for the time"))
    }
}

#[async_trait]
impl Scheduler for LocalScheduler {
    async fn create(&self, schedule: NewSchedule) -> Result<Schedule, SchedulerError> {
        let now = self.now().await?;
        let (id, spec) = (schedule.id, &schedule.spec);
        self.schedules.insert(&schedule, spec.cron.next_after(now, spec.timezone), now).await?;
        self.wakers.firing.notify_one();
        let stored = self.schedules.find(id).await?;
        // It may be deleted by now.
        stored.map(|stored| stored.schedule).ok_or_else(|| SchedulerError::Database {
            operation: format!("read schedule `{id}` that was just stored"),
            source: sqlx::Error::RowNotFound,
        })
    }

    async fn find(&self, id: ScheduleId) -> Result<Option<Schedule>, SchedulerError> {
        Ok(self.schedules.find(id).await?.map(|stored| stored.schedule))
    }

    async fn list(&self, filter: &ScheduleFilter, page: PageRequest) -> Result<Page<Schedule>, SchedulerError> {
        self.schedules.list(filter, page).await
    }

    async fn update(
        &self,
        id: ScheduleId,
        spec: ScheduleSpec,
        expected: Option<u32>,
    ) -> Result<Option<Schedule>, SchedulerError> {
        let now = self.now().await?;
        let next_at = spec.cron.next_after(now, spec.timezone);
        let stored = self.schedules.update(id, &spec, expected, (next_at, now)).await?;
        self.wakers.firing.notify_one();
        Ok(stored.map(|stored| stored.schedule))
    }

    async fn delete(&self, id: ScheduleId, expected: Option<u32>) -> Result<bool, SchedulerError> {
        let now = self.now().await?;
        self.schedules.delete(id, expected, now).await
    }

    async fn pause(&self, id: ScheduleId) -> Result<Option<Schedule>, SchedulerError> {
        let now = self.now().await?;
        match self.schedules.pause(id, now).await? {
            Some(paused) => Ok(Some(paused.schedule)),
            None => self.find(id).await,
        }
    }

    async fn resume(&self, id: ScheduleId) -> Result<Option<Schedule>, SchedulerError> {
        // Again when somebody changed it in between.
        while let Some(stored) = self.schedules.find(id).await? {
            if stored.schedule.enabled {
                return Ok(Some(stored.schedule));
            }
            let now = self.now().await?;
            if let Some(resumed) = self.schedules.resume(&stored, now).await? {
                self.wakers.firing.notify_one();
                return Ok(Some(resumed.schedule));
            }
        }
        Ok(None)
    }

    async fn trigger(&self, id: ScheduleId, trigger: NewTrigger) -> Result<Option<Job>, SchedulerError> {
        let Some(stored) = self.schedules.find(id).await? else { return Ok(None) };
        let now = self.now().await?;
        let job = self.jobs.trigger(&stored.schedule, &trigger, now).await?;
        self.wakers.dispatch.notify_one();
        Ok(job)
    }

    async fn list_jobs(&self, filter: &JobFilter, page: PageRequest) -> Result<Page<Job>, SchedulerError> {
        self.jobs.list(filter, page).await
    }

    async fn find_job(&self, id: JobId) -> Result<Option<Job>, SchedulerError> {
        self.jobs.find(id).await
    }

    async fn retry_job(&self, id: JobId, attempt: u32) -> Result<Option<Job>, SchedulerError> {
        let now = self.now().await?;
        if let Some(job) = self.jobs.retry(id, attempt, now).await? {
            self.wakers.dispatch.notify_one();
            return Ok(Some(job));
        }
        match self.jobs.find(id).await? {
            Some(job) if job.attempt <= attempt && job.status != JobStatus::Dead => {
                Err(SchedulerError::NotDead { job: id, status: job.status })
            }
            other => Ok(other),
        }
    }
}
