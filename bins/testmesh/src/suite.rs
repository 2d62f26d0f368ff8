//! Runs the items of a plan: many at a time, each told once it is over, stopped in order when asked to.
//!
//! The first interrupt cancels what runs (teardown still runs) and starts nothing more; a second one stops waiting.

mod interrupt;
mod live;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use testmesh_runner::diagnostic::Diagnostic;
use testmesh_runner::event::{EventSink, RunEvent};
use testmesh_runner::record::{Execution, ExecutionError, ExecutionStatus, Trigger};
use testmesh_runner::report::{ReportEntry, Totals};
use testmesh_shared::clock::{Clock as _, SystemClock};
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::ExecutionId;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::interrupt::Interrupts;
pub(crate) use self::live::{Live, Progress};
use crate::console::Console;
use crate::local::Local;
use crate::plan::{Item, Job};
use crate::remote::Remote;

/// Where flows run.
pub(crate) enum Target {
    /// In this process.
    Local(Local),
    /// On a server.
    Remote(Remote),
}

/// How a plan is worked off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// How many flows run at the same time.
    pub(crate) parallel: usize,
    /// Whether the first flow that does not pass is the last one started.
    pub(crate) fail_fast: bool,
    /// Whether the finished runs are kept for reports.
    pub(crate) keep: bool,
}

/// A flow that is over.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its place in the plan.
    pub(crate) index: usize,
    /// What became of it.
    pub(crate) entry: ReportEntry,
    /// What is wrong with its text, when that is why it did not run.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Whether it could not be run because of its text or what it was given.
    pub(crate) invalid: bool,
}

/// What a plan came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What was counted.
    pub(crate) totals: Totals,
    /// Flows that could not be run because of what is written in them or was given to them.
    pub(crate) invalid: u32,
    /// Flows that were not started: an earlier one failed, or the run was interrupted.
    pub(crate) not_started: usize,
    /// Whether somebody interrupted it.
    pub(crate) interrupted: bool,
    /// The finished runs in the order of the plan, if they were asked for.
    pub(crate) entries: Vec<ReportEntry>,
}

/// Folds one run's events into its record and lets the console see them go by.
struct Recorder {
    index: usize,
    record: Mutex<Execution>,
    live: Arc<Live>,
}

impl EventSink for Recorder {
    fn emit(&self, event: RunEvent) {
        self.record.lock().apply(&event);
        self.live.saw(self.index, &event);
    }
}

/// Runs every item and tells `console` of each as it ends.
pub(crate) async fn run(items: Vec<Item>, target: Arc<Target>, habits: Habits, console: &mut Console) -> Outcome {
    let mut suite = Suite {
        target,
        habits,
        live: console.live(items.len()),
        cancel: CancellationToken::new(),
        pending: items.into_iter().enumerate().collect(),
        running: JoinSet::new(),
        started: HashMap::new(),
        locked: HashSet::new(),
        stopping: false,
        outcome: Outcome::default(),
        entries: Vec::new(),
    };
    suite.work(console).await;
    suite.finish(console)
}

struct Suite {
    target: Arc<Target>,
    habits: Habits,
    live: Arc<Live>,
    cancel: CancellationToken,
    pending: VecDeque<(usize, Item)>,
    running: JoinSet<Finished>,
    /// The jobs that run, by task: what is needed when a task breaks down.
    started: HashMap<tokio::task::Id, (usize, Arc<Job>)>,
    /// `config.lock` of the flows that run.
    locked: HashSet<String>,
    stopping: bool,
    outcome: Outcome,
    entries: Vec<(usize, ReportEntry)>,
}

impl Suite {
    async fn work(&mut self, console: &mut Console) {
        let mut interrupts = Interrupts::listen();
        let mut ticker = tokio::time::interval(Duration::from_millis(100));
        let live = Arc::clone(&self.live);
        loop {
            self.start_ready(console);
            if self.running.is_empty() {
                return;
            }
            tokio::select! {
                // Cancel-safe per docs on `join_next_with_id`.
                Some(done) = self.running.join_next_with_id() => {
                    let finished = self.settle(done);
                    self.take(finished, console);
                }
                // Cancel-safe: only awaits `recv()` of signals.
                () = interrupts.next() => {
                    self.outcome.interrupted = true;
                    if std::mem::replace(&mut self.stopping, true) && self.cancel.is_cancelled() {
                        self.give_up(console);
                        return;
                    }
                    self.cancel.cancel();
                    console.note("interrupted: teardown runs, once more to stop at once");
                }
                // Cancel-safe per docs on `notified()`.
                () = live.changed() => console.show_events(&live),
                // Cancel-safe per docs on `tick()`.
                _ = ticker.tick(), if console.shows_progress() => console.show_progress(&live),
            }
        }
    }

    fn start_ready(&mut self, console: &mut Console) {
        while !self.stopping && self.running.len() < self.habits.parallel {
            let ready = self.pending.iter().position(|(_, item)| match item {
                Item::Job(job) => job.flow.config.lock.as_ref().is_none_or(|lock| !self.locked.contains(lock)),
                Item::Invalid(_) => true,
            });
            let Some((index, item)) = ready.and_then(|place| self.pending.remove(place)) else { return };
            match item {
                Item::Job(job) => self.start(index, job),
                Item::Invalid(invalid) => {
                    let finished =
                        Finished { index, entry: invalid.entry, diagnostics: invalid.diagnostics, invalid: true };
                    self.take(finished, console);
                }
            }
        }
    }

    fn start(&mut self, index: usize, job: Arc<Job>) {
        if let Some(lock) = &job.flow.config.lock {
            self.locked.insert(lock.clone());
        }
        self.live.started(index, &job.name);
        let (target, live, cancel) = (Arc::clone(&self.target), Arc::clone(&self.live), self.cancel.clone());
        let task = run_one(index, Arc::clone(&job), target, live, cancel);
        // On the heap: the task would be moved several times on its way, and it is large.
        let handle = self.running.spawn(Box::pin(task));
        self.started.insert(handle.id(), (index, job));
    }

    fn settle(&mut self, done: Result<(tokio::task::Id, Finished), tokio::task::JoinError>) -> Finished {
        let id = match &done {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let (index, job) = self.started.remove(&id).expect("every task is in the map from its start to its end");
        if let Some(lock) = &job.flow.config.lock {
            self.locked.remove(lock);
        }
        done.map_or_else(
            |error| broken(index, &job, ErrorCode::Internal, format!("the run broke down: {error}")),
            |(_, finished)| finished,
        )
    }

    fn take(&mut self, finished: Finished, console: &mut Console) {
        self.live.finished(finished.index);
        console.show_events(&self.live);
        self.outcome.totals.add(&finished.entry.execution);
        if finished.invalid {
            self.outcome.invalid += 1;
        }
        if self.habits.fail_fast && finished.entry.execution.status != ExecutionStatus::Passed {
            self.stopping = true;
        }
        console.flow_finished(&finished);
        if self.habits.keep {
            self.entries.push((finished.index, finished.entry));
        } else if self.pending.is_empty() {
            // The process is about to end: freeing it piece by piece now would help nobody.
            std::mem::forget(finished);
        }
    }

    /// Ends without waiting: what still runs is written down as cancelled.
    fn give_up(&mut self, console: &mut Console) {
        self.running.abort_all();
        let started: Vec<_> = self.started.drain().map(|(_, started)| started).collect();
        for (index, job) in started {
            let mut finished =
                broken(index, &job, ErrorCode::Cancelled, "interrupted before teardown was over".to_owned());
            finished.entry.execution.status = ExecutionStatus::Cancelled;
            self.take(finished, console);
        }
    }

    fn finish(mut self, console: &mut Console) -> Outcome {
        self.outcome.not_started = self.pending.len();
        self.entries.sort_by_key(|(index, _)| *index);
        self.outcome.entries = self.entries.into_iter().map(|(_, entry)| entry).collect();
        console.finished(&self.outcome);
        // As above: it holds every flow.
        std::mem::forget(Arc::clone(&self.target));
        self.outcome
    }
}

async fn run_one(
    index: usize,
    job: Arc<Job>,
    target: Arc<Target>,
    live: Arc<Live>,
    cancel: CancellationToken,
) -> Finished {
    let record = Execution::queued(ExecutionId::generate(&SystemClock), &job.name, Trigger::Cli, SystemClock.now());
    let recorder = Arc::new(Recorder { index, record: Mutex::new(record), live });
    match &*target {
        Target::Local(local) => {
            local.run(&job, Arc::clone(&recorder) as Arc<dyn EventSink>, cancel).await;
            let execution = match Arc::try_unwrap(recorder) {
                Ok(recorder) => recorder.record.into_inner(),
                Err(shared) => shared.record.lock().clone(),
            };
            let entry = ReportEntry { file: Some(job.file.clone()), execution };
            Finished { index, entry, diagnostics: Vec::new(), invalid: false }
        }
        Target::Remote(remote) => match remote.run(&job, &*recorder, &cancel).await {
            Ok(mut execution) => {
                execution.flow_name.clone_from(&job.name);
                execution.definition = None;
                let entry = ReportEntry { file: Some(job.file.clone()), execution };
                Finished { index, entry, diagnostics: Vec::new(), invalid: false }
            }
            Err(refused) => {
                let mut finished = broken(index, &job, refused.code, refused.message);
                finished.invalid = refused.invalid;
                finished.diagnostics = refused.diagnostics;
                finished
            }
        },
    }
}

/// The record of a run that came to no verdict for a reason outside the flow.
fn broken(index: usize, job: &Job, code: ErrorCode, message: String) -> Finished {
    let now = SystemClock.now();
    let mut execution = Execution::queued(ExecutionId::generate(&SystemClock), &job.name, Trigger::Cli, now);
    execution.status = ExecutionStatus::Error;
    execution.finished_at = Some(now);
    execution.duration_ms = Some(0);
    execution.error = Some(ExecutionError { code, message });
    execution.steps = Some(Vec::new());
    let entry = ReportEntry { file: Some(job.file.clone()), execution };
    Finished { index, entry, diagnostics: Vec::new(), invalid: false }
}
