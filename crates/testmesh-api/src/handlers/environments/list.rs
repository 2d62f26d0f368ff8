//! `GET /api/v1/environments`.

use axum::Json;
use axum::extract::State;
use testmesh_shared::page::PageRequest;
use testmesh_storage::Environment;

use crate::extract::query::{FromQuery, Pairs, Query};
use crate::handlers::Cx;
use crate::page::{self, PageBody, PageParams};
use crate::problem::Problem;

/// Which page of environments.
#[derive(Debug)]
pub(crate) struct Request(PageRequest);

impl FromQuery for Request {
    fn from_query(pairs: &Pairs<'_>) -> Result<Self, Problem> {
        page::request(pairs).map(Self)
    }
}

/// Environments, newest first.
#[utoipa::path(
    get, path = "/api/v1/environments", operation_id = "list_environments", tag = "environments",
    params(PageParams),
    responses((status = 200, description = "A page of environments.", body = PageBody<Environment>)),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn list(
    State(app): Cx,
    Query(Request(page)): Query<Request>,
) -> Result<Json<PageBody<Environment>>, Problem> {
    Ok(Json(app.environments.list(page).await?.into()))
}
