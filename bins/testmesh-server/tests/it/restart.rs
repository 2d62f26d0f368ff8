//! What is left after a SIGKILL.

use serde_json::json;

use crate::server::{HELLO, SLOW, Server};

#[tokio::test]
async fn a_flow_and_its_run_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let (status, flow) = server.post_yaml("/api/v1/flows", HELLO).await;
    assert_eq!(status, 201, "{flow}");
    let id = flow["id"].as_str().unwrap();
    let (status, execution) = server.post_yaml("/api/v1/executions?wait=30s", HELLO).await;
    assert_eq!((status.as_u16(), &execution["status"]), (200, &json!("passed")), "{execution}");
    server.kill();

    let server = Server::start(folder.path());
    assert_eq!(server.get(&format!("/api/v1/flows/{id}")).await.1, flow);
    let path = format!("/api/v1/executions/{}", execution["id"].as_str().unwrap());
    assert_eq!(server.get(&path).await.1, execution);
}

#[tokio::test]
async fn a_run_that_was_killed_is_lost_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let (status, execution) = server.post_yaml("/api/v1/executions?wait=300ms", SLOW).await;
    assert_eq!((status.as_u16(), &execution["status"]), (202, &json!("running")), "{execution}");
    server.kill();

    let server = Server::start(folder.path());
    let path = format!("/api/v1/executions/{}", execution["id"].as_str().unwrap());
    let (_, found) = server.get(&path).await;
    assert_eq!((&found["status"], &found["error"]["code"]), (&json!("error"), &json!("lost")), "{found}");
    assert_eq!(server.get("/api/v1/executions?status=running").await.1["items"], json!([]));
}
