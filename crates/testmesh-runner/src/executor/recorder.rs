//! A writer of executions: whatever comes in while a transaction is under way is stored together in the next. Each run
//! has one writer, so that its events are stored in their order.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use parking_lot::Mutex;
use testmesh_shared::clock::Clock;
use testmesh_shared::db::Stamp;
use testmesh_shared::ids::ExecutionId;
use tokio::sync::{Notify, oneshot};

use crate::executor::Idempotency;
use crate::executor::live::LiveRun;
use crate::executor::local::Local;
use crate::repository::{Batch, Committed, HoldRow, InsertRow, KeyRow, RepositoryError, StartRow};

/// Bytes of results that one transaction stores at most (and one run's more).
const BATCH_BYTES: usize = 8 << 20;
/// New runs that one transaction stores at most.
const BATCH_INSERTS: usize = 256;
/// The first wait after a failed transaction; it doubles up to [`RETRY_AT_MOST`].
const RETRY: Duration = Duration::from_millis(50);
/// The longest wait after a failed transaction.
const RETRY_AT_MOST: Duration = Duration::from_secs(2);
/// How long an idempotency key is kept.
const KEY_LIFE: TimeDelta = TimeDelta::hours(24);

/// What waits to be stored. Bounded by the runs that are accepted: each is in it a few times at most.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    inserts: Vec<Insert>,
    starts: Vec<Start>,
    flushes: Vec<(Instant, Arc<LiveRun>)>,
    closing: bool,
}

/// What became of a new run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It is stored.
    New,
    /// This run was accepted before, by its id or its idempotency key.
    Again(ExecutionId),
    /// Its idempotency key is another request's.
    KeyOfAnother,
}

struct Insert {
    row: InsertRow,
    key: Option<Idempotency>,
    done: oneshot::Sender<Result<Accepted, RepositoryError>>,
}

struct Start {
    row: StartRow,
    done: oneshot::Sender<bool>,
}

/// What goes into one transaction, besides new runs.
#[derive(Default)]
struct Work {
    batch: Batch,
    starts: Vec<oneshot::Sender<bool>>,
    flushed: Vec<Flushed>,
}

struct Flushed {
    run: Arc<LiveRun>,
    seq: u64,
    bytes: usize,
    over: bool,
}

/// When a key taken earlier is free again.
pub(crate) fn keys_expired(clock: &dyn Clock) -> chrono::DateTime<chrono::Utc> {
    clock.now() - KEY_LIFE
}

impl Inbox {
    /// Stores a new run. When this gives `New`, a crash does not lose it.
    pub(crate) async fn insert(&self, row: InsertRow, key: Option<Idempotency>) -> Result<Accepted, RepositoryError> {
        let (done, answer) = oneshot::channel();
        self.state.lock().inserts.push(Insert { row, key, done });
        self.news.notify_one();
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Marks a waiting run as running. `false`: it is no longer waiting, or the writer has stopped.
    pub(crate) async fn start(&self, row: StartRow) -> bool {
        let (done, answer) = oneshot::channel();
        self.state.lock().starts.push(Start { row, done });
        self.news.notify_one();
        answer.await.unwrap_or(false)
    }

    /// Asks for what `run` has pending to be stored, at `due` at the latest.
    pub(crate) fn flush(&self, run: Arc<LiveRun>, due: Instant) {
        self.state.lock().flushes.push((due, run));
        self.news.notify_one();
    }

    /// Lets the writer end once everything is stored.
    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.news.notify_one();
    }

    /// Waits until there is something to store. `None`: closed, and nothing is left.
    async fn next(&self) -> Option<Due> {
        loop {
            let wake = {
                let mut state = self.state.lock();
                let now = Instant::now();
                let closing = state.closing;
                let due = |flush: &(Instant, Arc<LiveRun>)| closing || flush.0 <= now;
                if !state.inserts.is_empty() || !state.starts.is_empty() || state.flushes.iter().any(due) {
                    let inserts = state.inserts.len().min(BATCH_INSERTS);
                    return Some(Due {
                        inserts: state.inserts.drain(..inserts).collect(),
                        starts: mem::take(&mut state.starts),
                        flushes: state.flushes.extract_if(.., |flush| due(flush)).map(|(_, run)| run).collect(),
                    });
                }
                if closing {
                    return None;
                }
                state.flushes.iter().map(|flush| flush.0).min()
            };
            // A permit is kept for a notification that comes before this waits, so none is missed.
            match wake {
                Some(wake) => {
                    let _elapsed = tokio::time::timeout_at(wake.into(), self.news.notified()).await;
                }
                None => self.news.notified().await,
            }
        }
    }
}

struct Due {
    inserts: Vec<Insert>,
    starts: Vec<Start>,
    flushes: Vec<Arc<LiveRun>>,
}

/// Stores what comes into `inbox` until it is closed and empty.
pub(crate) async fn record(inbox: Arc<Inbox>, local: Arc<Local>) {
    let (store, clock, relay) = (&local.store, &local.clock, &local.relay);
    let mut work = Work::default();
    let mut retry = RETRY;
    while let Some(due) = inbox.next().await {
        let mut inserts = due.inserts;
        work.add(due.starts, due.flushes, &inbox);
        loop {
            let new = work.put_inserts(&mut inserts, &**clock);
            if work.batch.is_empty() {
                break;
            }
            match store.write(&work.batch, keys_expired(&**clock)).await {
                Ok(mut committed) => {
                    if let Some(relay) = relay {
                        relay.publish(mem::take(&mut committed.messages));
                    }
                    mem::take(&mut work).settle(&committed);
                    new.settle(&committed);
                    retry = RETRY;
                    break;
                }
                Err(error) => {
                    tracing::error!(error = %chain(&error), "executions cannot be stored; trying again");
                    // The commit may have come through and its answer not.
                    local.doubt();
                    new.fail(error);
                    work.batch.inserts.clear();
                    work.batch.keys.clear();
                    if work.batch.is_empty() {
                        break;
                    }
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_AT_MOST);
                    work.forget_abandoned();
                    inserts = mem::take(&mut inbox.state.lock().inserts);
                }
            }
        }
    }
}

impl Work {
    fn add(&mut self, starts: Vec<Start>, runs: Vec<Arc<LiveRun>>, inbox: &Inbox) {
        for start in starts {
            self.batch.starts.push(start.row);
            self.starts.push(start.done);
        }
        let mut bytes = 0;
        for run in runs {
            if bytes > BATCH_BYTES {
                inbox.flush(run, Instant::now());
                continue;
            }
            let Some(taken) = run.take() else { continue };
            bytes += taken.bytes;
            let over = taken.finish.is_some();
            match taken.finish {
                Some(finish) => self.batch.finishes.push(finish),
                None => self.batch.holds.push(HoldRow { id: run.id, fence: run.fence }),
            }
            self.batch.outbox.extend(taken.message);
            self.flushed.push(Flushed { run, seq: taken.events.seq_to, bytes: taken.bytes, over });
            self.batch.events.push(taken.events);
            self.batch.steps.extend(taken.steps);
        }
    }

    /// Moves new runs into the batch; whoever submitted them waits in what this gives.
    fn put_inserts(&mut self, inserts: &mut Vec<Insert>, clock: &dyn Clock) -> Submitters {
        let mut submitters = Submitters::default();
        let now = Stamp(clock.now());
        for Insert { row, key, done } in inserts.drain(..) {
            let id = row.id;
            if let Some(Idempotency { key, request_hash }) = &key {
                let (key, request_hash) = (key.clone(), request_hash.clone());
                self.batch.keys.push(KeyRow { key, request_hash, execution_id: id, created_at: now });
            }
            self.batch.inserts.push(row);
            submitters.waiting.push((id, key, done));
        }
        submitters
    }

    fn settle(self, committed: &Committed) {
        for (row, done) in self.batch.starts.iter().zip(self.starts) {
            // Nobody waits any more when the submission was dropped; the run goes on all the same.
            let _gone = done.send(committed.started.contains(&row.id));
        }
        // A run can be in it twice after a failed transaction: its last stretch decides.
        let mut last: HashMap<ExecutionId, Flushed> = HashMap::with_capacity(self.flushed.len());
        for mut flushed in self.flushed {
            if let Some(earlier) = last.get(&flushed.run.id) {
                flushed.bytes += earlier.bytes;
            }
            last.insert(flushed.run.id, flushed);
        }
        for flushed in last.into_values() {
            if committed.held.contains(&flushed.run.id) {
                flushed.run.stored(flushed.seq, flushed.bytes, flushed.over);
            } else if !flushed.run.progress().over {
                tracing::warn!(execution.id = %flushed.run.id, "another session has taken this run: it ends here");
                flushed.run.abandon();
            }
        }
    }

    /// Leaves out what is no longer this session's to tell.
    fn forget_abandoned(&mut self) {
        let gone = self.flushed.extract_if(.., |flushed| flushed.run.abandoned.is_cancelled());
        let gone: HashSet<ExecutionId> = gone.map(|flushed| flushed.run.id).collect();
        if gone.is_empty() {
            return;
        }
        self.batch.steps.retain(|row| !gone.contains(&row.execution_id));
        self.batch.events.retain(|row| !gone.contains(&row.execution_id));
        self.batch.finishes.retain(|row| !gone.contains(&row.id));
        self.batch.holds.retain(|row| !gone.contains(&row.id));
        self.batch.outbox.retain(|row| !gone.contains(&row.execution_id));
    }
}

type Submitter = (ExecutionId, Option<Idempotency>, oneshot::Sender<Result<Accepted, RepositoryError>>);

#[derive(Default)]
struct Submitters {
    waiting: Vec<Submitter>,
}

impl Submitters {
    fn settle(self, committed: &Committed) {
        for (id, key, done) in self.waiting {
            let owner = key.as_ref().and_then(|key| committed.key_owners.get(&key.key).map(|owner| (key, owner)));
            let accepted = match owner {
                Some((key, owner)) if owner.execution_id != id && owner.request_hash != key.request_hash => {
                    Accepted::KeyOfAnother
                }
                Some((_, owner)) if owner.execution_id != id => Accepted::Again(owner.execution_id),
                _ if committed.inserted.contains(&id) => Accepted::New,
                _ => Accepted::Again(id),
            };
            // The run's own task waits for this and outlives the caller, so nobody is missing here but at the end.
            let _gone = done.send(Ok(accepted));
        }
    }

    fn fail(self, error: RepositoryError) {
        let operation = error.to_string();
        let mut first = Some(error);
        for (_, _, done) in self.waiting {
            let again = || RepositoryError::database(operation.clone(), sqlx::Error::WorkerCrashed);
            let error = first.take().unwrap_or_else(again);
            let _gone = done.send(Err(error));
        }
    }
}

fn stopped() -> RepositoryError {
    RepositoryError::database("store an execution", sqlx::Error::PoolClosed)
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
