//! Runs a flow: one step loop for the server, the command line and sub-flows.
//!
//! A run is one future, so dropping it stops everything. What has to go on beside its steps (a mock server) is a task of
//! the run: its end, and dropping it, ends that too. Whatever stops a part of a run (a
//! cancellation, a time-out, a failed branch) goes through [`stop::Stop`], which lets nested steps end in order and say
//! how they ended. Every event leaves through [`emitter::Emitter`], which masks secrets.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use indexmap::IndexMap;
use testmesh_shared::clock::Clock;
use testmesh_shared::http::HttpClient;
use testmesh_shared::ids::{ExecutionId, FlowId};
use testmesh_shared::net::Connector;
use tokio_util::sync::CancellationToken;

use crate::event::EventSink;
use crate::files::Files;
use crate::flow::Flow;
use crate::plugins::Plugins;
use crate::programs::Programs;
use crate::record::{ExecutionError, ExecutionStatus, Trigger};
use crate::value::Value;

mod armed;
mod attempt;
mod block;
mod context;
mod emitter;
mod judge;
mod opening;
mod phases;
mod resolved;
mod run;
mod step;
mod stop;
mod stored;
mod subflow;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use armed::{Patience, at_once};
pub(crate) use block::BlockEnd;
pub(crate) use context::{ActionContext, Stopped, at_key};
pub(crate) use judge::check_assertions;
pub(crate) use phases::Verdict;
#[cfg(any(feature = "grpc", feature = "kafka"))]
pub(crate) use resolved::describe;
pub(crate) use resolved::{Resolved, entries, items, mismatch};
pub(crate) use stored::recorded;

/// What every run of a process shares.
#[derive(Clone)]
pub struct Engine {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) connector: Connector,
    pub(crate) flows: Arc<dyn FlowSource>,
    /// The operating system's environment on the command line; empty on a server.
    pub(crate) os_env: Arc<IndexMap<String, String>>,
    /// Name of this process, for the record.
    pub(crate) runner: String,
    /// One client for all runs; none: each run has its own.
    pub(crate) http: Option<HttpClient>,
    /// The programs that flows may run.
    pub(crate) programs: Arc<Programs>,
    /// The plugins that flows may use.
    pub(crate) plugins: Plugins,
}

/// Where `run_flow` finds other flows.
#[async_trait]
pub trait FlowSource: Send + Sync {
    /// The flow that `reference` names: an id or name on a server, a file (relative to `files.base`) or name on the
    /// command line. `Err` is a fragment for people.
    async fn find(&self, reference: &str, files: &Files) -> Result<Arc<Flow>, String>;
}

/// One run.
pub struct RunRequest {
    /// Its id.
    pub execution_id: ExecutionId,
    /// The stored flow's id.
    pub flow_id: Option<FlowId>,
    /// What to run.
    pub flow: Arc<Flow>,
    /// `--var`, the API's `variables`, a data row.
    pub variables: IndexMap<String, Value>,
    /// The selected environment's variables.
    pub environment: IndexMap<String, Value>,
    /// The flow's `env_file`, already read.
    pub env_file: IndexMap<String, Value>,
    /// Secrets by name: `secrets.X`, masked wherever they show.
    pub secrets: HashMap<String, String>,
    /// Makes built-in random values and times repeat.
    pub seed: Option<u64>,
    /// Teardown failures fail the run.
    pub strict: bool,
    /// Checks everything and runs no action.
    pub dry_run: bool,
    /// How much is told of its steps.
    pub detail: Detail,
    /// The files it may read.
    pub files: Files,
    /// Writes snapshots anew instead of comparing with them.
    pub update_snapshots: bool,
    /// The trace to join (32 hex digits); none: a new one.
    pub trace_id: Option<String>,
    /// Number of the first event (2 when `execution.queued` was already told).
    pub first_seq: u64,
    /// What started it.
    pub trigger: Trigger,
}

/// How much is told of the steps of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Detail {
    /// All there is.
    #[default]
    Full,
    /// What explains a failure. Of a step that passed nobody learns what it sent, got, compared and captured.
    Failures,
}

impl Detail {
    /// Whether more is told than that it went well.
    fn tells(self, went_well: bool) -> bool {
        self == Self::Full || !went_well
    }
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Its verdict.
    pub status: ExecutionStatus,
    /// Why there is none.
    pub error: Option<ExecutionError>,
    /// What the flow's `output` came to.
    pub outputs: IndexMap<String, Value>,
}

impl Engine {
    /// An engine.
    pub fn new(
        clock: Arc<dyn Clock>,
        connector: Connector,
        flows: Arc<dyn FlowSource>,
        os_env: impl Into<Arc<IndexMap<String, String>>>,
        runner: String,
    ) -> Self {
        Self {
            clock,
            connector,
            flows,
            os_env: os_env.into(),
            runner,
            http: None,
            programs: Arc::default(),
            plugins: Plugins::none(),
        }
    }

    /// Lets flows run programs; without this they run none.
    #[must_use]
    pub fn with_programs(mut self, programs: Programs) -> Self {
        self.programs = Arc::new(programs);
        self
    }

    /// Lets flows use plugins; without this they have none.
    #[must_use]
    pub fn with_plugins(mut self, plugins: Plugins) -> Self {
        self.plugins = plugins;
        self
    }

    /// Lets the HTTP requests of all runs share connections, for a process whose runs belong together. Cookies and
    /// tokens stay each run's own.
    #[must_use]
    pub fn with_shared_connections(mut self) -> Self {
        self.http = Some(HttpClient::new(self.connector.clone()));
        self
    }

    /// Runs a flow to its end and tells `events` everything, last of all `execution.finished`. Never panics: a panic
    /// inside ends the run as `error`. Cancelling stops the running step and runs teardown.
    pub async fn run(&self, request: RunRequest, events: Arc<dyn EventSink>, cancel: CancellationToken) -> Summary {
        run::run(self, request, events, cancel).await
    }
}
