//! Stored flows and their versions.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod find;
pub(crate) mod find_version;
pub(crate) mod list;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod update;
pub(crate) mod validate;
pub(crate) mod versions;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::FlowId;

use crate::problem::Problem;

/// The media type of a flow's text (RFC 9512).
const YAML: &str = "application/yaml";

fn not_found(id: FlowId) -> Problem {
    Problem::new(ErrorCode::FlowNotFound, format!("flow `{id}` does not exist"))
}

fn yaml_text(text: String) -> Response {
    ([(header::CONTENT_TYPE, YAML)], text).into_response()
}
