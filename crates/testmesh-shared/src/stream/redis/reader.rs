//! One connection that waits for entries. Nothing else goes through it: a command behind one that waits would wait too.

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Pipeline, RedisError, Value, cmd};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::reply::{self, Found};
use super::{Names, RESPONSE_TIMEOUT};
use crate::stream::{Entry, RECLAIM_AFTER};

/// How long Redis is asked to wait for an entry before it answers that there is none.
const BLOCK: Duration = Duration::from_secs(1);
/// How much later than it should an answer may come.
const MARGIN: Duration = Duration::from_millis(800);
/// How often entries are looked for that another consumer left.
const CLAIM_EVERY: Duration = Duration::from_secs(5);
/// How often consumers are looked for that are gone.
const TIDY_EVERY: Duration = Duration::from_mins(1);
/// After how long without a sign of life a consumer without pending entries is removed. One that lives gives a sign
/// every [`CLAIM_EVERY`].
const GONE_AFTER: Duration = Duration::from_mins(10);
/// Where `XAUTOCLAIM` begins and says that it has seen everything.
const START: &str = reply::NO_ENTRY;

/// What is done for a topic now and then, by whichever reader comes first.
#[derive(Debug)]
pub(super) struct Upkeep {
    next_claim: Instant,
    next_tidy: Instant,
    /// After how long a consumer is gone.
    pub(super) gone_after: Duration,
    /// Where the next search for left entries begins.
    cursor: String,
}

impl Default for Upkeep {
    fn default() -> Self {
        let now = Instant::now();
        Self { next_claim: now, next_tidy: now, gone_after: GONE_AFTER, cursor: START.to_owned() }
    }
}

impl Upkeep {
    /// Where to look for left entries, if it is time to.
    fn claim_is_due(&mut self) -> Option<String> {
        let now = Instant::now();
        let due = self.cursor != START || now >= self.next_claim;
        due.then(|| {
            self.next_claim = now + CLAIM_EVERY;
            std::mem::replace(&mut self.cursor, START.to_owned())
        })
    }

    fn tidy_is_due(&mut self) -> Option<Duration> {
        let now = Instant::now();
        (now >= self.next_tidy).then(|| {
            self.next_tidy = now + TIDY_EVERY;
            self.gone_after
        })
    }
}

pub(super) struct Reader {
    connection: MultiplexedConnection,
    /// Whether this connection has seen to it that the group exists. A Redis that was replaced is on another connection.
    grouped: [bool; 2],
}

impl Reader {
    pub(super) fn new(connection: MultiplexedConnection) -> Self {
        Self { connection, grouped: [false; 2] }
    }

    /// Up to `max` entries, those first that another consumer left; none at the deadline.
    pub(super) async fn read(
        &mut self,
        names: &Names,
        (consumer, upkeep): (&str, &Mutex<Upkeep>),
        max: usize,
        deadline: Instant,
    ) -> Result<Vec<Entry>, RedisError> {
        loop {
            match self.look(names, (consumer, upkeep), max, deadline).await {
                Ok(found) => {
                    self.remove_garbage(names, &found.garbage).await?;
                    if !found.entries.is_empty() || Instant::now() >= deadline {
                        return Ok(found.entries);
                    }
                }
                Err(error) if is_group_missing(&error) => {
                    tracing::warn!(key = names.key, "the stream's consumer group is gone: it is made again");
                    self.make_group(names).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One round of looking.
    async fn look(
        &mut self,
        names: &Names,
        (consumer, upkeep): (&str, &Mutex<Upkeep>),
        max: usize,
        deadline: Instant,
    ) -> Result<Found, RedisError> {
        self.make_group_once(names).await?;
        let tidy = upkeep.lock().tidy_is_due();
        if let Some(gone_after) = tidy {
            self.remove_gone(names, consumer, gone_after).await?;
        }
        let claim = upkeep.lock().claim_is_due();
        if let Some(cursor) = claim {
            let (next, found) = self.claim(names, consumer, max, &cursor).await?;
            upkeep.lock().cursor = next;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        self.wait(names, consumer, max, deadline).await
    }

    /// Entries that nobody has, waiting for one for a moment.
    async fn wait(
        &mut self,
        names: &Names,
        consumer: &str,
        max: usize,
        deadline: Instant,
    ) -> Result<Found, RedisError> {
        let block = deadline.saturating_duration_since(Instant::now()).min(BLOCK);
        let mut command = cmd("XREADGROUP");
        command.arg("GROUP").arg(names.group).arg(consumer).arg("COUNT").arg(max);
        // Zero would be for ever.
        if block.as_millis() > 0 {
            command.arg("BLOCK").arg(u64::try_from(block.as_millis()).unwrap_or(1));
        }
        command.arg("STREAMS").arg(&names.key).arg(">");
        self.connection.set_response_timeout(block + MARGIN);
        let answer = command.query_async::<Value>(&mut self.connection).await;
        self.connection.set_response_timeout(RESPONSE_TIMEOUT);
        Ok(reply::read(&answer?))
    }

    /// Entries that a consumer has had for too long, and where to go on.
    async fn claim(
        &mut self,
        names: &Names,
        consumer: &str,
        max: usize,
        cursor: &str,
    ) -> Result<(String, Found), RedisError> {
        let mut cursor = cursor.to_owned();
        loop {
            let mut command = cmd("XAUTOCLAIM");
            command.arg(&names.key).arg(names.group).arg(consumer);
            command.arg(u64::try_from(RECLAIM_AFTER.as_millis()).unwrap_or(u64::MAX));
            command.arg(&cursor).arg("COUNT").arg(max);
            let (next, found) = reply::claimed(&command.query_async::<Value>(&mut self.connection).await?);
            if !found.is_empty() || next == START || next.is_empty() {
                let next = if next.is_empty() { START.to_owned() } else { next };
                return Ok((next, found));
            }
            cursor = next;
        }
    }

    /// Entries that are no message would come back for ever.
    async fn remove_garbage(&mut self, names: &Names, ids: &[String]) -> Result<(), RedisError> {
        if ids.is_empty() {
            return Ok(());
        }
        tracing::warn!(key = names.key, ?ids, "entries without a message are removed from the stream");
        removal(names, ids).exec_async(&mut self.connection).await
    }

    /// Removes consumers whose process is gone. One that only seemed to be is made again by its next read; what it read
    /// in between would be told again by whoever sent it.
    async fn remove_gone(&mut self, names: &Names, consumer: &str, after: Duration) -> Result<(), RedisError> {
        let mut command = cmd("XINFO");
        command.arg("CONSUMERS").arg(&names.key).arg(names.group);
        let reply: Value = command.query_async(&mut self.connection).await?;
        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let gone = reply::without_pending(&reply).into_iter().filter(|(name, idle)| name != consumer && *idle > after);
        for (name, _) in gone {
            let mut command = cmd("XGROUP");
            command.arg("DELCONSUMER").arg(&names.key).arg(names.group).arg(&name);
            command.query_async::<Value>(&mut self.connection).await?;
        }
        Ok(())
    }

    async fn make_group_once(&mut self, names: &Names) -> Result<(), RedisError> {
        if !self.grouped[names.at] {
            self.make_group(names).await?;
            self.grouped[names.at] = true;
        }
        Ok(())
    }

    /// Makes the group, from the first entry on: what was added before it existed is for it too.
    async fn make_group(&mut self, names: &Names) -> Result<(), RedisError> {
        let mut command = cmd("XGROUP");
        command.arg("CREATE").arg(&names.key).arg(names.group).arg("0").arg("MKSTREAM");
        match command.query_async::<Value>(&mut self.connection).await {
            Err(error) if error.code() != Some("BUSYGROUP") => Err(error),
            _ => Ok(()),
        }
    }
}

/// Acknowledges and deletes entries, both or neither.
pub(super) fn removal(names: &Names, ids: &[String]) -> Pipeline {
    let mut pipeline = Pipeline::new();
    pipeline.atomic();
    pipeline.cmd("XACK").arg(&names.key).arg(names.group).arg(ids).ignore();
    pipeline.cmd("XDEL").arg(&names.key).arg(ids).ignore();
    pipeline
}

/// Whether the key or the group is gone: the server was flushed or replaced, or somebody deleted it.
fn is_group_missing(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOGROUP" | "UNBLOCKED"))
}
