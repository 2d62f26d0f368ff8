//! `mock_server_stop`: ends a mock server before the run does, and says what it was asked.

use async_trait::async_trait;

use super::mock::Mocks;
use super::mock::spec::{REQUESTS, SERVER, result};
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example};
use crate::engine::ActionContext;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "mock_server_stop",
    aliases: &[],
    summary: "Ends a mock server before the run does.",
    description: "Its port is free when the step ends. Answers that are being sent get a quarter of a second, then they are broken off.",
    config: &[SERVER],
    open_config: false,
    result: &[
        result("server_id", "string", "Which one it was."),
        result("stopped", "boolean", "`true`."),
        REQUESTS,
        result("count", "integer", "How many requests came."),
        result("unmatched", "integer", "How many of them no endpoint matched."),
    ],
    open_result: false,
    reserved: &[],
    examples: &[Example {
        title: "In teardown",
        yaml: "- id: users\n  action: mock_server_start\n  config: {endpoints: [{path: /users}]}\n- action: mock_server_stop\n  config:\n    server_id: ${users.server_id}\n  assert:\n    - unmatched == 0\n",
    }],
};

/// The action.
pub(crate) struct MockServerStop;

#[async_trait]
impl Action for MockServerStop {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let mocks = Mocks::of(cx);
        let mock = mocks.find(&cx.resolve()?)?;
        mocks.stop(&mock).await;
        let about = [("server_id", Value::from(mock.name.as_str())), ("stopped", Value::Bool(true))];
        let result = Value::map(about.into_iter().chain(mock.requests()));
        Ok(ActionResult { response: result.clone().into(), result, ..ActionResult::default() })
    }
}
