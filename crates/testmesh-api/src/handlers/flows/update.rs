//! `PUT /api/v1/flows/{id}`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use testmesh_shared::ids::{FlowId, WriteId};
use testmesh_storage::{FlowEdit, FlowHeader, StoredFlow};

use super::not_found;
use crate::definition;
use crate::etag::IfMatch;
use crate::extract::body::{Body, FlowText};
use crate::extract::path::Path;
use crate::handlers::{Cx, versioned};
use crate::problem::Problem;
use crate::state::App;

/// Stores a new version of a flow.
#[utoipa::path(
    put, path = "/api/v1/flows/{id}", operation_id = "update_flow", tag = "flows",
    params(
        ("id" = FlowId, Path, description = "The flow."),
        ("if-match" = Option<String>, Header, description = "The `ETag` the edit is based on.", nullable = false,
            example = "\"1\"", pattern = r#"^(\*|(W/)?"[ -!#-~]*"(, ?(W/)?"[ -!#-~]*")*)$"#),
    ),
    request_body(description = "The flow: its text as YAML, or the text inside JSON.", content(
        (serde_json::Value = "application/yaml", example = json!({
            "name": "ping", "steps": [{"action": "log", "config": {"message": "hello"}}],
        })),
        (FlowText = "application/json"),
    )),
    responses((status = 200, description = "The flow as it is now.", body = StoredFlow, headers(
        ("etag" = String, description = "Its version in quotes, for `If-Match`."),
    ))),
    extensions(("x-errors" = json!(["flow_not_found", "name_taken", "precondition_failed", "invalid_flow"]))),
    security(("bearer" = ["write"])),
)]
pub(crate) async fn update(
    State(app): Cx,
    Path(id): Path<FlowId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let basis = IfMatch::from_headers(&headers)?;
    let (header, yaml) = definition::require(body.flow_text()?, &app.plugins).await?;
    put(&app, id, &basis, (header, yaml)).await
}

/// Stores `content` as the newest version of the flow.
pub(super) async fn put(
    app: &App,
    id: FlowId,
    basis: &IfMatch,
    content: (FlowHeader, String),
) -> Result<Response, Problem> {
    let expected = expected(app, id, basis).await?;
    let (header, yaml) = content;
    let edit = FlowEdit { write: WriteId::generate(&*app.system.clock), header, yaml, expected };
    let stored = app.flows.update(id, edit).await?.ok_or_else(|| not_found(id))?;
    Ok(versioned(StatusCode::OK, stored.summary.version, &stored))
}

/// The version that must be stored for the edit to go through.
pub(super) async fn expected(app: &App, id: FlowId, basis: &IfMatch) -> Result<Option<u32>, Problem> {
    if let Ok(expected) = basis.single() {
        return Ok(expected);
    }
    let current = app.flows.find(id).await?.ok_or_else(|| not_found(id))?;
    Ok(basis.expected(current.summary.version))
}
