//! `POST /api/v1/schedules/{id}/pause`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use testmesh_scheduler::Schedule;
use testmesh_shared::ids::ScheduleId;

use super::not_found;
use crate::extract::path::Path;
use crate::handlers::{Cx, versioned};
use crate::problem::Problem;

/// Stops a schedule from firing until it is resumed. What fired already runs. Nothing changes when it is paused already.
#[utoipa::path(
    post, path = "/api/v1/schedules/{id}/pause", operation_id = "pause_schedule", tag = "schedules",
    params(("id" = ScheduleId, Path, description = "The schedule.")),
    responses((status = 200, description = "The schedule as it is now.", body = Schedule, headers(
        ("etag" = String, description = "Its revision in quotes, for `If-Match`."),
    ))),
    extensions(("x-errors" = json!(["schedule_not_found"]))),
    security(("bearer" = ["write"])),
)]
pub(crate) async fn pause(State(app): Cx, Path(id): Path<ScheduleId>) -> Result<Response, Problem> {
    let schedule = app.scheduler.pause(id).await?.ok_or_else(|| not_found(id))?;
    Ok(versioned(StatusCode::OK, schedule.revision, &schedule))
}
