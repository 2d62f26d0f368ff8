//! `GET /readyz`.

use std::fmt::Write;

use axum::extract::State;
use axum::http::StatusCode;

use crate::state::{CheckOutcome, System};

/// Whether this replica can serve.
///
/// One line for each part it needs: its name and `ok`, `degraded` (it works, but not as it should) or `failing`.
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
pub(crate) async fn readyz(State(system): State<System>) -> (StatusCode, String) {
    let outcomes = check(&system).await;
    let mut text = String::new();
    for (name, outcome) in &outcomes {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {}", word(*outcome));
    }
    (status(&outcomes), text)
}

/// Every part and whether it answers, asked side by side.
pub(super) async fn check(system: &System) -> Vec<(&'static str, CheckOutcome)> {
    let mut outcomes =
        futures::future::join_all(system.checks.iter().map(|check| async { (check.name, check.outcome().await) }))
            .await;
    if system.stopping.is_cancelled() {
        outcomes.push(("stopping", CheckOutcome::Failing));
    }
    outcomes
}

/// 200 when everything does its work.
pub(super) fn status(outcomes: &[(&'static str, CheckOutcome)]) -> StatusCode {
    let fails = outcomes.iter().any(|(_, outcome)| *outcome == CheckOutcome::Failing);
    if fails { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

/// How an outcome is called.
fn word(outcome: CheckOutcome) -> &'static str {
    match outcome {
        CheckOutcome::Ok => "ok",
        CheckOutcome::Degraded => "degraded",
        CheckOutcome::Failing => "failing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Check;

    #[tokio::test]
    async fn a_part_that_makes_do_is_named_and_does_not_keep_the_server_from_serving() {
        let outcome = async |answer: Result<Option<String>, String>| {
            Check::with_note("stream", move || std::future::ready(answer.clone())).outcome().await
        };
        let degraded = outcome(Ok(Some("away".to_owned()))).await;
        assert_eq!((word(degraded), status(&[("stream", degraded)])), ("degraded", StatusCode::OK));
        let failing = outcome(Err("away".to_owned())).await;
        assert_eq!((word(failing), status(&[("stream", failing)])), ("failing", StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(word(outcome(Ok(None)).await), "ok");
    }
}
