//! Runs flows of text and looks at what they leave behind. What holds for every run is checked for every run here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use indexmap::IndexMap;
use parking_lot::Mutex;
use testmesh_shared::clock::SystemClock;
use testmesh_shared::ids::ExecutionId;
use testmesh_shared::net::{Connector, NetPolicy};
use tokio_util::sync::CancellationToken;

use crate::action::{Action, ActionError, ActionResult, ActionSpec};
use crate::engine::{ActionContext, Detail, Engine, FlowSource, RunRequest, Summary};
use crate::event::{EventSink, RunEvent, RunEventKind};
use crate::files::Files;
use crate::flow::{Flow, ParseOptions};
use crate::record::{Execution, ExecutionStatus, StepRecord, StepStatus, Trigger};
use crate::value::Value;

pub(crate) mod armed;
mod attempts;
mod control;
mod endings;
mod masking;
mod outcomes;
mod random;
mod scopes;

/// An action that is broken.
pub(crate) struct Panic;

static PANIC: ActionSpec = ActionSpec {
    name: "panic",
    aliases: &[],
    summary: "Panics.",
    description: "",
    config: &[],
    open_config: true,
    result: &[],
    open_result: true,
    reserved: &[],
    examples: &[],
};

#[async_trait]
impl Action for Panic {
    fn spec(&self) -> &'static ActionSpec {
        &PANIC
    }
    async fn run(&self, _: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        panic!("broken on purpose");
    }
}

/// Decides at which event the run is cancelled.
type CancelAt = Box<dyn Fn(&RunEvent) -> bool + Send + Sync>;

/// How to run a flow.
#[derive(Default)]
pub(super) struct Setting {
    pub(super) variables: Vec<(&'static str, Value)>,
    pub(super) environment: Vec<(&'static str, &'static str)>,
    pub(super) env_file: Vec<(&'static str, &'static str)>,
    pub(super) os_env: Vec<(&'static str, &'static str)>,
    pub(super) secrets: Vec<(&'static str, &'static str)>,
    pub(super) flows: Vec<(&'static str, &'static str)>,
    pub(super) seed: Option<u64>,
    pub(super) strict: bool,
    pub(super) dry_run: bool,
    pub(super) files: Option<Files>,
    pub(super) update_snapshots: bool,
    pub(super) detail: Detail,
    pub(super) cancel_at: Option<CancelAt>,
}

/// A run that is over.
pub(super) struct Ran {
    pub(super) summary: Summary,
    pub(super) events: Vec<RunEvent>,
    pub(super) execution: Execution,
}

impl Ran {
    pub(super) fn steps(&self) -> &[Arc<StepRecord>] {
        self.execution.steps.as_deref().unwrap_or_default()
    }

    /// The last step with this id.
    pub(super) fn step(&self, id: &str) -> &StepRecord {
        self.steps().iter().rfind(|step| step.id == id).unwrap_or_else(|| panic!("no step `{id}`: {self}"))
    }

    /// `id=status` of every step, in the order they started.
    pub(super) fn statuses(&self) -> String {
        self.steps().iter().map(|step| format!("{}={}", step.id, word(step.status))).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn message(&self, id: &str) -> &str {
        self.step(id).error.as_ref().map_or("", |error| &error.message)
    }

    pub(super) fn logged(&self) -> Vec<&str> {
        self.steps().iter().flat_map(|step| &step.logs).map(|line| line.message.as_str()).collect()
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} {}", self.summary.status, self.summary.error, self.statuses())?;
        for step in self.steps() {
            if let Some(error) = &step.error {
                write!(f, "\n{}: {}", step.id, error.message)?;
            }
        }
        Ok(())
    }
}

pub(super) fn word(status: StepStatus) -> String {
    serde_json::to_value(status).unwrap().as_str().unwrap().to_owned()
}

/// Keeps events, and cancels at one of them.
struct Listener {
    events: Mutex<Vec<RunEvent>>,
    cancel: CancellationToken,
    cancel_at: Option<CancelAt>,
}

impl EventSink for Listener {
    fn emit(&self, event: RunEvent) {
        if self.cancel_at.as_ref().is_some_and(|at| at(&event)) {
            self.cancel.cancel();
        }
        self.events.lock().push(event);
    }
}

struct Library(HashMap<String, Arc<Flow>>);

#[async_trait]
impl FlowSource for Library {
    async fn find(&self, reference: &str, _: &Files) -> Result<Arc<Flow>, String> {
        self.0.get(reference).cloned().ok_or_else(|| format!("there is no flow `{reference}`"))
    }
}

pub(super) fn parse(yaml: &str) -> Arc<Flow> {
    let options = ParseOptions { known_names: HIDDEN.map(str::to_owned).to_vec(), ..ParseOptions::default() };
    let parsed = Flow::parse(yaml, &options);
    assert!(parsed.is_valid(), "{yaml}\n{:#?}", parsed.diagnostics);
    Arc::new(parsed.flows.into_iter().next().unwrap())
}

/// Names that tests use and that validation cannot know, or must not find.
const HIDDEN: [&str; 8] = ["HOST", "PORT", "KEY", "name", "nowhere", "user", "low", "X"];

/// Runs a flow, and checks what holds for every run.
pub(super) async fn run_with(yaml: &str, setting: Setting) -> Ran {
    let cancel = CancellationToken::new();
    let listener =
        Arc::new(Listener { events: Mutex::default(), cancel: cancel.clone(), cancel_at: setting.cancel_at });
    let flows = setting.flows.iter().map(|(name, yaml)| ((*name).to_owned(), parse(yaml))).collect();
    let texts = |pairs: &[(&str, &str)]| -> IndexMap<String, String> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    let values = |pairs: &[(&str, &str)]| -> IndexMap<String, Value> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), Value::Text((*text).into()))).collect()
    };
    let engine = Engine::new(
        Arc::new(SystemClock),
        Connector::new(NetPolicy::open()),
        Arc::new(Library(flows)),
        texts(&setting.os_env),
        "test".to_owned(),
    );
    let flow = parse(yaml);
    let execution_id = ExecutionId::generate(&SystemClock);
    let request = RunRequest {
        execution_id,
        flow_id: None,
        flow: Arc::clone(&flow),
        variables: setting.variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        environment: values(&setting.environment),
        env_file: values(&setting.env_file),
        secrets: texts(&setting.secrets).into_iter().collect(),
        seed: setting.seed,
        strict: setting.strict,
        dry_run: setting.dry_run,
        files: setting.files.unwrap_or_else(Files::none),
        update_snapshots: setting.update_snapshots,
        detail: setting.detail,
        trace_id: None,
        first_seq: 2,
        trigger: Trigger::Cli,
    };
    let summary = engine.run(request, Arc::clone(&listener) as Arc<dyn EventSink>, cancel).await;
    let events = std::mem::take(&mut *listener.events.lock());
    let mut execution = Execution::queued(execution_id, flow.name.clone(), Trigger::Cli, events.first().unwrap().time);
    for event in &events {
        execution.apply(event);
    }
    let ran = Ran { summary, events, execution };
    check_events(&ran);
    ran
}

pub(super) async fn run(yaml: &str) -> Ran {
    run_with(yaml, Setting::default()).await
}

/// What holds for the events of every run, however it ended.
fn check_events(ran: &Ran) {
    for (place, event) in ran.events.iter().enumerate() {
        assert_eq!(event.seq, place as u64 + 2, "events are numbered without a gap");
    }
    assert!(matches!(ran.events[0].kind, RunEventKind::Started { .. }));
    let mut open = HashSet::new();
    let mut last = 0;
    for event in &ran.events {
        match &event.kind {
            RunEventKind::StepStarted(start) => {
                assert_eq!(start.ordinal, last + 1, "ordinals follow the order of starts");
                last = start.ordinal;
                assert!(start.parent.is_none_or(|parent| open.contains(&parent)), "a parent is open");
                open.insert(start.ordinal);
            }
            RunEventKind::StepSkipped(record) => {
                assert_eq!(record.ordinal, last + 1);
                last = record.ordinal;
            }
            RunEventKind::StepFinished(record) => {
                assert!(open.remove(&record.ordinal), "`{}` ends once, after it started", record.id);
                assert!(!matches!(record.status, StepStatus::Pending | StepStatus::Running | StepStatus::Skipped));
                assert!(record.error.is_some() || !record.status.is_failure(), "`{}` failed and says why", record.id);
            }
            RunEventKind::StepRetrying { ordinal, .. } | RunEventKind::Log { ordinal, .. } => {
                assert!(open.contains(ordinal));
            }
            RunEventKind::Queued(_) => panic!("the engine queues nothing"),
            RunEventKind::Started { .. } | RunEventKind::Finished { .. } => {}
        }
    }
    assert!(open.is_empty(), "every step that started ended: {ran}");
    let finished = |event: &RunEvent| matches!(event.kind, RunEventKind::Finished { .. });
    assert_eq!(ran.events.iter().filter(|event| finished(event)).count(), 1);
    assert!(finished(ran.events.last().unwrap()), "nothing follows the end");
    let execution = &ran.execution;
    assert_eq!(execution.status, ran.summary.status);
    assert!(execution.status.is_final());
    let needs_error = matches!(execution.status, ExecutionStatus::Error | ExecutionStatus::Cancelled);
    assert_eq!(execution.error.is_some(), needs_error, "{ran}");
    assert!(execution.passed_steps + execution.failed_steps + execution.skipped_steps <= execution.total_steps);
    // Stamps lose their microseconds on the wire, so the texts are compared.
    let text = serde_json::to_string(execution).unwrap();
    let again = serde_json::to_string(&serde_json::from_str::<Execution>(&text).unwrap()).unwrap();
    assert_eq!(again, text, "a record reads back");
}
