//! `GET /api/v1/executions/{id}/steps/{step}`.

use axum::Json;
use axum::extract::State;
use testmesh_runner::record::StepRecord;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::ExecutionId;

use super::not_found;
use crate::extract::path::{Path, Word};
use crate::handlers::Cx;
use crate::problem::Problem;

/// One step whole: request, response, assertions, outputs, attempts, logs.
#[utoipa::path(
    get, path = "/api/v1/executions/{id}/steps/{step}", operation_id = "find_execution_step", tag = "executions",
    params(
        ("id" = ExecutionId, Path, description = "The execution."),
        ("step" = String, Path, min_length = 1, max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$",
            description = "The step's id in the flow, or its ordinal in the run."),
    ),
    responses((status = 200, description = "The step.", body = StepRecord)),
    extensions(("x-errors" = json!(["execution_not_found", "step_not_found"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn find_step(
    State(app): Cx,
    Path((id, Word(step))): Path<(ExecutionId, Word)>,
) -> Result<Json<StepRecord>, Problem> {
    if let Some(record) = app.executions.step(id, &step).await? {
        return Ok(Json(record));
    }
    if app.executions.find(id).await?.is_none() {
        return Err(not_found(id));
    }
    Err(Problem::new(ErrorCode::StepNotFound, format!("execution `{id}` has no step `{step}`")))
}
