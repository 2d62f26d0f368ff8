//! `websocket` in flows, against a real server: every verb, scripts, and everything that goes wrong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use futures::StreamExt;
use parking_lot::Mutex;
use serde_json::json;
use testmesh_runner::record::{ErrorKind, StepRecord, StepStatus};
use testmesh_shared::net::NetPolicy;
use testmesh_shared::tasks::Tasks;
use tokio::net::TcpListener;

use crate::run::{Setting, passed, run_steps, run_steps_in};
use crate::secure::{Start, in_front_of, says};

/// A server of several kinds of conversation.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    tasks: Tasks,
}

/// What the server saw.
#[derive(Default)]
struct Seen {
    open: AtomicUsize,
    /// Codes that clients closed with; 0 for those that just went.
    codes: Mutex<Vec<u16>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        let seen = Arc::new(Seen::default());
        let app = Router::new()
            .route("/echo", get(echo))
            .route("/prices", get(async |upgrade: WebSocketUpgrade, seen| talk(upgrade, seen, Kind::Prices)))
            .route("/slam", get(async |upgrade: WebSocketUpgrade, seen| talk(upgrade, seen, Kind::Slam)))
            .route("/bye", get(async |upgrade: WebSocketUpgrade, seen| talk(upgrade, seen, Kind::Bye)))
            .route("/large", get(async |upgrade: WebSocketUpgrade, seen| talk(upgrade, seen, Kind::Large)))
            .route("/plain", get(async || (StatusCode::FORBIDDEN, "not for you")))
            .with_state(Arc::clone(&seen));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let cancelled = tasks.cancelled().clone();
        tasks.spawn(async move { cancelled.run_until_cancelled(async { axum::serve(listener, app).await }).await });
        Self { address, seen, tasks }
    }

    async fn run(&self, steps: &str) -> Vec<StepRecord> {
        run_steps(&steps.replace("WS", &format!("ws://{}", self.address))).await
    }

    /// Waits until no connection is open, and gives the codes that they were closed with.
    async fn codes(&self) -> Vec<u16> {
        while self.seen.open.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
        self.seen.codes.lock().clone()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    /// Says three things at once, then answers.
    Prices,
    /// Goes without a word.
    Slam,
    /// Closes with a reason.
    Bye,
    /// Sends a mebibyte.
    Large,
}

async fn echo(upgrade: WebSocketUpgrade, headers: HeaderMap, State(seen): State<Arc<Seen>>) -> impl IntoResponse {
    let asked = headers.get("x-who").and_then(|value| value.to_str().ok()).unwrap_or("nobody").to_owned();
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    upgrade.protocols(["v1"]).on_upgrade(async move |mut socket| {
        seen.open.fetch_add(1, Ordering::SeqCst);
        let hello = json!({"hello": asked, "authorization": authorization}).to_string();
        let _ = socket.send(Message::text(hello)).await;
        let mut code = 0;
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Close(frame) => code = frame.map_or(0, |frame| frame.code),
                Message::Text(_) | Message::Binary(_) => {
                    if socket.send(message).await.is_err() {
                        break;
                    }
                }
                Message::Ping(_) | Message::Pong(_) => {}
            }
        }
        seen.codes.lock().push(code);
        seen.open.fetch_sub(1, Ordering::SeqCst);
    })
}

fn talk(upgrade: WebSocketUpgrade, State(seen): State<Arc<Seen>>, kind: Kind) -> impl IntoResponse {
    upgrade.on_upgrade(async move |mut socket: WebSocket| {
        seen.open.fetch_add(1, Ordering::SeqCst);
        match kind {
            Kind::Prices => {
                for (currency, price) in [("USD", 1), ("EUR", 2), ("EUR", 3)] {
                    let text = json!({"currency": currency, "price": price}).to_string();
                    let _ = socket.send(Message::text(text)).await;
                }
                while let Some(Ok(_)) = socket.next().await {}
            }
            Kind::Slam => {}
            Kind::Bye => {
                let frame = CloseFrame { code: 4001, reason: "no more".into() };
                let _ = socket.send(Message::Close(Some(frame))).await;
                while let Some(Ok(_)) = socket.next().await {}
            }
            Kind::Large => {
                let _ = socket.send(Message::text("x".repeat(1 << 20))).await;
                while let Some(Ok(_)) = socket.next().await {}
            }
        }
        seen.open.fetch_sub(1, Ordering::SeqCst);
    })
}

/// The last step's error.
fn error(records: &[StepRecord]) -> (ErrorKind, String) {
    let error = records.last().unwrap().error.clone().unwrap_or_else(|| panic!("it passed: {records:#?}"));
    (error.kind, error.message)
}

#[tokio::test]
async fn a_connection_is_kept_by_name_over_the_steps() {
    let server = Server::start().await;
    let records = server
        .run(
            r#"
- action: websocket.connect
  config: {url: "WS/echo", subprotocols: [v9, v1], headers: {X-Who: me}}
  assert: [connected == true, 'subprotocol == "v1"', status == 101, 'headers["upgrade"] == "websocket"', close_code == nil]
- action: websocket.connect
  config: {url: "WS/echo", connection: other}
- action: websocket.receive
  assert: ['messages[0].value.hello == "me"', received == 1, 'messages[0].type == "text"']
  output: {who: $.hello}
- action: websocket.send
  config: {message: {a: 1}}
  assert: [sent == 1]
- action: websocket.send
  config: {json: plain}
- action: websocket_send
  config: {binary: "AAEC"}
- action: websocket.send
  config: {message: "text of ${who}"}
- action: websocket.receive
  config: {count: 4}
  assert:
    - messages[0].value.a == 1
    - messages[1].value == '"plain"'
    - 'messages[2].type == "binary"'
    - messages[3].value == "text of me"
- action: websocket.receive
  config: {connection: other}
  assert: ['messages[0].value.hello == "nobody"']
- action: websocket.close
  config: {connection: other, code: 4000, reason: done}
  assert: [close_code == 4000, connected == false]
- action: websocket
  config: {verb: close}
  assert: [close_code == 1000]
"#,
        )
        .await;
    passed(&records);
    let mut codes = server.codes().await;
    codes.sort_unstable();
    assert_eq!(codes, [1000, 4000]);
}

#[tokio::test]
async fn what_is_open_at_the_end_of_the_run_is_closed() {
    let server = Server::start().await;
    passed(&server.run("- action: websocket.connect\n  config: {url: \"WS/echo\"}\n").await);
    assert_eq!(server.codes().await, [1001]);
}

#[tokio::test]
async fn all_in_one_step() {
    let server = Server::start().await;
    let records = server
        .run(
            r#"
- action: websocket
  config: {url: "WS/echo", message: {n: 1}, match: {json_path: "$.n == 1"}}
  assert: [received == 1, sent == 1, 'messages[0].value.n == 1', connected == false, close_code == 1000]
- action: websocket
  config:
    url: "WS/echo"
    actions:
      - {type: receive, match: {json_path: "$.hello exists"}}
      - {type: send, message: one}
      - {type: send, message: two}
      - {type: receive, count: 2, timeout: 10s}
      - {type: receive, timeout: 50ms, min_count: 0}
      - {type: close, code: 4002}
  assert: [received == 3, sent == 2, 'messages[2].value == "two"', close_code == 4002]
- action: websocket
  config: {url: "WS/prices", count: 2, match: {json_path: ["$.currency == 'EUR'", "price > 1 or $.price > 1"]}}
  on_error: continue
"#,
        )
        .await;
    passed(&records[..2]);
    assert_eq!(records[2].status, StepStatus::Tolerated, "`price` alone is no name: {:#?}", records[2]);
}

#[tokio::test]
async fn a_message_that_the_next_step_causes_is_collected() {
    let server = Server::start().await;
    let records = server
        .run(
            r#"
- action: websocket.connect
  config: {url: "WS/echo"}
- id: told
  action: websocket.receive
  background: true
  config: {match: {json_path: "$.id == 7"}, timeout: 10s}
- action: websocket.send
  config: {message: {id: 6}}
- action: websocket.send
  config: {message: {id: 7}}
- await: told
  assert: [received == 1, 'messages[0].value.id == 7', connected == true]
- id: script
  action: websocket
  background: true
  config:
    url: "WS/prices"
    actions:
      - {type: receive, match: {json_path: "$.currency == 'USD'"}}
      - {type: receive, count: 2, timeout: 10s}
- await: script
  assert: [received == 3, 'messages[2].value.price == 3', close_code == 1000]
"#,
        )
        .await;
    passed(&records);
}

#[tokio::test]
async fn trouble_names_the_target_and_the_cause() {
    let server = Server::start().await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let garbage = says(b"", b"hello\r\n\r\n").await;
    let cases = [
        (format!("{{url: \"ws://me:secret@{unused}/\"}}"), ErrorKind::Connection, format!("{unused}")),
        (
            "{url: \"WS/plain\"}".to_owned(),
            ErrorKind::Protocol,
            "answered 403 instead of opening a WebSocket: not for you".to_owned(),
        ),
        ("{url: \"WS/nowhere\"}".to_owned(), ErrorKind::Protocol, "answered 404".to_owned()),
        (format!("{{url: \"ws://{garbage}/\"}}"), ErrorKind::Protocol, "the handshake failed".to_owned()),
        (
            "{url: \"WS/slam\"}".to_owned(),
            ErrorKind::Connection,
            "0 of 1 messages came before the connection broke".to_owned(),
        ),
        ("{url: \"WS/bye\"}".to_owned(), ErrorKind::Connection, "closed with code 4001: no more".to_owned()),
        ("{url: \"WS/large\", max_message: 1000}".to_owned(), ErrorKind::Connection, "too long".to_owned()),
        (
            "{url: \"WS/prices\", count: 4, timeout: 300ms}".to_owned(),
            ErrorKind::Timeout,
            "3 of 4 messages within 300ms".to_owned(),
        ),
        ("{url: \"WS/prices\", subprotocols: [v7]}".to_owned(), ErrorKind::Protocol, "the handshake failed".to_owned()),
        ("{url: \"ftp://localhost/\"}".to_owned(), ErrorKind::Config, "not `ftp://…`".to_owned()),
        ("{connection: none}".to_owned(), ErrorKind::Config, "there is no connection `none`".to_owned()),
        ("{url: \"WS/echo\", binary: \"***\"}".to_owned(), ErrorKind::Config, "`binary` is no base64".to_owned()),
    ];
    for (config, kind, message) in cases {
        let records = server.run(&format!("- action: websocket\n  config: {config}\n")).await;
        let (found, text) = error(&records);
        assert!(text.contains(&message), "{config}: {text}");
        assert_eq!(found, kind, "{config}: {text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn a_refused_handshake_is_data_when_an_assertion_is_about_it() {
    let server = Server::start().await;
    let steps =
        "- action: websocket.connect\n  config: {url: \"WS/plain\"}\n  assert: [status == 403, connected == false]\n";
    passed(&server.run(steps).await);
}

#[tokio::test]
async fn sending_after_the_end_is_told() {
    let server = Server::start().await;
    let records = server
        .run(
            r#"
- action: websocket.connect
  config: {url: "WS/bye"}
- action: websocket.receive
  config: {timeout: 10s}
- action: websocket.send
  config: {message: hello}
"#,
        )
        .await;
    let (kind, message) = error(&records);
    assert_eq!(kind, ErrorKind::Connection);
    assert!(message.contains("closed with code 4001: no more"), "{message}");
}

#[tokio::test]
async fn credentials_of_the_url_are_sent_and_not_shown() {
    let server = Server::start().await;
    let steps = format!(
        "- action: websocket\n  config: {{url: \"ws://ada:s3cr3t@{}/echo\"}}\n  assert: [\"messages[0].value.authorization == 'Basic YWRhOnMzY3IzdA=='\"]\n",
        server.address
    );
    let records = run_steps(&steps).await;
    passed(&records);
    assert!(!serde_json::to_string(&records[0].request).unwrap().contains("s3cr3t"));
}

#[tokio::test]
async fn the_certificate_is_checked_unless_the_step_says_otherwise() {
    let server = Server::start().await;
    let secure = in_front_of(server.address.to_string(), Start::AtOnce).await;
    let step = |more: &str| {
        format!("- action: websocket\n  config: {{url: \"wss://localhost:{}/echo\"{more}}}\n", secure.port())
    };
    passed(&run_steps(&step(", verify_tls: false")).await);
    let (kind, message) = error(&run_steps(&step("")).await);
    assert_eq!(kind, ErrorKind::Connection);
    assert!(message.contains("certificate"), "{message}");
}

#[tokio::test]
async fn the_network_policy_is_obeyed() {
    let server = Server::start().await;
    let policy = NetPolicy::server(&[server.address]);
    let steps = format!("- action: websocket.connect\n  config: {{url: \"ws://{}/echo\"}}\n", server.address);
    let records = run_steps_in(&steps, Setting { policy, ..Setting::default() }).await;
    assert_eq!(error(&records).0, ErrorKind::Policy);
}

#[tokio::test]
async fn a_cancelled_step_closes_its_connection() {
    let server = Server::start().await;
    let steps = format!(
        "- action: websocket.connect\n  config: {{url: \"ws://{}/echo\"}}\n\
         - id: waits\n  action: websocket.receive\n  config: {{count: 9, timeout: 1h}}\n",
        server.address
    );
    let records = run_steps_in(&steps, Setting { cancel_at: Some("waits"), ..Setting::default() }).await;
    assert_eq!(records.last().unwrap().status, StepStatus::Cancelled);
    assert_eq!(server.codes().await, [1001]);
}
