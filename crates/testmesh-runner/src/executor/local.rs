//! The executor of this process: takes runs, runs them, stores what they came to.
//!
//! A run is stored before it is acknowledged, marked `running` before its first step, and told to those who wait once
//! its end is stored. So after a crash, a `queued` run has done nothing and may start again; a `running` one may have
//! done anything, and is lost. Every write of a run is conditional on its session still having it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use indexmap::IndexMap;
use parking_lot::Mutex;
use testmesh_shared::clock::{Clock, SyncedClock};
use testmesh_shared::db::Db;
use testmesh_shared::ids::{BatchId, ExecutionId};
use testmesh_shared::net::Connector;
use testmesh_shared::stream::Stream;
use testmesh_shared::tasks::Tasks;
use testmesh_storage::{EnvironmentRepository, FlowRepository};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::event::RunEvent;
use crate::executor::admission::Sources;
use crate::executor::batches::Batches;
use crate::executor::flows::Flows;
use crate::executor::follow::{Whereabouts, follow};
use crate::executor::foreign::Foreign;
use crate::executor::intake::intake;
use crate::executor::live::LiveRun;
use crate::executor::recorder::{Inbox, chain, keys_expired, record};
use crate::executor::relay::{Relay, whenever};
use crate::executor::running::no_session;
use crate::executor::session::Session;
use crate::executor::slots::Slots;
use crate::executor::{Cancelled, Executor, NewBatch, NewRun, SubmitError, recovery};
use crate::files::Files;
use crate::plugins::Plugins;
use crate::programs::Programs;
use crate::record::{Batch, Execution, ExecutionStatus};
use crate::repository::{ExecutionRepository, RepositoryError, Store};

/// Writers at most on a database that many can write to at the same time. (Each commits on its own; PostgreSQL makes one
/// write to the disk of what commits together.) No more than processors: what two store at once costs more than what one
/// stores together.
const WRITERS: usize = 4;
/// How long runs have for their teardown when the process stops (60 s for the teardown, and some to stop).
const TEARDOWN: Duration = Duration::from_secs(65);
/// How often expired idempotency keys are forgotten.
const FORGET_EVERY: Duration = Duration::from_hours(1);

/// What an executor works with.
pub struct ExecutorParts {
    /// The database of [`crate::repository::SCHEMA`].
    pub db: Db,
    /// Where stamps come from; on a database that several processes share, its own time is used instead.
    pub clock: Arc<dyn Clock>,
    /// Where flows are.
    pub flows: Arc<dyn FlowRepository>,
    /// Where environments are.
    pub environments: Arc<dyn EnvironmentRepository>,
    /// Opens every socket of every action.
    pub connector: Connector,
    /// The files flows may read.
    pub files: Files,
    /// The programs flows may run.
    pub programs: Programs,
    /// The plugins flows may use.
    pub plugins: Plugins,
    /// Where jobs come from, and where what became of them is told; none: this process takes no jobs.
    pub stream: Option<Arc<dyn Stream>>,
}

/// Limits of an executor.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// Runs at a time (default 4 × cores).
    pub concurrency: usize,
    /// Runs that wait (default 10,000); one more is refused.
    pub queue: usize,
    /// Name of this process, for the record.
    pub runner: String,
    /// How long other processes wait for a sign of life before they settle what this one had (default 15 s). This one
    /// gives one every third of it, and stops by itself after four fifths without success.
    pub lease: Duration,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { concurrency: 4 * cores, queue: 10_000, runner: "testmesh".to_owned(), lease: Duration::from_secs(15) }
    }
}

/// A running executor and the way to stop it.
pub struct ExecutorHandle {
    local: Arc<Local>,
    recorders: Tasks,
    relay: Tasks,
    hurry: CancellationToken,
}

/// Begins a session, settles what dead ones left behind and starts taking runs.
///
/// # Errors
/// When the database cannot be read or written.
pub async fn start(parts: ExecutorParts, config: ExecutorConfig) -> Result<ExecutorHandle, RepositoryError> {
    let store = Store::new(parts.db);
    let shared = store.is_shared();
    let synced = SyncedClock::default();
    let session =
        Session::open(&store, config.runner.clone(), config.concurrency, config.lease, synced.clone()).await?;
    let clock: Arc<dyn Clock> = if shared { Arc::new(synced) } else { parts.clock };
    store.forget_keys(keys_expired(&*clock)).await?;
    let flows = Arc::new(Flows::new(parts.flows, parts.plugins.clone()));
    let source: Arc<dyn crate::engine::FlowSource> = Arc::clone(&flows) as _;
    let engine = Engine::new(Arc::clone(&clock), parts.connector, source, IndexMap::new(), config.runner)
        .with_programs(parts.programs)
        .with_plugins(parts.plugins);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let writers = if shared { processors.min(WRITERS) } else { 1 };
    let local = Arc::new(Local {
        store: store.clone(),
        clock,
        engine,
        sources: Sources { flows, environments: parts.environments, files: parts.files },
        slots: Slots::new(config.concurrency.max(1), config.queue),
        session,
        inboxes: (0..writers).map(|_| Arc::default()).collect(),
        relay: parts.stream.clone().map(Relay::new),
        foreign: Arc::default(),
        batches: Batches::default(),
        doubt: AtomicBool::new(false),
        live: Mutex::default(),
        remembered: Mutex::default(),
        tasks: Tasks::new(),
        draining: CancellationToken::new(),
        stopped: CancellationToken::new(),
    });
    let (recorders, relay) = (Tasks::new(), Tasks::new());
    for inbox in &local.inboxes {
        recorders.spawn(record(Arc::clone(inbox), Arc::clone(&local)));
    }
    if let Some(publisher) = &local.relay {
        relay.spawn(Arc::clone(publisher).run(store.clone()));
    }
    if !shared {
        local.settle_predecessor().await?;
    }
    local.spawn_duties(parts.stream);
    Ok(ExecutorHandle { local, recorders, relay, hurry: CancellationToken::new() })
}

impl ExecutorHandle {
    /// What takes runs.
    pub fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(Arc::clone(&self.local))
    }

    /// What reads them.
    pub fn executions(&self) -> Arc<dyn ExecutionRepository> {
        Arc::new(self.local.store.clone())
    }

    /// Stops: takes no new run, gives those that run `timeout` to end, then cancels them and lets their teardown run,
    /// and stores and tells everything. Runs that wait stay stored: other processes take them at once, and where there
    /// are none, the next process starts them.
    pub async fn drain(&self, timeout: Duration) {
        let local = &self.local;
        local.draining.cancel();
        local.release(local.slots.close()).await;
        // Both are cancel-safe: they only wait.
        let ended = tokio::select! {
            ended = tokio::time::timeout(timeout, local.slots.idle()) => ended.is_ok(),
            () = self.hurry.cancelled() => false,
        };
        if !ended {
            for run in local.live_runs(|run| !run.progress().over) {
                run.cancel.cancel();
            }
            if tokio::time::timeout(TEARDOWN, local.slots.idle()).await.is_err() {
                tracing::error!("runs are still going after their teardown should have ended: they are lost");
            }
        }
        for inbox in &local.inboxes {
            inbox.close();
        }
        self.recorders.join().await;
        if let Some(relay) = &local.relay {
            relay.close();
        }
        self.relay.join().await;
        if let Err(error) = local.store.close_session(local.session.last()).await {
            tracing::warn!(error = %chain(&error), "the session ends by itself when its lease does");
        }
        local.stopped.cancel();
    }

    /// Ends the time that [`ExecutorHandle::drain`] gives to runs.
    pub fn hurry(&self) {
        self.hurry.cancel();
    }
}

/// The executor behind [`ExecutorHandle::executor`].
pub(crate) struct Local {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(super) engine: Engine,
    pub(crate) sources: Sources,
    pub(crate) slots: Arc<Slots>,
    pub(super) session: Session,
    /// One for each writer.
    pub(super) inboxes: Vec<Arc<Inbox>>,
    /// Where what became of jobs is told.
    pub(crate) relay: Option<Arc<Relay>>,
    /// Where runs are followed that this process does not have: another's, or those of a batch whose turn has not come.
    pub(super) foreign: Arc<Foreign>,
    pub(super) batches: Batches,
    /// The database may know of runs of this session that this process does not know of.
    pub(super) doubt: AtomicBool,
    /// Runs that are not over, and those of `remembered`.
    pub(super) live: Mutex<HashMap<ExecutionId, Arc<LiveRun>>>,
    pub(super) remembered: Mutex<Remembered>,
    pub(super) tasks: Tasks,
    /// Nothing more is taken.
    pub(super) draining: CancellationToken,
    pub(super) stopped: CancellationToken,
}

#[derive(Default)]
pub(super) struct Remembered {
    pub(super) runs: VecDeque<(ExecutionId, usize)>,
    pub(super) bytes: usize,
}

#[async_trait]
impl Executor for Arc<Local> {
    async fn submit(&self, run: NewRun) -> Result<Execution, SubmitError> {
        if self.slots.is_closed() {
            return Err(SubmitError::Stopping);
        }
        if let Some(key) = &run.idempotency
            && let Some(owner) = self.store.key_owner(&key.key, keys_expired(&*self.clock)).await?
        {
            if owner.request_hash != key.request_hash {
                return Err(SubmitError::IdempotencyMismatch);
            }
            if self.live_run(owner.execution_id).is_none() && self.summary(owner.execution_id).await?.is_none() {
                // It gave a batch.
                return Err(SubmitError::DataDriven);
            }
            return self.accepted_before(owner.execution_id).await;
        }
        let plan = self.sources.plan(run, self.clock.now()).await?;
        self.accept(plan).await
    }

    async fn wait(&self, id: ExecutionId, timeout: Duration) -> Result<Option<Execution>, RepositoryError> {
        let deadline = tokio::time::Instant::now() + timeout;
        if let Some(run) = self.live_run(id) {
            // All are cancel-safe: they only wait.
            tokio::select! {
                () = run.wait_until(|progress| progress.over) => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = self.stopped.cancelled() => {}
            }
            let progress = run.progress();
            if !progress.abandoned {
                if !(progress.accepted && progress.over) {
                    return Ok(None);
                }
                if let Some(execution) = run.execution() {
                    return Ok(Some(execution));
                }
            }
        }
        self.wait_elsewhere(id, deadline).await?;
        Ok(self.store.find(id).await?.filter(|execution| execution.status.is_final()))
    }

    async fn cancel(&self, id: ExecutionId) -> Result<Cancelled, RepositoryError> {
        if self.cancel_live(id).await {
            return Ok(Cancelled::Requested);
        }
        let (told, answer) = oneshot::channel();
        let local = Arc::clone(self);
        // In a task of its own: a caller that goes away must not leave a run that is this process's and that nobody ends.
        self.tasks.spawn(async move {
            let cancelled = local.cancel_elsewhere(id).await;
            if cancelled.is_err() {
                local.doubt();
            }
            let _gone = told.send(cancelled);
        });
        answer.await.unwrap_or_else(|_| Err(no_session()))
    }

    async fn submit_batch(&self, batch: NewBatch) -> Result<Batch, SubmitError> {
        self.accept_batch(batch).await
    }

    async fn wait_batch(&self, id: BatchId, timeout: Duration) -> Result<Option<Batch>, RepositoryError> {
        self.wait_for_batch(id, timeout).await
    }

    async fn cancel_batch(&self, id: BatchId) -> Result<Cancelled, RepositoryError> {
        self.cancel_whole(id).await
    }

    async fn events(
        &self,
        id: ExecutionId,
        after: u64,
    ) -> Result<Option<BoxStream<'static, RunEvent>>, RepositoryError> {
        let foreign = Arc::clone(&self.foreign);
        let whereabouts = match self.live_run(id) {
            Some(run) => Whereabouts::Here(run, foreign),
            None => match self.summary(id).await? {
                None => return Ok(None),
                Some(execution) if execution.status.is_final() => Whereabouts::Over,
                Some(_) => Whereabouts::Elsewhere(foreign),
            },
        };
        Ok(Some(follow(self.store.clone(), id, whereabouts, after, self.stopped.clone())))
    }
}

impl Local {
    /// Notes that the database may know more of this session than this process does.
    pub(super) fn doubt(&self) {
        self.doubt.store(true, Ordering::Relaxed);
    }

    pub(super) async fn summary(&self, id: ExecutionId) -> Result<Option<Execution>, RepositoryError> {
        let read = |source| RepositoryError::database(format!("read execution `{id}`"), source);
        self.store.find_summary(id).await.map_err(read)
    }

    /// Waits until a run that this process does not have is final.
    async fn wait_elsewhere(&self, id: ExecutionId, deadline: tokio::time::Instant) -> Result<(), RepositoryError> {
        if self.summary(id).await?.is_none_or(|execution| execution.status.is_final()) {
            return Ok(());
        }
        let mut watch = self.foreign.watch(id);
        // All are cancel-safe: they only wait.
        tokio::select! {
            _ = watch.reached(|progress| progress.over) => {}
            () = tokio::time::sleep_until(deadline) => {}
            () = self.stopped.cancelled() => {}
        }
        Ok(())
    }

    /// Ends a run that this process does not have.
    async fn cancel_elsewhere(&self, id: ExecutionId) -> Result<Cancelled, RepositoryError> {
        let session = self.session.current().ok_or_else(no_session)?;
        match self.store.request_cancel(id, session).await? {
            Some(ExecutionStatus::Queued) => {
                self.finish_taken(id, session).await?;
                Ok(Cancelled::Requested)
            }
            Some(_) => Ok(Cancelled::Requested),
            None => match self.summary(id).await? {
                Some(_) => Ok(Cancelled::AlreadyFinished),
                None => Ok(Cancelled::NotFound),
            },
        }
    }

    /// Where one process has the database, no other session lives.
    async fn settle_predecessor(self: &Arc<Self>) -> Result<(), RepositoryError> {
        let session = self.session.last();
        self.store.close_other_sessions(session).await?;
        if let Some(relay) = &self.relay {
            relay.sweep(whenever());
        }
        recovery::take_over(self, session, self.clock.now()).await
    }

    fn spawn_duties(self: &Arc<Self>, stream: Option<Arc<dyn Stream>>) {
        let tasks = &self.tasks;
        tasks.spawn(Arc::clone(self).keep_session());
        tasks.spawn(Arc::clone(self).tell_running());
        tasks.spawn(Arc::clone(self).reap());
        tasks.spawn(Arc::clone(self).forget_keys());
        tasks.spawn(Arc::clone(&self.foreign).poll(self.store.clone(), self.stopped.clone()));
        if self.store.is_shared() {
            tasks.spawn(Arc::clone(self).poll_cancelled());
        }
        if let Some(stream) = stream {
            tasks.spawn(intake(Arc::clone(self), stream));
        }
    }

    /// Gives up the runs that wait: others take them, or the next process does.
    pub(super) async fn release(&self, waiting: Vec<ExecutionId>) {
        let runs: Vec<_> = waiting.into_iter().filter_map(|id| self.live_run(id)).collect();
        let ahead: Vec<_> = runs.iter().filter(|run| run.is_ahead()).map(|run| run.id).collect();
        if let Err(error) = self.store.drain_session(self.session.last(), &ahead).await {
            tracing::warn!(error = %chain(&error), "runs that wait are taken over when the lease ends");
        }
        if self.store.is_shared() {
            for run in runs {
                run.abandon();
                self.forget(run.id);
            }
        }
    }

    async fn forget_keys(self: Arc<Self>) {
        let mut every = tokio::time::interval(FORGET_EVERY);
        loop {
            // Both are cancel-safe per their documentation.
            tokio::select! {
                _ = every.tick() => {}
                () = self.stopped.cancelled() => return,
            }
            if let Err(error) = self.store.forget_keys(keys_expired(&*self.clock)).await {
                tracing::warn!(error = %chain(&error), "expired idempotency keys stay");
            }
        }
    }
}
