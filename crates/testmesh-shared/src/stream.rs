//! Messages between processes: published to a topic, read by one consumer of a group, acknowledged when their work is
//! stored.
//!
//! Delivery is at least once and unordered; nothing may depend on more. What was read and not acknowledged within
//! [`RECLAIM_AFTER`] is given to another consumer of the group.

mod fallback;
mod memory;
mod redis;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

pub use fallback::FallbackStream;
pub use memory::MemoryStream;
pub use redis::{RedisStream, RedisTarget};

/// How long a consumer may keep an entry without acknowledging it.
pub const RECLAIM_AFTER: Duration = Duration::from_secs(30);
/// How long [`Stream::under_way`] trusts a consumer to be at work on an entry that it does not acknowledge.
pub const TRUST: Duration = Duration::from_secs(2);

/// Where messages go. Each topic has one group of consumers: those that share its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// [`RunFlow`](crate::messages::RunFlow), read by runners.
    RunFlow,
    /// [`RunReport`](crate::messages::RunReport), read by schedulers.
    RunFinished,
}

/// A message as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What [`Stream::acknowledge`] takes.
    pub id: String,
    /// The message as JSON, or whatever somebody else wrote there.
    pub payload: String,
}

/// A stream did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {reason}")]
pub struct StreamError {
    /// What was tried.
    pub operation: &'static str,
    /// What the server or the network said.
    pub reason: String,
}

/// Carries messages. Clones of an implementation share its connections.
#[async_trait]
pub trait Stream: Send + Sync + fmt::Debug {
    /// Adds messages, in order, all or some of them: after an error, some may have been added.
    async fn publish(&self, topic: Topic, payloads: &[String]) -> Result<(), StreamError>;
    /// Up to `max` entries that no other consumer of the group has, as soon as there is one; none after `wait`, or at
    /// once when `max` is 0.
    /// Entries that another consumer left unacknowledged come first.
    async fn read(&self, topic: Topic, max: usize, wait: Duration) -> Result<Vec<Entry>, StreamError>;
    /// Says that the work of these entries is stored: they are deleted.
    async fn acknowledge(&self, topic: Topic, ids: &[String]) -> Result<(), StreamError>;
    /// The messages that nobody has read yet, and those that were read less than [`TRUST`] ago and are not
    /// acknowledged; of each kind up to `max`. Whatever else was published is done, lost, or with a consumer that may be
    /// gone.
    async fn under_way(&self, topic: Topic, max: usize) -> Result<Vec<String>, StreamError>;
    /// Asks for a sign of life.
    async fn ping(&self) -> Result<(), StreamError>;
    /// What somebody who looks after it should know although it works: that it makes do without its server.
    fn note(&self) -> Option<String> {
        None
    }
}
