//! Expectations that were armed before the act: polled beside the steps of their phase until they are awaited.
//!
//! Nothing is spawned for them: they are polled by the very task that runs the steps, after them, and dropped with the
//! phase, so that what nobody awaits is closed when the phase is over.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::action::{ActionError, ActionResult, Arm, Expectation, Shown};
use crate::engine::context::ActionContext;
use crate::engine::phases::FlowRun;
use crate::engine::run::panic_message;
use crate::engine::step::published;
use crate::event::{RunEventKind, StepStart};
use crate::record::{ErrorKind, StepError, StepRecord, StepStatus};
use crate::scope::Scope;
use crate::units::show_duration;
use crate::value::{Entries, Value};

/// How long an expectation waits. That of a step of its own counts from when it was made; that of an armed step from
/// when it is awaited, so that the steps between cost it no time.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    /// `None`: the time runs already.
    awaited: Option<Arc<Awaited>>,
    since: Instant,
    limit: Duration,
}

impl Patience {
    /// Returns when the time is over, with how long it was.
    pub(crate) async fn over(&self) -> Duration {
        let Some(awaited) = &self.awaited else {
            tokio::time::sleep_until(self.since + self.limit).await;
            return self.limit;
        };
        awaited.token.cancelled().await;
        let limit = awaited.limit.get().copied().flatten().unwrap_or(self.limit);
        tokio::time::sleep(limit).await;
        limit
    }

    /// What `work` comes to, or an error of kind `timeout` whose message is `what` and the limit: "no answer within 3s".
    pub(crate) async fn within<T>(&self, what: &str, work: impl Future<Output = T>) -> Result<T, ActionError> {
        tokio::select! {
            biased;
            // Dropping it is what stops it.
            done = work => Ok(done),
            // Cancel-safe: waits for a signal and a timer.
            limit = self.over() => {
                Err(ActionError::new(ErrorKind::Timeout, format!("{what} within {}", show_duration(limit))))
            }
        }
    }
}

/// Whether somebody waits for an expectation now.
#[derive(Debug, Default)]
pub(in crate::engine) struct Awaited {
    token: CancellationToken,
    /// The time that the awaiting step gives, if it does.
    limit: OnceLock<Option<Duration>>,
}

/// What goes on beside the steps, in the same task.
#[derive(Default)]
pub(in crate::engine) struct Beside {
    /// Whether there ever was anything: most flows have nothing, and pay nothing.
    used: AtomicBool,
    running: Mutex<FuturesUnordered<BoxFuture<'static, ()>>>,
}

impl Beside {
    fn add(&self, future: BoxFuture<'static, ()>) {
        self.running.lock().push(future);
        self.used.store(true, Ordering::Relaxed);
    }

    /// Does `work`, and what was added beside it.
    ///
    /// (On the heap: a future that is handed on by value is kept twice, and flows nest.)
    pub(in crate::engine) fn with<'w, T>(
        &self,
        mut work: BoxFuture<'w, T>,
    ) -> impl Future<Output = T> + use<'_, 'w, T> {
        std::future::poll_fn(move |cx| {
            let polled = work.as_mut().poll(cx);
            if polled.is_pending() {
                // After the work, which may just have added something.
                self.poll(cx);
            }
            polled
        })
    }

    /// Goes on for at most `limit` until nothing is left, and drops what is.
    pub(in crate::engine) async fn finish(&self, limit: Duration) {
        if self.used.load(Ordering::Relaxed) {
            let done = std::future::poll_fn(|cx| {
                self.poll(cx);
                if self.running.lock().is_empty() { Poll::Ready(()) } else { Poll::Pending }
            });
            // What did not end in time is dropped all the same.
            let _ = tokio::time::timeout(limit, done).await;
            self.clear();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) {
        if self.used.load(Ordering::Relaxed) {
            let mut running = self.running.lock();
            while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {}
        }
    }

    fn clear(&self) {
        let running = std::mem::take(&mut *self.running.lock());
        drop(running);
    }
}

/// The armed expectations of one flow's phase.
#[derive(Default)]
pub(in crate::engine) struct Armory {
    beside: Beside,
    waiting: Mutex<Vec<Armed>>,
}

/// An expectation that nobody awaited yet.
struct Armed {
    /// The record of what it comes to when nobody awaits it: without its ordinal, and with the id of the armed step.
    step: StepStart,
    /// The layer of the step that armed it: turns of a loop arm the same id.
    scope: Arc<Scope>,
    awaited: Arc<Awaited>,
    /// What the armed step asked for, for the record of the one that awaits it.
    request: Shown,
    outcome: oneshot::Receiver<Outcome>,
}

enum Outcome {
    Done(Box<Result<ActionResult, ActionError>>),
    Panicked(String),
}

impl Armory {
    fn add(&self, mut armed: Armed, expectation: Expectation) {
        let (sender, receiver) = oneshot::channel();
        armed.outcome = receiver;
        let running = AssertUnwindSafe(expectation).catch_unwind().map(move |done| {
            let outcome = match done {
                Ok(done) => Outcome::Done(Box::new(done)),
                Err(panic) => Outcome::Panicked(panic_message(&*panic)),
            };
            // Nobody is there to take it when the step that awaited it was stopped.
            drop(sender.send(outcome));
        });
        self.beside.add(running.boxed());
        self.waiting.lock().push(armed);
    }

    /// The expectation that `id` means at `scope`: the nearest layer's, or else the last that was armed.
    fn take(&self, id: &str, scope: &Arc<Scope>) -> Option<Armed> {
        let mut waiting = self.waiting.lock();
        let at =
            |layer: &Scope| waiting.iter().rposition(|a| a.step.id == id && std::ptr::eq(&raw const *a.scope, layer));
        let found = scope.layers().find_map(at).or_else(|| waiting.iter().rposition(|armed| armed.step.id == id))?;
        Some(waiting.remove(found))
    }
}

impl FlowRun<'_> {
    /// Runs the steps of a phase, and beside them what they arm; what is left of that at the end is dropped.
    pub(super) async fn with_armory<T>(&self, steps: BoxFuture<'_, T>) -> T {
        let end = self.armory.beside.with(steps).await;
        self.armory.beside.clear();
        let left = std::mem::take(&mut *self.armory.waiting.lock());
        for armed in left {
            self.tell_unawaited(armed);
        }
        end
    }

    /// Tells the listeners what became of an expectation that nobody awaited: an `await` below the step that armed it,
    /// which did not run.
    fn tell_unawaited(&self, mut armed: Armed) {
        let came_to = match armed.outcome.try_recv() {
            Ok(Outcome::Done(done)) => match *done {
                Ok(_) => "what it waited for came".to_owned(),
                Err(error) => error.message,
            },
            Ok(Outcome::Panicked(message)) => format!("a fault in TestMesh: {message}"),
            Err(_) => "it ended with its phase, and what it waited for had not come".to_owned(),
        };
        let start = StepStart { ordinal: self.run.next_ordinal(), ..armed.step };
        let mut record = StepRecord::running(start, self.run.engine.clock.now());
        record.attempt = 0;
        record.status = StepStatus::Skipped;
        record.skip_reason = Some(format!("nobody awaited it: {came_to}"));
        self.run.emitter.emit(RunEventKind::StepSkipped(Arc::new(record)));
    }
}

impl ActionContext<'_> {
    /// The time an expectation has: from now on, or for an armed step from when it is awaited.
    pub(crate) fn patience(&self, limit: Duration) -> Patience {
        Patience { awaited: self.awaited.cloned(), since: Instant::now(), limit }
    }

    /// Does something beside the steps until the run is over. It is told then, and has a moment to end in order.
    pub(crate) fn run_beside(&self, make: impl FnOnce(CancellationToken) -> BoxFuture<'static, ()>) {
        let run = self.flow.run;
        // Whoever depends on it notices that it is gone, panic or not.
        let guarded = AssertUnwindSafe(make(run.ending.clone())).catch_unwind().map(|_| ());
        run.beside.add(guarded.boxed());
    }

    /// Whether the step only arms its expectation.
    pub(crate) fn in_background(&self) -> bool {
        self.awaited.is_some()
    }

    /// Arms the step's expectation and gives what the step itself comes to.
    pub(in crate::engine) async fn arm(&self, arm: &dyn Arm) -> Result<ActionResult, ActionError> {
        let awaited = Arc::new(Awaited::default());
        let inside = ActionContext {
            step: self.step,
            flow: self.flow,
            scope: self.scope,
            place: self.place,
            ordinal: self.ordinal,
            stop: self.stop,
            notes: self.notes,
            awaited: Some(&awaited),
        };
        let expectation = arm.arm(&inside).await?;
        let request = self.notes.lock().request.clone();
        let armed = Armed {
            step: StepStart {
                ordinal: 0,
                id: self.step.id.clone(),
                name: self.step.id.clone(),
                action: "await".into(),
                phase: self.place.phase,
                parent: Some(self.ordinal),
                iteration: None,
                line: self.step.line,
            },
            scope: Arc::clone(self.scope),
            awaited,
            request: request.clone(),
            outcome: oneshot::channel().1,
        };
        self.flow.armory.add(armed, expectation);
        let result = Value::map([("armed", Value::Bool(true))]);
        Ok(ActionResult { response: result.clone().into(), result, primary: None, request })
    }

    /// Waits for what the step `id` armed. Its result is known by that id, too, from then on.
    pub(crate) async fn collect(&self, id: &str, limit: Option<Duration>) -> Result<ActionResult, ActionError> {
        let Some(armed) = self.flow.armory.take(id, self.scope) else {
            let message = format!("`{id}` is not armed: it did not run, could not subscribe, or was awaited before");
            return Err(ActionError::new(ErrorKind::Config, message));
        };
        let request = Value::map([("await", Value::from(id)), ("request", armed.request.value())]);
        self.note_request(request.clone().into());
        armed.awaited.limit.get_or_init(|| limit);
        armed.awaited.token.cancel();
        let done = match armed.outcome.await {
            Ok(Outcome::Done(done)) => *done,
            Ok(Outcome::Panicked(message)) => {
                self.flow.run.fault(id, &message);
                Err(ActionError::new(ErrorKind::Internal, format!("a fault in TestMesh: {message}")))
            }
            Err(_) => Err(ActionError::new(ErrorKind::Internal, format!("what `{id}` armed is gone"))),
        };
        let (result, error) = match &done {
            Ok(done) => (done.result.clone(), None),
            Err(error) => {
                let partial = error.partial.as_ref().map(|partial| partial.result.clone());
                let error = StepError { kind: error.kind, message: error.message.clone() };
                (partial.unwrap_or_default(), Some(error))
            }
        };
        let nothing = Entries::default();
        self.scope.publish(id, published(result, &nothing, error.as_ref()), &nothing);
        let shown = |result: ActionResult| ActionResult { request: request.clone().into(), ..result };
        match done {
            Ok(result) => Ok(shown(result)),
            Err(error) => {
                let partial = error.partial.map(|partial| Box::new(shown(*partial)));
                Err(ActionError { partial, ..error })
            }
        }
    }
}

/// Arms an expectation and waits for it: what an action that can be armed does in a step of its own.
pub(crate) async fn at_once(arm: &dyn Arm, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
    arm.arm(cx).await?.await
}
