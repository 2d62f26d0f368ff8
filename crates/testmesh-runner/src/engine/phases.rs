//! Setup, steps, teardown: the life of one flow, the run's own or a sub-flow.
//!
//! Once setup has started, every step of teardown runs, whatever happened, with a time budget of its own.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use testmesh_shared::error::ErrorCode;

use crate::engine::armed::Armory;
use crate::engine::block::{BlockEnd, Failure, Place};
use crate::engine::context::explain;
use crate::engine::run::RunState;
use crate::engine::stop::Stop;
use crate::flow::{Flow, OutputSource};
use crate::path::PathRoots;
use crate::record::{ErrorKind, ExecutionError, ExecutionStatus, Phase, StepError};
use crate::scope::Scope;
use crate::units::show_duration;
use crate::value::Value;

/// Teardown may take this long.
const TEARDOWN_BUDGET: Duration = Duration::from_mins(1);
/// And this long after a cancellation.
const CANCELLED_TEARDOWN_BUDGET: Duration = Duration::from_secs(30);

/// One flow of a run.
pub(crate) struct FlowRun<'a> {
    pub(in crate::engine) run: &'a RunState,
    pub(in crate::engine) flow: &'a Flow,
    /// Ordinal of the `run_flow` step around it.
    pub(in crate::engine) parent: Option<u32>,
    /// How many flows are around it.
    pub(in crate::engine) depth: u32,
    /// What the steps of the phase at hand armed.
    pub(in crate::engine) armory: Armory,
}

/// How a flow ended.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) status: ExecutionStatus,
    pub(crate) error: Option<ExecutionError>,
    pub(crate) outputs: IndexMap<String, Value>,
    /// The first step that failed.
    pub(crate) failure: Option<Failure>,
}

impl Verdict {
    fn of(status: ExecutionStatus) -> Self {
        Self { status, error: None, outputs: IndexMap::new(), failure: None }
    }

    /// It could not come to a verdict.
    pub(in crate::engine) fn error(code: ErrorCode, message: String) -> Self {
        Self { error: Some(ExecutionError { code, message }), ..Self::of(ExecutionStatus::Error) }
    }

    /// It was stopped by its user.
    pub(in crate::engine) fn cancelled() -> Self {
        let error = ExecutionError { code: ErrorCode::Cancelled, message: "the run was cancelled".to_owned() };
        Self { error: Some(error), ..Self::of(ExecutionStatus::Cancelled) }
    }
}

impl FlowRun<'_> {
    /// Runs the phases. `stop` ends setup and steps; teardown has a signal of its own.
    pub(in crate::engine) async fn phases(&self, scope: &Arc<Scope>, iteration: Option<u32>, stop: &Stop) -> Verdict {
        let place = |phase| Place { phase, parent: self.parent, iteration };
        let test_stop = stop.child();
        let (end, timed_out) = self.test(scope, &place, &test_stop).await;
        let mut verdict = self.verdict(end, timed_out, stop);
        if verdict.status == ExecutionStatus::Passed && !self.run.dry_run {
            self.outputs(scope, &mut verdict);
        }
        scope.base().builtins.set_flow_status(verdict.status.as_str());
        if !self.flow.teardown.is_empty() {
            let torn_down = self.teardown(scope, place(Phase::Teardown)).await;
            let strict = self.run.strict || self.flow.config.strict;
            if strict && !torn_down.held() && verdict.status == ExecutionStatus::Passed {
                verdict.status = ExecutionStatus::Failed;
                verdict.failure = torn_down.failure;
            }
        }
        // Also when the wish came during teardown. (A sub-flow of a teardown that follows a cancellation was not stopped.)
        if stop.cancelled() && verdict.status != ExecutionStatus::Cancelled {
            let cancelled = Verdict::cancelled();
            return Verdict { outputs: verdict.outputs, failure: verdict.failure, ..cancelled };
        }
        verdict
    }

    /// Setup and steps, within the flow's time-out. Whether that ran out is the second value.
    async fn test(&self, scope: &Arc<Scope>, place: &impl Fn(Phase) -> Place, stop: &Stop) -> (BlockEnd, bool) {
        let mut test = std::pin::pin!(async {
            let setup =
                self.with_armory(Box::pin(self.block(&self.flow.setup, scope, place(Phase::Setup), stop))).await;
            if setup.stopped || (setup.failed > 0 && self.flow.config.fail_fast) {
                return setup;
            }
            let main = self.with_armory(Box::pin(self.block(&self.flow.steps, scope, place(Phase::Main), stop))).await;
            BlockEnd::sum([setup, main])
        });
        let limit = self.flow.config.timeout;
        tokio::select! {
            biased;
            // Not dropped when the timer wins: it is told to stop and awaited below.
            end = &mut test => return (end, false),
            // Cancel-safe: a timer.
            () = tokio::time::sleep(limit) => {}
        }
        let message = format!("the flow took longer than its time-out of {}", show_duration(limit));
        stop.give(Some(StepError { kind: ErrorKind::Timeout, message }));
        let end = test.await;
        // The last step may have ended in the very moment.
        let timed_out = end.stopped;
        (end, timed_out)
    }

    fn verdict(&self, end: BlockEnd, timed_out: bool, stop: &Stop) -> Verdict {
        let failure = end.failure;
        if stop.cancelled() {
            return Verdict { failure, ..Verdict::cancelled() };
        }
        if let Some(fault) = self.run.faulted() {
            return Verdict { failure, ..Verdict::error(fault.code, fault.message) };
        }
        if timed_out {
            let limit = show_duration(self.flow.config.timeout);
            let message = format!("the flow took longer than its time-out of {limit}");
            return Verdict { failure, ..Verdict::error(ErrorCode::Timeout, message) };
        }
        // A sub-flow that the flow around it stopped has not held.
        let status = if end.failed > 0 || end.stopped { ExecutionStatus::Failed } else { ExecutionStatus::Passed };
        Verdict { failure, ..Verdict::of(status) }
    }

    /// Every step of teardown, within its budget.
    async fn teardown(&self, scope: &Arc<Scope>, place: Place) -> BlockEnd {
        let stop = Stop::new();
        let cancelled = self.run.cancel.is_cancelled();
        let mut budget = if cancelled { CANCELLED_TEARDOWN_BUDGET } else { TEARDOWN_BUDGET };
        let mut teardown =
            std::pin::pin!(self.with_armory(Box::pin(self.block(&self.flow.teardown, scope, place, &stop))));
        if !cancelled {
            tokio::select! {
                biased;
                // Not dropped when another arm wins: it is awaited below.
                end = &mut teardown => return end,
                // Cancel-safe: a wait for a signal. From here on the shorter budget counts.
                () = self.run.cancel.cancelled() => budget = CANCELLED_TEARDOWN_BUDGET,
                // Cancel-safe: a timer.
                () = tokio::time::sleep(budget) => budget = Duration::ZERO,
            }
        }
        tokio::select! {
            biased;
            // Not dropped when the timer wins: it is told to stop and awaited below.
            end = &mut teardown => return end,
            // Cancel-safe: a timer.
            () = tokio::time::sleep(budget) => {}
        }
        let used_up = if budget.is_zero() { TEARDOWN_BUDGET } else { budget };
        let message = format!("teardown took longer than its time budget of {}", show_duration(used_up));
        stop.give(Some(StepError { kind: ErrorKind::Timeout, message }));
        teardown.await
    }

    /// Evaluates the flow's `output`.
    fn outputs(&self, scope: &Scope, verdict: &mut Verdict) {
        if self.flow.output.is_empty() {
            return;
        }
        let everything = scope.everything();
        let roots = PathRoots { result: &everything, primary: None, reserved: &[], step_id: "" };
        for (name, source) in &self.flow.output {
            let found = match source {
                OutputSource::Path(path) => path.find(&roots).map(|found| match found {
                    None if path.optional() => Some(Value::Null),
                    found => found,
                }),
                OutputSource::Tree(tree) => tree.render(scope).map(Some),
            };
            let missing = match found {
                Ok(Some(value)) => {
                    verdict.outputs.insert(name.clone(), value);
                    continue;
                }
                Ok(None) => "there is no value at its path".to_owned(),
                Err(error) => explain(&error),
            };
            verdict.status = ExecutionStatus::Error;
            verdict.error.get_or_insert_with(|| ExecutionError {
                code: ErrorCode::InvalidFlow,
                message: format!("output `{name}` of the flow: {missing}"),
            });
        }
    }
}
