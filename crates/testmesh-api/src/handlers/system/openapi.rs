//! `GET /api/openapi.json`.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::handlers::Cx;

/// This document.
#[utoipa::path(
    get, path = "/api/openapi.json", operation_id = "openapi", tag = "system",
    responses((status = 200, description = "The API's OpenAPI 3.1 document.", body = serde_json::Value)),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn openapi(State(app): Cx) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.openapi.clone()).into_response()
}
