//! Runs a flow: one step loop for the server, the command line and sub-flows.
// SKELETON: owner E implements (engine/{run,step,attempt,…}.rs); keeps these signatures (may add fields and methods).

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytestring::ByteString;
use indexmap::IndexMap;
use testmesh_shared::clock::Clock;
use testmesh_shared::ids::{ExecutionId, FlowId};
use testmesh_shared::net::Connector;
use tokio_util::sync::CancellationToken;

use crate::action::{ActionError, StepConfig};
use crate::event::EventSink;
use crate::files::Files;
use crate::flow::{Flow, Step};
use crate::record::{ExecutionError, ExecutionStatus, Trigger};
use crate::template::Lookup;
use crate::value::Value;

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
    /// The files it may read.
    pub files: Files,
    /// The trace to join (32 hex digits); none: a new one.
    pub trace_id: Option<String>,
    /// Number of the first event (2 when `execution.queued` was already told).
    pub first_seq: u64,
    /// What started it.
    pub trigger: Trigger,
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
        os_env: IndexMap<String, String>,
        runner: String,
    ) -> Self {
        Self { clock, connector, flows, os_env: Arc::new(os_env), runner }
    }

    /// Runs a flow to its end and tells `events` everything, last of all `execution.finished`. Never panics: a panic
    /// inside ends the run as `error`. Cancelling stops the running step and runs teardown.
    pub async fn run(&self, request: RunRequest, events: Arc<dyn EventSink>, cancel: CancellationToken) -> Summary {
        let _ = (request, events, cancel);
        unimplemented!()
    }
}

/// What an action sees of its step and run.
pub(crate) struct ActionContext<'a> {
    /// The step.
    pub(crate) step: &'a Step,
    // E: scope, run services (http client of the run, cookie jar …), nested-step runner, cancellation, log
}

impl ActionContext<'_> {
    /// The step's compiled configuration.
    pub(crate) fn config(&self) -> &StepConfig {
        &self.step.config
    }
    /// The names in scope.
    pub(crate) fn scope(&self) -> &dyn Lookup {
        unimplemented!()
    }
    /// Every [`crate::action::ConfigField::Tree`] of the configuration, resolved.
    pub(crate) fn resolve(&self) -> Result<Resolved, ActionError> {
        unimplemented!()
    }
    /// Opens every socket.
    pub(crate) fn connector(&self) -> &Connector {
        unimplemented!()
    }
    /// The files the run may read.
    pub(crate) fn files(&self) -> &Files {
        unimplemented!()
    }
    /// Something the run keeps for its whole length, made when first asked for: a client pool, a cookie jar.
    pub(crate) fn resource<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let _ = make;
        unimplemented!()
    }
    /// The W3C `traceparent` for the next request of this step.
    pub(crate) fn traceparent(&self) -> String {
        unimplemented!()
    }
    /// Adds a line to the step's log (masked) and tells the listeners.
    pub(crate) fn log(&self, level: &str, message: &str, data: Option<Value>) {
        let _ = (level, message, data);
        unimplemented!()
    }
}

/// A step's configuration with every reference resolved, read by key with a precise error.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) fields: IndexMap<String, Value>,
}

/// Accessors: absent keys and null are `None`; a value of the wrong kind is an [`ActionError`] of kind `config` that
/// names the key, what it takes and what it got: "`timeout` takes a duration such as `30s`, got the list [1, 2]".
impl Resolved {
    /// Whatever it is (null included, when it is written).
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.fields.get(key)
    }
    /// Text; numbers and booleans as their text.
    pub(crate) fn text(&self, key: &str) -> Result<Option<ByteString>, ActionError> {
        let _ = key;
        unimplemented!()
    }
    /// Text that must be there.
    pub(crate) fn required_text(&self, key: &str) -> Result<ByteString, ActionError> {
        let _ = key;
        unimplemented!()
    }
    /// An integer; also from its text.
    pub(crate) fn integer(&self, key: &str) -> Result<Option<i64>, ActionError> {
        let _ = key;
        unimplemented!()
    }
    /// A boolean; also from the texts `true` and `false`.
    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, ActionError> {
        let _ = key;
        unimplemented!()
    }
    /// A duration, as [`crate::flow`] reads them.
    pub(crate) fn duration(&self, key: &str) -> Result<Option<std::time::Duration>, ActionError> {
        let _ = key;
        unimplemented!()
    }
    /// A number of bytes: `10MiB`, `512KB`, a plain number.
    pub(crate) fn size(&self, key: &str) -> Result<Option<u64>, ActionError> {
        let _ = key;
        unimplemented!()
    }
    /// A list, or one value alone.
    pub(crate) fn list(&self, key: &str) -> Result<Vec<Value>, ActionError> {
        let _ = key;
        unimplemented!()
    }
    /// A map with its keys in order; empty when absent.
    pub(crate) fn map(&self, key: &str) -> Result<IndexMap<ByteString, Value>, ActionError> {
        let _ = key;
        unimplemented!()
    }
    /// A map as a configuration of its own (`auth.basic`).
    pub(crate) fn section(&self, key: &str) -> Result<Option<Resolved>, ActionError> {
        let _ = key;
        unimplemented!()
    }
}
