//! The implementations, and the macro that runs a contract on each of them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chrono::{DateTime, Utc};
use testmesh_shared::clock::FakeClock;
use testmesh_shared::db::{DataFolder, Db};
use testmesh_shared::internal::{Client, ClientLimits, Credentials, Gate, GateLimits, InternalToken, Target, serve};
use testmesh_shared::tasks::Tasks;
use testmesh_storage::{EnvironmentRepository, FlowRepository, remote};
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

/// Both repositories on one fresh database, and the clock they stamp with.
pub(crate) struct Stores {
    pub(crate) flows: Arc<dyn FlowRepository>,
    pub(crate) environments: Arc<dyn EnvironmentRepository>,
    pub(crate) clock: FakeClock,
    /// What they are kept in.
    pub(crate) db: Db,
    _dir: Option<tempfile::TempDir>,
    _process: Option<Process>,
}

/// The secret of the processes of these tests.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A process that answers for a store on a real socket, until it is dropped.
pub(crate) struct Process {
    pub(crate) url: String,
    _stop: DropGuard,
    tasks: Tasks,
}

impl Process {
    /// Serves `router` at a port; 0: at a free one.
    pub(crate) async fn serve(router: Router, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let (url, tasks) = (format!("http://{}", listener.local_addr().unwrap()), Tasks::new());
        let stop = tasks.cancelled().clone();
        tasks.spawn(serve(listener, router, credentials(TOKEN), stop.clone(), Duration::from_secs(5)));
        Self { url, _stop: stop.drop_guard(), tasks }
    }

    pub(crate) async fn stop(self) {
        self.tasks.shutdown().await;
    }
}

pub(crate) fn credentials(token: &str) -> Credentials {
    Credentials::new(Some(InternalToken::parse(token).unwrap()), None).unwrap()
}

pub(crate) fn client(url: &str, token: &str) -> Client {
    let credentials = credentials(token);
    Client::new(Target::parse(url, &credentials).unwrap(), credentials, ClientLimits::default())
}

/// The storage's routes behind their gate.
pub(crate) fn gated(stores: &Stores) -> Router {
    let gate = Gate::new(credentials(TOKEN), GateLimits::default());
    remote::router(Arc::clone(&stores.flows), Arc::clone(&stores.environments)).layer(gate.http())
}

/// The same stores, in front of which there is a wire.
pub(crate) async fn remote(stores: Stores) -> Stores {
    let process = Process::serve(gated(&stores), 0).await;
    let client = client(&process.url, TOKEN);
    Stores {
        flows: remote::flow_repository(&client),
        environments: remote::environment_repository(&client),
        _process: Some(process),
        ..stores
    }
}

pub(crate) async fn sqlite() -> Stores {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::take(dir.path()).unwrap();
    let db = Db::embedded(&folder, &testmesh_storage::SCHEMA).await.unwrap();
    stores(&db, Some(dir))
}

/// `None`: there is no server to have a database on.
pub(crate) async fn postgres() -> Option<Stores> {
    let db = testmesh_shared::db::testing::postgres(&testmesh_storage::SCHEMA).await?;
    Some(stores(&db, None))
}

fn stores(db: &Db, dir: Option<tempfile::TempDir>) -> Stores {
    let clock = FakeClock::new("2026-01-31T12:00:00Z".parse::<DateTime<Utc>>().unwrap());
    Stores {
        flows: testmesh_storage::flow_repository(db, Arc::new(clock.clone())),
        environments: testmesh_storage::environment_repository(db, Arc::new(clock.clone())),
        clock,
        db: db.clone(),
        _dir: dir,
        _process: None,
    }
}

/// `contract! { name, … }`: each function of the parent module, on each of them.
macro_rules! contract {
    ($($name:ident,)*) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(crate::stores::sqlite().await).await;
                }
            )*
        }

        mod remote {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(crate::stores::remote(crate::stores::sqlite().await).await).await;
                }
            )*
        }

        mod remote_postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    if let Some(stores) = crate::stores::postgres().await {
                        super::$name(crate::stores::remote(stores).await).await;
                    }
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    if let Some(stores) = crate::stores::postgres().await {
                        super::$name(stores).await;
                    }
                }
            )*
        }
    };
}
pub(crate) use contract;
