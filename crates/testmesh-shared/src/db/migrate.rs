//! Brings a schema to this release's version, or says why that cannot be.

use std::borrow::Cow;

use sqlx::migrate::{Migrate, MigrateError, MigrationType, Migrator};

use crate::db::{DbError, Migration, Schema};

/// Applies what is missing of `migrations`, each in a transaction of its own. The table that remembers them is
/// `<schema>._sqlx_migrations`.
pub(super) async fn apply<C: Migrate>(
    connection: &mut C,
    schema: &Schema,
    migrations: &[Migration],
    place: &str,
) -> Result<(), DbError> {
    let known = migrations.last().map_or(0, |migration| migration.version);
    let mut migrator = Migrator::with_migrations(migrations.iter().map(resolve).collect());
    migrator.dangerous_set_table_name(format!("{}._sqlx_migrations", schema.name));
    migrator.run_direct(None, connection, false).await.map_err(|error| {
        let (schema, place) = (schema.name, place.to_owned());
        match error {
            MigrateError::VersionMissing(found) => DbError::Newer { schema, place, found, known },
            MigrateError::VersionMismatch(version) => DbError::Edited { schema, place, version },
            source => DbError::Migrate { schema, place, source },
        }
    })
}

fn resolve(migration: &Migration) -> sqlx::migrate::Migration {
    let sql = sqlx::SqlSafeStr::into_sql_str(migration.sql);
    sqlx::migrate::Migration::new(migration.version, Cow::Borrowed(migration.name), MigrationType::Simple, sql, false)
}
