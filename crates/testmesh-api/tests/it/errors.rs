//! Every error is a problem document with its own code; here each code that a request can cause is caused.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use testmesh_api::Limits;
use testmesh_runner::executor::ExecutorConfig;

use crate::app::{Answer, Differences, HELLO, SLOW, TestApp};

const UNKNOWN: &str = "019a0000-0000-7000-8000-000000000000";

#[tokio::test]
async fn what_is_not_there_says_what_it_is() {
    let app = TestApp::start().await;
    let id = app.stored(HELLO).await;
    let check = async |path: &str, code: &str| app.get(path).await.problem(404, code);
    check("/nowhere", "route_not_found").await;
    check("/api/v1/flows/", "route_not_found").await;
    check("/docs/missing.js", "route_not_found").await;
    check(&format!("/api/v1/flows/{UNKNOWN}"), "flow_not_found").await;
    check(&format!("/api/v1/flows/{UNKNOWN}/versions"), "flow_not_found").await;
    check(&format!("/api/v1/flows/{UNKNOWN}/versions/1"), "flow_not_found").await;
    check(&format!("/api/v1/flows/{id}/versions/2"), "version_not_found").await;
    check("/api/v1/environments/none", "environment_not_found").await;
    check(&format!("/api/v1/executions/{UNKNOWN}"), "execution_not_found").await;
    check(&format!("/api/v1/executions/{UNKNOWN}/steps/1"), "execution_not_found").await;
    check(&format!("/api/v1/executions/{UNKNOWN}/events"), "execution_not_found").await;
    check(&format!("/api/v1/executions/{UNKNOWN}/report?format=tap"), "execution_not_found").await;
    check(&format!("/api/v1/schedules/{UNKNOWN}"), "schedule_not_found").await;
    check(&format!("/api/v1/schedules/{UNKNOWN}/jobs"), "schedule_not_found").await;
    check(&format!("/api/v1/jobs/{UNKNOWN}"), "job_not_found").await;
    check(&format!("/api/v1/batches/{UNKNOWN}"), "batch_not_found").await;
    check(&format!("/api/v1/batches/{UNKNOWN}/report?format=tap"), "batch_not_found").await;
    app.post(&format!("/api/v1/batches/{UNKNOWN}/cancel"), &json!({})).await.problem(404, "batch_not_found");
    app.post("/api/v1/suites/none/executions", &json!({})).await.problem(404, "suite_not_found");
    for verb in ["pause", "resume", "trigger"] {
        let answer = app.post(&format!("/api/v1/schedules/{UNKNOWN}/{verb}"), &json!({})).await;
        answer.problem(404, "schedule_not_found");
    }
    app.post(&format!("/api/v1/jobs/{UNKNOWN}/retry"), &json!({})).await.problem(404, "job_not_found");
    let cancelled = app.post(&format!("/api/v1/executions/{UNKNOWN}/cancel"), &json!({})).await;
    cancelled.problem(404, "execution_not_found");
    let run = app.post(&format!("/api/v1/flows/{UNKNOWN}/executions"), &json!({})).await;
    run.problem(404, "flow_not_found");
    let run = app.post(&format!("/api/v1/flows/{id}/executions"), &json!({"version": 9})).await;
    run.problem(404, "version_not_found");
}

#[tokio::test]
async fn a_wrong_method_names_the_right_ones() {
    let app = TestApp::start().await;
    let answer = app.delete("/api/v1/flows").await;
    answer.problem(405, "method_not_allowed");
    let mut allowed: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    let options = Answer::of(app.request(Method::OPTIONS, "/api/v1/flows")).await;
    assert_eq!((options.status.as_u16(), options.header("allow")), (204, answer.header("allow")));
    let head = Answer::of(app.request(Method::HEAD, "/api/v1/flows")).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn a_query_is_read_strictly() {
    let app = TestApp::start().await;
    let check = async |query: &str, word: &str| {
        let problem = app.get(&format!("/api/v1/flows?{query}")).await.problem(422, "invalid_request");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{query}: {problem}");
    };
    check("limit=0", "limit").await;
    check("limit=201", "limit").await;
    check("limit=-1", "limit").await;
    check("limit=ten", "limit").await;
    check("limit=", "limit").await;
    check("limit=1&limit=2", "more than once").await;
    check("offset=1", "`offset`").await;
    check("cursor=bogus", "cursor").await;
    check("cursor=%00", "cursor").await;
    check("search=%00", "search").await;
    check("search=%ff", "UTF-8").await;
    check("tag=", "tag").await;
    let check =
        async |query: &str| app.get(&format!("/api/v1/executions?{query}")).await.problem(422, "invalid_request");
    check("status=Passed").await;
    check("trigger=cron").await;
    check("flow_id=1").await;
    check("since=yesterday").await;
    let problem = app.get("/livez?verbose=1").await.problem(422, "invalid_request");
    assert!(problem["detail"].as_str().unwrap().contains("takes none"));
}

#[tokio::test]
async fn an_id_that_is_none_is_a_broken_rule() {
    let app = TestApp::start().await;
    for id in ["1", "019a000000007000800000000000000g", "019a0000000070008000000000000000", "%00", "%ff"] {
        app.get(&format!("/api/v1/flows/{id}")).await.problem(422, "invalid_request");
        app.get(&format!("/api/v1/executions/{id}")).await.problem(422, "invalid_request");
    }
    app.get(&format!("/api/v1/flows/{UNKNOWN}/versions/0")).await.problem(422, "invalid_request");
    app.get(&format!("/api/v1/flows/{UNKNOWN}/versions/+1")).await.problem(422, "invalid_request");
    app.get("/api/v1/environments/%00").await.problem(422, "invalid_request");
}

#[tokio::test]
async fn a_body_is_read_strictly() {
    let app = TestApp::start().await;
    let send = async |content_type: &str, body: &[u8]| {
        let request = app.request(Method::POST, "/api/v1/environments").header("content-type", content_type);
        Answer::of(request.body(body.to_vec())).await
    };
    send("application/json", b"{").await.problem(400, "bad_request");
    send("application/json", b"").await.problem(400, "bad_request");
    send("application/json", b"{\"name\":\"\xff\"}").await.problem(400, "bad_request");
    send("application/json", "[".repeat(100_000).as_bytes()).await.problem(400, "bad_request");
    send("application/json", b"[]").await.problem(422, "invalid_request");
    send("application/json", b"{\"name\":1}").await.problem(422, "invalid_request");
    send("application/json", b"{\"name\":\"a\",\"name\":\"b\"}").await.problem(422, "invalid_request");
    let problem = send("application/json", b"{\"name\":\"a\",\"colour\":1}").await.problem(422, "invalid_request");
    assert!(problem["detail"].as_str().unwrap().contains("`colour`"), "{problem}");
    send("text/plain", b"{}").await.problem(415, "unsupported_media_type");
    send("application/yaml", b"{}").await.problem(415, "unsupported_media_type");
    send("application/JSON; charset=utf-8", b"{\"name\":\"a\"}").await.expect(201);
    let bare = Answer::of(app.request(Method::POST, "/api/v1/flows").body("name: x")).await;
    bare.problem(415, "unsupported_media_type");
    let request = app.request(Method::POST, "/api/v1/flows").header("content-type", "application/yaml");
    Answer::of(request.body(b"name: \xff".to_vec())).await.problem(400, "bad_request");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let limits = Limits { body_bytes: 1_000, ..Limits::default() };
    let app = TestApp::with(Differences { limits: Some(limits), ..Differences::default() }).await;
    let big = "x".repeat(1_001);
    app.send_yaml(Method::POST, "/api/v1/flows", &big).await.problem(413, "payload_too_large");
    let chunks = futures::stream::iter(vec![Ok::<_, std::io::Error>(big)]);
    let request = app.request(Method::POST, "/api/v1/flows").header("content-type", "application/yaml");
    Answer::of(request.body(reqwest::Body::wrap_stream(chunks))).await.problem(413, "payload_too_large");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let limits = Limits { body_time: Duration::from_millis(50), ..Limits::default() };
    let app = TestApp::with(Differences { limits: Some(limits), ..Differences::default() }).await;
    let never = futures::stream::pending::<Result<String, std::io::Error>>();
    let request = app.request(Method::POST, "/api/v1/flows").header("content-type", "application/yaml");
    Answer::of(request.body(reqwest::Body::wrap_stream(never))).await.problem(400, "bad_request");
}

#[tokio::test]
async fn a_run_has_rules_too() {
    let app = TestApp::start().await;
    let id = app.stored(HELLO).await;
    let check = async |query: &str, body: &Value, word: &str| {
        let answer = app.post(&format!("/api/v1/flows/{id}/executions{query}"), body).await;
        let problem = answer.problem(422, "invalid_request");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{query} {body}: {problem}");
    };
    check("?wait=121s", &json!({}), "120 s").await;
    check("?wait=soon", &json!({}), "`wait`").await;
    check("", &json!({"environment": "nowhere"}), "`nowhere`").await;
    check("", &json!({"version": 0}), "`version`").await;
    check("", &json!({"variables": {"": 1}}), "`variables`").await;
    check("", &json!({"variables": []}), "map").await;
    check("", &json!({"dryrun": true}), "`dryrun`").await;
    check("", &json!({"seed": -1}), "-1").await;
    let request = app.request(Method::POST, &format!("/api/v1/flows/{id}/executions"));
    Answer::of(request.header("idempotency-key", "a b")).await.problem(422, "invalid_request");
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_when_to_come_back() {
    let config = ExecutorConfig { concurrency: 1, queue: 0, ..ExecutorConfig::default() };
    let app = TestApp::with(Differences { executor: Some(config), ..Differences::default() }).await;
    let running = app.send_yaml(Method::POST, "/api/v1/executions?wait=100ms", SLOW).await.expect(202);
    assert_eq!(running["status"], "running");
    let refused = app.send_yaml(Method::POST, "/api/v1/executions", HELLO).await;
    refused.problem(503, "overloaded");
    assert_eq!(refused.header("retry-after"), "1");
}

#[tokio::test]
async fn a_fault_in_the_server_tells_its_request_id_and_nothing_else() {
    let app = TestApp::with(Differences { faulty_check: true, ..Differences::default() }).await;
    let problem = app.get("/readyz").await.problem(500, "internal");
    assert!(!problem.to_string().contains("a test asked for"), "{problem}");
    assert!(problem["request_id"].is_string(), "{problem}");
}

#[tokio::test]
async fn a_run_that_takes_longer_than_it_may_is_an_error_with_its_code() {
    let app = TestApp::start().await;
    let flow = SLOW.replace("name: slow", "name: slow\nconfig:\n  timeout: 50ms");
    let finished = app.send_yaml(Method::POST, "/api/v1/executions?wait=30s", &flow).await.expect(200);
    assert_eq!((&finished["status"], &finished["error"]["code"]), (&json!("error"), &json!("timeout")), "{finished}");
}

#[tokio::test]
async fn a_cron_expression_is_checked() {
    let app = TestApp::start().await;
    let body = json!({"cron": "0 12 * * *", "timezone": "Europe/Berlin", "count": 3});
    let preview = app.post("/api/v1/schedules/preview", &body).await.expect(200);
    assert_eq!(preview["next"].as_array().unwrap().len(), 3);
    let check = async |body: &Value, word: &str| {
        let problem = app.post("/api/v1/schedules/preview", body).await.problem(422, "invalid_request");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
    };
    check(&json!({"cron": "61 * * * *"}), "minute").await;
    check(&json!({"cron": "* * * * *", "timezone": "Mars/Olympus"}), "`timezone`").await;
    check(&json!({"cron": "* * * * *", "count": 101}), "`count`").await;
    check(&json!({"cron": "* * * * *", "count": 0}), "`count`").await;
}
