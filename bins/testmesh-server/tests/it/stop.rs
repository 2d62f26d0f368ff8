//! Stopping in order.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::server::{HELLO, SLOW, Server};

#[tokio::test]
async fn an_idle_server_stops_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["TERM", "INT"] {
        let server = Server::start(folder.path());
        let started = Instant::now();
        server.signal(name);
        assert_eq!(server.ended().await.code(), Some(0), "{name}");
        assert!(started.elapsed() < Duration::from_secs(5), "{name}: {:?}", started.elapsed());
    }
}

/// Waits until `/readyz` says that the server is stopping.
async fn until_stopping(server: &Server) {
    let stopping = async {
        while server.request(Method::GET, "/readyz").send().await.unwrap().status() != 503 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), stopping).await.expect("`/readyz` turns to 503");
}

#[tokio::test]
async fn a_second_signal_cancels_what_is_running() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let (_, execution) = server.post_yaml("/api/v1/executions?wait=300ms", SLOW).await;
    assert_eq!(execution["status"], "running", "{execution}");
    server.signal("TERM");
    until_stopping(&server).await;
    let (status, problem) = server.post_yaml("/api/v1/executions", HELLO).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("unavailable")));
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));

    let server = Server::start(folder.path());
    let (_, found) = server.get(&format!("/api/v1/executions/{}", execution["id"].as_str().unwrap())).await;
    assert_eq!(found["status"], "cancelled", "{found}");
    let tidied = found["steps"].as_array().unwrap().iter().find(|step| step["id"] == "tidy").unwrap();
    assert_eq!(tidied["status"], "passed");
}

#[tokio::test]
async fn when_time_is_up_runs_are_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--drain-timeout", "0"]);
    let (_, execution) = server.post_yaml("/api/v1/executions?wait=300ms", SLOW).await;
    assert_eq!(execution["status"], "running", "{execution}");
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
    let server = Server::start(folder.path());
    let (_, found) = server.get(&format!("/api/v1/executions/{}", execution["id"].as_str().unwrap())).await;
    assert_eq!(found["status"], "cancelled", "{found}");
}
