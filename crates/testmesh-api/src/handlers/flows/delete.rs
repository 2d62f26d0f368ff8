//! `DELETE /api/v1/flows/{id}`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use testmesh_shared::ids::FlowId;

use super::{not_found, update};
use crate::etag::IfMatch;
use crate::extract::path::Path;
use crate::handlers::Cx;
use crate::problem::Problem;

/// Takes a flow out of the lists.
///
/// Its executions stay readable, and its name is free again.
#[utoipa::path(
    delete, path = "/api/v1/flows/{id}", operation_id = "delete_flow", tag = "flows",
    params(
        ("id" = FlowId, Path, description = "The flow."),
        ("if-match" = Option<String>, Header, description = "The `ETag` the decision is based on.", nullable = false,
            example = "\"1\"", pattern = r#"^(\*|(W/)?"[ -!#-~]*"(, ?(W/)?"[ -!#-~]*")*)$"#),
    ),
    responses((status = 204, description = "It is gone.")),
    extensions(("x-errors" = json!(["flow_not_found", "precondition_failed"]))),
    security(("bearer" = ["write"])),
)]
pub(crate) async fn delete(State(app): Cx, Path(id): Path<FlowId>, headers: HeaderMap) -> Result<StatusCode, Problem> {
    let basis = IfMatch::from_headers(&headers)?;
    let expected = update::expected(&app, id, &basis).await?;
    if app.flows.delete(id, expected).await? { Ok(StatusCode::NO_CONTENT) } else { Err(not_found(id)) }
}
