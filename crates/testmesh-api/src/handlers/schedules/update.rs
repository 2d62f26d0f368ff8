//! `PUT /api/v1/schedules/{id}`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use testmesh_scheduler::Schedule;
use testmesh_shared::ids::ScheduleId;

use super::not_found;
use super::spec::ScheduleBody;
use crate::etag::IfMatch;
use crate::extract::body::Body;
use crate::extract::path::Path;
use crate::handlers::{Cx, versioned};
use crate::problem::Problem;
use crate::state::App;

/// Puts other content in a schedule's place.
///
/// What is left out becomes its default, `enabled` apart. Jobs that fired before keep what they were fired with.
#[utoipa::path(
    put, path = "/api/v1/schedules/{id}", operation_id = "update_schedule", tag = "schedules",
    params(
        ("id" = ScheduleId, Path, description = "The schedule."),
        ("if-match" = Option<String>, Header, description = "The `ETag` the edit is based on.", nullable = false,
            example = "\"1\"", pattern = r#"^(\*|(W/)?"[ -!#-~]*"(, ?(W/)?"[ -!#-~]*")*)$"#),
    ),
    request_body(content = ScheduleBody, description = "The whole new content."),
    responses((status = 200, description = "The schedule as it is now.", body = Schedule, headers(
        ("etag" = String, description = "Its revision in quotes, for `If-Match`."),
    ))),
    extensions(("x-errors" = json!(["schedule_not_found", "name_taken", "precondition_failed"]))),
    security(("bearer" = ["write"])),
)]
pub(crate) async fn update(
    State(app): Cx,
    Path(id): Path<ScheduleId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let basis = IfMatch::from_headers(&headers)?;
    let body: ScheduleBody = body.json()?;
    let enabled = body.enabled;
    let expected = expected(&app, id, &basis).await?;
    let spec = body.check(&app).await?;
    let stored = app.scheduler.update(id, spec, expected).await?;
    let stored = match (stored, enabled) {
        (Some(stored), Some(true)) if !stored.enabled => app.scheduler.resume(id).await?,
        (Some(stored), Some(false)) if stored.enabled => app.scheduler.pause(id).await?,
        (stored, _) => stored,
    };
    let stored = stored.ok_or_else(|| not_found(id))?;
    Ok(versioned(StatusCode::OK, stored.revision, &stored))
}

/// The revision that must be stored for the edit to go through.
pub(super) async fn expected(app: &App, id: ScheduleId, basis: &IfMatch) -> Result<Option<u32>, Problem> {
    if let Ok(expected) = basis.single() {
        return Ok(expected);
    }
    let current = app.scheduler.find(id).await?.ok_or_else(|| not_found(id))?;
    Ok(basis.expected(current.revision))
}
