//! Runs flows in this process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use indexmap::IndexMap;
use parking_lot::Mutex;
use testmesh_runner::engine::{Engine, FlowSource, RunRequest};
use testmesh_runner::event::{EventSink, RunEvent, RunEventKind};
use testmesh_runner::files::Files;
use testmesh_runner::flow::Flow;
use testmesh_runner::programs::Programs;
use testmesh_runner::record::{Execution, Trigger};
use testmesh_runner::value::Value;
use testmesh_shared::clock::{Clock, SystemClock};
use testmesh_shared::ids::ExecutionId;
use testmesh_shared::net::Connector;
use tokio_util::sync::CancellationToken;

use crate::plan::{Compiler, Job, summary};
use crate::settings::Settings;

/// The engine of this process.
pub(crate) struct Local {
    engine: Engine,
    settings: Arc<Settings>,
}

impl Local {
    /// An engine for the flows of a plan.
    pub(crate) fn new(settings: Arc<Settings>, connector: Connector, plan: Compiler) -> Self {
        let named = OnceLock::new();
        let flows = Arc::new(FlowFiles { plan, named, settings: Arc::clone(&settings), read: Mutex::default() });
        let os_env = &settings.os_env;
        let engine = Engine::new(Arc::new(SystemClock), connector, flows, Arc::clone(os_env), "cli".to_owned())
            .with_programs(Programs::all().with_environment(&**os_env))
            .with_plugins(settings.plugins.clone())
            .with_shared_connections();
        Self { engine, settings }
    }

    /// The same engine with connections of its own.
    pub(crate) fn beside(&self) -> Self {
        Self { engine: self.engine.clone().with_shared_connections(), settings: Arc::clone(&self.settings) }
    }

    /// Runs one job to its end, as the execution `id`.
    pub(crate) async fn run(&self, job: &Job, id: ExecutionId, events: Arc<dyn EventSink>, cancel: CancellationToken) {
        let now = SystemClock.now();
        let mut queued = Execution::queued(id, &job.name, Trigger::Cli, now);
        queued.environment.clone_from(&self.settings.environment);
        queued.variables = self.shown(&job.variables);
        let kind = RunEventKind::Queued(Box::new(queued));
        events.emit(RunEvent { seq: 1, execution_id: id, time: now, kind });
        let request = RunRequest {
            execution_id: id,
            flow_id: None,
            flow: Arc::clone(&job.flow),
            variables: job.variables.clone(),
            environment: job.environment.clone(),
            env_file: job
                .env_file
                .iter()
                .map(|(name, value)| (name.clone(), Value::Text(value.as_str().into())))
                .collect(),
            secrets: self.settings.secrets.clone(),
            seed: self.settings.seed,
            strict: self.settings.strict,
            dry_run: self.settings.dry_run,
            files: job.files.clone(),
            update_snapshots: self.settings.update_snapshots,
            detail: self.settings.detail,
            trace_id: None,
            first_seq: 2,
            trigger: Trigger::Cli,
        };
        self.engine.run(request, events, cancel).await;
    }

    /// Variables for the record, without the secrets in them.
    fn shown(&self, variables: &IndexMap<String, Value>) -> IndexMap<String, serde_json::Value> {
        let mut shown: IndexMap<_, _> = variables.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
        for value in shown.values_mut() {
            if let serde_json::Value::String(text) = value {
                for secret in self.settings.secrets.values().filter(|secret| !secret.is_empty()) {
                    *text = text.replace(secret.as_str(), "***");
                }
            }
        }
        shown
    }
}

/// Where `run_flow` finds flows: files beside the flow, flows of this run by name, files in the same folder by name.
struct FlowFiles {
    plan: Compiler,
    /// The flows of this run, once one of them is asked for by its name.
    named: OnceLock<HashMap<String, Arc<Flow>>>,
    settings: Arc<Settings>,
    read: Mutex<HashMap<PathBuf, Arc<Flow>>>,
}

impl FlowFiles {
    fn load(&self, path: PathBuf, shown: &str) -> Result<Arc<Flow>, String> {
        if let Some(flow) = self.read.lock().get(&path) {
            return Ok(Arc::clone(flow));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| format!("cannot read `{shown}`: {error}"))?;
        let parsed = Flow::parse(&text, &self.settings.parse_options());
        if !parsed.is_valid() {
            return Err(format!("`{shown}` has mistakes:\n{}", summary(shown, &parsed.diagnostics)));
        }
        let flow = parsed.flows.into_iter().next().ok_or_else(|| format!("`{shown}` holds no flow"))?;
        let flow = Arc::new(flow);
        self.read.lock().insert(path, Arc::clone(&flow));
        Ok(flow)
    }

    /// The flow called `name` in the files of `folder` itself.
    fn named_in(&self, folder: &Path, name: &str) -> Option<Arc<Flow>> {
        let entries = std::fs::read_dir(folder).ok()?;
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"));
        paths.sort();
        paths.into_iter().find_map(|path| {
            let shown = path.display().to_string();
            self.load(path, &shown).ok().filter(|flow| flow.name == name)
        })
    }
}

#[async_trait]
impl FlowSource for FlowFiles {
    async fn find(&self, reference: &str, files: &Files) -> Result<Arc<Flow>, String> {
        for suffix in ["", ".yaml", ".yml"] {
            let candidate = format!("{reference}{suffix}");
            if files.base.join(&candidate).is_file() {
                let path = files.resolve(&candidate).map_err(|error| crate::exit::chain(&error))?;
                return self.load(path, &candidate);
            }
        }
        if let Some(flow) = self.named.get_or_init(|| self.plan.flows()).get(reference) {
            return Ok(Arc::clone(flow));
        }
        self.named_in(&files.base, reference).ok_or_else(|| {
            format!("no flow `{reference}`: neither a file in `{}` nor the name of a flow there", files.base.display())
        })
    }
}
