//! Flows in a database: one row per flow, one per version, the texts byte for byte.

use std::sync::Arc;

use async_trait::async_trait;
use testmesh_shared::clock::Clock;
use testmesh_shared::db::{Db, JsonText, Stamp, Unsigned};
use testmesh_shared::ids::FlowId;
use testmesh_shared::page::{Page, PageKey, PageRequest};
use testmesh_shared::{on_db, sql};
use uuid::Uuid;

use crate::{
    FlowEdit, FlowFilter, FlowHeader, FlowRepository, FlowSummary, FlowVersion, NewFlow, StorageError, StoredFlow,
    page_of,
};

/// Flows in `db`, which is of [`crate::SCHEMA`].
pub fn flow_repository(db: &Db, clock: Arc<dyn Clock>) -> Arc<dyn FlowRepository> {
    Arc::new(SqlFlowRepository { db: db.clone(), clock })
}

struct SqlFlowRepository {
    db: Db,
    clock: Arc<dyn Clock>,
}

#[derive(sqlx::FromRow)]
struct SummaryRow {
    id: Uuid,
    name: String,
    description: Option<String>,
    suite: Option<String>,
    tags: JsonText<Vec<String>>,
    version: Unsigned,
    created_at: Stamp,
    updated_at: Stamp,
}

#[derive(sqlx::FromRow)]
struct FlowRow {
    #[sqlx(flatten)]
    summary: SummaryRow,
    yaml: String,
}

#[derive(sqlx::FromRow)]
struct VersionRow {
    version: Unsigned,
    yaml: String,
    created_at: Stamp,
}

impl From<SummaryRow> for FlowSummary {
    fn from(row: SummaryRow) -> Self {
        Self {
            id: FlowId::from(row.id),
            header: FlowHeader { name: row.name, description: row.description, suite: row.suite, tags: row.tags.0 },
            version: row.version.0,
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        }
    }
}

impl From<FlowRow> for StoredFlow {
    fn from(row: FlowRow) -> Self {
        Self { summary: row.summary.into(), yaml: row.yaml }
    }
}

impl From<VersionRow> for FlowVersion {
    fn from(row: VersionRow) -> Self {
        Self { version: row.version.0, yaml: row.yaml, created_at: row.created_at.0 }
    }
}

#[async_trait]
impl FlowRepository for SqlFlowRepository {
    async fn create(&self, flow: NewFlow) -> Result<StoredFlow, StorageError> {
        match self.insert(&flow).await {
            Ok(stored) => Ok(stored),
            Err(error) if is_unique_violation(&error) => {
                // Either the name is taken, or this very flow was stored before and the caller repeats itself.
                let stored = self.find(flow.id).await?;
                stored.ok_or(StorageError::NameTaken { name: flow.header.name })
            }
            Err(source) => Err(failed(format!("store flow `{}`", flow.header.name))(source)),
        }
    }

    async fn find(&self, id: FlowId) -> Result<Option<StoredFlow>, StorageError> {
        let row: Result<Option<FlowRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../sql/find_flow.sql"))
                .bind(id.as_uuid())
                .fetch_optional(engine.reader())
                .await
        });
        Ok(row.map_err(failed(format!("read flow `{id}`")))?.map(StoredFlow::from))
    }

    async fn find_by_name(&self, name: &str) -> Result<Option<StoredFlow>, StorageError> {
        let row: Result<Option<FlowRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../sql/find_flow_by_name.sql"))
                .bind(name)
                .fetch_optional(engine.reader())
                .await
        });
        Ok(row.map_err(failed(format!("read flow `{name}`")))?.map(StoredFlow::from))
    }

    async fn list(&self, filter: &FlowFilter, page: PageRequest) -> Result<Page<FlowSummary>, StorageError> {
        let search = filter.search.as_deref().map(str::to_lowercase);
        let rows: Result<Vec<SummaryRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(sql!(&self.db, "../sql/list_flows"))
                .bind(search)
                .bind(filter.suite.as_deref())
                .bind(JsonText(&filter.tags))
                .bind(page.after.map(|key| Stamp(key.created_at)))
                .bind(page.after.map(|key| key.id))
                .bind(i64::from(page.limit) + 1)
                .fetch_all(engine.reader())
                .await
        });
        let flows = rows.map_err(failed("list flows"))?.into_iter().map(FlowSummary::from).collect();
        Ok(page_of(flows, page, |flow| PageKey { created_at: flow.created_at, id: flow.id.as_uuid() }))
    }

    async fn update(&self, id: FlowId, edit: FlowEdit) -> Result<Option<StoredFlow>, StorageError> {
        match self.add_version(id, &edit).await {
            Ok(Some(stored)) => Ok(Some(stored)),
            Ok(None) => match self.find_written(id, &edit).await? {
                Some(stored) => Ok(Some(stored)),
                None => self.explain_miss(id, edit.expected).await.map(|()| None),
            },
            Err(error) if is_unique_violation(&error) => {
                // Either the name is taken, or this very write was carried out before and the caller repeats itself.
                let stored = self.find_written(id, &edit).await?;
                stored.map(Some).ok_or(StorageError::NameTaken { name: edit.header.name })
            }
            Err(source) => Err(failed(format!("store a version of flow `{id}`"))(source)),
        }
    }

    async fn delete(&self, id: FlowId, expected: Option<u32>) -> Result<bool, StorageError> {
        let now = Stamp(self.clock.now());
        let deleted: Result<u64, sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            let done = sqlx::query(include_str!("../sql/delete_flow.sql"))
                .bind(id.as_uuid())
                .bind(now)
                .bind(expected.map(Unsigned))
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(done.rows_affected())
        }.await);
        match deleted.map_err(failed(format!("delete flow `{id}`")))? {
            0 => self.explain_miss(id, expected).await.map(|()| false),
            _ => Ok(true),
        }
    }

    async fn versions(&self, id: FlowId) -> Result<Option<Vec<FlowVersion>>, StorageError> {
        let rows: Result<Vec<VersionRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../sql/list_versions.sql"))
                .bind(id.as_uuid())
                .fetch_all(engine.reader())
                .await
        });
        let rows = rows.map_err(failed(format!("list the versions of flow `{id}`")))?;
        // A flow always has its first version, so no row means no flow.
        Ok((!rows.is_empty()).then(|| rows.into_iter().map(FlowVersion::from).collect()))
    }

    async fn version(&self, id: FlowId, version: u32) -> Result<Option<FlowVersion>, StorageError> {
        let row: Result<Option<VersionRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../sql/find_version.sql"))
                .bind(id.as_uuid())
                .bind(Unsigned(version))
                .fetch_optional(engine.reader())
                .await
        });
        Ok(row.map_err(failed(format!("read version {version} of flow `{id}`")))?.map(FlowVersion::from))
    }
}

impl SqlFlowRepository {
    async fn insert(&self, flow: &NewFlow) -> Result<StoredFlow, sqlx::Error> {
        let (id, header, now) = (flow.id, &flow.header, self.clock.now());
        on_db!(&self.db, engine => {
            let mut tx = engine.begin().await?;
            sqlx::query(include_str!("../sql/insert_flow.sql"))
                .bind(id.as_uuid())
                .bind(header.name.as_str())
                .bind(header.description.as_deref())
                .bind(header.suite.as_deref())
                .bind(JsonText(&header.tags))
                .bind(search_text(header))
                .bind(Stamp(now))
                .execute(&mut *tx)
                .await?;
            sqlx::query(include_str!("../sql/insert_version.sql"))
                .bind(id.as_uuid())
                .bind(Unsigned(1))
                .bind(flow.yaml.as_str())
                .bind(Stamp(now))
                .bind(None::<Uuid>)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        });
        let summary = FlowSummary { id, header: header.clone(), version: 1, created_at: now, updated_at: now };
        Ok(StoredFlow { summary, yaml: flow.yaml.clone() })
    }

    /// `None`: there is no such flow, or its newest version is not the expected one.
    async fn add_version(&self, id: FlowId, edit: &FlowEdit) -> Result<Option<StoredFlow>, sqlx::Error> {
        let FlowEdit { write, header, yaml, expected } = edit;
        let now = self.clock.now();
        let updated: Option<(Unsigned, Stamp)> = on_db!(&self.db, engine => {
            let mut tx = engine.begin().await?;
            let updated: Option<(Unsigned, Stamp)> = sqlx::query_as(include_str!("../sql/update_flow.sql"))
                .bind(id.as_uuid())
                .bind(header.name.as_str())
                .bind(header.description.as_deref())
                .bind(header.suite.as_deref())
                .bind(JsonText(&header.tags))
                .bind(search_text(header))
                .bind(Stamp(now))
                .bind(expected.map(Unsigned))
                .fetch_optional(&mut *tx)
                .await?;
            if let Some((version, _)) = updated {
                sqlx::query(include_str!("../sql/insert_version.sql"))
                    .bind(id.as_uuid())
                    .bind(version)
                    .bind(yaml.as_str())
                    .bind(Stamp(now))
                    .bind(Some(write.as_uuid()))
                    .execute(&mut *tx)
                    .await?;
                tx.commit().await?;
            }
            updated
        });
        Ok(updated.map(|(version, created_at)| stored(id, edit, (version, Stamp(now), created_at))))
    }

    /// What this write made of the flow, when it was carried out before.
    async fn find_written(&self, id: FlowId, edit: &FlowEdit) -> Result<Option<StoredFlow>, StorageError> {
        let found: Result<Option<(Unsigned, Stamp, Stamp)>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../sql/find_written_version.sql"))
                .bind(id.as_uuid())
                .bind(edit.write.as_uuid())
                .fetch_optional(engine.reader())
                .await
        });
        Ok(found.map_err(failed(format!("read flow `{id}`")))?.map(|times| stored(id, edit, times)))
    }

    /// Tells why a guarded statement changed nothing: fine when there is no such flow.
    async fn explain_miss(&self, id: FlowId, expected: Option<u32>) -> Result<(), StorageError> {
        let found: Result<Option<Unsigned>, _> = on_db!(&self.db, engine => {
            sqlx::query_scalar(include_str!("../sql/find_flow_version_number.sql"))
                .bind(id.as_uuid())
                .fetch_optional(engine.reader())
                .await
        });
        match (found.map_err(failed(format!("read flow `{id}`")))?, expected) {
            (Some(Unsigned(found)), Some(expected)) => Err(StorageError::VersionMismatch { expected, found }),
            _ => Ok(()),
        }
    }
}

/// The flow as an edit made it: its version, when that was stored, and when the first one was.
fn stored(id: FlowId, edit: &FlowEdit, (version, updated_at, created_at): (Unsigned, Stamp, Stamp)) -> StoredFlow {
    let header = edit.header.clone();
    let summary = FlowSummary { id, header, version: version.0, created_at: created_at.0, updated_at: updated_at.0 };
    StoredFlow { summary, yaml: edit.yaml.clone() }
}

fn search_text(header: &FlowHeader) -> String {
    let description = header.description.as_deref().unwrap_or_default();
    format!("{}\n{description}", header.name).to_lowercase()
}

pub(crate) fn is_unique_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

pub(crate) fn failed(operation: impl Into<String>) -> impl FnOnce(sqlx::Error) -> StorageError {
    let operation = operation.into();
    move |source| StorageError::Database { operation, source }
}
