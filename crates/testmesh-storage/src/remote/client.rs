//! The side that has no database: the traits, by calls of the process that has one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::{EnvironmentId, FlowId};
use testmesh_shared::internal::{Answer, CallError, Client, ClientLimits};
use testmesh_shared::page::{Page, PageRequest};

use super::wire::{self, Question};
use crate::{
    Environment, EnvironmentEdit, EnvironmentRepository, FlowEdit, FlowFilter, FlowRepository, FlowSummary,
    FlowVersion, NewEnvironment, NewFlow, StorageError, StoredFlow,
};

/// How long [`about`] waits: a probe that hangs says nothing.
const ABOUT_TIME: Duration = Duration::from_secs(2);

/// Who answers at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// `testmesh-storage`.
    pub name: String,
    /// Its release.
    pub release: String,
}

/// Flows that the process which `client` calls keeps.
pub fn flow_repository(client: &Client) -> Arc<dyn FlowRepository> {
    Arc::new(HttpFlowRepository { client: client.clone() })
}

/// Environments that the process which `client` calls keeps.
pub fn environment_repository(client: &Client) -> Arc<dyn EnvironmentRepository> {
    Arc::new(HttpEnvironmentRepository { client: client.clone() })
}

/// Asks the storage once who it is, for at most 2 s. It answers when its database does.
///
/// # Errors
/// [`StorageError::Unavailable`].
pub async fn about(client: &Client) -> Result<About, StorageError> {
    let once = client.with_limits(ClientLimits { time: ABOUT_TIME, attempts: 1, ..ClientLimits::default() });
    let wire::Storage { name, release } = ask(&once, &wire::AskAbout {}, || "reach the storage".to_owned()).await?;
    Ok(About { name, release })
}

struct HttpFlowRepository {
    client: Client,
}

struct HttpEnvironmentRepository {
    client: Client,
}

#[async_trait]
impl FlowRepository for HttpFlowRepository {
    async fn create(&self, flow: NewFlow) -> Result<StoredFlow, StorageError> {
        let NewFlow { id, header, yaml } = flow;
        let question = wire::CreateFlow { id, header: header.into(), yaml };
        Ok(ask(&self.client, &question, || format!("store flow `{id}`")).await?.into())
    }

    async fn find(&self, id: FlowId) -> Result<Option<StoredFlow>, StorageError> {
        let found = ask(&self.client, &wire::FindFlow { id }, || format!("read flow `{id}`")).await?;
        Ok(found.map(StoredFlow::from))
    }

    async fn find_by_name(&self, name: &str) -> Result<Option<StoredFlow>, StorageError> {
        let question = wire::FindFlowByName { name: name.to_owned() };
        let found = ask(&self.client, &question, || format!("read flow `{name}`")).await?;
        Ok(found.map(StoredFlow::from))
    }

    async fn list(&self, filter: &FlowFilter, page: PageRequest) -> Result<Page<FlowSummary>, StorageError> {
        let question = wire::ListFlows { filter: filter.clone().into(), page: page.into() };
        Ok(ask(&self.client, &question, || "list flows".to_owned()).await?.into_domain())
    }

    async fn update(&self, id: FlowId, edit: FlowEdit) -> Result<Option<StoredFlow>, StorageError> {
        let FlowEdit { write, header, yaml, expected } = edit;
        let question = wire::UpdateFlow { id, write, header: header.into(), yaml, expected };
        let stored = ask(&self.client, &question, || format!("store a version of flow `{id}`")).await?;
        Ok(stored.map(StoredFlow::from))
    }

    async fn delete(&self, id: FlowId, expected: Option<u32>) -> Result<bool, StorageError> {
        let question = wire::DeleteFlow { id, expected };
        let operation = || format!("delete flow `{id}`");
        let Answer { value: deleted, repeated } = exchange(&self.client, &question, operation).await?;
        // What a repetition no longer finds was deleted by the attempt whose answer was lost: ids are never used again.
        Ok(deleted || repeated)
    }

    async fn versions(&self, id: FlowId) -> Result<Option<Vec<FlowVersion>>, StorageError> {
        let operation = || format!("list the versions of flow `{id}`");
        let versions = ask(&self.client, &wire::ListVersions { id }, operation).await?;
        Ok(versions.map(|versions| versions.into_iter().map(FlowVersion::from).collect()))
    }

    async fn version(&self, id: FlowId, version: u32) -> Result<Option<FlowVersion>, StorageError> {
        let operation = || format!("read version {version} of flow `{id}`");
        let found = ask(&self.client, &wire::FindVersion { id, version }, operation).await?;
        Ok(found.map(FlowVersion::from))
    }
}

#[async_trait]
impl EnvironmentRepository for HttpEnvironmentRepository {
    async fn create(&self, id: EnvironmentId, environment: NewEnvironment) -> Result<Environment, StorageError> {
        let question = wire::CreateEnvironment { id, content: environment.into() };
        Ok(ask(&self.client, &question, || format!("store environment `{id}`")).await?.into())
    }

    async fn find(&self, name: &str) -> Result<Option<Environment>, StorageError> {
        let question = wire::FindEnvironment { name: name.to_owned() };
        let found = ask(&self.client, &question, || format!("read environment `{name}`")).await?;
        Ok(found.map(Environment::from))
    }

    async fn list(&self, page: PageRequest) -> Result<Page<Environment>, StorageError> {
        let question = wire::ListEnvironments { page: page.into() };
        Ok(ask(&self.client, &question, || "list environments".to_owned()).await?.into_domain())
    }

    async fn update(&self, name: &str, edit: EnvironmentEdit) -> Result<Option<Environment>, StorageError> {
        let EnvironmentEdit { write, environment, expected } = edit;
        let question = wire::UpdateEnvironment { name: name.to_owned(), write, content: environment.into(), expected };
        let stored = ask(&self.client, &question, || format!("store environment `{name}`")).await?;
        Ok(stored.map(Environment::from))
    }

    async fn delete(&self, name: &str, expected: Option<u32>) -> Result<bool, StorageError> {
        let question = wire::DeleteEnvironment { name: name.to_owned(), expected };
        ask(&self.client, &question, || format!("delete environment `{name}`")).await
    }
}

async fn ask<Q: Question>(
    client: &Client,
    question: &Q,
    operation: impl Fn() -> String + Send,
) -> Result<Q::Answer, StorageError> {
    exchange(client, question, operation).await.map(|answer| answer.value)
}

async fn exchange<Q: Question>(
    client: &Client,
    question: &Q,
    operation: impl Fn() -> String + Send,
) -> Result<Answer<Q::Answer>, StorageError> {
    client.call(Q::PATH, question, Q::REPEAT).await.map_err(|error| failed(error, operation))
}

/// What beside the code makes an error of this domain.
#[derive(Deserialize)]
struct NameTaken {
    name: String,
}

#[derive(Deserialize)]
struct VersionMismatch {
    expected: u32,
    found: u32,
}

/// The error that the other side had, as far as a caller can tell.
fn failed(error: CallError, operation: impl Fn() -> String) -> StorageError {
    if let CallError::Answered { error, .. } = &error {
        match error.known_code() {
            Some(ErrorCode::NameTaken) => {
                if let Ok(NameTaken { name }) = NameTaken::deserialize(&error.details) {
                    return StorageError::NameTaken { name };
                }
            }
            Some(ErrorCode::PreconditionFailed) => {
                if let Ok(VersionMismatch { expected, found }) = VersionMismatch::deserialize(&error.details) {
                    return StorageError::VersionMismatch { expected, found };
                }
            }
            _ => {}
        }
    }
    StorageError::Unavailable { operation: operation(), source: Box::new(error) }
}
