//! The runner behind a socket, when things go wrong: no runner, the wrong one, one that dies, one that falls silent.
//! (What it does when all is well is the contract of `executor.rs` and `batches.rs`.)

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use hyper_util::rt::TokioIo;
use serde_json::json;
use testmesh_runner::event::RunEvent;
use testmesh_runner::executor::{Cancelled, Executor, NewBatch, NewRun, SubmitError};
use testmesh_runner::record::{Batch, Execution, ExecutionStatus};
use testmesh_runner::remote::{RemoteRunner, connect};
use testmesh_runner::repository::RepositoryError;
use testmesh_shared::clock::SystemClock;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::http::TaskExecutor;
use testmesh_shared::ids::{BatchId, ExecutionId};
use testmesh_shared::internal::{CallContext, Credentials, InternalTls, TlsPem};
use testmesh_shared::tasks::Tasks;
use testmesh_shared::trace::TraceParent;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::proxy::Proxy;
use crate::server::{Host, LOG, LONG, PATIENCE, Server, Shared, TOKEN, credentials, inline};

/// The longest time in which a runner that is not there must be found out.
const SOON: Duration = Duration::from_secs(8);

fn client(urls: &[String]) -> RemoteRunner {
    connect(urls, &credentials(TOKEN)).unwrap()
}

async fn within<T>(time: Duration, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(time, work).await.expect("it ends in time")
}

/// Waits until the client has found a runner.
async fn found(runner: &RemoteRunner) {
    let found = async {
        while runner.check().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, found).await;
}

/// An address of this machine at which nobody listens now.
async fn free_address() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn wrong_token_is_refused_and_the_error_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), 4, 100).await;
    let host = Host::serve(&server).await;
    let stranger = connect(&[host.url()], &credentials("fedcba9876543210fedcba9876543210")).unwrap();
    let run = inline(LOG);
    let refused = within(SOON, stranger.executor().submit(run.clone())).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Unreachable(_)), "{refused}");
    assert_eq!(refused.code(), ErrorCode::Unavailable);
    assert!(chain(&refused).contains("the internal token is none of those"), "{}", chain(&refused));
    let refused = within(SOON, stranger.executions().find(run.id)).await.unwrap_err();
    assert!(matches!(refused, RepositoryError::Unreachable { .. }), "{refused}");
    assert!(within(SOON, stranger.check()).await.is_err());
    assert_eq!(server.executions.find(run.id).await.unwrap(), None);
}

#[tokio::test]
async fn no_runner_is_told_in_time_and_found_when_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), 4, 100).await;
    let address = free_address().await;
    let runner = client(&[format!("http://{address}")]);
    let asked = Instant::now();
    let submitted = within(SOON, runner.executor().submit(inline(LOG))).await.unwrap_err();
    assert_eq!(submitted.code(), ErrorCode::Unavailable);
    assert!(chain(&submitted).contains("no runner is connected"), "{}", chain(&submitted));
    assert!(asked.elapsed() > Duration::from_secs(2), "a runner that restarts is waited for");
    let read = within(SOON, runner.executions().find(ExecutionId::generate(&SystemClock))).await.unwrap_err();
    assert_eq!((read.code(), matches!(read, RepositoryError::Unreachable { .. })), (ErrorCode::Unavailable, true));
    let trouble = within(SOON, runner.check()).await.unwrap_err();
    assert!(chain(&trouble).contains(&address.to_string()), "{}", chain(&trouble));

    let host = Host::serve_with(&server, address, credentials(TOKEN)).await;
    found(&runner).await;
    let run = runner.executor().submit(inline(LOG)).await.unwrap();
    let ended = runner.executor().wait(run.id, PATIENCE).await.unwrap().unwrap();
    assert_eq!(ended.status, ExecutionStatus::Passed);
    host.stop().await;
    let gone = within(SOON, runner.executions().find(run.id)).await.unwrap_err();
    assert_eq!(gone.code(), ErrorCode::Unavailable);
}

#[tokio::test]
async fn certificates_of_one_authority_are_enough_and_others_are_refused() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), 4, 100).await;
    let host = Host::serve_with(&server, "127.0.0.1:0".parse().unwrap(), ours.credentials()).await;
    let url = format!("https://localhost:{}", host.address.port());
    let friend = connect(std::slice::from_ref(&url), &ours.credentials()).unwrap();
    let run = within(PATIENCE, friend.executor().submit(inline(LOG))).await.unwrap();
    assert!(within(PATIENCE, friend.executor().wait(run.id, PATIENCE)).await.unwrap().is_some());
    let stranger = connect(std::slice::from_ref(&url), &theirs.credentials()).unwrap();
    let refused = within(SOON, stranger.executor().submit(inline(LOG))).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unavailable);
    assert!(connect(&[host.url()], &ours.credentials()).is_err(), "certificates need `https`");
}

#[tokio::test]
async fn calls_go_to_all_runners_and_past_one_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), 4, 1000).await;
    let (one, two) = (Host::serve(&server).await, Host::serve(&server).await);
    let (to_one, to_two) = (Proxy::to(one.address).await, Proxy::to(two.address).await);
    let runner = client(&[to_one.url(), to_two.url()]);
    found(&runner).await;
    let both = async {
        while to_one.sent() == 0 || to_two.sent() == 0 {
            runner.check().await.unwrap();
        }
    };
    within(PATIENCE, both).await;
    let executor = runner.executor();
    let before = (to_one.sent(), to_two.sent());
    for _ in 0..10 {
        executor.submit(inline(LOG)).await.unwrap();
    }
    let sent = (to_one.sent() - before.0, to_two.sent() - before.1);
    assert!(sent.0 > 1000 && sent.1 > 1000, "{sent:?}");

    to_one.cut();
    for _ in 0..10 {
        within(SOON, executor.submit(inline(LOG))).await.unwrap();
    }
    let note = within(SOON, async {
        loop {
            if let Some(note) = runner.check().await.unwrap() {
                return note;
            }
            tokio::task::yield_now().await;
        }
    });
    assert!(note.await.contains(&to_one.address.to_string()));
    to_one.open();
    let back = async {
        while runner.check().await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, back).await;
}

#[tokio::test]
async fn silent_runner_is_noticed_within_seconds_and_its_calls_are_made_elsewhere() {
    let Some(shared) = Shared::create().await else { return };
    let (one, two) = (shared.open(4, None).await, shared.open(4, None).await);
    let (first, second) = (Host::serve(&one).await, Host::serve(&two).await);
    let proxy = Proxy::to(first.address).await;
    let runner = client(&[proxy.url()]);
    found(&runner).await;
    let executor = runner.executor();
    let run = executor.submit(inline(LONG)).await.unwrap();
    let both = client(&[proxy.url(), second.url()]);
    found(&both).await;
    let waits = (0..4).map(|_| async { both.executor().wait(run.id, PATIENCE).await.unwrap() });
    let silence = async {
        one.reached(run.id, "step.started").await;
        proxy.silence();
        let asked = Instant::now();
        let executions = both.executions();
        let reads = (0..4).map(|_| executions.find(run.id));
        for read in futures::future::join_all(reads).await {
            assert!(read.unwrap().is_some());
        }
        assert!(asked.elapsed() < SOON, "took {:?}", asked.elapsed());
        assert_eq!(both.executor().cancel(run.id).await.unwrap(), Cancelled::Requested);
    };
    let (waited, ()) = within(PATIENCE, async { tokio::join!(futures::future::join_all(waits), silence) }).await;
    assert!(waited.iter().all(|ended| ended.as_ref().unwrap().status == ExecutionStatus::Cancelled));
}

/// A run of `steps` that take some time.
fn story(steps: usize) -> String {
    let steps = (0..steps).map(|n| {
        format!(
            "  - {{action: log, config: {{message: 'line {n}'}}}}\n  - {{action: delay, config: {{duration: 10ms}}}}\n"
        )
    });
    format!("name: f\nsteps:\n{}", steps.collect::<String>())
}

/// Events as they are told, with times to the millisecond.
fn told_as(events: &[RunEvent]) -> Vec<serde_json::Value> {
    events.iter().map(|event| serde_json::to_value(event).unwrap()).collect()
}

async fn collect(executor: &dyn Executor, id: ExecutionId) -> Vec<RunEvent> {
    executor.events(id, 0).await.unwrap().unwrap().collect().await
}

#[tokio::test]
async fn stream_that_breaks_goes_on_elsewhere_without_gap_or_repeat() {
    let Some(shared) = Shared::create().await else { return };
    let (one, two) = (shared.open(4, None).await, shared.open(4, None).await);
    let (first, second) = (Host::serve(&one).await, Host::serve(&two).await);
    let proxies = [Proxy::to(first.address).await, Proxy::to(second.address).await];
    let runner = client(&[proxies[0].url(), proxies[1].url()]);
    found(&runner).await;
    let run = runner.executor().submit(inline(&story(120))).await.unwrap();
    let executor = runner.executor();
    let mut events = executor.events(run.id, 0).await.unwrap().unwrap();
    let mut told = Vec::new();
    // One of the two is cut at a time, in turn, every twenty events.
    let all = async {
        while let Some(event) = events.next().await {
            told.push(event);
            if told.len().is_multiple_of(20) {
                let turn = told.len() / 20 % 2;
                proxies[1 - turn].open();
                found(&runner).await;
                proxies[turn].cut();
            }
        }
    };
    within(PATIENCE * 2, Box::pin(all)).await;
    let stored = one.executions.events(run.id, 0).await.unwrap();
    assert!(stored.len() > 400, "{}", stored.len());
    assert_eq!(told_as(&told), told_as(&stored));
    assert!(told.iter().map(|event| event.seq).eq(1..=told.len() as u64));
}

#[tokio::test]
async fn waits_and_streams_of_a_runner_that_stops_go_on_elsewhere() {
    let Some(shared) = Shared::create().await else { return };
    let (one, two) = (shared.open(4, None).await, shared.open(4, None).await);
    let (first, second) = (Host::serve(&one).await, Host::serve(&two).await);
    let runner = client(&[first.url()]);
    found(&runner).await;
    // The run is the second's, so that it goes on.
    let run = two.submit(&story(60)).await;
    let both = client(&[first.url(), second.url()]);
    found(&both).await;
    let executor = both.executor();
    let waits = (0..4).map(|_| executor.wait(run.id, PATIENCE));
    let follows = (0..4).map(|_| collect(&*executor, run.id));
    let stop = async {
        two.reached(run.id, "step.started").await;
        first.stop().await;
    };
    let all = async { tokio::join!(futures::future::join_all(waits), futures::future::join_all(follows), stop) };
    let (waited, followed, ()) = within(PATIENCE, all).await;
    for ended in waited {
        assert_eq!(ended.unwrap().unwrap().status, ExecutionStatus::Passed);
    }
    let stored = two.executions.events(run.id, 0).await.unwrap();
    assert!(followed.iter().all(|told| told_as(told) == told_as(&stored)));
}

#[tokio::test]
async fn runner_that_stops_takes_no_runs_and_another_does() {
    let Some(shared) = Shared::create().await else { return };
    let (one, two) = (shared.open(4, None).await, shared.open(4, None).await);
    let (first, second) = (Host::serve(&one).await, Host::serve(&two).await);
    one.handle.drain(PATIENCE).await;
    let alone = client(&[first.url()]);
    let refused = within(SOON, alone.executor().submit(inline(LOG))).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Stopping), "{}", chain(&refused));
    let both = client(&[first.url(), second.url()]);
    for _ in 0..8 {
        let run = within(SOON, both.executor().submit(inline(LOG))).await.unwrap();
        assert!(two.executor.wait(run.id, PATIENCE).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn submission_that_lost_its_answer_is_made_once() {
    let Some(shared) = Shared::create().await else { return };
    let (one, two) = (shared.open(4, None).await, shared.open(4, None).await);
    let (first, second) = (Host::serve(&one).await, Host::serve(&two).await);
    let proxy = Proxy::to(first.address).await;
    let runner = client(&[proxy.url(), second.url()]);
    found(&runner).await;
    let executor = runner.executor();
    let submissions = (0..40).map(|_| async {
        let run = inline(LOG);
        let accepted = executor.submit(run.clone()).await.unwrap();
        assert_eq!(accepted.id, run.id);
        run.id
    });
    let cuts = async {
        for _ in 0..10 {
            proxy.cut();
            tokio::task::yield_now().await;
            proxy.open();
            let _ = runner.check().await;
        }
    };
    let all = async { tokio::join!(futures::future::join_all(submissions), cuts) };
    let (ids, ()) = within(PATIENCE, all).await;
    for id in ids {
        assert_eq!(two.executor.wait(id, PATIENCE).await.unwrap().unwrap().status, ExecutionStatus::Passed);
        let events = two.executions.events(id, 0).await.unwrap();
        assert!(events.iter().map(|event| event.seq).eq(1..=events.len() as u64));
    }
}

#[tokio::test]
async fn hundreds_of_callers_that_hang_up_disturb_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), 4, 100).await;
    let host = Host::serve(&server).await;
    let runner = client(&[host.url()]);
    found(&runner).await;
    let executor = runner.executor();
    let run = executor.submit(inline(LONG)).await.unwrap();
    let patient = executor.wait(run.id, PATIENCE);
    let hasty = async {
        server.reached(run.id, "step.started").await;
        for _ in 0..10 {
            let waits = (0..50).map(|_| executor.wait(run.id, PATIENCE));
            let mut follows = Vec::new();
            for _ in 0..10 {
                follows.push(executor.events(run.id, 0).await.unwrap().unwrap());
            }
            let gone = tokio::time::timeout(Duration::from_millis(5), futures::future::join_all(waits)).await;
            assert!(gone.is_err());
        }
        executor.cancel(run.id).await.unwrap();
    };
    let (ended, ()) = within(PATIENCE, async { tokio::join!(patient, hasty) }).await;
    assert_eq!(ended.unwrap().unwrap().status, ExecutionStatus::Cancelled);
}

#[tokio::test]
async fn followers_that_do_not_read_hold_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), 4, 100).await;
    let host = Host::serve(&server).await;
    let runner = client(&[host.url()]);
    let steps = (0..40).map(|n| format!("  - {{id: s{n}, action: log, config: {{message: '${{BIG}}'}}}}\n"));
    let run = NewRun {
        variables: [("BIG".to_owned(), json!("x".repeat(50_000)))].into(),
        ..inline(&format!("name: f\nsteps:\n{}", steps.collect::<String>()))
    };
    let id = server.executor.submit(run).await.unwrap().id;
    server.finished(id).await;
    found(&runner).await;
    let mut idle = Vec::new();
    for _ in 0..60 {
        let mut events = runner.executor().events(id, 0).await.unwrap().unwrap();
        assert_eq!(events.next().await.unwrap().seq, 1);
        idle.push(events);
    }
    let found = within(SOON, runner.executions().find(id)).await.unwrap().unwrap();
    assert_eq!(found.steps.unwrap().len(), 40);
    let stored = server.executions.events(id, 0).await.unwrap();
    for events in idle {
        let rest: Vec<_> = within(PATIENCE, events.collect()).await;
        assert_eq!(told_as(&rest), told_as(&stored[1..]));
    }
}

#[tokio::test]
async fn run_that_is_too_large_to_send_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), 4, 100).await;
    let runner = client(&[Host::serve(&server).await.url()]);
    found(&runner).await;
    let text = format!("{LOG}# {}\n", "x".repeat(70 << 20));
    let refused = within(SOON, runner.executor().submit(inline(&text))).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    assert!(refused.to_string().contains("67108864 bytes"), "{refused}");
    // What a client of the server may send goes through, however large.
    let variables = [("BIG".to_owned(), json!("x".repeat(4 << 20)))].into();
    let run = runner.executor().submit(NewRun { variables, ..inline(LOG) }).await.unwrap();
    let ended = within(PATIENCE, runner.executor().wait(run.id, PATIENCE)).await.unwrap().unwrap();
    assert_eq!(ended.status, ExecutionStatus::Passed);
    assert_eq!(ended.variables["BIG"].as_str().unwrap().len(), 4 << 20);
}

#[tokio::test]
async fn all_mistakes_of_a_flow_come_through() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), 4, 100).await;
    let runner = client(&[Host::serve(&server).await.url()]);
    found(&runner).await;
    let mistaken = format!("name: f\nsteps:\n{}", "  - {action: nonsense}\n".repeat(400));
    let SubmitError::InvalidFlow(here) = server.refused(inline(&mistaken)).await else { panic!("it has mistakes") };
    let there = runner.executor().submit(inline(&mistaken)).await.unwrap_err();
    let SubmitError::InvalidFlow(there) = there else { panic!("it has mistakes: {}", chain(&there)) };
    assert!(here.len() >= 400);
    assert_eq!(here, there);
}

#[tokio::test]
async fn hundreds_of_waits_hold_up_no_other_call() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), 4, 100).await;
    let runner = client(&[Host::serve(&server).await.url()]);
    found(&runner).await;
    let executor = runner.executor();
    let run = executor.submit(inline(LONG)).await.unwrap();
    let waits = futures::future::join_all((0..1100).map(|_| executor.wait(run.id, PATIENCE)));
    let call = async {
        server.reached(run.id, "step.started").await;
        assert!(within(SOON, runner.executions().find(run.id)).await.unwrap().is_some());
        executor.cancel(run.id).await.unwrap();
    };
    let (ended, ()) = within(PATIENCE, async { tokio::join!(waits, call) }).await;
    assert!(ended.into_iter().all(|ended| ended.unwrap().unwrap().status == ExecutionStatus::Cancelled));
}

/// Notes for whom each method works.
struct Noting {
    inner: Arc<dyn Executor>,
    seen: Arc<Mutex<Vec<CallContext>>>,
}

impl Noting {
    fn note(&self) {
        self.seen.lock().unwrap().push(CallContext::current().expect("every call has a context"));
    }
}

#[async_trait::async_trait]
impl Executor for Noting {
    async fn submit(&self, run: NewRun) -> Result<Execution, SubmitError> {
        self.note();
        self.inner.submit(run).await
    }

    async fn wait(&self, id: ExecutionId, timeout: Duration) -> Result<Option<Execution>, RepositoryError> {
        self.inner.wait(id, timeout).await
    }

    async fn cancel(&self, id: ExecutionId) -> Result<Cancelled, RepositoryError> {
        self.note();
        self.inner.cancel(id).await
    }

    async fn submit_batch(&self, batch: NewBatch) -> Result<Batch, SubmitError> {
        self.inner.submit_batch(batch).await
    }

    async fn wait_batch(&self, id: BatchId, timeout: Duration) -> Result<Option<Batch>, RepositoryError> {
        self.inner.wait_batch(id, timeout).await
    }

    async fn cancel_batch(&self, id: BatchId) -> Result<Cancelled, RepositoryError> {
        self.inner.cancel_batch(id).await
    }

    async fn events(
        &self,
        id: ExecutionId,
        after: u64,
    ) -> Result<Option<BoxStream<'static, RunEvent>>, RepositoryError> {
        self.note();
        self.inner.events(id, after).await
    }
}

#[tokio::test]
async fn request_id_trace_and_time_left_go_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), 4, 100).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    server.executor = Arc::new(Noting { inner: server.executor, seen: Arc::clone(&seen) });
    let runner = client(&[Host::serve(&server).await.url()]);
    found(&runner).await;
    let context = CallContext {
        request_id: "the-request".into(),
        trace: TraceParent::generate(),
        deadline: Some(Instant::now() + Duration::from_secs(20)),
    };
    let calls = async {
        let run = runner.executor().submit(inline(LOG)).await.unwrap();
        runner.executor().cancel(run.id).await.unwrap();
        drop(runner.executor().events(run.id, 0).await.unwrap().unwrap());
    };
    context.clone().scope(calls).await;
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 3);
    for (index, there) in seen.iter().enumerate() {
        assert_eq!(&*there.request_id, "the-request");
        assert_eq!(there.trace.trace_id(), context.trace.trace_id());
        assert_ne!(there.trace, context.trace, "each call is a span of its own");
        // A stream lasts longer than the request that asked for it.
        assert_eq!(there.deadline.is_some(), index < 2);
    }
    let late = CallContext { deadline: Some(Instant::now()), ..context };
    let refused = within(SOON, late.scope(runner.executor().submit(inline(LOG)))).await.unwrap_err();
    assert!(chain(&refused).contains("no runner answered within 0 ms"), "{}", chain(&refused));
}

#[tokio::test]
async fn health_is_told_without_a_token_and_ends_with_the_signal_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), 4, 100).await;
    let host = Host::serve(&server).await;
    let socket = tokio::net::TcpStream::connect(host.address).await.unwrap();
    let (link, connection) =
        hyper::client::conn::http2::handshake(TaskExecutor(Tasks::new()), TokioIo::new(socket)).await.unwrap();
    let tasks = Tasks::new();
    tasks.spawn(connection);
    let origin = host.url().parse().unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::with_origin(Plain(link), origin);
    for service in ["", "testmesh.runner.v1.Runner"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving);
    }
    host.stopping.cancel();
    let stopped = async {
        while health.check(HealthCheckRequest::default()).await.unwrap().into_inner().status()
            != ServingStatus::NotServing
        {
            tokio::task::yield_now().await;
        }
    };
    within(SOON, stopped).await;
    // Calls are answered until the runs are over.
    let runner = client(&[host.url()]);
    found(&runner).await;
    assert!(runner.executor().submit(inline(LOG)).await.is_ok());
}

/// A bare HTTP/2 connection, for a generated client.
#[derive(Clone)]
struct Plain(hyper::client::conn::http2::SendRequest<tonic::body::Body>);

impl tonic::codegen::Service<http::Request<tonic::body::Body>> for Plain {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = futures::future::BoxFuture<'static, Result<Self::Response, hyper::Error>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// An authority and one certificate of it, for every process of a test.
struct Authority {
    pem: TlsPem,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertifiedIssuer::self_signed(parameters, key).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &authority).unwrap();
        let pem = TlsPem {
            certificate: certificate.pem().into(),
            key: key.serialize_pem().into(),
            ca: authority.pem().into(),
        };
        Self { pem }
    }

    fn credentials(&self) -> Credentials {
        Credentials::new(None, Some(InternalTls::new(self.pem.clone()).unwrap())).unwrap()
    }
}
