//! What the handlers work with: the domains' traits, the access rules, the limits.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use futures::future::BoxFuture;
use testmesh_runner::executor::Executor;
use testmesh_runner::plugins::Plugins;
use testmesh_runner::repository::ExecutionRepository;
use testmesh_scheduler::Scheduler;
use testmesh_shared::clock::Clock;
use testmesh_storage::{EnvironmentRepository, FlowRepository};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::auth::tokens::Tokens;
use crate::meters::Metrics;
use crate::problem::Problem;
use crate::table::RouteTable;

/// Everything the routes need from outside.
pub struct ApiState {
    /// Stored flows.
    pub flows: Arc<dyn FlowRepository>,
    /// Stored environments.
    pub environments: Arc<dyn EnvironmentRepository>,
    /// Runs flows.
    pub executor: Arc<dyn Executor>,
    /// What runs left behind.
    pub executions: Arc<dyn ExecutionRepository>,
    /// Schedules and the jobs that they fire.
    pub scheduler: Arc<dyn Scheduler>,
    /// The plugins where flows run, to check flows by.
    pub plugins: Plugins,
    /// Bounds on what one caller can take.
    pub limits: Limits,
    /// Fires when nothing more will happen: open event streams end.
    pub closing: CancellationToken,
    /// What is asked about the server itself.
    pub system: SystemState,
}

/// What the routes about the server itself need. A process without the API serves these alone.
#[derive(Clone)]
pub struct SystemState {
    /// Where stamps and ids come from.
    pub clock: Arc<dyn Clock>,
    /// Who may call.
    pub access: Access,
    /// What `/readyz` asks.
    pub checks: Vec<Check>,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// Fires when the server starts to stop: `/readyz` answers 503 from then on.
    pub stopping: CancellationToken,
}

/// Who may call the server, and do what.
#[derive(Debug, Clone, Default)]
pub enum Callers {
    /// Who has a token, as far as its scope goes.
    Known(Arc<Tokens>),
    /// Everyone on this machine may do everything. The listener must be on loopback; requests to another host's name are
    /// refused, as they come from a page that was given this machine's address.
    #[default]
    Local,
    /// Everyone who reaches the listener: for a process that serves [`system_router`](crate::system_router()) alone.
    Anyone,
}

/// Who may call the server.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Who.
    pub callers: Callers,
    /// Origins of other pages that may call from a browser, such as `https://tests.example.com`.
    pub origins: Vec<String>,
}

/// Bounds on what one caller can take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a request body (default 4 MiB).
    pub body_bytes: usize,
    /// Time for a request body to arrive (default 30 s).
    pub body_time: Duration,
    /// Event streams open at once, SSE and WebSocket together (default 100).
    pub streams: usize,
    /// The longest `?wait=` (default 120 s).
    pub wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 4 << 20, body_time: Duration::from_secs(30), streams: 100, wait: Duration::from_mins(2) }
    }
}

/// One part that must answer for this replica to be ready.
#[derive(Clone)]
pub struct Check {
    /// Its name in the answer, such as `flows_database`.
    pub name: &'static str,
    probe: Arc<dyn Fn() -> BoxFuture<'static, Result<Option<String>, String>> + Send + Sync>,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckOutcome {
    /// It answers.
    Ok,
    /// It does its work in another way than it should.
    Degraded,
    /// It does not answer.
    Failing,
}

impl Check {
    /// A check that asks `probe`. What it says on failure goes to the log, not to the caller.
    pub fn new<F, R>(name: &'static str, probe: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self::with_note(name, move || {
            let answer = probe();
            async move { answer.await.map(|()| None) }
        })
    }

    /// A check whose answer may hold a note: it works, but not as it should. Neither goes to the caller.
    pub fn with_note<F, R>(name: &'static str, probe: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<String>, String>> + Send + 'static,
    {
        Self { name, probe: Arc::new(move || Box::pin(probe())) }
    }

    /// Asks, for at most two seconds.
    pub(crate) async fn outcome(&self) -> CheckOutcome {
        let answer = tokio::time::timeout(Duration::from_secs(2), (self.probe)()).await;
        let trouble = match answer {
            Ok(Ok(None)) => return CheckOutcome::Ok,
            Ok(Ok(Some(note))) => {
                tracing::debug!(check = self.name, note, "readiness check degraded");
                return CheckOutcome::Degraded;
            }
            Ok(Err(trouble)) => trouble,
            Err(_) => "no answer within 2 s".to_owned(),
        };
        tracing::warn!(check = self.name, trouble, "readiness check failed");
        CheckOutcome::Failing
    }
}

/// What the guard and the routes about the server itself are given. Clones share it.
#[derive(Clone)]
pub(crate) struct System(Arc<SystemParts>);

pub(crate) struct SystemParts {
    state: SystemState,
    pub(crate) table: RouteTable,
}

impl System {
    pub(crate) fn new(state: SystemState, table: RouteTable) -> Self {
        Self(Arc::new(SystemParts { state, table }))
    }
}

impl std::ops::Deref for System {
    type Target = SystemParts;

    fn deref(&self) -> &SystemParts {
        &self.0
    }
}

impl std::ops::Deref for SystemParts {
    type Target = SystemState;

    fn deref(&self) -> &SystemState {
        &self.state
    }
}

impl FromRef<Arc<App>> for System {
    fn from_ref(app: &Arc<App>) -> Self {
        app.guarded.clone()
    }
}

/// What a handler is given: the state and what was made of it at start.
pub(crate) struct App {
    pub(crate) state: ApiState,
    pub(crate) openapi: bytes::Bytes,
    guarded: System,
    streams: Arc<Semaphore>,
}

impl App {
    pub(crate) fn new(state: ApiState, table: RouteTable, openapi: bytes::Bytes) -> Self {
        let streams = Arc::new(Semaphore::new(state.limits.streams));
        let guarded = System::new(state.system.clone(), table);
        Self { state, openapi, guarded, streams }
    }

    /// A place among the event streams; it is given back when the permit is dropped.
    pub(crate) fn open_stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.streams).try_acquire_owned().map_err(|_| Problem::too_many_streams(self.state.limits.streams))
    }
}

impl std::ops::Deref for App {
    type Target = ApiState;

    fn deref(&self) -> &ApiState {
        &self.state
    }
}
