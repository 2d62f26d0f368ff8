//! `parallel`: runs branches at the same time.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::{ActionContext, BlockEnd};
use crate::flow::Step;
use crate::record::StepError;
use crate::scope::Scope;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "parallel",
    aliases: &[],
    summary: "Runs branches at the same time.",
    description: "Each of `steps` is a branch of its own; for branches of several steps there is `branches`. A branch does \
                  not see what the others capture; after the step everything is known.",
    config: &[
        Field {
            name: "steps",
            aliases: &[],
            kind: Kind::Steps,
            required: false,
            default: None,
            doc: "Steps that all run at the same time.",
        },
        Field {
            name: "branches",
            aliases: &[],
            kind: Kind::Branches,
            required: false,
            default: None,
            doc: "Branches `{name, steps}` that run at the same time, the steps of each in order.",
        },
        Field {
            name: "max_concurrent",
            aliases: &["concurrency", "limit"],
            kind: Kind::Integer { min: 1, max: 1_000 },
            required: false,
            default: None,
            doc: "How many branches may run at the same time; all of them without it.",
        },
        Field {
            name: "fail_fast",
            aliases: &[],
            kind: Kind::Boolean,
            required: false,
            default: Some("true"),
            doc: "Whether the first branch that fails stops the others.",
        },
    ],
    open_config: false,
    result: &[
        ResultField { name: "count", kind: "integer", doc: "How many branches there are." },
        ResultField { name: "passed", kind: "integer", doc: "How many of them passed." },
        ResultField { name: "failed", kind: "integer", doc: "How many failed or were stopped." },
        ResultField { name: "results", kind: "list", doc: "For each branch `{name, passed, outputs}`." },
    ],
    open_result: false,
    reserved: &[],
    examples: &[
        Example {
            title: "Two waits in the time of one",
            yaml: "- action: parallel\n  config:\n    steps:\n      - action: delay\n        config: {duration: 20ms}\n      \
                   - action: delay\n        config: {duration: 20ms}\n  assert:\n    - passed == 2\n",
        },
        Example {
            title: "Branches of several steps",
            yaml: "- action: parallel\n  config:\n    branches:\n      - name: left\n        steps:\n          \
                   - action: log\n            config: {message: left}\n      - name: right\n        steps:\n          \
                   - action: log\n            config: {message: right}\n",
        },
    ],
};

/// The action.
pub(crate) struct Parallel;

#[async_trait]
impl Action for Parallel {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    fn runs_steps(&self) -> bool {
        true
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let limit = config.integer("max_concurrent")?.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        let fail_fast = config.boolean("fail_fast")?.unwrap_or(true);
        let alone = cx.config().steps("steps").iter().map(|step| (step.id.as_str(), std::slice::from_ref(step)));
        let grouped =
            cx.config().branches("branches").iter().map(|branch| (branch.name.as_str(), branch.steps.as_slice()));
        let (names, branches): (Vec<&str>, Vec<Branch<'_>>) = alone
            .chain(grouped)
            .map(|(name, steps)| (name, Branch { steps, scope: cx.layer(Vec::new()), iteration: None }))
            .unzip();
        let ends = run_together(cx, &branches, limit, fail_fast).await;
        let mut results = Vec::with_capacity(branches.len());
        let mut n_passed = 0;
        for ((name, branch), end) in names.iter().zip(&branches).zip(&ends) {
            let passed = end.as_ref().is_some_and(BlockEnd::held);
            n_passed += usize::from(passed);
            results.push(Value::map([
                ("name", Value::Text((*name).into())),
                ("passed", Value::Bool(passed)),
                ("outputs", branch.scope.outputs()),
            ]));
            cx.names().adopt(&branch.scope);
        }
        let number = |count: usize| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        let result = Value::map([
            ("count", number(branches.len())),
            ("passed", number(n_passed)),
            ("failed", number(branches.len() - n_passed)),
            ("results", Value::list(results)),
        ]);
        let total = BlockEnd::sum(ends.into_iter().flatten());
        total.into_result(ActionResult { response: result.clone().into(), result, ..ActionResult::default() })
    }
}

/// Steps that run beside others.
pub(super) struct Branch<'a> {
    pub(super) steps: &'a [Step],
    pub(super) scope: Arc<Scope>,
    pub(super) iteration: Option<u32>,
}

/// Runs the branches, at most `limit` at a time, in the task of the run. `None` for those that were never begun.
pub(super) async fn run_together(
    cx: &ActionContext<'_>,
    branches: &[Branch<'_>],
    limit: usize,
    fail_fast: bool,
) -> Vec<Option<BlockEnd>> {
    let stop = cx.stop().child();
    let mut ends: Vec<Option<BlockEnd>> = branches.iter().map(|_| None).collect();
    let mut waiting = branches.iter().enumerate();
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < limit && !stop.given() {
            let Some((index, branch)) = waiting.next() else { break };
            let steps = cx.run_steps_until(branch.steps, &branch.scope, branch.iteration, &stop);
            running.push(async move { (index, steps.await) });
        }
        let Some((index, end)) = running.next().await else { break };
        if let (true, Some(failure)) = (fail_fast, &end.failure) {
            let message = format!("stopped because step `{}` beside it failed", failure.id);
            stop.give(Some(StepError { kind: failure.error.kind, message }));
        }
        ends[index] = Some(end);
    }
    ends
}
