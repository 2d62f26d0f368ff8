//! `POST /api/v1/schedules/preview`.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use testmesh_scheduler::cron::{Cron, parse_zone};
use utoipa::ToSchema;

use super::invalid;
use crate::extract::body::Body;
use crate::handlers::Cx;
use crate::problem::Problem;

/// More than anyone looks at; a bound on the work.
const MAX_COUNT: usize = 100;

/// A cron expression to look at before it is used.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Preview {
    /// Five fields (minute hour day-of-month month day-of-week), six with seconds first, `@daily` and its like, or
    /// `@every 5m`.
    #[schema(min_length = 1, example = "30 9 * * mon-fri")]
    cron: String,
    /// An IANA time zone (default `UTC`).
    #[serde(default = "utc")]
    #[schema(example = "Europe/Berlin")]
    timezone: String,
    /// How many times to list (default 5).
    #[serde(default = "five")]
    #[schema(minimum = 1, maximum = 100)]
    count: usize,
}

/// When a cron expression fires.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Upcoming {
    /// What the expression means, in English.
    description: String,
    /// The next times it fires, in UTC; fewer than asked for when it does not fire that often.
    next: Vec<Time>,
}

/// A point in time.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
pub(crate) struct Time(#[serde(serialize_with = "testmesh_shared::timestamp::millis")] DateTime<Utc>);

fn utc() -> String {
    "UTC".to_owned()
}

fn five() -> usize {
    5
}

/// The next times a cron expression fires. Nothing is stored.
#[utoipa::path(
    post, path = "/api/v1/schedules/preview", operation_id = "preview_schedule", tag = "schedules",
    request_body(content = Preview, description = "The expression."),
    responses((status = 200, description = "When it fires.", body = Upcoming)),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn preview(State(app): Cx, body: Body) -> Result<Json<Upcoming>, Problem> {
    let Preview { cron, timezone, count } = body.json()?;
    if !(1..=MAX_COUNT).contains(&count) {
        return Err(Problem::invalid(format!("`count` must be a whole number from 1 to {MAX_COUNT}")));
    }
    let cron = Cron::parse(&cron).map_err(|error| invalid(&error))?;
    let zone = parse_zone(&timezone).map_err(|error| invalid(&error))?;
    let now = app.system.clock.now();
    // A rare expression searches years of days for each time.
    let upcoming = tokio::task::spawn_blocking(move || {
        let next = cron.upcoming(now, zone, count).into_iter().map(Time).collect();
        Upcoming { description: cron.describe(), next }
    });
    Ok(Json(upcoming.await?))
}
