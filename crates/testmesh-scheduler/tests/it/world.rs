//! A running scheduler on a fresh database, a held clock, a runner that does as it is told; and the macro that runs a
//! contract on each engine.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use indexmap::IndexMap;
use testmesh_scheduler::cron::{Cron, parse_zone};
use testmesh_scheduler::{
    Job, JobFilter, JobStatus, Misfire, NewSchedule, NewTrigger, Overlap, Retry, Schedule, ScheduleSpec, Scheduler,
    SchedulerConfig, SchedulerHandle, SchedulerParts,
};
use testmesh_shared::clock::{Clock, FakeClock, SystemClock};
use testmesh_shared::db::{DataFolder, Db, PostgresTarget, role_of};
use testmesh_shared::ids::{ExecutionId, FlowId, JobId, ScheduleId};
use testmesh_shared::messages::{Outcome, RunFlow, RunReport, RunState};
use testmesh_shared::page::PageRequest;
use testmesh_shared::stream::{MemoryStream, Stream, Topic};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) clock: FakeClock,
    pub(crate) stream: MemoryStream,
    pub(crate) handle: SchedulerHandle,
    pub(crate) scheduler: Arc<dyn Scheduler>,
    inbox: VecDeque<RunFlow>,
    seen: HashSet<(JobId, u32)>,
    target: Option<PostgresTarget>,
    _dir: Option<tempfile::TempDir>,
}

pub(crate) async fn sqlite() -> World {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::take(dir.path()).unwrap();
    let db = Db::embedded(&folder, &testmesh_scheduler::SCHEMA).await.unwrap();
    World::new(db, Some(dir), None)
}

/// `None`: there is no server to have a database on.
pub(crate) async fn postgres() -> Option<World> {
    let schema = &testmesh_scheduler::SCHEMA;
    let url = testmesh_shared::db::testing::postgres_database(&[schema]).await?;
    let target = PostgresTarget { url, role: Some(role_of(schema)), connections: 4 };
    let db = Db::postgres(&target, schema).await.unwrap();
    Some(World::new(db, None, Some(target)))
}

/// Noon of a Tuesday.
pub(crate) const START: &str = "2026-03-10T12:00:00Z";

pub(crate) fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// What runs every five minutes, each attempt for itself.
pub(crate) fn spec(name: &str) -> ScheduleSpec {
    ScheduleSpec {
        name: name.to_owned(),
        flow_id: FlowId::generate(&SystemClock),
        flow_version: None,
        cron: Cron::parse("*/5 * * * *").unwrap(),
        timezone: parse_zone("UTC").unwrap(),
        misfire: Misfire::FireOnce,
        catchup_max: 10,
        overlap: Overlap::Skip,
        jitter_s: 0,
        environment: None,
        variables: IndexMap::new(),
        retry: Retry { backoff_s: 0, ..Retry::default() },
    }
}

pub(crate) fn new_schedule(spec: ScheduleSpec) -> NewSchedule {
    NewSchedule { id: ScheduleId::generate(&SystemClock), spec, enabled: true }
}

pub(crate) fn new_trigger() -> NewTrigger {
    NewTrigger { job_id: JobId::generate(&SystemClock), key: None }
}

pub(crate) fn finished(job: JobId, attempt: u32, outcome: Outcome) -> RunReport {
    let state = RunState::Finished { outcome, finished_at: time(START), code: None, message: None };
    RunReport { job_id: job, attempt, execution_id: ExecutionId::generate(&SystemClock), state }
}

pub(crate) fn running(job: JobId, attempt: u32) -> RunReport {
    RunReport { state: RunState::Running, ..finished(job, attempt, Outcome::Passed) }
}

/// Asks until the answer is there.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asked = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    asked.await.unwrap_or_else(|_| panic!("waited in vain until {what}"))
}

impl World {
    fn new(db: Db, dir: Option<tempfile::TempDir>, target: Option<PostgresTarget>) -> Self {
        let (clock, stream) = (FakeClock::new(time(START)), MemoryStream::new());
        let handle = start(&db, Some(&clock), &stream);
        let scheduler = handle.scheduler();
        Self { db, clock, stream, handle, scheduler, inbox: VecDeque::new(), seen: HashSet::new(), target, _dir: dir }
    }

    /// Another scheduler process on the same database and stream.
    pub(crate) fn another(&self) -> SchedulerHandle {
        start(&self.db, Some(&self.clock), &self.stream)
    }

    pub(crate) async fn create(&self, spec: ScheduleSpec) -> Schedule {
        self.scheduler.create(new_schedule(spec)).await.unwrap()
    }

    pub(crate) async fn trigger(&self, schedule: ScheduleId) -> Job {
        self.scheduler.trigger(schedule, new_trigger()).await.unwrap().unwrap()
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
        self.handle.wake();
    }

    pub(crate) fn advance_to(&self, there: DateTime<Utc>) {
        self.clock.advance(there - self.clock.now());
        self.handle.wake();
    }

    /// The same database through connections of the runtime that waits for it.
    pub(crate) fn db_again(&self) -> impl Future<Output = Db> + Send + 'static {
        let (target, db) = (self.target.clone(), self.db.clone());
        async move {
            match target {
                Some(target) => Db::postgres(&target, &testmesh_scheduler::SCHEMA).await.unwrap(),
                None => db,
            }
        }
    }

    /// The jobs of the messages that wait for a runner, once for each message.
    pub(crate) async fn waiting(&self) -> Vec<JobId> {
        let messages = self.stream.under_way(Topic::RunFlow, usize::MAX).await.unwrap();
        messages.iter().map(|message| serde_json::from_str::<RunFlow>(message).unwrap().job_id).collect()
    }

    /// The next message for a runner about an attempt that it has not heard of.
    pub(crate) async fn sent(&mut self) -> RunFlow {
        loop {
            let message = self.received().await;
            if self.seen.insert((message.job_id, message.attempt)) {
                return message;
            }
        }
    }

    /// The next message for a runner, acknowledged.
    pub(crate) async fn received(&mut self) -> RunFlow {
        if self.inbox.is_empty() {
            let read = self.stream.read(Topic::RunFlow, 100, PATIENCE).await.unwrap();
            let ids: Vec<_> = read.iter().map(|entry| entry.id.clone()).collect();
            self.stream.acknowledge(Topic::RunFlow, &ids).await.unwrap();
            self.inbox.extend(read.iter().map(|entry| serde_json::from_str::<RunFlow>(&entry.payload).unwrap()));
        }
        self.inbox.pop_front().expect("a job should have been sent")
    }

    pub(crate) async fn report(&self, reports: &[RunReport]) {
        let payloads: Vec<_> = reports.iter().map(|report| serde_json::to_string(report).unwrap()).collect();
        self.stream.publish(Topic::RunFinished, &payloads).await.unwrap();
    }

    /// What a runner says when an attempt is over.
    pub(crate) async fn finish(&self, message: &RunFlow, outcome: Outcome) {
        self.report(&[finished(message.job_id, message.attempt, outcome)]).await;
    }

    pub(crate) async fn job(&self, id: JobId) -> Job {
        self.scheduler.find_job(id).await.unwrap().unwrap()
    }

    /// Waits until a job is as far as this.
    pub(crate) async fn settled(&self, id: JobId, status: JobStatus) -> Job {
        until(&format!("job `{id}` is {status}"), async || Some(self.job(id).await).filter(|job| job.status == status))
            .await
    }

    /// The jobs of a schedule, oldest first.
    pub(crate) async fn jobs(&self, schedule: ScheduleId) -> Vec<Job> {
        let filter = JobFilter { schedule_id: Some(schedule), status: None };
        let mut page = self.scheduler.list_jobs(&filter, PageRequest { limit: 200, after: None }).await.unwrap();
        assert_eq!(page.next, None);
        page.items.reverse();
        page.items
    }

    /// Waits until a schedule has that many jobs.
    pub(crate) async fn n_jobs(&self, schedule: ScheduleId, count: usize) -> Vec<Job> {
        until(&format!("there are {count} jobs"), async || {
            Some(self.jobs(schedule).await).filter(|jobs| jobs.len() >= count)
        })
        .await
    }
}

pub(crate) fn start(db: &Db, clock: Option<&FakeClock>, stream: &MemoryStream) -> SchedulerHandle {
    let clock = clock.map(|clock| Arc::new(clock.clone()) as Arc<dyn Clock>);
    let parts = SchedulerParts { db: db.clone(), clock, stream: Arc::new(stream.clone()) };
    testmesh_scheduler::start(parts, SchedulerConfig::default())
}

/// `contract! { name, … }`: each function of the parent module, on every engine.
macro_rules! contract {
    ($($name:ident,)*) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(crate::world::sqlite().await).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    if let Some(world) = crate::world::postgres().await {
                        super::$name(world).await;
                    }
                }
            )*
        }
    };
}
pub(crate) use contract;
