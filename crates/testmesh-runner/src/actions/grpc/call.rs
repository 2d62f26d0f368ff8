//! One call, of any kind: messages go up, messages and a status come down.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::Uri;
use http::uri::PathAndQuery;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use super::GrpcError;
use super::channel::{CallError, Channel};
use super::codec::DynamicCodec;
use crate::actions::http_request::chain;
use crate::actions::protobuf;
use crate::units::show_duration;
use crate::value::Value;

/// Largest message of an answer.
const MESSAGE_LIMIT: usize = 64 << 20;
/// Bytes of all messages of an answer together.
const ANSWER_LIMIT: usize = 64 << 20;

/// A call to make.
pub(super) struct Call<'a> {
    pub(super) method: &'a MethodDescriptor,
    pub(super) messages: Vec<DynamicMessage>,
    pub(super) metadata: MetadataMap,
    /// Told to the server; when it has passed, the call ends with the status `DEADLINE_EXCEEDED`.
    pub(super) deadline: Option<Duration>,
    /// When so many have come, the call is cancelled.
    pub(super) max_messages: Option<usize>,
}

/// What came of a call.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) messages: Vec<Value>,
    pub(super) metadata: MetadataMap,
    pub(super) trailers: MetadataMap,
    pub(super) status: Option<Status>,
    bytes: usize,
}

impl Call<'_> {
    /// Makes it. A status is an answer, too.
    pub(super) async fn make(self, channel: Channel, origin: Uri) -> Result<Answer, GrpcError> {
        let mut answer = Answer::default();
        let said = channel.clone();
        let deadline = self.deadline;
        let exchange = self.exchange(channel, origin, &mut answer);
        let outcome = match deadline {
            None => exchange.await,
            Some(limit) => {
                let Ok(outcome) = tokio::time::timeout(limit, exchange).await else {
                    let text = format!("no status came within the deadline of {}", show_duration(limit));
                    answer.status = Some(Status::deadline_exceeded(text));
                    return Ok(answer);
                };
                outcome
            }
        };
        match outcome {
            Ok(()) => Ok(answer),
            Err(Ended::Status(status)) if said.said() => {
                answer.trailers = status.metadata().clone();
                answer.status = Some(status);
                Ok(answer)
            }
            Err(Ended::Status(status)) => Err(trouble(&status)),
            Err(Ended::Error(error)) => Err(error),
        }
    }

    async fn exchange(self, channel: Channel, origin: Uri, answer: &mut Answer) -> Result<(), Ended> {
        let path = format!("/{}/{}", self.method.parent_service().full_name(), self.method.name());
        let path = PathAndQuery::try_from(path).map_err(|error| GrpcError::Config(error.to_string()))?;
        let mut request = Request::new(stream::iter(self.messages));
        *request.metadata_mut() = self.metadata;
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
        let mut grpc = Grpc::with_origin(channel, origin).max_decoding_message_size(MESSAGE_LIMIT);
        grpc.ready().await.map_err(|error| GrpcError::Broken(chain(&error)))?;
        let response = grpc.streaming(request, path, DynamicCodec(self.method.output())).await?;
        answer.metadata = response.metadata().clone();
        let mut stream = response.into_inner();
        while let Some(message) = stream.message().await? {
            answer.bytes += message.encoded_len();
            if answer.bytes > ANSWER_LIMIT {
                let text = format!("the messages hold more than {} MiB", ANSWER_LIMIT >> 20);
                return Err(GrpcError::Protocol(text).into());
            }
            answer.messages.push(protobuf::value(&message).map_err(GrpcError::Protocol)?);
            if self.max_messages.is_some_and(|most| answer.messages.len() >= most) {
                answer.status = Some(Status::cancelled("the step has as many messages as it asked for"));
                return Ok(());
            }
        }
        answer.trailers = stream.trailers().await?.unwrap_or_default();
        Ok(())
    }
}

/// How a call ended that did not end well.
enum Ended {
    /// The server's word or the library's, which [`Channel::said`] tells apart.
    Status(Status),
    Error(GrpcError),
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<GrpcError> for Ended {
    fn from(error: GrpcError) -> Self {
        Self::Error(error)
    }
}

/// What kept a call from being answered, when the server said no status.
pub(super) fn trouble(status: &Status) -> GrpcError {
    use std::error::Error;
    let Some(source) = status.source() else { return GrpcError::Protocol(status.message().to_owned()) };
    match source.downcast_ref::<CallError>() {
        Some(CallError::NotGrpc { .. }) => GrpcError::Protocol(chain(source)),
        Some(CallError::Http(_)) | None => GrpcError::Broken(chain(source)),
    }
}

/// `google.rpc.Status`, of which only the details are not said elsewhere.
#[derive(Clone, PartialEq, Message)]
struct RichStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_reflect::prost_types::Any>,
}

/// The details of a status, each with its type at `@type`. What the descriptions do not know stays bytes, at `value`.
pub(super) fn details(encoded: &[u8], pool: &DescriptorPool) -> Vec<Value> {
    let decoded = RichStatus::decode(encoded).unwrap_or_default();
    let one = |detail: prost_reflect::prost_types::Any| {
        let name = detail.type_url.rsplit('/').next().unwrap_or_default();
        let known = pool.get_message_by_name(name).and_then(|of| {
            let message = DynamicMessage::decode(of, &detail.value[..]).ok()?;
            protobuf::value(&message).ok()
        });
        let kind = ("@type".into(), Value::from(name));
        match known.as_ref().and_then(Value::entries) {
            Some(fields) => {
                let fields = fields.entries.iter().map(|(name, value)| (name.clone(), value.clone()));
                Value::map(std::iter::once(kind).chain(fields))
            }
            None => Value::map([kind, ("value".into(), Value::Bytes(Bytes::from(detail.value)))]),
        }
    };
    decoded.details.into_iter().map(one).collect()
}
