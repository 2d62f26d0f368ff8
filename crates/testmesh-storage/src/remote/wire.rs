//! Questions and answers as they cross the wire, and which of them may be asked twice.
//!
//! Apart from the domain's own types, because these change by the rules of the wire: times keep their microseconds,
//! a field that a later release adds has a default, and none is ever given another meaning.

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use testmesh_shared::ids::{EnvironmentId, FlowId, WriteId};
use testmesh_shared::internal::Repeat;
use testmesh_shared::page;
use uuid::Uuid;

use crate::{FlowFilter, FlowHeader, FlowSummary, FlowVersion, NewEnvironment, StoredFlow};

/// Most items of a page, whatever is asked for: what [`page::PageRequest`] allows.
const LONGEST_PAGE: u32 = 200;

/// A question, where it is asked, and what answers it.
pub(super) trait Question: Serialize + DeserializeOwned + Send + Sync + 'static {
    const PATH: &'static str;
    const REPEAT: Repeat;
    type Answer: Serialize + DeserializeOwned + Send + 'static;
}

macro_rules! questions {
    ($($(#[$doc:meta])* $path:literal $repeat:ident $name:ident { $($field:ident: $type:ty,)* } -> $answer:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Serialize, Deserialize)]
            pub(super) struct $name {
                $(pub(super) $field: $type,)*
            }

            impl Question for $name {
                const PATH: &'static str = concat!("/internal/storage/v1/", $path);
                const REPEAT: Repeat = Repeat::$repeat;
                type Answer = $answer;
            }
        )*
    };
}

questions! {
    "about" Always AskAbout {} -> Storage;
    // By the flow's id.
    "flows/create" Always CreateFlow { id: FlowId, header: Header, yaml: String, } -> Flow;
    "flows/find" Always FindFlow { id: FlowId, } -> Option<Flow>;
    "flows/find-by-name" Always FindFlowByName { name: String, } -> Option<Flow>;
    "flows/list" Always ListFlows { filter: Filter, page: PageOf, } -> Page<Summary>;
    // By the id of the write.
    "flows/update" Always UpdateFlow {
        id: FlowId, write: WriteId, header: Header, yaml: String, expected: Option<u32>,
    } -> Option<Flow>;
    // An id is never used again; the answer to a repetition is put right by the client.
    "flows/delete" Always DeleteFlow { id: FlowId, expected: Option<u32>, } -> bool;
    "flows/versions" Always ListVersions { id: FlowId, } -> Option<Vec<VersionText>>;
    "flows/version" Always FindVersion { id: FlowId, version: u32, } -> Option<VersionText>;
    // By the environment's id.
    "environments/create" Always CreateEnvironment { id: EnvironmentId, content: Content, } -> Environment;
    "environments/find" Always FindEnvironment { name: String, } -> Option<Environment>;
    "environments/list" Always ListEnvironments { page: PageOf, } -> Page<Environment>;
    // By the id of the write.
    "environments/update" Always UpdateEnvironment {
        name: String, write: WriteId, content: Content, expected: Option<u32>,
    } -> Option<Environment>;
    // Another environment may have taken the name in between.
    "environments/delete" WhileNotBegun DeleteEnvironment { name: String, expected: Option<u32>, } -> bool;
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Storage {
    pub(super) name: String,
    pub(super) release: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    name: String,
    description: Option<String>,
    suite: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Summary {
    id: FlowId,
    header: Header,
    version: u32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Flow {
    summary: Summary,
    yaml: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct VersionText {
    version: u32,
    yaml: String,
    created_at: DateTime<Utc>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Filter {
    search: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    suite: Option<String>,
}

/// What of an environment its user writes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Content {
    name: String,
    description: Option<String>,
    #[serde(default)]
    variables: IndexMap<String, serde_json::Value>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Environment {
    id: EnvironmentId,
    content: Content,
    revision: u32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Key {
    created_at: DateTime<Utc>,
    id: Uuid,
}

/// Which page.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct PageOf {
    limit: u32,
    after: Option<Key>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Page<T> {
    items: Vec<T>,
    next: Option<Key>,
}

impl From<FlowHeader> for Header {
    fn from(header: FlowHeader) -> Self {
        let FlowHeader { name, description, suite, tags } = header;
        Self { name, description, suite, tags }
    }
}

impl From<Header> for FlowHeader {
    fn from(header: Header) -> Self {
        let Header { name, description, suite, tags } = header;
        Self { name, description, suite, tags }
    }
}

impl From<FlowSummary> for Summary {
    fn from(flow: FlowSummary) -> Self {
        let FlowSummary { id, header, version, created_at, updated_at } = flow;
        Self { id, header: header.into(), version, created_at, updated_at }
    }
}

impl From<Summary> for FlowSummary {
    fn from(flow: Summary) -> Self {
        let Summary { id, header, version, created_at, updated_at } = flow;
        Self { id, header: header.into(), version, created_at, updated_at }
    }
}

impl From<StoredFlow> for Flow {
    fn from(flow: StoredFlow) -> Self {
        Self { summary: flow.summary.into(), yaml: flow.yaml }
    }
}

impl From<Flow> for StoredFlow {
    fn from(flow: Flow) -> Self {
        Self { summary: flow.summary.into(), yaml: flow.yaml }
    }
}

impl From<FlowVersion> for VersionText {
    fn from(version: FlowVersion) -> Self {
        let FlowVersion { version, yaml, created_at } = version;
        Self { version, yaml, created_at }
    }
}

impl From<VersionText> for FlowVersion {
    fn from(version: VersionText) -> Self {
        let VersionText { version, yaml, created_at } = version;
        Self { version, yaml, created_at }
    }
}

impl From<FlowFilter> for Filter {
    fn from(filter: FlowFilter) -> Self {
        let FlowFilter { search, tags, suite } = filter;
        Self { search, tags, suite }
    }
}

impl From<Filter> for FlowFilter {
    fn from(filter: Filter) -> Self {
        let Filter { search, tags, suite } = filter;
        Self { search, tags, suite }
    }
}

impl From<NewEnvironment> for Content {
    fn from(environment: NewEnvironment) -> Self {
        let NewEnvironment { name, description, variables } = environment;
        Self { name, description, variables }
    }
}

impl From<Content> for NewEnvironment {
    fn from(content: Content) -> Self {
        let Content { name, description, variables } = content;
        Self { name, description, variables }
    }
}

impl From<crate::Environment> for Environment {
    fn from(environment: crate::Environment) -> Self {
        let crate::Environment { id, name, description, variables, revision, created_at, updated_at } = environment;
        Self { id, content: Content { name, description, variables }, revision, created_at, updated_at }
    }
}

impl From<Environment> for crate::Environment {
    fn from(environment: Environment) -> Self {
        let Environment { id, content, revision, created_at, updated_at } = environment;
        let Content { name, description, variables } = content;
        Self { id, name, description, variables, revision, created_at, updated_at }
    }
}

impl From<page::PageKey> for Key {
    fn from(key: page::PageKey) -> Self {
        Self { created_at: key.created_at, id: key.id }
    }
}

impl From<Key> for page::PageKey {
    fn from(key: Key) -> Self {
        Self { created_at: key.created_at, id: key.id }
    }
}

impl From<page::PageRequest> for PageOf {
    fn from(page: page::PageRequest) -> Self {
        Self { limit: page.limit, after: page.after.map(Key::from) }
    }
}

impl From<PageOf> for page::PageRequest {
    fn from(page: PageOf) -> Self {
        Self { limit: page.limit.min(LONGEST_PAGE), after: page.after.map(page::PageKey::from) }
    }
}

impl<T> Page<T> {
    /// A page of the domain's items.
    pub(super) fn of<D: Into<T>>(page: page::Page<D>) -> Self {
        Self { items: page.items.into_iter().map(D::into).collect(), next: page.next.map(Key::from) }
    }

    /// The page in the domain's items.
    pub(super) fn into_domain<D: From<T>>(self) -> page::Page<D> {
        let items = self.items.into_iter().map(D::from).collect();
        page::Page { items, next: self.next.map(page::PageKey::from) }
    }
}
