//! Environments in a database: one row each, their variables as one JSON map in the order written.

use std::sync::Arc;

use async_trait::async_trait;
use indexmap::IndexMap;
use testmesh_shared::clock::Clock;
use testmesh_shared::db::{Db, JsonText, Stamp, Unsigned};
use testmesh_shared::ids::EnvironmentId;
use testmesh_shared::on_db;
use testmesh_shared::page::{Page, PageKey, PageRequest};
use uuid::Uuid;

use crate::flow_repository::{failed, is_unique_violation};
use crate::{Environment, EnvironmentEdit, EnvironmentRepository, NewEnvironment, StorageError, page_of};

/// Environments in `db`, which is of [`crate::SCHEMA`].
pub fn environment_repository(db: &Db, clock: Arc<dyn Clock>) -> Arc<dyn EnvironmentRepository> {
    Arc::new(SqlEnvironmentRepository { db: db.clone(), clock })
}

struct SqlEnvironmentRepository {
    db: Db,
    clock: Arc<dyn Clock>,
}

#[derive(sqlx::FromRow)]
struct EnvironmentRow {
    id: Uuid,
    name: String,
    description: Option<String>,
    variables: JsonText<IndexMap<String, serde_json::Value>>,
    revision: Unsigned,
    created_at: Stamp,
    updated_at: Stamp,
}

impl From<EnvironmentRow> for Environment {
    fn from(row: EnvironmentRow) -> Self {
        Self {
            id: EnvironmentId::from(row.id),
            name: row.name,
            description: row.description,
            variables: row.variables.0,
            revision: row.revision.0,
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        }
    }
}

#[async_trait]
impl EnvironmentRepository for SqlEnvironmentRepository {
    async fn create(&self, id: EnvironmentId, environment: NewEnvironment) -> Result<Environment, StorageError> {
        let now = self.clock.now();
        let stored: Result<(), sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            sqlx::query(include_str!("../sql/insert_environment.sql"))
                .bind(id.as_uuid())
                .bind(environment.name.as_str())
                .bind(environment.description.as_deref())
                .bind(JsonText(&environment.variables))
                .bind(Stamp(now))
                .execute(&mut *tx)
                .await?;
            tx.commit().await
        }.await);
        let NewEnvironment { name, description, variables } = environment;
        match stored {
            Ok(()) => {
                Ok(Environment { id, name, description, variables, revision: 1, created_at: now, updated_at: now })
            }
            Err(error) if is_unique_violation(&error) => {
                // Either the name is taken, or this one was stored before and the caller repeats itself.
                let found = self.find_by(include_str!("../sql/find_environment_by_id.sql"), id.as_uuid()).await?;
                found.ok_or(StorageError::NameTaken { name })
            }
            Err(source) => Err(failed(format!("store environment `{name}`"))(source)),
        }
    }

    async fn find(&self, name: &str) -> Result<Option<Environment>, StorageError> {
        let row: Result<Option<EnvironmentRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../sql/find_environment.sql"))
                .bind(name)
                .fetch_optional(engine.reader())
                .await
        });
        Ok(row.map_err(failed(format!("read environment `{name}`")))?.map(Environment::from))
    }

    async fn list(&self, page: PageRequest) -> Result<Page<Environment>, StorageError> {
        let rows: Result<Vec<EnvironmentRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../sql/list_environments.sql"))
                .bind(page.after.map(|key| Stamp(key.created_at)))
                .bind(page.after.map(|key| key.id))
                .bind(i64::from(page.limit) + 1)
                .fetch_all(engine.reader())
                .await
        });
        let environments = rows.map_err(failed("list environments"))?.into_iter().map(Environment::from).collect();
        Ok(page_of(environments, page, |item| PageKey { created_at: item.created_at, id: item.id.as_uuid() }))
    }

    async fn update(&self, name: &str, edit: EnvironmentEdit) -> Result<Option<Environment>, StorageError> {
        let EnvironmentEdit { write, environment, expected } = edit;
        let now = self.clock.now();
        let updated: Result<Option<(Uuid, Unsigned, Stamp)>, sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            let updated = sqlx::query_as(include_str!("../sql/update_environment.sql"))
                .bind(name)
                .bind(environment.name.as_str())
                .bind(environment.description.as_deref())
                .bind(JsonText(&environment.variables))
                .bind(Stamp(now))
                .bind(expected.map(Unsigned))
                .bind(write.as_uuid())
                .fetch_optional(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(updated)
        }.await);
        let NewEnvironment { name: new_name, description, variables } = environment;
        match updated {
            Ok(Some((id, Unsigned(revision), created_at))) => Ok(Some(Environment {
                id: EnvironmentId::from(id),
                name: new_name,
                description,
                variables,
                revision,
                created_at: created_at.0,
                updated_at: now,
            })),
            Ok(None) => {
                let written = include_str!("../sql/find_written_environment.sql");
                match self.find_by(written, write.as_uuid()).await? {
                    Some(environment) => Ok(Some(environment)),
                    None => self.explain_miss(name, expected).await.map(|()| None),
                }
            }
            Err(error) if is_unique_violation(&error) => Err(StorageError::NameTaken { name: new_name }),
            Err(source) => Err(failed(format!("store environment `{name}`"))(source)),
        }
    }

    async fn delete(&self, name: &str, expected: Option<u32>) -> Result<bool, StorageError> {
        let deleted: Result<u64, sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            let done = sqlx::query(include_str!("../sql/delete_environment.sql"))
                .bind(name)
                .bind(expected.map(Unsigned))
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(done.rows_affected())
        }.await);
        match deleted.map_err(failed(format!("delete environment `{name}`")))? {
            0 => self.explain_miss(name, expected).await.map(|()| false),
            _ => Ok(true),
        }
    }
}

impl SqlEnvironmentRepository {
    /// The environment that `statement` finds by one id.
    async fn find_by(&self, statement: &'static str, id: Uuid) -> Result<Option<Environment>, StorageError> {
        let row: Result<Option<EnvironmentRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(statement).bind(id).fetch_optional(engine.reader()).await
        });
        Ok(row.map_err(failed(format!("read the environment of `{id}`")))?.map(Environment::from))
    }

    /// Tells why a guarded statement changed nothing: fine when there is no such environment.
    async fn explain_miss(&self, name: &str, expected: Option<u32>) -> Result<(), StorageError> {
        let found: Result<Option<Unsigned>, _> = on_db!(&self.db, engine => {
            sqlx::query_scalar(include_str!("../sql/find_environment_revision.sql"))
                .bind(name)
                .fetch_optional(engine.reader())
                .await
        });
        match (found.map_err(failed(format!("read environment `{name}`")))?, expected) {
            (Some(Unsigned(found)), Some(expected)) => Err(StorageError::VersionMismatch { expected, found }),
            _ => Ok(()),
        }
    }
}
