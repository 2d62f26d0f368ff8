//! `GET /api/v1/flows/{id}/versions`.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use testmesh_shared::ids::FlowId;
use testmesh_storage::FlowVersion;
use utoipa::ToSchema;

use super::not_found;
use crate::extract::path::Path;
use crate::handlers::Cx;
use crate::problem::Problem;

/// Every version of a flow.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Versions {
    /// Newest first.
    items: Vec<FlowVersion>,
}

/// Every version of a flow with its text, newest first.
#[utoipa::path(
    get, path = "/api/v1/flows/{id}/versions", operation_id = "list_flow_versions", tag = "flows",
    params(("id" = FlowId, Path, description = "The flow.")),
    responses((status = 200, description = "Its versions.", body = Versions)),
    extensions(("x-errors" = json!(["flow_not_found"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn versions(State(app): Cx, Path(id): Path<FlowId>) -> Result<Json<Versions>, Problem> {
    let items = app.flows.versions(id).await?.ok_or_else(|| not_found(id))?;
    Ok(Json(Versions { items }))
}
