//! `mock_server_verify`: fails unless a mock server was asked what it should have been.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::mock::spec::{REQUESTS, SERVER, field, result};
use super::mock::verify::{EXPECTATION, Expectation, Outcome, read_all, unmatched};
use super::mock::{Mock, Mocks};
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind};
use crate::engine::ActionContext;
use crate::record::{AssertionRecord, ErrorKind};
use crate::value::Value;

static CONFIG: [Field; 11] = {
    let [endpoint, method, path, matching, times, at_least, at_most] = EXPECTATION;
    [
        SERVER,
        endpoint,
        method,
        path,
        matching,
        times,
        at_least,
        at_most,
        Field {
            aliases: &["expectations", "verifications"],
            ..field(
                "expect",
                Kind::List(&Kind::Object(&EXPECTATION)),
                "Several expectations, each with the keys above.",
            )
        },
        Field {
            default: Some("false"),
            ..field("no_unmatched", Kind::Boolean, "Whether a request that no endpoint matched is a failure.")
        },
        Field {
            default: Some("0s"),
            ..field(
                "within",
                Kind::Duration { zero: true },
                "How long requests may still take to come: the step ends as soon as everything holds.",
            )
        },
    ]
};

static SPEC: ActionSpec = ActionSpec {
    name: "mock_server_verify",
    aliases: &[],
    summary: "Fails unless a mock server was asked what it should have been.",
    description: "Counts the recorded requests. A failure says what came instead, and which part of the nearest request \
                  differs.",
    config: &CONFIG,
    open_config: false,
    result: &[
        result("server_id", "string", "Which one it was."),
        result("verified", "boolean", "Whether everything held."),
        result("matched", "integer", "How many requests the first expectation counted."),
        REQUESTS,
        result("count", "integer", "How many requests came in all."),
        result("unmatched", "integer", "How many of them no endpoint matched."),
    ],
    open_result: false,
    reserved: &[],
    examples: &[
        Example {
            title: "One order was sent, with this item",
            yaml: "- id: orders\n  action: mock_server_start\n  config: {endpoints: [{method: POST, path: /orders, response: {status: 201}}]}\n- action: http_request\n  config: {method: POST, url: \"${orders.base_url}/orders\", body: {item: book, n: 2}}\n- action: mock_server_verify\n  config:\n    server_id: orders\n    method: POST\n    path: /orders\n    match:\n      body: {item: book}\n    times: 1\n",
        },
        Example {
            title: "Several expectations, with time for a slow system",
            yaml: "- id: mails\n  action: mock_server_start\n  config: {endpoints: [{path: /send}, {path: /status}]}\n- action: http_request\n  config: {method: POST, url: \"${mails.base_url}/send\", body: hello}\n- action: mock_server_verify\n  config:\n    server_id: mails\n    within: 5s\n    no_unmatched: true\n    expect:\n      - {path: /send, at_least: 1, at_most: 3}\n      - {path: /status, times: 0}\n",
        },
    ],
};

/// The action.
pub(crate) struct MockServerVerify;

#[async_trait]
impl Action for MockServerVerify {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let mock = Mocks::of(cx).find(&config)?;
        let expectations = read_all(&config, &mock)?;
        let no_unmatched = config.boolean("no_unmatched")?.unwrap_or(false);
        let within = config.duration("within")?.unwrap_or_default();
        let outcomes = settled(&mock, &expectations, within).await;
        let unmatched = if no_unmatched { unmatched(&mock) } else { None };
        let failures: Vec<&str> =
            outcomes.iter().filter_map(|outcome| outcome.message.as_deref()).chain(unmatched.as_deref()).collect();
        let mut records: Vec<_> = outcomes.iter().map(|outcome| record(outcome, cx.step.line)).collect();
        if no_unmatched {
            let expression = "no request without an endpoint".into();
            let (actual, expected) = (None, None);
            let (passed, message) = (unmatched.is_none(), unmatched.clone());
            records.push(AssertionRecord { expression, passed, actual, expected, message, line: cx.step.line });
        }
        let about = [
            ("server_id", Value::from(mock.name.as_str())),
            ("verified", Value::Bool(failures.is_empty())),
            ("matched", Value::from(outcomes.first().map_or(0, |outcome| outcome.count))),
        ];
        let result = Value::map(about.into_iter().chain(mock.requests()));
        let result = ActionResult { response: result.clone().into(), result, ..ActionResult::default() };
        cx.note_assertions(records);
        if failures.is_empty() {
            return Ok(result);
        }
        let message = failures.join("\n");
        Err(ActionError { kind: ErrorKind::Assertion, message, partial: Some(Box::new(result)) })
    }
}

/// What the expectations come to, once all hold or time is up.
async fn settled(mock: &Mock, expectations: &[Expectation], within: Duration) -> Vec<Outcome> {
    let deadline = Instant::now() + within;
    loop {
        let arrived = mock.arrived.notified();
        tokio::pin!(arrived);
        // Before looking: what arrives meanwhile is not missed.
        arrived.as_mut().enable();
        let outcomes: Vec<Outcome> = expectations.iter().map(|expectation| expectation.check(mock)).collect();
        let holds = outcomes.iter().all(|outcome| outcome.message.is_none());
        if holds || tokio::time::timeout_at(deadline, arrived).await.is_err() {
            return outcomes;
        }
    }
}

fn record(outcome: &Outcome, line: u32) -> AssertionRecord {
    AssertionRecord {
        expression: outcome.expected.as_str().into(),
        passed: outcome.message.is_none(),
        actual: Some(outcome.count.into()),
        expected: Some(match outcome.most {
            Some(most) if most == outcome.least => most.into(),
            most => serde_json::json!({ "at_least": outcome.least, "at_most": most }),
        }),
        message: outcome.message.clone(),
        line,
    }
}
