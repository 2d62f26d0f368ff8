//! What every stream does, whatever carries it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use testmesh_shared::stream::{Entry, FallbackStream, MemoryStream, RECLAIM_AFTER, Stream, Topic};
use testmesh_shared::tasks::Tasks;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::redis_server::Keys;

const SOON: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(200);
/// Left entries are looked for every five seconds.
const CLAIMED: Duration = Duration::from_secs(8);

/// A stream that several consumers of one group share.
trait Kit: Send + Sync {
    fn consumer(&self, name: &str) -> Arc<dyn Stream>;
    /// Lets the reclaim time pass for everything that was read.
    fn age(&self) -> impl Future<Output = ()> + Send;
}

struct InMemory(MemoryStream);

impl Kit for InMemory {
    fn consumer(&self, _: &str) -> Arc<dyn Stream> {
        Arc::new(self.0.clone())
    }

    async fn age(&self) {
        tokio::time::advance(RECLAIM_AFTER).await;
    }
}

struct InRedis(Keys);

impl Kit for InRedis {
    fn consumer(&self, name: &str) -> Arc<dyn Stream> {
        Arc::new(self.0.stream(name))
    }

    async fn age(&self) {
        self.0.age().await;
    }
}

struct InRedisWithFallback(Keys, Tasks);

impl Kit for InRedisWithFallback {
    fn consumer(&self, name: &str) -> Arc<dyn Stream> {
        Arc::new(FallbackStream::new(self.0.stream(name), &self.1))
    }

    async fn age(&self) {
        self.0.age().await;
    }
}

macro_rules! contract {
    ($($case:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $case() {
                super::$case(super::InMemory(super::MemoryStream::new())).await;
            })+
        }
        mod redis {
            $(#[tokio::test]
            async fn $case() {
                if let Some(keys) = super::Keys::on_test_server() {
                    super::$case(super::InRedis(keys)).await;
                }
            })+
        }
        mod fallback {
            $(#[tokio::test]
            async fn $case() {
                if let Some(keys) = super::Keys::on_test_server() {
                    super::$case(super::InRedisWithFallback(keys, super::Tasks::new())).await;
                }
            })+
        }
    };
}

contract!(
    an_acknowledged_entry_is_not_read_again,
    an_entry_that_is_not_acknowledged_goes_to_another_consumer,
    a_waiting_reader_gets_what_is_published,
    a_read_of_nothing_ends_in_time,
    concurrent_consumers_share_the_entries,
    topics_are_apart,
    a_read_takes_no_more_than_asked_for,
    a_dropped_read_loses_nothing,
    entries_from_before_the_first_read_arrive,
    acknowledging_what_is_not_there_changes_nothing,
    what_is_under_way_is_what_waits_and_what_was_just_read,
);

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{{\"number\":{number}}}")).collect()
}

fn ids(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.id.clone()).collect()
}

/// Reads and acknowledges until `count` entries came or nothing came for `wait`.
async fn drain(stream: &dyn Stream, count: usize, wait: Duration) -> Vec<Entry> {
    let mut all = Vec::new();
    while all.len() < count {
        let found = stream.read(Topic::RunFlow, 64, wait).await.unwrap();
        if found.is_empty() {
            break;
        }
        stream.acknowledge(Topic::RunFlow, &ids(&found)).await.unwrap();
        all.extend(found);
    }
    all
}

fn payloads(entries: &[Entry]) -> Vec<String> {
    let mut payloads: Vec<_> = entries.iter().map(|entry| entry.payload.clone()).collect();
    payloads.sort();
    payloads
}

fn sorted(mut payloads: Vec<String>) -> Vec<String> {
    payloads.sort();
    payloads
}

async fn an_acknowledged_entry_is_not_read_again(kit: impl Kit) {
    let stream = kit.consumer("a");
    stream.publish(Topic::RunFlow, &numbers(0..3)).await.unwrap();
    let found = drain(&*stream, 3, SOON).await;
    assert_eq!(payloads(&found), numbers(0..3));
    kit.age().await;
    assert_eq!(kit.consumer("b").read(Topic::RunFlow, 10, SHORT).await.unwrap(), []);
    stream.ping().await.unwrap();
}

async fn an_entry_that_is_not_acknowledged_goes_to_another_consumer(kit: impl Kit) {
    let (first, second) = (kit.consumer("a"), kit.consumer("b"));
    first.publish(Topic::RunFlow, &numbers(0..2)).await.unwrap();
    let found = first.read(Topic::RunFlow, 10, SOON).await.unwrap();
    assert_eq!(payloads(&found), numbers(0..2));
    assert_eq!(second.read(Topic::RunFlow, 10, SHORT).await.unwrap(), []);
    kit.age().await;
    let again = drain(&*second, 2, CLAIMED).await;
    assert_eq!(payloads(&again), numbers(0..2));
    // Late, but no reason to fail.
    first.acknowledge(Topic::RunFlow, &ids(&found)).await.unwrap();
    kit.age().await;
    assert_eq!(second.read(Topic::RunFlow, 10, CLAIMED).await.unwrap(), []);
}

async fn a_waiting_reader_gets_what_is_published(kit: impl Kit) {
    let (reader, writer) = (kit.consumer("a"), kit.consumer("b"));
    let mut reading = JoinSet::new();
    reading.spawn(async move { reader.read(Topic::RunFlow, 10, SOON).await });
    tokio::task::yield_now().await;
    writer.publish(Topic::RunFlow, &numbers(0..1)).await.unwrap();
    let began = Instant::now();
    let found = reading.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(payloads(&found), numbers(0..1));
    assert!(began.elapsed() < Duration::from_secs(1), "read after {:?}", began.elapsed());
}

async fn a_read_of_nothing_ends_in_time(kit: impl Kit) {
    let stream = kit.consumer("a");
    for wait in [Duration::ZERO, Duration::from_micros(1), SHORT, Duration::from_millis(1_300)] {
        let began = Instant::now();
        assert_eq!(stream.read(Topic::RunFlow, 10, wait).await.unwrap(), []);
        let took = began.elapsed();
        assert!(took >= wait && took < wait + Duration::from_secs(1), "{wait:?} took {took:?}");
    }
}

async fn concurrent_consumers_share_the_entries(kit: impl Kit) {
    let writer = kit.consumer("writer");
    let mut readers = JoinSet::new();
    for name in ["a", "b", "c", "d"] {
        let reader = kit.consumer(name);
        readers.spawn(async move { drain(&*reader, 2_500, Duration::from_secs(1)).await });
    }
    writer.publish(Topic::RunFlow, &numbers(0..2_500)).await.unwrap();
    let found: Vec<_> = readers.join_all().await.into_iter().flatten().collect();
    assert_eq!(payloads(&found), sorted(numbers(0..2_500)));
}

async fn topics_are_apart(kit: impl Kit) {
    let stream = kit.consumer("a");
    stream.publish(Topic::RunFinished, &numbers(0..1)).await.unwrap();
    assert_eq!(stream.read(Topic::RunFlow, 10, SHORT).await.unwrap(), []);
    let found = stream.read(Topic::RunFinished, 10, SOON).await.unwrap();
    assert_eq!(payloads(&found), numbers(0..1));
}

async fn a_read_takes_no_more_than_asked_for(kit: impl Kit) {
    let stream = kit.consumer("a");
    stream.publish(Topic::RunFlow, &numbers(0..5)).await.unwrap();
    assert_eq!(stream.read(Topic::RunFlow, 0, SOON).await.unwrap(), []);
    let mut all = stream.read(Topic::RunFlow, 2, SOON).await.unwrap();
    assert_eq!(all.len(), 2);
    all.extend(stream.read(Topic::RunFlow, 10, SOON).await.unwrap());
    assert_eq!(payloads(&all), numbers(0..5));
}

async fn a_dropped_read_loses_nothing(kit: impl Kit) {
    let (reader, writer) = (kit.consumer("a"), kit.consumer("b"));
    let mut all = Vec::new();
    for (count, payload) in numbers(0..40).into_iter().enumerate() {
        let reading = async {
            let found = reader.read(Topic::RunFlow, 10, SOON).await.unwrap();
            let ids = ids(&found);
            // First, as with every receiver: what is acknowledged is gone, whether or not the answer came.
            all.extend(found);
            reader.acknowledge(Topic::RunFlow, &ids).await.unwrap();
        };
        // Dropped at another point each time: some before, some in the middle of an answer.
        let dropped = timeout(Duration::from_micros(100 * count as u64), reading);
        let payloads = [payload];
        let (_, published) = tokio::join!(dropped, writer.publish(Topic::RunFlow, &payloads));
        published.unwrap();
    }
    kit.age().await;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    all.extend(drain(&*writer, 40, CLAIMED).await);
    for entry in all {
        *seen.entry(entry.payload).or_default() += 1;
    }
    assert_eq!(seen.into_keys().collect::<Vec<_>>(), sorted(numbers(0..40)));
}

async fn entries_from_before_the_first_read_arrive(kit: impl Kit) {
    kit.consumer("a").publish(Topic::RunFlow, &numbers(0..3)).await.unwrap();
    let found = drain(&*kit.consumer("b"), 3, SOON).await;
    assert_eq!(payloads(&found), numbers(0..3));
}

async fn acknowledging_what_is_not_there_changes_nothing(kit: impl Kit) {
    let stream = kit.consumer("a");
    stream.acknowledge(Topic::RunFlow, &[]).await.unwrap();
    stream.acknowledge(Topic::RunFlow, &["1-0".to_owned(), "memory-77".to_owned()]).await.unwrap();
    stream.publish(Topic::RunFlow, &[]).await.unwrap();
    stream.publish(Topic::RunFlow, &numbers(0..1)).await.unwrap();
    assert_eq!(stream.read(Topic::RunFlow, 10, SOON).await.unwrap().len(), 1);
}

async fn what_is_under_way_is_what_waits_and_what_was_just_read(kit: impl Kit) {
    let (stream, outside) = (kit.consumer("a"), kit.consumer("b"));
    let under_way = async |max| sorted(outside.under_way(Topic::RunFlow, max).await.unwrap());
    assert!(under_way(10).await.is_empty());
    stream.publish(Topic::RunFlow, &numbers(0..4)).await.unwrap();
    assert_eq!(under_way(10).await, numbers(0..4), "before anybody read");
    assert_eq!(under_way(3).await, numbers(0..3));
    let found = stream.read(Topic::RunFlow, 2, SOON).await.unwrap();
    assert_eq!(under_way(10).await, numbers(0..4), "two are with a consumer");
    stream.acknowledge(Topic::RunFlow, &ids(&found[..1])).await.unwrap();
    assert_eq!(under_way(10).await, numbers(1..4));
    kit.age().await;
    assert_eq!(under_way(10).await, numbers(2..4), "its consumer may be gone");
}

#[tokio::test(start_paused = true)]
async fn a_full_memory_lets_publishers_wait_and_then_refuses() {
    let stream = MemoryStream::with_capacity(2);
    let error = stream.publish(Topic::RunFlow, &numbers(0..3)).await.unwrap_err();
    assert_eq!(error.to_string(), "publish: 2 entries wait, and nobody takes them");
    let found = stream.read(Topic::RunFlow, 10, SHORT).await.unwrap();
    assert_eq!(found.len(), 2);
    let (numbers, ids) = (numbers(3..4), ids(&found));
    let (published, acknowledged) =
        tokio::join!(stream.publish(Topic::RunFlow, &numbers), stream.acknowledge(Topic::RunFlow, &ids));
    published.unwrap();
    acknowledged.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_memory_is_woken_for_what_was_left_by_another() {
    let stream = MemoryStream::new();
    stream.publish(Topic::RunFlow, &numbers(0..1)).await.unwrap();
    stream.read(Topic::RunFlow, 10, SHORT).await.unwrap();
    let began = Instant::now();
    let again = stream.read(Topic::RunFlow, 10, 2 * RECLAIM_AFTER).await.unwrap();
    assert_eq!(again.len(), 1);
    assert!(began.elapsed() <= RECLAIM_AFTER + Duration::from_millis(1));
}
