//! `GET /api/v1/jobs/{id}`.

use axum::Json;
use axum::extract::State;
use testmesh_scheduler::Job;
use testmesh_shared::ids::JobId;

use super::not_found;
use crate::extract::path::Path;
use crate::handlers::Cx;
use crate::problem::Problem;

/// One job: how far it is, and why it did not run or died.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}", operation_id = "find_job", tag = "jobs",
    params(("id" = JobId, Path, description = "The job.")),
    responses((status = 200, description = "The job.", body = Job)),
    extensions(("x-errors" = json!(["job_not_found"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn find(State(app): Cx, Path(id): Path<JobId>) -> Result<Json<Job>, Problem> {
    Ok(Json(app.scheduler.find_job(id).await?.ok_or_else(|| not_found(id))?))
}
