//! The route table: every route once, with its handler and its documentation.

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware;
use axum::routing::get;
use testmesh_shared::error::ErrorCode;
use tower_http::cors::CorsLayer;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::handlers::system::{docs, errors, health, livez, metrics, openapi as document_route, readyz};
use crate::handlers::{batches, environments, executions, flows, jobs, schedules, suites};
use crate::meters::Metrics;
use crate::problem::Problem;
use crate::state::{ApiState, App, System, SystemState};
use crate::table::RouteTable;
use crate::{guard, home, openapi};

/// Every route over `state`.
pub fn router(state: ApiState) -> Router {
    let (router, mut document) = table().split_for_parts();
    openapi::complete(&mut document);
    let body = document.to_json().expect("the document holds nothing that JSON cannot");
    let cors = cors(&state.system.access.origins);
    let app = Arc::new(App::new(state, RouteTable::read(&document), body.into()));
    let router = router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(System::from_ref(&app), guard::guard))
        .with_state(app);
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

/// The routes about the server itself alone, for a process that does not run the API.
pub fn system_router(state: SystemState) -> Router {
    let (router, document) = system_table::<System>().split_for_parts();
    let system = System::new(state, RouteTable::read(&document));
    router
        .fallback(no_system_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(system.clone(), guard::guard))
        .with_state(system)
}

/// `/metrics` alone, without tokens, for a listener of its own.
pub fn metrics_router(metrics: Metrics) -> Router {
    Router::new().route("/metrics", get(move || async move { metrics::render(&metrics) }))
}

/// The API's document, complete.
pub(crate) fn document() -> OpenApi {
    let (_, mut document) = table().split_for_parts();
    openapi::complete(&mut document);
    document
}

/// The routes about the server itself.
fn system_table<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    System: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(livez::livez))
        .routes(routes!(readyz::readyz))
        .routes(routes!(health::health))
        .routes(routes!(metrics::metrics))
}

fn table() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::Api::openapi())
        .routes(routes!(home::home))
        .merge(system_table())
        .routes(routes!(document_route::openapi))
        .routes(routes!(docs::docs))
        .routes(routes!(docs::docs_file))
        .routes(routes!(errors::docs_error))
        .routes(routes!(flows::create::create, flows::list::list))
        .routes(routes!(flows::validate::validate))
        .routes(routes!(flows::find::find, flows::update::update, flows::delete::delete))
        .routes(routes!(flows::versions::versions))
        .routes(routes!(flows::find_version::find_version))
        .routes(routes!(flows::restore::restore))
        .routes(routes!(flows::run::run))
        .routes(routes!(executions::run::run, executions::list::list))
        .routes(routes!(executions::find::find))
        .routes(routes!(executions::find_step::find_step))
        .routes(routes!(executions::events::events))
        .routes(routes!(executions::socket::socket))
        .routes(routes!(executions::cancel::cancel))
        .routes(routes!(executions::report::report))
        .routes(routes!(suites::run::run))
        .routes(routes!(batches::find::find))
        .routes(routes!(batches::report::report))
        .routes(routes!(batches::cancel::cancel))
        .routes(routes!(schedules::create::create, schedules::list::list))
        .routes(routes!(schedules::preview::preview))
        .routes(routes!(schedules::find::find, schedules::update::update, schedules::delete::delete))
        .routes(routes!(schedules::pause::pause))
        .routes(routes!(schedules::resume::resume))
        .routes(routes!(schedules::trigger::trigger))
        .routes(routes!(schedules::jobs::list))
        .routes(routes!(jobs::list::list))
        .routes(routes!(jobs::find::find))
        .routes(routes!(jobs::retry::retry))
        .routes(routes!(environments::create::create, environments::list::list))
        .routes(routes!(environments::find::find, environments::update::update, environments::delete::delete))
}

async fn no_route() -> Problem {
    Problem::new(ErrorCode::RouteNotFound, "no route at this path; `/api/openapi.json` lists them all")
}

async fn no_system_route() -> Problem {
    Problem::new(
        ErrorCode::RouteNotFound,
        "no route at this path; this process does not run the API, and answers only at `/livez`, `/readyz`, `/health` and \
         `/metrics`",
    )
}

async fn no_method() -> Problem {
    Problem::new(ErrorCode::MethodNotAllowed, "this path does not take this method; `Allow` lists those it takes")
}

/// Pages of `origins` may call; no layer at all when there are none.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origins: Vec<_> = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
    let allowed = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::ACCEPT,
        header::IF_MATCH,
        HeaderName::from_static("idempotency-key"),
        HeaderName::from_static("last-event-id"),
        HeaderName::from_static("x-request-id"),
    ];
    let exposed = [header::ETAG, header::LOCATION, header::RETRY_AFTER, HeaderName::from_static("x-request-id")];
    let methods = [Method::GET, Method::POST, Method::PUT, Method::DELETE];
    Some(CorsLayer::new().allow_origin(origins).allow_headers(allowed).expose_headers(exposed).allow_methods(methods))
}
