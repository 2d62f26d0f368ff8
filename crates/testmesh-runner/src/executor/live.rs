//! A run in memory: what has happened so far, what of it is stored, and who waits for it.
//!
//! Nobody outside sees an event before it is stored, so a reader that comes back after a crash has seen nothing that
//! the database does not know.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::{ExecutionId, SessionId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::event::{EventSink, RunEvent, RunEventKind};
use crate::executor::outcome;
use crate::executor::recorder::Inbox;
use crate::record::{Execution, ExecutionError, ExecutionStatus};
use crate::repository::{EventsRow, Fence, FinishRow, OutboxRow, StepRow, StoredEvent};

/// Stored events that are kept for those who follow the run.
const RECENT: usize = 64;
/// Bytes of a run that may wait for a database that stores nothing.
const UNWRITTEN: usize = 4 << 20;
/// How long a database may store nothing before [`UNWRITTEN`] counts.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a run that may wait in any case.
const UNWRITTEN_AT_MOST: usize = 64 << 20;
/// Bytes of a run that are stored at once, without waiting for more.
const FLUSH_AT: usize = 256 << 10;
/// Bytes of steps kept in memory for those who wait; of a larger run they are read back when it is over.
const KEPT: usize = 4 << 20;
/// How long events wait for company before they are stored, when nobody follows the run.
const FLUSH_AFTER: Duration = Duration::from_millis(50);
/// As [`FLUSH_AFTER`], when somebody does.
const FLUSH_AFTER_WATCHED: Duration = Duration::from_millis(5);

/// A run that is not over, or was over a moment ago.
pub(crate) struct LiveRun {
    pub(crate) id: ExecutionId,
    /// What its writes are conditional on.
    pub(crate) fence: Fence,
    /// The job it runs for.
    pub(crate) job_id: Option<Uuid>,
    /// Stops it.
    pub(crate) cancel: CancellationToken,
    /// Fires when another session has the run, or may have it: it ends here and now, without teardown.
    pub(crate) abandoned: CancellationToken,
    /// It is stored as running and has not started.
    ahead: AtomicBool,
    definition: Arc<str>,
    log: Mutex<Log>,
    progress: watch::Sender<Progress>,
    watchers: AtomicUsize,
    inbox: Arc<Inbox>,
}

/// How far a run has come, as the database knows it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    /// Whether it was accepted.
    pub(crate) accepted: bool,
    /// The last event that is stored.
    pub(crate) stored: u64,
    /// Nothing more will happen here: its final state is stored, or it was never accepted, or it was abandoned.
    pub(crate) over: bool,
    /// Another session has the run, or will have it.
    pub(crate) abandoned: bool,
}

struct Log {
    execution: Execution,
    recent: VecDeque<Arc<RunEvent>>,
    pending: Pending,
    /// Bytes that are not stored yet, those that the writer has in hand included.
    unwritten: usize,
    stored_at: Instant,
    /// Bytes of all steps so far.
    size: usize,
    last_seq: u64,
    finished: bool,
    lost: bool,
    flush: Flush,
}

#[derive(Default)]
struct Pending {
    seq_from: u64,
    events: Vec<StoredEvent>,
    steps: Vec<StepRow>,
    bytes: usize,
}

/// Whether the writer was told that there is something to store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    Idle,
    Soon,
    Now,
}

/// What the writer takes of a run at once.
pub(crate) struct Taken {
    pub(crate) events: EventsRow,
    pub(crate) steps: Vec<StepRow>,
    pub(crate) finish: Option<FinishRow>,
    /// What the scheduler is told of the end.
    pub(crate) message: Option<OutboxRow>,
    pub(crate) bytes: usize,
}

/// A stretch of events, or where to get it.
pub(crate) enum Stretch {
    /// These follow.
    Events(Vec<Arc<RunEvent>>),
    /// What follows is in the database alone.
    Stored,
    /// Nothing yet.
    Nothing,
    /// Nothing ever.
    End,
    /// What follows happens in another process.
    Elsewhere,
}

impl LiveRun {
    /// A run that `session` has.
    pub(crate) fn new(
        execution: Execution,
        definition: Arc<str>,
        session_id: SessionId,
        inbox: Arc<Inbox>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: execution.id,
            fence: Fence { session_id, attempt: execution.attempt },
            job_id: execution.job_id,
            cancel: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            ahead: AtomicBool::new(false),
            definition,
            log: Mutex::new(Log {
                execution,
                recent: VecDeque::new(),
                pending: Pending::default(),
                unwritten: 0,
                stored_at: Instant::now(),
                size: 0,
                last_seq: 1,
                finished: false,
                lost: false,
                flush: Flush::Idle,
            }),
            progress: watch::Sender::default(),
            watchers: AtomicUsize::new(0),
            inbox,
        })
    }

    /// A listener for the engine.
    pub(crate) fn sink(self: &Arc<Self>) -> Arc<dyn EventSink> {
        Arc::new(Sink(Arc::clone(self)))
    }

    /// The row of the run is stored, and with it event 1.
    pub(crate) fn accepted(&self) {
        self.log.lock().stored_at = Instant::now();
        self.progress.send_modify(|progress| {
            progress.accepted = true;
            progress.stored = progress.stored.max(1);
        });
    }

    /// The run will not be.
    pub(crate) fn discarded(&self) {
        self.progress.send_modify(|progress| progress.over = true);
    }

    /// Ends what this process does with the run: whoever has it now, or will have it, says how it ends.
    pub(crate) fn abandon(&self) {
        {
            let mut log = self.log.lock();
            log.finished = true;
            log.lost = true;
            log.pending = Pending::default();
            log.unwritten = 0;
            log.recent.clear();
        }
        self.abandoned.cancel();
        self.progress.send_modify(|progress| {
            progress.over = true;
            progress.abandoned = true;
        });
    }

    /// Notes whether the run is stored as running and has not started.
    pub(crate) fn set_ahead(&self, ahead: bool) {
        self.ahead.store(ahead, Ordering::Relaxed);
    }

    pub(crate) fn is_ahead(&self) -> bool {
        self.ahead.load(Ordering::Relaxed)
    }

    /// Ends the run without the engine. Does nothing when it has ended.
    pub(crate) fn finish(
        self: &Arc<Self>,
        status: ExecutionStatus,
        error: Option<ExecutionError>,
        time: DateTime<Utc>,
    ) {
        let mut log = self.log.lock();
        if !log.finished {
            let event = log.closing(self.id, status, error, time);
            self.take_in(&mut log, event);
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Waits until the run has come so far.
    pub(crate) async fn wait_until(&self, reached: impl Fn(&Progress) -> bool) {
        let mut progress = self.progress.subscribe();
        // The sender lives as long as `self`, so this ends with the condition alone.
        let _ended = progress.wait_for(|progress| reached(progress)).await.is_ok();
    }

    /// The run with its definition and steps; `None` when it is too large to be kept and must be read back.
    pub(crate) fn execution(&self) -> Option<Execution> {
        let log = self.log.lock();
        if log.lost || log.size > KEPT {
            return None;
        }
        let mut execution = log.execution.clone();
        execution.definition = Some(self.definition.to_string());
        execution.steps.get_or_insert_default();
        Some(execution)
    }

    /// How much memory the run takes, about.
    pub(crate) fn weight(&self) -> usize {
        let log = self.log.lock();
        self.definition.len() + 2 * log.size.min(KEPT) + 4096
    }

    /// What follows after event `after`, as far as it is stored.
    pub(crate) fn stretch(&self, after: u64) -> Stretch {
        let log = self.log.lock();
        let progress = self.progress();
        if progress.abandoned {
            return Stretch::Elsewhere;
        }
        if after >= progress.stored {
            return if progress.over { Stretch::End } else { Stretch::Nothing };
        }
        if log.recent.front().is_none_or(|first| first.seq > after + 1) {
            return Stretch::Stored;
        }
        let events = log.recent.iter().filter(|event| event.seq > after && event.seq <= progress.stored);
        Stretch::Events(events.cloned().collect())
    }

    /// Somebody follows the run from now on, until the guard goes: events are stored without delay.
    pub(crate) fn watch(self: &Arc<Self>) -> Watcher {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Watcher(Arc::clone(self))
    }

    /// Hands what is not stored yet to the writer.
    pub(crate) fn take(&self) -> Option<Taken> {
        let mut log = self.log.lock();
        log.flush = Flush::Idle;
        if log.pending.events.is_empty() {
            return None;
        }
        let Pending { seq_from, events, steps, bytes } = mem::take(&mut log.pending);
        let seq_to = seq_from + events.len() as u64 - 1;
        let finish = log.finished.then(|| FinishRow::new(&log.execution, self.fence));
        let message = finish.as_ref().and_then(|_| outcome::message(&log.execution));
        let events = events.into_iter().map(|stored| stored.event).collect();
        let events = EventsRow { execution_id: self.id, seq_from, seq_to, events };
        Some(Taken { events, steps, finish, message, bytes })
    }

    /// Events up to `seq` are stored.
    pub(crate) fn stored(&self, seq: u64, bytes: usize, over: bool) {
        {
            let mut log = self.log.lock();
            log.unwritten = log.unwritten.saturating_sub(bytes);
            log.stored_at = Instant::now();
            let keep = if log.size > KEPT { 0 } else { RECENT };
            while log.recent.len() > keep && log.recent.front().is_some_and(|event| event.seq <= seq) {
                log.recent.pop_front();
            }
        }
        self.progress.send_modify(|progress| {
            progress.stored = seq;
            progress.over |= over;
        });
    }

    fn take_in(self: &Arc<Self>, log: &mut Log, event: RunEvent) {
        if log.finished {
            // The engine ends its teardown after the run was given up; nobody is to hear of that.
            return;
        }
        log.add(event);
        if log.is_overfull() {
            tracing::error!(execution.id = %self.id, "the database stores nothing: the run is given up as lost");
            let time = log.execution.started_at.unwrap_or(log.execution.queued_at);
            let time = log.recent.back().map_or(time, |event| event.time);
            log.give_up(self.id, time);
            self.cancel.cancel();
        }
        let wanted = if log.finished || log.pending.bytes > FLUSH_AT { Flush::Now } else { Flush::Soon };
        if log.flush == Flush::Now || log.flush == wanted {
            return;
        }
        log.flush = wanted;
        let delay = match wanted {
            Flush::Now | Flush::Idle => Duration::ZERO,
            Flush::Soon if self.watchers.load(Ordering::Relaxed) > 0 => FLUSH_AFTER_WATCHED,
            Flush::Soon => FLUSH_AFTER,
        };
        self.inbox.flush(Arc::clone(self), Instant::now() + delay);
    }
}

impl Log {
    fn add(&mut self, event: RunEvent) {
        match StoredEvent::of(&event) {
            Ok(stored) => self.pend(&event, stored),
            // Nothing in an event can fail to be written out; should it ever, the run must not pass for complete.
            Err(error) => {
                tracing::error!(execution.id = %event.execution_id, %error, "an event cannot be written out");
                return self.give_up(event.execution_id, event.time);
            }
        }
        self.execution.apply(&event);
        if self.size > KEPT {
            self.execution.steps.get_or_insert_default().clear();
        }
        self.finished = matches!(event.kind, RunEventKind::Finished { .. });
        self.last_seq = event.seq;
        self.recent.push_back(Arc::new(event));
    }

    fn pend(&mut self, event: &RunEvent, mut stored: StoredEvent) {
        let bytes = stored.size();
        if self.pending.events.is_empty() {
            self.pending.seq_from = event.seq;
        }
        self.pending.bytes += bytes;
        self.unwritten += bytes;
        self.size += bytes;
        if let (Some(record), RunEventKind::StepFinished(step) | RunEventKind::StepSkipped(step)) =
            (stored.record.take(), &event.kind)
        {
            self.pending.steps.push(StepRow {
                execution_id: event.execution_id,
                ordinal: step.ordinal,
                step_id: step.id.clone(),
                phase: step.phase,
                status: step.status,
                record,
            });
        }
        self.pending.events.push(stored);
    }

    fn is_overfull(&self) -> bool {
        !self.finished
            && (self.unwritten > UNWRITTEN_AT_MOST
                || (self.unwritten > UNWRITTEN && self.stored_at.elapsed() > PATIENCE))
    }

    /// Drops what the writer has not taken and ends the run as lost in its place.
    fn give_up(&mut self, id: ExecutionId, time: DateTime<Utc>) {
        let dropped = mem::take(&mut self.pending);
        if !dropped.events.is_empty() {
            self.last_seq = dropped.seq_from - 1;
            self.unwritten = self.unwritten.saturating_sub(dropped.bytes);
            self.recent.retain(|event| event.seq < dropped.seq_from);
        }
        self.lost = true;
        let message = "the database did not store the results".to_owned();
        let error = ExecutionError { code: ErrorCode::Lost, message };
        let event = self.closing(id, ExecutionStatus::Error, Some(error), time);
        self.add(event);
    }

    fn closing(
        &self,
        execution_id: ExecutionId,
        status: ExecutionStatus,
        error: Option<ExecutionError>,
        time: DateTime<Utc>,
    ) -> RunEvent {
        let since = self.execution.started_at.unwrap_or(time);
        let duration_ms = u64::try_from((time - since).num_milliseconds()).unwrap_or(0);
        RunEvent {
            seq: self.last_seq + 1,
            execution_id,
            time,
            kind: RunEventKind::Finished { status, duration_ms, error },
        }
    }
}

struct Sink(Arc<LiveRun>);

impl EventSink for Sink {
    fn emit(&self, event: RunEvent) {
        let mut log = self.0.log.lock();
        self.0.take_in(&mut log, event);
    }
}

/// Somebody who follows a run.
pub(crate) struct Watcher(Arc<LiveRun>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
