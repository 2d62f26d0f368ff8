//! Publishes what was stored in the outbox: at once what this process stored, later what others left there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use testmesh_shared::messages::RunReport;
use testmesh_shared::stream::{Stream, Topic};
use tokio::sync::Notify;

use crate::executor::outcome;
use crate::executor::recorder::chain;
use crate::repository::{Message, RepositoryError, Store};

/// Messages that are published at once.
const BATCH: usize = 512;
/// Messages that wait in memory at most; more wait in the outbox alone.
const WAITING: usize = 20_000;
/// The longest a stream may take.
const PUBLISH: Duration = Duration::from_secs(5);
/// The pause after a stream or a database that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// After every message there is.
pub(crate) fn whenever() -> DateTime<Utc> {
    DateTime::from_timestamp(253_370_764_800, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Publishes reports on the stream.
pub(crate) struct Relay {
    stream: Arc<dyn Stream>,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Message>,
    /// The outbox may hold messages that are not in `waiting` and older than this.
    sweep: Option<DateTime<Utc>>,
    closing: bool,
}

enum Task {
    Publish(Vec<Message>),
    Sweep(DateTime<Utc>),
    End,
}

impl Relay {
    pub(crate) fn new(stream: Arc<dyn Stream>) -> Arc<Self> {
        Arc::new(Self { stream, state: Mutex::default(), news: Notify::new() })
    }

    /// Publishes messages that were just stored.
    pub(crate) fn publish(&self, messages: Vec<Message>) {
        if messages.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let room = WAITING.saturating_sub(state.waiting.len());
        state.waiting.extend(messages.into_iter().take(room));
        drop(state);
        self.news.notify_one();
    }

    /// Publishes what was stored before `before` and is still there.
    pub(crate) fn sweep(&self, before: DateTime<Utc>) {
        self.state.lock().sweep = Some(before);
        self.news.notify_one();
    }

    /// Tells how runs stand, without the outbox: what is lost is told again.
    pub(crate) async fn tell(&self, reports: &[RunReport]) {
        for reports in reports.chunks(BATCH) {
            let payloads: Vec<String> = reports.iter().map(outcome::text).collect();
            if !self.send(&payloads).await {
                return;
            }
        }
    }

    /// Lets [`Relay::run`] end once everything is published, or cannot be.
    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.news.notify_one();
    }

    pub(crate) async fn run(self: Arc<Self>, store: Store) {
        loop {
            let task = self.next().await;
            let done = match task {
                Task::Publish(messages) => self.deliver(&store, messages).await,
                Task::Sweep(before) => self.sweep_once(&store, before).await,
                Task::End => return,
            };
            if let Err(error) = done {
                tracing::warn!(error = %chain(&error), "the outbox cannot be read or cleared; trying again");
                self.pause().await;
            }
        }
    }

    async fn next(&self) -> Task {
        loop {
            {
                let mut state = self.state.lock();
                if !state.waiting.is_empty() {
                    let count = state.waiting.len().min(BATCH);
                    return Task::Publish(state.waiting.drain(..count).collect());
                }
                if state.closing {
                    return Task::End;
                }
                if let Some(before) = state.sweep.take() {
                    return Task::Sweep(before);
                }
            }
            // A permit is kept for a notification that comes before this waits.
            self.news.notified().await;
        }
    }

    /// Publishes and then forgets; what cannot be published stays in the outbox.
    async fn deliver(&self, store: &Store, messages: Vec<Message>) -> Result<(), RepositoryError> {
        let (seqs, payloads): (Vec<i64>, Vec<String>) =
            messages.into_iter().map(|message| (message.seq, message.payload)).unzip();
        if !self.send(&payloads).await {
            self.pause().await;
            self.state.lock().sweep.get_or_insert(whenever());
            return Ok(());
        }
        store.forget_messages(&seqs).await
    }

    async fn sweep_once(&self, store: &Store, before: DateTime<Utc>) -> Result<(), RepositoryError> {
        let limit = u32::try_from(BATCH).unwrap_or(u32::MAX);
        let found = store.unpublished(before, limit).await;
        let more = found.as_ref().is_ok_and(|messages| messages.len() == BATCH);
        if found.is_err() || more {
            self.state.lock().sweep.get_or_insert(before);
        }
        match found? {
            messages if messages.is_empty() => Ok(()),
            messages => self.deliver(store, messages).await,
        }
    }

    async fn send(&self, payloads: &[String]) -> bool {
        let published = tokio::time::timeout(PUBLISH, self.stream.publish(Topic::RunFinished, payloads)).await;
        match published {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(error = %chain(&error), "reports on runs cannot be published; they wait");
                false
            }
            Err(_) => {
                tracing::warn!("the stream takes no reports on runs; they wait");
                false
            }
        }
    }

    /// Waits before the next try, unless everything is to end.
    async fn pause(&self) {
        if !self.state.lock().closing {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
