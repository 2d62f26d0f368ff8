//! `GET /health`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use indexmap::IndexMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::readyz;
use crate::state::{CheckOutcome, System};

/// How the server does.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Healthy when every check is `ok`.
    status: HealthStatus,
    /// The server's version.
    version: &'static str,
    /// Each part it needs.
    checks: IndexMap<&'static str, CheckStatus>,
}

/// The sum of the checks.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HealthStatus {
    /// Every check is `ok`.
    Healthy,
    /// At least one is not.
    Degraded,
}

/// One check.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CheckStatus {
    /// It answers.
    Ok,
    /// It works, but not as it should: the stream does without its Redis.
    Degraded,
    /// It does not answer.
    Failing,
}

impl From<CheckOutcome> for CheckStatus {
    fn from(outcome: CheckOutcome) -> Self {
        match outcome {
            CheckOutcome::Ok => CheckStatus::Ok,
            CheckOutcome::Degraded => CheckStatus::Degraded,
            CheckOutcome::Failing => CheckStatus::Failing,
        }
    }
}

/// The same as `/readyz`, for programs.
#[utoipa::path(
    get, path = "/health", operation_id = "health", tag = "system",
    responses(
        (status = 200, description = "It can serve.", body = Health),
        (status = 503, description = "It cannot, or is stopping.", body = Health),
    ),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn health(State(system): State<System>) -> (StatusCode, Json<Health>) {
    let outcomes = readyz::check(&system).await;
    let code = readyz::status(&outcomes);
    let healthy = outcomes.iter().all(|(_, outcome)| *outcome == CheckOutcome::Ok);
    let status = if healthy { HealthStatus::Healthy } else { HealthStatus::Degraded };
    let checks = outcomes.into_iter().map(|(name, outcome)| (name, outcome.into())).collect();
    (code, Json(Health { status, version: env!("CARGO_PKG_VERSION"), checks }))
}
