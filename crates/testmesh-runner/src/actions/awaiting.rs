//! `await`: collects what a step with `background: true` armed.

use async_trait::async_trait;

use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind};
use crate::engine::ActionContext;
use crate::record::ErrorKind;

static SPEC: ActionSpec = ActionSpec {
    name: "await",
    aliases: &[],
    summary: "Collects what a step with `background: true` waits for.",
    description: "Usually written as `await: ID` in the place of `action`. The result is that of the awaited step, and \
                  `assert` and `output` look at it. The awaited step's own `timeout` counts from here, not from where it was \
                  armed. An expectation is awaited once, in the phase that armed it; `retry` and `poll` have no place here.",
    config: &[
        Field {
            name: "step",
            aliases: &["id"],
            kind: Kind::Text,
            required: false,
            default: None,
            doc: "The id of the armed step, when the step has no `await` key.",
        },
        Field {
            name: "timeout",
            aliases: &[],
            kind: Kind::Duration { zero: false },
            required: false,
            default: Some("that of the armed step"),
            doc: "How long to wait from now on.",
        },
    ],
    open_config: false,
    result: &[],
    open_result: true,
    reserved: &[],
    examples: &[Example {
        title: "An event that the next step causes",
        yaml: "- id: event\n  action: redis.subscribe\n  background: true\n  config: {host: localhost, channel: orders}\n\
               - action: redis.publish\n  config: {host: localhost, channel: orders, message: {id: 7}}\n\
               - await: event\n  assert:\n    - messages[0].value.id == 7\n",
    }],
};

/// The action.
pub(crate) struct Await;

#[async_trait]
impl Action for Await {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    fn waits(&self) -> bool {
        true
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let missing = || ActionError::new(ErrorKind::Config, "`await` names no step");
        let awaits = cx.step.awaits.as_ref().ok_or_else(missing)?;
        let limit = cx.resolve()?.duration("timeout")?;
        cx.collect(&awaits.id, limit).await
    }
}
