//! `run --server` against a server that answers as the API documents it, and as networks do.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::program::Folder;
use crate::service::serve;

const ID: &str = "01890000-0000-7000-8000-000000000001";
const FLOW: &str = "flow:
  name: remote
  env_file: values.env
  steps:
    - {id: hello, action: log, config: {message: hello}}
";

/// What the server was told, and how it is to behave.
#[derive(Default)]
struct Server {
    /// How many submissions are answered by 503 first.
    n_unavailable: u32,
    n_submissions: AtomicU32,
    n_streams: AtomicU32,
    keys: Mutex<Vec<String>>,
    bodies: Mutex<Vec<Value>>,
    resumed_after: Mutex<Vec<String>>,
}

fn execution(status: &str) -> Value {
    json!({
        "id": ID, "flow_id": null, "flow_name": "remote", "flow_version": null, "status": status, "trigger": "cli",
        "schedule_id": null, "job_id": null, "environment": null, "variables": {},
        "queued_at": "2024-01-01T00:00:00.000Z", "started_at": null, "finished_at": null, "duration_ms": 3,
        "total_steps": 1, "passed_steps": 1, "failed_steps": 0, "skipped_steps": 0, "error": null, "trace_id": null,
        "runner": "server", "definition": FLOW, "steps": [],
    })
}

fn event(seq: u32, kind: &str, data: &Value) -> String {
    let event = json!({"seq": seq, "type": kind, "execution_id": ID, "time": "2024-01-01T00:00:00.000Z", "data": data});
    format!("id: {seq}\nevent: {kind}\ndata: {event}\n\n")
}

async fn submit(State(server): State<Arc<Server>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    server.keys.lock().expect("no panic").push(text("idempotency-key"));
    if text("authorization") != "Bearer secret" {
        let problem = json!({"type": "x", "title": "x", "status": 401, "code": "unauthorized", "detail": "no token"});
        return (StatusCode::UNAUTHORIZED, Json(problem)).into_response();
    }
    if server.n_submissions.fetch_add(1, Ordering::SeqCst) < server.n_unavailable {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    server.bodies.lock().expect("no panic").push(body);
    (StatusCode::ACCEPTED, Json(execution("queued"))).into_response()
}

/// The first stream breaks off after two events.
async fn events(State(server): State<Arc<Server>>, Path(_): Path<String>, headers: HeaderMap) -> Response {
    let after = headers.get("last-event-id").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    server.resumed_after.lock().expect("no panic").push(after);
    let text = if server.n_streams.fetch_add(1, Ordering::SeqCst) == 0 {
        let started = json!({"total_steps": 1, "trace_id": null, "runner": "server"});
        format!("{}{}", event(1, "execution.queued", &execution("queued")), event(2, "execution.started", &started))
    } else {
        event(3, "execution.finished", &json!({"status": "passed", "duration_ms": 3, "error": null}))
    };
    ([("content-type", "text/event-stream")], text).into_response()
}

fn start(server: Server) -> (Arc<Server>, String, tokio::runtime::Runtime) {
    let server = Arc::new(server);
    let router = Router::new()
        .route("/prefix/api/v1/executions", post(submit))
        .route("/prefix/api/v1/executions/{id}/events", get(events))
        .route("/prefix/api/v1/executions/{id}", get(|| async { Json(execution("passed")) }))
        .with_state(Arc::clone(&server));
    let (base, runtime) = serve(router);
    (server, format!("{base}/prefix"), runtime)
}

fn folder() -> Folder {
    Folder::with(&[("flow.yaml", FLOW), ("values.env", "FROM_FILE=1\n")])
}

#[test]
fn a_flow_is_sent_followed_and_fetched() {
    let (server, url, _runtime) = start(Server::default());
    let arguments = [
        "run",
        "flow.yaml",
        "--format",
        "json",
        "--token",
        "secret",
        "--seed",
        "5",
        "--strict",
        "--var",
        "A=1",
        "--environment",
        "staging",
        "--server",
        &url,
    ];
    let said = folder().run(&arguments).expect_code(0);
    let kinds: Vec<_> = said
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["type"].as_str().expect("a type").to_owned())
        .collect();
    assert_eq!(kinds, ["execution.queued", "execution.started", "execution.finished", "summary"]);
    assert_eq!(*server.resumed_after.lock().expect("no panic"), ["0", "2"], "goes on where the stream broke off");
    let body = server.bodies.lock().expect("no panic").pop().expect("one submission");
    let expect = json!({
        "yaml": FLOW, "variables": {"A": "1"}, "environment": "staging", "env_file": {"FROM_FILE": "1"}, "seed": 5,
        "strict": true, "dry_run": false, "data_row": false, "trigger": "cli",
    });
    assert_eq!(body, expect);
}

#[test]
fn a_submission_is_repeated_under_one_key() {
    let (server, url, _runtime) = start(Server { n_unavailable: 2, ..Server::default() });
    let said = folder().run(&["run", "flow.yaml", "--token", "secret", "--server", &url]).expect_code(0);
    assert!(said.out.contains("✓ remote"), "{}", said.out);
    let keys = server.keys.lock().expect("no panic");
    assert_eq!(keys.len(), 3);
    assert!(!keys[0].is_empty() && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[test]
fn a_refusal_is_told_in_the_servers_words() {
    let (_, url, _runtime) = start(Server::default());
    let said = folder().run(&["run", "flow.yaml", "--server", &url]).expect_code(3);
    assert!(said.out.contains("no token"), "{}", said.out);
}

#[test]
fn secrets_and_snapshots_are_not_sent() {
    let folder = folder();
    for option in [&["--secret", "A=b"][..], &["--update-snapshots"]] {
        let said = folder.run(&[&["run", "flow.yaml", "--server", "http://127.0.0.1:1"], option].concat());
        assert!(said.expect_code(2).err.contains("--server"), "{option:?}");
    }
}
