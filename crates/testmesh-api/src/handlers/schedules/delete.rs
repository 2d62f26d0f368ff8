//! `DELETE /api/v1/schedules/{id}`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use testmesh_shared::ids::ScheduleId;

use super::{not_found, update};
use crate::etag::IfMatch;
use crate::extract::path::Path;
use crate::handlers::Cx;
use crate::problem::Problem;

/// Deletes a schedule. Its jobs stay; those that no runner was told of do not run.
#[utoipa::path(
    delete, path = "/api/v1/schedules/{id}", operation_id = "delete_schedule", tag = "schedules",
    params(
        ("id" = ScheduleId, Path, description = "The schedule."),
        ("if-match" = Option<String>, Header, description = "The `ETag` the decision is based on.", nullable = false,
            example = "\"1\"", pattern = r#"^(\*|(W/)?"[ -!#-~]*"(, ?(W/)?"[ -!#-~]*")*)$"#),
    ),
    responses((status = 204, description = "It is gone.")),
    extensions(("x-errors" = json!(["schedule_not_found", "precondition_failed"]))),
    security(("bearer" = ["write"])),
)]
pub(crate) async fn delete(
    State(app): Cx,
    Path(id): Path<ScheduleId>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let basis = IfMatch::from_headers(&headers)?;
    let expected = update::expected(&app, id, &basis).await?;
    if app.scheduler.delete(id, expected).await? { Ok(StatusCode::NO_CONTENT) } else { Err(not_found(id)) }
}
