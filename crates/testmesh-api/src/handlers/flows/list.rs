//! `GET /api/v1/flows`.

use axum::Json;
use axum::extract::State;
use testmesh_shared::page::PageRequest;
use testmesh_storage::{FlowFilter, FlowSummary};
use utoipa::IntoParams;

use crate::extract::path::check_word;
use crate::extract::query::{FromQuery, Pairs, Query};
use crate::handlers::Cx;
use crate::page::{self, PageBody, PageParams};
use crate::problem::Problem;

/// More tags than anyone combines by hand; a bound on the statement's size.
const MAX_TAGS: usize = 20;

/// Which flows.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "declares the parameters that `Request` reads, for the OpenAPI document")]
pub(crate) struct Params {
    /// Part of the name or description, in any case.
    #[param(min_length = 1, max_length = 255, nullable = false)]
    search: Option<String>,
    /// Flows with this tag; when it is given again, with all of them.
    #[param(max_items = 20, nullable = false)]
    tag: Option<Vec<String>>,
    /// Flows of this suite.
    #[param(min_length = 1, max_length = 255, nullable = false)]
    suite: Option<String>,
}

/// A page of flows and which flows it is of.
#[derive(Debug)]
pub(crate) struct Request {
    filter: FlowFilter,
    page: PageRequest,
}

impl FromQuery for Request {
    fn from_query(pairs: &Pairs<'_>) -> Result<Self, Problem> {
        let tags: Vec<_> = pairs.all("tag").map(str::to_owned).collect();
        if tags.len() > MAX_TAGS {
            return Err(Problem::invalid(format!("`tag` may be given at most {MAX_TAGS} times")));
        }
        tags.iter().try_for_each(|tag| check_word("tag", tag))?;
        let filter = FlowFilter { search: pairs.word("search")?, tags, suite: pairs.word("suite")? };
        Ok(Self { filter, page: page::request(pairs)? })
    }
}

/// Flows without their texts, newest first.
#[utoipa::path(
    get, path = "/api/v1/flows", operation_id = "list_flows", tag = "flows",
    params(Params, PageParams),
    responses((status = 200, description = "A page of flows.", body = PageBody<FlowSummary>)),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn list(
    State(app): Cx,
    Query(request): Query<Request>,
) -> Result<Json<PageBody<FlowSummary>>, Problem> {
    Ok(Json(app.flows.list(&request.filter, request.page).await?.into()))
}
