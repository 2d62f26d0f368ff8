//! Runs that belong together: accepted in one transaction, started a few at a time in their order, ended as one.
//!
//! One session has a batch and starts its runs; when it dies, the batch is another's with all its runs that wait.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use testmesh_shared::ids::{BatchId, ExecutionId, SessionId};
use testmesh_shared::messages::RunReport;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::executor::local::Local;
use crate::executor::recorder::chain;
use crate::executor::{Cancelled, outcome, recovery};
use crate::record::Batch;
use crate::repository::{AttemptKey, QueuedRun, RepositoryError};

/// Runs of a batch that are read at once.
const PAGE: u32 = 64;
/// Runs that end at once when a batch is cancelled.
const CANCELLED: usize = 64;
/// How often a batch is looked at whose last runs are another process's, or that somebody waits for who has it not.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The batches that this process has.
#[derive(Default)]
pub(crate) struct Batches {
    held: Mutex<HashMap<BatchId, Arc<LiveBatch>>>,
}

/// A batch that is not over.
struct LiveBatch {
    id: BatchId,
    session: SessionId,
    parallelism: usize,
    /// Tells of it as running, for a batch that runs for a job.
    report: Option<RunReport>,
    cancel: CancellationToken,
    abandoned: CancellationToken,
    over: watch::Sender<bool>,
}

/// Runs of a batch that are on their way.
type Members = FuturesUnordered<BoxFuture<'static, ()>>;

impl Batches {
    /// Gives all of them up.
    pub(crate) fn abandon(&self) {
        for (_, batch) in self.held.lock().drain() {
            batch.abandoned.cancel();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.lock().is_empty()
    }

    /// Ends a batch, if it is one of these. `false`: it is not.
    pub(crate) fn cancel(&self, id: BatchId) -> bool {
        let held = self.held.lock().get(&id).cloned();
        held.inspect(|batch| batch.cancel.cancel()).is_some()
    }

    /// Signs of life of those that run for jobs.
    pub(crate) fn running(&self) -> Vec<RunReport> {
        self.held.lock().values().filter_map(|batch| batch.report.clone()).collect()
    }

    fn is_held(&self, id: BatchId) -> bool {
        self.held.lock().contains_key(&id)
    }

    fn watch(&self, id: BatchId) -> Option<watch::Receiver<bool>> {
        self.held.lock().get(&id).map(|batch| batch.over.subscribe())
    }
}

impl Local {
    /// Goes on with a batch that the session has.
    pub(crate) async fn resume_batch(self: &Arc<Self>, id: BatchId, session: SessionId) -> Result<(), RepositoryError> {
        let Some(held) = self.store.held_batch(id).await? else { return Ok(()) };
        let first = self.store.first_member(id).await?;
        if held.batch.finished_at.is_none() && held.session_id == Some(session) {
            self.run_batch(&held.batch, first, session, held.cancel_requested);
        }
        Ok(())
    }

    /// Goes on with batches that the session has by what the database knows, and that this process does not know.
    pub(crate) async fn audit_batches(self: &Arc<Self>, session: SessionId) -> Result<(), RepositoryError> {
        for id in self.store.held_batches(session).await? {
            if !self.batches.is_held(id) {
                self.resume_batch(id, session).await?;
            }
        }
        Ok(())
    }

    /// Starts the runs of a stored batch.
    pub(crate) fn run_batch(
        self: &Arc<Self>,
        batch: &Batch,
        first: Option<ExecutionId>,
        session: SessionId,
        cancelled: bool,
    ) {
        let live = Arc::new(LiveBatch {
            id: batch.id,
            session,
            parallelism: usize::try_from(batch.parallelism).unwrap_or(usize::MAX).max(1),
            report: first.and_then(|first| outcome::of_batch(batch, first)),
            cancel: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            over: watch::Sender::new(false),
        });
        if cancelled {
            live.cancel.cancel();
        }
        {
            let mut held = self.batches.held.lock();
            if held.contains_key(&live.id) {
                return;
            }
            held.insert(live.id, Arc::clone(&live));
        }
        let local = Arc::clone(self);
        self.tasks.spawn(async move {
            // All are cancel-safe: a run that is on its way goes on by itself, and what is stored is read again.
            tokio::select! {
                () = local.conduct(&live) => {}
                () = live.abandoned.cancelled() => {}
                () = local.draining.cancelled() => {}
            }
            local.batches.held.lock().retain(|_, held| !Arc::ptr_eq(held, &live));
            live.over.send_replace(true);
        });
    }

    /// Starts the runs of a batch until all are over.
    async fn conduct(self: &Arc<Self>, live: &LiveBatch) {
        loop {
            if let Err(error) = self.conduct_once(live).await {
                tracing::warn!(batch.id = %live.id, error = %chain(&error), "a batch cannot go on; trying again");
            } else {
                match self.end_batch(live).await {
                    Ok(true) => return,
                    // Its last runs are another session's.
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(batch.id = %live.id, error = %chain(&error), "a batch cannot be ended; trying again");
                    }
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Starts every run of a batch that waits, and waits for their ends.
    async fn conduct_once(self: &Arc<Self>, live: &LiveBatch) -> Result<(), RepositoryError> {
        let mut page: VecDeque<QueuedRun> = VecDeque::new();
        let mut going = Members::new();
        let (mut last, mut exhausted) = (None, false);
        loop {
            let cancelled = live.cancel.is_cancelled();
            let width = if cancelled { CANCELLED } else { live.parallelism };
            while going.len() < width && !exhausted {
                if page.is_empty() {
                    page = self.store.queued_members(live.id, live.session, last, PAGE).await?.into();
                    exhausted = page.is_empty();
                }
                let Some(mut member) = page.pop_front() else { break };
                last = member.batch_row;
                member.cancel_requested |= cancelled;
                going.push(self.start_member(live, member));
            }
            if going.is_empty() {
                return Ok(());
            }
            // Both are cancel-safe: an end that was not taken is given again.
            tokio::select! {
                _ended = going.next() => {}
                () = live.cancel.cancelled(), if !cancelled => {}
            }
        }
    }

    /// Puts a run of a batch on its way; done when it is over.
    fn start_member(self: &Arc<Self>, live: &LiveBatch, member: QueuedRun) -> BoxFuture<'static, ()> {
        let (local, session, cancel) = (Arc::clone(self), live.session, live.cancel.clone());
        let id = member.execution.id;
        let going = self.tasks.spawn(async move {
            let Some(run) = recovery::resume(&local, session, member).await else { return };
            let over = run.wait_until(|progress| progress.over);
            // Both are cancel-safe: they only wait.
            tokio::select! {
                () = over => return,
                () = cancel.cancelled() => {}
            }
            local.cancel_live(id).await;
            run.wait_until(|progress| progress.over).await;
        });
        Box::pin(async move {
            if let Err(error) = going.await {
                tracing::error!(execution.id = %id, %error, "a run of a batch cannot be started");
            }
        })
    }

    /// Ends a batch whose runs are all over. `false`: they are not.
    async fn end_batch(&self, live: &LiveBatch) -> Result<bool, RepositoryError> {
        let Some(mut held) = self.store.held_batch(live.id).await? else { return Ok(true) };
        if held.batch.finished_at.is_some() || held.session_id != Some(live.session) {
            return Ok(true);
        }
        if held.cancel_requested {
            live.cancel.cancel();
        }
        let now = self.clock.now();
        held.batch.finished_at = Some(now);
        held.batch.status = held.batch.counts.status(true);
        let message = match held.batch.job_id {
            Some(_) => {
                let first = self.store.first_member(live.id).await?;
                first.and_then(|first| outcome::batch_message(&held.batch, first))
            }
            None => None,
        };
        match self.store.finish_batch(live.id, live.session, now, message.as_ref()).await? {
            Some(messages) => {
                if let Some(relay) = &self.relay {
                    relay.publish(messages);
                }
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// How batches stand that attempts of jobs became.
    pub(crate) async fn batch_reports(&self, keys: &[AttemptKey]) -> Result<Vec<RunReport>, RepositoryError> {
        let mut reports = Vec::new();
        for id in self.store.batches_of(keys).await? {
            let (held, first) = (self.store.held_batch(id).await?, self.store.first_member(id).await?);
            if let (Some(held), Some(first)) = (held, first) {
                reports.extend(outcome::of_batch(&held.batch, first));
            }
        }
        Ok(reports)
    }

    pub(crate) async fn wait_for_batch(
        &self,
        id: BatchId,
        timeout: Duration,
    ) -> Result<Option<Batch>, RepositoryError> {
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            if let Some(mut over) = self.batches.watch(id) {
                // All are cancel-safe: they only wait.
                tokio::select! {
                    _ = over.wait_for(|over| *over) => {}
                    () = tokio::time::sleep_until(deadline) => {}
                    () = self.stopped.cancelled() => {}
                }
            }
            let Some(held) = self.store.held_batch(id).await? else { return Ok(None) };
            if held.batch.finished_at.is_some() {
                return Ok(Some(held.batch));
            }
            if tokio::time::Instant::now() >= deadline || self.stopped.is_cancelled() {
                return Ok(None);
            }
            tokio::time::sleep_until(deadline.min(tokio::time::Instant::now() + LOOK_EVERY)).await;
        }
    }

    pub(crate) async fn cancel_whole(&self, id: BatchId) -> Result<Cancelled, RepositoryError> {
        if self.store.request_batch_cancel(id).await? {
            // Elsewhere, whoever has it asks for what is to be ended.
            self.batches.cancel(id);
            return Ok(Cancelled::Requested);
        }
        match self.store.held_batch(id).await? {
            Some(_) => Ok(Cancelled::AlreadyFinished),
            None => Ok(Cancelled::NotFound),
        }
    }
}
