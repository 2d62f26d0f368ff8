//! Reads that many ask for at the same time, done once for all of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Reads that are under way or waited for, by what is read. Nobody gets what was found by a read that began before they
/// asked, so nobody gets what had been replaced by then.
pub(crate) struct SharedReads<K, V> {
    lanes: Mutex<HashMap<K, Arc<Lane<V>>>>,
    /// Counts requests and reads, in the order in which they begin.
    turn: AtomicU64,
}

/// The last read, while anybody waits for one: the turn at which it began, and what it found.
type Lane<V> = tokio::sync::Mutex<Option<(u64, V)>>;

/// Somebody who waits for a read.
struct Reader<'a, K: Copy + Eq + Hash, V> {
    reads: &'a SharedReads<K, V>,
    key: K,
    lane: Arc<Lane<V>>,
}

impl<K, V> Default for SharedReads<K, V> {
    fn default() -> Self {
        Self { lanes: Mutex::default(), turn: AtomicU64::default() }
    }
}

impl<K: Copy + Eq + Hash, V: Clone> SharedReads<K, V> {
    /// What `read` finds, or somebody else's read of the same that begins from now on. A read that fails or is dropped
    /// is no answer for anybody else: the next who waits reads.
    pub(crate) async fn get<E>(&self, key: K, read: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        let asked = self.next_turn();
        let lane = Arc::clone(self.lanes.lock().entry(key).or_default());
        let reader = Reader { reads: self, key, lane };
        // Held while the read goes on: whoever waits for it waits for what is found.
        let mut last = reader.lane.lock().await;
        if let Some((began, found)) = &*last
            && *began > asked
        {
            return Ok(found.clone());
        }
        let began = self.next_turn();
        let found = read.await?;
        *last = Some((began, found.clone()));
        Ok(found)
    }

    fn next_turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::SeqCst)
    }
}

impl<K: Copy + Eq + Hash, V> Drop for Reader<'_, K, V> {
    fn drop(&mut self) {
        let mut lanes = self.reads.lanes.lock();
        // This one's and the map's: nobody else waits.
        if Arc::strong_count(&self.lane) == 2 {
            lanes.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;

    use futures::poll;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn who_asks_during_a_read_shares_the_next_one() {
        let reads = SharedReads::<u8, &str>::default();
        let (end, ended) = oneshot::channel();
        let mut first = pin!(reads.get(1, async move {
            ended.await.unwrap();
            Ok::<_, Infallible>("old")
        }));
        assert!(poll!(first.as_mut()).is_pending());
        // Both ask after the first read began; it may have missed what was stored since.
        let mut second = pin!(reads.get(1, async { Ok::<_, Infallible>("new") }));
        let mut third = pin!(reads.get(1, async { panic!("the second reads for it") }));
        assert!(poll!(second.as_mut()).is_pending());
        assert!(poll!(third.as_mut()).is_pending());
        // Somebody else's key waits for nobody.
        assert_eq!(reads.get(2, async { Ok::<_, Infallible>("other") }).await, Ok("other"));
        end.send(()).unwrap();
        assert_eq!(first.await, Ok("old"));
        assert_eq!(second.await, Ok("new"));
        assert_eq!(third.await, Ok::<_, Infallible>("new"));
    }

    #[tokio::test]
    async fn a_read_that_fails_or_is_dropped_answers_nobody_else() {
        let reads = SharedReads::<u8, &str>::default();
        {
            let mut dropped = pin!(reads.get(1, std::future::pending::<Result<_, &str>>()));
            assert!(poll!(dropped.as_mut()).is_pending());
        }
        let (end, ended) = oneshot::channel();
        let mut failing = pin!(reads.get(1, async move {
            ended.await.unwrap();
            Err("away")
        }));
        assert!(poll!(failing.as_mut()).is_pending());
        let mut next = pin!(reads.get(1, async { Ok::<_, &str>("found") }));
        assert!(poll!(next.as_mut()).is_pending());
        end.send(()).unwrap();
        assert_eq!(failing.await, Err("away"));
        assert_eq!(next.await, Ok("found"));
    }

    #[tokio::test]
    async fn nothing_is_kept_when_nobody_waits() {
        let reads = SharedReads::<u8, &str>::default();
        assert_eq!(reads.get(1, async { Ok::<_, Infallible>("one") }).await, Ok("one"));
        assert!(reads.lanes.lock().is_empty());
        assert_eq!(reads.get(1, async { Ok::<_, Infallible>("two") }).await, Ok("two"));
    }
}
