//! `GET /api/v1/executions/{id}`.

use axum::Json;
use axum::extract::State;
use testmesh_runner::record::Execution;
use testmesh_shared::ids::ExecutionId;

use super::not_found;
use crate::extract::path::Path;
use crate::handlers::Cx;
use crate::problem::Problem;

/// One execution with its steps, and the flow's version and text as they were when it ran.
#[utoipa::path(
    get, path = "/api/v1/executions/{id}", operation_id = "find_execution", tag = "executions",
    params(("id" = ExecutionId, Path, description = "The execution.")),
    responses((status = 200, description = "The execution.", body = Execution)),
    extensions(("x-errors" = json!(["execution_not_found"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn find(State(app): Cx, Path(id): Path<ExecutionId>) -> Result<Json<Execution>, Problem> {
    app.executions.find(id).await?.map(Json).ok_or_else(|| not_found(id))
}
