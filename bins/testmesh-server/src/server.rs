//! Opens everything, serves, and stops in order: runs first, then what is asked from outside, storage and connections last.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use testmesh_api::{Access, ApiState, Limits, Metrics, SystemState, metrics_router, router, serve, system_router};
use testmesh_runner::executor::ExecutorHandle;
use testmesh_runner::plugins::Plugins;
use testmesh_runner::remote::ServeParts;
use testmesh_shared::clock::SystemClock;
use testmesh_shared::internal::{self, Credentials, Gate, GateLimits};
use testmesh_shared::net::Connector;
use testmesh_shared::tasks::Tasks;
use testmesh_shared::telemetry::{self, LogFormat};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::databases::Databases;
use crate::settings::{LogFormatSetting, Settings};
use crate::shape::Shape;
use crate::signals::Signals;
use crate::wiring::{self, Runs, Surroundings, Wired};
use crate::{Failure, callers, credentials};

/// How long open requests may take to finish once the runs are over.
const CONNECTION_GRACE: Duration = Duration::from_secs(5);

/// How often measurements are folded.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// The addresses that this process is asked at.
struct Listeners {
    main: TcpListener,
    metrics: Option<TcpListener>,
    internal: Option<TcpListener>,
    runner: Option<TcpListener>,
}

/// What is served, and the ways to end it.
struct Serving {
    /// Fires first: this process takes no new work, and says so.
    stopping: CancellationToken,
    /// Fires when the runs are over: requests that are being answered finish.
    closing: CancellationToken,
    /// Fires when nobody here needs storage any more.
    storage_closing: CancellationToken,
    /// What is asked from outside and by other processes, storage apart.
    tasks: Tasks,
    storage_tasks: Tasks,
}

/// Serves until a signal asks to stop.
pub(crate) async fn run(settings: &Settings) -> Result<(), Failure> {
    start_log(settings)?;
    let shape = Shape::of(settings)?;
    let access = callers::access(settings, &shape)?;
    let files = callers::files(settings)?;
    let programs = callers::programs(settings)?;
    let plugins = callers::plugins(settings, &shape)?;
    let background = Tasks::new();
    let credentials = credentials::read(settings, &shape, &background)?;
    let mut signals = Signals::listen().map_err(|error| Failure::failed(&error))?;
    // Opened first: a second server on this data folder is told so before anything else can fail.
    let databases = Databases::open(&settings.database, &shape.domains(), shape.is_whole()).await?;
    let listeners = Listeners::bind(settings, &shape).await?;
    let connector = Connector::new(callers::network_policy(settings, &shape, listeners.addresses()).await?)
        .with_listening(callers::listening(settings)?);
    let around = Surroundings {
        settings,
        shape: &shape,
        databases: &databases,
        credentials: credentials.as_ref(),
        connector,
        files,
        programs,
        plugins: plugins.clone(),
    };
    let wired = wiring::wire(around, &background).await?;
    background.spawn(prepare(plugins.clone()));
    announce(&listeners, &shape, &databases.place)?;
    let serving = Serving::start((settings, &shape), &wired, (access, plugins), (listeners, credentials));

    signals.next().await;
    serving.stopping.cancel();
    if let Some(Runs::Here(runs)) = &wired.runs {
        drain(settings, runs, &mut signals).await;
    }
    // After the runs: what they came to is still taken in.
    if let Some(scheduler) = &wired.scheduler {
        scheduler.drain().await;
    }
    serving.end(&mut signals).await;
    if let Some(Runs::Elsewhere(remote)) = &wired.runs {
        remote.close().await;
    }
    background.shutdown().await;
    databases.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Compiles the plugins beside everything else, so that no flow has to wait for it, and says which cannot be used.
async fn prepare(plugins: Plugins) {
    let compiling = tokio::task::spawn_blocking(move || {
        for name in plugins.names().unwrap_or_default() {
            match plugins.describe(&name) {
                Ok(plugin) => {
                    let (version, n_actions) = (plugin.version, plugin.actions.len());
                    tracing::info!(plugin = name, version, n_actions, "flows may use the plugin `{name}`");
                }
                Err(error) => tracing::warn!(plugin = name, help = error.help(), "{error}"),
            }
        }
    });
    if let Err(error) = compiling.await {
        tracing::error!(%error, "the plugins could not be compiled");
    }
}

/// Lets runs end, or cancels them when time is up or another signal comes. Requests are answered all the while.
async fn drain(settings: &Settings, runs: &ExecutorHandle, signals: &mut Signals) {
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

impl Listeners {
    async fn bind(settings: &Settings, shape: &Shape) -> Result<Self, Failure> {
        let optional = async |address: Option<SocketAddr>, flag: &str| match address {
            Some(address) => bind(address, flag).await.map(Some),
            None => Ok(None),
        };
        Ok(Self {
            main: bind(settings.listen, "--listen").await?,
            metrics: optional(settings.metrics_addr, "--metrics-addr").await?,
            internal: optional(shape.internal_listen, "--internal-listen").await?,
            runner: optional(shape.runner_listen, "--runner-listen").await?,
        })
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let others = [&self.metrics, &self.internal, &self.runner].into_iter().flatten();
        std::iter::once(&self.main).chain(others).filter_map(|listener| listener.local_addr().ok()).collect()
    }
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::Failed(format!("cannot listen on `{address}`: {error}; another address can be given with {flag}"))
    })
}

impl Serving {
    fn start(
        (settings, shape): (&Settings, &Shape),
        wired: &Wired,
        (access, plugins): (Access, Plugins),
        (listeners, credentials): (Listeners, Option<Credentials>),
    ) -> Self {
        let serving = Self {
            stopping: CancellationToken::new(),
            closing: CancellationToken::new(),
            storage_closing: CancellationToken::new(),
            tasks: Tasks::new(),
            storage_tasks: Tasks::new(),
        };
        let metrics = Metrics::install();
        let system = SystemState {
            clock: Arc::new(SystemClock),
            access,
            checks: wired.checks.clone(),
            metrics: metrics.clone(),
            stopping: serving.stopping.clone(),
        };
        let api = if shape.api { api(wired, &system, plugins, &serving.closing) } else { None };
        let routes = match api {
            Some(state) => router(state),
            None => system_router(system),
        };
        // Runs of this process are over by then; those of others last as long as they would have here.
        let grace = match &wired.runs {
            Some(Runs::Elsewhere(_)) => settings.drain_timeout().max(CONNECTION_GRACE),
            Some(Runs::Here(_)) | None => CONNECTION_GRACE,
        };
        serving.tasks.spawn(serve(listeners.main, routes, serving.closing.clone(), grace));
        if let Some(listener) = listeners.metrics {
            let routes = metrics_router(metrics.clone());
            serving.tasks.spawn(serve(listener, routes, serving.closing.clone(), CONNECTION_GRACE));
        }
        serving.tasks.spawn(upkeep(metrics, serving.closing.clone()));
        if let Some(credentials) = credentials {
            serving.to_processes(wired, (listeners.internal, listeners.runner), &credentials);
        }
        serving
    }

    /// Serves other processes.
    fn to_processes(
        &self,
        wired: &Wired,
        (internal, runner): (Option<TcpListener>, Option<TcpListener>),
        credentials: &Credentials,
    ) {
        if let (Some(listener), Some(stores)) = (internal, &wired.stores) {
            let gate = Gate::new(credentials.clone(), GateLimits::default());
            let routes = testmesh_storage::remote::router(Arc::clone(&stores.flows), Arc::clone(&stores.environments));
            let (credentials, closing) = (credentials.clone(), self.storage_closing.clone());
            self.storage_tasks.spawn(internal::serve(
                listener,
                routes.layer(gate.http()),
                credentials,
                closing,
                CONNECTION_GRACE,
            ));
        }
        if let (Some(listener), Some(runs)) = (runner, &wired.runs) {
            let parts = ServeParts {
                executor: runs.executor(),
                executions: runs.executions(),
                credentials: credentials.clone(),
                stopping: self.stopping.clone(),
                closing: self.closing.clone(),
            };
            self.tasks.spawn(testmesh_runner::remote::serve(listener, parts));
        }
    }

    /// Lets requests finish. Another signal ends the wait.
    async fn end(&self, signals: &mut Signals) {
        self.closing.cancel();
        tokio::select! {
            // Dropped only when the process ends.
            () = self.tasks.join() => {}
            // Cancel-safe: waiting for a signal keeps no state.
            () = signals.next() => tracing::info!("stopping at once: requests are cut off"),
        }
        self.storage_closing.cancel();
        self.storage_tasks.join().await;
    }
}

/// What the API works with, as far as it is there.
fn api(wired: &Wired, system: &SystemState, plugins: Plugins, closing: &CancellationToken) -> Option<ApiState> {
    let (stores, runs, schedules) = (wired.stores.as_ref()?, wired.runs.as_ref()?, wired.schedules.as_ref()?);
    Some(ApiState {
        flows: Arc::clone(&stores.flows),
        environments: Arc::clone(&stores.environments),
        executor: runs.executor(),
        executions: runs.executions(),
        scheduler: Arc::clone(schedules),
        plugins,
        limits: Limits::default(),
        closing: closing.clone(),
        system: system.clone(),
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

/// Says where the server is and what it does, for the person or the program that started it.
fn announce(listeners: &Listeners, shape: &Shape, place: &str) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let address = |listener: &TcpListener| listener.local_addr().map_err(|error| Failure::failed(&error));
    let main = address(&listeners.main)?;
    let mut lines = vec![format!("TestMesh {version} listens on http://{main} (data in {place})")];
    if !shape.is_whole() {
        lines.push(format!("Roles: {shape}"));
    }
    for (listener, what) in [
        (&listeners.metrics, "Metrics are on"),
        (&listeners.internal, "Other processes find the storage on"),
        (&listeners.runner, "Other processes find the runner on"),
    ] {
        if let Some(listener) = listener {
            lines.push(format!("{what} {}", address(listener)?));
        }
    }
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{}", lines.join("\n")).and_then(|()| out.flush());
    written.map_err(|error| Failure::Failed(format!("cannot write to stdout: {error}")))?;
    tracing::info!(address = %main, data = place, roles = %shape, version, "listening");
    Ok(())
}
