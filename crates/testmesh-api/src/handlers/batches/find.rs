//! `GET /api/v1/batches/{id}`.

use axum::Json;
use axum::extract::State;
use testmesh_runner::record::Batch;
use testmesh_shared::ids::BatchId;

use super::not_found;
use crate::extract::path::Path;
use crate::handlers::Cx;
use crate::problem::Problem;

/// A batch, with how many of its executions are in each state.
///
/// `GET /api/v1/executions?batch_id=…` lists them.
#[utoipa::path(
    get, path = "/api/v1/batches/{id}", operation_id = "find_batch", tag = "batches",
    params(("id" = BatchId, Path, description = "The batch.")),
    responses((status = 200, description = "The batch.", body = Batch)),
    extensions(("x-errors" = json!(["batch_not_found"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn find(State(app): Cx, Path(id): Path<BatchId>) -> Result<Json<Batch>, Problem> {
    app.executions.batch(id).await?.map(Json).ok_or_else(|| not_found(id))
}
