//! A schema in a SQLite file, attached under the schema's name.
//!
//! One connection writes and several read: SQLite admits one writer at a time, and waiting for it in a queue beats
//! failing with `database is locked`. Every commit reaches the disk (WAL, `synchronous = full`).

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Sqlite, Transaction};

use crate::db::{DataFolder, DbError, Schema, migrate};

/// Connections that read at the same time.
const READERS: u32 = 4;
/// How long a statement waits for another process that holds the file (a backup tool).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections to one schema's file. Clones share them.
#[derive(Debug, Clone)]
pub struct SqliteDb {
    writer: SqlitePool,
    readers: SqlitePool,
    _folder: DataFolder,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Write,
    Read,
}

impl SqliteDb {
    pub(super) async fn open(folder: &DataFolder, schema: &Schema) -> Result<Self, DbError> {
        let path = folder.path().join(format!("{}.db", schema.name));
        let place = path.display().to_string();
        let attach = Attach { schema: schema.name, place: place.clone() };
        // A pool hides the reason when a new connection fails, so the first one is made without.
        let failed = |source| DbError::Open { schema: schema.name, place: place.clone(), source };
        let mut first = options().connect().await.map_err(failed)?;
        attach.run(&mut first, Access::Write).await.map_err(failed)?;
        let wal = AssertSqlSafe(format!("pragma {}.journal_mode = wal", schema.name));
        first.execute(wal).await.map_err(failed)?;
        migrate::apply(&mut first, schema, schema.sqlite, &place).await?;
        first.close().await.map_err(failed)?;
        Ok(Self {
            writer: attach.clone().pool(Access::Write, 1),
            readers: attach.pool(Access::Read, READERS),
            _folder: folder.clone(),
        })
    }

    /// Connections for statements that only read.
    pub fn reader(&self) -> &SqlitePool {
        &self.readers
    }

    /// A transaction that may write: it waits until no other one does.
    pub async fn begin(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.writer.begin_with("begin immediate").await
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        // Last, so that it finds nobody reading and leaves no write-ahead log behind.
        self.writer.close().await;
    }
}

#[derive(Clone)]
struct Attach {
    schema: &'static str,
    place: String,
}

impl Attach {
    fn pool(self, access: Access, connections: u32) -> SqlitePool {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            // When a disk is full SQLite ends a transaction by itself, and the driver goes on counting it: such a
            // connection would never begin another one.
            .before_acquire(|connection, _| {
                let sound = !connection.is_in_transaction();
                Box::pin(async move { Ok(sound) })
            })
            .after_connect(move |connection, _| {
                let attach = self.clone();
                Box::pin(async move { attach.run(connection, access).await })
            })
            .connect_lazy_with(options())
    }

    async fn run(&self, connection: &mut SqliteConnection, access: Access) -> Result<(), sqlx::Error> {
        let attach = AssertSqlSafe(format!("attach database $1 as {}", self.schema));
        sqlx::query(attach).bind(self.place.as_str()).execute(&mut *connection).await?;
        let full = AssertSqlSafe(format!("pragma {}.synchronous = full", self.schema));
        connection.execute(full).await?;
        if access == Access::Read {
            connection.execute("pragma query_only = on").await?;
        }
        Ok(())
    }
}

/// The connection's own database stays empty, in memory: everything lives in the attached file.
fn options() -> SqliteConnectOptions {
    SqliteConnectOptions::new().create_if_missing(true).busy_timeout(BUSY_TIMEOUT).disable_statement_logging()
}
