//! The attempts of a step: the action with its time-out, retries, and polling.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::time::Instant;

use crate::action::{Action, ActionError, ActionResult, ActionSpec, Shown};
use crate::engine::block::Place;
use crate::engine::context::{ActionContext, Notes, explain};
use crate::engine::phases::FlowRun;
use crate::engine::run::panic_message;
use crate::engine::step::millis;
use crate::engine::stop::Stop;
use crate::engine::{Detail, judge, stored};
use crate::event::RunEventKind;
use crate::flow::{Backoff, Poll, Retry, Step};
use crate::record::{AssertionRecord, AttemptRecord, ErrorKind, LogRecord, StepError, StepStatus};
use crate::scope::{ResultScope, Scope};
use crate::units::show_duration;
use crate::value::Entries;

/// For each attempt of an action that names no time-out of its own.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// One attempt, judged.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) number: u32,
    pub(super) status: StepStatus,
    pub(super) error: Option<StepError>,
    /// Whether trying again could help.
    pub(super) retriable: bool,
    pub(super) result: ActionResult,
    pub(super) assertions: Vec<AssertionRecord>,
    pub(super) outputs: Entries,
    started_at: DateTime<Utc>,
    duration: Duration,
}

impl Attempt {
    /// An attempt that has come to nothing yet.
    pub(super) fn blank(number: u32, started_at: DateTime<Utc>) -> Self {
        Self {
            number,
            status: StepStatus::Passed,
            error: None,
            retriable: false,
            result: ActionResult::default(),
            assertions: Vec::new(),
            outputs: Entries::default(),
            started_at,
            duration: Duration::ZERO,
        }
    }

    fn fail(&mut self, status: StepStatus, kind: ErrorKind, message: String) {
        self.status = status;
        self.error = Some(StepError { kind, message });
    }
}

/// How an action came back.
enum Acted {
    Done(Result<ActionResult, ActionError>),
    Stopped,
    Panicked(String),
}

/// Makes the attempts of one step.
pub(super) struct Attempts<'a> {
    flow: &'a FlowRun<'a>,
    step: &'a Step,
    action: &'static dyn Action,
    scope: &'a Arc<Scope>,
    place: Place,
    ordinal: u32,
    number: u32,
    notes: Mutex<Notes>,
    kept: Vec<AttemptRecord>,
    /// What came back last, to keep only what changed.
    shown: Option<Json>,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(
        flow: &'a FlowRun<'a>,
        step: &'a Step,
        scope: &'a Arc<Scope>,
        place: Place,
        ordinal: u32,
    ) -> Self {
        let action = crate::actions::find(step.action).expect("the parser takes only registered actions");
        let notes = Mutex::default();
        Self { flow, step, action, scope, place, ordinal, number: 0, notes, kept: Vec::new(), shown: None }
    }

    /// Tries until it passes or there is no reason to try again. The last attempt, the ones before it, and the log.
    pub(super) async fn run(mut self, stop: &Stop) -> (Attempt, Vec<AttemptRecord>, Vec<LogRecord>) {
        let retry = self.step.retry.as_ref().or_else(|| {
            // The flow's default is for single actions: nested steps have retries of their own, and what was armed is
            // collected once.
            let single = !self.action.runs_steps() && self.step.awaits.is_none();
            self.flow.flow.config.retry.as_ref().filter(|_| single)
        });
        let mut tries = 1;
        let last = loop {
            let attempt = match &self.step.poll {
                None => self.once(None, stop).await,
                // On the heap: most steps do not poll, and all would have to make room for it.
                Some(poll) => Box::pin(self.poll(poll, stop)).await,
            };
            let Some(delay) = retry.and_then(|retry| self.delay(retry, tries, &attempt)) else {
                break attempt;
            };
            tries += 1;
            self.keep(attempt, delay);
            if let Some(cancelled) = self.pause(delay, stop).await {
                break cancelled;
            }
        };
        (last, self.kept, self.notes.into_inner().logs)
    }

    /// How long to wait before the next attempt; `None` when there is none.
    fn delay(&self, retry: &Retry, tries: u32, attempt: &Attempt) -> Option<Duration> {
        if !attempt.status.is_failure() || !attempt.retriable || tries >= retry.max_attempts {
            return None;
        }
        if let Some(retry_on) = &retry.retry_on {
            let scope = self.result_scope(attempt);
            // What cannot be evaluated for this failure does not speak for another attempt.
            if !retry_on.check(&scope).is_ok_and(|checked| checked.holds) {
                return None;
            }
        }
        let mut delay = grown(retry.delay, retry.backoff, tries).min(retry.max_delay);
        if retry.jitter {
            delay = delay.mul_f64(1.0 - 0.5 * self.scope.base().builtins.random_fraction());
        }
        Some(delay)
    }

    /// Waits between two attempts. `Some` when the step was stopped meanwhile.
    async fn pause(&mut self, delay: Duration, stop: &Stop) -> Option<Attempt> {
        let stopped = tokio::select! {
            biased;
            // Cancel-safe: a wait for a signal, and a timer.
            () = stop.wait() => true,
            () = tokio::time::sleep(delay) => false,
        };
        stopped.then(|| {
            let mut attempt = self.begin();
            cancel(&mut attempt, stop);
            attempt
        })
    }

    /// Records an attempt that another follows, and tells the listeners.
    fn keep(&mut self, attempt: Attempt, delay: Duration) {
        let response = stored::message(attempt.result.response.value(), self.flow.run.emitter.masker()).to_json();
        let response = Some(response).filter(|response| !response.is_null());
        let changed = response != self.shown;
        let record = AttemptRecord {
            attempt: attempt.number,
            status: attempt.status,
            started_at: attempt.started_at,
            duration_ms: millis(attempt.duration),
            response: response.clone().filter(|_| changed),
            assertions: attempt.assertions.into_iter().filter(|assertion| !assertion.passed).collect(),
            error: attempt.error,
        };
        self.shown = response;
        self.kept.push(record.clone());
        self.flow.run.emitter.emit(RunEventKind::StepRetrying {
            ordinal: self.ordinal,
            id: self.step.id.clone(),
            attempt: Box::new(record),
            delay_ms: millis(delay),
        });
    }

    /// Repeats the action until `poll.until` holds.
    async fn poll(&mut self, poll: &Poll, stop: &Stop) -> Attempt {
        let deadline = Instant::now() + poll.timeout;
        for round in 1.. {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut attempt = self.act(Some(left), stop).await;
            match self.polled(poll, &mut attempt) {
                Polled::Holds => {
                    self.judge(&mut attempt);
                    return attempt;
                }
                Polled::Over => return attempt,
                Polled::NotYet(found) => {
                    let delay = grown(poll.interval, poll.backoff, round);
                    let left = deadline.saturating_duration_since(Instant::now());
                    if delay >= left {
                        give_up(poll, round, found, &mut attempt);
                        return attempt;
                    }
                    attempt.assertions.extend(found);
                    if attempt.error.is_none() {
                        let message = format!("`{}` does not hold yet", poll.until.source());
                        attempt.fail(StepStatus::Failed, ErrorKind::Assertion, message);
                    }
                    self.keep(attempt, delay);
                    if let Some(cancelled) = self.pause(delay, stop).await {
                        return cancelled;
                    }
                }
            }
        }
        unreachable!("the loop has no end but its returns")
    }

    /// What a poll's conditions say about an attempt.
    fn polled(&self, poll: &Poll, attempt: &mut Attempt) -> Polled {
        match attempt.status {
            StepStatus::Passed => {}
            // The other side may not be there yet: a poll waits for that, too.
            _ if attempt.retriable => return Polled::NotYet(None),
            _ => return Polled::Over,
        }
        let scope = self.result_scope(attempt);
        let ended = poll.fail_when.as_ref().map_or(Ok(false), |fail_when| fail_when.check(&scope).map(|it| it.holds));
        let until = poll.until.check(&scope);
        match (ended, until) {
            (Err(error), _) | (_, Err(error)) => {
                attempt.fail(StepStatus::Error, ErrorKind::Expression, format!("`poll`: {}", explain(&error)));
                Polled::Over
            }
            (Ok(true), _) => {
                let source = poll.fail_when.as_ref().map_or("", |fail_when| fail_when.source());
                let message = format!("`fail_when` holds: {source}");
                attempt.fail(StepStatus::Failed, ErrorKind::Assertion, message);
                Polled::Over
            }
            (Ok(false), Ok(checked)) if checked.holds => Polled::Holds,
            (Ok(false), Ok(checked)) => {
                let told = (self.flow.run.emitter.masker(), Detail::Full);
                Polled::NotYet(Some(judge::assertion_record(&poll.until, checked, self.step.line, told)))
            }
        }
    }

    /// One attempt, judged.
    async fn once(&mut self, limit: Option<Duration>, stop: &Stop) -> Attempt {
        let mut attempt = self.act(limit, stop).await;
        if attempt.status == StepStatus::Passed {
            self.judge(&mut attempt);
        }
        attempt
    }

    fn begin(&mut self) -> Attempt {
        self.number += 1;
        Attempt::blank(self.number, self.flow.run.engine.clock.now())
    }

    fn result_scope<'b>(&'b self, attempt: &'b Attempt) -> ResultScope<'b> {
        ResultScope {
            scope: self.scope,
            id: &self.step.id,
            result: &attempt.result.result,
            primary: attempt.result.primary.as_ref(),
            error: attempt.error.as_ref(),
            expected: if attempt.error.is_some() { self.judged().result } else { &[] },
        }
    }

    /// Whose result it is: an awaiting step has that of the armed one.
    fn judged(&self) -> &'static ActionSpec {
        let armed = self.step.awaits.as_ref().and_then(|awaits| crate::actions::find(awaits.action));
        armed.unwrap_or(self.action).spec()
    }

    /// Evaluates every assertion and output of the step.
    fn judge(&self, attempt: &mut Attempt) {
        let noted = std::mem::take(&mut attempt.assertions);
        let scope = self.result_scope(attempt);
        let told = (self.flow.run.emitter.masker(), self.flow.run.detail);
        let judgement = judge::judge(self.step, self.judged(), &scope, told, noted);
        attempt.assertions = judgement.assertions;
        attempt.outputs = judgement.outputs;
        if let Some(error) = judgement.error {
            attempt.status = StepStatus::Failed;
            attempt.error = Some(error);
            attempt.retriable = true;
        }
    }

    /// Does the action, within the time it has.
    async fn act(&mut self, limit: Option<Duration>, stop: &Stop) -> Attempt {
        let mut attempt = self.begin();
        let since = Instant::now();
        let acted = if self.action.runs_steps() {
            self.act_nested(limit, stop).await
        } else {
            self.act_alone(limit, stop).await
        };
        attempt.duration = since.elapsed();
        let request = {
            let mut notes = self.notes.lock();
            attempt.assertions = std::mem::take(&mut notes.assertions);
            std::mem::take(&mut notes.request)
        };
        match acted {
            Acted::Done(Ok(result)) => attempt.result = result,
            Acted::Done(Err(error)) => {
                let status = if error.kind == ErrorKind::Assertion { StepStatus::Failed } else { StepStatus::Error };
                attempt.retriable = may_pass_later(error.kind);
                attempt.fail(status, error.kind, error.message);
                attempt.result = error.partial.map(|partial| *partial).unwrap_or_default();
            }
            Acted::Stopped => cancel(&mut attempt, stop),
            Acted::Panicked(message) => {
                self.flow.run.fault(&self.step.id, &message);
                attempt.fail(StepStatus::Error, ErrorKind::Internal, format!("a fault in TestMesh: {message}"));
            }
        }
        if matches!(attempt.result.request, Shown::Nothing) {
            attempt.result.request = request;
        }
        attempt
    }

    /// The longest an attempt may take, and the name of that limit.
    fn limit(&self, limit: Option<Duration>) -> Option<Duration> {
        let own = self.step.timeout.or_else(|| {
            // An action with a `timeout` of its own keeps to that; an armed one when it is awaited.
            let limited = self.action.runs_steps() || self.action.waits_in(self.step) || self.has_own_timeout();
            let limited = limited && !self.step.background;
            (!limited).then_some(DEFAULT_TIMEOUT)
        });
        match (own, limit) {
            (Some(own), Some(limit)) => Some(own.min(limit)),
            (own, limit) => own.or(limit),
        }
    }

    /// Whether the step's configuration has a time-out that the action keeps to. What a plugin makes of such a key is its own
    /// affair.
    fn has_own_timeout(&self) -> bool {
        let keeps = self.action.spec().config.iter().any(|field| field.name == "timeout");
        keeps && self.step.config.get("timeout").is_some()
    }

    fn context<'b>(&'b self, stop: &'b Stop) -> ActionContext<'b> {
        ActionContext {
            step: self.step,
            flow: self.flow,
            scope: self.scope,
            place: self.place,
            ordinal: self.ordinal,
            stop,
            notes: &self.notes,
            awaited: None,
        }
    }

    /// An action that runs no steps: dropped when it is stopped or out of time.
    async fn act_alone(&self, limit: Option<Duration>, stop: &Stop) -> Acted {
        let context = self.context(stop);
        let limit = self.limit(limit);
        let arm = if self.step.background { self.action.arms() } else { None };
        let action: BoxFuture<'_, _> = match arm {
            Some(arm) => Box::pin(context.arm(arm)),
            None => self.action.run(&context),
        };
        let mut action = AssertUnwindSafe(action).catch_unwind();
        tokio::select! {
            biased;
            // First, so that an action that is done at once arms no timer. Dropping it is what stops it.
            done = &mut action => acted(done),
            // Cancel-safe: a wait for a signal.
            () = stop.wait() => Acted::Stopped,
            // Cancel-safe: a timer.
            limit = out_of_time(limit) => Acted::Done(Err(timed_out(limit))),
        }
    }

    /// Control flow: told to stop, and ends in order, so that its nested steps say how they ended.
    async fn act_nested(&self, limit: Option<Duration>, stop: &Stop) -> Acted {
        let Some(limit) = self.limit(limit) else {
            let done = AssertUnwindSafe(self.action.run(&self.context(stop))).catch_unwind().await;
            return ended(acted(done), stop);
        };
        let inner = stop.child();
        let context = self.context(&inner);
        let mut action = AssertUnwindSafe(self.action.run(&context)).catch_unwind();
        tokio::select! {
            biased;
            // Not dropped when the timer wins: it is awaited to its end below.
            done = &mut action => return ended(acted(done), stop),
            // Cancel-safe: a timer.
            () = tokio::time::sleep(limit) => {}
        }
        let error = timed_out(limit);
        inner.give(Some(StepError { kind: error.kind, message: error.message.clone() }));
        match acted(action.await) {
            Acted::Panicked(message) => Acted::Panicked(message),
            Acted::Done(_) | Acted::Stopped if stop.given() => Acted::Stopped,
            Acted::Done(_) | Acted::Stopped => Acted::Done(Err(error)),
        }
    }
}

/// What a poll's conditions say.
enum Polled {
    Holds,
    Over,
    NotYet(Option<AssertionRecord>),
}

fn acted(done: Result<Result<ActionResult, ActionError>, Box<dyn std::any::Any + Send>>) -> Acted {
    match done {
        Ok(result) => Acted::Done(result),
        Err(panic) => Acted::Panicked(panic_message(&*panic)),
    }
}

/// A stopped control action came back with an error because of that.
fn ended(acted: Acted, stop: &Stop) -> Acted {
    match acted {
        Acted::Done(Err(_)) if stop.given() => Acted::Stopped,
        acted => acted,
    }
}

async fn out_of_time(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

fn timed_out(limit: Duration) -> ActionError {
    ActionError::new(ErrorKind::Timeout, format!("took longer than its time-out of {}", show_duration(limit)))
}

fn cancel(attempt: &mut Attempt, stop: &Stop) {
    attempt.status = StepStatus::Cancelled;
    attempt.error = stop.why().cloned();
    attempt.retriable = false;
}

fn give_up(poll: &Poll, rounds: u32, found: Option<AssertionRecord>, attempt: &mut Attempt) {
    let last = match (&found, &attempt.error) {
        (_, Some(error)) => error.message.clone(),
        (Some(AssertionRecord { message: Some(message), .. }), None) => message.clone(),
        _ => "it does not hold".to_owned(),
    };
    let message = format!(
        "`{}` did not hold within {} ({rounds} attempts), last: {last}",
        poll.until.source(),
        show_duration(poll.timeout),
    );
    attempt.assertions.extend(found);
    attempt.fail(StepStatus::Failed, ErrorKind::Timeout, message);
    attempt.retriable = true;
}

/// Whether an action error of this kind may be gone at the next attempt.
fn may_pass_later(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Timeout | ErrorKind::Connection | ErrorKind::Protocol | ErrorKind::Assertion => true,
        ErrorKind::Config | ErrorKind::Expression | ErrorKind::Policy | ErrorKind::Internal => false,
    }
}

/// The wait after attempt `n`, from 1.
fn grown(delay: Duration, backoff: Backoff, n: u32) -> Duration {
    match backoff {
        Backoff::Fixed => delay,
        Backoff::Linear => delay.saturating_mul(n),
        Backoff::Exponential => delay.saturating_mul(2_u32.saturating_pow(n - 1)),
    }
}
