//! `GET /api/v1/environments/{name}`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use testmesh_storage::Environment;

use super::not_found;
use crate::extract::path::{Path, Word};
use crate::handlers::{Cx, versioned};
use crate::problem::Problem;

/// One environment.
#[utoipa::path(
    get, path = "/api/v1/environments/{name}", operation_id = "find_environment", tag = "environments",
    params(("name" = String, Path, description = "Its name.", min_length = 1, max_length = 255,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")),
    responses((status = 200, description = "The environment.", body = Environment, headers(
        ("etag" = String, description = "Its revision in quotes, for `If-Match`."),
    ))),
    extensions(("x-errors" = json!(["environment_not_found"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn find(State(app): Cx, Path(Word(name)): Path<Word>) -> Result<Response, Problem> {
    let environment = app.environments.find(&name).await?.ok_or_else(|| not_found(&name))?;
    Ok(versioned(StatusCode::OK, environment.revision, &environment))
}
