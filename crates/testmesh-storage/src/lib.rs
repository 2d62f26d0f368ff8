//! What the user wrote: flows, their versions, environments.
//!
//! Owns the schema `flows` and nothing else. Does not parse flows: the caller hands over what it needs to list them.
//!
//! No text may hold the character NUL, which PostgreSQL cannot keep; only the values of an environment's variables may,
//! as they are kept as JSON.

mod environment_repository;
mod flow_repository;
pub mod remote;
mod schema;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::{EnvironmentId, FlowId, WriteId};
use testmesh_shared::internal::CallError;
use testmesh_shared::page::{Page, PageKey, PageRequest};

pub use environment_repository::environment_repository;
pub use flow_repository::flow_repository;
pub use schema::SCHEMA;
use utoipa::ToSchema;

/// What of a flow's text is kept beside it, so that it can be listed and searched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowHeader {
    /// The flow's name, unique among the flows that are not deleted.
    pub name: String,
    /// What it tests.
    pub description: Option<String>,
    /// The suite it belongs to.
    pub suite: Option<String>,
    /// Its tags, in the order written.
    pub tags: Vec<String>,
}

/// A flow to keep: its text byte for byte, and its header.
#[derive(Debug, Clone)]
pub struct NewFlow {
    /// The caller's id: creating twice with one id creates once.
    pub id: FlowId,
    /// Taken from the text by the caller.
    pub header: FlowHeader,
    /// The text as it was written.
    pub yaml: String,
}

/// A new version of a flow.
#[derive(Debug, Clone)]
pub struct FlowEdit {
    /// The caller's id: the same write twice is one version.
    pub write: WriteId,
    /// Taken from the text by the caller.
    pub header: FlowHeader,
    /// The text as it was written.
    pub yaml: String,
    /// Only if the newest version is this one; none: whichever it is.
    pub expected: Option<u32>,
}

/// A flow without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowSummary {
    /// Its id.
    pub id: FlowId,
    /// Name, description, suite, tags.
    #[serde(flatten)]
    pub header: FlowHeader,
    /// The newest version, from 1.
    pub version: u32,
    /// When version 1 was stored.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub created_at: DateTime<Utc>,
    /// When the newest version was stored.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub updated_at: DateTime<Utc>,
}

/// A flow with the text of its newest version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredFlow {
    /// All but the text.
    #[serde(flatten)]
    pub summary: FlowSummary,
    /// The newest version's text.
    pub yaml: String,
}

/// One version of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowVersion {
    /// From 1, without gaps.
    pub version: u32,
    /// The text as it was written.
    pub yaml: String,
    /// When it was stored.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub created_at: DateTime<Utc>,
}

/// Which flows to list.
#[derive(Debug, Clone, Default)]
pub struct FlowFilter {
    /// Part of the name or description, in any case.
    pub search: Option<String>,
    /// Every one of these tags.
    pub tags: Vec<String>,
    /// This suite.
    pub suite: Option<String>,
}

/// Named variables that a run can be given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Environment {
    /// Its id.
    pub id: EnvironmentId,
    /// Unique, 1–255 characters.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Name to value; any JSON value.
    pub variables: IndexMap<String, serde_json::Value>,
    /// Counts changes, from 1.
    pub revision: u32,
    /// When it was created.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    #[serde(serialize_with = "testmesh_shared::timestamp::millis")]
    pub updated_at: DateTime<Utc>,
}

/// An environment to create or to put in place of another.
#[derive(Debug, Clone)]
pub struct NewEnvironment {
    /// Unique.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Name to value.
    pub variables: IndexMap<String, serde_json::Value>,
}

/// Other content for an environment.
#[derive(Debug, Clone)]
pub struct EnvironmentEdit {
    /// The caller's id: the same write twice, with no other between, is one change.
    pub write: WriteId,
    /// What to put in its place.
    pub environment: NewEnvironment,
    /// Only if this revision is stored; none: whichever it is.
    pub expected: Option<u32>,
}

/// A store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another flow or environment has this name.
    #[error("the name `{name}` is taken")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The stored object has another version than the caller expected.
    #[error("version {expected} expected, {found} found")]
    VersionMismatch {
        /// What the caller expected.
        expected: u32,
        /// What is stored.
        found: u32,
    },
    /// The database did not do it.
    #[error("{operation}")]
    Database {
        /// What was tried, with its ids.
        operation: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// The process that keeps the store did not do it: it is away, slow, refuses this one, or has trouble itself.
    #[error("{operation}")]
    Unavailable {
        /// What was tried, with its ids.
        operation: String,
        /// What became of the call.
        #[source]
        source: Box<CallError>,
    },
}

impl StorageError {
    /// The stable word for it.
    pub fn code(&self) -> ErrorCode {
        match self {
            StorageError::NameTaken { .. } => ErrorCode::NameTaken,
            StorageError::VersionMismatch { .. } => ErrorCode::PreconditionFailed,
            StorageError::Database { .. } | StorageError::Unavailable { .. } => ErrorCode::Unavailable,
        }
    }
}

/// Keeps flows and their versions. Absent things are `None` or `false`, never an error.
#[async_trait]
pub trait FlowRepository: Send + Sync {
    /// Stores version 1 of a new flow.
    async fn create(&self, flow: NewFlow) -> Result<StoredFlow, StorageError>;
    /// The newest version of a flow.
    async fn find(&self, id: FlowId) -> Result<Option<StoredFlow>, StorageError>;
    /// The newest version of the flow with this name (what `run_flow` names).
    async fn find_by_name(&self, name: &str) -> Result<Option<StoredFlow>, StorageError>;
    /// A page of flows, newest first by creation.
    async fn list(&self, filter: &FlowFilter, page: PageRequest) -> Result<Page<FlowSummary>, StorageError>;
    /// Stores a new version; the same write again changes nothing and gives that version. `None`: no such flow.
    async fn update(&self, id: FlowId, edit: FlowEdit) -> Result<Option<StoredFlow>, StorageError>;
    /// Takes a flow out of the lists. `false`: there was none.
    async fn delete(&self, id: FlowId, expected: Option<u32>) -> Result<bool, StorageError>;
    /// Every version, newest first. `None`: no such flow.
    async fn versions(&self, id: FlowId) -> Result<Option<Vec<FlowVersion>>, StorageError>;
    /// One version's text.
    async fn version(&self, id: FlowId, version: u32) -> Result<Option<FlowVersion>, StorageError>;
}

/// Keeps environments, by name.
#[async_trait]
pub trait EnvironmentRepository: Send + Sync {
    /// Stores a new environment; the same id again changes nothing and gives what is stored.
    async fn create(&self, id: EnvironmentId, environment: NewEnvironment) -> Result<Environment, StorageError>;
    /// The environment with this name.
    async fn find(&self, name: &str) -> Result<Option<Environment>, StorageError>;
    /// A page of environments, newest first.
    async fn list(&self, page: PageRequest) -> Result<Page<Environment>, StorageError>;
    /// Puts other content in place of the environment called `name` (and renames it if the names differ).
    async fn update(&self, name: &str, edit: EnvironmentEdit) -> Result<Option<Environment>, StorageError>;
    /// Deletes it. `false`: there was none. Not to be repeated without looking: the name may be another's by then.
    async fn delete(&self, name: &str, expected: Option<u32>) -> Result<bool, StorageError>;
}

/// Makes a page of up to one item more than asked for: that one tells whether another page follows.
fn page_of<T>(mut items: Vec<T>, page: PageRequest, key: impl Fn(&T) -> PageKey) -> Page<T> {
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(key) } else { None };
    Page { items, next }
}
