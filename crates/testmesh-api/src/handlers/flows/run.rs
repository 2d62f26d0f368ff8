//! `POST /api/v1/flows/{id}/executions`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use indexmap::IndexMap;
use serde::Deserialize;
use testmesh_runner::executor::Definition;
use testmesh_runner::record::Execution;
use testmesh_shared::ids::FlowId;
use utoipa::ToSchema;

use crate::extract::body::Body;
use crate::extract::path::Path;
use crate::extract::query::Query;
use crate::handlers::Cx;
use crate::handlers::executions::submit::{self, RunOptions, RunTrigger, Wait, WaitParams};
use crate::problem::Problem;

/// How to run a stored flow.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunFlow {
    /// Values for the flow's variables; any JSON value each.
    #[serde(default)]
    variables: IndexMap<String, serde_json::Value>,
    /// Name of a stored environment. One that does not exist is refused.
    environment: Option<String>,
    /// The version to run; the newest one when it is left out.
    #[schema(minimum = 1, maximum = 4_294_967_295_u32)]
    version: Option<u32>,
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

/// Runs a stored flow.
///
/// Answers at once with the queued execution, or, with `wait`, with the finished one.
#[utoipa::path(
    post, path = "/api/v1/flows/{id}/executions", operation_id = "run_flow", tag = "executions",
    params(
        ("id" = FlowId, Path, description = "The flow."),
        WaitParams,
        ("idempotency-key" = Option<String>, Header, nullable = false, pattern = "^[!-~]{1,255}$",
            min_length = 1, max_length = 255,
            description = "A key of the caller's: the same key with the same request gives the first execution again."),
    ),
    request_body(content = Option<RunFlow>, description = "How to run it; may be left out."),
    responses(
        (status = 200, description = "The finished execution.", body = Execution, headers(
            ("location" = String, description = "Path of the execution."),
        )),
        (status = 202, description = "The execution was accepted and is not finished.", body = Execution, headers(
            ("location" = String, description = "Path of the execution."),
        )),
    ),
    extensions(("x-errors" = json!([
        "flow_not_found", "version_not_found", "idempotency_mismatch", "invalid_flow", "overloaded",
    ]))),
    security(("bearer" = ["run"])),
)]
pub(crate) async fn run(
    State(app): Cx,
    Path(id): Path<FlowId>,
    Query(wait): Query<Wait>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request: RunFlow = body.json_or_default()?;
    if request.version == Some(0) {
        return Err(Problem::invalid("`version` must be a whole number from 1"));
    }
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
    let idempotency = submit::idempotency(&headers, &format!("run {id}"), &body)?;
    let definition = Definition::Stored { flow_id: id, version: request.version };
    let run = submit::new_run(&app, definition, options, (idempotency, &headers))?;
    submit::submit(&app, run, wait).await
}
