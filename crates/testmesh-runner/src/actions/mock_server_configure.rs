//! `mock_server_configure`: gives a running mock server more endpoints, or others.

use async_trait::async_trait;

use super::mock::spec::{ENDPOINTS, SERVER, field, result};
use super::mock::{Mocks, endpoints};
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind};
use crate::engine::ActionContext;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "mock_server_configure",
    aliases: &[],
    summary: "Gives a running mock server more endpoints, or others.",
    description: "New endpoints come before those that are there: of the same priority, they answer first.",
    config: &[
        SERVER,
        ENDPOINTS,
        Field {
            default: Some("false"),
            ..field("replace", Kind::Boolean, "Whether the endpoints that are there are taken away.")
        },
        field("state", Kind::Map(&Kind::Any), "Values of the state to set."),
    ],
    open_config: false,
    result: &[
        result("server_id", "string", "Which one it was."),
        result("endpoints", "integer", "How many endpoints it has now."),
    ],
    open_result: false,
    reserved: &[],
    examples: &[Example {
        title: "The service fails from now on",
        yaml: "- id: payments\n  action: mock_server_start\n  config: {endpoints: [{path: /pay, response: {body: {paid: true}}}]}\n- action: mock_server_configure\n  config:\n    server_id: payments\n    endpoints:\n      - path: /pay\n        times: 1\n        response: {status: 503}\n",
    }],
};

/// The action.
pub(crate) struct MockServerConfigure;

#[async_trait]
impl Action for MockServerConfigure {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let mock = Mocks::of(cx).find(&config)?;
        let n_endpoints = mock.add(endpoints(cx)?, config.boolean("replace")?.unwrap_or(false))?;
        mock.set_state(config.map("state")?);
        let result =
            Value::map([("server_id", Value::from(mock.name.as_str())), ("endpoints", Value::from(n_endpoints))]);
        Ok(ActionResult { response: result.clone().into(), result, ..ActionResult::default() })
    }
}
