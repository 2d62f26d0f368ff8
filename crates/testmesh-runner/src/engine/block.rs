//! A list of steps, one after the other: a phase, the body of a loop's turn, a branch, an error handler.

use std::sync::Arc;

use crate::action::{ActionError, ActionResult};
use crate::engine::context::Stopped;
use crate::engine::phases::FlowRun;
use crate::engine::stop::Stop;
use crate::flow::Step;
use crate::record::{Phase, StepError, StepStatus};
use crate::scope::Scope;

/// Where steps stand in the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) phase: Phase,
    /// Ordinal of the step around them.
    pub(crate) parent: Option<u32>,
    /// The turn of the loop around them, from 0.
    pub(crate) iteration: Option<u32>,
}

/// What a list of steps came to.
#[derive(Debug, Default)]
pub(crate) struct BlockEnd {
    pub(crate) passed: u32,
    /// Failed or error.
    pub(crate) failed: u32,
    pub(crate) tolerated: u32,
    pub(crate) skipped: u32,
    /// Whether it was stopped before its end.
    pub(crate) stopped: bool,
    /// The first step that failed, and why.
    pub(crate) failure: Option<Failure>,
}

/// A step that failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// Its id.
    pub(crate) id: String,
    /// Why.
    pub(crate) error: StepError,
}

impl BlockEnd {
    /// Whether every step held.
    pub(crate) fn held(&self) -> bool {
        self.failed == 0 && !self.stopped
    }

    /// What several lists came to together; the first failure is the first list's that has one.
    pub(crate) fn sum(ends: impl IntoIterator<Item = BlockEnd>) -> BlockEnd {
        ends.into_iter().fold(BlockEnd::default(), |total, end| BlockEnd {
            passed: total.passed + end.passed,
            failed: total.failed + end.failed,
            tolerated: total.tolerated + end.tolerated,
            skipped: total.skipped + end.skipped,
            stopped: total.stopped || end.stopped,
            failure: total.failure.or(end.failure),
        })
    }

    /// `result` when every step held; else why the step around them did not pass, with `result` beside it.
    pub(crate) fn into_result(self, result: ActionResult) -> Result<ActionResult, ActionError> {
        match self.failure {
            Some(failure) => Err(ActionError {
                kind: failure.error.kind,
                message: format!("step `{}`: {}", failure.id, failure.error.message),
                partial: Some(Box::new(result)),
            }),
            None if self.stopped => Err(ActionError { partial: Some(Box::new(result)), ..Stopped.into() }),
            None => Ok(result),
        }
    }

    fn count(&mut self, id: &str, end: StepEnd) {
        match end.status {
            StepStatus::Passed => self.passed += 1,
            StepStatus::Failed | StepStatus::Error => {
                self.failed += 1;
                if let (None, Some(error)) = (&self.failure, end.error) {
                    self.failure = Some(Failure { id: id.to_owned(), error });
                }
            }
            StepStatus::Tolerated => self.tolerated += 1,
            StepStatus::Skipped => self.skipped += 1,
            StepStatus::Cancelled | StepStatus::Pending | StepStatus::Running => self.stopped = true,
        }
    }
}

/// How a step ended.
#[derive(Debug)]
pub(crate) struct StepEnd {
    pub(crate) status: StepStatus,
    pub(crate) error: Option<StepError>,
}

impl FlowRun<'_> {
    /// Runs `steps` in order, to the first that fails or, without `fail_fast` and in teardown, to the last.
    pub(crate) async fn block(&self, steps: &[Step], scope: &Arc<Scope>, place: Place, stop: &Stop) -> BlockEnd {
        let go_on = !self.flow.config.fail_fast || (place.phase == Phase::Teardown && place.parent == self.parent);
        let mut end = BlockEnd::default();
        for step in steps {
            if stop.given() {
                end.stopped = true;
                if place.phase != Phase::Teardown {
                    break;
                }
                self.skip(step, place, stop.why().map_or("the run was cancelled", |why| &why.message));
                continue;
            }
            end.count(&step.id, self.step(step, scope, place, stop).await);
            if end.failed > 0 && !go_on {
                break;
            }
        }
        end
    }
}
