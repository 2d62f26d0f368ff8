//! `POST /api/v1/batches/{id}/cancel`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use testmesh_runner::executor::Cancelled;
use testmesh_runner::record::Batch;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::BatchId;

use super::not_found;
use crate::extract::path::Path;
use crate::handlers::Cx;
use crate::problem::Problem;

/// Stops every execution of a batch that is not over.
///
/// Those that wait never start; those that run are aborted, and their teardown runs.
#[utoipa::path(
    post, path = "/api/v1/batches/{id}/cancel", operation_id = "cancel_batch", tag = "batches",
    params(("id" = BatchId, Path, description = "The batch.")),
    responses((status = 202, description = "It will stop; the batch as it is now.", body = Batch)),
    extensions(("x-errors" = json!(["batch_not_found", "already_finished"]))),
    security(("bearer" = ["run"])),
)]
pub(crate) async fn cancel(State(app): Cx, Path(id): Path<BatchId>) -> Result<(StatusCode, Json<Batch>), Problem> {
    match app.executor.cancel_batch(id).await? {
        Cancelled::Requested => {
            let batch = app.executions.batch(id).await?.ok_or_else(|| not_found(id))?;
            Ok((StatusCode::ACCEPTED, Json(batch)))
        }
        Cancelled::AlreadyFinished => {
            Err(Problem::new(ErrorCode::AlreadyFinished, format!("batch `{id}` is finished")))
        }
        Cancelled::NotFound => Err(not_found(id)),
    }
}
