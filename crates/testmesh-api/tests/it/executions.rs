//! Runs over HTTP: started, waited for, repeated, cancelled, reported.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, HELLO, SLOW, TestApp};

#[tokio::test]
async fn a_stored_flow_runs_and_is_waited_for() {
    let app = TestApp::start().await;
    let id = app.stored(HELLO).await;
    let run = Answer::of(app.request(Method::POST, &format!("/api/v1/flows/{id}/executions?wait=30s"))).await;
    let execution = run.expect(200);
    assert_eq!((&execution["status"], &execution["flow_id"]), (&json!("passed"), &json!(id)));
    assert_eq!((&execution["flow_version"], &execution["trigger"]), (&json!(1), &json!("api")));
    assert_eq!(execution["definition"], HELLO);
    assert_eq!(execution["steps"][0]["id"], "greet");
    assert_eq!(execution["steps"][0]["logs"][0]["message"], "hello");
    let path = format!("/api/v1/executions/{}", execution["id"].as_str().unwrap());
    assert_eq!(run.header("location"), path);
    assert_eq!(app.get(&path).await.expect(200), execution);
    for step in ["greet", "1"] {
        assert_eq!(app.get(&format!("{path}/steps/{step}")).await.expect(200), execution["steps"][0]);
    }
    app.get(&format!("{path}/steps/nap")).await.problem(404, "step_not_found");
}

#[tokio::test]
async fn a_definition_runs_without_being_stored() {
    let app = TestApp::start().await;
    let text = "name: inline\nsteps:\n  - action: assert\n    config:\n      assertions: ['answer == 42']\n";
    let body = json!({"yaml": text, "variables": {"answer": 42}, "trigger": "cli", "strict": false});
    let execution = app.post("/api/v1/executions?wait=30s", &body).await.expect(200);
    assert_eq!((&execution["status"], &execution["flow_id"]), (&json!("passed"), &Value::Null), "{execution}");
    assert_eq!((&execution["trigger"], &execution["variables"]), (&json!("cli"), &json!({"answer": 42})));
    let plain = app.send_yaml(Method::POST, "/api/v1/executions?wait=30s", HELLO).await.expect(200);
    assert_eq!(plain["status"], "passed");
    app.send_yaml(Method::POST, "/api/v1/executions", "name: 1\n").await.problem(422, "invalid_flow");
    assert_eq!(app.get("/api/v1/flows").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn without_waiting_the_answer_is_immediate() {
    let app = TestApp::start().await;
    let id = app.stored(SLOW).await;
    let run = app.post(&format!("/api/v1/flows/{id}/executions"), &json!({})).await;
    let execution = run.expect(202);
    assert_eq!(execution["status"], "queued");
    let path = run.header("location").to_owned();
    let late = app.post(&format!("/api/v1/flows/{id}/executions?wait=10ms"), &json!({})).await;
    assert!(matches!(late.expect(202)["status"].as_str(), Some("queued" | "running")));
    for path in [path, late.header("location").to_owned()] {
        app.post(&format!("{path}/cancel"), &json!({})).await.expect(202);
    }
}

#[tokio::test]
async fn a_cancelled_run_ends_soon_and_tidies_up() {
    let app = TestApp::start().await;
    let run = app.post("/api/v1/executions?wait=200ms", &json!({ "yaml": SLOW })).await;
    assert_eq!(run.expect(202)["status"], "running");
    let path = run.header("location").to_owned();
    let asked = Instant::now();
    app.post(&format!("{path}/cancel"), &json!({})).await.expect(202);
    let execution = finished(&app, &path).await;
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(execution["status"], "cancelled");
    let steps = execution["steps"].as_array().unwrap();
    let shown: Vec<_> =
        steps.iter().map(|step| (step["id"].as_str().unwrap(), step["status"].as_str().unwrap())).collect();
    assert_eq!(shown, [("nap", "cancelled"), ("tidy", "passed")]);
    app.post(&format!("{path}/cancel"), &json!({})).await.problem(409, "already_finished");
}

/// The execution once its event stream has ended.
async fn finished(app: &TestApp, path: &str) -> Value {
    let events = app.get(&format!("{path}/events")).await;
    assert_eq!(events.status.as_u16(), 200);
    app.get(path).await.expect(200)
}

#[tokio::test]
async fn the_same_key_runs_once() {
    let app = TestApp::start().await;
    let id = app.stored(HELLO).await;
    let send = async |key: &str, body: Value| {
        let request = app.request(Method::POST, &format!("/api/v1/flows/{id}/executions?wait=30s"));
        Answer::of(request.header("idempotency-key", key).json(&body)).await
    };
    let first = send("k1", json!({"seed": 1})).await.expect(200);
    let again = send("k1", json!({"seed": 1})).await.expect(200);
    assert_eq!(first["id"], again["id"]);
    send("k1", json!({"seed": 2})).await.problem(409, "idempotency_mismatch");
    let other = send("k2", json!({"seed": 1})).await.expect(200);
    assert_ne!(first["id"], other["id"]);
    let listed = app.get("/api/v1/executions").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn executions_are_listed_by_what_they_are() {
    let app = TestApp::start().await;
    let id = app.stored(HELLO).await;
    app.post(&format!("/api/v1/flows/{id}/executions?wait=30s"), &json!({})).await.expect(200);
    let failing = "name: failing\nenv: {name: short}\nsteps:\n  - action: assert\n    config: {assertions: ['len(name) == 99']}\n";
    app.post("/api/v1/executions?wait=30s", &json!({"yaml": failing, "trigger": "cli"})).await.expect(200);
    let names = async |query: &str| {
        let page = app.get(&format!("/api/v1/executions{query}")).await.expect(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.iter().all(|item| item.get("steps").is_none() && item.get("definition").is_none()));
        items.iter().map(|item| item["flow_name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("").await, "failing hello");
    assert_eq!(names(&format!("?flow_id={id}")).await, "hello");
    assert_eq!(names("?status=failed").await, "failing");
    assert_eq!(names("?trigger=cli").await, "failing");
    assert_eq!(names("?since=2000-01-01T00:00:00Z&until=2001-01-01T00:00:00%2B01:00").await, "");
    assert_eq!(names("?limit=1").await, "failing");
    assert_eq!(names("?schedule_id=019a0000-0000-7000-8000-000000000000").await, "");
}

#[tokio::test]
async fn an_environment_is_given_by_name() {
    let app = TestApp::start().await;
    app.post("/api/v1/environments", &json!({"name": "eu", "variables": {"region": "eu-1"}})).await.expect(201);
    let text = "name: where\nsteps:\n  - action: assert\n    config: {assertions: ['region == \"eu-1\"']}\n";
    let body = json!({"yaml": text, "environment": "eu"});
    let execution = app.post("/api/v1/executions?wait=30s", &body).await.expect(200);
    assert_eq!((&execution["status"], &execution["environment"]), (&json!("passed"), &json!("eu")), "{execution}");
}

#[tokio::test]
async fn reports_come_in_four_formats() {
    let app = TestApp::start().await;
    let run = app.post("/api/v1/executions?wait=30s", &json!({ "yaml": HELLO })).await;
    let path = run.header("location").to_owned();
    let check = async |format: &str, content_type: &str, part: &str| {
        let report = app.get(&format!("{path}/report?format={format}")).await;
        assert_eq!((report.status.as_u16(), report.header("content-type")), (200, content_type));
        assert!(report.text.contains(part), "{}", report.text);
        assert!(!report.header("content-security-policy").contains("script-src"));
    };
    check("junit", "application/xml", "<testsuites").await;
    check("html", "text/html; charset=utf-8", "<html").await;
    check("json", "application/json", "\"hello\"").await;
    check("tap", "text/plain; charset=utf-8", "TAP version 14").await;
    app.get(&format!("{path}/report?format=pdf")).await.problem(422, "invalid_request");
    app.get(&format!("{path}/report")).await.problem(422, "invalid_request");
}
