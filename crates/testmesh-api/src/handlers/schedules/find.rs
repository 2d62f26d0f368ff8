//! `GET /api/v1/schedules/{id}`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use testmesh_scheduler::Schedule;
use testmesh_shared::ids::ScheduleId;

use super::not_found;
use crate::extract::path::Path;
use crate::handlers::{Cx, versioned};
use crate::problem::Problem;

/// One schedule, and when it fires next.
#[utoipa::path(
    get, path = "/api/v1/schedules/{id}", operation_id = "find_schedule", tag = "schedules",
    params(("id" = ScheduleId, Path, description = "The schedule.")),
    responses((status = 200, description = "The schedule.", body = Schedule, headers(
        ("etag" = String, description = "Its revision in quotes, for `If-Match`."),
    ))),
    extensions(("x-errors" = json!(["schedule_not_found"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn find(State(app): Cx, Path(id): Path<ScheduleId>) -> Result<Response, Problem> {
    let schedule = app.scheduler.find(id).await?.ok_or_else(|| not_found(id))?;
    Ok(versioned(StatusCode::OK, schedule.revision, &schedule))
}
