//! Runs that belong together.

pub(crate) mod cancel;
pub(crate) mod find;
pub(crate) mod report;

use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::BatchId;

use crate::problem::Problem;

fn not_found(id: BatchId) -> Problem {
    Problem::new(ErrorCode::BatchNotFound, format!("batch `{id}` does not exist"))
}
