//! Databases for tests: each its own, on a server that `cargo xtask test` starts and names in the environment.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use crate::db::{Db, Owner, PostgresTarget, Schema, provision, role_of};

/// Names the administrator's URL of a PostgreSQL server that tests may fill.
pub const POSTGRES: &str = "TESTMESH_TEST_POSTGRES";

/// An empty database of its own, with the given schemas made and owned by their roles. `None`, and a line that says so,
/// when there is no server to make it on.
///
/// # Panics
/// When the server that the environment names does not do as it is told.
pub async fn postgres_database(schemas: &[&Schema]) -> Option<String> {
    #[allow(clippy::disallowed_methods, reason = "tests are told by the environment where their servers are")]
    let Ok(server) = std::env::var(POSTGRES) else {
        #[allow(clippy::print_stderr, reason = "whoever reads the tests' output should know what they did not do")]
        {
            eprintln!("skipped on postgresql: {POSTGRES} names no server");
        }
        return None;
    };
    let name = format!("test_{}", crate::ids::new_uuid(&crate::clock::SystemClock).simple());
    let options: PgConnectOptions = server.parse().expect("the server's URL is one");
    let mut connection = options.connect().await.expect("the server answers");
    connection.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("make a database");
    connection.close().await.expect("close the connection");
    let mut url: url::Url = server.parse().expect("the server's URL is one");
    url.set_path(&name);
    for schema in schemas {
        provision(url.as_str(), schema, &Owner::Role(None)).await.expect("make a schema and its role");
    }
    Some(url.into())
}

/// A schema in an empty database of its own, migrated. `None` as for [`postgres_database`].
///
/// # Panics
/// As [`postgres_database`].
pub async fn postgres(schema: &Schema) -> Option<Db> {
    let url = postgres_database(&[schema]).await?;
    let target = PostgresTarget { url, role: Some(role_of(schema)), connections: 4 };
    Some(Db::postgres(&target, schema).await.expect("migrate the schema"))
}
