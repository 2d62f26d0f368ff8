//! `POST /api/v1/flows/{id}/executions`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use testmesh_runner::executor::{BatchSource, Definition};
use testmesh_runner::record::{Batch, Execution};
use testmesh_shared::ids::FlowId;
use utoipa::ToSchema;

use crate::extract::body::Body;
use crate::extract::path::Path;
use crate::extract::query::Query;
use crate::handlers::Cx;
use crate::handlers::executions::submit::{self, RunOptions, RunTrigger, Submitted, Wait, WaitParams};
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
    /// How many rows of the flow's `data` run at a time.
    #[schema(minimum = 1, maximum = 256, default = 8)]
    parallelism: Option<u32>,
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

/// What a flow became: an execution, or, when it has `data`, a batch of them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "names both bodies for the OpenAPI document")]
pub(crate) enum Started {
    /// One run.
    Execution(Box<Execution>),
    /// One run for each row.
    Batch(Box<Batch>),
}

/// Runs a stored flow; one with `data` once for each of its rows, as a batch.
///
/// Answers at once with the queued execution or batch, or, with `wait`, with the finished one. `Location` says which.
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
        (status = 200, description = "The finished execution or batch.", body = Started, headers(
            ("location" = String, description = "Path of the execution or batch."),
        )),
        (status = 202, description = "It was accepted and is not finished.", body = Started, headers(
            ("location" = String, description = "Path of the execution or batch."),
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
    let run = submit::new_run(&app, definition.clone(), options.clone(), (idempotency.clone(), &headers))?;
    match submit::submit(&app, run, wait).await? {
        Submitted::Answer(response) => Ok(response),
        Submitted::DataDriven => {
            let how = (request.parallelism, idempotency);
            let batch = submit::new_batch(&app, BatchSource::Flow(definition), options, how)?;
            submit::submit_batch(&app, batch, wait).await
        }
    }
}
