//! What is kept in Redis: the last state of users, products and orders, and the sessions.

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError, cmd};
use serde_json::Value;

use crate::answer::Refusal;

/// Seconds that a thing stays in the cache.
const THING_LASTS: u64 = 60 * 60;
/// Seconds that a session lasts.
pub(crate) const SESSION_LASTS: u64 = 24 * 60 * 60;
/// What keys begin with.
const KINDS: [&str; 4] = ["user", "product", "order", "session"];

/// Redis.
pub(crate) struct Cache {
    client: redis::Client,
    /// Shared by all; none after it broke.
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Cache {
    /// Connects; later it connects again by itself.
    pub(crate) async fn connect(url: &str) -> Result<Self, RedisError> {
        let cache = Self { client: redis::Client::open(url)?, connection: Mutex::new(None) };
        cache.connection().await?;
        Ok(cache)
    }

    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let kept = self.connection.lock().clone();
        if let Some(connection) = kept {
            return Ok(connection);
        }
        let connection = self.client.get_multiplexed_async_connection().await?;
        *self.connection.lock() = Some(connection.clone());
        Ok(connection)
    }

    /// Asks once more over a new connection when the old one turns out to be broken: what is asked can be asked twice.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Refusal> {
        let first = command.query_async(&mut self.connection().await.map_err(Refusal::failed("cache"))?).await;
        let answer = match first {
            Err(error) if error.is_unrecoverable_error() => {
                *self.connection.lock() = None;
                command.query_async(&mut self.connection().await.map_err(Refusal::failed("cache"))?).await
            }
            answer => answer,
        };
        answer.map_err(Refusal::failed("cache"))
    }

    /// Keeps `value` as `<kind>:<id>`.
    pub(crate) async fn keep(&self, kind: &str, id: &str, value: &Value) -> Result<(), Refusal> {
        let lasts = if kind == "session" { SESSION_LASTS } else { THING_LASTS };
        self.ask(cmd("SET").arg(key(kind, id)).arg(value.to_string()).arg("EX").arg(lasts)).await
    }

    /// What is kept as `<kind>:<id>`.
    pub(crate) async fn find(&self, kind: &str, id: &str) -> Result<Option<Value>, Refusal> {
        let found: Option<String> = self.ask(cmd("GET").arg(key(kind, id))).await?;
        // What somebody else wrote there counts as nothing.
        Ok(found.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Forgets `<kind>:<id>`.
    pub(crate) async fn forget(&self, kind: &str, id: &str) -> Result<(), Refusal> {
        self.ask(cmd("DEL").arg(key(kind, id))).await
    }

    /// Forgets everything.
    pub(crate) async fn clear(&self) -> Result<(), Refusal> {
        for kind in KINDS {
            let mut cursor = 0_u64;
            loop {
                let mut scan = cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(key(kind, "*")).arg("COUNT").arg(1_000);
                let (next, keys): (u64, Vec<String>) = self.ask(&scan).await?;
                if !keys.is_empty() {
                    self.ask::<()>(cmd("DEL").arg(keys)).await?;
                }
                if next == 0 {
                    break;
                }
                cursor = next;
            }
        }
        Ok(())
    }

    /// Whether it answers.
    pub(crate) async fn is_well(&self) -> bool {
        self.ask::<String>(&cmd("PING")).await.is_ok()
    }
}

fn key(kind: &str, id: &str) -> String {
    format!("{kind}:{id}")
}
