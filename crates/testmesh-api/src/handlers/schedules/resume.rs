//! `POST /api/v1/schedules/{id}/resume`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use testmesh_scheduler::Schedule;
use testmesh_shared::ids::ScheduleId;

use super::not_found;
use crate::extract::path::Path;
use crate::handlers::{Cx, versioned};
use crate::problem::Problem;

/// Lets a paused schedule fire again. What it missed leaves one skipped job that says so.
#[utoipa::path(
    post, path = "/api/v1/schedules/{id}/resume", operation_id = "resume_schedule", tag = "schedules",
    params(("id" = ScheduleId, Path, description = "The schedule.")),
    responses((status = 200, description = "The schedule as it is now.", body = Schedule, headers(
        ("etag" = String, description = "Its revision in quotes, for `If-Match`."),
    ))),
    extensions(("x-errors" = json!(["schedule_not_found"]))),
    security(("bearer" = ["write"])),
)]
pub(crate) async fn resume(State(app): Cx, Path(id): Path<ScheduleId>) -> Result<Response, Problem> {
    let schedule = app.scheduler.resume(id).await?.ok_or_else(|| not_found(id))?;
    Ok(versioned(StatusCode::OK, schedule.revision, &schedule))
}
