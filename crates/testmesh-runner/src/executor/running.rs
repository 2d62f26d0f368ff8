//! The way of a run through this process: accepted, waiting, running, over.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use testmesh_shared::db::Stamp;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::{ExecutionId, SessionId};
use tokio::sync::oneshot;

use crate::engine::RunRequest;
use crate::executor::SubmitError;
use crate::executor::admission::Plan;
use crate::executor::live::LiveRun;
use crate::executor::local::Local;
use crate::executor::recorder::{Accepted, Inbox};
use crate::executor::slots::{Admission, Place, Slot, Waiting};
use crate::record::{Execution, ExecutionError, ExecutionStatus};
use crate::repository::{InsertRow, RepositoryError, StartRow};

/// Runs that are over and stay in memory for those who ask a moment later.
const REMEMBERED: usize = 512;
/// Bytes that these may take.
const REMEMBERED_BYTES: usize = 32 << 20;
/// How long a run has for its teardown once its time is up.
const TEARDOWN: chrono::TimeDelta = chrono::TimeDelta::seconds(60);

/// How often a run that stands still looks whether the lease holds again.
const LEASE_AGAIN: Duration = Duration::from_millis(10);

/// What is said of a run that was cancelled while it waited.
const CANCELLED_UNRUN: &str = "cancelled before it started";

/// Where a new run goes.
enum Turn {
    /// It starts at once.
    Now(Slot),
    /// It is stored as running and starts in a moment, when a slot is free.
    Ahead(Place),
    /// It waits in the queue.
    Later(Place),
}

/// What becomes of a run that is on its way into the database.
pub(crate) type Answer = oneshot::Receiver<Result<Accepted, RepositoryError>>;

impl Local {
    /// Stores a planned run and starts it, now or when its turn comes.
    pub(crate) async fn accept(self: &Arc<Self>, plan: Plan) -> Result<Execution, SubmitError> {
        let execution = plan.execution.clone();
        let Some(answer) = self.launch(plan, false)? else { return self.accepted_before(execution.id).await };
        match answer.await {
            Ok(Ok(Accepted::New)) => Ok(execution),
            Ok(Ok(Accepted::Again(id))) => self.accepted_before(id).await,
            Ok(Ok(Accepted::KeyOfAnother)) => Err(SubmitError::IdempotencyMismatch),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(SubmitError::Stopping),
        }
    }

    /// As [`Local::accept`], without waiting for the database. With `ahead`, a run that would wait in the queue is stored
    /// as running nevertheless: slots become free faster than a start is stored. None: it is here already.
    pub(crate) fn launch(self: &Arc<Self>, plan: Plan, ahead: bool) -> Result<Option<Answer>, SubmitError> {
        let session = self.session.current().ok_or_else(no_session)?;
        let Plan { execution, definition, request, options, key } = plan;
        let lock = request.flow.config.lock.as_deref();
        let turn = match self.slots.admit(lock) {
            Admission::Now(slot) => Turn::Now(slot),
            Admission::Later(place) if ahead && lock.is_none() => Turn::Ahead(place),
            Admission::Later(place) => Turn::Later(place),
            Admission::Full => return Err(SubmitError::Overloaded(self.slots.bound())),
            Admission::Closed => return Err(SubmitError::Stopping),
        };
        let run = self.new_live(execution.clone(), Arc::clone(&definition), session);
        if !self.add_live(&run) {
            return Ok(None);
        }
        let now = self.clock.now();
        let running = || Execution { status: ExecutionStatus::Running, started_at: Some(now), ..execution.clone() };
        let deadline = Some(deadline(&request, now));
        let row = match turn {
            Turn::Now(_) => InsertRow::new(&running(), definition.to_string(), None, session, deadline),
            Turn::Ahead(_) => InsertRow::new(&running(), definition.to_string(), Some(options), session, deadline),
            Turn::Later(_) => InsertRow::new(&execution, definition.to_string(), Some(options), session, None),
        };
        run.set_ahead(matches!(turn, Turn::Ahead(_)));
        let (told, answer) = oneshot::channel();
        let local = Arc::clone(self);
        // In a task of its own: a caller that goes away must not leave a stored run that nobody starts.
        self.tasks.spawn(async move {
            let accepted = local.inbox_of(run.id).insert(row, key).await;
            let new = matches!(accepted, Ok(Accepted::New));
            if new {
                run.accepted();
            } else {
                run.discarded();
                local.forget(run.id);
            }
            let _gone = told.send(accepted);
            match turn {
                Turn::Now(slot) if new => local.run(run, request, slot).await,
                Turn::Ahead(place) | Turn::Later(place) if new => local.wait_for_slot(run, request, Some(place)).await,
                Turn::Now(_) | Turn::Ahead(_) | Turn::Later(_) => {}
            }
        });
        Ok(Some(answer))
    }

    /// Stores a run that cannot be run, and why. None: this process takes nothing now.
    pub(crate) fn launch_unrunnable(
        self: &Arc<Self>,
        execution: Execution,
        definition: Arc<str>,
        error: ExecutionError,
    ) -> Option<Answer> {
        let session = self.session.current()?;
        let row = InsertRow::new(&execution, definition.to_string(), None, session, None);
        let run = self.new_live(execution, definition, session);
        if !self.add_live(&run) {
            return None;
        }
        let (told, answer) = oneshot::channel();
        let local = Arc::clone(self);
        self.tasks.spawn(async move {
            let accepted = local.inbox_of(run.id).insert(row, None).await;
            let new = matches!(accepted, Ok(Accepted::New));
            let _gone = told.send(accepted);
            if new {
                run.accepted();
                local.finish_unrun(&run, ExecutionStatus::Error, Some(error)).await;
            } else {
                run.discarded();
                local.forget(run.id);
            }
        });
        Some(answer)
    }

    /// Puts an accepted run into the queue, at its place or, without one, at the end.
    pub(crate) async fn wait_for_slot(self: &Arc<Self>, run: Arc<LiveRun>, request: RunRequest, place: Option<Place>) {
        let lock = request.flow.config.lock.clone();
        let (local, waiting_run) = (Arc::clone(self), Arc::clone(&run));
        let start = Box::new(move |slot: Slot| {
            let tasks = local.tasks.clone();
            tasks.spawn(async move {
                if waiting_run.is_ahead() || local.store_start(&waiting_run, &request).await {
                    waiting_run.set_ahead(false);
                    local.run(waiting_run, request, slot).await;
                } else {
                    // Cancelled elsewhere, or taken over.
                    waiting_run.abandon();
                    local.forget(waiting_run.id);
                }
            });
        });
        let waiting = Waiting { id: run.id, lock, start };
        let (queued, _given_back) = match place {
            Some(place) => {
                let given_back = place.take(waiting);
                (given_back.is_none(), given_back)
            }
            None => (self.slots.enqueue(waiting), None),
        };
        if !queued {
            // The process began to stop after the run was admitted or taken over. Whoever stops it waits for the place.
            return self.release(vec![run.id]).await;
        }
        // A cancellation that came before the run was in the queue did not find it there.
        if run.cancel.is_cancelled() && self.slots.remove(run.id) {
            self.finish_cancelled(&run).await;
        }
    }

    async fn store_start(&self, run: &LiveRun, request: &RunRequest) -> bool {
        let now = self.clock.now();
        let deadline_at = Some(Stamp(deadline(request, now)));
        let row = StartRow { id: run.id, fence: run.fence, started_at: Stamp(now), deadline_at };
        self.inbox_of(run.id).start(row).await
    }

    /// Runs a run that is stored as `running`, to its stored end.
    async fn run(&self, run: Arc<LiveRun>, request: RunRequest, slot: Slot) {
        if !self.session.is_current(run.fence.session_id) {
            run.abandon();
            return self.forget(run.id);
        }
        let running = AssertUnwindSafe(self.engine.run(request, run.sink(), run.cancel.clone())).catch_unwind();
        let running = self.while_held(&run, running);
        // Dropping the run stops whatever it does, as it should when it is not this process's any more.
        let ended = tokio::select! {
            ended = running => ended,
            () = run.abandoned.cancelled() => {
                drop(slot);
                return self.forget(run.id);
            }
        };
        if ended.is_err() {
            tracing::error!(execution.id = %run.id, "the engine panicked");
        }
        let error = ExecutionError { code: ErrorCode::Internal, message: "a fault in TestMesh".to_owned() };
        run.finish(ExecutionStatus::Error, Some(error), self.clock.now());
        drop(slot);
        self.wait_until_stored(&run).await;
    }

    /// Does `work` as long as the lease holds, and not a bit of it after: a process that stood still for longer than its
    /// lease must not take the next step before it has noticed.
    async fn while_held<T>(&self, run: &LiveRun, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let held = poll_fn(|context| {
                if self.session.is_current(run.fence.session_id) {
                    work.as_mut().poll(context).map(Some)
                } else {
                    Poll::Ready(None)
                }
            });
            if let Some(done) = held.await {
                return done;
            }
            // Either the session is about to be given up with all its runs, or it was renewed at the last moment.
            tokio::time::sleep(LEASE_AGAIN).await;
        }
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

    /// Ends a run of this process, if it is one and goes on. `false`: it is not.
    pub(crate) async fn cancel_live(&self, id: ExecutionId) -> bool {
        let Some(run) = self.live_run(id).filter(|run| !run.progress().over) else { return false };
        run.cancel.cancel();
        if self.slots.remove(id) {
            self.finish_cancelled(&run).await;
        }
        true
    }

    /// Ends a run that waited, that was taken from whoever had it.
    pub(crate) async fn finish_taken(&self, id: ExecutionId, session: SessionId) -> Result<(), RepositoryError> {
        if let Some(execution) = self.summary(id).await? {
            let run = self.new_live(execution, Arc::from(""), session);
            run.accepted();
            let error = ExecutionError { code: ErrorCode::Cancelled, message: CANCELLED_UNRUN.to_owned() };
            run.finish(ExecutionStatus::Cancelled, Some(error), self.clock.now());
            run.wait_until(|progress| progress.over).await;
        }
        Ok(())
    }

    pub(crate) async fn finish_cancelled(&self, run: &Arc<LiveRun>) {
        let error = ExecutionError { code: ErrorCode::Cancelled, message: CANCELLED_UNRUN.to_owned() };
        self.finish_unrun(run, ExecutionStatus::Cancelled, Some(error)).await;
    }

    async fn wait_until_stored(&self, run: &Arc<LiveRun>) {
        run.wait_until(|progress| progress.over).await;
        if run.progress().abandoned {
            self.forget(run.id);
        } else {
            self.remember(run);
        }
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

    pub(crate) fn new_live(&self, execution: Execution, definition: Arc<str>, session: SessionId) -> Arc<LiveRun> {
        let inbox = Arc::clone(self.inbox_of(execution.id));
        LiveRun::new(execution, definition, session, inbox)
    }

    /// The writer of a run: always the same.
    fn inbox_of(&self, id: ExecutionId) -> &Arc<Inbox> {
        let random = usize::from(id.as_uuid().as_bytes()[15]);
        &self.inboxes[random % self.inboxes.len()]
    }

    pub(crate) fn forget(&self, id: ExecutionId) {
        self.live.lock().remove(&id);
    }

    pub(crate) fn live_runs(&self, wanted: impl Fn(&LiveRun) -> bool) -> Vec<Arc<LiveRun>> {
        self.live.lock().values().filter(|run| wanted(run)).cloned().collect()
    }

    pub(crate) fn live_run(&self, id: ExecutionId) -> Option<Arc<LiveRun>> {
        self.live.lock().get(&id).cloned()
    }

    /// The answer to a submission that was accepted before.
    pub(crate) async fn accepted_before(&self, id: ExecutionId) -> Result<Execution, SubmitError> {
        if let Some(run) = self.live_run(id) {
            // Its first submission may still be on its way to the disk.
            run.wait_until(|progress| progress.accepted || progress.over).await;
        }
        let read = |source| RepositoryError::database(format!("read execution `{id}`"), source);
        let found = self.store.find_summary(id).await.map_err(read)?;
        found.ok_or_else(|| read(sqlx::Error::RowNotFound).into())
    }
}

/// The run ends itself by then.
fn deadline(request: &RunRequest, start: chrono::DateTime<chrono::Utc>) -> chrono::DateTime<chrono::Utc> {
    let timeout = chrono::TimeDelta::from_std(request.flow.config.timeout).unwrap_or(chrono::TimeDelta::MAX);
    start.checked_add_signed(timeout).and_then(|end| end.checked_add_signed(TEARDOWN)).unwrap_or(start)
}

/// The lease of this process does not hold: it may take nothing.
pub(crate) fn no_session() -> RepositoryError {
    RepositoryError::database("hold a lease", sqlx::Error::PoolTimedOut)
}
