//! Connections to one Redis: made when they are needed, thrown away when they failed.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, RedisError};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::RESPONSE_TIMEOUT;
use crate::stream::StreamError;

/// After a connection could not be made, how long everybody is told so without another try.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Link {
    client: Client,
    place: String,
    /// The connection for everything that does not wait for entries.
    shared: Mutex<Arc<OnceCell<MultiplexedConnection>>>,
    /// When a connection could not be made, and why.
    failed: Mutex<Option<(Instant, String)>>,
}

/// A connection that many callers share, and which one it is.
#[derive(Clone)]
pub(super) struct Shared {
    connection: MultiplexedConnection,
    cell: Arc<OnceCell<MultiplexedConnection>>,
}

impl Link {
    pub(super) fn new(client: Client, place: String) -> Self {
        Self { client, place, shared: Mutex::default(), failed: Mutex::default() }
    }

    /// The server and database, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The shared connection.
    pub(super) async fn shared(&self) -> Result<Shared, String> {
        let cell = Arc::clone(&self.shared.lock());
        let connection = cell.get_or_try_init(|| self.connect()).await?.clone();
        Ok(Shared { connection, cell })
    }

    /// Lets the next caller make another shared connection, unless somebody did so already.
    pub(super) fn discard(&self, failed: &Shared) {
        let mut shared = self.shared.lock();
        if Arc::ptr_eq(&shared, &failed.cell) {
            *shared = Arc::default();
        }
    }

    /// A connection of the caller's own.
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, String> {
        if let Some((at, reason)) = &*self.failed.lock()
            && at.elapsed() < RETRY_PAUSE
        {
            return Err(reason.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(RESPONSE_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let made = self.client.get_multiplexed_async_connection_with_config(&config).await;
        made.map_err(|error| {
            let reason = self.describe(&error);
            *self.failed.lock() = Some((Instant::now(), reason.clone()));
            reason
        })
    }

    pub(super) fn error(&self, operation: &'static str, error: &RedisError) -> StreamError {
        StreamError { operation, reason: self.describe(error) }
    }

    fn describe(&self, error: &RedisError) -> String {
        if error.is_timeout() {
            return format!("Redis at `{}` does not answer", self.place);
        }
        format!("Redis at `{}`: {error}", self.place)
    }
}

impl ::redis::aio::ConnectionLike for Shared {
    fn req_packed_command<'a>(&'a mut self, command: &'a ::redis::Cmd) -> ::redis::RedisFuture<'a, ::redis::Value> {
        self.connection.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a ::redis::Pipeline,
        offset: usize,
        count: usize,
    ) -> ::redis::RedisFuture<'a, Vec<::redis::Value>> {
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}
