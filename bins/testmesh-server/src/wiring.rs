//! Puts the domains together: each one here or elsewhere, behind the same traits.

use std::sync::Arc;

use testmesh_api::Check;
use testmesh_runner::executor::{self, Executor, ExecutorConfig, ExecutorHandle, ExecutorParts};
use testmesh_runner::files::Files;
use testmesh_runner::plugins::Plugins;
use testmesh_runner::programs::Programs;
use testmesh_runner::remote::RemoteRunner;
use testmesh_runner::repository::ExecutionRepository;
use testmesh_scheduler::{SchedulerConfig, SchedulerHandle, SchedulerParts};
use testmesh_shared::clock::{Clock, SystemClock};
use testmesh_shared::db::Db;
use testmesh_shared::ids::SessionId;
use testmesh_shared::internal::{Client, ClientLimits, Credentials, InvalidTarget, Target};
use testmesh_shared::net::Connector;
use testmesh_shared::stream::{FallbackStream, MemoryStream, RedisStream, RedisTarget, Stream};
use testmesh_shared::tasks::Tasks;
use testmesh_storage::{EnvironmentRepository, FlowRepository};

use crate::databases::{Databases, Domain};
use crate::settings::Settings;
use crate::shape::{Runner, Scheduler, Shape, Storage};
use crate::{Failure, chain};

/// Runs that wait; one more is refused.
const QUEUE: usize = 10_000;

/// What the domains are put together from.
pub(crate) struct Surroundings<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) shape: &'a Shape,
    pub(crate) databases: &'a Databases,
    /// There when processes call each other.
    pub(crate) credentials: Option<&'a Credentials>,
    pub(crate) connector: Connector,
    pub(crate) files: Files,
    pub(crate) programs: Programs,
    pub(crate) plugins: Plugins,
}

/// The domains as this process uses them; what nothing here needs is absent.
pub(crate) struct Wired {
    pub(crate) stores: Option<Stores>,
    pub(crate) runs: Option<Runs>,
    /// The scheduler of this process.
    pub(crate) scheduler: Option<SchedulerHandle>,
    /// Answers callers about schedules.
    pub(crate) schedules: Option<Arc<dyn testmesh_scheduler::Scheduler>>,
    /// What has to answer for this process to be ready.
    pub(crate) checks: Vec<Check>,
}

/// Flows and environments, wherever they are.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) flows: Arc<dyn FlowRepository>,
    pub(crate) environments: Arc<dyn EnvironmentRepository>,
}

/// Runs, wherever they run.
pub(crate) enum Runs {
    /// In this process.
    Here(ExecutorHandle),
    /// In others.
    Elsewhere(Arc<RemoteRunner>),
}

impl Runs {
    /// What takes runs.
    pub(crate) fn executor(&self) -> Arc<dyn Executor> {
        match self {
            Runs::Here(handle) => handle.executor(),
            Runs::Elsewhere(remote) => remote.executor(),
        }
    }

    /// What reads them.
    pub(crate) fn executions(&self) -> Arc<dyn ExecutionRepository> {
        match self {
            Runs::Here(handle) => handle.executions(),
            Runs::Elsewhere(remote) => remote.executions(),
        }
    }
}

/// Starts the domains of this process, and finds the others; `background` is what lasts as long as the process.
pub(crate) async fn wire(around: Surroundings<'_>, background: &Tasks) -> Result<Wired, Failure> {
    let mut checks = Vec::new();
    let stream = open_stream(around.settings, around.shape, background)?;
    if let Some(stream) = &stream {
        checks.push(stream_check(stream, around.shape.splits_stream()));
    }
    let names = [
        (Domain::Flows, "flows_database"),
        (Domain::Executions, "executions_database"),
        (Domain::Scheduler, "scheduler_database"),
    ];
    for (domain, name) in names {
        checks.extend(around.databases.of(domain).map(|db| database_check(name, db)));
    }
    let stores = stores(&around, &mut checks)?;
    let (own, schedules) = scheduler(&around, stream.as_ref());
    let runs = runs(around, stores.as_ref(), stream, &mut checks).await?;
    Ok(Wired { stores, runs, scheduler: own, schedules, checks })
}

fn stores(around: &Surroundings<'_>, checks: &mut Vec<Check>) -> Result<Option<Stores>, Failure> {
    match &around.shape.storage {
        Storage::Unneeded => Ok(None),
        Storage::Here | Storage::Direct => {
            let (db, clock) = (database(around, Domain::Flows), Arc::new(SystemClock) as Arc<dyn Clock>);
            let flows = testmesh_storage::flow_repository(db, Arc::clone(&clock));
            Ok(Some(Stores { flows, environments: testmesh_storage::environment_repository(db, clock) }))
        }
        Storage::At(url) => {
            let credentials = credentials(around);
            let target =
                Target::parse(url, credentials).map_err(|error| wrong_target(around, "storage_url", &error))?;
            let client = Client::new(target, credentials.clone(), ClientLimits::default());
            checks.push(storage_check(&client));
            let flows = testmesh_storage::remote::flow_repository(&client);
            Ok(Some(Stores { flows, environments: testmesh_storage::remote::environment_repository(&client) }))
        }
    }
}

fn scheduler(
    around: &Surroundings<'_>,
    stream: Option<&Arc<dyn Stream>>,
) -> (Option<SchedulerHandle>, Option<Arc<dyn testmesh_scheduler::Scheduler>>) {
    match around.shape.scheduler {
        Scheduler::Unneeded => (None, None),
        Scheduler::InItsSchema => (None, Some(testmesh_scheduler::client(database(around, Domain::Scheduler).clone()))),
        Scheduler::Here => {
            let db = database(around, Domain::Scheduler).clone();
            let stream = Arc::clone(stream.expect("a process with the scheduler has a stream: `open_stream`"));
            let parts = SchedulerParts { db, clock: None, stream };
            let handle = testmesh_scheduler::start(parts, SchedulerConfig::default());
            let schedules = handle.scheduler();
            (Some(handle), Some(schedules))
        }
    }
}

async fn runs(
    around: Surroundings<'_>,
    stores: Option<&Stores>,
    stream: Option<Arc<dyn Stream>>,
    checks: &mut Vec<Check>,
) -> Result<Option<Runs>, Failure> {
    match &around.shape.runner {
        Runner::Unneeded => Ok(None),
        Runner::At(urls) => {
            let remote = testmesh_runner::remote::connect(urls, credentials(&around))
                .map_err(|error| wrong_target(&around, "runner_url", &error))?;
            let remote = Arc::new(remote);
            checks.push(runner_check(&remote));
            Ok(Some(Runs::Elsewhere(remote)))
        }
        Runner::Here => {
            let Stores { flows, environments } =
                stores.cloned().expect("a process with the runner has storage, here or elsewhere: `Shape::of`");
            let parts = ExecutorParts {
                db: database(&around, Domain::Executions).clone(),
                clock: Arc::new(SystemClock),
                flows,
                environments,
                connector: around.connector,
                files: around.files,
                programs: around.programs,
                plugins: around.plugins,
                stream,
            };
            let config = ExecutorConfig {
                concurrency: around.settings.concurrency(),
                queue: QUEUE,
                runner: "testmesh-server".to_owned(),
                ..ExecutorConfig::default()
            };
            let handle = executor::start(parts, config).await.map_err(|error| Failure::failed(&error))?;
            Ok(Some(Runs::Here(handle)))
        }
    }
}

/// What carries jobs and their reports: Redis, or memory in a process that has both ends. Where it has both, messages go
/// from hand to hand while Redis is away. None in a process that has neither end.
fn open_stream(settings: &Settings, shape: &Shape, tasks: &Tasks) -> Result<Option<Arc<dyn Stream>>, Failure> {
    if shape.scheduler != Scheduler::Here && shape.runner != Runner::Here {
        return Ok(None);
    }
    let Some(url) = settings.redis_url.as_deref().filter(|url| !url.is_empty()) else {
        return Ok(Some(Arc::new(MemoryStream::new())));
    };
    let target = RedisTarget {
        url: url.to_owned(),
        prefix: settings.redis_prefix.clone(),
        consumer: SessionId::generate(&SystemClock).to_string(),
        ca: None,
        identity: None,
    };
    let stream = RedisStream::new(&target).map_err(|error| {
        let place = settings.in_force.place("redis_url");
        Failure::Setting(format!("{place}: {error}"))
    })?;
    if shape.splits_stream() {
        return Ok(Some(Arc::new(stream)));
    }
    Ok(Some(Arc::new(FallbackStream::new(stream, tasks))))
}

fn database<'a>(around: &Surroundings<'a>, domain: Domain) -> &'a Db {
    around.databases.of(domain).expect("the databases were opened for this shape: `Shape::domains`")
}

fn credentials<'a>(around: &Surroundings<'a>) -> &'a Credentials {
    around.credentials.expect("a process that calls others has credentials: `credentials::read`")
}

fn wrong_target(around: &Surroundings<'_>, key: &str, error: &InvalidTarget) -> Failure {
    Failure::Setting(format!("{}: {}", around.settings.in_force.place(key), chain(error)))
}

fn database_check(name: &'static str, db: &Db) -> Check {
    let db = db.clone();
    Check::new(name, move || {
        let db = db.clone();
        async move { db.ping().await.map_err(|error| chain(&error)) }
    })
}

/// `alone`: the other end is in other processes. Then what Redis carries waits while it is away, and everything else that
/// this process does goes on.
fn stream_check(stream: &Arc<dyn Stream>, alone: bool) -> Check {
    let stream = Arc::clone(stream);
    Check::with_note("stream", move || {
        let stream = Arc::clone(&stream);
        async move {
            match stream.ping().await {
                Ok(()) => Ok(stream.note()),
                Err(error) if alone => Ok(Some(error.to_string())),
                Err(error) => Err(error.to_string()),
            }
        }
    })
}

fn storage_check(client: &Client) -> Check {
    let client = client.clone();
    Check::new("storage", move || {
        let client = client.clone();
        async move { testmesh_storage::remote::about(&client).await.map(drop).map_err(|error| chain(&error)) }
    })
}

fn runner_check(remote: &Arc<RemoteRunner>) -> Check {
    let remote = Arc::clone(remote);
    Check::with_note("runner", move || {
        let remote = Arc::clone(&remote);
        async move { remote.check().await.map_err(|error| chain(&error)) }
    })
}
