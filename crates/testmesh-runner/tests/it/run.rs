//! Runs flows in this process and gives back what became of their steps.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use indexmap::IndexMap;
use parking_lot::Mutex;
use testmesh_runner::engine::{Detail, Engine, FlowSource, RunRequest};
use testmesh_runner::event::{EventSink, RunEvent, RunEventKind};
use testmesh_runner::files::Files;
use testmesh_runner::flow::{Flow, ParseOptions};
use testmesh_runner::plugins::Plugins;
use testmesh_runner::programs::Programs;
use testmesh_runner::record::{ErrorKind, StepRecord, StepStatus, Trigger};
use testmesh_shared::clock::SystemClock;
use testmesh_shared::ids::ExecutionId;
use testmesh_shared::net::{Connector, NetPolicy};
use tokio_util::sync::CancellationToken;

/// Where a flow runs, and how far it may reach.
pub(crate) struct Setting {
    pub(crate) policy: NetPolicy,
    pub(crate) files: Files,
    pub(crate) programs: Programs,
    pub(crate) plugins: Plugins,
    /// `secrets.X`.
    pub(crate) secrets: HashMap<String, String>,
    /// Cancels the run.
    pub(crate) cancel: CancellationToken,
    /// Cancels the run when the step with this id has begun.
    pub(crate) cancel_at: Option<&'static str>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            policy: NetPolicy::open(),
            files: Files::none(),
            programs: Programs::none(),
            plugins: Plugins::none(),
            secrets: HashMap::new(),
            cancel: CancellationToken::new(),
            cancel_at: None,
        }
    }
}

/// Runs the steps, which are YAML of a list, and gives their records in the order they finished.
pub(crate) async fn run_steps(steps: &str) -> Vec<StepRecord> {
    run_steps_in(steps, Setting::default()).await
}

pub(crate) async fn run_steps_in(steps: &str, setting: Setting) -> Vec<StepRecord> {
    let indented = steps.lines().collect::<Vec<_>>().join("\n    ");
    let yaml = format!("flow:\n  name: test\n  config:\n    fail_fast: false\n  steps:\n    {indented}\n");
    let parsed = Flow::parse(&yaml, &ParseOptions::default());
    assert!(parsed.is_valid(), "{yaml}\n{:#?}", parsed.diagnostics);
    let flow = Arc::new(parsed.flows.into_iter().next().unwrap());
    let connector = Connector::new(setting.policy);
    let clock = Arc::new(SystemClock);
    let id = ExecutionId::generate(&*clock);
    let engine = Engine::new(clock, connector, Arc::new(NoFlows), IndexMap::new(), "test".to_owned())
        .with_programs(setting.programs)
        .with_plugins(setting.plugins);
    let request = RunRequest {
        execution_id: id,
        flow_id: None,
        flow,
        variables: IndexMap::new(),
        environment: IndexMap::new(),
        env_file: IndexMap::new(),
        secrets: setting.secrets,
        seed: None,
        strict: false,
        dry_run: false,
        update_snapshots: false,
        detail: Detail::Full,
        files: setting.files,
        trace_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
        first_seq: 1,
        trigger: Trigger::Cli,
    };
    let finished =
        Arc::new(Finished { records: Mutex::default(), cancel: setting.cancel.clone(), cancel_at: setting.cancel_at });
    engine.run(request, Arc::clone(&finished) as Arc<dyn EventSink>, setting.cancel).await;
    std::mem::take(&mut *finished.records.lock())
}

struct Finished {
    records: Mutex<Vec<StepRecord>>,
    cancel: CancellationToken,
    cancel_at: Option<&'static str>,
}

impl EventSink for Finished {
    fn emit(&self, event: RunEvent) {
        match event.kind {
            RunEventKind::StepStarted(step) if Some(step.id.as_str()) == self.cancel_at => self.cancel.cancel(),
            RunEventKind::StepFinished(record) => self.records.lock().push(Arc::unwrap_or_clone(record)),
            _ => {}
        }
    }
}

struct NoFlows;

#[async_trait]
impl FlowSource for NoFlows {
    async fn find(&self, reference: &str, _files: &Files) -> Result<Arc<Flow>, String> {
        Err(format!("there is no flow `{reference}`"))
    }
}

/// The URL of a server that the environment names; says what is left out when it names none.
pub(crate) fn named_server(variable: &str, kind: &str) -> Option<String> {
    #[allow(clippy::disallowed_methods, reason = "tests are told by the environment where their servers are")]
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        #[allow(clippy::print_stderr, reason = "whoever reads the tests' output should know what they did not do")]
        {
            eprintln!("skipped on {kind}: {variable} names no server");
        }
    }
    url
}

/// Asserts that every step passed.
pub(crate) fn passed(records: &[StepRecord]) {
    for record in records {
        assert_eq!(record.status, StepStatus::Passed, "{record:#?}");
    }
}

/// Asserts what became of a step that could not be done, and that it tells no password of the tests.
pub(crate) fn fails(record: &StepRecord, kind: ErrorKind, part: &str) {
    let error = record.error.clone().unwrap_or_else(|| panic!("{record:#?}"));
    assert!(error.kind == kind && error.message.contains(part), "{}: {error:?}", record.id);
    assert!(!error.message.contains("secret") && !error.message.contains("wr0ng"), "{}", error.message);
}

/// Asserts of each step what it fails with; no words mean that it passes.
pub(crate) fn each(records: &[StepRecord], expected: &[(ErrorKind, &str)]) {
    for (record, (kind, part)) in records.iter().zip(expected) {
        match *part {
            "" => passed(std::slice::from_ref(record)),
            part => fails(record, *kind, part),
        }
    }
}
