//! A stream in one process. What is in it is lost with the process: the tables that messages are about are the truth.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Entry, RECLAIM_AFTER, Stream, StreamError, TRUST, Topic};

/// Entries that a topic holds at most, read or not, unless the caller says otherwise: some 8 MiB of messages.
const CAPACITY: usize = 16_384;
/// How long a publisher waits for room.
const ROOM_WAIT: Duration = Duration::from_secs(1);
/// What every entry's id starts with, so that it cannot be taken for another stream's.
pub(super) const ID_PREFIX: &str = "memory-";

/// Messages between the tasks of one process. Clones share them.
#[derive(Debug, Clone)]
pub struct MemoryStream {
    topics: Arc<[Queue; 2]>,
}

/// One topic.
#[derive(Debug)]
struct Queue {
    capacity: usize,
    entries: Mutex<Entries>,
    /// Wakes a reader: there may be something for it.
    filled: Notify,
    /// Wakes a publisher: there may be room.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Entries {
    next_id: u64,
    /// Not read yet, or given back.
    waiting: VecDeque<(u64, String)>,
    /// Read and not acknowledged.
    taken: HashMap<u64, Taken>,
    /// When each was read, oldest first. What was acknowledged since is skipped.
    order: VecDeque<(Instant, u64)>,
}

#[derive(Debug)]
struct Taken {
    at: Instant,
    payload: String,
}

impl Default for MemoryStream {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStream {
    /// Empty topics that hold at most 16,384 entries each.
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    /// Empty topics that hold at most `capacity` entries each, those included that were read and not acknowledged.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { topics: Arc::new([Queue::new(capacity), Queue::new(capacity)]) }
    }

    fn queue(&self, topic: Topic) -> &Queue {
        match topic {
            Topic::RunFlow => &self.topics[0],
            Topic::RunFinished => &self.topics[1],
        }
    }
}

impl Queue {
    fn new(capacity: usize) -> Self {
        Self { capacity, entries: Mutex::default(), filled: Notify::new(), emptied: Notify::new() }
    }

    /// Adds as many as there is room for; gives back how many.
    fn add(&self, payloads: &[String]) -> usize {
        let mut entries = self.entries.lock();
        let held = entries.waiting.len() + entries.taken.len();
        let added = payloads.len().min(self.capacity.saturating_sub(held));
        for payload in &payloads[..added] {
            let id = entries.next_id;
            entries.next_id += 1;
            entries.waiting.push_back((id, payload.clone()));
        }
        drop(entries);
        if added > 0 {
            self.filled.notify_one();
        }
        added
    }

    /// Takes what is there, or says when the next unacknowledged entry is due to be given to somebody else.
    fn take(&self, max: usize) -> Result<Vec<Entry>, Option<Instant>> {
        let now = Instant::now();
        let mut entries = self.entries.lock();
        let next_due = entries.give_back(now);
        if entries.waiting.is_empty() {
            return Err(next_due);
        }
        let count = max.min(entries.waiting.len());
        let mut found = Vec::with_capacity(count);
        for _ in 0..count {
            let Some((id, payload)) = entries.waiting.pop_front() else { break };
            found.push(Entry { id: format!("{ID_PREFIX}{id}"), payload: payload.clone() });
            entries.taken.insert(id, Taken { at: now, payload });
            entries.order.push_back((now, id));
        }
        let more = !entries.waiting.is_empty();
        drop(entries);
        if more {
            self.filled.notify_one();
        }
        Ok(found)
    }

    fn forget(&self, ids: &[String]) {
        let mut entries = self.entries.lock();
        let before = entries.taken.len();
        for id in ids.iter().filter_map(|id| id.strip_prefix(ID_PREFIX)?.parse::<u64>().ok()) {
            entries.taken.remove(&id);
        }
        let freed = entries.taken.len() < before;
        drop(entries);
        if freed {
            self.emptied.notify_one();
        }
    }
}

impl Entries {
    /// Puts what was kept for too long back to the front. Gives back when the next one will have been.
    fn give_back(&mut self, now: Instant) -> Option<Instant> {
        let mut late = Vec::new();
        let mut next_due = None;
        while let Some(&(at, id)) = self.order.front() {
            // Acknowledged, or given back and read again since: then it stands further behind.
            let current = self.taken.get(&id).is_some_and(|taken| taken.at == at);
            if current && at + RECLAIM_AFTER > now {
                next_due = Some(at + RECLAIM_AFTER);
                break;
            }
            self.order.pop_front();
            if current && let Some(taken) = self.taken.remove(&id) {
                late.push((id, taken.payload));
            }
        }
        for entry in late.into_iter().rev() {
            self.waiting.push_front(entry);
        }
        next_due
    }
}

#[async_trait]
impl Stream for MemoryStream {
    /// Waits at most a second for room.
    async fn publish(&self, topic: Topic, payloads: &[String]) -> Result<(), StreamError> {
        let queue = self.queue(topic);
        let deadline = Instant::now() + ROOM_WAIT;
        let mut added = 0;
        loop {
            // Before looking, so that room made in between is not missed.
            let emptied = queue.emptied.notified();
            added += queue.add(&payloads[added..]);
            if added == payloads.len() {
                // Whoever else waits for room may find some.
                queue.emptied.notify_one();
                return Ok(());
            }
            if tokio::time::timeout_at(deadline, emptied).await.is_err() {
                let reason = format!("{} entries wait, and nobody takes them", queue.capacity);
                return Err(StreamError { operation: "publish", reason });
            }
        }
    }

    // Cancel-safe: entries are taken in the same poll that returns them.
    async fn read(&self, topic: Topic, max: usize, wait: Duration) -> Result<Vec<Entry>, StreamError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let queue = self.queue(topic);
        let deadline = Instant::now() + wait;
        loop {
            // Before looking, so that an entry added in between is not missed.
            let filled = queue.filled.notified();
            let next_due = match queue.take(max) {
                Ok(found) => return Ok(found),
                Err(next_due) => next_due,
            };
            // What is read from here on is due later than this.
            let until = next_due.unwrap_or(Instant::now() + RECLAIM_AFTER).min(deadline);
            let timed_out = tokio::time::timeout_at(until, filled).await.is_err();
            if timed_out && until == deadline {
                return Ok(Vec::new());
            }
        }
    }

    async fn acknowledge(&self, topic: Topic, ids: &[String]) -> Result<(), StreamError> {
        self.queue(topic).forget(ids);
        Ok(())
    }

    async fn under_way(&self, topic: Topic, max: usize) -> Result<Vec<String>, StreamError> {
        let trusted_since = Instant::now().checked_sub(TRUST);
        let entries = self.queue(topic).entries.lock();
        let waiting = entries.waiting.iter().map(|(_, payload)| payload).take(max);
        let taken = entries.taken.values().filter(|taken| trusted_since.is_none_or(|since| taken.at > since));
        Ok(waiting.chain(taken.map(|taken| &taken.payload).take(max)).cloned().collect())
    }

    async fn ping(&self) -> Result<(), StreamError> {
        Ok(())
    }
}
