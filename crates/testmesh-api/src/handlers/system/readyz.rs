//! `GET /readyz`.

use std::fmt::Write;

use axum::extract::State;
use axum::http::StatusCode;

use crate::handlers::Cx;
use crate::state::App;

/// Whether this replica can serve.
///
/// One line for each part it needs: its name and `ok` or `failing`.
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz", tag = "system",
    responses(
        (status = 200, description = "It can serve.", body = String, content_type = "text/plain",
            example = "flows_database: ok\n"),
        (status = 503, description = "It cannot, or is stopping.", body = String, content_type = "text/plain",
            example = "stopping: failing\n"),
    ),
    security(()),
)]
pub(crate) async fn readyz(State(app): Cx) -> (StatusCode, String) {
    let outcomes = check(&app).await;
    let mut text = String::new();
    for (name, holds) in &outcomes {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {}", word(*holds));
    }
    (status(&outcomes), text)
}

/// Every part and whether it answers, asked side by side.
pub(super) async fn check(app: &App) -> Vec<(&'static str, bool)> {
    let mut outcomes =
        futures::future::join_all(app.checks.iter().map(|check| async { (check.name, check.holds().await) })).await;
    if app.stopping.is_cancelled() {
        outcomes.push(("stopping", false));
    }
    outcomes
}

/// 200 when everything holds.
pub(super) fn status(outcomes: &[(&'static str, bool)]) -> StatusCode {
    if outcomes.iter().all(|(_, holds)| *holds) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// How an outcome is called.
pub(super) fn word(holds: bool) -> &'static str {
    if holds { "ok" } else { "failing" }
}
