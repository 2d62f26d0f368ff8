//! `GET /api/v1/executions/{id}/events`: server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Serialize;
use testmesh_runner::event::{RunEvent, RunEventKind};
use testmesh_shared::ids::ExecutionId;
use utoipa::ToSchema;

use super::not_found;
use crate::extract::header;
use crate::extract::path::Path;
use crate::handlers::Cx;
use crate::problem::Problem;

/// Proxies close a silent connection after a minute or less.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One event of the stream, as its fields are sent.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "describes the stream for the OpenAPI document; axum writes it")]
pub(crate) struct ServerSentEvent {
    /// The event's `seq`.
    #[schema(pattern = "^[0-9]+$")]
    id: String,
    /// The event's type.
    #[schema(example = "step.finished")]
    event: String,
    /// A `RunEvent` as JSON.
    data: String,
}

/// What happens in an execution, live.
///
/// Each event has its `seq` as `id`, its type as `event` and a `RunEvent` as `data`. `Last-Event-ID` goes on after that
/// event without loss. The stream ends after `execution.finished`; a finished execution is replayed.
#[utoipa::path(
    get, path = "/api/v1/executions/{id}/events", operation_id = "stream_execution_events", tag = "executions",
    params(
        ("id" = ExecutionId, Path, description = "The execution."),
        ("last-event-id" = Option<u64>, Header, nullable = false, minimum = 0,
            description = "Only events after this one."),
    ),
    responses((status = 200, description = "The events.", body = ServerSentEvent, content_type = "text/event-stream")),
    extensions(("x-errors" = json!(["execution_not_found", "too_many_streams"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn events(
    State(app): Cx,
    Path(id): Path<ExecutionId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = header::last_event_id(&headers)?;
    let permit = app.open_stream()?;
    let events = app.executor.events(id, after).await?.ok_or_else(|| not_found(id))?;
    let stream = events.take_until(app.closing.clone().cancelled_owned()).map(move |event| {
        // The place among the streams is held for as long as this one lives.
        let _ = &permit;
        Ok::<_, Infallible>(message(&event))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn message(event: &RunEvent) -> Event {
    Event::default()
        .id(event.seq.to_string())
        .event(type_name(&event.kind))
        .json_data(event)
        .expect("an event holds nothing that JSON cannot")
}

fn type_name(kind: &RunEventKind) -> &'static str {
    match kind {
        RunEventKind::Queued(_) => "execution.queued",
        RunEventKind::Started { .. } => "execution.started",
        RunEventKind::StepStarted(_) => "step.started",
        RunEventKind::StepRetrying { .. } => "step.retrying",
        RunEventKind::StepFinished(_) => "step.finished",
        RunEventKind::StepSkipped(_) => "step.skipped",
        RunEventKind::Log { .. } => "log",
        RunEventKind::Finished { .. } => "execution.finished",
    }
}
