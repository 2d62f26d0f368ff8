//! `POST /api/v1/executions/{id}/cancel`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use testmesh_runner::executor::Cancelled;
use testmesh_runner::record::Execution;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::ExecutionId;

use super::not_found;
use crate::extract::path::Path;
use crate::handlers::Cx;
use crate::problem::Problem;

/// Stops an execution.
///
/// The running step is aborted, teardown runs, and the execution ends as `cancelled`.
#[utoipa::path(
    post, path = "/api/v1/executions/{id}/cancel", operation_id = "cancel_execution", tag = "executions",
    params(("id" = ExecutionId, Path, description = "The execution.")),
    responses((status = 202, description = "It will stop; the execution as it is now.", body = Execution)),
    extensions(("x-errors" = json!(["execution_not_found", "already_finished"]))),
    security(("bearer" = ["run"])),
)]
pub(crate) async fn cancel(
    State(app): Cx,
    Path(id): Path<ExecutionId>,
) -> Result<(StatusCode, Json<Execution>), Problem> {
    match app.executor.cancel(id).await? {
        Cancelled::Requested => {
            let execution = app.executions.find(id).await?.ok_or_else(|| not_found(id))?;
            Ok((StatusCode::ACCEPTED, Json(execution)))
        }
        Cancelled::AlreadyFinished => {
            Err(Problem::new(ErrorCode::AlreadyFinished, format!("execution `{id}` is finished")))
        }
        Cancelled::NotFound => Err(not_found(id)),
    }
}
