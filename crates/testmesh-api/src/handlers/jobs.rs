//! The queue: firings, their attempts, and what became of them.

pub(crate) mod find;
pub(crate) mod list;
pub(crate) mod retry;

use testmesh_scheduler::JobStatus;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::JobId;

use crate::extract::query::Pairs;
use crate::problem::Problem;

fn not_found(id: JobId) -> Problem {
    Problem::new(ErrorCode::JobNotFound, format!("job `{id}` does not exist, or is not kept any more"))
}

/// Where a job is found.
pub(crate) fn path(id: JobId) -> String {
    format!("/api/v1/jobs/{id}")
}

/// The parameter `status`.
pub(crate) fn status(pairs: &Pairs<'_>) -> Result<Option<JobStatus>, Problem> {
    let words: Vec<_> = JobStatus::ALL.iter().map(|status| format!("`{status}`")).collect();
    pairs.parsed("status", &format!("one of {}", words.join(", ")))
}
