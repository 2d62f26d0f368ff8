//! Runs and what became of them.

pub(crate) mod cancel;
pub(crate) mod events;
pub(crate) mod find;
pub(crate) mod find_step;
pub(crate) mod list;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod socket;
pub(crate) mod submit;

use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::ExecutionId;

use crate::problem::Problem;

fn not_found(id: ExecutionId) -> Problem {
    Problem::new(ErrorCode::ExecutionNotFound, format!("execution `{id}` does not exist"))
}
