//! `POST /api/v1/schedules/{id}/trigger`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use testmesh_scheduler::{Job, NewTrigger};
use testmesh_shared::ids::{JobId, ScheduleId};

use super::not_found;
use crate::extract::header;
use crate::extract::path::Path;
use crate::handlers::{Cx, jobs, located};
use crate::problem::Problem;

/// Fires a schedule now, whether it is paused or a run of it is going.
#[utoipa::path(
    post, path = "/api/v1/schedules/{id}/trigger", operation_id = "trigger_schedule", tag = "schedules",
    params(
        ("id" = ScheduleId, Path, description = "The schedule."),
        ("idempotency-key" = Option<String>, Header, nullable = false, pattern = "^[!-~]{1,255}$",
            min_length = 1, max_length = 255,
            description = "A key of the caller's: the same key gives the first job again, for as long as it is kept."),
    ),
    responses((status = 202, description = "The job; it is not finished.", body = Job, headers(
        ("location" = String, description = "Path of the job."),
    ))),
    extensions(("x-errors" = json!(["schedule_not_found"]))),
    security(("bearer" = ["run"])),
)]
pub(crate) async fn trigger(
    State(app): Cx,
    Path(id): Path<ScheduleId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let key = header::idempotency_key(&headers)?.map(str::to_owned);
    let trigger = NewTrigger { job_id: JobId::generate(&*app.system.clock), key };
    let job = app.scheduler.trigger(id, trigger).await?.ok_or_else(|| not_found(id))?;
    let path = jobs::path(job.id);
    Ok(located((StatusCode::ACCEPTED, Json(job)).into_response(), &path))
}
