//! The executor of this process: takes runs, runs them, stores what they came to.
//!
//! A run is stored before it is acknowledged, marked `running` before its first step, and told to those who wait once
//! its end is stored. So after a crash, a `queued` run has done nothing and may start again; a `running` one may have
//! done anything, and is lost.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::stream::BoxStream;
use indexmap::IndexMap;
use parking_lot::Mutex;
use testmesh_shared::clock::Clock;
use testmesh_shared::db::{Db, Stamp};
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::ExecutionId;
use testmesh_shared::net::Connector;
use testmesh_shared::tasks::Tasks;
use testmesh_storage::{EnvironmentRepository, FlowRepository};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, RunRequest};
use crate::event::RunEvent;
use crate::executor::admission::{Plan, Sources};
use crate::executor::flows::Flows;
use crate::executor::follow::follow;
use crate::executor::live::LiveRun;
use crate::executor::recorder::{Accepted, Inbox, chain, keys_expired, record};
use crate::executor::slots::{Admission, Place, Slot, Slots, Waiting};
use crate::executor::{Cancelled, Executor, NewRun, SubmitError, recovery};
use crate::files::Files;
use crate::record::{Execution, ExecutionError, ExecutionStatus};
use crate::repository::{ExecutionRepository, InsertRow, RepositoryError, StartRow, Store};

/// Runs that are over and stay in memory for those who ask a moment later.
const REMEMBERED: usize = 512;
/// Bytes that these may take.
const REMEMBERED_BYTES: usize = 32 << 20;
/// How long runs have for their teardown when the process stops (60 s for the teardown, and some to stop).
const TEARDOWN: Duration = Duration::from_secs(65);
/// How often expired idempotency keys are forgotten.
const FORGET_EVERY: Duration = Duration::from_hours(1);

/// What an executor works with.
pub struct ExecutorParts {
    /// The database of [`crate::repository::SCHEMA`].
    pub db: Db,
    /// Where stamps come from.
    pub clock: Arc<dyn Clock>,
    /// Where flows are.
    pub flows: Arc<dyn FlowRepository>,
    /// Where environments are.
    pub environments: Arc<dyn EnvironmentRepository>,
    /// Opens every socket of every action.
    pub connector: Connector,
    /// The files flows may read.
    pub files: Files,
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
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { concurrency: 4 * cores, queue: 10_000, runner: "testmesh".to_owned() }
    }
}

/// A running executor and the way to stop it.
pub struct ExecutorHandle {
    local: Arc<Local>,
    recorder: Tasks,
    hurry: CancellationToken,
}

/// Settles what the process before this one left behind and starts taking runs.
///
/// # Errors
/// When the database cannot be read or written.
pub async fn start(parts: ExecutorParts, config: ExecutorConfig) -> Result<ExecutorHandle, RepositoryError> {
    let store = Store::new(parts.db);
    recovery::settle_lost(&store, &*parts.clock).await?;
    store.forget_keys(keys_expired(&*parts.clock)).await?;
    let queued = store.queued().await?;
    let flows = Arc::new(Flows::new(parts.flows));
    let source: Arc<dyn crate::engine::FlowSource> = Arc::clone(&flows) as _;
    let clock = Arc::clone(&parts.clock);
    let engine = Engine::new(clock, parts.connector, source, IndexMap::new(), config.runner);
    let local = Arc::new(Local {
        store: store.clone(),
        clock: Arc::clone(&parts.clock),
        engine,
        sources: Sources { flows, environments: parts.environments, files: parts.files },
        slots: Slots::new(config.concurrency.max(1), config.queue),
        inbox: Arc::default(),
        live: Mutex::default(),
        remembered: Mutex::default(),
        tasks: Tasks::new(),
        stopped: CancellationToken::new(),
    });
    let recorder = Tasks::new();
    recorder.spawn(record(Arc::clone(&local.inbox), store, parts.clock));
    local.tasks.spawn(Arc::clone(&local).forget_keys());
    for run in queued {
        recovery::resume(&local, run).await;
    }
    Ok(ExecutorHandle { local, recorder, hurry: CancellationToken::new() })
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
    /// and stores everything. Runs that wait stay stored and start when the next process does.
    pub async fn drain(&self, timeout: Duration) {
        let local = &self.local;
        local.slots.close();
        // Both are cancel-safe: they only wait.
        let ended = tokio::select! {
            ended = tokio::time::timeout(timeout, local.slots.idle()) => ended.is_ok(),
            () = self.hurry.cancelled() => false,
        };
        if !ended {
            for run in local.live.lock().values() {
                run.cancel.cancel();
            }
            if tokio::time::timeout(TEARDOWN, local.slots.idle()).await.is_err() {
                tracing::error!("runs are still going after their teardown should have ended: they are lost");
            }
        }
        local.inbox.close();
        self.recorder.join().await;
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
    engine: Engine,
    pub(crate) sources: Sources,
    pub(crate) slots: Arc<Slots>,
    inbox: Arc<Inbox>,
    /// Runs that are not over, and those of `remembered`.
    live: Mutex<HashMap<ExecutionId, Arc<LiveRun>>>,
    remembered: Mutex<Remembered>,
    tasks: Tasks,
    stopped: CancellationToken,
}

#[derive(Default)]
struct Remembered {
    runs: VecDeque<(ExecutionId, usize)>,
    bytes: usize,
}

/// Where a new run goes.
enum Turn {
    Now(Slot),
    Later(Place),
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
            return self.accepted_before(owner.execution_id).await;
        }
        let plan = self.sources.plan(run, self.clock.now()).await?;
        self.accept(plan).await
    }

    async fn wait(&self, id: ExecutionId, timeout: Duration) -> Result<Option<Execution>, RepositoryError> {
        if let Some(run) = self.live_run(id) {
            // All are cancel-safe: they only wait.
            tokio::select! {
                () = run.wait_until(|progress| progress.over) => {}
                () = tokio::time::sleep(timeout) => {}
                () = self.stopped.cancelled() => {}
            }
            let progress = run.progress();
            if !(progress.accepted && progress.over) {
                return Ok(None);
            }
            if let Some(execution) = run.execution() {
                return Ok(Some(execution));
            }
        }
        Ok(self.store.find(id).await?.filter(|execution| execution.status.is_final()))
    }

    async fn cancel(&self, id: ExecutionId) -> Result<Cancelled, RepositoryError> {
        if let Some(run) = self.live_run(id)
            && !run.progress().over
        {
            run.cancel.cancel();
            if self.slots.remove(id) {
                self.finish_cancelled(&run).await;
            }
            return Ok(Cancelled::Requested);
        }
        let read = |source| RepositoryError { operation: format!("read execution `{id}`"), source };
        match self.store.find_summary(id).await.map_err(read)? {
            Some(execution) if execution.status.is_final() => Ok(Cancelled::AlreadyFinished),
            // Not final and not in memory: this process is stopping, and the next one settles it.
            Some(_) => Ok(Cancelled::Requested),
            None => Ok(Cancelled::NotFound),
        }
    }

    async fn events(
        &self,
        id: ExecutionId,
        after: u64,
    ) -> Result<Option<BoxStream<'static, RunEvent>>, RepositoryError> {
        let live = self.live_run(id);
        if live.is_none() {
            let read = |source| RepositoryError { operation: format!("read execution `{id}`"), source };
            if self.store.find_summary(id).await.map_err(read)?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(follow(self.store.clone(), id, live, after, self.stopped.clone())))
    }
}

impl Local {
    /// Stores a planned run and starts it, now or when its turn comes.
    async fn accept(self: &Arc<Self>, plan: Plan) -> Result<Execution, SubmitError> {
        let Plan { execution, definition, request, options, key } = plan;
        let turn = match self.slots.admit(request.flow.config.lock.as_deref()) {
            Admission::Now(slot) => Turn::Now(slot),
            Admission::Later(place) => Turn::Later(place),
            Admission::Full => return Err(SubmitError::Overloaded(self.slots.bound())),
            Admission::Closed => return Err(SubmitError::Stopping),
        };
        let run = LiveRun::new(execution.clone(), Arc::clone(&definition), Arc::clone(&self.inbox));
        if !self.add_live(&run) {
            return self.accepted_before(run.id).await;
        }
        let row = match turn {
            Turn::Now(_) => {
                let started_at = Some(self.clock.now());
                let running = Execution { status: ExecutionStatus::Running, started_at, ..execution.clone() };
                InsertRow::new(&running, definition.to_string(), None)
            }
            Turn::Later(_) => InsertRow::new(&execution, definition.to_string(), Some(options)),
        };
        let (told, answer) = oneshot::channel();
        let local = Arc::clone(self);
        // In a task of its own: a caller that goes away must not leave a stored run that nobody starts.
        self.tasks.spawn(async move {
            let accepted = local.inbox.insert(row, key).await;
            let new = matches!(accepted, Ok(Accepted::New));
            if new {
                run.accepted();
            } else {
                run.discarded();
                local.live.lock().remove(&run.id);
            }
            let _gone = told.send(accepted);
            match turn {
                Turn::Now(slot) if new => local.run(run, request, slot).await,
                Turn::Later(place) if new => local.wait_for_slot(run, request, Some(place)).await,
                Turn::Now(_) | Turn::Later(_) => {}
            }
        });
        match answer.await {
            Ok(Ok(Accepted::New)) => Ok(execution),
            Ok(Ok(Accepted::Again(id))) => self.accepted_before(id).await,
            Ok(Ok(Accepted::KeyOfAnother)) => Err(SubmitError::IdempotencyMismatch),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(SubmitError::Stopping),
        }
    }

    /// Puts an accepted run into the queue, at its place or, without one, at the end.
    pub(crate) async fn wait_for_slot(self: &Arc<Self>, run: Arc<LiveRun>, request: RunRequest, place: Option<Place>) {
        let lock = request.flow.config.lock.clone();
        let (local, waiting_run) = (Arc::clone(self), Arc::clone(&run));
        let start = Box::new(move |slot: Slot| {
            let tasks = local.tasks.clone();
            tasks.spawn(async move {
                let row = StartRow { id: waiting_run.id, started_at: Stamp(local.clock.now()) };
                if local.inbox.start(row).await {
                    local.run(waiting_run, request, slot).await;
                } else {
                    waiting_run.discarded();
                    local.live.lock().remove(&waiting_run.id);
                }
            });
        });
        let waiting = Waiting { id: run.id, lock, start };
        match place {
            Some(place) => place.take(waiting),
            None => self.slots.enqueue(waiting),
        }
        // A cancellation that came before the run was in the queue did not find it there.
        if run.cancel.is_cancelled() && self.slots.remove(run.id) {
            self.finish_cancelled(&run).await;
        }
    }

    /// Runs a run that is stored as `running`, to its stored end.
    async fn run(&self, run: Arc<LiveRun>, request: RunRequest, slot: Slot) {
        let ended = AssertUnwindSafe(self.engine.run(request, run.sink(), run.cancel.clone())).catch_unwind().await;
        if ended.is_err() {
            tracing::error!(execution.id = %run.id, "the engine panicked");
        }
        let error = ExecutionError { code: ErrorCode::Internal, message: "a fault in TestMesh".to_owned() };
        run.finish(ExecutionStatus::Error, Some(error), self.clock.now());
        drop(slot);
        self.wait_until_stored(&run).await;
    }

    /// Ends a run that never ran.
    pub(crate) async fn finish_unrun(
        &self,
        run: &Arc<LiveRun>,
        status: ExecutionStatus,
        error: Option<ExecutionError>,
    ) {
        run.finish(status, error, self.clock.now());
        self.wait_until_stored(run).await;
    }

    async fn finish_cancelled(&self, run: &Arc<LiveRun>) {
        let error = ExecutionError { code: ErrorCode::Cancelled, message: "cancelled before it started".to_owned() };
        self.finish_unrun(run, ExecutionStatus::Cancelled, Some(error)).await;
    }

    async fn wait_until_stored(&self, run: &Arc<LiveRun>) {
        run.wait_until(|progress| progress.over).await;
        self.remember(run);
    }

    /// Keeps a run that is over for a while, and forgets older ones.
    fn remember(&self, run: &LiveRun) {
        let weight = run.weight();
        let mut forgotten = Vec::new();
        {
            let mut remembered = self.remembered.lock();
            remembered.runs.push_back((run.id, weight));
            remembered.bytes += weight;
            while remembered.runs.len() > REMEMBERED || remembered.bytes > REMEMBERED_BYTES {
                let Some((id, weight)) = remembered.runs.pop_front() else { break };
                remembered.bytes -= weight;
                forgotten.push(id);
            }
        }
        let mut live = self.live.lock();
        for id in forgotten {
            live.remove(&id);
        }
    }

    /// `false`: a run with this id is there already.
    pub(crate) fn add_live(&self, run: &Arc<LiveRun>) -> bool {
        let mut live = self.live.lock();
        let new = !live.contains_key(&run.id);
        if new {
            live.insert(run.id, Arc::clone(run));
        }
        new
    }

    pub(crate) fn new_live(&self, execution: Execution, definition: Arc<str>) -> Arc<LiveRun> {
        LiveRun::new(execution, definition, Arc::clone(&self.inbox))
    }

    fn live_run(&self, id: ExecutionId) -> Option<Arc<LiveRun>> {
        self.live.lock().get(&id).cloned()
    }

    /// The answer to a submission that was accepted before.
    async fn accepted_before(&self, id: ExecutionId) -> Result<Execution, SubmitError> {
        if let Some(run) = self.live_run(id) {
            // Its first submission may still be on its way to the disk.
            run.wait_until(|progress| progress.accepted || progress.over).await;
        }
        let read = |source| RepositoryError { operation: format!("read execution `{id}`"), source };
        let found = self.store.find_summary(id).await.map_err(read)?;
        found.ok_or_else(|| read(sqlx::Error::RowNotFound).into())
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
