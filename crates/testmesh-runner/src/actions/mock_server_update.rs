//! `mock_server_update`: changes endpoints of a running mock server in their places, and its state.

use async_trait::async_trait;

use super::mock::spec::{ENDPOINTS, SERVER, field, result};
use super::mock::{Mocks, endpoints};
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Kind};
use crate::engine::ActionContext;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "mock_server_update",
    aliases: &[],
    summary: "Changes endpoints of a running mock server, and its state.",
    description: "An endpoint takes the place of the one with its `id`, or else of the one with its method and path, as a \
                  whole; it has answered no request yet. One that is not there is an error, and nothing is changed.",
    config: &[SERVER, ENDPOINTS, field("state", Kind::Map(&Kind::Any), "Values of the state to set.")],
    open_config: false,
    result: &[
        result("server_id", "string", "Which one it was."),
        result("updated", "integer", "How many endpoints were changed."),
        result("state", "map", "The state now."),
    ],
    open_result: false,
    reserved: &[],
    examples: &[Example {
        title: "Another answer for an endpoint, and a value of the state",
        yaml: "- id: stock\n  action: mock_server_start\n  config:\n    endpoints:\n      - {id: level, path: /level, response: {body: {level: 3}}}\n- action: mock_server_update\n  config:\n    server_id: stock\n    state: {closed: true}\n    endpoints:\n      - {id: level, path: /level, response: {body: {level: 0, closed: \"{{state.closed}}\"}}}\n",
    }],
};

/// The action.
pub(crate) struct MockServerUpdate;

#[async_trait]
impl Action for MockServerUpdate {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let mock = Mocks::of(cx).find(&config)?;
        let n_updated = mock.replace(endpoints(cx)?)?;
        mock.set_state(config.map("state")?);
        let result = Value::map([
            ("server_id", Value::from(mock.name.as_str())),
            ("updated", Value::from(n_updated)),
            ("state", mock.state()),
        ]);
        Ok(ActionResult { response: result.clone().into(), result, ..ActionResult::default() })
    }
}
