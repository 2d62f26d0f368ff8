//! `POST /api/v1/executions`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use indexmap::IndexMap;
use serde::Deserialize;
use testmesh_runner::executor::{Definition, SubmitError};
use testmesh_runner::record::Execution;
use utoipa::ToSchema;

use super::submit::{self, RunOptions, RunTrigger, Submitted, Wait, WaitParams};
use crate::extract::body::Body;
use crate::extract::query::Query;
use crate::handlers::Cx;
use crate::problem::Problem;

/// A definition to run, and how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunDefinition {
    /// The flow as YAML, exactly one document.
    #[schema(example = "name: ping\nsteps:\n  - action: log\n    config: {message: hello}\n")]
    yaml: String,
    /// Values for the flow's variables; any JSON value each.
    #[serde(default)]
    variables: IndexMap<String, serde_json::Value>,
    /// Name of a stored environment. One that does not exist is refused.
    environment: Option<String>,
    /// Checks everything and runs no action.
    #[serde(default)]
    dry_run: bool,
    /// Says that `variables` hold one row of the flow's `data`: a data-driven flow runs once for each row.
    #[serde(default)]
    data_row: bool,
    /// Values of the flow's `env_file`, which the client has read.
    #[serde(default)]
    env_file: IndexMap<String, String>,
    /// Makes the built-in random values repeat.
    seed: Option<u64>,
    /// Warnings are errors, and a failure in teardown fails the run.
    #[serde(default)]
    strict: bool,
    /// What started it (default `api`).
    #[serde(default)]
    trigger: RunTrigger,
}

/// Runs a definition that is not stored.
///
/// Answers at once with the queued execution, or, with `wait`, with the finished one.
#[utoipa::path(
    post, path = "/api/v1/executions", operation_id = "run_definition", tag = "executions",
    params(
        WaitParams,
        ("idempotency-key" = Option<String>, Header, nullable = false, pattern = "^[!-~]{1,255}$",
            min_length = 1, max_length = 255,
            description = "A key of the caller's: the same key with the same request gives the first execution again."),
    ),
    request_body(description = "The definition and how to run it, or its text alone as YAML.", content(
        (RunDefinition = "application/json"),
        (serde_json::Value = "application/yaml", example = json!({
            "name": "ping", "steps": [{"action": "log", "config": {"message": "hello"}}],
        })),
    )),
    responses(
        (status = 200, description = "The finished execution.", body = Execution, headers(
            ("location" = String, description = "Path of the execution."),
        )),
        (status = 202, description = "The execution was accepted and is not finished.", body = Execution, headers(
            ("location" = String, description = "Path of the execution."),
        )),
    ),
    extensions(("x-errors" = json!(["idempotency_mismatch", "invalid_flow", "overloaded"]))),
    security(("bearer" = ["run"])),
)]
pub(crate) async fn run(
    State(app): Cx,
    Query(wait): Query<Wait>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request = match body.yaml()? {
        Some(yaml) => RunDefinition::plain(yaml),
        None => body.json_or_yaml()?,
    };
    let options = RunOptions {
        variables: request.variables,
        environment: request.environment,
        env_file: request.env_file,
        seed: request.seed,
        strict: request.strict,
        dry_run: request.dry_run,
        data_row: request.data_row,
        trigger: request.trigger,
    };
    let idempotency = submit::idempotency(&headers, "run", &body)?;
    let run = submit::new_run(&app, Definition::Inline { yaml: request.yaml }, options, (idempotency, &headers))?;
    match submit::submit(&app, run, wait).await? {
        Submitted::Answer(response) => Ok(response),
        Submitted::DataDriven => Err(SubmitError::DataDriven.into()),
    }
}

impl RunDefinition {
    /// A text alone, with the default for everything else.
    fn plain(yaml: String) -> Self {
        Self {
            yaml,
            variables: IndexMap::new(),
            environment: None,
            dry_run: false,
            data_row: false,
            env_file: IndexMap::new(),
            seed: None,
            strict: false,
            trigger: RunTrigger::Api,
        }
    }
}
