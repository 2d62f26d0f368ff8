//! A stream for a process that both publishes and reads: while Redis is away, messages go from hand to hand in memory.
//!
//! Invariants: reading never fails and never waits for a server that is away; what was handed over in memory is read
//! before anything from Redis; the way back is found without anybody reading or publishing.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::memory::ID_PREFIX;
use super::{Entry, MemoryStream, Stream, StreamError, Topic};
use crate::tasks::Tasks;

/// How long Redis may be away before messages are handed over in memory.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a publisher waits before it tries again, while there is patience.
const RETRY: Duration = Duration::from_millis(50);
/// How often a Redis that is away is asked whether it is back.
const PROBE_EVERY: Duration = Duration::from_millis(250);

/// Longer than any read of a stream takes.
const UNTIL_DROPPED: Duration = Duration::from_hours(1);

/// A stream that is replaced by memory while it does not work.
pub struct FallbackStream<S> {
    stream: S,
    memory: MemoryStream,
    away: watch::Sender<Option<Away>>,
}

/// Since when the stream does not work, and what it said.
#[derive(Debug, Clone)]
struct Away {
    since: Instant,
    reason: String,
}

impl<S: fmt::Debug> fmt::Debug for FallbackStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl<S: Stream + Clone + 'static> FallbackStream<S> {
    /// Stands before `stream`, and asks it in the background for a sign of life while it is away.
    pub fn new(stream: S, tasks: &Tasks) -> Self {
        let (away, _) = watch::channel(None);
        let probe = probe(stream.clone(), away.clone());
        let cancelled = tasks.cancelled().clone();
        tasks.spawn(async move {
            // Cancel-safe: a ping that is dropped has changed nothing.
            tokio::select! {
                () = cancelled.cancelled() => {}
                () = probe => {}
            }
        });
        Self { stream, memory: MemoryStream::new(), away }
    }

    /// Notes that an operation failed which began at `began`.
    fn failed(&self, error: &StreamError, began: Instant) {
        self.away.send_if_modified(|away| {
            let first = away.is_none();
            if first {
                tracing::warn!(%error, "the stream is away");
                *away = Some(Away { since: began, reason: error.to_string() });
            }
            first
        });
    }

    fn is_given_up(&self) -> bool {
        self.away.borrow().as_ref().is_some_and(|away| away.since.elapsed() >= PATIENCE)
    }
}

/// Asks a stream that is away until it is back.
async fn probe<S: Stream>(stream: S, away: watch::Sender<Option<Away>>) {
    let mut changes = away.subscribe();
    loop {
        // The sender is held right here, so that waiting cannot fail.
        let _ = changes.wait_for(Option::is_some).await;
        sleep(PROBE_EVERY).await;
        if stream.ping().await.is_ok() {
            let was = away.send_replace(None);
            let away_ms = was.map_or(0, |was| was.since.elapsed().as_millis());
            tracing::info!(away_ms, "the stream is back");
        }
    }
}

#[async_trait]
impl<S: Stream + Clone + 'static> Stream for FallbackStream<S> {
    /// Fails only when the memory is full.
    async fn publish(&self, topic: Topic, payloads: &[String]) -> Result<(), StreamError> {
        // A server may answer pings and yet take no message.
        let deadline = Instant::now() + PATIENCE;
        while !self.is_given_up() && Instant::now() < deadline {
            let began = Instant::now();
            match self.stream.publish(topic, payloads).await {
                Ok(()) => return Ok(()),
                Err(error) => self.failed(&error, began),
            }
            sleep(RETRY).await;
        }
        // Some may have been added there too: receivers know a message that they had before.
        self.memory.publish(topic, payloads).await
    }

    async fn read(&self, topic: Topic, max: usize, wait: Duration) -> Result<Vec<Entry>, StreamError> {
        let deadline = Instant::now() + wait;
        let mut changes = self.away.subscribe();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let is_away = changes.borrow_and_update().is_some();
            let began = Instant::now();
            // The stream says when time is up, so that what it finds at the last moment is not dropped.
            let memory_wait = if is_away { left } else { left + UNTIL_DROPPED };
            tokio::select! {
                biased;
                // Cancel-safe: entries are taken in the poll that returns them.
                found = self.memory.read(topic, max, memory_wait) => return found,
                // Dropped when there is something in memory, which is when the server is or just was away: what it may
                // have sent is given out again.
                found = self.stream.read(topic, max, left), if !is_away => match found {
                    Ok(found) => return Ok(found),
                    Err(error) => self.failed(&error, began),
                },
                // Cancel-safe per docs on `changed()`.
                _ = changes.changed(), if is_away => {}
            }
        }
    }

    /// Says that the work of these entries is stored. Entries of a Redis that is away stay there, and are given to
    /// somebody again when it is back.
    async fn acknowledge(&self, topic: Topic, ids: &[String]) -> Result<(), StreamError> {
        let (memory, stream): (Vec<_>, Vec<_>) = ids.iter().cloned().partition(|id| id.starts_with(ID_PREFIX));
        self.memory.acknowledge(topic, &memory).await?;
        if stream.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let result = self.stream.acknowledge(topic, &stream).await;
        result.inspect_err(|error| self.failed(error, began))
    }

    /// What is in a Redis that is away is of no use to anybody until it is back.
    async fn under_way(&self, topic: Topic, max: usize) -> Result<Vec<String>, StreamError> {
        let mut found = self.memory.under_way(topic, max).await?;
        if self.away.borrow().is_none() {
            let began = Instant::now();
            match self.stream.under_way(topic, max).await {
                Ok(payloads) => found.extend(payloads),
                Err(error) => self.failed(&error, began),
            }
        }
        Ok(found)
    }

    /// Works without its server.
    async fn ping(&self) -> Result<(), StreamError> {
        if self.away.borrow().is_some() {
            // Asked in the background already.
            return Ok(());
        }
        let began = Instant::now();
        if let Err(error) = self.stream.ping().await {
            self.failed(&error, began);
        }
        Ok(())
    }

    fn note(&self) -> Option<String> {
        let away = self.away.borrow().clone()?;
        let seconds = away.since.elapsed().as_secs();
        Some(format!("away for {seconds} s, messages are handed over in this process ({})", away.reason))
    }
}
