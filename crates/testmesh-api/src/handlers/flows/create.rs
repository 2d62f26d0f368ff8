//! `POST /api/v1/flows`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use testmesh_shared::ids::FlowId;
use testmesh_storage::{NewFlow, StoredFlow};

use crate::definition;
use crate::extract::body::{Body, FlowText};
use crate::handlers::{Cx, located, versioned};
use crate::problem::Problem;

/// Stores a flow.
///
/// The text is checked in full first; every mistake is reported in one go. It is kept byte for byte.
#[utoipa::path(
    post, path = "/api/v1/flows", operation_id = "create_flow", tag = "flows",
    request_body(description = "The flow: its text as YAML, or the text inside JSON.", content(
        (serde_json::Value = "application/yaml", example = json!({
            "name": "ping", "steps": [{"action": "log", "config": {"message": "hello"}}],
        })),
        (FlowText = "application/json"),
    )),
    responses((status = 201, description = "The stored flow.", body = StoredFlow, headers(
        ("location" = String, description = "Path of the flow."),
        ("etag" = String, description = "Its version in quotes, for `If-Match`."),
    ))),
    extensions(("x-errors" = json!(["name_taken", "invalid_flow"]))),
    security(("bearer" = ["write"])),
)]
pub(crate) async fn create(State(app): Cx, body: Body) -> Result<Response, Problem> {
    let (header, yaml) = definition::require(body.flow_text()?, &app.plugins).await?;
    let flow = NewFlow { id: FlowId::generate(&*app.system.clock), header, yaml };
    let stored = app.flows.create(flow).await?;
    let path = format!("/api/v1/flows/{}", stored.summary.id);
    Ok(located(versioned(StatusCode::CREATED, stored.summary.version, &stored), &path))
}
