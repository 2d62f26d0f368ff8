//! What crosses the wire: requests as messages, records as JSON documents, errors as statuses with a [`Failure`].
//!
//! Records ignore fields that they do not know and have defaults for those that are missing, so that processes of two
//! releases that follow each other understand one another. A new word of an enum is sent one release after it can be
//! read.
//!
//! [`Failure`]: proto::Failure

mod failure;
mod parts;
mod submission;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use testmesh_shared::ids::InvalidId;
use tonic::Status;

pub(super) use failure::{
    Failed, execution_not_found, failure_of, repository_error, repository_status, stopping, submit_error, submit_status,
};
pub(super) use parts::{
    EVENTS, EventParts, ExecutionParts, ListParts, collect_events, collect_execution, collect_list, read_events,
};
pub(super) use submission::{mistakes, read_mistakes};

/// Bytes of one message that either side takes: a flow of 4 MiB, or any one record, with room to spare.
pub(super) const MESSAGE_BYTES: usize = 64 << 20;

/// The interface that `build.rs` makes of `proto/testmesh/runner/v1/runner.proto`.
#[allow(clippy::all, clippy::pedantic, clippy::allow_attributes_without_reason, reason = "generated code")]
#[allow(missing_docs, unreachable_pub, reason = "generated code")]
pub(super) mod proto {
    tonic::include_proto!("testmesh.runner.v1");
}

/// A record as it travels.
pub(super) fn document<T: Serialize>(record: &T) -> Result<Bytes, Status> {
    // Nothing in a record can fail to be written out.
    serde_json::to_vec(record).map(Bytes::from).map_err(|error| Status::internal(format!("write a record: {error}")))
}

/// The record in a document.
pub(super) fn record<T: DeserializeOwned>(document: &[u8]) -> Result<T, Status> {
    serde_json::from_slice(document).map_err(|error| Status::data_loss(format!("read a record: {error}")))
}

/// An id of a request.
pub(super) fn id<T: std::str::FromStr<Err = InvalidId>>(text: &str) -> Result<T, Status> {
    text.parse().map_err(|error: InvalidId| malformed(&error.to_string()))
}

/// The refusal of a request that breaks the protocol.
pub(super) fn malformed(what: &str) -> Status {
    Status::invalid_argument(format!("malformed request: {what}"))
}

#[cfg(test)]
mod tests;
