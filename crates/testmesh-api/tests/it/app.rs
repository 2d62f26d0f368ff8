//! A server for one test: free port, own data folder, gone at the end of the test.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use testmesh_api::{
    Access, ApiState, Callers, Check, Limits, Metrics, NewToken, Scope, SystemState, Tokens, router, serve,
};
use testmesh_runner::executor::{self, ExecutorConfig, ExecutorHandle, ExecutorParts};
use testmesh_runner::files::Files;
use testmesh_runner::plugins::Plugins;
use testmesh_runner::programs::Programs;
use testmesh_scheduler::{SchedulerConfig, SchedulerHandle, SchedulerParts};
use testmesh_shared::clock::{Clock, SystemClock};
use testmesh_shared::db::{DataFolder, Db};
use testmesh_shared::net::{Connector, NetPolicy};
use testmesh_shared::stream::MemoryStream;
use testmesh_shared::tasks::Tasks;
use tokio_util::sync::CancellationToken;

/// A flow that passes without leaving the process.
pub(crate) const HELLO: &str =
    "name: hello\ntags: [smoke]\nsteps:\n  - id: greet\n    action: log\n    config:\n      message: hello\n";

/// A flow that takes a minute, with a teardown.
pub(crate) const SLOW: &str = "name: slow\nsteps:\n  - id: nap\n    action: delay\n    config:\n      duration: 60s\nteardown:\n  - id: tidy\n    action: log\n    config:\n      message: tidied\n";

/// A running server and a client for it.
pub(crate) struct TestApp {
    /// Where it listens, such as `127.0.0.1:40123`.
    pub(crate) address: String,
    /// Fires `/readyz` 503.
    pub(crate) stopping: CancellationToken,
    client: reqwest::Client,
    tasks: Tasks,
    stop: CancellationToken,
    _runs: ExecutorHandle,
    /// What carries jobs to runners; no runner reads it, so that a test can be one.
    pub(crate) stream: MemoryStream,
    _scheduler: SchedulerHandle,
    folder: tempfile::TempDir,
}

/// How a test's server differs from the usual one.
#[derive(Default)]
pub(crate) struct Differences {
    /// Lines of the tokens file.
    pub(crate) tokens: Option<Vec<String>>,
    /// Trusted origins.
    pub(crate) origins: Vec<String>,
    /// Smaller limits.
    pub(crate) limits: Option<Limits>,
    /// A check that fails.
    pub(crate) broken_check: bool,
    /// A check that panics: a fault in the server.
    pub(crate) faulty_check: bool,
    /// Smaller limits of the executor.
    pub(crate) executor: Option<ExecutorConfig>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::with(Differences::default()).await
    }

    pub(crate) async fn with(differences: Differences) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::take(&folder.path().join("data")).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let flows_db = Db::embedded(&data, &testmesh_storage::SCHEMA).await.unwrap();
        let flows = testmesh_storage::flow_repository(&flows_db, Arc::clone(&clock));
        let environments = testmesh_storage::environment_repository(&flows_db, Arc::clone(&clock));
        let parts = ExecutorParts {
            db: Db::embedded(&data, &testmesh_runner::repository::SCHEMA).await.unwrap(),
            clock: Arc::clone(&clock),
            flows: Arc::clone(&flows),
            environments: Arc::clone(&environments),
            connector: Connector::new(NetPolicy::server(&[])),
            files: Files::none(),
            programs: Programs::none(),
            plugins: Plugins::none(),
            stream: None,
        };
        let runs = executor::start(parts, differences.executor.unwrap_or_default()).await.unwrap();
        let stream = MemoryStream::new();
        let parts = SchedulerParts {
            db: Db::embedded(&data, &testmesh_scheduler::SCHEMA).await.unwrap(),
            clock: None,
            stream: Arc::new(stream.clone()),
        };
        let scheduler = testmesh_scheduler::start(parts, SchedulerConfig::default());
        let callers = differences.tokens.map_or(Callers::Local, |lines| {
            let path = folder.path().join("tokens");
            std::fs::write(&path, lines.join("\n")).unwrap();
            Callers::Known(Arc::new(Tokens::load(&path).unwrap()))
        });
        let (broken, faulty) = (differences.broken_check, differences.faulty_check);
        let stopping = CancellationToken::new();
        let stop = CancellationToken::new();
        let state = ApiState {
            flows,
            environments,
            executor: runs.executor(),
            executions: runs.executions(),
            scheduler: scheduler.scheduler(),
            plugins: Plugins::none(),
            limits: differences.limits.unwrap_or_default(),
            closing: stop.clone(),
            system: SystemState {
                clock,
                access: Access { callers, origins: differences.origins },
                checks: vec![Check::new("flows_database", move || async move {
                    assert!(!faulty, "a fault that a test asked for");
                    if broken { Err("no".to_owned()) } else { Ok(()) }
                })],
                metrics: Metrics::install(),
                stopping: stopping.clone(),
            },
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let tasks = Tasks::new();
        tasks.spawn(serve(listener, router(state), stop.clone(), Duration::from_secs(1)));
        let client = reqwest::Client::builder().build().unwrap();
        Self { address, stopping, client, tasks, stop, _runs: runs, stream, _scheduler: scheduler, folder }
    }

    /// A server with one token for each scope, and the tokens.
    pub(crate) async fn with_tokens() -> (Self, Vec<(Scope, String)>) {
        let made: Vec<_> =
            Scope::ALL.iter().map(|scope| (*scope, NewToken::generate(scope.as_str(), *scope).unwrap())).collect();
        let lines = made.iter().map(|(_, token)| token.line.clone()).collect();
        let app = Self::with(Differences { tokens: Some(lines), ..Differences::default() }).await;
        (app, made.into_iter().map(|(scope, token)| (scope, token.token)).collect())
    }

    pub(crate) fn tokens_file(&self) -> std::path::PathBuf {
        self.folder.path().join("tokens")
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address)).timeout(Duration::from_secs(30))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::PUT, path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path)).await
    }

    /// Sends a flow's text.
    pub(crate) async fn send_yaml(&self, method: Method, path: &str, yaml: &str) -> Answer {
        let request = self.request(method, path).header("content-type", "application/yaml");
        Answer::of(request.body(yaml.to_owned())).await
    }

    /// Stores a flow and gives its id.
    pub(crate) async fn stored(&self, yaml: &str) -> String {
        let answer = self.send_yaml(Method::POST, "/api/v1/flows", yaml).await;
        answer.expect(201)["id"].as_str().unwrap().to_owned()
    }

    /// Stops the server and waits for it.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.join().await;
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Answer {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The body as JSON, of an answer with this status.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let name: HeaderName = name.parse().unwrap();
        self.headers.get(&name).map_or("", |value: &HeaderValue| value.to_str().unwrap())
    }

    /// Asserts that it is a whole problem document with this status and code, and gives it.
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("/docs/errors/{code}"));
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        for field in ["title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        }
        problem
    }
}
