//! `GET /api/v1/executions/{id}/report`.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use testmesh_runner::report::{self, ReportEntry, ReportFormat};
use testmesh_shared::ids::ExecutionId;
use utoipa::{IntoParams, ToSchema};

use super::not_found;
use crate::extract::path::Path;
use crate::extract::query::{FromQuery, Pairs, Query};
use crate::handlers::Cx;
use crate::problem::Problem;

/// A report is a page of its own with its own style and nothing else.
const REPORT_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; sandbox",
);

/// Which report.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "declares the parameter that `Request` reads, for the OpenAPI document")]
pub(crate) struct Params {
    /// The kind of report.
    #[param(inline)]
    format: Format,
}

/// Kinds of report.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code, reason = "names the words of `format` for the OpenAPI document")]
pub(crate) enum Format {
    /// JUnit XML.
    Junit,
    /// One HTML page.
    Html,
    /// JSON.
    Json,
    /// Test Anything Protocol.
    Tap,
}

/// The report that is asked for.
#[derive(Debug)]
pub(crate) struct Request(pub(crate) ReportFormat);

impl FromQuery for Request {
    fn from_query(pairs: &Pairs<'_>) -> Result<Self, Problem> {
        match pairs.one("format") {
            Some("junit") => Ok(Self(ReportFormat::Junit)),
            Some("html") => Ok(Self(ReportFormat::Html)),
            Some("json") => Ok(Self(ReportFormat::Json)),
            Some("tap") => Ok(Self(ReportFormat::Tap)),
            _ => Err(Problem::invalid("`format` must be `junit`, `html`, `json` or `tap`")),
        }
    }
}

/// A report of an execution.
#[utoipa::path(
    get, path = "/api/v1/executions/{id}/report", operation_id = "report_execution", tag = "executions",
    params(("id" = ExecutionId, Path, description = "The execution."), Params),
    responses((status = 200, description = "The report.", content(
        (String = "application/xml"), (String = "text/html"), (serde_json::Value = "application/json"),
        (String = "text/plain"),
    ))),
    extensions(("x-errors" = json!(["execution_not_found"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn report(
    State(app): Cx,
    Path(id): Path<ExecutionId>,
    Query(Request(format)): Query<Request>,
) -> Result<Response, Problem> {
    let execution = app.executions.find(id).await?.ok_or_else(|| not_found(id))?;
    render(format, vec![ReportEntry { file: None, execution }]).await
}

/// The answer with a report of `entries`.
pub(crate) async fn render(format: ReportFormat, entries: Vec<ReportEntry>) -> Result<Response, Problem> {
    // Rendering a long run takes long enough to keep other requests waiting.
    let text = tokio::task::spawn_blocking(move || report::render(format, &entries)).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(format.content_type())),
        (header::CONTENT_SECURITY_POLICY, REPORT_POLICY),
    ];
    Ok((headers, text).into_response())
}
