//! Opens everything, serves, and stops in order: runs first, streams and connections last.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use testmesh_api::{Access, ApiState, Check, Limits, Metrics, Tokens, metrics_router, router, serve};
use testmesh_runner::executor::{self, ExecutorConfig, ExecutorHandle, ExecutorParts};
use testmesh_runner::files::Files;
use testmesh_scheduler::{Scheduler, SchedulerConfig, SchedulerHandle, SchedulerParts};
use testmesh_shared::clock::{Clock, SystemClock};
use testmesh_shared::db::Db;
use testmesh_shared::ids::SessionId;
use testmesh_shared::net::{Connector, NetPolicy};
use testmesh_shared::stream::{FallbackStream, MemoryStream, RedisStream, RedisTarget, Stream};
use testmesh_shared::tasks::Tasks;
use testmesh_shared::telemetry::{self, LogFormat};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::databases::{self, Databases};
use crate::settings::{LogFormatSetting, Settings};
use crate::signals::Signals;
use crate::{Failure, chain};

/// How long open requests may take to finish once the runs are over.
const CONNECTION_GRACE: Duration = Duration::from_secs(5);

/// How often measurements are folded.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Runs that wait; one more is refused.
const QUEUE: usize = 10_000;

/// Serves until a signal asks to stop.
pub(crate) async fn run(settings: &Settings) -> Result<(), Failure> {
    start_log(settings)?;
    let access = access(settings)?;
    let mut signals = Signals::listen().map_err(|error| Failure::failed(&error))?;
    let files = files(settings)?;
    // Opened first: a second server on this data folder is told so before anything else can fail.
    let databases = Databases::open(&settings.database).await?;
    let listener = bind(settings.listen, "--listen").await?;
    let address = listener.local_addr().map_err(|error| Failure::failed(&error))?;
    let metrics_listener = match settings.metrics_addr {
        Some(address) => Some(bind(address, "--metrics-addr").await?),
        None => None,
    };
    let metrics_address = metrics_listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let connector = Connector::new(network_policy(settings, address, metrics_address).await?);
    let stream_tasks = Tasks::new();
    let stream = open_stream(settings, &stream_tasks)?;
    let scheduler = start_scheduler(&databases, &stream);
    let (state, runs) =
        wire(settings, &databases, (&stream, scheduler.scheduler()), access, (connector, files)).await?;
    let (metrics, stopping, closing) = (state.metrics.clone(), state.stopping.clone(), state.closing.clone());

    let tasks = Tasks::new();
    tasks.spawn(serve(listener, router(state), closing.clone(), CONNECTION_GRACE));
    if let Some(listener) = metrics_listener {
        tasks.spawn(serve(listener, metrics_router(metrics.clone()), closing.clone(), CONNECTION_GRACE));
    }
    tasks.spawn(upkeep(metrics, closing.clone()));
    announce(address, metrics_address, &databases.place)?;

    signals.next().await;
    stop(settings, &runs, &stopping, &mut signals).await;
    // After the runs: what they came to is still taken in.
    scheduler.drain().await;
    stream_tasks.shutdown().await;
    closing.cancel();
    tasks.join().await;
    databases.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Lets runs end, or cancels them when time is up or another signal comes. Requests are answered all the while.
async fn stop(settings: &Settings, runs: &ExecutorHandle, stopping: &CancellationToken, signals: &mut Signals) {
    stopping.cancel();
    let seconds = settings.drain_timeout().as_secs();
    tracing::info!(seconds, "stopping: running flows may finish; another signal cancels them");
    let drained = runs.drain(settings.drain_timeout());
    let mut drained = std::pin::pin!(drained);
    tokio::select! {
        // Not dropped in between: the same pinned future goes on below.
        () = drained.as_mut() => return,
        // Cancel-safe: waiting for a signal keeps no state.
        () = signals.next() => {}
    }
    tracing::info!("stopping at once: running flows are cancelled and tidy up");
    runs.hurry();
    drained.await;
}

/// What carries jobs and their reports: Redis, in whose absence they go from hand to hand, or memory alone.
fn open_stream(settings: &Settings, tasks: &Tasks) -> Result<Arc<dyn Stream>, Failure> {
    let Some(url) = settings.redis_url.as_deref().filter(|url| !url.is_empty()) else {
        return Ok(Arc::new(MemoryStream::new()));
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
    Ok(Arc::new(FallbackStream::new(stream, tasks)))
}

fn start_scheduler(databases: &Databases, stream: &Arc<dyn Stream>) -> SchedulerHandle {
    let parts = SchedulerParts { db: databases.scheduler.clone(), clock: None, stream: Arc::clone(stream) };
    testmesh_scheduler::start(parts, SchedulerConfig::default())
}

/// Puts the domains together.
async fn wire(
    settings: &Settings,
    databases: &Databases,
    (stream, scheduler): (&Arc<dyn Stream>, Arc<dyn Scheduler>),
    access: Access,
    (connector, files): (Connector, Files),
) -> Result<(ApiState, ExecutorHandle), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let flows = testmesh_storage::flow_repository(&databases.flows, Arc::clone(&clock));
    let environments = testmesh_storage::environment_repository(&databases.flows, Arc::clone(&clock));
    let parts = ExecutorParts {
        db: databases.executions.clone(),
        clock: Arc::clone(&clock),
        flows: Arc::clone(&flows),
        environments: Arc::clone(&environments),
        connector,
        files,
        stream: Some(Arc::clone(stream)),
    };
    let config = ExecutorConfig {
        concurrency: settings.concurrency(),
        queue: QUEUE,
        runner: "testmesh-server".to_owned(),
        ..ExecutorConfig::default()
    };
    let runs = executor::start(parts, config).await.map_err(|error| Failure::failed(&error))?;
    let state = ApiState {
        flows,
        environments,
        executor: runs.executor(),
        executions: runs.executions(),
        scheduler,
        clock,
        access,
        checks: vec![
            stream_check(stream),
            check("flows_database", &databases.flows),
            check("executions_database", &databases.executions),
            check("scheduler_database", &databases.scheduler),
        ],
        limits: Limits::default(),
        metrics: Metrics::install(),
        stopping: CancellationToken::new(),
        closing: CancellationToken::new(),
    };
    Ok((state, runs))
}

fn check(name: &'static str, db: &Db) -> Check {
    let db = db.clone();
    Check::new(name, move || {
        let db = db.clone();
        async move { db.ping().await.map_err(|error| chain(&error)) }
    })
}

fn stream_check(stream: &Arc<dyn Stream>) -> Check {
    let stream = Arc::clone(stream);
    Check::with_note("stream", move || {
        let stream = Arc::clone(&stream);
        async move {
            stream.ping().await.map_err(|error| error.to_string())?;
            Ok(stream.note())
        }
    })
}

fn start_log(settings: &Settings) -> Result<(), Failure> {
    let for_people = match settings.log_format {
        LogFormatSetting::Json => false,
        LogFormatSetting::Text => true,
        LogFormatSetting::Auto => std::io::stderr().is_terminal(),
    };
    let format = if for_people { LogFormat::Text } else { LogFormat::Json };
    telemetry::init(format, &settings.log_level)
        .map_err(|error| Failure::Setting(format!("{}: {error}", settings.in_force.place("log_level"))))
}

/// Who may call. Without tokens nobody but this machine may.
fn access(settings: &Settings) -> Result<Access, Failure> {
    let place = |key| settings.in_force.place(key);
    let tokens = match &settings.tokens_file {
        Some(path) => {
            let tokens = Tokens::load(path);
            let tokens =
                tokens.map_err(|error| Failure::Setting(format!("{}: {}", place("tokens_file"), chain(&error))))?;
            Some(Arc::new(tokens))
        }
        None if settings.listen.ip().is_loopback() => None,
        None => {
            return Err(Failure::Setting(format!(
                "{} {}: anyone on the network could call this server, and it has no tokens; give it \
                 --tokens-file FILE (`testmesh-server token create --name me --scope admin` makes the first line), or \
                 listen on a loopback address such as 127.0.0.1:5016",
                place("listen"),
                settings.listen
            )));
        }
    };
    let origins = settings.cors_origins.iter().map(|origin| origin.trim().trim_end_matches('/').to_owned());
    let origins: Vec<_> = origins.filter(|origin| !origin.is_empty()).collect();
    for origin in &origins {
        let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let plain = |authority: &str| {
            !authority.is_empty() && !authority.contains('/') && authority.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !authority.is_some_and(plain) {
            return Err(Failure::Setting(format!(
                "{}: `{origin}` is no origin such as `https://tests.example.com`",
                place("cors_origins")
            )));
        }
    }
    Ok(Access { tokens, origins })
}

/// The files that flows may read.
fn files(settings: &Settings) -> Result<Files, Failure> {
    let Some(folder) = &settings.flow_files else { return Ok(Files::none()) };
    let place = || settings.in_force.place("flow_files");
    let root = std::fs::canonicalize(folder)
        .map_err(|error| Failure::Setting(format!("{}: cannot use `{}`: {error}", place(), folder.display())))?;
    if !root.is_dir() {
        return Err(Failure::Setting(format!("{}: `{}` is no folder", place(), folder.display())));
    }
    Ok(Files { base: root.clone(), root: Some(root), enabled: true })
}

/// Where flows may connect to: not to this server itself, nor to where its data is.
async fn network_policy(
    settings: &Settings,
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
) -> Result<NetPolicy, Failure> {
    let mut own: Vec<_> = std::iter::once(address).chain(metrics_address).collect();
    own.extend(databases::addresses(&settings.database).await?);
    if let Some(url) = &settings.redis_url {
        own.extend(databases::resolve(url, 6379).await);
    }
    let place = |key| settings.in_force.place(key);
    NetPolicy::server(&own)
        .with_denied(&settings.net_deny.join(","))
        .map_err(|error| Failure::Setting(format!("{}: {error}", place("net_deny"))))?
        .with_allowed(&settings.net_allow.join(","))
        .map_err(|error| Failure::Setting(format!("{}: {error}", place("net_allow"))))
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::Failed(format!("cannot listen on `{address}`: {error}; another address can be given with {flag}"))
    })
}

/// Folds measurements, so that they take no more memory while nobody asks for them.
async fn upkeep(metrics: Metrics, closing: CancellationToken) {
    let mut tick = tokio::time::interval(METRICS_UPKEEP);
    loop {
        tokio::select! {
            // Cancel-safe: waiting for a cancellation keeps no state.
            () = closing.cancelled() => return,
            // Cancel-safe per docs on `tick()`.
            _ = tick.tick() => metrics.upkeep(),
        }
    }
}

/// Says where the server is, for the person or the program that started it.
fn announce(address: SocketAddr, metrics: Option<SocketAddr>, place: &str) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let mut out = std::io::stdout().lock();
    let mut written = writeln!(out, "TestMesh {version} listens on http://{address} (data in {place})");
    if let (Ok(()), Some(metrics)) = (&written, metrics) {
        written = writeln!(out, "Metrics are on http://{metrics}/metrics");
    }
    written.and_then(|()| out.flush()).map_err(|error| Failure::Failed(format!("cannot write to stdout: {error}")))?;
    tracing::info!(address = %address, data = place, version, "listening");
    Ok(())
}
