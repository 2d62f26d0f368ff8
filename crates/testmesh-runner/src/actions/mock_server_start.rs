//! `mock_server_start`: starts an HTTP server that answers as the flow says.

use async_trait::async_trait;

use super::mock::Mocks;
use super::mock::spec::{ENDPOINTS, field, result};
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind};
use crate::engine::ActionContext;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "mock_server_start",
    aliases: &["mock_server"],
    summary: "Starts an HTTP server that answers as the flow says.",
    description: "It stands for a service that the system under test talks to, records what it was asked, and ends with the \
                  run: after teardown at the latest, however the run ends. It speaks HTTP/1.1 without TLS. A request that no \
                  endpoint matches gets 404 and the nearest endpoint with what differs; one whose endpoint cannot make its \
                  answer gets 500 and the reason.\n\nLimits: 32 mock servers for each run, 500 endpoints, 256 connections, \
                  10 MiB for a request's body; the last 1,000 requests (32 MiB) are recorded.",
    config: &[
        Field {
            default: Some("the step's id"),
            ..field("name", Kind::Text, "What it is called in the run; its `server_id`.")
        },
        Field {
            default: Some("any that is free"),
            ..field("port", Kind::Integer { min: 0, max: 65_535 }, "The port that it listens on.")
        },
        Field {
            default: Some("127.0.0.1, or as the server's settings say"),
            ..field(
                "bind",
                Kind::Text,
                "The IP address that it listens on: `0.0.0.0` for every one of this machine. A server allows loopback and what \
                 its setting `mock_bind` includes.",
            )
        },
        Field {
            default: Some("the address that it listens on, or as the server's settings say"),
            ..field("host", Kind::Text, "The name or address in `base_url`: what the system under test reaches it by.")
        },
        ENDPOINTS,
        field("state", Kind::Map(&Kind::Any), "What its state begins with, beside that of the endpoints."),
    ],
    open_config: false,
    result: &[
        result("server_id", "string", "What other steps name it by: its name."),
        result("name", "string", "Its name."),
        result("base_url", "string", "`http://host:port`, without a slash at the end."),
        result("host", "string", "The host in `base_url`."),
        result("port", "integer", "The port."),
        result("endpoints", "integer", "How many endpoints it has."),
        result("requests", "list", "What came so far: nothing."),
    ],
    open_result: false,
    reserved: &[],
    examples: &[
        Example {
            title: "A service with two endpoints",
            yaml: "- id: users\n  action: mock_server_start\n  config:\n    endpoints:\n      - method: GET\n        path: /users/:id\n        response:\n          body:\n            id: \"{{path.id}}\"\n            name: Ada\n      - method: POST\n        path: /users\n        match:\n          headers:\n            content-type: application/json\n          json_path:\n            $.email: {pattern: \"@\"}\n        response:\n          status: 201\n          body:\n            id: 2\n            name: \"{{body.name}}\"\n- action: http_request\n  config:\n    url: \"${users.base_url}/users/7\"\n  assert:\n    - body.id == \"7\"\n",
        },
        Example {
            title: "A counter, and an answer that changes",
            yaml: "- id: jobs\n  action: mock_server_start\n  config:\n    endpoints:\n      - method: POST\n        path: /jobs\n        state: {key: jobs, initial: 0, update: increment}\n        response:\n          status: 202\n          body: {job: \"{{state.jobs}}\"}\n      - path: /jobs/:id\n        response:\n          - body: {status: running}\n          - body: {status: done}\n",
        },
        Example {
            title: "Trouble on purpose: late, then not at all",
            yaml: "- id: flaky\n  action: mock_server_start\n  config:\n    endpoints:\n      - path: /slow\n        response: {status: 503, delay: 200ms, headers: {retry-after: 1}}\n      - path: /broken\n        response: {fault: reset}\n      - path: /cut\n        response: {body: {a: long text}, fault: truncate}\n",
        },
    ],
};

/// The action.
pub(crate) struct MockServerStart;

#[async_trait]
impl Action for MockServerStart {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let mock = Mocks::of(cx).start(cx).await?;
        let name = Value::from(mock.name.as_str());
        let result = Value::map([
            ("server_id", name.clone()),
            ("name", name),
            ("base_url", Value::from(mock.base_url.as_str())),
            ("host", Value::from(mock.host.as_str())),
            ("port", Value::Int(i64::from(mock.port))),
            ("endpoints", Value::from(mock.n_endpoints())),
            ("requests", Value::list(Vec::new())),
        ]);
        Ok(ActionResult { response: result.clone().into(), result, ..ActionResult::default() })
    }
}
