//! `POST /api/v1/jobs/{id}/retry`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use testmesh_scheduler::Job;
use testmesh_shared::ids::JobId;

use super::{not_found, path};
use crate::extract::path::Path;
use crate::handlers::{Cx, located};
use crate::problem::Problem;

/// Gives a dead job one attempt more, now.
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/retry", operation_id = "retry_job", tag = "jobs",
    params(("id" = JobId, Path, description = "The job.")),
    responses((status = 202, description = "The job; it is not finished.", body = Job, headers(
        ("location" = String, description = "Path of the job."),
    ))),
    extensions(("x-errors" = json!(["job_not_found", "job_not_dead"]))),
    security(("bearer" = ["run"])),
)]
pub(crate) async fn retry(State(app): Cx, Path(id): Path<JobId>) -> Result<Response, Problem> {
    let job = app.scheduler.find_job(id).await?.ok_or_else(|| not_found(id))?;
    let job = app.scheduler.retry_job(id, job.attempt).await?.ok_or_else(|| not_found(id))?;
    Ok(located((StatusCode::ACCEPTED, Json(job)).into_response(), &path(id)))
}
