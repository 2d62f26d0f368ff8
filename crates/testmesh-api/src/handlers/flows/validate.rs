//! `POST /api/v1/flows/validate`.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use testmesh_runner::diagnostic::Diagnostic;
use utoipa::ToSchema;

use crate::definition;
use crate::extract::body::{Body, FlowText};
use crate::handlers::Cx;
use crate::problem::Problem;

/// What the checks found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Validation {
    /// Whether the flow could be stored and run: none of the findings is an error.
    valid: bool,
    /// Every finding, warnings included.
    diagnostics: Vec<Diagnostic>,
}

/// Checks a flow as storing it would, and stores nothing.
#[utoipa::path(
    post, path = "/api/v1/flows/validate", operation_id = "validate_flow", tag = "flows",
    request_body(description = "The flow: its text as YAML, or the text inside JSON.", content(
        (serde_json::Value = "application/yaml", example = json!({
            "name": "ping", "steps": [{"action": "log", "config": {"message": "hello"}}],
        })),
        (FlowText = "application/json"),
    )),
    responses((status = 200, description = "What the checks found.", body = Validation)),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn validate(State(app): Cx, body: Body) -> Result<Json<Validation>, Problem> {
    let checked = definition::check(body.flow_text()?, &app.plugins).await?;
    Ok(Json(Validation { valid: checked.header.is_some(), diagnostics: checked.diagnostics }))
}
