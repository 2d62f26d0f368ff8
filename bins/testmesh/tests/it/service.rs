//! A service on loopback for flows to talk to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Barrier;

/// A running service; it ends when this is dropped.
pub(crate) struct Service {
    /// `http://127.0.0.1:PORT`.
    pub(crate) base: String,
    /// The path of every request, as it arrives.
    pub(crate) requests: Receiver<String>,
    runtime: Option<Runtime>,
}

#[derive(Clone)]
struct Shared {
    requests: Sender<String>,
    barrier: Arc<Barrier>,
}

impl Service {
    /// Starts it. `/barrier` answers once `n_expected` requests for it wait at the same time.
    pub(crate) fn start(n_expected: usize) -> Self {
        let (sender, requests) = channel();
        let shared = Shared { requests: sender, barrier: Arc::new(Barrier::new(n_expected)) };
        let router = Router::new()
            .route("/ok", get(|| async { Json(json!({"ok": true, "name": "Ada"})) }))
            .route("/status/{code}", any(status))
            .route("/barrier", get(barrier))
            .route("/hang", get(std::future::pending::<()>))
            .fallback(|| async { StatusCode::NOT_FOUND })
            .layer(axum::middleware::from_fn_with_state(shared.clone(), note))
            .with_state(shared);
        let (base, runtime) = serve(router);
        Self { base, requests, runtime: Some(runtime) }
    }

    /// The paths of all requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.requests.try_iter().collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves a router on a free port for as long as the runtime lives.
pub(crate) fn serve(router: Router) -> (String, Runtime) {
    let runtime = Runtime::new().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address: SocketAddr = listener.local_addr().expect("a bound listener has an address");
    runtime.spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), runtime)
}

async fn note(
    State(shared): State<Shared>,
    uri: Uri,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    // The test may have stopped listening.
    let _ = shared.requests.send(uri.path().to_owned());
    next.run(request).await
}

async fn status(Path(code): Path<u16>) -> impl IntoResponse {
    let status = StatusCode::from_u16(code).expect("tests ask for real codes");
    (status, Json(json!({"code": code, "items": [1, 2, 3]})))
}

async fn barrier(State(shared): State<Shared>) -> Json<serde_json::Value> {
    shared.barrier.wait().await;
    Json(json!({"arrived": true}))
}
