//! One step: whether it runs at all, its attempts, what it leaves behind, and its record.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use chrono::{DateTime, Utc};

use crate::engine::attempt::{Attempt, Attempts};
use crate::engine::block::{Place, StepEnd};
use crate::engine::context::explain;
use crate::engine::phases::FlowRun;
use crate::engine::stop::Stop;
use crate::engine::stored;
use crate::event::{RunEventKind, StepStart};
use crate::flow::{OnError, Step};
use crate::record::{AttemptRecord, ErrorKind, LogRecord, StepError, StepRecord, StepStatus};
use crate::scope::{Scope, error_value};
use crate::value::{Entries, Value};

/// A step that has started.
struct Started {
    start: StepStart,
    at: DateTime<Utc>,
    since: Instant,
}

impl FlowRun<'_> {
    /// Runs one step to its end and tells the listeners.
    pub(super) async fn step(&self, step: &Step, scope: &Arc<Scope>, place: Place, signal: &Stop) -> StepEnd {
        match self.skip_reason(step, scope) {
            Ok(None) => {}
            Ok(Some(reason)) => return self.skip(step, place, &reason),
            Err(error) => return self.fail_unstarted(step, place, error),
        }
        let started = self.start(step, step_name(step, scope), place);
        let attempts = Attempts::new(self, step, scope, place, started.start.ordinal);
        let (mut last, kept, logs) = attempts.run(signal).await;
        let result = std::mem::take(&mut last.result.result);
        scope.publish(&step.id, published(result, &last.outputs, last.error.as_ref()), &last.outputs);
        let tolerated = last.status.is_failure()
            && match &step.on_error {
                OnError::Fail => false,
                OnError::Continue => true,
                OnError::Handle { steps, tolerate } => {
                    let error = last.error.as_ref().map_or(Value::Null, error_value);
                    let layer = scope.child(vec![(ByteString::from_static("error"), error)]);
                    let inside = Place { parent: Some(started.start.ordinal), iteration: None, ..place };
                    let end = Box::pin(self.block(steps, &layer, inside, signal)).await;
                    scope.adopt(&layer);
                    *tolerate && end.held()
                }
            };
        if tolerated {
            last.status = StepStatus::Tolerated;
        }
        let end = StepEnd { status: last.status, error: last.error.clone() };
        self.finish(started, last, kept, logs);
        end
    }

    /// Why the step does not run; `Err` when that cannot be told.
    fn skip_reason(&self, step: &Step, scope: &Scope) -> Result<Option<String>, StepError> {
        if self.run.dry_run {
            return Ok(Some("dry run".to_owned()));
        }
        if step.disabled {
            return Ok(Some("disabled".to_owned()));
        }
        let Some(when) = &step.when else {
            return Ok(None);
        };
        match when.check(scope) {
            Ok(checked) if checked.holds => Ok(None),
            Ok(_) => Ok(Some(format!("`when` does not hold: {}", when.source()))),
            Err(error) => {
                Err(StepError { kind: ErrorKind::Expression, message: format!("`when`: {}", explain(&error)) })
            }
        }
    }

    /// Tells the listeners of a step that does not run.
    pub(super) fn skip(&self, step: &Step, place: Place, reason: &str) -> StepEnd {
        let start = self.step_start(step, step.id.clone(), place);
        let mut record = StepRecord::running(start, self.run.engine.clock.now());
        record.attempt = 0;
        record.status = StepStatus::Skipped;
        record.skip_reason = Some(reason.to_owned());
        self.run.emitter.emit(RunEventKind::StepSkipped(Arc::new(record)));
        StepEnd { status: StepStatus::Skipped, error: None }
    }

    /// A step whose `when` cannot be evaluated: it starts and ends at once.
    fn fail_unstarted(&self, step: &Step, place: Place, error: StepError) -> StepEnd {
        let started = self.start(step, step.id.clone(), place);
        let mut attempt = Attempt::blank(1, started.at);
        attempt.status =
            if matches!(step.on_error, OnError::Continue) { StepStatus::Tolerated } else { StepStatus::Error };
        attempt.error = Some(error.clone());
        let end = StepEnd { status: attempt.status, error: Some(error) };
        self.finish(started, attempt, Vec::new(), Vec::new());
        end
    }

    fn start(&self, step: &Step, name: String, place: Place) -> Started {
        let start = self.step_start(step, name, place);
        let at = self.run.emitter.emit(RunEventKind::StepStarted(start.clone()));
        Started { start, at, since: Instant::now() }
    }

    fn step_start(&self, step: &Step, name: String, place: Place) -> StepStart {
        StepStart {
            ordinal: self.run.next_ordinal(),
            id: step.id.clone(),
            name,
            action: Cow::Borrowed(step.action),
            phase: place.phase,
            parent: place.parent,
            iteration: place.iteration,
            line: step.line,
        }
    }

    /// Tells the listeners how a step ended.
    fn finish(&self, started: Started, last: Attempt, kept: Vec<AttemptRecord>, logs: Vec<LogRecord>) {
        let masker = self.run.emitter.masker();
        let mut record = StepRecord::running(started.start, started.at);
        record.status = last.status;
        record.attempt = last.number;
        record.attempts = kept;
        record.duration_ms = millis(started.since.elapsed());
        if self.run.detail.tells(last.status == StepStatus::Passed) {
            record.request = stored::exchange(&last.result.request, masker);
            record.response = stored::exchange(&last.result.response, masker);
            record.outputs =
                last.outputs.iter().map(|(name, value)| (name.to_string(), stored::value(value, masker))).collect();
        }
        record.assertions = last.assertions;
        record.logs = logs;
        record.error = last.error;
        self.run.emitter.emit(RunEventKind::StepFinished(Arc::new(record)));
    }
}

/// The step's name with its references resolved; its id when there is none or it cannot be resolved.
fn step_name(step: &Step, scope: &Scope) -> String {
    let Some(name) = &step.name else {
        return step.id.clone();
    };
    if let Some(literal) = name.as_literal() {
        return literal.to_owned();
    }
    let resolved = name.render(scope).ok().and_then(|name| name.to_text());
    resolved.map_or_else(|| step.id.clone(), |name| name.to_string())
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What `<id>` means in later steps: the result's own keys, then the outputs, then `error`.
pub(super) fn published(result: Value, outputs: &Entries, error: Option<&StepError>) -> Value {
    if outputs.is_empty() && error.is_none() {
        return result;
    }
    let mut shared = match result {
        Value::Map(map) => map,
        _ => Arc::default(),
    };
    let map = Arc::make_mut(&mut shared);
    map.entries.reserve(outputs.len() + usize::from(error.is_some()));
    for (name, value) in outputs {
        map.entries.insert_new(name, || value.clone());
    }
    if let Some(error) = error {
        map.entries.insert_new(&ByteString::from_static("error"), || error_value(error));
    }
    Value::Map(shared)
}
