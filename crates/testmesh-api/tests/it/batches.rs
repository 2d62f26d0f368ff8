//! Suites and data-driven flows over HTTP: many runs, one result.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, TestApp};

const ROWS: &str = "name: rows\ndata: [{n: 1}, {n: 2}, {n: 3}]\nsteps:\n  - action: assert\n    config:\n      \
                    assertions: ['n != 2']\n";

fn flow(name: &str, holds: bool) -> String {
    format!("name: {name}\nsuite: smoke\nsteps:\n  - action: assert\n    config:\n      assertions: ['{holds}']\n")
}

async fn names(app: &TestApp, batch: &Value) -> Vec<String> {
    let id = batch["id"].as_str().unwrap();
    let page = app.get(&format!("/api/v1/executions?batch_id={id}")).await.expect(200);
    let items = page["items"].as_array().unwrap().iter();
    let mut names: Vec<_> = items.map(|item| item["flow_name"].as_str().unwrap().to_owned()).collect();
    names.reverse();
    names
}

#[tokio::test]
async fn a_suite_runs_all_its_flows_with_one_result() {
    let app = TestApp::start().await;
    for text in [flow("a", true), flow("b", true), flow("c", true)] {
        app.stored(&text).await;
    }
    app.stored(crate::app::HELLO).await;
    let answer = app.post("/api/v1/suites/smoke/executions?wait=30s", &json!({"parallelism": 2})).await;
    let batch = answer.expect(200);
    assert_eq!(answer.header("location"), format!("/api/v1/batches/{}", batch["id"].as_str().unwrap()));
    assert_eq!(
        (&batch["status"], &batch["kind"], &batch["name"]),
        (&json!("passed"), &json!("suite"), &json!("smoke"))
    );
    assert_eq!((&batch["total"], &batch["passed"], &batch["parallelism"]), (&json!(3), &json!(3), &json!(2)));
    assert_eq!(names(&app, &batch).await, ["a", "b", "c"]);
    assert_eq!(app.get(answer.header("location")).await.expect(200), batch);
    app.stored(&flow("d", false)).await;
    let failed = app.post("/api/v1/suites/smoke/executions?wait=30s", &json!({})).await.expect(200);
    assert_eq!((&failed["status"], &failed["failed"], &failed["passed"]), (&json!("failed"), &json!(1), &json!(3)));
    let path = format!("/api/v1/batches/{}", failed["id"].as_str().unwrap());
    app.post(&format!("{path}/cancel"), &json!({})).await.problem(409, "already_finished");
    let tap = app.get(&format!("{path}/report?format=tap")).await;
    assert_eq!(tap.status.as_u16(), 200);
    assert!(tap.text.contains("1..4"), "{}", tap.text);
    for bad in [json!({"parallelism": 0}), json!({"parallelism": 257}), json!({"environment": "none"})] {
        app.post("/api/v1/suites/smoke/executions", &bad).await.problem(422, "invalid_request");
    }
}

#[tokio::test]
async fn a_data_driven_flow_runs_once_for_each_row() {
    let app = TestApp::start().await;
    let id = app.stored(ROWS).await;
    let path = format!("/api/v1/flows/{id}/executions");
    let answer = app.post(&format!("{path}?wait=30s"), &json!({"variables": {"n": 9}})).await;
    let batch = answer.expect(200);
    assert_eq!((&batch["status"], &batch["kind"], &batch["flow_id"]), (&json!("failed"), &json!("data"), &json!(id)));
    assert_eq!((&batch["total"], &batch["passed"], &batch["failed"]), (&json!(3), &json!(2), &json!(1)));
    let report = app.get(&format!("{}/report?format=junit", answer.header("location"))).await;
    assert!(report.text.contains("rows [row 2]"), "{}", report.text);
    let one = app.post(&format!("{path}?wait=30s"), &json!({"variables": {"n": 9}, "data_row": true})).await;
    assert_eq!(one.expect(200)["status"], "passed");
}

#[tokio::test]
async fn one_key_gives_one_batch() {
    let app = TestApp::start().await;
    app.stored(&flow("a", true)).await;
    let id = app.stored(ROWS).await;
    for path in ["/api/v1/suites/smoke/executions".to_owned(), format!("/api/v1/flows/{id}/executions")] {
        let send = async |body: Value| {
            let request = app
                .request(Method::POST, &path)
                .header("idempotency-key", format!("key of {}", path.len()).replace(' ', "-"));
            Answer::of(request.json(&body)).await
        };
        let first = send(json!({})).await.expect(202);
        let again = send(json!({})).await.expect(202);
        assert_eq!(first["id"], again["id"], "{path}");
        send(json!({"parallelism": 1})).await.problem(409, "idempotency_mismatch");
    }
}

#[tokio::test]
async fn a_cancelled_batch_starts_nothing_more() {
    let app = TestApp::start().await;
    let nap = "name: nap\ndata: [{n: 1}, {n: 2}, {n: 3}]\nsteps:\n  - {action: delay, config: {duration: 50s}}\n";
    let id = app.stored(nap).await;
    let answer = app.post(&format!("/api/v1/flows/{id}/executions"), &json!({"parallelism": 1})).await;
    answer.expect(202);
    let path = answer.header("location").to_owned();
    app.post(&format!("{path}/cancel"), &json!({})).await.expect(202);
    let mut batch = app.get(&path).await.expect(200);
    while batch["finished_at"].is_null() {
        batch = app.get(&path).await.expect(200);
    }
    assert_eq!((&batch["status"], &batch["cancelled"]), (&json!("cancelled"), &json!(3)), "{batch}");
}
