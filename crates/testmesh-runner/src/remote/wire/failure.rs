//! Errors as statuses: the code for everybody, the [`proto::Failure`] in a trailer for this program.
//!
//! Trailers are small, so texts are cut; the mistakes of a flow, which can be many, travel in the answer instead.

use prost::Message;
use testmesh_shared::ids::FlowId;
use testmesh_storage::StorageError;
use tonic::metadata::{BinaryMetadataKey, MetadataMap, MetadataValue};
use tonic::{Code, Status};

use super::proto::failure::Kind;
use super::proto::{self, Nothing};
use crate::executor::SubmitError;
use crate::executor::recorder::chain;
use crate::repository::RepositoryError;

/// Where the failure is.
const TRAILER: &str = "testmesh-failure-bin";
/// Bytes of a text in a failure.
const TEXT: usize = 2048;
/// Bytes of a status' message, which is for people.
const MESSAGE: usize = 256;

/// What became of a call that gave no answer of its kind.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The runner says why.
    Said(Kind),
    /// No runner said anything that helps.
    Unanswered(Box<dyn std::error::Error + Send + Sync>),
}

/// The status for a run that was not accepted. (Not for the mistakes of a flow.)
pub(crate) fn submit_status(error: &SubmitError) -> Status {
    let (code, kind) = match error {
        SubmitError::FlowNotFound(id) => (Code::NotFound, Kind::FlowNotFound(id.to_string())),
        SubmitError::VersionNotFound(id, version) => {
            let flow = proto::StoredFlow { flow_id: id.to_string(), version: Some(*version) };
            (Code::NotFound, Kind::VersionNotFound(flow))
        }
        SubmitError::UnknownEnvironment(name) => (Code::InvalidArgument, Kind::UnknownEnvironment(cut(name, TEXT))),
        SubmitError::SuiteNotFound(name) => (Code::NotFound, Kind::SuiteNotFound(cut(name, TEXT))),
        SubmitError::DataDriven => (Code::FailedPrecondition, Kind::DataDriven(Nothing {})),
        SubmitError::InvalidFlow(_) => (Code::InvalidArgument, Kind::Invalid(error.to_string())),
        SubmitError::Invalid(message) => (Code::InvalidArgument, Kind::Invalid(cut(message, TEXT))),
        SubmitError::IdempotencyMismatch => (Code::AlreadyExists, Kind::IdempotencyMismatch(Nothing {})),
        SubmitError::Overloaded(queue) => {
            let queue = u64::try_from(*queue).unwrap_or(u64::MAX);
            (Code::ResourceExhausted, Kind::Overloaded(proto::Overloaded { queue }))
        }
        SubmitError::Stopping => return stopping(),
        SubmitError::Unreachable(source) => (Code::Unavailable, Kind::Executions(store_failure(error, &**source))),
        SubmitError::Storage(error) => (Code::Unavailable, Kind::Flows(failure_chain(error))),
        SubmitError::Repository(error) => return repository_status(error),
    };
    status(code, kind, &error.to_string())
}

/// The status for executions that could not be read or written.
pub(crate) fn repository_status(error: &RepositoryError) -> Status {
    status(Code::Unavailable, Kind::Executions(failure_chain(error)), &error.to_string())
}

/// The status of a runner that gives up what it was asked for because it stops.
pub(crate) fn stopping() -> Status {
    status(Code::Unavailable, Kind::Stopping(Nothing {}), "the runner is stopping")
}

/// The status for events of an execution that does not exist.
pub(crate) fn execution_not_found() -> Status {
    status(Code::NotFound, Kind::ExecutionNotFound(Nothing {}), "no such execution")
}

fn status(code: Code, kind: Kind, message: &str) -> Status {
    let mut metadata = MetadataMap::new();
    let key = BinaryMetadataKey::from_static(TRAILER);
    let failure = proto::Failure { kind: Some(kind) };
    metadata.insert_bin(key, MetadataValue::from_bytes(&failure.encode_to_vec()));
    Status::with_metadata(code, cut(message, MESSAGE), metadata)
}

fn failure_chain(error: &(dyn std::error::Error + 'static)) -> proto::StoreFailure {
    match error.source() {
        Some(source) => store_failure(error, source),
        None => proto::StoreFailure { operation: cut(&error.to_string(), TEXT), cause: String::new() },
    }
}

fn store_failure(error: &dyn std::error::Error, source: &dyn std::error::Error) -> proto::StoreFailure {
    proto::StoreFailure { operation: cut(&error.to_string(), TEXT), cause: cut(&chain(source), TEXT) }
}

/// What the runner said of the failure, if this release understands it.
pub(crate) fn failure_of(status: &Status) -> Option<Kind> {
    let value = status.metadata().get_bin(TRAILER)?;
    let failure = proto::Failure::decode(value.to_bytes().ok()?).ok()?;
    failure.kind
}

/// The error of a submission.
pub(crate) fn submit_error(failed: Failed) -> SubmitError {
    let kind = match failed {
        Failed::Said(kind) => kind,
        Failed::Unanswered(cause) => return SubmitError::Unreachable(cause),
    };
    match kind {
        Kind::FlowNotFound(id) => flow_id(&id).map_or_else(|id| odd(&id), SubmitError::FlowNotFound),
        Kind::VersionNotFound(proto::StoredFlow { flow_id: id, version }) => match (flow_id(&id), version) {
            (Ok(id), Some(version)) => SubmitError::VersionNotFound(id, version),
            _ => odd(&id),
        },
        Kind::UnknownEnvironment(name) => SubmitError::UnknownEnvironment(name),
        Kind::SuiteNotFound(name) => SubmitError::SuiteNotFound(name),
        Kind::DataDriven(_) => SubmitError::DataDriven,
        Kind::Invalid(message) => SubmitError::Invalid(message),
        Kind::IdempotencyMismatch(_) => SubmitError::IdempotencyMismatch,
        Kind::Overloaded(full) => SubmitError::Overloaded(usize::try_from(full.queue).unwrap_or(usize::MAX)),
        Kind::Stopping(_) => SubmitError::Stopping,
        Kind::Flows(failure) => SubmitError::Storage(StorageError::Database {
            operation: failure.operation,
            source: sqlx::Error::Io(std::io::Error::other(failure.cause)),
        }),
        kind @ (Kind::Executions(_) | Kind::ExecutionNotFound(_)) => {
            SubmitError::Repository(repository_error("submit to the runner", Failed::Said(kind)))
        }
    }
}

/// The error of an `operation` on executions.
pub(crate) fn repository_error(operation: &str, failed: Failed) -> RepositoryError {
    let cause = match failed {
        Failed::Said(Kind::Executions(failure) | Kind::Flows(failure)) => {
            return RepositoryError::Database { operation: failure.operation, source: failure.cause.into() };
        }
        Failed::Said(Kind::Stopping(_)) => "the runner is stopping".into(),
        Failed::Said(kind) => format!("the runner said `{kind:?}`").into(),
        Failed::Unanswered(cause) => cause,
    };
    RepositoryError::Unreachable { operation: operation.to_owned(), source: cause }
}

fn flow_id(text: &str) -> Result<FlowId, String> {
    text.parse().map_err(|_| text.to_owned())
}

fn odd(id: &str) -> SubmitError {
    SubmitError::Unreachable(format!("the runner named a flow `{id}`").into())
}

/// The first `limit` bytes of a text, or a little less.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(limit)])
}
