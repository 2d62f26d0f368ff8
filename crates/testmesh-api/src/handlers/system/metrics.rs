//! `GET /metrics`.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::meters::Metrics;
use crate::state::System;

/// What Prometheus calls its text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Counters and histograms in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "system",
    responses((status = 200, description = "What was measured.", body = String, content_type = "text/plain")),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn metrics(State(system): State<System>) -> Response {
    render(&system.metrics)
}

/// The answer on either listener.
pub(crate) fn render(metrics: &Metrics) -> Response {
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], metrics.render()).into_response()
}
