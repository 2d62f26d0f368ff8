//! Brings a schema to this release's version, or says why that cannot be.

use std::borrow::Cow;

use sqlx::migrate::{Migrate, MigrateError, MigrationType, Migrator};

use crate::db::{DbError, Migration, Schema};

/// Migrations of one generation only add, so a release works on a schema to which a later release has added: it can be
/// rolled back to, and a server of it that crashes during an upgrade comes back. A migration that older releases cannot
/// live with opens the next generation: 1001, 2001, …
const GENERATION: i64 = 1_000;

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
    migrator.set_ignore_missing(true);
    let failed = |error| {
        let (schema, place) = (schema.name, place.to_owned());
        match error {
            MigrateError::VersionMismatch(version) => DbError::Edited { schema, place, version },
            source => DbError::Migrate { schema, place, source },
        }
    };
    migrator.run_direct(None, connection, false).await.map_err(failed)?;
    let applied = connection.list_applied_migrations(&migrator.table_name).await.map_err(failed)?;
    let added: Vec<i64> = applied
        .iter()
        .map(|one| one.version)
        .filter(|version| migrations.iter().all(|m| m.version != *version))
        .collect();
    if let Some(found) = added.iter().copied().find(|found| !lives_with(known, *found)) {
        return Err(DbError::Newer { schema: schema.name, place: place.to_owned(), found, known });
    }
    if !added.is_empty() {
        tracing::info!(schema = schema.name, known, ?added, "a newer release has added to this schema");
    }
    Ok(())
}

/// Whether a release that knows the migrations up to `known` works on a schema that has `found` as well.
fn lives_with(known: i64, found: i64) -> bool {
    found > known && found / GENERATION == known / GENERATION
}

fn resolve(migration: &Migration) -> sqlx::migrate::Migration {
    let sql = sqlx::SqlSafeStr::into_sql_str(migration.sql);
    sqlx::migrate::Migration::new(migration.version, Cow::Borrowed(migration.name), MigrationType::Simple, sql, false)
}
