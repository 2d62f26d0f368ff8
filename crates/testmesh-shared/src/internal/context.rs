//! What belongs to the call that this task answers, so that the calls it makes in turn can carry it on.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;

use super::header;
use crate::trace::TraceParent;

tokio::task_local! {
    static CURRENT: CallContext;
}

/// The request, trace and time that a task works for.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The id under which every process logs it.
    pub request_id: Arc<str>,
    /// The trace it belongs to.
    pub trace: TraceParent,
    /// When whoever waits for it stops waiting; none: no calls of it are cut short but by their own limits.
    pub deadline: Option<Instant>,
}

impl CallContext {
    /// A context for work that nobody asked for from outside: a new id and a new trace.
    pub fn generate() -> Self {
        Self { request_id: new_id(), trace: TraceParent::generate(), deadline: None }
    }

    /// The context that `headers` carry; what is missing or malformed in them is made up.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let left = text(header::TIME_LEFT_MS).and_then(|text| text.parse().ok()).map(Duration::from_millis);
        Self {
            request_id: text(header::REQUEST_ID).filter(|id| is_plain(id)).map_or_else(new_id, Arc::from),
            trace: text(header::TRACEPARENT).and_then(|text| text.parse().ok()).unwrap_or_else(TraceParent::generate),
            deadline: left.and_then(|left| Instant::now().checked_add(left)),
        }
    }

    /// Runs `work` with this as its context. Tasks that it spawns have none.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// The context of this task.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }
}

/// A word that can stand in any header and log line: 1 to 128 letters, digits, `.`, `_` and `-`.
fn is_plain(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn new_id() -> Arc<str> {
    crate::ids::new_uuid(&crate::clock::SystemClock).to_string().into()
}
