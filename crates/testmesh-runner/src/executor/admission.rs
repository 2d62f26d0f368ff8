//! From what was asked for to what can be run: the flow found and compiled, its environment read, its values checked.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use testmesh_shared::ids::FlowId;
use testmesh_storage::EnvironmentRepository;

use crate::engine::{Detail, RunRequest};
use crate::executor::flows::Flows;
use crate::executor::{Definition, Idempotency, NewRun, SubmitError};
use crate::files::Files;
use crate::flow::{Flow, parse_dotenv};
use crate::record::Execution;
use crate::repository::QueuedRun;
use crate::value::Value;

/// Bytes of an `env_file` that are read at most.
const ENV_FILE_BYTES: u64 = 1 << 20;

/// Where the parts of a run come from.
pub(crate) struct Sources {
    pub(crate) flows: Arc<Flows>,
    pub(crate) environments: Arc<dyn EnvironmentRepository>,
    pub(crate) files: Files,
}

/// A run that can start.
pub(crate) struct Plan {
    /// As it is told: `queued`, without definition and steps.
    pub(crate) execution: Execution,
    pub(crate) definition: Arc<str>,
    pub(crate) request: RunRequest,
    /// What it needs to start after a restart and is not in its row, as JSON.
    pub(crate) options: String,
    pub(crate) key: Option<Idempotency>,
}

/// What a run was submitted with and its row does not show.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Options {
    #[serde(default)]
    pub(crate) env_file: IndexMap<String, String>,
    pub(crate) seed: Option<u64>,
    pub(crate) strict: bool,
    pub(crate) dry_run: bool,
    #[serde(default)]
    pub(crate) data_row: bool,
    pub(crate) trace_id: Option<String>,
}

/// A flow's text, and which version of which flow it is.
#[derive(Clone)]
pub(crate) struct Text {
    pub(crate) flow_id: Option<FlowId>,
    pub(crate) version: Option<u32>,
    pub(crate) yaml: Arc<str>,
}

/// Names and values.
pub(crate) type Variables = IndexMap<String, serde_json::Value>;

impl Sources {
    /// Plans a new run that is accepted at `now`.
    pub(crate) async fn plan(&self, run: NewRun, now: chrono::DateTime<chrono::Utc>) -> Result<Plan, SubmitError> {
        let text = self.text(run.definition).await?;
        let mut execution = Execution::queued(run.id, String::new(), run.trigger, now);
        execution.flow_id = text.flow_id;
        execution.flow_version = text.version;
        execution.environment = run.environment;
        execution.variables = run.variables;
        let options = Options {
            env_file: run.env_file,
            seed: run.seed,
            strict: run.strict,
            dry_run: run.dry_run,
            data_row: run.data_row,
            trace_id: run.trace_id,
        };
        let environment = self.environment(execution.environment.as_deref()).await?;
        let plan = self.build(execution, text.yaml, environment, options).await?;
        Ok(Plan { key: run.idempotency, ..plan })
    }

    /// Plans a run whose text and environment are known.
    pub(crate) async fn plan_known(
        &self,
        execution: Execution,
        text: Arc<str>,
        environment: Variables,
        options: Options,
    ) -> Result<Plan, SubmitError> {
        self.build(execution, text, environment, options).await
    }

    /// The flow of a text, to be run with these values.
    pub(crate) async fn compile(
        &self,
        text: &str,
        variables: &Variables,
        environment: &Variables,
        options: &Options,
    ) -> Result<Arc<Flow>, SubmitError> {
        let names = [variables.keys(), environment.keys()].into_iter().flatten();
        let known_names = names.chain(options.env_file.keys()).cloned().collect();
        self.flows.compile(text, options.strict, known_names).await.map_err(SubmitError::InvalidFlow)
    }

    /// Plans a run that a process before this one accepted.
    pub(crate) async fn replan(&self, queued: QueuedRun) -> Result<Plan, SubmitError> {
        let QueuedRun { mut execution, options, .. } = queued;
        let definition = execution.definition.take().unwrap_or_default();
        let options = match options {
            Some(options) => serde_json::from_str(&options)
                .map_err(|error| SubmitError::Invalid(format!("options of the execution: {error}")))?,
            None => Options::default(),
        };
        let environment = self.environment(execution.environment.as_deref()).await?;
        self.build(execution, Arc::from(definition), environment, options).await
    }

    async fn build(
        &self,
        mut execution: Execution,
        yaml: Arc<str>,
        environment: Variables,
        options: Options,
    ) -> Result<Plan, SubmitError> {
        let stored_options =
            serde_json::to_string(&options).map_err(|error| SubmitError::Invalid(format!("options: {error}")))?;
        let flow = self.compile(&yaml, &execution.variables, &environment, &options).await?;
        if flow.data.is_some() && !options.data_row {
            return Err(SubmitError::DataDriven);
        }
        check_inputs(&flow, &execution.variables)?;
        let env_file = self.env_file(&flow, options.env_file).await?;
        execution.flow_name.clone_from(&flow.name);
        let steps = flow.setup.len() + flow.steps.len() + flow.teardown.len();
        execution.total_steps = u32::try_from(steps).unwrap_or(u32::MAX);
        let text_value = |(name, value): (String, String)| (name, Value::Text(value.into()));
        let request = RunRequest {
            execution_id: execution.id,
            flow_id: execution.flow_id,
            flow,
            variables: values(execution.variables.clone()),
            environment: values(environment),
            env_file: env_file.into_iter().map(text_value).collect(),
            secrets: HashMap::new(),
            seed: options.seed,
            strict: options.strict,
            dry_run: options.dry_run,
            files: self.files.clone(),
            update_snapshots: false,
            detail: Detail::Full,
            trace_id: options.trace_id,
            first_seq: 2,
            trigger: execution.trigger,
        };
        Ok(Plan { execution, definition: yaml, request, options: stored_options, key: None })
    }

    pub(crate) async fn text(&self, definition: Definition) -> Result<Text, SubmitError> {
        let repository = self.flows.repository();
        match definition {
            Definition::Inline { yaml } => Ok(Text { flow_id: None, version: None, yaml: yaml.into() }),
            Definition::Stored { flow_id, version: None } => {
                self.flows.newest(flow_id).await?.ok_or(SubmitError::FlowNotFound(flow_id))
            }
            Definition::Stored { flow_id, version: Some(version) } => {
                if let Some(found) = repository.version(flow_id, version).await? {
                    return Ok(Text { flow_id: Some(flow_id), version: Some(version), yaml: found.yaml.into() });
                }
                match repository.find(flow_id).await? {
                    Some(_) => Err(SubmitError::VersionNotFound(flow_id, version)),
                    None => Err(SubmitError::FlowNotFound(flow_id)),
                }
            }
        }
    }

    pub(crate) async fn environment(&self, name: Option<&str>) -> Result<Variables, SubmitError> {
        let Some(name) = name else { return Ok(IndexMap::new()) };
        let found = self.environments.find(name).await?;
        let found = found.ok_or_else(|| SubmitError::UnknownEnvironment(name.to_owned()))?;
        Ok(found.variables)
    }

    /// The values of the flow's `env_file`: the client's, or read here where flows may read files.
    async fn env_file(
        &self,
        flow: &Flow,
        given: IndexMap<String, String>,
    ) -> Result<IndexMap<String, String>, SubmitError> {
        let Some(path) = &flow.env_file else { return Ok(given) };
        if !given.is_empty() {
            return Ok(given);
        }
        let refused = |message: String| SubmitError::Invalid(format!("`env_file`: {message}"));
        let bytes = self.files.read(path, ENV_FILE_BYTES).await.map_err(|error| refused(error.to_string()))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| refused(format!("`{path}` is not UTF-8")))?;
        parse_dotenv(text).map_err(|error| refused(format!("`{path}`: {error}")))
    }
}

/// A required input must be given; the engine checks the types of all when the run starts.
fn check_inputs(flow: &Flow, variables: &IndexMap<String, serde_json::Value>) -> Result<(), SubmitError> {
    let missing = |(name, spec): &&(String, crate::flow::InputSpec)| {
        spec.required && spec.default.is_none() && !variables.contains_key(name)
    };
    match flow.input.iter().find(missing) {
        Some((name, _)) => Err(SubmitError::Invalid(format!("variables: the flow requires the input `{name}`"))),
        None => Ok(()),
    }
}

fn values(variables: IndexMap<String, serde_json::Value>) -> IndexMap<String, Value> {
    variables.into_iter().map(|(name, value)| (name, Value::from_json(value))).collect()
}
