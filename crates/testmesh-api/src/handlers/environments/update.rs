//! `PUT /api/v1/environments/{name}`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use indexmap::IndexMap;
use serde::Deserialize;
use testmesh_shared::ids::WriteId;
use testmesh_storage::{Environment, EnvironmentEdit, NewEnvironment};
use utoipa::ToSchema;

use super::{check_description, check_name, check_variables, not_found};
use crate::etag::IfMatch;
use crate::extract::body::Body;
use crate::extract::path::{Path, Word};
use crate::handlers::{Cx, versioned};
use crate::problem::Problem;
use crate::state::App;

/// What to put in an environment's place.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateEnvironment {
    /// A new name; the name stays when it is left out.
    #[schema(min_length = 1, max_length = 255, example = "staging")]
    name: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// Name to value; any JSON value. An object with the key `secret` is a secret, which needs a sealing key.
    #[serde(default)]
    variables: IndexMap<String, serde_json::Value>,
}

/// Puts other content in an environment's place.
#[utoipa::path(
    put, path = "/api/v1/environments/{name}", operation_id = "update_environment", tag = "environments",
    params(
        ("name" = String, Path, description = "Its name.", min_length = 1, max_length = 255,
            pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"),
        ("if-match" = Option<String>, Header, description = "The `ETag` the edit is based on.", nullable = false,
            example = "\"1\"", pattern = r#"^(\*|(W/)?"[ -!#-~]*"(, ?(W/)?"[ -!#-~]*")*)$"#),
    ),
    request_body(content = UpdateEnvironment, description = "The whole new content."),
    responses((status = 200, description = "The environment as it is now.", body = Environment, headers(
        ("etag" = String, description = "Its revision in quotes, for `If-Match`."),
    ))),
    extensions(("x-errors" = json!([
        "environment_not_found", "name_taken", "precondition_failed", "secrets_unavailable",
    ]))),
    security(("bearer" = ["write"])),
)]
pub(crate) async fn update(
    State(app): Cx,
    Path(Word(name)): Path<Word>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let basis = IfMatch::from_headers(&headers)?;
    let content: UpdateEnvironment = body.json()?;
    let new_name = content.name.unwrap_or_else(|| name.clone());
    check_name(&new_name)?;
    check_description(content.description.as_deref())?;
    check_variables(&content.variables)?;
    let expected = expected(&app, &name, &basis).await?;
    let environment = NewEnvironment { name: new_name, description: content.description, variables: content.variables };
    let edit = EnvironmentEdit { write: WriteId::generate(&*app.system.clock), environment, expected };
    let stored = app.environments.update(&name, edit).await?.ok_or_else(|| not_found(&name))?;
    Ok(versioned(StatusCode::OK, stored.revision, &stored))
}

/// The revision that must be stored for the edit to go through.
pub(super) async fn expected(app: &App, name: &str, basis: &IfMatch) -> Result<Option<u32>, Problem> {
    if let Ok(expected) = basis.single() {
        return Ok(expected);
    }
    let current = app.environments.find(name).await?.ok_or_else(|| not_found(name))?;
    Ok(basis.expected(current.revision))
}
