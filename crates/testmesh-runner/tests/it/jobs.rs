//! Jobs: every attempt runs once and is told of until somebody has heard it, on both engines.

use std::collections::{HashMap, HashSet};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use indexmap::IndexMap;
use testmesh_runner::record::{ExecutionStatus, Trigger};
use testmesh_runner::repository::ExecutionFilter;
use testmesh_shared::clock::SystemClock;
use testmesh_shared::ids::{FlowId, JobId, ScheduleId};
use testmesh_shared::messages::{Outcome, RunFlow, RunReport, RunState};
use testmesh_shared::page::PageRequest;
use testmesh_shared::stream::{Entry, MemoryStream, Stream, StreamError, Topic};
use testmesh_storage::{FlowHeader, NewFlow};

use crate::server::{LOG, PATIENCE, Server, Shared};

const FAILS: &str = "name: fails\nsteps:\n  - {action: assert, config: {data: {n: 1}, assertions: [n == 2]}}\n";

/// One runner on SQLite, two on PostgreSQL where there is one; they share the stream.
struct Runners {
    servers: Vec<Server>,
    stream: Arc<dyn Stream>,
    _dir: tempfile::TempDir,
}

async fn on_sqlite(stream: Arc<dyn Stream>) -> Runners {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open_with(dir.path(), 8, 1_000, Some(Arc::clone(&stream))).await;
    Runners { servers: vec![server], stream, _dir: dir }
}

async fn on_postgres(stream: Arc<dyn Stream>) -> Option<Runners> {
    let shared = Shared::create().await?;
    let servers =
        vec![shared.open(8, Some(Arc::clone(&stream))).await, shared.open(8, Some(Arc::clone(&stream))).await];
    Some(Runners { servers, stream, _dir: tempfile::tempdir().unwrap() })
}

macro_rules! on_both {
    ($($name:ident,)*) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(super::on_sqlite(super::stream()).await).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    if let Some(runners) = super::on_postgres(super::stream()).await {
                        super::$name(runners).await;
                    }
                }
            )*
        }
    };
}

on_both! {
    each_attempt_runs_once_however_often_it_is_published,
    job_that_cannot_run_ends_with_the_reason,
    next_attempt_of_a_job_is_a_run_of_its_own,
    job_of_a_data_driven_flow_is_reported_as_one,
}

fn stream() -> Arc<dyn Stream> {
    Arc::new(MemoryStream::new())
}

impl Runners {
    async fn flow(&self, name: &str, yaml: &str) -> FlowId {
        let id = FlowId::generate(&SystemClock);
        let header = FlowHeader { name: name.to_owned(), description: None, suite: None, tags: Vec::new() };
        self.servers[0].flows.create(NewFlow { id, header, yaml: yaml.to_owned() }).await.unwrap();
        id
    }

    async fn publish(&self, runs: &[RunFlow]) {
        let payloads: Vec<_> = runs.iter().map(|run| serde_json::to_string(run).unwrap()).collect();
        self.stream.publish(Topic::RunFlow, &payloads).await.unwrap();
    }

    /// How attempts ended, once all of `wanted` have.
    async fn ended(&self, wanted: &[RunFlow]) -> HashMap<(JobId, u32), Vec<RunReport>> {
        let wanted: HashSet<_> = wanted.iter().map(|run| (run.job_id, run.attempt)).collect();
        let mut ended: HashMap<(JobId, u32), Vec<RunReport>> = HashMap::new();
        let reading = async {
            while !wanted.iter().all(|key| ended.contains_key(key)) {
                for report in reports(&*self.stream).await {
                    if matches!(report.state, RunState::Finished { .. }) {
                        ended.entry((report.job_id, report.attempt)).or_default().push(report);
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("every attempt is reported");
        ended
    }
}

async fn reports(stream: &dyn Stream) -> Vec<RunReport> {
    let entries = stream.read(Topic::RunFinished, 100, Duration::from_millis(200)).await.unwrap();
    let ids: Vec<_> = entries.iter().map(|entry| entry.id.clone()).collect();
    stream.acknowledge(Topic::RunFinished, &ids).await.unwrap();
    entries.iter().map(|entry| serde_json::from_str(&entry.payload).unwrap()).collect()
}

fn job(flow_id: FlowId) -> RunFlow {
    RunFlow {
        job_id: JobId::generate(&SystemClock),
        attempt: 1,
        schedule_id: Some(ScheduleId::generate(&SystemClock)),
        manual: false,
        nominal_at: "2026-01-31T12:00:00Z".parse().unwrap(),
        flow_id,
        flow_version: None,
        environment: None,
        variables: IndexMap::new(),
    }
}

fn outcome(report: &RunReport) -> Outcome {
    match &report.state {
        RunState::Finished { outcome, .. } => *outcome,
        RunState::Running => panic!("it is not over"),
    }
}

async fn each_attempt_runs_once_however_often_it_is_published(runners: Runners) {
    let (passes, fails) = (runners.flow("log", LOG).await, runners.flow("fails", FAILS).await);
    let jobs: Vec<_> = (0..120).map(|n| job(if n % 3 == 0 { fails } else { passes })).collect();
    runners.publish(&jobs).await;
    runners.publish(&jobs[..60]).await;
    runners.stream.publish(Topic::RunFlow, &["no job".to_owned(), "{}".to_owned()]).await.unwrap();
    let ended = runners.ended(&jobs).await;
    for (n, job) in jobs.iter().enumerate() {
        let reports = &ended[&(job.job_id, 1)];
        let expect = if n % 3 == 0 { Outcome::Failed } else { Outcome::Passed };
        assert!(reports.iter().all(|report| outcome(report) == expect), "job {n}: {reports:?}");
        assert!(reports.iter().all(|report| report.execution_id == reports[0].execution_id), "job {n}: {reports:?}");
    }
    // One more time, long after: the answer is the same, and nothing runs.
    runners.publish(&jobs[..1]).await;
    let again = &runners.ended(&jobs[..1]).await[&(jobs[0].job_id, 1)][0];
    assert_eq!(again.execution_id, ended[&(jobs[0].job_id, 1)][0].execution_id);
    let page = PageRequest { limit: 200, after: None };
    let listed = runners.servers[0].executions.list(&ExecutionFilter::default(), page).await.unwrap().items;
    assert_eq!(listed.len(), jobs.len());
    let first = listed.iter().find(|execution| execution.job_id == Some(jobs[0].job_id.as_uuid())).unwrap();
    assert_eq!((first.trigger, first.attempt, first.flow_version), (Trigger::Schedule, 1, Some(1)));
    assert_eq!(first.schedule_id, jobs[0].schedule_id.map(ScheduleId::as_uuid));
}

async fn job_that_cannot_run_ends_with_the_reason(runners: Runners) {
    let needy = runners.flow("needy", &format!("{LOG}input: {{who: {{required: true}}}}\n")).await;
    let gone = job(FlowId::generate(&SystemClock));
    let jobs = [
        (gone.clone(), "flow_not_found"),
        (RunFlow { environment: Some("nowhere".to_owned()), ..job(needy) }, "invalid_request"),
        (job(needy), "invalid_request"),
        (RunFlow { flow_version: Some(7), ..job(needy) }, "version_not_found"),
    ];
    let runs: Vec<_> = jobs.iter().map(|(run, _)| run.clone()).collect();
    runners.publish(&runs).await;
    let ended = runners.ended(&runs).await;
    for (run, expect) in &jobs {
        let report = &ended[&(run.job_id, 1)][0];
        let RunState::Finished { outcome, code, message, .. } = &report.state else { panic!("{report:?}") };
        assert_eq!((*outcome, code.as_deref()), (Outcome::Error, Some(*expect)), "{report:?}");
        assert!(message.is_some());
        let execution = runners.servers[0].executions.find(report.execution_id).await.unwrap().unwrap();
        assert_eq!(execution.status, ExecutionStatus::Error);
        assert_eq!(execution.error.unwrap().code.as_str(), *expect);
    }
}

async fn next_attempt_of_a_job_is_a_run_of_its_own(runners: Runners) {
    let flow = runners.flow("fails", FAILS).await;
    let first = job(flow);
    let second = RunFlow { attempt: 2, manual: true, ..first.clone() };
    runners.publish(&[first.clone(), second.clone()]).await;
    let ended = runners.ended(&[first.clone(), second]).await;
    let ids: Vec<_> = [1, 2].map(|attempt| ended[&(first.job_id, attempt)][0].execution_id).into();
    assert_ne!(ids[0], ids[1]);
    let execution = runners.servers[0].executions.find(ids[1]).await.unwrap().unwrap();
    assert_eq!((execution.attempt, execution.trigger), (2, Trigger::Manual));
}

async fn job_of_a_data_driven_flow_is_reported_as_one(runners: Runners) {
    let flow = runners.flow("rows", &FAILS.replace("name: fails", "name: rows\ndata: [{x: 1}, {x: 2}]")).await;
    let job = job(flow);
    runners.publish(&[job.clone(), job.clone()]).await;
    let ended = runners.ended(slice::from_ref(&job)).await;
    runners.publish(slice::from_ref(&job)).await;
    let again = runners.ended(slice::from_ref(&job)).await;
    let (first, again) = (&ended[&(job.job_id, 1)][0], &again[&(job.job_id, 1)][0]);
    assert_eq!((outcome(first), outcome(again)), (Outcome::Failed, Outcome::Failed));
    assert_eq!(first.execution_id, again.execution_id);
    let member = runners.servers[0].executions.find(first.execution_id).await.unwrap().unwrap();
    let batch = runners.servers[0].executions.batch(member.batch_id.unwrap()).await.unwrap().unwrap();
    assert_eq!((batch.total, batch.counts.failed, batch.job_id), (2, 2, Some(job.job_id.as_uuid())));
}

/// A stream that takes no reports for a while, as when its server is away.
#[derive(Debug)]
struct Mute {
    inner: MemoryStream,
    mute: AtomicBool,
}

#[async_trait]
impl Stream for Mute {
    async fn publish(&self, topic: Topic, payloads: &[String]) -> Result<(), StreamError> {
        if topic == Topic::RunFinished && self.mute.load(Ordering::Relaxed) {
            return Err(StreamError { operation: "publish", reason: "the server is away".to_owned() });
        }
        self.inner.publish(topic, payloads).await
    }

    async fn read(&self, topic: Topic, max: usize, wait: Duration) -> Result<Vec<Entry>, StreamError> {
        self.inner.read(topic, max, wait).await
    }

    async fn acknowledge(&self, topic: Topic, ids: &[String]) -> Result<(), StreamError> {
        self.inner.acknowledge(topic, ids).await
    }

    async fn under_way(&self, topic: Topic, max: usize) -> Result<Vec<String>, StreamError> {
        self.inner.under_way(topic, max).await
    }

    async fn ping(&self) -> Result<(), StreamError> {
        self.inner.ping().await
    }
}

async fn reports_wait_while_the_stream_is_away(runners: Runners, mute: &Mute) {
    let flow = runners.flow("log", LOG).await;
    let jobs: Vec<_> = (0..5).map(|_| job(flow)).collect();
    runners.publish(&jobs).await;
    let finished = async {
        loop {
            let filter = ExecutionFilter { status: Some(ExecutionStatus::Passed), ..ExecutionFilter::default() };
            let page = PageRequest { limit: 10, after: None };
            if runners.servers[0].executions.list(&filter, page).await.unwrap().items.len() == jobs.len() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, finished).await.unwrap();
    mute.mute.store(false, Ordering::Relaxed);
    let ended = runners.ended(&jobs).await;
    assert!(ended.values().flatten().all(|report| outcome(report) == Outcome::Passed));
}

#[tokio::test]
async fn reports_wait_in_the_outbox_while_the_stream_is_away() {
    let mute = || Arc::new(Mute { inner: MemoryStream::new(), mute: AtomicBool::new(true) });
    let stream = mute();
    reports_wait_while_the_stream_is_away(on_sqlite(Arc::clone(&stream) as _).await, &stream).await;
    let stream = mute();
    if let Some(runners) = on_postgres(Arc::clone(&stream) as _).await {
        reports_wait_while_the_stream_is_away(runners, &stream).await;
    }
}
