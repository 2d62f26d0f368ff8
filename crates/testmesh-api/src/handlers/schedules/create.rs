//! `POST /api/v1/schedules`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use testmesh_scheduler::{NewSchedule, Schedule};
use testmesh_shared::ids::ScheduleId;

use super::path;
use super::spec::ScheduleBody;
use crate::extract::body::Body;
use crate::handlers::{Cx, located, versioned};
use crate::problem::Problem;

/// Stores a schedule; it fires from now on, unless it is to be paused.
#[utoipa::path(
    post, path = "/api/v1/schedules", operation_id = "create_schedule", tag = "schedules",
    request_body(content = ScheduleBody, description = "The schedule."),
    responses((status = 201, description = "The stored schedule.", body = Schedule, headers(
        ("location" = String, description = "Path of the schedule."),
        ("etag" = String, description = "Its revision in quotes, for `If-Match`."),
    ))),
    extensions(("x-errors" = json!(["name_taken"]))),
    security(("bearer" = ["write"])),
)]
pub(crate) async fn create(State(app): Cx, body: Body) -> Result<Response, Problem> {
    let body: ScheduleBody = body.json()?;
    let enabled = body.enabled.unwrap_or(true);
    let spec = body.check(&app).await?;
    let new = NewSchedule { id: ScheduleId::generate(&*app.system.clock), spec, enabled };
    let stored = app.scheduler.create(new).await?;
    Ok(located(versioned(StatusCode::CREATED, stored.revision, &stored), &path(stored.id)))
}
