//! `GET /ws/executions/{id}`: the same events over WebSocket.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use futures::StreamExt;
use futures::stream::BoxStream;
use testmesh_runner::event::RunEvent;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::ExecutionId;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;

use super::not_found;
use crate::extract::header;
use crate::extract::path::Path;
use crate::extract::query::{FromQuery, Pairs, Query};
use crate::handlers::Cx;
use crate::problem::Problem;
use crate::state::App;

/// A client has nothing to say but pongs.
const INCOMING_BYTES: usize = 4 << 10;

/// A ping each, so that a peer that is gone is noticed.
const PING: Duration = Duration::from_secs(15);

/// Where to go on.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "declares the parameter that `Since` reads, for the OpenAPI document")]
pub(crate) struct Params {
    /// Only events after this one (default 0: all).
    #[param(minimum = 0, nullable = false)]
    since: Option<u64>,
}

/// The number of the last event seen.
#[derive(Debug)]
pub(crate) struct Since(u64);

impl FromQuery for Since {
    fn from_query(pairs: &Pairs<'_>) -> Result<Self, Problem> {
        pairs.one("since").map_or(Ok(0), |text| header::event_number("`since`", text)).map(Self)
    }
}

/// What happens in an execution, live, one `RunEvent` in each text message.
///
/// The server closes with code 1000 after `execution.finished`, with 1001 when it stops.
#[utoipa::path(
    get, path = "/ws/executions/{id}", operation_id = "open_execution_socket", tag = "executions",
    params(("id" = ExecutionId, Path, description = "The execution."), Params),
    responses((status = 101, description = "The connection is a WebSocket now.")),
    extensions(("x-errors" = json!(["bad_request", "execution_not_found", "too_many_streams"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn socket(
    State(app): Cx,
    Path(id): Path<ExecutionId>,
    Query(Since(after)): Query<Since>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|_| {
        Problem::new(ErrorCode::BadRequest, "this route speaks WebSocket: the request is not a valid upgrade to it")
    })?;
    let permit = app.open_stream()?;
    let events = app.executor.events(id, after).await?.ok_or_else(|| not_found(id))?;
    let upgrade = upgrade.max_message_size(INCOMING_BYTES).max_frame_size(INCOMING_BYTES);
    Ok(upgrade.on_upgrade(move |socket| send(socket, events, app, permit)))
}

async fn send(
    mut socket: WebSocket,
    mut events: BoxStream<'static, RunEvent>,
    app: Arc<App>,
    _permit: OwnedSemaphorePermit,
) {
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
    let code = loop {
        let message = tokio::select! {
            // Cancel-safe: waiting for a cancellation keeps no state.
            () = app.closing.cancelled() => break close_code::AWAY,
            // Cancel-safe: `next()` takes an item or nothing.
            event = events.next() => match event {
                Some(event) => {
                    let text = serde_json::to_string(&event).expect("an event holds nothing that JSON cannot");
                    Message::text(text)
                }
                None => break close_code::NORMAL,
            },
            // Cancel-safe: `recv()` is `next()` of a stream. Pongs come from the library; other messages mean nothing.
            incoming = socket.recv() => match incoming {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
            // Cancel-safe per docs on `tick()`.
            _ = ping.tick() => Message::Ping(bytes::Bytes::new()),
        };
        if socket.send(message).await.is_err() {
            return;
        }
    };
    // The peer may be gone already, which is as good.
    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await;
}
