//! `GET /api/v1/flows/{id}`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use testmesh_shared::ids::FlowId;
use testmesh_storage::StoredFlow;

use super::{not_found, yaml_text};
use crate::etag;
use crate::extract::path::Path;
use crate::handlers::{Cx, versioned};
use crate::negotiate::{self, Representation};
use crate::problem::Problem;

/// One flow, with the text of its newest version.
///
/// With `Accept: application/yaml` the answer is the text alone, byte for byte as it was written.
#[utoipa::path(
    get, path = "/api/v1/flows/{id}", operation_id = "find_flow", tag = "flows",
    params(("id" = FlowId, Path, description = "The flow.")),
    responses((status = 200, description = "The flow, or its text.", content(
        (StoredFlow = "application/json"),
        (String = "application/yaml"),
    ), headers(("etag" = String, description = "Its version in quotes, for `If-Match`.")))),
    extensions(("x-errors" = json!(["flow_not_found", "not_acceptable"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn find(State(app): Cx, Path(id): Path<FlowId>, headers: HeaderMap) -> Result<Response, Problem> {
    let representation = negotiate::representation(&headers)?;
    let flow = app.flows.find(id).await?.ok_or_else(|| not_found(id))?;
    let version = flow.summary.version;
    match representation {
        Representation::Json => Ok(versioned(StatusCode::OK, version, &flow)),
        Representation::Yaml => {
            let mut response = yaml_text(flow.yaml);
            response.headers_mut().insert(header::ETAG, etag::of(version));
            Ok(response)
        }
    }
}
