//! The storage in another process: who may ask, what trouble looks like, what another release changes.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{Request, StatusCode};
use indexmap::IndexMap;
use serde_json::{Value, json};
use testmesh_shared::clock::SystemClock;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::http::{ConnectionOptions, HttpClient};
use testmesh_shared::ids::{EnvironmentId, FlowId, WriteId};
use testmesh_shared::internal::{ClientLimits, Gate, GateLimits, RELEASE};
use testmesh_shared::net::Connector;
use testmesh_shared::page::PageRequest;
use testmesh_storage::{
    EnvironmentEdit, FlowEdit, FlowFilter, FlowHeader, NewEnvironment, NewFlow, StorageError, remote,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stores::{Process, Stores, TOKEN, client, credentials, gated, sqlite};
use crate::wire::{Fate, Wire};

fn header(name: &str) -> FlowHeader {
    FlowHeader { name: name.to_owned(), description: None, suite: None, tags: Vec::new() }
}

fn new_flow(name: &str) -> NewFlow {
    NewFlow { id: FlowId::generate(&SystemClock), header: header(name), yaml: format!("name: {name}") }
}

fn new_environment(name: &str) -> NewEnvironment {
    NewEnvironment { name: name.to_owned(), description: None, variables: IndexMap::new() }
}

/// An error and all its causes, as a log has them.
fn chain(error: &StorageError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// What a question in JSON gets, sent by whoever has `token`.
async fn post(url: &str, path: &str, token: Option<&str>, body: &str) -> (StatusCode, Value) {
    let mut request = Request::post(format!("{url}/internal/storage/v1/{path}"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Bytes::from(body.to_owned())).unwrap();
    let http = HttpClient::new(Connector::default());
    let answer = http.send(request, &ConnectionOptions::default()).await.unwrap();
    let answer = answer.collect(1 << 20).await.unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

async fn served() -> (Stores, Process) {
    let stores = sqlite().await;
    let process = Process::serve(gated(&stores), 0).await;
    (stores, process)
}

#[tokio::test]
async fn strangers_are_told_which_setting_is_missing() {
    let (stores, process) = served().await;
    let flows = remote::flow_repository(&client(&process.url, "some-other-secret-of-thirty-two-chars"));
    let error = flows.create(new_flow("login")).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(chain(&error).contains("TESTMESH_INTERNAL_TOKEN_FILE"), "{}", chain(&error));
    for token in [None, Some(""), Some("some-other-secret-of-thirty-two-chars")] {
        let (status, body) = post(&process.url, "flows/find-by-name", token, r#"{"name": "login"}"#).await;
        assert_eq!((status, &body["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthorized")), "{token:?}");
        assert!(body["message"].as_str().unwrap().contains("TESTMESH_INTERNAL_TOKEN_FILE"), "{body}");
    }
    assert_eq!(stores.flows.find_by_name("login").await.unwrap(), None);
}

#[tokio::test]
async fn nothing_is_answered_without_a_gate() {
    let stores = sqlite().await;
    let router = remote::router(Arc::clone(&stores.flows), Arc::clone(&stores.environments));
    let process = Process::serve(router, 0).await;
    let (status, body) = post(&process.url, "flows/find-by-name", Some(TOKEN), r#"{"name": "login"}"#).await;
    assert_eq!((status, &body["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthorized")));
}

#[tokio::test]
async fn storage_that_is_away_is_unavailable_in_time_and_used_again_once_it_is_back() {
    let (stores, process) = served().await;
    let client = client(&process.url, TOKEN);
    let flows = remote::flow_repository(&client);
    let flow = flows.create(new_flow("login")).await.unwrap();
    let about = remote::about(&client).await.unwrap();
    assert_eq!((about.name.as_str(), about.release.as_str()), ("testmesh-storage", RELEASE));
    let port = process.url.rsplit(':').next().unwrap().parse().unwrap();
    process.stop().await;

    let started = Instant::now();
    let error = flows.find(flow.summary.id).await.unwrap_err();
    assert!(started.elapsed() < ClientLimits::default().time, "{error}");
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(matches!(error, StorageError::Unavailable { .. }), "{error:?}");
    assert!(chain(&error).contains("cannot reach `http://127.0.0.1:"), "{}", chain(&error));
    assert!(remote::about(&client).await.is_err());

    let _process = Process::serve(gated(&stores), port).await;
    assert_eq!(flows.find(flow.summary.id).await.unwrap(), Some(flow));
    remote::about(&client).await.unwrap();
}

#[tokio::test]
async fn storage_that_says_nothing_is_given_up_in_time() {
    let wire = Wire::with(Fate::Silence).await;
    let limits = ClientLimits { time: Duration::from_millis(100), ..ClientLimits::default() };
    let flows = remote::flow_repository(&client(&wire.url, TOKEN).with_limits(limits));
    let started = Instant::now();
    let error = flows.find_by_name("login").await.unwrap_err();
    assert!((100..3000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(chain(&error).contains("did not answer within 100 ms"), "{}", chain(&error));
}

#[tokio::test]
async fn storage_without_its_database_is_unavailable_and_says_no_more() {
    let stores = sqlite().await;
    stores.db.close().await;
    let process = Process::serve(gated(&stores), 0).await;
    let client = client(&process.url, TOKEN);
    let error = remote::flow_repository(&client).find_by_name("login").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(chain(&error).contains("answered `unavailable`: read flow `login`"), "{}", chain(&error));
    assert!(remote::about(&client).await.is_err());
    let (status, body) = post(&process.url, "flows/find-by-name", Some(TOKEN), r#"{"name": "login"}"#).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, json!({"code": "unavailable", "message": "read flow `login`"}));
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_with_and_without_a_length() {
    let stores = sqlite().await;
    let gate = Gate::new(credentials(TOKEN), GateLimits { body_bytes: 1000, ..GateLimits::default() });
    let router = remote::router(Arc::clone(&stores.flows), Arc::clone(&stores.environments)).layer(gate.http());
    let process = Process::serve(router, 0).await;
    let flows = remote::flow_repository(&client(&process.url, TOKEN));
    let flow = NewFlow { yaml: "x".repeat(1000), ..new_flow("login") };
    let error = flows.create(flow).await.unwrap_err();
    assert!(chain(&error).contains("answered `payload_too_large`"), "{}", chain(&error));

    let mut stream = TcpStream::connect(process.url.trim_start_matches("http://")).await.unwrap();
    let head = "POST /internal/storage/v1/flows/find-by-name HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                transfer-encoding: chunked\r\n";
    let name = "y".repeat(2000);
    let body = format!("{{\"name\": \"{name}\"}}");
    let request = format!("{head}authorization: Bearer {TOKEN}\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("payload_too_large"), "{answer}");
}

#[tokio::test]
async fn questions_that_are_none_are_refused_without_being_quoted() {
    let (_stores, process) = served().await;
    for (path, body, status, code) in [
        ("flows/find", "", StatusCode::BAD_REQUEST, "bad_request"),
        ("flows/find", "s3cret", StatusCode::BAD_REQUEST, "bad_request"),
        ("flows/find", r#"{"id": "s3cret"}"#, StatusCode::BAD_REQUEST, "bad_request"),
        ("flows/find", r#"{"id": 7}"#, StatusCode::BAD_REQUEST, "bad_request"),
        ("flows/create", "{}", StatusCode::BAD_REQUEST, "bad_request"),
        ("flows/destroy-all", "{}", StatusCode::NOT_FOUND, "route_not_found"),
    ] {
        let (found, answer) = post(&process.url, path, Some(TOKEN), body).await;
        assert_eq!((found, answer["code"].as_str().unwrap()), (status, code), "{path} {body}");
        assert!(!answer.to_string().contains("s3cret"), "{answer}");
    }
    let deep = format!(r#"{{"name": {}}}"#, "[".repeat(100_000));
    assert_eq!(post(&process.url, "flows/find-by-name", Some(TOKEN), &deep).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn answers_that_are_none_are_unavailable_and_name_the_other_release() {
    for (status, body) in [(200, "s3cret"), (200, "{}"), (200, ""), (404, "s3cret"), (301, ""), (500, "{\"x\": 1}")] {
        let wire = Wire::with(Fate::Told(status, body.to_owned())).await;
        let flows = remote::flow_repository(&client(&wire.url, TOKEN));
        let error = flows.find_by_name("login").await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unavailable, "{status} {body}");
        let text = chain(&error);
        assert!(text.contains("release 9.9.9") && text.contains(RELEASE) && !text.contains("s3cret"), "{text}");
        assert_eq!(wire.requests(), 1, "{status} {body}");
    }
}

#[tokio::test]
async fn an_operation_that_the_other_release_does_not_have_is_named() {
    let body = json!({"code": "route_not_found", "message": "this release (0.0.9) has no such operation"});
    let wire = Wire::with(Fate::Told(404, body.to_string())).await;
    let error = remote::flow_repository(&client(&wire.url, TOKEN)).find_by_name("login").await.unwrap_err();
    assert!(chain(&error).contains("(0.0.9) has no such operation"), "{}", chain(&error));
}

#[tokio::test]
async fn what_a_newer_storage_says_beyond_this_release_is_ignored() {
    let id = FlowId::generate(&SystemClock);
    let flow = json!({
        "summary": {
            "id": id, "version": 3, "created_at": "2026-01-31T12:00:00.123456Z", "updated_at": "2026-02-01T12:00:00Z",
            "header": {"name": "login", "description": null, "suite": "auth", "tags": ["a"], "owner": "ops"},
            "archived": false,
        },
        "yaml": "name: login", "checksum": {"sha256": "00"},
    });
    let wire = Wire::with(Fate::Told(200, flow.to_string())).await;
    let found = remote::flow_repository(&client(&wire.url, TOKEN)).find(id).await.unwrap().unwrap();
    assert_eq!((found.summary.version, found.summary.header.tags), (3, vec!["a".to_owned()]));
    assert_eq!(found.summary.created_at.timestamp_subsec_micros(), 123_456);

    let page = json!({"items": [], "next": null, "total": 0});
    let wire = Wire::with(Fate::Told(200, page.to_string())).await;
    let flows = remote::flow_repository(&client(&wire.url, TOKEN));
    let page = flows.list(&FlowFilter::default(), PageRequest { limit: 5, after: None }).await.unwrap();
    assert!(page.items.is_empty() && page.next.is_none());

    // A code that this release has no variant for is still an error with a stable word.
    let error =
        json!({"code": "quota_exceeded", "message": "100 flows", "details": {"limit": 100}, "help": "buy more"});
    let wire = Wire::with(Fate::Told(409, error.to_string())).await;
    let error = remote::flow_repository(&client(&wire.url, TOKEN)).create(new_flow("x")).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(chain(&error).contains("`quota_exceeded`: 100 flows"), "{}", chain(&error));
}

#[tokio::test]
async fn what_an_older_or_newer_caller_leaves_out_or_adds_does_no_harm() {
    let (stores, process) = served().await;
    let id = FlowId::generate(&SystemClock);
    let question = json!({
        "id": id, "header": {"name": "login", "owner": "ops"}, "yaml": "name: login", "dry_run": false,
    });
    let (status, _) = post(&process.url, "flows/create", Some(TOKEN), &question.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    let kept = stores.flows.find(id).await.unwrap().unwrap();
    assert_eq!((kept.summary.header, kept.yaml.as_str()), (header("login"), "name: login"));
    let question = json!({"filter": {}, "page": {"limit": 7}, "sort": "name"});
    let (status, page) = post(&process.url, "flows/list", Some(TOKEN), &question.to_string()).await;
    assert_eq!((status, page["items"].as_array().unwrap().len()), (StatusCode::OK, 1));
}

#[tokio::test]
async fn writes_whose_answer_is_lost_are_carried_out_once() {
    let (stores, process) = served().await;
    let wire = Wire::with(Fate::Lossy(process.url.clone())).await;
    let client = client(&wire.url, TOKEN);
    let (flows, environments) = (remote::flow_repository(&client), remote::environment_repository(&client));

    let flow = flows.create(new_flow("login")).await.unwrap();
    let id = flow.summary.id;
    assert_eq!(stores.flows.find(id).await.unwrap(), Some(flow));
    let write = WriteId::generate(&SystemClock);
    for expected in [None, Some(2)] {
        let write = if expected.is_some() { WriteId::generate(&SystemClock) } else { write };
        let edit = FlowEdit { write, header: header("login"), yaml: "two".to_owned(), expected };
        let kept = flows.update(id, edit).await.unwrap();
        assert_eq!(stores.flows.find(id).await.unwrap(), kept);
    }
    assert_eq!(stores.flows.versions(id).await.unwrap().unwrap().len(), 3);
    assert!(flows.delete(id, Some(3)).await.unwrap());
    assert_eq!(stores.flows.find(id).await.unwrap(), None);

    let created = environments.create(EnvironmentId::generate(&SystemClock), new_environment("staging")).await.unwrap();
    assert_eq!(stores.environments.find("staging").await.unwrap().as_ref(), Some(&created));
    for (name, new_name, expected, revision) in [("staging", "staging", None, 2), ("staging", "test", Some(2), 3)] {
        let write = WriteId::generate(&SystemClock);
        let edit = EnvironmentEdit { write, environment: new_environment(new_name), expected };
        let kept = environments.update(name, edit).await.unwrap().unwrap();
        assert_eq!((kept.id, kept.revision), (created.id, revision));
        assert_eq!(stores.environments.find(new_name).await.unwrap(), Some(kept));
    }
    // Two requests for each of these seven calls.
    assert_eq!(wire.requests(), 14);
}

#[tokio::test]
async fn a_write_that_must_not_happen_twice_is_not_repeated() {
    let wire = Wire::with(Fate::Closed).await;
    let client = client(&wire.url, TOKEN);
    let error = remote::environment_repository(&client).delete("staging", None).await.unwrap_err();
    assert_eq!((error.code(), wire.requests()), (ErrorCode::Unavailable, 1));
    // The same loss on the way to a read is made up for, as often as the limits allow.
    let error = remote::environment_repository(&client).find("staging").await.unwrap_err();
    let attempts = usize::try_from(ClientLimits::default().attempts).unwrap();
    assert_eq!((error.code(), wire.requests()), (ErrorCode::Unavailable, 1 + attempts));
}
