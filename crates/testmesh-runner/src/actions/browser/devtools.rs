//! Talks to a browser: questions and answers in JSON over two pipes (the DevTools protocol), each message ended by a NUL.
//!
//! There is no port that others could use, and the browser ends when its pipe does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use testmesh_shared::tasks::Tasks;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::{mpsc, oneshot};

/// Largest message that is read: a screenshot of a long page.
const MESSAGE_LIMIT: u64 = 64 << 20;
/// Questions on their way.
const QUEUE: usize = 16;

/// Why the browser did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum DevtoolsError {
    /// It refused.
    #[error("{0}")]
    Refused(String),
    /// It is gone.
    #[error("the browser has ended")]
    Gone,
}

type Answer = Result<Json, DevtoolsError>;
type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>;

/// A browser's ear and voice. Clones share them.
#[derive(Clone)]
pub(super) struct Devtools {
    last: Arc<AtomicU64>,
    pending: Pending,
    questions: mpsc::Sender<Vec<u8>>,
}

impl Devtools {
    /// Over these pipes, for as long as `tasks` last.
    pub(super) fn over(to: Sender, from: Receiver, tasks: &Tasks) -> Self {
        let (questions, waiting) = mpsc::channel(QUEUE);
        let devtools = Self { last: Arc::default(), pending: Arc::default(), questions };
        let cancel = tasks.cancelled().clone();
        tasks.spawn(async move { cancel.run_until_cancelled(speak(to, waiting)).await });
        let (cancel, listener) = (tasks.cancelled().clone(), devtools.clone());
        tasks.spawn(async move {
            cancel.run_until_cancelled(listener.listen(from)).await;
            // Whoever waits is told by the end of its channel.
            listener.pending.lock().clear();
        });
        devtools
    }

    /// Asks and waits for the answer; of a page when there is a session.
    pub(super) async fn ask(&self, session: Option<&str>, method: &str, parameters: Json) -> Answer {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (answer, waiting) = oneshot::channel();
        self.pending.lock().insert(id, answer);
        let _forget = Forget { pending: &self.pending, id };
        self.questions.send(message(id, session, method, parameters)).await.map_err(|_| DevtoolsError::Gone)?;
        waiting.await.unwrap_or(Err(DevtoolsError::Gone))
    }

    async fn listen(&self, from: Receiver) {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            match (&mut from).take(MESSAGE_LIMIT).read_until(0, &mut bytes).await {
                Ok(count) if count > 0 && bytes.last() == Some(&0) => {}
                // The browser ended, or says more than anybody asked for.
                _ => return,
            }
            bytes.pop();
            let Ok(message) = serde_json::from_slice::<Json>(&bytes) else { return };
            match message["id"].as_u64() {
                Some(id) => self.answered(id, message),
                None => self.happened(&message).await,
            }
        }
    }

    fn answered(&self, id: u64, mut message: Json) {
        let Some(waiting) = self.pending.lock().remove(&id) else { return };
        let answer = match message["error"]["message"].as_str() {
            Some(text) => Err(DevtoolsError::Refused(text.to_owned())),
            None => Ok(message["result"].take()),
        };
        // Whoever asked may be gone.
        let _ = waiting.send(answer);
    }

    /// A dialog holds up its page until somebody answers.
    async fn happened(&self, event: &Json) {
        if event["method"] == "Page.javascriptDialogOpening" {
            let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
            let answer =
                message(id, event["sessionId"].as_str(), "Page.handleJavaScriptDialog", json!({"accept": true}));
            let _ = self.questions.send(answer).await;
        }
    }
}

fn message(id: u64, session: Option<&str>, method: &str, parameters: Json) -> Vec<u8> {
    let mut question = json!({"id": id, "method": method});
    question["params"] = parameters;
    if let Some(session) = session {
        question["sessionId"] = session.into();
    }
    let mut bytes = question.to_string().into_bytes();
    bytes.push(0);
    bytes
}

async fn speak(mut to: Sender, mut waiting: mpsc::Receiver<Vec<u8>>) {
    while let Some(question) = waiting.recv().await {
        if to.write_all(&question).await.is_err() {
            return;
        }
    }
}

/// Nobody waits for this answer any more.
struct Forget<'a> {
    pending: &'a Pending,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.pending.lock().remove(&self.id);
    }
}
