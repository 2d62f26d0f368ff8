//! Takes the attempts of jobs that the scheduler publishes: as many as can run, many in one transaction.
//!
//! An entry is acknowledged after its attempt is stored. What comes twice is answered with how the attempt stands.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use testmesh_shared::ids::{ExecutionId, FlowId};
use testmesh_shared::messages::RunFlow;
use testmesh_shared::stream::{Entry, Stream, Topic};

use crate::executor::admission::{Options, Text, Variables};
use crate::executor::local::Local;
use crate::executor::recorder::{Accepted, chain};
use crate::executor::running::Answer;
use crate::executor::{Definition, SubmitError, outcome};
use crate::record::{Execution, ExecutionError, Trigger};
use crate::repository::AttemptKey;

/// Attempts that are taken at once.
const BATCH: usize = 256;
/// Attempts that are stored as running before a slot is free, at most.
const AHEAD: usize = 256;
/// So far ahead: as many as ended in this time. A start takes about as long to be stored.
const AHEAD_FOR: Duration = Duration::from_millis(20);
/// How long a read waits for something to read.
const READ_WAIT: Duration = Duration::from_secs(2);
/// The pause after a stream or a store that failed.
const PAUSE: Duration = Duration::from_millis(500);
/// Flows and environments that are read at the same time.
const READS: usize = 8;

/// How far ahead of free slots attempts are taken: runs that take long are never taken ahead.
struct Pace {
    since: Instant,
    ended: u64,
    ahead: usize,
}

/// What the flows and environments of some attempts are.
struct Found {
    flows: HashMap<(FlowId, Option<u32>), Result<Text, Failed>>,
    environments: HashMap<String, Result<Variables, Failed>>,
}

/// A flow or an environment that cannot be had.
#[derive(Clone)]
enum Failed {
    /// It is not there: nor will it be.
    Absent(ExecutionError),
    /// The store gave no answer.
    Unknown,
}

/// An attempt that was read, with every entry that says the same.
struct Wanted {
    run: RunFlow,
    entries: Vec<String>,
}

/// Takes attempts until the process stops.
pub(crate) async fn intake(local: Arc<Local>, stream: Arc<dyn Stream>) {
    let mut pace = Pace { since: Instant::now(), ended: 0, ahead: 0 };
    loop {
        let entries = async {
            let bound = local.slots.limit() + pace.ahead(local.slots.ended());
            // A slot is free, or the pace is to be looked at again.
            let free = tokio::time::timeout(AHEAD_FOR, local.slots.busy_below(bound)).await.is_ok();
            if !free || local.session.current().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
                return Vec::new();
            }
            let max = bound.saturating_sub(local.slots.busy()).clamp(1, BATCH);
            match stream.read(Topic::RunFlow, max, READ_WAIT).await {
                Ok(entries) => entries,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "no jobs can be read; trying again");
                    tokio::time::sleep(PAUSE).await;
                    Vec::new()
                }
            }
        };
        // An entry that was read and is dropped here is given to somebody else after a while.
        let entries = tokio::select! {
            entries = entries => entries,
            () = local.draining.cancelled() => return,
        };
        if !entries.is_empty() && !take(&local, &*stream, entries).await {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Stores the attempts of `entries`. `false`: some could not be stored, and stay in the stream.
async fn take(local: &Arc<Local>, stream: &dyn Stream, entries: Vec<Entry>) -> bool {
    let (wanted, mut done) = read(entries);
    let found = find(local, &wanted).await;
    let mut answers = Vec::with_capacity(wanted.len());
    let mut all = true;
    for wanted in wanted {
        match launch(local, &wanted.run, &found).await {
            Some(answer) => answers.push((wanted, answer)),
            None => all = false,
        }
    }
    let mut again = Vec::new();
    for (wanted, answer) in answers {
        match answer.await {
            Ok(Ok(Accepted::New)) => {}
            Ok(Ok(Accepted::Again(_) | Accepted::KeyOfAnother)) => again.push(key(&wanted.run)),
            Ok(Err(_)) | Err(_) => {
                all = false;
                continue;
            }
        }
        done.extend(wanted.entries);
    }
    if !again.is_empty() && !answer(local, &again).await {
        return false;
    }
    if let Err(error) = stream.acknowledge(Topic::RunFlow, &done).await {
        tracing::warn!(error = %chain(&error), "taken jobs cannot be acknowledged; they come again");
    }
    all
}

/// The attempts of `entries`, each once, and the entries that are none.
fn read(entries: Vec<Entry>) -> (Vec<Wanted>, Vec<String>) {
    let mut wanted: Vec<Wanted> = Vec::with_capacity(entries.len());
    let mut places: HashMap<AttemptKey, usize> = HashMap::with_capacity(entries.len());
    let mut garbage = Vec::new();
    for entry in entries {
        match serde_json::from_str::<RunFlow>(&entry.payload) {
            Ok(run) => {
                let place = *places.entry(key(&run)).or_insert(wanted.len());
                match wanted.get_mut(place) {
                    Some(earlier) => earlier.entries.push(entry.id),
                    None => wanted.push(Wanted { run, entries: vec![entry.id] }),
                }
            }
            Err(error) => {
                tracing::warn!(entry = entry.id, %error, "an entry of the stream is no job: it is dropped");
                garbage.push(entry.id);
            }
        }
    }
    (wanted, garbage)
}

fn key(run: &RunFlow) -> AttemptKey {
    AttemptKey { job_id: run.job_id, attempt: run.attempt }
}

/// Reads every flow and environment of the attempts once.
async fn find(local: &Local, wanted: &[Wanted]) -> Found {
    let mut flows: Vec<_> = wanted.iter().map(|wanted| (wanted.run.flow_id, wanted.run.flow_version)).collect();
    flows.sort_unstable();
    flows.dedup();
    let mut environments: Vec<_> = wanted.iter().filter_map(|wanted| wanted.run.environment.clone()).collect();
    environments.sort_unstable();
    environments.dedup();
    let sources = &local.sources;
    let texts = futures::stream::iter(flows).map(|(flow_id, version)| async move {
        let text = sources.text(Definition::Stored { flow_id, version }).await;
        ((flow_id, version), text.map_err(Failed::from))
    });
    let values = futures::stream::iter(environments).map(|name| async move {
        let values = sources.environment(Some(&name)).await;
        (name, values.map_err(Failed::from))
    });
    Found {
        flows: texts.buffer_unordered(READS).collect().await,
        environments: values.buffer_unordered(READS).collect().await,
    }
}

impl From<SubmitError> for Failed {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Storage(_) | SubmitError::Repository(_) => {
                tracing::warn!(error = %chain(&error), "what a job needs cannot be read; trying again");
                Failed::Unknown
            }
            error => Failed::Absent(ExecutionError { code: error.code(), message: reason(&error) }),
        }
    }
}

/// Puts an attempt on its way. None: not now.
async fn launch(local: &Arc<Local>, run: &RunFlow, found: &Found) -> Option<Answer> {
    let trigger = if run.manual { Trigger::Manual } else { Trigger::Schedule };
    let now = local.clock.now();
    let mut execution = Execution::queued(ExecutionId::generate(&*local.clock), String::new(), trigger, now);
    execution.flow_id = Some(run.flow_id);
    execution.flow_version = run.flow_version;
    execution.schedule_id = run.schedule_id.map(testmesh_shared::ids::ScheduleId::as_uuid);
    execution.job_id = Some(run.job_id.as_uuid());
    execution.attempt = run.attempt;
    execution.environment.clone_from(&run.environment);
    execution.variables.clone_from(&run.variables);
    let text = match found.flows.get(&(run.flow_id, run.flow_version))? {
        Ok(text) => text,
        Err(Failed::Absent(error)) => return local.launch_unrunnable(execution, Arc::from(""), error.clone()),
        Err(Failed::Unknown) => return None,
    };
    execution.flow_version = text.version;
    let environment = match run.environment.as_ref().and_then(|name| found.environments.get(name)) {
        None => Variables::new(),
        Some(Ok(values)) => values.clone(),
        Some(Err(Failed::Absent(error))) => {
            return local.launch_unrunnable(execution, Arc::clone(&text.yaml), error.clone());
        }
        Some(Err(Failed::Unknown)) => return None,
    };
    let planned = local
        .sources
        .plan_known(execution.clone(), Arc::clone(&text.yaml), environment.clone(), Options::default())
        .await;
    match planned {
        Err(SubmitError::DataDriven) => Some(local.launch_batch(execution, Arc::clone(&text.yaml), environment)),
        Ok(plan) => local.launch(plan, true).unwrap_or_else(|error| {
            tracing::debug!(error = %chain(&error), "a job is not taken now");
            None
        }),
        Err(error) => {
            let error = ExecutionError { code: error.code(), message: reason(&error) };
            local.launch_unrunnable(execution, Arc::clone(&text.yaml), error)
        }
    }
}

/// Why a flow cannot be run, with its first mistake.
fn reason(error: &SubmitError) -> String {
    match error {
        SubmitError::InvalidFlow(diagnostics) => match diagnostics.first() {
            Some(first) => format!("the flow has mistakes: line {}: {}", first.line, first.message),
            None => error.to_string(),
        },
        error => chain(error),
    }
}

/// Tells how attempts stand that were taken before. `false`: that cannot be read.
async fn answer(local: &Local, again: &[AttemptKey]) -> bool {
    let attempts = match local.store.attempts(again).await {
        Ok(attempts) => attempts,
        Err(error) => {
            tracing::warn!(error = %chain(&error), "attempts that were taken before cannot be read; trying again");
            return false;
        }
    };
    let mut reports: Vec<_> = attempts.into_iter().map(outcome::report).collect();
    match local.batch_reports(again).await {
        Ok(of_batches) => reports.extend(of_batches),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "batches that were taken before cannot be read; trying again");
            return false;
        }
    }
    if let Some(relay) = &local.relay {
        relay.tell(&reports).await;
    }
    true
}

impl Pace {
    /// How many attempts to take beyond the free slots, when so many runs have `ended`.
    fn ahead(&mut self, ended: u64) -> usize {
        let passed = self.since.elapsed();
        if passed >= AHEAD_FOR / 4 {
            let per_window = u128::from(ended - self.ended) * AHEAD_FOR.as_micros() / passed.as_micros().max(1);
            self.ahead = usize::try_from(per_window).unwrap_or(AHEAD).min(AHEAD);
            (self.since, self.ended) = (Instant::now(), ended);
        }
        self.ahead
    }
}
