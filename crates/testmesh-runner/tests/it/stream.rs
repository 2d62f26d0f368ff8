//! `stream: true` of `http_request`, against a real server of events.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use futures::{Stream, StreamExt};
use testmesh_runner::record::{ErrorKind, StepRecord, StepStatus};
use testmesh_shared::tasks::Tasks;
use tokio::net::TcpListener;
use tokio::sync::broadcast;

use crate::run::{Setting, passed, run_steps, run_steps_in};

struct Server {
    address: SocketAddr,
    state: Shared,
    tasks: Tasks,
}

#[derive(Clone)]
struct Shared {
    news: broadcast::Sender<String>,
    /// Streams that are open.
    open: Arc<AtomicUsize>,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
    }
}

impl Server {
    async fn start() -> Self {
        let state = Shared { news: broadcast::channel(16).0, open: Arc::default() };
        let app = Router::new()
            .route("/counted", get(async || counted(3)))
            .route("/endless", get(endless))
            .route("/news", get(news))
            .route("/say", post(say))
            .route("/refused", get(async || (StatusCode::FORBIDDEN, "not for you")))
            .with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let cancelled = tasks.cancelled().clone();
        tasks.spawn(async move { cancelled.run_until_cancelled(async { axum::serve(listener, app).await }).await });
        Self { address, state, tasks }
    }

    fn steps(&self, steps: &str) -> String {
        steps.replace("BASE", &format!("http://{}", self.address))
    }

    async fn run(&self, steps: &str) -> Vec<StepRecord> {
        run_steps(&self.steps(steps)).await
    }

    async fn until_closed(&self) {
        while self.state.open.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }
}

type Events = Sse<std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>>;

/// Tells the first `n` numbers and ends.
fn counted(n: usize) -> Events {
    let event = |n: usize| Ok(Event::default().event("count").id(format!("e{n}")).data(format!("{{\"n\":{n}}}")));
    Sse::new(futures::stream::iter(1..=n).map(event).boxed())
}

/// Tells the first numbers and then nothing.
async fn endless(State(state): State<Shared>) -> Events {
    state.open.fetch_add(1, Ordering::SeqCst);
    let open = Open(state.open);
    let told = futures::stream::iter(1..=2).map(|n: usize| Ok(Event::default().data(format!("plain {n}"))));
    let rest = futures::stream::once(async move {
        let _open = open;
        std::future::pending::<Result<Event, Infallible>>().await
    });
    Sse::new(told.chain(rest).boxed())
}

/// Tells what is said from now on.
async fn news(State(state): State<Shared>) -> Events {
    let heard = futures::stream::unfold(state.news.subscribe(), async |mut news| {
        let text = news.recv().await.ok()?;
        Some((Ok(Event::default().event("news").data(text)), news))
    });
    Sse::new(heard.boxed())
}

async fn say(State(state): State<Shared>, text: String) -> impl IntoResponse {
    let heard = state.news.send(text).map_or(0, |n| n);
    heard.to_string()
}

#[tokio::test]
async fn events_are_taken_until_there_are_enough() {
    let server = Server::start().await;
    let records = server
        .run(
            r#"
- action: http_request
  config: {url: "BASE/counted", stream: true, until: "$.n == 2"}
  assert:
    - status == 200
    - len(events) == 2
    - 'events[1].event == "count"'
    - 'events[1].id == "e2"'
    - events[1].json.n == 2
    - 'events[0].data == "{\"n\":1}"'
    - headers["content-type"] == "text/event-stream"
  output: {first: $.n}
- action: http_request
  config: {url: "BASE/endless", stream: true, count: 2}
  assert: ['events[1].data == "plain 2"', 'events[0].json == nil', 'events[0].event == "message"']
- action: http_request
  config: {url: "BASE/counted", stream: true}
  assert: [len(events) == 3, first == 1]
- action: http_request
  config: {url: "BASE/endless", stream: true, timeout: 300ms}
  assert: [len(events) == 2]
- action: http_request
  config: {url: "BASE/refused", stream: true, until: "1 == 2"}
  assert: [status == 403, len(events) == 0, 'body == "not for you"']
- action: http_request
  config: {url: "BASE/refused", stream: false}
  assert: [status == 403]
"#,
        )
        .await;
    passed(&records);
    server.until_closed().await;
}

#[tokio::test]
async fn an_event_that_the_next_step_causes_is_collected() {
    let server = Server::start().await;
    let records = server
        .run(
            r#"
- id: told
  action: http_request
  background: true
  config: {url: "BASE/news", stream: true, until: 'event == "news" and $.id == 7', timeout: 10s}
- action: http_request
  config: {url: "BASE/say", body: '{"id":6}', headers: {Content-Type: text/plain}}
  assert: [body == "1"]
- action: http_request
  config: {url: "BASE/say", body: '{"id":7}', headers: {Content-Type: text/plain}}
- await: told
  assert: [len(events) == 2, 'events[1].json.id == 7', status == 200]
"#,
        )
        .await;
    passed(&records);
}

#[tokio::test]
async fn trouble_names_the_request_and_what_was_missed() {
    let server = Server::start().await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases = [
        (
            "url: 'BASE/counted', until: '$.n == 9'".to_owned(),
            ErrorKind::Connection,
            "the stream ended: 3 events, and `$.n == 9` did not hold",
        ),
        ("url: 'BASE/counted', count: 4".to_owned(), ErrorKind::Connection, "the stream ended: 3 of 4 events"),
        (
            "url: 'BASE/counted', count: 2, until: '$.n == 9'".to_owned(),
            ErrorKind::Protocol,
            "did not hold for any of 2 events",
        ),
        ("url: 'BASE/endless', count: 3, timeout: 300ms".to_owned(), ErrorKind::Timeout, "2 of 3 events within 300ms"),
        (
            "url: 'BASE/refused', count: 1".to_owned(),
            ErrorKind::Protocol,
            "the answer is no stream of events: status 403, text/plain",
        ),
        ("url: 'BASE/counted', count: 3, max_body: 20".to_owned(), ErrorKind::Protocol, "`max_body`"),
        (format!("url: 'http://{unused}/', count: 1"), ErrorKind::Connection, "GET http://127.0.0.1"),
    ];
    for (config, kind, message) in cases {
        let records = server.run(&format!("- action: http_request\n  config: {{stream: true, {config}}}\n")).await;
        let error = records[0].error.clone().unwrap_or_else(|| panic!("it passed: {config}"));
        assert!(error.message.contains(message), "{config}: {}", error.message);
        assert_eq!(error.kind, kind, "{config}: {}", error.message);
    }
    server.until_closed().await;
}

#[tokio::test]
async fn a_cancelled_step_closes_its_stream() {
    let server = Server::start().await;
    let steps = server.steps(
        "- id: waits\n  action: http_request\n  config: {url: 'BASE/endless', stream: true, count: 3, timeout: 1h}\n",
    );
    let cancel = tokio_util::sync::CancellationToken::new();
    let setting = Setting { cancel: cancel.clone(), ..Setting::default() };
    let open = Arc::clone(&server.state.open);
    let (records, ()) = tokio::join!(run_steps_in(&steps, setting), async {
        while open.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    });
    assert_eq!(records[0].status, StepStatus::Cancelled);
    server.until_closed().await;
}
