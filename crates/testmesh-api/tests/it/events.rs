//! Live events: resumable, complete, ended by the end of the run.

use futures::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use testmesh_api::Limits;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::app::{Answer, Differences, HELLO, SLOW, TestApp};

/// Path of a finished run.
async fn run(app: &TestApp, yaml: &str) -> String {
    let answer = app.post("/api/v1/executions?wait=30s", &json!({ "yaml": yaml })).await;
    answer.expect(200);
    answer.header("location").to_owned()
}

/// The events of a stream that has ended: `(id, event, data)`.
fn parse(text: &str) -> Vec<(u64, String, Value)> {
    let blocks = text.split("\n\n").filter(|block| block.contains("data:"));
    blocks
        .map(|block| {
            let field = |name: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.trim_start_matches(':').trim().to_owned()
            };
            (field("id").parse().unwrap(), field("event"), serde_json::from_str(&field("data")).unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_finished_run_is_replayed_and_the_stream_ends() {
    let app = TestApp::start().await;
    let path = run(&app, HELLO).await;
    let stream = app.get(&format!("{path}/events")).await;
    assert_eq!((stream.status.as_u16(), stream.header("content-type")), (200, "text/event-stream"));
    let events = parse(&stream.text);
    for (index, (id, event, data)) in events.iter().enumerate() {
        assert_eq!((*id, &data["seq"]), (index as u64 + 1, &json!(index + 1)), "sequence without gaps");
        assert_eq!(data["type"], event.as_str());
    }
    assert_eq!(events.first().unwrap().1, "execution.queued");
    assert_eq!(events.last().unwrap().1, "execution.finished");
    assert_eq!(events.last().unwrap().2["data"]["status"], "passed");
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event_seen() {
    let app = TestApp::start().await;
    let path = run(&app, HELLO).await;
    let all = parse(&app.get(&format!("{path}/events")).await.text);
    for seen in 0..=all.len() {
        let request = app.request(Method::GET, &format!("{path}/events")).header("last-event-id", seen.to_string());
        assert_eq!(parse(&Answer::of(request).await.text), all[seen..], "after {seen}");
    }
    for odd in ["", "x", "-1", "9223372036854775808"] {
        let request = app.request(Method::GET, &format!("{path}/events")).header("last-event-id", odd);
        Answer::of(request).await.problem(422, "invalid_request");
    }
}

#[tokio::test]
async fn a_live_stream_sees_the_run_end() {
    let app = TestApp::start().await;
    let started = app.post("/api/v1/executions", &json!({ "yaml": SLOW })).await;
    let path = started.header("location").to_owned();
    let events = format!("{path}/events");
    let watch = app.get(&events);
    let cancel = async { app.post(&format!("{path}/cancel"), &json!({})).await.expect(202) };
    let (stream, _) = tokio::join!(watch, cancel);
    let events = parse(&stream.text);
    assert_eq!(events.last().unwrap().2["data"]["status"], "cancelled");
    assert_eq!(events.len() as u64, events.last().unwrap().0);
}

#[tokio::test]
async fn a_socket_tells_the_same_as_a_stream() {
    let app = TestApp::start().await;
    let path = run(&app, HELLO).await;
    let id = path.rsplit('/').next().unwrap();
    let expected: Vec<_> =
        parse(&app.get(&format!("{path}/events")).await.text).into_iter().map(|event| event.2).collect();
    for since in [0, 2] {
        let url = format!("ws://{}/ws/executions/{id}?since={since}", app.address);
        let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
        let mut events = Vec::new();
        let close = loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Text(text) => events.push(serde_json::from_str::<Value>(&text).unwrap()),
                Message::Close(frame) => break frame.unwrap(),
                _ => {}
            }
        };
        assert_eq!(events, expected[since..]);
        assert_eq!(u16::from(close.code), 1000);
    }
}

#[tokio::test]
async fn a_socket_is_opened_by_trusted_pages_alone() {
    let app = TestApp::start().await;
    let path = run(&app, HELLO).await;
    let url = format!("ws://{}/ws/executions/{}", app.address, path.rsplit('/').next().unwrap());
    let status = async |origin: &str| {
        let mut request = url.as_str().into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        match tokio_tungstenite::connect_async(request).await {
            Ok((mut socket, response)) => {
                socket.close(None).await.unwrap();
                response.status().as_u16()
            }
            Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(status(&format!("http://{}", app.address)).await, 101);
    assert_eq!(status("https://evil.example").await, 403);
    let plain = app.get(&format!("/ws/executions/{}", path.rsplit('/').next().unwrap())).await;
    plain.problem(400, "bad_request");
}

#[tokio::test]
async fn streams_are_counted_and_given_back() {
    let limits = Limits { streams: 1, ..Limits::default() };
    let app = TestApp::with(Differences { limits: Some(limits), ..Differences::default() }).await;
    let started = app.post("/api/v1/executions", &json!({ "yaml": SLOW })).await;
    let path = started.header("location").to_owned();
    let id = path.rsplit('/').next().unwrap();
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{}/ws/executions/{id}", app.address)).await.unwrap();
    let refused = app.get(&format!("{path}/events")).await;
    refused.problem(503, "too_many_streams");
    assert_ne!(refused.header("retry-after"), "");
    app.post(&format!("{path}/cancel"), &json!({})).await.expect(202);
    while let Some(Ok(message)) = socket.next().await {
        if message.is_close() {
            break;
        }
    }
    let _ = socket.send(Message::Close(None)).await;
    let free = async {
        while app.get(&format!("{path}/events")).await.status.as_u16() != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), free).await.expect("the place is given back");
}
