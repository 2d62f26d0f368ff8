//! Stores a batch in one transaction.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use testmesh_shared::db::{Stamp, Unsigned};
use testmesh_shared::ids::{ExecutionId, FlowId, SessionId};
use testmesh_shared::{on_db, sql};
use uuid::Uuid;

use crate::record;
use crate::repository::batch::without_nul;
use crate::repository::row::word_of;
use crate::repository::{Batch, HoldRow, InsertRow, KeyRow, Message, RepositoryError, Store, failed};

/// What a batch came to.
#[derive(Default)]
pub(crate) struct Committed {
    /// Executions that are stored now and were not before.
    pub(crate) inserted: HashSet<ExecutionId>,
    /// Whose each idempotency key of the batch is: hash of the request, execution.
    pub(crate) key_owners: HashMap<String, KeyOwner>,
    /// Waiting executions that are running now.
    pub(crate) started: HashSet<ExecutionId>,
    /// Executions whose events are stored. Those that are missing belong to another session.
    pub(crate) held: HashSet<ExecutionId>,
    /// The messages of the batch, to be published.
    pub(crate) messages: Vec<Message>,
}

/// The request that a key was used for first.
#[derive(Debug, Clone)]
pub(crate) struct KeyOwner {
    pub(crate) request_hash: String,
    pub(crate) execution_id: ExecutionId,
}

#[derive(Serialize)]
struct DefinitionRow<'a> {
    hash: &'a str,
    text: Cow<'a, str>,
}

#[derive(sqlx::FromRow)]
struct KeyOwnerRow {
    key: String,
    request_hash: String,
    execution_id: Uuid,
}

impl From<KeyOwnerRow> for (String, KeyOwner) {
    fn from(row: KeyOwnerRow) -> Self {
        (row.key, KeyOwner { request_hash: row.request_hash, execution_id: ExecutionId::from(row.execution_id) })
    }
}

/// Claims the idempotency keys of a batch.
macro_rules! insert_keys {
    ($store:expr, $tx:expr, $done:expr, $rows:expr, $expired:expr) => {
        if !$rows.keys.is_empty() {
            let keys = json(&first_of_each(&$rows.keys))?;
            sqlx::query(sql!(&$store.db, "../../sql/claim_keys"))
                .bind(keys.clone())
                .bind(Stamp($expired))
                .execute(&mut *$tx)
                .await?;
            let owners: Vec<KeyOwnerRow> =
                sqlx::query_as(sql!(&$store.db, "../../sql/find_key_owners")).bind(keys).fetch_all(&mut *$tx).await?;
            $done.key_owners = owners.into_iter().map(Into::into).collect();
        }
    };
}

/// Stores the new executions of a batch, with their texts.
macro_rules! insert_runs {
    ($store:expr, $tx:expr, $done:expr, $rows:expr) => {
        let inserts = $done.wanted($rows);
        if !inserts.is_empty() {
            sqlx::query(sql!(&$store.db, "../../sql/insert_definitions"))
                .bind(json(&definitions(&inserts))?)
                .execute(&mut *$tx)
                .await?;
            let ids: Vec<Uuid> = sqlx::query_scalar(sql!(&$store.db, "../../sql/insert_executions"))
                .bind(json(&inserts)?)
                .fetch_all(&mut *$tx)
                .await?;
            $done.inserted = ids.into_iter().map(ExecutionId::from).collect();
        }
    };
}

impl Store {
    /// Stores `batch`. Keys taken before `keys_expired` are free again; an execution whose key is another's is left out.
    pub(crate) async fn write(&self, batch: &Batch, keys_expired: DateTime<Utc>) -> Result<Committed, RepositoryError> {
        let stored = async {
            let mut done = Committed::default();
            on_db!(&self.db, engine => {
                let mut tx = engine.begin().await?;
                insert_keys!(self, tx, done, batch, keys_expired);
                insert_runs!(self, tx, done, batch);
                if !batch.starts.is_empty() {
                    let ids: Vec<Uuid> = sqlx::query_scalar(sql!(&self.db, "../../sql/start_executions"))
                        .bind(json(&batch.starts)?)
                        .fetch_all(&mut *tx)
                        .await?;
                    done.started = ids.into_iter().map(ExecutionId::from).collect();
                }
                // Ends first: whose end is stored is locked until the commit, and what else is told of it goes with it.
                if !batch.finishes.is_empty() {
                    let ids: Vec<Uuid> = sqlx::query_scalar(sql!(&self.db, "../../sql/finish_executions"))
                        .bind(json(&batch.finishes)?)
                        .fetch_all(&mut *tx)
                        .await?;
                    done.held = ids.into_iter().map(ExecutionId::from).collect();
                }
                let holds = batch.going();
                if !holds.is_empty() {
                    let ids: Vec<Uuid> = sqlx::query_scalar(sql!(&self.db, "../../sql/hold_executions"))
                        .bind(json(&holds)?)
                        .fetch_all(&mut *tx)
                        .await?;
                    done.held.extend(ids.into_iter().map(ExecutionId::from));
                }
                let steps = done.kept(&batch.steps, |row| row.execution_id);
                let events = done.kept(&batch.events, |row| row.execution_id);
                let rest = [
                    (sql!(&self.db, "../../sql/insert_steps"), json_unless_empty(&steps)?),
                    (sql!(&self.db, "../../sql/insert_events"), json_unless_empty(&events)?),
                ];
                for (statement, rows) in rest {
                    if let Some(rows) = rows {
                        sqlx::query(statement).bind(rows).execute(&mut *tx).await?;
                    }
                }
                if let Some(messages) = json_unless_empty(&done.kept(&batch.outbox, |row| row.execution_id))? {
                    done.messages = sqlx::query_as(sql!(&self.db, "../../sql/insert_outbox"))
                        .bind(messages)
                        .fetch_all(&mut *tx)
                        .await?;
                }
                tx.commit().await?;
            });
            Ok(done)
        };
        stored.await.map_err(failed("store a batch of executions"))
    }

    /// Stores a batch, and the runs and the key in `rows`. `None` for the batch: it was there already, or its key is
    /// another's; then nothing is stored.
    pub(crate) async fn insert_batch(
        &self,
        batch: &record::Batch,
        session: SessionId,
        rows: &Batch,
        keys_expired: DateTime<Utc>,
    ) -> Result<(bool, Committed), RepositoryError> {
        let stored: Result<(bool, Committed), sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            let mut done = Committed::default();
            insert_keys!(self, tx, done, rows, keys_expired);
            if done.key_owners.values().any(|owner| owner.execution_id.as_uuid() != batch.id.as_uuid()) {
                return Ok((false, done));
            }
            let id: Option<Uuid> = sqlx::query_scalar(include_str!("../../sql/insert_batch.sql"))
                .bind(batch.id.as_uuid())
                .bind(word_of(batch.kind))
                .bind(without_nul(&batch.name).into_owned())
                .bind(batch.flow_id.map(FlowId::as_uuid))
                .bind(batch.environment.as_deref())
                .bind(Unsigned(batch.parallelism))
                .bind(Unsigned(batch.total))
                .bind(word_of(batch.trigger))
                .bind(batch.schedule_id)
                .bind(batch.job_id)
                .bind(Unsigned(batch.attempt))
                .bind(session.as_uuid())
                .bind(Stamp(batch.created_at))
                .fetch_optional(&mut *tx)
                .await?;
            if id.is_none() {
                return Ok((false, done));
            }
            insert_runs!(self, tx, done, rows);
            tx.commit().await?;
            Ok((true, done))
        }.await);
        stored.map_err(failed(format!("store batch `{}`", batch.id)))
    }

    /// Whose `key` is, unless it was taken before `expired`.
    pub(crate) async fn key_owner(
        &self,
        key: &str,
        expired: DateTime<Utc>,
    ) -> Result<Option<KeyOwner>, RepositoryError> {
        let row: Result<Option<KeyOwnerRow>, _> = on_db!(&self.db, engine => {
            sqlx::query_as(include_str!("../../sql/find_key_owner.sql"))
                .bind(key)
                .bind(Stamp(expired))
                .fetch_optional(engine.reader())
                .await
        });
        let owner = row.map_err(failed("read an idempotency key"))?;
        Ok(owner.map(|row| <(String, KeyOwner)>::from(row).1))
    }

    /// Forgets keys taken before `expired`.
    pub(crate) async fn forget_keys(&self, expired: DateTime<Utc>) -> Result<(), RepositoryError> {
        let done: Result<(), sqlx::Error> = on_db!(&self.db, engine => async {
            let mut tx = engine.begin().await?;
            sqlx::query(include_str!("../../sql/delete_expired_keys.sql")).bind(Stamp(expired)).execute(&mut *tx).await?;
            tx.commit().await
        }.await);
        done.map_err(failed("delete expired idempotency keys"))
    }
}

impl Batch {
    /// Executions that go on, each once.
    fn going(&self) -> Vec<&HoldRow> {
        let mut seen: HashSet<ExecutionId> = self.finishes.iter().map(|row| row.id).collect();
        self.holds.iter().filter(|row| seen.insert(row.id)).collect()
    }
}

impl Committed {
    /// The rows of executions that this writer has.
    fn kept<'a, T>(&self, rows: &'a [T], execution_id: impl Fn(&T) -> ExecutionId) -> Vec<&'a T> {
        rows.iter().filter(|row| self.held.contains(&execution_id(row))).collect()
    }

    /// The executions of `batch` that no other request's key keeps out.
    fn wanted<'a>(&self, batch: &'a Batch) -> Vec<&'a InsertRow> {
        let refused: HashSet<ExecutionId> = batch
            .keys
            .iter()
            .filter(|row| self.key_owners.get(&row.key).is_some_and(|owner| owner.execution_id != row.execution_id))
            .map(|row| row.execution_id)
            .collect();
        batch.inserts.iter().filter(|row| !refused.contains(&row.id)).collect()
    }
}

/// Of equal keys in one batch, the first request's: it has the key.
fn first_of_each(keys: &[KeyRow]) -> Vec<&KeyRow> {
    let mut seen = HashSet::with_capacity(keys.len());
    keys.iter().filter(|row| seen.insert(row.key.as_str())).collect()
}

/// Each text once.
fn definitions<'a>(inserts: &[&'a InsertRow]) -> Vec<DefinitionRow<'a>> {
    let texts: HashMap<&str, Cow<'_, str>> =
        inserts.iter().map(|row| (row.definition_hash(), without_nul(&row.definition))).collect();
    texts.into_iter().map(|(hash, text)| DefinitionRow { hash, text }).collect()
}

fn json<T: Serialize>(rows: &[T]) -> Result<String, sqlx::Error> {
    serde_json::to_string(rows).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn json_unless_empty<T: Serialize>(rows: &[T]) -> Result<Option<String>, sqlx::Error> {
    if rows.is_empty() { Ok(None) } else { json(rows).map(Some) }
}
