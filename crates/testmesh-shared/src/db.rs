//! Database handles: one per schema, each of one engine, opened with its migrations applied.
//!
//! A domain holds the [`Db`] of its own schema and no other, so no transaction can span two domains. Tables are always
//! spelled `schema.table`: on SQLite the schema is a file attached under that name. Statements are `.sql` files with
//! explicit columns; [`on_db!`](crate::on_db) runs one on whichever engine the handle is of.

mod folder;
mod json;
mod migrate;
mod postgres;
mod provision;
mod sqlite;
mod stamp;
#[cfg(any(test, feature = "test-support"))]
pub mod testing;
mod unsigned;

use chrono::{DateTime, Utc};

use crate::error::ErrorCode;

pub use folder::DataFolder;
pub use json::JsonText;
pub use postgres::{PostgresDb, PostgresTarget};
pub use provision::{Login, Owner, ProvisionError, provision, role_of};
pub use sqlite::SqliteDb;
pub use stamp::Stamp;
pub use unsigned::Unsigned;

/// A schema's handle. Clones share its connections.
#[derive(Debug, Clone)]
pub enum Db {
    /// A schema in a PostgreSQL database.
    Postgres(PostgresDb),
    /// A file of the embedded default.
    Sqlite(SqliteDb),
}

/// Evaluates an expression with the engine behind a [`Db`](crate::db::Db) under a name. Every engine has `reader()`,
/// an executor for statements that only read, and `begin().await`, a transaction that may write.
///
/// ```
/// # async fn example(db: &testmesh_shared::db::Db) -> Result<(), sqlx::Error> {
/// let one: i64 = testmesh_shared::on_db!(db, engine => sqlx::query_scalar("select 1").fetch_one(engine.reader()).await)?;
/// # Ok(()) }
/// ```
#[macro_export]
macro_rules! on_db {
    ($db:expr, $engine:ident => $body:expr) => {
        match $db {
            $crate::db::Db::Postgres($engine) => $body,
            $crate::db::Db::Sqlite($engine) => $body,
        }
    };
}

/// The text of a statement that differs between the engines: `sql!(db, "../sql/claim")` is the file
/// `../sql/claim.postgres.sql` or `../sql/claim.sqlite.sql`.
#[macro_export]
macro_rules! sql {
    ($db:expr, $path:literal) => {
        match $db {
            $crate::db::Db::Postgres(_) => include_str!(concat!($path, ".postgres.sql")),
            $crate::db::Db::Sqlite(_) => include_str!(concat!($path, ".sqlite.sql")),
        }
    };
}

/// A domain's schema: its name and how its tables came to be.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Its name: lower-case letters.
    pub name: &'static str,
    /// Every migration for PostgreSQL, oldest first. A released one never changes.
    pub postgres: &'static [Migration],
    /// The same for SQLite, with the same numbers.
    pub sqlite: &'static [Migration],
}

/// One step of a schema's history.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Counts from 1, without gaps: the number in the file's name.
    pub version: i64,
    /// The rest of the file's name.
    pub name: &'static str,
    /// The file's text.
    pub sql: &'static str,
}

/// A database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Another process serves this folder.
    #[error(
        "the data folder `{folder}` is in use by another server: stop that one, or give this one another `--data-dir`"
    )]
    FolderInUse {
        /// The folder.
        folder: String,
    },
    /// The folder cannot be used.
    #[error("cannot use the data folder `{folder}`")]
    Folder {
        /// The folder.
        folder: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The database cannot be opened or read.
    #[error("cannot open the database of schema `{schema}` at `{place}`")]
    Open {
        /// The schema.
        schema: &'static str,
        /// The file, or the server and database, without a password.
        place: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// A database URL is not one.
    #[error("the database URL for schema `{schema}` is not usable: {reason}")]
    Url {
        /// The schema.
        schema: &'static str,
        /// What is wrong with it, without the URL itself: it may hold a password.
        reason: String,
    },
    /// The schema's role is not there, or this login may not take it on.
    #[error(
        "the login at `{place}` cannot take on the role `{role}` of schema `{schema}`: run `testmesh-server migrate` with an administrator's URL once"
    )]
    Role {
        /// The schema.
        schema: &'static str,
        /// The server and database.
        place: String,
        /// The role.
        role: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// The schema was changed by a newer release in a way that this one cannot live with.
    #[error(
        "the database of schema `{schema}` at `{place}` comes from a newer release (it has migration {found}, this release knows up to {known}): \
         start that release, or restore a backup from before it"
    )]
    Newer {
        /// The schema.
        schema: &'static str,
        /// The file.
        place: String,
        /// The migration this release does not know.
        found: i64,
        /// The newest migration it knows.
        known: i64,
    },
    /// A migration was changed after it had been applied.
    #[error("migration {version} of schema `{schema}` was changed after the database at `{place}` had applied it")]
    Edited {
        /// The schema.
        schema: &'static str,
        /// The file.
        place: String,
        /// The migration.
        version: i64,
    },
    /// A migration did not apply.
    #[error("cannot migrate schema `{schema}` at `{place}`")]
    Migrate {
        /// The schema.
        schema: &'static str,
        /// The file.
        place: String,
        /// What the driver said.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
}

impl DbError {
    /// The stable word for it.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::Unavailable
    }
}

impl Db {
    /// Opens a schema of the embedded default, the file `<schema>.db` in `folder`, and brings it to this release's
    /// version.
    ///
    /// # Errors
    /// [`DbError::Newer`] and [`DbError::Edited`] when its history is not this release's, [`DbError::Migrate`] when a
    /// migration fails, [`DbError::Open`] when the file cannot be used.
    pub async fn embedded(folder: &DataFolder, schema: &Schema) -> Result<Self, DbError> {
        Ok(Self::Sqlite(SqliteDb::open(folder, schema).await?))
    }

    /// Connects to a schema of a PostgreSQL database and brings it to this release's version, under an advisory lock.
    ///
    /// # Errors
    /// As [`Db::embedded`], and [`DbError::Url`] and [`DbError::Role`].
    pub async fn postgres(target: &PostgresTarget, schema: &Schema) -> Result<Self, DbError> {
        Ok(Self::Postgres(PostgresDb::open(target, schema).await?))
    }

    /// The database's own time: what decides between processes. SQLite serves one process, whose time it is.
    pub async fn now(&self) -> Result<DateTime<Utc>, sqlx::Error> {
        match self {
            Self::Postgres(engine) => {
                sqlx::query_scalar(include_str!("db/now.postgres.sql")).fetch_one(engine.reader()).await
            }
            Self::Sqlite(_) => Ok(crate::clock::Clock::now(&crate::clock::SystemClock)),
        }
    }

    /// Whether several processes can share it.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        on_db!(self, engine => {
            let _: i64 = sqlx::query_scalar(include_str!("db/ping.sql")).fetch_one(engine.reader()).await?;
            Ok(())
        })
    }

    /// Closes every connection, after what they are doing.
    pub async fn close(&self) {
        on_db!(self, engine => engine.close().await);
    }
}

#[cfg(test)]
mod postgres_tests;
#[cfg(test)]
mod tests;
