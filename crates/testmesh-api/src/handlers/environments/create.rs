//! `POST /api/v1/environments`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use indexmap::IndexMap;
use serde::Deserialize;
use testmesh_shared::ids::EnvironmentId;
use testmesh_storage::{Environment, NewEnvironment};
use utoipa::ToSchema;

use super::{check_description, check_name, check_variables, path};
use crate::extract::body::Body;
use crate::handlers::{Cx, located, versioned};
use crate::problem::Problem;

/// An environment to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateEnvironment {
    /// Unique; 1 to 255 characters, none of them a control character.
    #[schema(min_length = 1, max_length = 255, example = "staging")]
    name: String,
    /// What it is for.
    description: Option<String>,
    /// Name to value; any JSON value. An object with the key `secret` is a secret, which needs a sealing key.
    #[serde(default)]
    variables: IndexMap<String, serde_json::Value>,
}

/// Stores an environment.
#[utoipa::path(
    post, path = "/api/v1/environments", operation_id = "create_environment", tag = "environments",
    request_body(content = CreateEnvironment, description = "The environment."),
    responses((status = 201, description = "The stored environment.", body = Environment, headers(
        ("location" = String, description = "Path of the environment."),
        ("etag" = String, description = "Its revision in quotes, for `If-Match`."),
    ))),
    extensions(("x-errors" = json!(["name_taken", "secrets_unavailable"]))),
    security(("bearer" = ["write"])),
)]
pub(crate) async fn create(State(app): Cx, body: Body) -> Result<Response, Problem> {
    let CreateEnvironment { name, description, variables } = body.json()?;
    check_name(&name)?;
    check_description(description.as_deref())?;
    check_variables(&variables)?;
    let id = EnvironmentId::generate(&*app.system.clock);
    let stored = app.environments.create(id, NewEnvironment { name, description, variables }).await?;
    Ok(located(versioned(StatusCode::CREATED, stored.revision, &stored), &path(&stored.name)))
}
