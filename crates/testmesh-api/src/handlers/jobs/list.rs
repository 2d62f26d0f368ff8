//! `GET /api/v1/jobs`.

use axum::Json;
use axum::extract::State;
use testmesh_scheduler::{Job, JobFilter, JobStatus};
use testmesh_shared::ids::ScheduleId;
use testmesh_shared::page::PageRequest;
use utoipa::IntoParams;

use super::status;
use crate::extract::query::{FromQuery, Pairs, Query};
use crate::handlers::Cx;
use crate::page::{self, PageBody, PageParams};
use crate::problem::Problem;

/// Which jobs.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "declares the parameters that `Request` reads, for the OpenAPI document")]
pub(crate) struct Params {
    /// As far as this: `dead` lists those that came to no verdict.
    #[param(nullable = false)]
    status: Option<JobStatus>,
    /// Of this schedule, also when it is deleted; listed by the time that they are for.
    #[param(nullable = false)]
    schedule_id: Option<ScheduleId>,
}

/// A page of jobs and which jobs it is of.
#[derive(Debug)]
pub(crate) struct Request {
    filter: JobFilter,
    page: PageRequest,
}

impl FromQuery for Request {
    fn from_query(pairs: &Pairs<'_>) -> Result<Self, Problem> {
        let schedule_id = pairs.uuid("schedule_id")?.map(ScheduleId::from);
        Ok(Self { filter: JobFilter { schedule_id, status: status(pairs)? }, page: page::request(pairs)? })
    }
}

/// Jobs of every schedule, newest first.
#[utoipa::path(
    get, path = "/api/v1/jobs", operation_id = "list_jobs", tag = "jobs",
    params(Params, PageParams),
    responses((status = 200, description = "A page of jobs.", body = PageBody<Job>)),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn list(State(app): Cx, Query(request): Query<Request>) -> Result<Json<PageBody<Job>>, Problem> {
    Ok(Json(app.scheduler.list_jobs(&request.filter, request.page).await?.into()))
}
