//! Who may call: the whole route table is walked, so a route that someone forgot to guard is found.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use testmesh_api::{NewToken, Scope};

use crate::app::{Answer, Differences, TestApp};

/// Routes that anyone may call.
const PUBLIC: [&str; 3] = ["/", "/livez", "/readyz"];

/// Every method and path of the OpenAPI document, with the scope it names and its parameters filled in.
fn routes(document: &Value) -> Vec<(Method, String, String, Option<String>)> {
    let mut routes = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        let path = template
            .replace("{id}", "019a0000-0000-7000-8000-000000000000")
            .replace("{version}", "1")
            .replace("{step}", "1")
            .replace("{name}", "none")
            .replace("{file}", "swagger-ui.css")
            .replace("{code}", "internal");
        assert!(!path.contains('{'), "{path}: give its parameter a value above");
        for (method, operation) in item.as_object().unwrap() {
            let scope = operation["security"][0]["bearer"][0].as_str().map(str::to_owned);
            routes.push((method.to_uppercase().parse().unwrap(), template.clone(), path.clone(), scope));
        }
    }
    routes
}

#[tokio::test]
async fn every_route_needs_a_token_of_its_scope() {
    let (app, tokens) = TestApp::with_tokens().await;
    let admin = tokens.iter().find(|(scope, _)| *scope == Scope::Admin).unwrap();
    let document = Answer::of(app.request(Method::GET, "/api/openapi.json").bearer_auth(&admin.1)).await.expect(200);
    let routes = routes(&document);
    assert!(routes.len() >= 30, "the document lists {} routes", routes.len());
    for (method, template, path, scope) in routes {
        let name = format!("{method} {template}");
        let Some(scope) = scope else {
            assert!(PUBLIC.contains(&template.as_str()), "{name} is public");
            assert_eq!(app.get(&path).await.status.as_u16(), 200, "{name}");
            continue;
        };
        let needed: Scope = scope.parse().unwrap();
        let bare = Answer::of(app.request(method.clone(), &path)).await;
        bare.problem(401, "unauthorized");
        assert_eq!(bare.header("www-authenticate"), "Bearer realm=\"testmesh\"", "{name}");
        let unknown = Answer::of(app.request(method.clone(), &path).bearer_auth("tm_unknown")).await;
        unknown.problem(401, "unauthorized");
        for (scope, token) in &tokens {
            let status = Answer::of(app.request(method.clone(), &path).bearer_auth(token)).await.status.as_u16();
            assert_eq!(status == 403, *scope < needed, "{name} with `{scope}`: {status}");
            assert_ne!(status, 401, "{name} with `{scope}`");
        }
    }
}

#[tokio::test]
async fn changes_need_more_than_reading() {
    let (app, tokens) = TestApp::with_tokens().await;
    let admin = &tokens.last().unwrap().1;
    let document = Answer::of(app.request(Method::GET, "/api/openapi.json").bearer_auth(admin)).await.expect(200);
    for (method, template, _, scope) in routes(&document) {
        let harmless = matches!(template.as_str(), "/api/v1/flows/validate" | "/api/v1/schedules/preview");
        if method != Method::GET && !harmless {
            assert_ne!(scope.as_deref(), Some("read"), "{method} {template}");
            assert!(scope.is_some(), "{method} {template}");
        }
    }
}

#[tokio::test]
async fn what_is_no_route_is_not_told_to_strangers() {
    let (app, tokens) = TestApp::with_tokens().await;
    app.get("/nowhere").await.problem(401, "unauthorized");
    app.delete("/livez").await.problem(401, "unauthorized");
    let known = app.request(Method::GET, "/nowhere").bearer_auth(&tokens[0].1);
    Answer::of(known).await.problem(404, "route_not_found");
}

#[tokio::test]
async fn an_authorization_that_is_no_bearer_token_is_refused() {
    let (app, tokens) = TestApp::with_tokens().await;
    let token = &tokens[3].1;
    let check = async |value: &str, expect: u16| {
        let answer = Answer::of(app.request(Method::GET, "/health").header("authorization", value)).await;
        assert_eq!(answer.status.as_u16(), expect, "{value}");
        assert!(!answer.text.contains(token.as_str()), "an answer must not repeat a token");
    };
    check(&format!("Bearer {token}"), 200).await;
    check(&format!("bearer {token}"), 200).await;
    check(token, 401).await;
    check(&format!("Basic {token}"), 401).await;
    check("Bearer", 401).await;
    check("Bearer ", 401).await;
}

#[tokio::test]
async fn a_changed_tokens_file_is_noticed() {
    let (app, tokens) = TestApp::with_tokens().await;
    let ask =
        async |token: &str| Answer::of(app.request(Method::GET, "/health").bearer_auth(token)).await.status.as_u16();
    assert_eq!(ask(&tokens[0].1).await, 200);
    let fresh = NewToken::generate("fresh", Scope::Read).unwrap();
    std::fs::write(app.tokens_file(), format!("{}\n# the only one now\n", fresh.line)).unwrap();
    let noticed = tokio::time::timeout(Duration::from_secs(10), async {
        while ask(&fresh.token).await != 200 {
            tokio::task::yield_now().await;
        }
    });
    noticed.await.expect("the file is read again within a second or so");
    assert_eq!(ask(&tokens[0].1).await, 401, "a token that was taken out opens nothing");
}

#[tokio::test]
async fn without_tokens_only_loopback_names_are_answered() {
    let app = TestApp::start().await;
    let check = async |host: &str, expect: u16| {
        let answer = Answer::of(app.request(Method::GET, "/livez").header("host", host)).await;
        assert_eq!(answer.status.as_u16(), expect, "{host}");
    };
    check("localhost:1", 200).await;
    check("[::1]", 200).await;
    check("rebound.example", 403).await;
    let answer = Answer::of(app.request(Method::GET, "/api/v1/flows").header("host", "rebound.example")).await;
    answer.problem(403, "forbidden");
}

#[tokio::test]
async fn a_page_of_another_site_cannot_write() {
    let origins = vec!["https://tests.example".to_owned()];
    let app = TestApp::with(Differences { origins, ..Differences::default() }).await;
    let own = format!("http://{}", app.address);
    let check = async |origin: &str, expect: u16| {
        let request = app.request(Method::POST, "/api/v1/flows/validate").header("content-type", "application/yaml");
        let answer = Answer::of(request.header("origin", origin).body("name: x")).await;
        assert_eq!(answer.status.as_u16(), expect, "{origin}");
        answer
    };
    check("https://evil.example", 403).await;
    check("null", 403).await;
    check(&own, 200).await;
    let answer = check("https://tests.example", 200).await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://tests.example");

    let preflight = app
        .request(Method::OPTIONS, "/api/v1/flows")
        .header("origin", "https://tests.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,authorization");
    let answer = Answer::of(preflight).await;
    assert_eq!(answer.status.as_u16(), 200);
    assert!(answer.header("access-control-allow-methods").contains("POST"));
}

#[tokio::test]
async fn without_named_origins_there_is_no_cors() {
    let app = TestApp::start().await;
    let answer = Answer::of(app.request(Method::GET, "/livez").header("origin", "https://evil.example")).await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(answer.header("access-control-allow-origin"), "");
}
