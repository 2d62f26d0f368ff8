//! A run from its first event to its last.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::FutureExt;
use indexmap::IndexMap;
use parking_lot::Mutex;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::ExecutionId;
use testmesh_shared::tasks::Tasks;
use tokio_util::sync::CancellationToken;

use crate::engine::armed::{Armory, Beside};
use crate::engine::emitter::Emitter;
use crate::engine::opening::Opening;
use crate::engine::phases::{FlowRun, Verdict};
use crate::engine::step::millis;
use crate::engine::stop::Stop;
use crate::engine::{Detail, Engine, RunRequest, Summary};
use crate::event::{EventSink, RunEventKind};
use crate::files::Files;
use crate::flow::Flow;
use crate::mask::Masker;
use crate::record::{ErrorKind, ExecutionError, ExecutionStatus, StepError};
use crate::value::Value;

/// What goes on beside the steps has this long to end when the run is over.
const ENDING: Duration = Duration::from_millis(500);

/// What every flow of one run shares, sub-flows included.
pub(in crate::engine) struct RunState {
    pub(in crate::engine) engine: Engine,
    pub(in crate::engine) emitter: Emitter,
    pub(in crate::engine) execution_id: ExecutionId,
    pub(in crate::engine) files: Files,
    /// What the run was given: sub-flows see it, too.
    pub(in crate::engine) variables: IndexMap<String, Value>,
    pub(in crate::engine) environment: Arc<IndexMap<String, Value>>,
    pub(in crate::engine) env_file: Arc<IndexMap<String, Value>>,
    pub(in crate::engine) secrets: Arc<HashMap<String, String>>,
    pub(in crate::engine) seed: Option<u64>,
    pub(in crate::engine) dry_run: bool,
    pub(in crate::engine) strict: bool,
    pub(in crate::engine) update_snapshots: bool,
    pub(in crate::engine) detail: Detail,
    /// 32 hex digits.
    pub(in crate::engine) trace_id: String,
    /// What goes on beside the steps.
    pub(in crate::engine) tasks: Tasks,
    pub(in crate::engine) resources: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    /// The user's wish to stop.
    pub(in crate::engine) cancel: CancellationToken,
    /// Stops setup and steps, of sub-flows too.
    pub(in crate::engine) stop: Stop,
    /// When it began, by the engine's clock.
    #[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "only the Kafka actions ask for it"))]
    pub(in crate::engine) started: DateTime<Utc>,
    /// What goes on until the run is over.
    pub(in crate::engine) beside: Beside,
    /// Given when that should end.
    pub(in crate::engine) ending: CancellationToken,
    ordinals: AtomicU32,
    fault: Mutex<Option<String>>,
}

impl Drop for RunState {
    /// A run that is dropped before its end.
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
    }
}

impl RunState {
    /// The place of the step that starts next, from 1.
    pub(in crate::engine) fn next_ordinal(&self) -> u32 {
        self.ordinals.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes a panic inside a step and stops everything but teardown.
    pub(in crate::engine) fn fault(&self, step: &str, message: &str) {
        let message = format!("a fault in TestMesh at step `{step}`: {message}");
        tracing::error!(execution.id = %self.execution_id, "{message}");
        self.fault.lock().get_or_insert_with(|| message.clone());
        self.stop.give(Some(StepError { kind: ErrorKind::Internal, message }));
    }

    /// The first panic, if there was one.
    pub(in crate::engine) fn faulted(&self) -> Option<ExecutionError> {
        self.fault.lock().clone().map(|message| ExecutionError { code: ErrorCode::Internal, message })
    }
}

/// Runs a flow to its end.
pub(super) async fn run(
    engine: &Engine,
    request: RunRequest,
    events: Arc<dyn EventSink>,
    cancel: CancellationToken,
) -> Summary {
    let since = Instant::now();
    let (run, flow, opening) = begin(engine, request, events, cancel);
    run.emitter.emit(RunEventKind::Started {
        total_steps: u32::try_from(flow.setup.len() + flow.steps.len() + flow.teardown.len()).unwrap_or(u32::MAX),
        trace_id: Some(run.trace_id.clone()),
        runner: Some(engine.runner.clone()),
    });
    let verdict = AssertUnwindSafe(execute(&run, &flow, opening)).catch_unwind().await.unwrap_or_else(|panic| {
        let message = format!("a fault in TestMesh: {}", panic_message(&*panic));
        tracing::error!(execution.id = %run.execution_id, "{message}");
        Verdict::error(ErrorCode::Internal, message)
    });
    run.tasks.shutdown().await;
    run.emitter.emit(RunEventKind::Finished {
        status: verdict.status,
        duration_ms: millis(since.elapsed()),
        error: verdict.error.clone(),
    });
    Summary { status: verdict.status, error: verdict.error, outputs: verdict.outputs }
}

fn begin(
    engine: &Engine,
    request: RunRequest,
    events: Arc<dyn EventSink>,
    cancel: CancellationToken,
) -> (RunState, Arc<Flow>, Opening) {
    let masker = Masker::new(request.secrets.values().cloned());
    let clock = Arc::clone(&engine.clock);
    let run = RunState {
        engine: engine.clone(),
        emitter: Emitter::new(request.execution_id, clock, events, masker, request.first_seq),
        execution_id: request.execution_id,
        files: request.files,
        variables: request.variables.clone(),
        environment: Arc::new(request.environment),
        env_file: Arc::new(request.env_file),
        secrets: Arc::new(request.secrets),
        seed: request.seed,
        dry_run: request.dry_run,
        strict: request.strict,
        update_snapshots: request.update_snapshots,
        detail: request.detail,
        trace_id: request.trace_id.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>().max(1))),
        tasks: Tasks::new(),
        resources: Mutex::default(),
        stop: Stop::below(&cancel),
        cancel,
        started: engine.clock.now(),
        beside: Beside::default(),
        ending: CancellationToken::new(),
        ordinals: AtomicU32::new(0),
        fault: Mutex::new(None),
    };
    let opening = Opening {
        variables: request.variables,
        environment: Arc::clone(&run.environment),
        env_file: Arc::clone(&run.env_file),
        flow_id: request.flow_id.map(|id| id.to_string()).unwrap_or_default(),
        seed: run.seed,
    };
    (run, request.flow, opening)
}

async fn execute(run: &RunState, flow: &Flow, opening: Opening) -> Verdict {
    if run.cancel.is_cancelled() {
        return Verdict::cancelled();
    }
    let scope = match opening.scope(run, flow) {
        Ok(scope) => scope,
        Err(message) => return Verdict::error(ErrorCode::InvalidFlow, message),
    };
    let flow_run = FlowRun { run, flow, parent: None, depth: 0, armory: Armory::default() };
    let mut verdict = run.beside.with(Box::pin(flow_run.phases(&scope, None, &run.stop))).await;
    run.ending.cancel();
    run.beside.finish(ENDING).await;
    if let Some(fault) = run.faulted() {
        verdict.status = ExecutionStatus::Error;
        verdict.error = Some(fault);
    }
    verdict
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}
