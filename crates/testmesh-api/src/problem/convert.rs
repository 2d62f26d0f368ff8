//! What the domains' errors become. The chain of causes is logged here, once, and does not leave the server.

use std::error::Error;
use std::fmt::Write;

use testmesh_runner::executor::SubmitError;
use testmesh_runner::repository::RepositoryError;
use testmesh_scheduler::SchedulerError;
use testmesh_shared::error::ErrorCode;
use testmesh_storage::StorageError;

use super::Problem;

const STORE_DETAIL: &str = "the server's store did not answer; try again, and see the server's log if it stays so";
const RUNNER_DETAIL: &str = "the server's runner did not answer; try again, and see the server's log if it stays so";

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        match &error {
            StorageError::NameTaken { .. } => Self::new(error.code(), format!("{error}; choose another name")),
            StorageError::VersionMismatch { expected, found } => {
                Self::new(error.code(), version_mismatch(*expected, *found))
            }
            StorageError::Database { .. } | StorageError::Unavailable { .. } => {
                log_chain(&error);
                Self::new(error.code(), STORE_DETAIL).retry_after(1)
            }
        }
    }
}

impl From<SchedulerError> for Problem {
    fn from(error: SchedulerError) -> Self {
        match &error {
            SchedulerError::NameTaken { .. } => Self::new(error.code(), format!("{error}; choose another name")),
            SchedulerError::RevisionMismatch { expected, found } => {
                Self::new(error.code(), version_mismatch(*expected, *found))
            }
            SchedulerError::NotDead { .. } => Self::new(error.code(), error.to_string()),
            SchedulerError::Database { .. } => {
                log_chain(&error);
                Self::new(error.code(), STORE_DETAIL).retry_after(1)
            }
        }
    }
}

impl From<RepositoryError> for Problem {
    fn from(error: RepositoryError) -> Self {
        log_chain(&error);
        let detail = match error {
            RepositoryError::Database { .. } => STORE_DETAIL,
            RepositoryError::Unreachable { .. } => RUNNER_DETAIL,
        };
        Self::new(error.code(), detail).retry_after(1)
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let code = error.code();
        match error {
            SubmitError::InvalidFlow(diagnostics) => Self::invalid_flow(diagnostics),
            SubmitError::Storage(error) => error.into(),
            SubmitError::Repository(error) => error.into(),
            SubmitError::Unreachable(_) => {
                log_chain(&error);
                Self::new(code, RUNNER_DETAIL).retry_after(1)
            }
            SubmitError::Overloaded(_) | SubmitError::Stopping => Self::new(code, error.to_string()).retry_after(1),
            SubmitError::FlowNotFound(_)
            | SubmitError::VersionNotFound(..)
            | SubmitError::UnknownEnvironment(_)
            | SubmitError::SuiteNotFound(_)
            | SubmitError::DataDriven
            | SubmitError::Invalid(_)
            | SubmitError::IdempotencyMismatch => Self::new(code, error.to_string()),
        }
    }
}

impl From<tokio::task::JoinError> for Problem {
    fn from(error: tokio::task::JoinError) -> Self {
        tracing::error!(error = %error, "a background task of a request failed");
        Self::new(ErrorCode::Internal, Self::internal().detail)
    }
}

fn version_mismatch(expected: u32, found: u32) -> String {
    match expected {
        0 => format!("version {found} is stored, and `If-Match` names none that this server gave"),
        expected => format!("version {found} is stored, `If-Match` names version {expected}"),
    }
}

fn log_chain(error: &dyn Error) {
    let mut chain = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Writing to a string cannot fail.
        let _ = write!(chain, ": {inner}");
        cause = inner.source();
    }
    tracing::error!(error = chain, "a store failed");
}
