//! `delay`: waits.

use async_trait::async_trait;

use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::ActionContext;
use crate::record::ErrorKind;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "delay",
    aliases: &[],
    summary: "Waits for a time.",
    description: "Only the flow's own time-out and a `timeout` of the step limit it. To wait *for* something, `poll` on \
                  any step, `wait_until` and `wait_for` are quicker and surer.",
    config: &[Field {
        name: "duration",
        aliases: &["delay", "time"],
        kind: Kind::Duration { zero: true },
        required: true,
        default: None,
        doc: "How long: `500ms`, `2s`, or a number of seconds.",
    }],
    open_config: false,
    result: &[ResultField { name: "duration_ms", kind: "integer", doc: "How long it waited, in milliseconds." }],
    open_result: false,
    reserved: &[],
    examples: &[Example { title: "Half a second", yaml: "- action: delay\n  config:\n    duration: 500ms\n" }],
};

/// The action.
pub(crate) struct Delay;

#[async_trait]
impl Action for Delay {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    fn waits(&self) -> bool {
        true
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let missing = || ActionError::new(ErrorKind::Config, "`duration` is missing");
        let duration = cx.resolve()?.duration("duration")?.ok_or_else(missing)?;
        tokio::time::sleep(duration).await;
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Ok(ActionResult { result: Value::map([("duration_ms", Value::Int(millis))]), ..ActionResult::default() })
    }
}
