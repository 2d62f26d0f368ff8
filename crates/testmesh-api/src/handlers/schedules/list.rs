//! `GET /api/v1/schedules`.

use axum::Json;
use axum::extract::State;
use testmesh_scheduler::{Schedule, ScheduleFilter};
use testmesh_shared::ids::FlowId;
use testmesh_shared::page::PageRequest;
use utoipa::IntoParams;

use crate::extract::query::{FromQuery, Pairs, Query};
use crate::handlers::Cx;
use crate::page::{self, PageBody, PageParams};
use crate::problem::Problem;

/// Which schedules.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "declares the parameter that `Request` reads, for the OpenAPI document")]
pub(crate) struct Params {
    /// Of this flow.
    #[param(nullable = false)]
    flow_id: Option<FlowId>,
}

/// A page of schedules and which schedules it is of.
#[derive(Debug)]
pub(crate) struct Request {
    filter: ScheduleFilter,
    page: PageRequest,
}

impl FromQuery for Request {
    fn from_query(pairs: &Pairs<'_>) -> Result<Self, Problem> {
        let filter = ScheduleFilter { flow_id: pairs.uuid("flow_id")?.map(FlowId::from) };
        Ok(Self { filter, page: page::request(pairs)? })
    }
}

/// Schedules, newest first.
#[utoipa::path(
    get, path = "/api/v1/schedules", operation_id = "list_schedules", tag = "schedules",
    params(Params, PageParams),
    responses((status = 200, description = "A page of schedules.", body = PageBody<Schedule>)),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn list(State(app): Cx, Query(request): Query<Request>) -> Result<Json<PageBody<Schedule>>, Problem> {
    Ok(Json(app.scheduler.list(&request.filter, request.page).await?.into()))
}
