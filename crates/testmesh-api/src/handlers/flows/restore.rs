//! `POST /api/v1/flows/{id}/versions/{version}/restore`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use testmesh_shared::ids::FlowId;
use testmesh_storage::StoredFlow;

use super::{find_version, update};
use crate::definition;
use crate::etag::IfMatch;
use crate::extract::path::{Path, VersionNumber};
use crate::handlers::Cx;
use crate::problem::Problem;

/// Makes an old version's text the newest version.
///
/// The text is checked again: a version that was stored under older rules may not pass today's.
#[utoipa::path(
    post, path = "/api/v1/flows/{id}/versions/{version}/restore", operation_id = "restore_flow_version", tag = "flows",
    params(
        ("id" = FlowId, Path, description = "The flow."),
        ("version" = u32, Path, description = "The version, from 1.", minimum = 1, maximum = 4_294_967_295_u32),
        ("if-match" = Option<String>, Header, description = "The `ETag` the decision is based on.", nullable = false,
            example = "\"1\"", pattern = r#"^(\*|(W/)?"[ -!#-~]*"(, ?(W/)?"[ -!#-~]*")*)$"#),
    ),
    responses((status = 200, description = "The flow as it is now.", body = StoredFlow, headers(
        ("etag" = String, description = "Its version in quotes, for `If-Match`."),
    ))),
    extensions(("x-errors" = json!([
        "flow_not_found", "version_not_found", "name_taken", "precondition_failed", "invalid_flow",
    ]))),
    security(("bearer" = ["write"])),
)]
pub(crate) async fn restore(
    State(app): Cx,
    Path((id, VersionNumber(number))): Path<(FlowId, VersionNumber)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let basis = IfMatch::from_headers(&headers)?;
    let version = find_version::load(&app, id, number).await?;
    let content = definition::require(version.yaml, &app.plugins).await?;
    update::put(&app, id, &basis, content).await
}
