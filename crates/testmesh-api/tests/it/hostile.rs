//! Hostile input to every route: always a problem document or a plain answer, never a 500, never a hang.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{Answer, HELLO, TestApp};

/// Bodies that no route should like, with their content types.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let deep_json =
        [&b"{\"variables\":"[..], "[".repeat(50_000).as_bytes(), "]".repeat(50_000).as_bytes(), b"}"].concat();
    let deep_yaml = format!("name: x\nsteps: {}", "[".repeat(50_000)).into_bytes();
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c]\n";
    vec![
        ("application/json", deep_json),
        ("application/json", b"\xff\xfe\x00".to_vec()),
        ("application/json", b"null".to_vec()),
        ("application/json", b"[1,2".to_vec()),
        ("application/json", b"{\"yaml\":5}".to_vec()),
        (
            "application/json",
            b"{\"yaml\":\"name: \\\"\\u0000\\\"\\nsteps: [{action: log, config: {message: x}}]\"}".to_vec(),
        ),
        ("application/json", b"{\"name\":\"\\ud800\"}".to_vec()),
        ("application/json", b"{\"cron\":\"* * * * *\",\"count\":1e400}".to_vec()),
        ("application/json", format!("{{\"name\":\"{}\"}}", "x".repeat(1 << 20)).into_bytes()),
        ("application/yaml", deep_yaml),
        ("application/yaml", bomb.as_bytes().to_vec()),
        ("application/yaml", b"\xff".to_vec()),
        ("application/yaml", b"\0\0\0".to_vec()),
        ("application/yaml", b"- - - -\n\t: :".to_vec()),
        ("application/yaml", "x".repeat((4 << 20) + 1).into_bytes()),
        ("application/octet-stream", b"\x00\x01".to_vec()),
        ("not a media type", b"{}".to_vec()),
    ]
}

fn check(answer: &Answer, what: &str) {
    let status = answer.status.as_u16();
    assert_ne!(status, 500, "{what}: {}", answer.text);
    if status >= 400 && !(status == 503 && what.contains("readyz")) {
        let problem: Value = answer.json();
        assert_eq!(problem["status"], status, "{what}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
    }
}

#[tokio::test]
async fn hostile_bodies_are_refused_by_every_route() {
    let app = TestApp::start().await;
    let flow = app.stored(HELLO).await;
    let document = app.get("/api/openapi.json").await.expect(200);
    for (template, item) in document["paths"].as_object().unwrap() {
        let path = template
            .replace("{id}", &flow)
            .replace("{version}", "1")
            .replace("{step}", "1")
            .replace("{name}", "none")
            .replace("{file}", "x")
            .replace("{code}", "x");
        for method in item.as_object().unwrap().keys().filter(|method| *method != "get" && *method != "delete") {
            let method: Method = method.to_uppercase().parse().unwrap();
            for (content_type, body) in bodies() {
                let request = app.request(method.clone(), &path).header("content-type", content_type);
                let sent = request.body(body).send().await;
                // A body over the limit may be cut off before its answer is read.
                let Ok(response) = sent else { continue };
                let (status, headers) = (response.status(), response.headers().clone());
                let Ok(text) = response.text().await else { continue };
                check(&Answer { status, headers, text }, &format!("{method} {template} {content_type}"));
            }
        }
    }
    app.get(&format!("/api/v1/flows/{flow}")).await;
    assert_eq!(app.get("/livez").await.status.as_u16(), 200);
}

#[tokio::test]
async fn hostile_paths_and_queries_are_refused_by_every_route() {
    let app = TestApp::start().await;
    let document = app.get("/api/openapi.json").await.expect(200);
    let long = "a".repeat(6_000);
    let words = ["%00", "%ff%fe", "%2e%2e", "..%2f..", "'%20or%201=1--", "%F0%9F%99%82", "-1", &long];
    for (template, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            for word in words {
                let path = template.split('/').map(|part| if part.starts_with('{') { word } else { part });
                let path = path.collect::<Vec<_>>().join("/");
                let answer = Answer::of(app.request(method.clone(), &path)).await;
                check(&answer, &format!("{method} {path}"));
                let plain = template.replace(['{', '}'], "");
                for query in [format!("limit={word}"), format!("{word}=1"), format!("cursor={word}&format={word}")] {
                    let answer = Answer::of(app.request(method.clone(), &format!("{plain}?{query}"))).await;
                    check(&answer, &format!("{method} {plain}?{query}"));
                }
            }
        }
    }
}

/// What the server says to raw bytes; empty when it says nothing before it hangs up.
async fn raw(app: &TestApp, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(&app.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer)).await;
    read.expect("the server hangs up or answers").unwrap_or_default();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_that_are_no_http_are_hung_up_on() {
    let app = TestApp::start().await;
    let garbage = raw(&app, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").await;
    assert!(garbage.is_empty() || garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    let close = "host: localhost\r\nconnection: close\r\n";
    let odd = raw(&app, format!("MADEUP /livez HTTP/1.1\r\n{close}\r\n").as_bytes()).await;
    assert!(odd.starts_with("HTTP/1.1 405"), "{odd}");
    let header = raw(&app, format!("GET /livez HTTP/1.1\r\n{close}x-request-id: \u{e9}\r\n\r\n").as_bytes()).await;
    assert!(header.starts_with("HTTP/1.1 200"), "{header}");
    let short = format!(
        "POST /api/v1/flows HTTP/1.1\r\n{close}content-type: application/yaml\r\ncontent-length: 5\r\n\r\nname:"
    );
    let short = raw(&app, short.as_bytes()).await;
    assert!(short.starts_with("HTTP/1.1 422"), "{short}");
}

#[tokio::test]
async fn a_head_that_never_ends_is_hung_up_on() {
    let app = TestApp::start().await;
    // The longest a request's head may take is ten seconds; `raw` gives up after fifteen.
    let answer = raw(&app, b"GET /livez HTTP/1.1\r\nhost: localhost\r\n").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}
