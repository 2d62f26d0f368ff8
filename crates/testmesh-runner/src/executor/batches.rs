//! Runs that belong together.

use std::sync::Arc;

use testmesh_shared::ids::{BatchId, SessionId};
use testmesh_shared::messages::RunReport;

use crate::executor::local::Local;
use crate::repository::RepositoryError;

#[derive(Default)]
pub(crate) struct Batches {}

impl Batches {
    pub(crate) fn abandon(&self) {}
    pub(crate) fn is_empty(&self) -> bool {
        true
    }
    pub(crate) fn cancel(&self, _id: BatchId) {}
    pub(crate) fn running(&self) -> Vec<RunReport> {
        Vec::new()
    }
}

impl Local {
    pub(crate) async fn resume_batch(
        self: &Arc<Self>,
        _id: BatchId,
        _session: SessionId,
    ) -> Result<(), RepositoryError> {
        Ok(())
    }
}
