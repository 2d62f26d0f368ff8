//! The service that flows test: it answers after a while, and writes down who asked for what, and when.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    /// The execution that sent it.
    pub(crate) execution: String,
    /// Which of its steps.
    pub(crate) step: u32,
    pub(crate) at: Instant,
}

/// The service; gone when dropped.
pub(crate) struct Target {
    port: u16,
    hits: Arc<Mutex<Vec<Hit>>>,
    /// The client's port of each request to `/kill`.
    pub(crate) kills: mpsc::UnboundedReceiver<u16>,
    accepting: JoinHandle<()>,
}

/// What a connection's requests are answered with.
#[derive(Clone)]
struct Desk {
    hits: Arc<Mutex<Vec<Hit>>>,
    kills: mpsc::UnboundedSender<u16>,
    peer: u16,
}

impl Target {
    pub(crate) async fn serve() -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| format!("start the target: {error}"))?;
        let port = listener.local_addr().map_err(|error| format!("start the target: {error}"))?.port();
        let hits = Arc::new(Mutex::new(Vec::new()));
        // Unbounded: at most one entry for each death, and the drill reads them all.
        let (sender, kills) = mpsc::unbounded_channel();
        let log = Arc::clone(&hits);
        #[allow(clippy::disallowed_methods, reason = "aborted when the target is dropped")]
        let accepting = tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let desk = Desk { hits: Arc::clone(&log), kills: sender.clone(), peer: peer.port() };
                #[allow(clippy::disallowed_methods, reason = "a connection ends with its client")]
                tokio::spawn(async move {
                    let answer = service_fn(move |request| respond(request, desk.clone()));
                    // Clients that go away in the middle are what the drill is about.
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Ok(Self { port, hits, kills, accepting })
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What steps send their requests to.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every request so far.
    pub(crate) fn hits(&self) -> Vec<Hit> {
        self.hits.lock().map(|hits| hits.clone()).unwrap_or_default()
    }

    /// How often each step of each execution asked.
    pub(crate) fn counts(&self) -> HashMap<String, HashMap<u32, usize>> {
        let mut counts: HashMap<String, HashMap<u32, usize>> = HashMap::new();
        for hit in self.hits() {
            *counts.entry(hit.execution).or_default().entry(hit.step).or_default() += 1;
        }
        counts
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// `/hit/<execution>/<step>/<milliseconds>` answers after that time; `/kill/<execution>` never does.
async fn respond(request: Request<Incoming>, desk: Desk) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (status, body) = match words[..] {
        ["hit", execution, step, milliseconds] => {
            let step = step.parse().unwrap_or(0);
            if let Ok(mut hits) = desk.hits.lock() {
                hits.push(Hit { execution: execution.to_owned(), step, at: Instant::now() });
            }
            tokio::time::sleep(Duration::from_millis(milliseconds.parse().unwrap_or(0))).await;
            (StatusCode::OK, r#"{"ok":true}"#)
        }
        ["kill", _] => {
            let _ = desk.kills.send(desk.peer);
            std::future::pending::<()>().await;
            (StatusCode::OK, "")
        }
        _ => (StatusCode::NOT_FOUND, "{}"),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    Ok(response)
}
