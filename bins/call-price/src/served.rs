//! What is called: a storage and a runner on one data folder, behind the sockets that they have in a server, and the
//! bare counterparts.

use std::iter;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use testmesh_runner::executor::{self, Definition, Executor, ExecutorConfig, ExecutorHandle, ExecutorParts, NewRun};
use testmesh_runner::files::Files;
use testmesh_runner::plugins::Plugins;
use testmesh_runner::programs::Programs;
use testmesh_runner::record::Trigger;
use testmesh_runner::remote::ServeParts;
use testmesh_runner::repository::ExecutionRepository;
use testmesh_shared::clock::{Clock, SystemClock};
use testmesh_shared::db::{DataFolder, Db};
use testmesh_shared::ids::{ExecutionId, FlowId};
use testmesh_shared::internal::{self, Credentials, Gate, GateLimits, InternalToken};
use testmesh_shared::net::Connector;
use testmesh_shared::tasks::Tasks;
use testmesh_storage::{FlowHeader, FlowRepository, NewFlow};
use tokio::net::TcpListener;

use crate::watched::{Watch, Watched};
use crate::{Failure, bare};

const TOKEN: &str = "a-secret-of-this-measurement-alone";
/// A flow of a few steps.
const FLOW_BYTES: usize = 2_000;
const RUN: &str = "flow:\n  name: one\n  steps:\n    - action: log\n      config: {message: hello}\n";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What callers need to know.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) credentials: Credentials,
    pub(crate) flows: Arc<dyn FlowRepository>,
    pub(crate) flows_watch: Watch,
    /// A stored flow.
    pub(crate) flow: FlowId,
    pub(crate) executions: Arc<dyn ExecutionRepository>,
    pub(crate) executions_watch: Watch,
    /// A run that is over.
    pub(crate) execution: ExecutionId,
    pub(crate) storage: SocketAddr,
    pub(crate) runner: SocketAddr,
    pub(crate) bare_http: SocketAddr,
    pub(crate) bare_grpc: SocketAddr,
}

/// What is called, running.
pub(crate) struct Stage {
    pub(crate) served: Served,
    handle: ExecutorHandle,
    tasks: Tasks,
}

impl Stage {
    /// Starts everything, with one flow and one run that is over.
    pub(crate) async fn set(folder: &Path) -> Result<Self, Failure> {
        let folder = DataFolder::take(folder)?;
        let (clock, tasks) = (Arc::new(SystemClock) as Arc<dyn Clock>, Tasks::new());
        let db = Db::embedded(&folder, &testmesh_storage::SCHEMA).await?;
        let stored = testmesh_storage::flow_repository(&db, Arc::clone(&clock));
        let environments = testmesh_storage::environment_repository(&db, Arc::clone(&clock));
        let parts = ExecutorParts {
            db: Db::embedded(&folder, &testmesh_runner::repository::SCHEMA).await?,
            clock,
            flows: Arc::clone(&stored),
            environments: Arc::clone(&environments),
            connector: Connector::default(),
            files: Files::none(),
            programs: Programs::none(),
            plugins: Plugins::none(),
            stream: None,
        };
        let handle = executor::start(parts, ExecutorConfig::default()).await?;
        let (flow, execution) = (store(&*stored).await?, run(&*handle.executor()).await?);
        let (flows_watch, executions_watch) = (Watch::default(), Watch::default());
        let flows: Arc<dyn FlowRepository> = Arc::new(Watched { inner: stored, watch: flows_watch.clone() });
        let executions: Arc<dyn ExecutionRepository> =
            Arc::new(Watched { inner: handle.executions(), watch: executions_watch.clone() });

        let credentials = Credentials::new(Some(InternalToken::parse(TOKEN)?), None)?;
        let stop = tasks.cancelled().clone();
        let gate = Gate::new(credentials.clone(), GateLimits::default());
        let router = testmesh_storage::remote::router(Arc::clone(&flows), environments).layer(gate.http());
        let (listener, storage) = listen().await?;
        tasks.spawn(internal::serve(listener, router, credentials.clone(), stop.clone(), Duration::from_secs(1)));
        let (listener, runner) = listen().await?;
        let parts = ServeParts {
            executor: handle.executor(),
            executions: Arc::clone(&executions),
            credentials: credentials.clone(),
            stopping: stop.clone(),
            closing: stop,
        };
        tasks.spawn(testmesh_runner::remote::serve(listener, parts));
        let answer = serde_json::to_vec(&flows.find(flow).await?)?;
        let bare_http = bare::serve_http(answer.into(), &tasks).await?;
        let bare_grpc = bare::serve_grpc(&tasks).await?;
        let served = Served {
            credentials,
            flows,
            flows_watch,
            flow,
            executions,
            executions_watch,
            execution,
            storage,
            runner,
            bare_http,
            bare_grpc,
        };
        Ok(Self { served, handle, tasks })
    }

    /// Ends everything.
    pub(crate) async fn clear(self) {
        self.tasks.shutdown().await;
        self.handle.drain(PATIENCE).await;
    }
}

/// A socket on a free port of this machine.
pub(crate) async fn listen() -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn store(flows: &dyn FlowRepository) -> Result<FlowId, Failure> {
    let id = FlowId::generate(&SystemClock);
    let header = FlowHeader { name: "login".to_owned(), description: None, suite: None, tags: Vec::new() };
    flows.create(NewFlow { id, header, yaml: "a: b\n".repeat(FLOW_BYTES / 5) }).await?;
    Ok(id)
}

async fn run(executor: &dyn Executor) -> Result<ExecutionId, Failure> {
    let id = ExecutionId::generate(&SystemClock);
    let run = NewRun {
        id,
        definition: Definition::Inline { yaml: RUN.to_owned() },
        variables: iter::empty().collect(),
        environment: None,
        env_file: iter::empty().collect(),
        seed: None,
        strict: false,
        dry_run: false,
        data_row: false,
        trigger: Trigger::Manual,
        idempotency: None,
        trace_id: None,
    };
    executor.submit(run).await?;
    executor.wait(id, PATIENCE).await?.ok_or("the run does not end")?;
    Ok(id)
}
