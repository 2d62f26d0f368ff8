//! What a server wires around an executor, on a data folder of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use testmesh_runner::executor::{
    Definition, Executor, ExecutorConfig, ExecutorHandle, ExecutorParts, NewRun, SubmitError, start,
};
use testmesh_runner::files::Files;
use testmesh_runner::plugins::Plugins;
use testmesh_runner::programs::Programs;
use testmesh_runner::record::{Execution, Trigger};
use testmesh_runner::remote::{ServeParts, connect, serve};
use testmesh_runner::repository::ExecutionRepository;
use testmesh_shared::clock::SystemClock;
use testmesh_shared::db::{DataFolder, Db, PostgresTarget, Schema, role_of, testing};
use testmesh_shared::ids::ExecutionId;
use testmesh_shared::internal::{Credentials, InternalToken};
use testmesh_shared::net::{Connector, NetPolicy};
use testmesh_shared::stream::Stream;
use testmesh_shared::tasks::Tasks;
use testmesh_storage::{EnvironmentRepository, FlowRepository};
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes, however slow the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    pub(crate) handle: ExecutorHandle,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) executions: Arc<dyn ExecutionRepository>,
    pub(crate) flows: Arc<dyn FlowRepository>,
    pub(crate) environments: Arc<dyn EnvironmentRepository>,
}

/// A database that several servers share.
#[derive(Clone)]
pub(crate) struct Shared {
    url: String,
}

impl Shared {
    /// `None`: there is no server to have a database on.
    pub(crate) async fn create() -> Option<Self> {
        let schemas = [&testmesh_storage::SCHEMA, &testmesh_runner::repository::SCHEMA];
        Some(Self { url: testing::postgres_database(&schemas).await? })
    }

    /// The executions' database.
    pub(crate) async fn executions(&self) -> Db {
        self.db(&testmesh_runner::repository::SCHEMA).await
    }

    async fn db(&self, schema: &Schema) -> Db {
        let target = PostgresTarget { url: self.url.clone(), role: Some(role_of(schema)), connections: 8 };
        Db::postgres(&target, schema).await.unwrap()
    }

    /// A server whose lease is short.
    pub(crate) async fn open(&self, concurrency: usize, stream: Option<Arc<dyn Stream>>) -> Server {
        let databases = (self.db(&testmesh_storage::SCHEMA).await, self.executions().await);
        let config = ExecutorConfig { concurrency, queue: 1_000, runner: "test".to_owned(), lease: LEASE };
        Server::on(databases, config, stream).await
    }
}

/// Databases of flows and of executions.
async fn embedded(dir: &Path) -> (Db, Db) {
    let folder = DataFolder::take(dir).unwrap();
    let flows = Db::embedded(&folder, &testmesh_storage::SCHEMA).await.unwrap();
    let executions = Db::embedded(&folder, &testmesh_runner::repository::SCHEMA).await.unwrap();
    (flows, executions)
}

/// Short enough to wait for, long enough for a slow machine.
pub(crate) const LEASE: Duration = Duration::from_secs(4);

impl Server {
    pub(crate) async fn open(dir: &Path, concurrency: usize, queue: usize) -> Self {
        Self::open_with(dir, concurrency, queue, None).await
    }

    pub(crate) async fn open_with(
        dir: &Path,
        concurrency: usize,
        queue: usize,
        stream: Option<Arc<dyn Stream>>,
    ) -> Self {
        let config = ExecutorConfig { concurrency, queue, runner: "test".to_owned(), ..ExecutorConfig::default() };
        Self::on(embedded(dir).await, config, stream).await
    }

    /// A server whose flows may use plugins.
    pub(crate) async fn with_plugins(dir: &Path, plugins: Plugins) -> Self {
        Self::assembled(embedded(dir).await, ExecutorConfig::default(), None, plugins).await
    }

    async fn on(databases: (Db, Db), config: ExecutorConfig, stream: Option<Arc<dyn Stream>>) -> Self {
        Self::assembled(databases, config, stream, Plugins::none()).await
    }

    async fn assembled(
        (stored, db): (Db, Db),
        config: ExecutorConfig,
        stream: Option<Arc<dyn Stream>>,
        plugins: Plugins,
    ) -> Self {
        let flows = testmesh_storage::flow_repository(&stored, Arc::new(SystemClock));
        let environments = testmesh_storage::environment_repository(&stored, Arc::new(SystemClock));
        let parts = ExecutorParts {
            db,
            clock: Arc::new(SystemClock),
            flows: Arc::clone(&flows),
            environments: Arc::clone(&environments),
            connector: Connector::new(NetPolicy::open()),
            files: Files::none(),
            programs: Programs::none(),
            plugins,
            stream,
        };
        let handle = start(parts, config).await.unwrap();
        Self { executor: handle.executor(), executions: handle.executions(), handle, flows, environments }
    }

    /// The same server, used through a socket.
    pub(crate) async fn remote(self) -> Self {
        let host = Host::serve(&self).await;
        let runner = connect(&[host.url()], &credentials(TOKEN)).unwrap();
        Self { executor: runner.executor(), executions: runner.executions(), ..self }
    }

    /// Lives as long as the runtime.
    pub(crate) fn leak(server: Self) -> &'static Self {
        Box::leak(Box::new(server))
    }

    pub(crate) async fn submit(&self, yaml: &str) -> Execution {
        self.executor.submit(inline(yaml)).await.unwrap()
    }

    pub(crate) async fn refused(&self, run: NewRun) -> SubmitError {
        self.executor.submit(run).await.unwrap_err()
    }

    /// The finished run as `wait` gives it, which must be what the store gives.
    pub(crate) async fn finished(&self, id: ExecutionId) -> Execution {
        let execution = self.executor.wait(id, PATIENCE).await.unwrap().expect("the run ends");
        let stored = self.executions.find(id).await.unwrap().unwrap();
        // Times inside a step's record are kept to the millisecond, as they are told.
        assert_eq!(serde_json::to_value(&execution).unwrap(), serde_json::to_value(&stored).unwrap());
        execution
    }

    /// Waits until the run has told an event of this type.
    pub(crate) async fn reached(&self, id: ExecutionId, kind: &str) {
        use futures::StreamExt;
        let mut events = self.executor.events(id, 0).await.unwrap().unwrap();
        let reached = async {
            while let Some(event) = events.next().await {
                if serde_json::to_value(&event).unwrap()["type"] == kind {
                    return;
                }
            }
            panic!("the run ended without `{kind}`");
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("the event comes");
    }
}

/// A server's runner behind a socket, for as long as the runtime lives or until it is told to stop.
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    pub(crate) stopping: CancellationToken,
    pub(crate) closing: CancellationToken,
    tasks: Tasks,
}

impl Host {
    pub(crate) async fn serve(server: &Server) -> Self {
        Self::serve_with(server, "127.0.0.1:0".parse().unwrap(), credentials(TOKEN)).await
    }

    pub(crate) async fn serve_with(server: &Server, address: SocketAddr, credentials: Credentials) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stopping, closing, tasks) = (CancellationToken::new(), CancellationToken::new(), Tasks::new());
        let parts = ServeParts {
            executor: Arc::clone(&server.executor),
            executions: Arc::clone(&server.executions),
            credentials,
            stopping: stopping.clone(),
            closing: closing.clone(),
        };
        tasks.spawn(serve(listener, parts));
        Self { address, stopping, closing, tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops as a process does whose runs are over.
    pub(crate) async fn stop(self) {
        self.stopping.cancel();
        self.closing.cancel();
        tokio::time::timeout(PATIENCE, self.tasks.join()).await.expect("serving ends");
    }
}

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

pub(crate) fn credentials(token: &str) -> Credentials {
    Credentials::new(Some(InternalToken::parse(token).unwrap()), None).unwrap()
}

pub(crate) fn inline(yaml: &str) -> NewRun {
    NewRun {
        id: ExecutionId::generate(&SystemClock),
        definition: Definition::Inline { yaml: yaml.to_owned() },
        variables: IndexMap::new(),
        environment: None,
        env_file: IndexMap::new(),
        seed: None,
        strict: false,
        dry_run: false,
        data_row: false,
        trigger: Trigger::Api,
        idempotency: None,
        trace_id: None,
    }
}

pub(crate) const LOG: &str = "name: log\nsteps:\n  - id: one\n    action: log\n    config: {message: hello}\n";

/// A run that goes on until it is stopped, and says so in its teardown.
pub(crate) const LONG: &str = "\
name: long
steps:
  - id: sleep
    action: delay
    config: {duration: 1h}
teardown:
  - id: clean
    action: log
    config: {message: cleaned}
config: {timeout: 2h}
";
