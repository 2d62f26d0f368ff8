//! `GET /api/v1/schedules/{id}/jobs`.

use axum::Json;
use axum::extract::State;
use testmesh_scheduler::{Job, JobFilter, JobStatus};
use testmesh_shared::ids::ScheduleId;
use testmesh_shared::page::PageRequest;
use utoipa::IntoParams;

use super::not_found;
use crate::extract::path::Path;
use crate::extract::query::{FromQuery, Pairs, Query};
use crate::handlers::{Cx, jobs};
use crate::page::{self, PageBody, PageParams};
use crate::problem::Problem;

/// Which jobs.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "declares the parameter that `Request` reads, for the OpenAPI document")]
pub(crate) struct Params {
    /// As far as this.
    #[param(nullable = false)]
    status: Option<JobStatus>,
}

/// A page of jobs and which jobs it is of.
#[derive(Debug)]
pub(crate) struct Request {
    status: Option<JobStatus>,
    page: PageRequest,
}

impl FromQuery for Request {
    fn from_query(pairs: &Pairs<'_>) -> Result<Self, Problem> {
        Ok(Self { status: jobs::status(pairs)?, page: page::request(pairs)? })
    }
}

/// What became of each firing of a schedule, newest first by the time that it is for.
#[utoipa::path(
    get, path = "/api/v1/schedules/{id}/jobs", operation_id = "list_schedule_jobs", tag = "schedules",
    params(("id" = ScheduleId, Path, description = "The schedule."), Params, PageParams),
    responses((status = 200, description = "A page of jobs.", body = PageBody<Job>)),
    extensions(("x-errors" = json!(["schedule_not_found"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn list(
    State(app): Cx,
    Path(id): Path<ScheduleId>,
    Query(request): Query<Request>,
) -> Result<Json<PageBody<Job>>, Problem> {
    app.scheduler.find(id).await?.ok_or_else(|| not_found(id))?;
    let filter = JobFilter { schedule_id: Some(id), status: request.status };
    Ok(Json(app.scheduler.list_jobs(&filter, request.page).await?.into()))
}
