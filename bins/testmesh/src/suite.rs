//! Runs the items of a plan: many at a time, each told once it is over, stopped in order when asked to.
//!
//! Each thread has a runtime and connections of its own and a share of the lanes; a lane takes the next item when it is
//! done with one. Threads meet only where they take an item and where they tell of it, so no flow waits for another
//! thread to wake up. While a run waits for its first answer, its lane tells of the run before and compiles a file ahead.
//! Where one thread alone runs flows, another one compiles files. The first interrupt cancels what runs (teardown still
//! runs) and starts nothing more; a second one stops waiting.

mod interrupt;
mod live;

use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use parking_lot::{Condvar, Mutex};
use testmesh_runner::diagnostic::Diagnostic;
use testmesh_runner::event::{EventSink, RunEvent};
use testmesh_runner::record::{Execution, ExecutionError, ExecutionStatus, Trigger};
use testmesh_runner::report::{Part, ReportEntry, ReportFormat, Totals};
use testmesh_shared::clock::{Clock as _, SystemClock};
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::ExecutionId;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::interrupt::Interrupts;
pub(crate) use self::live::{Live, Progress};
use crate::console::Console;
use crate::exit::Stop;
use crate::local::Local;
use crate::plan::{Compiler, Item, Job, Place, Plan, Turn};
use crate::remote::Remote;

/// Fewer files than this are not worth a thread that compiles them.
const LEAST_AHEAD: usize = 16;
/// A thread that compiles files is ahead of those that run by at most this many runs.
const MOST_AHEAD: usize = 64;
/// Bytes of a file that takes less than half a millisecond to compile.
const SHORT: usize = 8 << 10;

/// Where flows run.
pub(crate) enum Target {
    /// In this process.
    Local(Local),
    /// On a server.
    Remote(Remote),
}

impl Target {
    /// The same place, with connections of its own, for another thread.
    fn beside(&self) -> Self {
        match self {
            Target::Local(local) => Target::Local(local.beside()),
            Target::Remote(remote) => Target::Remote(remote.beside()),
        }
    }
}

/// How a plan is worked off.
#[derive(Debug, Clone)]
pub(crate) struct Habits {
    /// How many flows run at the same time.
    pub(crate) parallel: usize,
    /// Whether the first flow that does not pass is the last one started.
    pub(crate) fail_fast: bool,
    /// The formats that each finished run makes its part of a report in.
    pub(crate) reports: Vec<ReportFormat>,
}

/// A flow that is over.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its place in the plan.
    pub(crate) place: Place,
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
    /// For each report that was asked for its parts, in the order of the plan.
    pub(crate) reports: Vec<Vec<Part>>,
}

/// Folds one run's events into its record and lets the console see them go by.
struct Recorder {
    place: Place,
    record: Mutex<Execution>,
    live: Arc<Live>,
}

impl EventSink for Recorder {
    fn emit(&self, event: RunEvent) {
        self.live.saw(self.place, &event);
        self.record.lock().take(event);
    }
}

/// Runs a plan on `runtimes`, one thread for each, this thread among them, and tells `console` of each run as it ends.
///
/// # Errors
/// When a thread cannot be started.
pub(crate) fn run(
    plan: Plan,
    target: Target,
    habits: Habits,
    mut runtimes: Vec<Runtime>,
    mut console: Console,
) -> Result<Outcome, Stop> {
    let live = console.live(plan.n_ready());
    let shows_progress = console.shows_progress();
    let n_lanes = plan.n_parallel(habits.parallel);
    let n_threads = runtimes.len();
    let is_alone = n_threads == 1;
    let worth_a_thread = is_alone && plan.n_turns() >= LEAST_AHEAD;
    let suite = Arc::new(Suite {
        habits,
        is_alone,
        live,
        cancel: CancellationToken::new(),
        changed: Notify::new(),
        room: Condvar::new(),
        compiler: plan.compiler(),
        state: Mutex::new(State {
            console,
            plan,
            has_helper: false,
            n_compiling: 0,
            started: BTreeMap::new(),
            locked: HashSet::new(),
            stopping: false,
            outcome: Outcome::default(),
            parts: Vec::new(),
        }),
    });
    let helper = if worth_a_thread { Suite::help(&suite) } else { None };
    let share = |nth: usize| n_lanes / n_threads + usize::from(nth < n_lanes % n_threads);
    // Closed once the last lane has let go of its end.
    let (working, mut over) = mpsc::channel::<()>(1);
    let own = runtimes.swap_remove(0);
    for (nth, runtime) in (1..).zip(runtimes) {
        let lanes = lanes(Arc::clone(&suite), target.beside(), share(nth), working.clone());
        let work = move || {
            runtime.block_on(lanes);
            runtime.shutdown_background();
        };
        let started = std::thread::Builder::new().name("flows".to_owned()).spawn(work);
        started.map_err(|error| Stop::not_run(format!("cannot start a thread: {error}")))?;
    }
    own.block_on(async {
        let mut lanes = std::pin::pin!(lanes(Arc::clone(&suite), target, share(0), working));
        let mut watch = std::pin::pin!(suite.watch(&mut over, shows_progress));
        tokio::select! {
            // Not dropped when the other arm wins: the other threads' lanes may still be at work.
            () = &mut lanes => watch.await,
            // It ends when all lanes have, or nobody waits for them any more.
            () = &mut watch => {}
        }
    });
    // What still runs after a second interrupt is not waited for.
    own.shutdown_background();
    if let Some(helper) = helper {
        suite.state.lock().has_helper = false;
        suite.room.notify_all();
        // Compiling never panics.
        let _ = helper.join();
    }
    Ok(suite.finish())
}

/// The lanes of one thread.
async fn lanes(suite: Arc<Suite>, target: Target, n_lanes: usize, working: mpsc::Sender<()>) {
    let target = Arc::new(target);
    let mut lanes = JoinSet::new();
    for _ in 0..n_lanes {
        let (suite, target, working) = (Arc::clone(&suite), Arc::clone(&target), working.clone());
        lanes.spawn(async move {
            suite.lane(&target).await;
            drop(working);
        });
    }
    drop(working);
    while lanes.join_next().await.is_some() {}
    // The process is about to end: freeing every flow piece by piece now would help nobody.
    std::mem::forget(target);
}

struct Suite {
    habits: Habits,
    /// Whether one thread runs all flows.
    is_alone: bool,
    live: Arc<Live>,
    cancel: CancellationToken,
    /// A lock of a flow has become free, or a file was compiled.
    changed: Notify,
    /// The runs that are ready have become fewer.
    room: Condvar,
    compiler: Compiler,
    state: Mutex<State>,
}

struct State {
    console: Console,
    plan: Plan,
    /// Whether a thread compiles what is left, so that no lane has to.
    has_helper: bool,
    /// Files that are being compiled.
    n_compiling: usize,
    /// The jobs that run, by their place in the plan.
    started: BTreeMap<Place, Arc<Job>>,
    /// `config.lock` of the flows that run.
    locked: HashSet<String>,
    stopping: bool,
    outcome: Outcome,
    parts: Vec<(Place, Vec<Part>)>,
}

/// What a lane does next.
enum Next {
    Run(Place, Arc<Job>),
    /// A file that cannot be run, to tell of.
    Invalid(Box<Finished>),
    /// Compile this file first.
    Compile(Turn),
    /// Every flow that is left needs a lock that another one holds, or is being compiled.
    Wait,
    Over,
}

impl Suite {
    /// Takes one item after the other until there is none left. What there is to tell of a flow is told while the next
    /// one waits for its first answer, and then the next file is compiled.
    async fn lane(&self, target: &Target) {
        let mut untold = None;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before looking, so that what changes after it is not missed.
            changed.as_mut().enable();
            let next = self.next();
            let last = untold.take();
            match next {
                Next::Run(place, job) => {
                    let run = self.run_one(place, &job, target);
                    let tell = async {
                        // To the end of the queue, behind the connection that sends the request.
                        tokio::task::yield_now().await;
                        self.tell(last);
                        if !self.is_alone {
                            self.look_ahead();
                        }
                    };
                    let (finished, ()) = tokio::join!(AssertUnwindSafe(run).catch_unwind(), tell);
                    let finished = finished
                        .unwrap_or_else(|_| broken(place, &job, ErrorCode::Internal, "the run broke down".to_owned()));
                    self.settle(&job, &finished);
                    untold = Some(finished);
                }
                Next::Invalid(finished) => {
                    self.tell(last);
                    let parts = self.parts(&finished.entry);
                    self.take(&mut self.state.lock(), &finished, parts);
                }
                Next::Compile(turn) => {
                    self.tell(last);
                    self.compile(turn, usize::MAX);
                }
                Next::Wait => {
                    self.tell(last);
                    changed.await;
                }
                Next::Over => return self.tell(last),
            }
        }
    }

    /// The next item that may start.
    fn next(&self) -> Next {
        let mut state = self.state.lock();
        if state.stopping {
            return Next::Over;
        }
        let State { plan, locked, has_helper, .. } = &mut *state;
        if *has_helper && plan.n_ready() == MOST_AHEAD / 2 {
            self.room.notify_one();
        }
        let ready = plan.take(|item| match item {
            Item::Job(job) => job.flow.config.lock.as_ref().is_none_or(|lock| !locked.contains(lock)),
            Item::Invalid(_) => true,
        });
        match ready {
            Some((place, Item::Job(job))) => {
                locked.extend(job.flow.config.lock.clone());
                self.live.started(place, &job.name);
                state.started.insert(place, Arc::clone(&job));
                Next::Run(place, job)
            }
            Some((place, Item::Invalid(invalid))) => {
                let (entry, diagnostics) = (invalid.entry, invalid.diagnostics);
                Next::Invalid(Box::new(Finished { place, entry, diagnostics, invalid: true }))
            }
            None => {
                let turn = if *has_helper { None } else { plan.turn() };
                match turn {
                    Some(turn) => {
                        state.n_compiling += 1;
                        Next::Compile(turn)
                    }
                    None if plan.is_over() && state.n_compiling == 0 => Next::Over,
                    None => Next::Wait,
                }
            }
        }
    }

    /// Compiles a file that a lane will need soon. Long ones can wait until their turn comes: no run is to wait for them.
    fn look_ahead(&self) {
        let turn = {
            let mut state = self.state.lock();
            if state.stopping || state.plan.n_ready() >= self.habits.parallel {
                return;
            }
            let Some(turn) = state.plan.short_turn() else { return };
            state.n_compiling += 1;
            turn
        };
        self.compile(turn, SHORT);
    }

    /// Starts a thread that compiles what is left, beside the one that runs it. Without it the lanes do that.
    fn help(suite: &Arc<Self>) -> Option<std::thread::JoinHandle<()>> {
        let helper = Arc::clone(suite);
        // Held until the thread is there, so that none of the two misses the other.
        let mut state = suite.state.lock();
        let started = std::thread::Builder::new().name("files".to_owned()).spawn(move || helper.compile_all());
        state.has_helper = started.is_ok();
        started.ok()
    }

    /// Compiles every file that is left, a bounded number of runs ahead.
    fn compile_all(&self) {
        let mut state = self.state.lock();
        while state.has_helper && !state.stopping {
            if state.plan.n_ready() >= MOST_AHEAD {
                self.room.wait(&mut state);
                continue;
            }
            let Some(turn) = state.plan.turn() else { return };
            state.n_compiling += 1;
            drop(state);
            self.compile(turn, usize::MAX);
            state = self.state.lock();
        }
    }

    fn compile(&self, turn: Turn, limit: usize) {
        let file = turn.file();
        let compiled = self.compiler.compile(turn, limit);
        let mut state = self.state.lock();
        state.n_compiling -= 1;
        state.plan.put(file, compiled);
        drop(state);
        self.changed.notify_waiters();
    }

    async fn run_one(&self, place: Place, job: &Job, target: &Target) -> Finished {
        let id = ExecutionId::generate(&SystemClock);
        let record = Execution::queued(id, &job.name, Trigger::Cli, SystemClock.now());
        let (live, cancel) = (Arc::clone(&self.live), self.cancel.clone());
        let recorder = Arc::new(Recorder { place, record: Mutex::new(record), live });
        match target {
            Target::Local(local) => {
                local.run(job, id, Arc::clone(&recorder) as Arc<dyn EventSink>, cancel).await;
                let execution = match Arc::try_unwrap(recorder) {
                    Ok(recorder) => recorder.record.into_inner(),
                    Err(shared) => shared.record.lock().clone(),
                };
                let entry = ReportEntry { file: Some(job.file.clone()), execution };
                Finished { place, entry, diagnostics: Vec::new(), invalid: false }
            }
            Target::Remote(remote) => match remote.run(job, &*recorder, &cancel).await {
                Ok(mut execution) => {
                    execution.flow_name.clone_from(&job.name);
                    execution.definition = None;
                    let entry = ReportEntry { file: Some(job.file.clone()), execution };
                    Finished { place, entry, diagnostics: Vec::new(), invalid: false }
                }
                Err(refused) => {
                    let mut finished = broken(place, job, refused.code, refused.message);
                    finished.invalid = refused.invalid;
                    finished.diagnostics = refused.diagnostics;
                    finished
                }
            },
        }
    }

    /// A job is over: what this means for those after it.
    fn settle(&self, job: &Job, finished: &Finished) {
        let fails = self.habits.fail_fast && finished.entry.execution.status != ExecutionStatus::Passed;
        if !fails && job.flow.config.lock.is_none() {
            return;
        }
        let mut state = self.state.lock();
        state.stopping |= fails;
        if let Some(lock) = &job.flow.config.lock {
            state.locked.remove(lock);
            self.changed.notify_waiters();
        }
    }

    /// Tells of a job that is over.
    fn tell(&self, finished: Option<Finished>) {
        let Some(finished) = finished else { return };
        let parts = self.parts(&finished.entry);
        let mut state = self.state.lock();
        // Gone when nobody waited for it.
        let Some(job) = state.started.remove(&finished.place) else { return };
        self.take(&mut state, &finished, parts);
        let last = state.plan.is_over();
        drop(state);
        if last {
            // The process is about to end, as above.
            std::mem::forget((finished, job));
        }
    }

    fn parts(&self, entry: &ReportEntry) -> Vec<Part> {
        self.habits.reports.iter().map(|format| Part::of(*format, entry)).collect()
    }

    fn take(&self, state: &mut State, finished: &Finished, parts: Vec<Part>) {
        self.live.finished(finished.place);
        state.console.show_events(&self.live);
        state.outcome.totals.add(&finished.entry.execution);
        if finished.invalid {
            state.outcome.invalid += 1;
        }
        // An item that could not be run is no job, and is met here first.
        state.stopping |= self.habits.fail_fast && finished.entry.execution.status != ExecutionStatus::Passed;
        state.console.flow_finished(finished);
        state.parts.push((finished.place, parts));
    }

    /// Shows what goes on and obeys interrupts, until all lanes have ended or are no longer waited for.
    async fn watch(&self, over: &mut mpsc::Receiver<()>, shows_progress: bool) {
        let mut interrupts = Interrupts::listen();
        let mut ticker = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                // Cancel-safe per docs on `recv()`.
                _ = over.recv() => return,
                // Cancel-safe: only awaits `recv()` of signals.
                () = interrupts.next() => {
                    let mut state = self.state.lock();
                    state.outcome.interrupted = true;
                    if std::mem::replace(&mut state.stopping, true) && self.cancel.is_cancelled() {
                        self.give_up(&mut state);
                        return;
                    }
                    self.cancel.cancel();
                    state.console.note("interrupted: teardown runs, once more to stop at once");
                }
                // Cancel-safe per docs on `notified()`.
                () = self.live.changed() => self.state.lock().console.show_events(&self.live),
                // Cancel-safe per docs on `tick()`.
                _ = ticker.tick(), if shows_progress => self.state.lock().console.show_progress(&self.live),
            }
        }
    }

    /// Ends without waiting: what still runs is written down as cancelled.
    fn give_up(&self, state: &mut State) {
        for (place, job) in std::mem::take(&mut state.started) {
            let mut finished =
                broken(place, &job, ErrorCode::Cancelled, "interrupted before teardown was over".to_owned());
            finished.entry.execution.status = ExecutionStatus::Cancelled;
            let parts = self.parts(&finished.entry);
            self.take(state, &finished, parts);
        }
    }

    /// What it came to.
    fn finish(&self) -> Outcome {
        let mut state = self.state.lock();
        // Nobody told of these: their lane broke down.
        for (place, job) in std::mem::take(&mut state.started) {
            let lost = broken(place, &job, ErrorCode::Internal, "the run broke down".to_owned());
            let parts = self.parts(&lost.entry);
            self.take(&mut state, &lost, parts);
        }
        let State { console, plan, outcome, parts, .. } = &mut *state;
        // How many runs were not started is known once their files are compiled.
        plan.complete();
        outcome.not_started = plan.n_ready();
        parts.sort_by_key(|(place, _)| *place);
        outcome.reports = self.habits.reports.iter().map(|_| Vec::with_capacity(parts.len())).collect();
        for (_, parts) in parts.drain(..) {
            for (report, part) in outcome.reports.iter_mut().zip(parts) {
                report.push(part);
            }
        }
        console.finished(outcome);
        std::mem::take(outcome)
    }
}

/// The record of a run that came to no verdict for a reason outside the flow.
fn broken(place: Place, job: &Job, code: ErrorCode, message: String) -> Finished {
    let now = SystemClock.now();
    let mut execution = Execution::queued(ExecutionId::generate(&SystemClock), &job.name, Trigger::Cli, now);
    execution.status = ExecutionStatus::Error;
    execution.finished_at = Some(now);
    execution.duration_ms = Some(0);
    execution.error = Some(ExecutionError { code, message });
    execution.steps = Some(Vec::new());
    let entry = ReportEntry { file: Some(job.file.clone()), execution };
    Finished { place, entry, diagnostics: Vec::new(), invalid: false }
}
