//! `GET /api/v1/flows/{id}/versions/{version}`.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::FlowId;
use testmesh_storage::FlowVersion;

use super::{not_found, yaml_text};
use crate::extract::path::{Path, VersionNumber};
use crate::handlers::Cx;
use crate::negotiate::{self, Representation};
use crate::problem::Problem;
use crate::state::App;

/// One version of a flow.
///
/// With `Accept: application/yaml` the answer is the text alone, byte for byte as it was written.
#[utoipa::path(
    get, path = "/api/v1/flows/{id}/versions/{version}", operation_id = "find_flow_version", tag = "flows",
    params(
        ("id" = FlowId, Path, description = "The flow."),
        ("version" = u32, Path, description = "The version, from 1.", minimum = 1, maximum = 4_294_967_295_u32),
    ),
    responses((status = 200, description = "The version, or its text.", content(
        (FlowVersion = "application/json"),
        (String = "application/yaml"),
    ))),
    extensions(("x-errors" = json!(["flow_not_found", "version_not_found", "not_acceptable"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn find_version(
    State(app): Cx,
    Path((id, VersionNumber(number))): Path<(FlowId, VersionNumber)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let representation = negotiate::representation(&headers)?;
    let version = load(&app, id, number).await?;
    Ok(match representation {
        Representation::Json => Json(version).into_response(),
        Representation::Yaml => yaml_text(version.yaml),
    })
}

/// The version, or which of flow and version does not exist.
pub(super) async fn load(app: &App, id: FlowId, number: u32) -> Result<FlowVersion, Problem> {
    if app.flows.find(id).await?.is_none() {
        return Err(not_found(id));
    }
    let version = app.flows.version(id, number).await?;
    version.ok_or_else(|| Problem::new(ErrorCode::VersionNotFound, format!("flow `{id}` has no version {number}")))
}
