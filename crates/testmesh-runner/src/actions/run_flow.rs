//! `run_flow`: runs another flow as a step.

use std::time::Instant;

use async_trait::async_trait;
use bytestring::ByteString;
use testmesh_shared::error::ErrorCode;

use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::{ActionContext, Stopped, Verdict};
use crate::record::{ErrorKind, ExecutionStatus};
use crate::value::{Map, Value};

static SPEC: ActionSpec = ActionSpec {
    name: "run_flow",
    aliases: &["flow", "call_flow"],
    summary: "Runs another flow as a step.",
    description: "All of its phases run, its teardown too; its steps are recorded below this one. It sees the run's \
                  variables and environment and what `input` passes, and nothing else of the flow around it. What its \
                  `output` names is in the result. The step fails when the flow does.",
    config: &[
        Field {
            name: "flow",
            aliases: &["file", "name", "path", "flow_id"],
            kind: Kind::Text,
            required: true,
            default: None,
            doc: "A file relative to this one, or the flow's name; on a server its id or name.",
        },
        Field {
            name: "input",
            aliases: &["variables", "vars", "inputs", "with"],
            kind: Kind::Map(&Kind::Any),
            required: false,
            default: None,
            doc: "What the flow is given, checked against the `input` it declares.",
        },
    ],
    open_config: false,
    result: &[
        ResultField { name: "status", kind: "string", doc: "`passed`, `failed`, `error` or `cancelled`." },
        ResultField { name: "duration_ms", kind: "integer", doc: "How long it took, in milliseconds." },
        ResultField { name: "flow", kind: "map", doc: "`{name, status}` of the flow." },
    ],
    open_result: true,
    reserved: &[],
    examples: &[Example {
        title: "A login shared by several flows",
        yaml: "- id: login\n  action: run_flow\n  config:\n    flow: login.yaml\n    input:\n      user: ada\n  output:\n    \
               token: token?\n",
    }],
};

/// The action.
pub(crate) struct RunFlow;

#[async_trait]
impl Action for RunFlow {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    fn runs_steps(&self) -> bool {
        true
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let reference = config.required_text("flow")?;
        let input = config.map("input")?;
        let request = Value::map([
            ("flow", Value::Text(reference.clone())),
            ("input", Value::Map(std::sync::Arc::new(Map { entries: input.clone(), ignore_case: false }))),
        ]);
        let since = Instant::now();
        let (name, verdict) = cx.run_flow(&reference, input).await?;
        if cx.stop().given() {
            return Err(Stopped.into());
        }
        let millis = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
        let result = outcome(&name, &verdict, millis);
        let result = ActionResult {
            request: request.into(),
            response: result.clone().into(),
            result,
            ..ActionResult::default()
        };
        match verdict.status {
            ExecutionStatus::Passed => Ok(result),
            _ => Err(ActionError { partial: Some(Box::new(result)), ..failed(&name, &verdict) }),
        }
    }
}

/// The result: the flow's outputs, and how it went.
fn outcome(name: &str, verdict: &Verdict, millis: i64) -> Value {
    let status = || Value::Text(ByteString::from_static(verdict.status.as_str()));
    let mut map = Map::default();
    map.entries.insert("status".into(), status());
    map.entries.insert("duration_ms".into(), Value::Int(millis));
    map.entries.insert("flow".into(), Value::map([("name", Value::Text(name.into())), ("status", status())]));
    // What the flow gives back wins: its author chose the names.
    map.entries.extend(verdict.outputs.iter().map(|(name, value)| (name.as_str().into(), value.clone())));
    Value::Map(std::sync::Arc::new(map))
}

fn failed(name: &str, verdict: &Verdict) -> ActionError {
    let status = verdict.status.as_str();
    if let Some(error) = &verdict.error {
        let kind = match error.code {
            ErrorCode::Timeout => ErrorKind::Timeout,
            ErrorCode::InvalidFlow => ErrorKind::Config,
            _ => ErrorKind::Internal,
        };
        return ActionError::new(kind, format!("flow `{name}` ended as {status}: {}", error.message));
    }
    match &verdict.failure {
        Some(failure) => {
            let message = format!("flow `{name}` {status}: step `{}`: {}", failure.id, failure.error.message);
            ActionError::new(ErrorKind::Assertion, message)
        }
        None => ActionError::new(ErrorKind::Assertion, format!("flow `{name}` {status}")),
    }
}
