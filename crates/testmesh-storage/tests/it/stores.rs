//! The engines, and the macro that runs a contract on each of them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use testmesh_shared::clock::FakeClock;
use testmesh_shared::db::{DataFolder, Db};
use testmesh_storage::{EnvironmentRepository, FlowRepository};

/// Both repositories on one fresh database, and the clock they stamp with.
pub(crate) struct Stores {
    pub(crate) flows: Arc<dyn FlowRepository>,
    pub(crate) environments: Arc<dyn EnvironmentRepository>,
    pub(crate) clock: FakeClock,
    _dir: Option<tempfile::TempDir>,
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
        _dir: dir,
    }
}

/// `contract! { name, … }`: each function of the parent module, on every engine.
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
