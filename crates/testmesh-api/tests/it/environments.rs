//! Environments over HTTP.

use reqwest::Method;
use serde_json::json;

use crate::app::{Answer, TestApp};

#[tokio::test]
async fn an_environment_lives_under_its_name() {
    let app = TestApp::start().await;
    let body =
        json!({"name": "staging / eu", "description": "for tests", "variables": {"z": 1, "a": {"b": [null, 1.5]}}});
    let created = app.post("/api/v1/environments", &body).await;
    let environment = created.expect(201);
    let path = created.header("location").to_owned();
    assert_eq!(path, "/api/v1/environments/staging%20%2F%20eu");
    assert_eq!((&environment["variables"], &environment["revision"]), (&body["variables"], &json!(1)));
    let names: Vec<_> = environment["variables"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["z", "a"], "variables keep their order");
    assert_eq!(app.get(&path).await.expect(200), environment);
    app.post("/api/v1/environments", &body).await.problem(409, "name_taken");

    let renamed = app.put(&path, &json!({"name": "prod", "variables": {"x": true}})).await;
    assert_eq!((renamed.expect(200)["name"].clone(), renamed.header("etag")), (json!("prod"), "\"2\""));
    app.get(&path).await.problem(404, "environment_not_found");
    let stale = app.request(Method::PUT, "/api/v1/environments/prod").header("if-match", "\"1\"");
    Answer::of(stale.json(&json!({}))).await.problem(412, "precondition_failed");
    assert_eq!(app.delete("/api/v1/environments/prod").await.status.as_u16(), 204);
    app.delete("/api/v1/environments/prod").await.problem(404, "environment_not_found");
}

#[tokio::test]
async fn environments_are_listed_in_pages() {
    let app = TestApp::start().await;
    for name in ["a", "b", "c"] {
        app.post("/api/v1/environments", &json!({ "name": name })).await.expect(201);
    }
    let first = app.get("/api/v1/environments?limit=2").await.expect(200);
    let second = app
        .get(&format!("/api/v1/environments?limit=2&cursor={}", first["next_cursor"].as_str().unwrap()))
        .await
        .expect(200);
    let names = |page: &serde_json::Value| {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect::<String>()
    };
    assert_eq!((names(&first).as_str(), names(&second).as_str()), ("cb", "a"));
    assert_eq!(second["next_cursor"], json!(null));
}

#[tokio::test]
async fn a_secret_value_is_refused_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let body = json!({"name": "e", "variables": {"ok": 1, "password": {"secret": "hunter2"}}});
    let answer = app.post("/api/v1/environments", &body).await;
    let problem = answer.problem(422, "secrets_unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("`password`"));
    assert!(!answer.text.contains("hunter2"));
    app.get("/api/v1/environments/e").await.problem(404, "environment_not_found");
    app.post("/api/v1/environments", &json!({"name": "e"})).await.expect(201);
    app.put("/api/v1/environments/e", &body).await.problem(422, "secrets_unavailable");
}

#[tokio::test]
async fn names_have_a_rule() {
    let app = TestApp::start().await;
    let check = async |name: &str| app.post("/api/v1/environments", &json!({ "name": name })).await.status.as_u16();
    assert_eq!(check("").await, 422);
    assert_eq!(check("a\0b").await, 422);
    assert_eq!(check("..").await, 422);
    assert_eq!(check(&"é".repeat(256)).await, 422);
    assert_eq!(check(&"é".repeat(255)).await, 201);
}
