//! `POST /api/v1/suites/{name}/executions`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use indexmap::IndexMap;
use serde::Deserialize;
use testmesh_runner::executor::BatchSource;
use testmesh_runner::record::Batch;
use utoipa::ToSchema;

use crate::extract::body::Body;
use crate::extract::path::{Path, Word};
use crate::extract::query::Query;
use crate::handlers::Cx;
use crate::handlers::executions::submit::{self, RunOptions, RunTrigger, Wait, WaitParams};
use crate::problem::Problem;

/// How to run a suite.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunSuite {
    /// Values for the flows' variables; any JSON value each.
    #[serde(default)]
    variables: IndexMap<String, serde_json::Value>,
    /// Name of a stored environment. One that does not exist is refused.
    environment: Option<String>,
    /// How many flows run at a time.
    #[schema(minimum = 1, maximum = 256, default = 8)]
    parallelism: Option<u32>,
    /// Checks everything and runs no action.
    #[serde(default)]
    dry_run: bool,
    /// Values of the flows' `env_file`, which the client has read.
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

/// Runs every flow of a suite, a data-driven one once for each of its rows, with one result for all.
///
/// Answers at once with the batch, or, with `wait`, with the finished one. A flow that cannot be run is an execution
/// that ends as `error`, and keeps no other from running.
#[utoipa::path(
    post, path = "/api/v1/suites/{name}/executions", operation_id = "run_suite", tag = "batches",
    params(
        ("name" = String, Path, description = "The suite.", min_length = 1, max_length = 255),
        WaitParams,
        ("idempotency-key" = Option<String>, Header, nullable = false, pattern = "^[!-~]{1,255}$",
            min_length = 1, max_length = 255,
            description = "A key of the caller's: the same key with the same request gives the first batch again."),
    ),
    request_body(content = Option<RunSuite>, description = "How to run it; may be left out."),
    responses(
        (status = 200, description = "The finished batch.", body = Batch, headers(
            ("location" = String, description = "Path of the batch."),
        )),
        (status = 202, description = "The batch was accepted and is not finished.", body = Batch, headers(
            ("location" = String, description = "Path of the batch."),
        )),
    ),
    extensions(("x-errors" = json!(["suite_not_found", "idempotency_mismatch", "overloaded"]))),
    security(("bearer" = ["run"])),
)]
pub(crate) async fn run(
    State(app): Cx,
    Path(Word(name)): Path<Word>,
    Query(wait): Query<Wait>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request: RunSuite = body.json_or_default()?;
    let options = RunOptions {
        variables: request.variables,
        environment: request.environment,
        env_file: request.env_file,
        seed: request.seed,
        strict: request.strict,
        dry_run: request.dry_run,
        data_row: false,
        trigger: request.trigger,
    };
    let idempotency = submit::idempotency(&headers, &format!("suite {name}"), &body)?;
    let how = (request.parallelism, idempotency);
    let batch = submit::new_batch(&app, BatchSource::Suite(name), options, how)?;
    submit::submit_batch(&app, batch, wait).await
}
