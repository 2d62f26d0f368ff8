//! The server itself: health, measurements, documentation, headers.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use testmesh_api::{Access, Callers, Check, Metrics, SystemState, serve, system_router};
use testmesh_shared::clock::SystemClock;
use testmesh_shared::tasks::Tasks;
use tokio_util::sync::CancellationToken;

use crate::app::{Answer, Differences, TestApp};

#[tokio::test]
async fn readiness_follows_its_checks() {
    let app = TestApp::start().await;
    let ready = app.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.text.as_str()), (200, "flows_database: ok\n"));
    let health = app.get("/health").await.expect(200);
    assert_eq!((&health["status"], &health["checks"]), (&json!("healthy"), &json!({"flows_database": "ok"})));

    app.stopping.cancel();
    let stopping = app.get("/readyz").await;
    assert_eq!((stopping.status.as_u16(), stopping.text.as_str()), (503, "flows_database: ok\nstopping: failing\n"));
    assert_eq!(app.get("/livez").await.status.as_u16(), 200);

    let broken = TestApp::with(Differences { broken_check: true, ..Differences::default() }).await;
    assert_eq!(broken.get("/readyz").await.status.as_u16(), 503);
    let health = broken.get("/health").await.expect(503);
    assert_eq!((&health["status"], &health["checks"]["flows_database"]), (&json!("degraded"), &json!("failing")));
}

#[tokio::test]
async fn measurements_are_labelled_with_templates() {
    let app = TestApp::start().await;
    app.get("/api/v1/environments/secret-looking-name").await.problem(404, "environment_not_found");
    app.get("/made/up/by/a/caller").await.problem(404, "route_not_found");
    let metrics = app.get("/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    let line = "testmesh_http_requests_total{method=\"GET\",path=\"/api/v1/environments/{name}\",status=\"404\"}";
    assert!(metrics.text.contains(line), "{}", metrics.text);
    assert!(metrics.text.contains("testmesh_http_request_duration_seconds_bucket"));
    assert!(!metrics.text.contains("secret-looking-name") && !metrics.text.contains("made/up"));
}

#[tokio::test]
async fn a_request_id_is_taken_over_or_made() {
    let app = TestApp::start().await;
    let ask = async |id: &str| Answer::of(app.request(Method::GET, "/livez").header("x-request-id", id)).await;
    assert_eq!(ask("build-42.1_a").await.header("x-request-id"), "build-42.1_a");
    for odd in ["", "two words", "a\"b", &"x".repeat(129)] {
        let made = ask(odd).await.header("x-request-id").to_owned();
        assert!(made.len() == 36 && made != odd, "{odd:?}: {made}");
    }
}

#[tokio::test]
async fn pages_run_no_inline_script() {
    let app = TestApp::start().await;
    for path in ["/", "/docs"] {
        let page = app.get(path).await;
        assert_eq!(page.status.as_u16(), 200);
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!((page.header("x-content-type-options"), page.header("referrer-policy")), ("nosniff", "no-referrer"));
        for (index, _) in page.text.match_indices("<script") {
            assert!(page.text[index..].starts_with("<script src=\"/docs/"), "{path} has an inline script");
        }
        assert!(!page.text.contains("style=") && !page.text.contains("<style"), "{path} has an inline style");
        for link in page.text.split("href=\"").chain(page.text.split("src=\"")).skip(1) {
            let target = link.split('"').next().unwrap();
            if target.starts_with('/') {
                assert_eq!(app.get(target).await.status.as_u16(), 200, "{path} links to {target}");
            }
        }
    }
    let script = app.get("/docs/swagger-ui-bundle.js").await;
    assert!(script.text.len() > 100_000 && script.header("content-type").contains("javascript"));
}

#[tokio::test]
async fn the_first_page_names_the_address_it_was_reached_by() {
    let app = TestApp::start().await;
    for (host, shown) in [
        ("localhost:8080", "'http://localhost:8080/api/v1/executions?wait=30s'"),
        ("[::1]:7", "'http://[::1]:7/api/v1/executions?wait=30s'"),
    ] {
        let page = Answer::of(app.request(Method::GET, "/").header("host", host)).await;
        assert!(page.text.contains(shown), "{}", page.text);
    }
}

#[tokio::test]
async fn the_document_describes_every_answer() {
    let app = TestApp::start().await;
    let document = app.get("/api/openapi.json").await.expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert!(operation["operationId"].is_string(), "{name}");
            assert!(operation["summary"].is_string(), "{name}");
            assert!(operation.get("x-errors").is_none(), "{name}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{name} {status}");
                let error = status.starts_with('4') || status.starts_with('5');
                let problem = response["content"].get("application/problem+json").is_some();
                let health = matches!(path.as_str(), "/readyz" | "/health") && status == "503";
                assert_eq!(error && !health, problem, "{name} {status}");
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["description"].is_string(), "{name}: {parameter}");
            }
        }
    }
}

#[tokio::test]
async fn stopping_ends_the_server() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/livez").await.status.as_u16(), 200);
    app.stop().await;
    assert!(app.request(Method::GET, "/livez").send().await.is_err());
}

#[tokio::test]
async fn a_process_without_the_api_answers_about_itself_alone() {
    for (callers, host, shown) in [
        (Callers::Anyone, "10.0.0.7:5016", 200),
        (Callers::Local, "10.0.0.7:5016", 403),
        (Callers::Local, "localhost", 200),
    ] {
        let stop = CancellationToken::new();
        let state = SystemState {
            clock: Arc::new(SystemClock),
            access: Access { callers, origins: Vec::new() },
            checks: vec![Check::new("executions_database", async || Ok(()))],
            metrics: Metrics::install(),
            stopping: CancellationToken::new(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        tasks.spawn(serve(listener, system_router(state), stop.clone(), Duration::from_secs(1)));
        let client = reqwest::Client::builder().build().unwrap();
        let ask =
            async |path: &str| Answer::of(client.get(format!("http://{address}{path}")).header("host", host)).await;
        for path in ["/livez", "/readyz", "/health", "/metrics"] {
            assert_eq!(ask(path).await.status.as_u16(), shown, "{path}");
        }
        if shown == 200 {
            assert_eq!(ask("/readyz").await.text, "executions_database: ok\n");
            for path in ["/", "/api/v1/flows", "/api/openapi.json", "/docs"] {
                ask(path).await.problem(404, "route_not_found");
            }
        }
        stop.cancel();
        tasks.join().await;
    }
}
