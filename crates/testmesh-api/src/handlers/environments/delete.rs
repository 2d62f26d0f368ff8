//! `DELETE /api/v1/environments/{name}`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::{not_found, update};
use crate::etag::IfMatch;
use crate::extract::path::{Path, Word};
use crate::handlers::Cx;
use crate::problem::Problem;

/// Deletes an environment.
#[utoipa::path(
    delete, path = "/api/v1/environments/{name}", operation_id = "delete_environment", tag = "environments",
    params(
        ("name" = String, Path, description = "Its name.", min_length = 1, max_length = 255,
            pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"),
        ("if-match" = Option<String>, Header, description = "The `ETag` the decision is based on.", nullable = false,
            example = "\"1\"", pattern = r#"^(\*|(W/)?"[ -!#-~]*"(, ?(W/)?"[ -!#-~]*")*)$"#),
    ),
    responses((status = 204, description = "It is gone.")),
    extensions(("x-errors" = json!(["environment_not_found", "precondition_failed"]))),
    security(("bearer" = ["write"])),
)]
pub(crate) async fn delete(
    State(app): Cx,
    Path(Word(name)): Path<Word>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let basis = IfMatch::from_headers(&headers)?;
    let expected = update::expected(&app, &name, &basis).await?;
    if app.environments.delete(&name, expected).await? { Ok(StatusCode::NO_CONTENT) } else { Err(not_found(&name)) }
}
