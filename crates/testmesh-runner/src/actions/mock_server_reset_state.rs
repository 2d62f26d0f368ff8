//! `mock_server_reset_state`: puts the state of a mock server back to what it began with.

use async_trait::async_trait;

use super::mock::Mocks;
use super::mock::spec::{SERVER, field, result};
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind};
use crate::engine::ActionContext;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "mock_server_reset_state",
    aliases: &["mock_server_reset"],
    summary: "Puts the state of a mock server back to what it began with.",
    description: "Endpoints also count their requests from the first again (`times`, and the turns of `response`), unless only \
                  some values are put back.",
    config: &[
        SERVER,
        Field {
            aliases: &["key", "state_key", "state_keys"],
            default: Some("all"),
            ..field("keys", Kind::List(&Kind::Text), "Only these values.")
        },
        Field {
            default: Some("false"),
            ..field("requests", Kind::Boolean, "Whether the recorded requests are forgotten, too.")
        },
    ],
    open_config: false,
    result: &[result("server_id", "string", "Which one it was."), result("state", "map", "The state now.")],
    open_result: false,
    reserved: &[],
    examples: &[Example {
        title: "Between two parts of a test",
        yaml: "- id: jobs\n  action: mock_server_start\n  config:\n    endpoints:\n      - {path: /jobs, state: {key: jobs, initial: 0, update: increment}}\n- action: mock_server_reset_state\n  config: {server_id: jobs, requests: true}\n  assert: state.jobs == 0\n",
    }],
};

/// The action.
pub(crate) struct MockServerResetState;

#[async_trait]
impl Action for MockServerResetState {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let mock = Mocks::of(cx).find(&config)?;
        let keys = config.list("keys")?;
        let keys: Vec<String> = keys.iter().filter_map(Value::to_text).map(String::from).collect();
        mock.reset(&keys, config.boolean("requests")?.unwrap_or(false));
        let result = Value::map([("server_id", Value::from(mock.name.as_str())), ("state", mock.state())]);
        Ok(ActionResult { response: result.clone().into(), result, ..ActionResult::default() })
    }
}
