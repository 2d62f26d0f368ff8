//! A schema in a PostgreSQL database, used by the schema's own role.
//!
//! A process may share one login between its domains: every connection then takes on the role of its schema right after
//! it is made, so that PostgreSQL itself refuses what another domain owns.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Postgres, Transaction};

use crate::db::{DbError, Schema, migrate};

/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A statement that takes longer is ended by the server: nothing here takes a hundredth of it.
const STATEMENT_TIMEOUT_MS: &str = "30000";
/// A transaction that is not gone on with for so long is ended by the server, and its locks with it: a process that
/// stands still in the middle of one must not keep others from its rows until its lease (15 s) is over, and longer.
const STANDSTILL_TIMEOUT_MS: &str = "10000";
/// How statements are planned. Every one has an index for what it looks for, so a plan that is kept from the time when a
/// table was small must not be to read all of it; and none is worth being compiled.
const PLANS: [(&str, &str); 2] = [("enable_seqscan", "off"), ("jit", "off")];
/// How long a connection that nobody uses is kept.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);

/// Where a schema is, and as whom it is used.
#[derive(Clone)]
pub struct PostgresTarget {
    /// `postgres://user:password@host:port/database?sslmode=…`.
    pub url: String,
    /// The role that connections take on; none: the login in the URL is the schema's own.
    pub role: Option<String>,
    /// Connections at most (default 10).
    pub connections: u32,
}

impl std::fmt::Debug for PostgresTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("PostgresTarget").field("role", &self.role).finish_non_exhaustive()
    }
}

/// The connections to one schema. Clones share them.
#[derive(Debug, Clone)]
pub struct PostgresDb {
    pool: PgPool,
}

impl PostgresDb {
    pub(super) async fn open(target: &PostgresTarget, schema: &Schema) -> Result<Self, DbError> {
        let options = options(&target.url, schema.name)?;
        let place = place(&options);
        // A pool hides the reason when a new connection fails, so the first one is made without.
        let failed = |source| DbError::Open { schema: schema.name, place: place.clone(), source };
        let mut first = options.connect().await.map_err(failed)?;
        if let Some(role) = &target.role {
            take_on(&mut first, role).await.map_err(|source| DbError::Role {
                schema: schema.name,
                place: place.clone(),
                role: role.clone(),
                source,
            })?;
        }
        first.execute("set statement_timeout = 0").await.map_err(failed)?;
        migrate::apply(&mut first, schema, schema.postgres, &place).await?;
        first.close().await.map_err(failed)?;
        let role = target.role.clone();
        let pool = PgPoolOptions::new()
            .max_connections(target.connections.max(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(IDLE_TIMEOUT)
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let role = role.clone();
                Box::pin(async move {
                    match &role {
                        Some(role) => take_on(connection, role).await,
                        None => Ok(()),
                    }
                })
            })
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// Connections for statements that only read.
    pub fn reader(&self) -> &PgPool {
        &self.pool
    }

    /// A transaction that may write.
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        self.pool.begin().await
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Connection options of `url`, for the domain of `schema`.
pub(super) fn options(url: &str, schema: &'static str) -> Result<PgConnectOptions, DbError> {
    let unusable = |reason: String| DbError::Url { schema, reason };
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(unusable("it does not start with `postgres://`".to_owned()));
    }
    let options = PgConnectOptions::from_str(url).map_err(|error| match error {
        sqlx::Error::Configuration(reason) => unusable(reason.to_string()),
        other => unusable(other.to_string()),
    })?;
    let options = options
        .application_name(&format!("testmesh-{schema}"))
        .options([
            ("statement_timeout", STATEMENT_TIMEOUT_MS),
            ("idle_in_transaction_session_timeout", STANDSTILL_TIMEOUT_MS),
        ])
        .options(PLANS);
    Ok(options.disable_statement_logging())
}

/// The server and database of a connection, for people.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    format!("{}:{}/{database}", options.get_host(), options.get_port())
}

async fn take_on(connection: &mut PgConnection, role: &str) -> Result<(), sqlx::Error> {
    connection.execute(AssertSqlSafe(format!("set role {}", quoted(role)))).await?;
    Ok(())
}

/// A name as it stands in a statement that takes no parameter for it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
