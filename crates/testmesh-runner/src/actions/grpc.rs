//! `grpc`: calls a method of any kind, described by the server itself, by `.proto` files or by a descriptor set.
//!
//! The client is a library over HTTP/2 on a socket that the run's connector opened. What a server says is data; an error
//! is that it said nothing.

mod call;
mod channel;
mod codec;
mod find;
mod link;
mod protos;
mod reflection;
mod spec;
mod target;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use testmesh_shared::net::NetError;
use testmesh_shared::tls::TlsError;
use tonic::metadata::{
    AsciiMetadataKey, AsciiMetadataValue, BinaryMetadataKey, BinaryMetadataValue, KeyAndValueRef, MetadataMap,
};
use tonic::{Code, Status};

use self::call::{Answer, Call};
use self::channel::{Channels, Peer};
use self::find::{Finder, Named};
use self::protos::Described;
use super::http_request::chain;
use super::protobuf;
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Shown};
use crate::engine::{ActionContext, Resolved};
use crate::record::ErrorKind;
use crate::units::show_duration;
use crate::value::{Map, Shape, Value};

/// Names whose values are not shown in the record.
const SECRET: [&str; 4] = ["authorization", "cookie", "x-api-key", "api-key"];
const HIDDEN: &str = "***";

static RESULT: Shape<10> = Shape::new([
    "status_code",
    "status",
    "status_message",
    "details",
    "body",
    "count",
    "messages",
    "metadata",
    "trailers",
    "duration_ms",
]);

/// Why there is no answer.
#[derive(Debug)]
enum GrpcError {
    /// There is no connection, or it broke.
    Broken(String),
    /// What came is not gRPC, or not what the description says.
    Protocol(String),
    Denied(String),
    Config(String),
}

impl GrpcError {
    fn into_action_error(self, address: &str) -> ActionError {
        let (kind, message) = match self {
            GrpcError::Broken(message) => (ErrorKind::Connection, message),
            GrpcError::Protocol(message) => (ErrorKind::Protocol, message),
            GrpcError::Denied(message) => (ErrorKind::Policy, message),
            GrpcError::Config(message) => (ErrorKind::Config, message),
        };
        ActionError::new(kind, format!("`{address}`: {message}"))
    }
}

impl From<NetError> for GrpcError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Denied { .. } => Self::Denied(error.to_string()),
            NetError::Resolve { .. } | NetError::Connect { .. } => Self::Broken(chain(&error)),
        }
    }
}

impl From<TlsError> for GrpcError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Settings { .. } => Self::Config(error.to_string()),
            TlsError::Handshake { .. } => Self::Broken(chain(&error)),
        }
    }
}

/// An error that has its target's name yet to come, or needs none.
enum Failure {
    OfTarget(GrpcError),
    Complete(ActionError),
}

impl From<GrpcError> for Failure {
    fn from(error: GrpcError) -> Self {
        Self::OfTarget(error)
    }
}

impl From<ActionError> for Failure {
    fn from(error: ActionError) -> Self {
        Self::Complete(error)
    }
}

/// The action.
pub(crate) struct Grpc;

#[async_trait]
impl Action for Grpc {
    fn spec(&self) -> &'static ActionSpec {
        &spec::SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let step = Step::read(cx, &config).await?;
        cx.note_request(step.request());
        let since = Instant::now();
        let limit = config.duration("timeout")?;
        let calling = step.call(cx, &config);
        let outcome = match limit {
            None => calling.await,
            Some(limit) => tokio::time::timeout(limit, calling).await.unwrap_or_else(|_| {
                let text = format!("`{}`: no answer within {}", step.asked.peer.shown, show_duration(limit));
                Err(ActionError::new(ErrorKind::Timeout, text).into())
            }),
        };
        let error = match outcome {
            Ok((answer, method)) => return Ok(result(step.request(), answer, &method, since)),
            Err(Failure::OfTarget(error)) => error.into_action_error(&step.asked.peer.shown),
            Err(Failure::Complete(error)) => error,
        };
        let partial = ActionResult { request: step.request(), ..ActionResult::default() };
        Err(ActionError { partial: Some(Box::new(partial)), ..error })
    }
}

/// A step, as it is configured.
struct Step {
    channels: Arc<Channels>,
    asked: Arc<Asked>,
    described: Option<Described>,
    deadline: Option<Duration>,
    max_messages: Option<usize>,
}

/// What the step's record is made of, when somebody looks.
struct Asked {
    peer: Arc<Peer>,
    named: Named,
    metadata: MetadataMap,
}

impl Step {
    async fn read(cx: &ActionContext<'_>, config: &Resolved) -> Result<Self, ActionError> {
        let mut metadata = read_metadata(config)?;
        if !metadata.contains_key("traceparent")
            && let Ok(traceparent) = cx.traceparent().parse()
        {
            metadata.insert("traceparent", traceparent);
        }
        let channels = cx.resource(Channels::default);
        let peer = channels.read(config, cx.files()).await?;
        Ok(Self {
            channels,
            asked: Arc::new(Asked { peer, named: Named::read(config)?, metadata }),
            described: Described::read(config)?,
            deadline: config.duration("deadline")?,
            max_messages: config.integer("max_messages")?.map(|count| usize::try_from(count).unwrap_or(1)),
        })
    }

    async fn call(&self, cx: &ActionContext<'_>, config: &Resolved) -> Result<(Answer, MethodDescriptor), Failure> {
        let (channels, Asked { peer, named, metadata }) = (&*self.channels, &*self.asked);
        let origin = peer.origin()?;
        let finder = Finder { cx, channels, peer, origin, metadata };
        let method = finder.method(named, self.described.as_ref()).await?;
        let call = Call {
            method: &method,
            messages: messages(config, &method)?,
            metadata: metadata.clone(),
            deadline: self.deadline,
            max_messages: self.max_messages,
        };
        let channel = channels.open(cx.connector(), peer).await?;
        let answer = call.make(channel, origin.clone()).await?;
        Ok((answer, method))
    }

    /// For the record.
    fn request(&self) -> Shown {
        let asked = Arc::clone(&self.asked);
        Shown::Later(Arc::new(move || asked.value()))
    }
}

impl Asked {
    fn value(&self) -> Value {
        let mut shown = shown_metadata(&self.metadata);
        for (name, value) in std::mem::take(&mut shown.entries) {
            let value = if SECRET.contains(&&*name) { Value::from(HIDDEN) } else { value };
            shown.entries.insert(name, value);
        }
        let mut entries = vec![
            ("address", Value::Text(self.peer.shown.clone())),
            ("service", Value::from(self.named.service.as_str())),
            ("method", Value::from(self.named.method.as_str())),
            ("metadata", Value::Map(shown.into())),
        ];
        if self.peer.target.tls.as_ref().is_some_and(|tls| !tls.verify) {
            entries.push(("verify_tls", Value::Bool(false)));
        }
        Value::map(entries)
    }
}

fn result(request: Shown, answer: Answer, method: &MethodDescriptor, since: Instant) -> ActionResult {
    let status = answer.status.unwrap_or_else(|| Status::new(Code::Ok, ""));
    let body = answer.messages.first().cloned().unwrap_or_default();
    let details = call::details(status.details(), method.parent_pool());
    let took = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    let result = RESULT.map([
        Value::Int(i64::from(i32::from(status.code()))),
        Value::from(code_name(status.code())),
        Value::from(status.message()),
        Value::list(details),
        body.clone(),
        Value::from(answer.messages.len()),
        Value::list(answer.messages),
        Value::Map(shown_metadata(&answer.metadata).into()),
        Value::Map(shown_metadata(&answer.trailers).into()),
        Value::from(took),
    ]);
    ActionResult { request, response: result.clone().into(), result, primary: Some(body) }
}

/// The messages that go up.
fn messages(config: &Resolved, method: &MethodDescriptor) -> Result<Vec<DynamicMessage>, Failure> {
    let (streams, input) = (method.is_client_streaming(), method.input());
    let one = |value: &Value, path: &str| {
        let parsed = match value {
            Value::Text(text) => Value::from_json_bytes(text.as_bytes().clone())
                .map_err(|error| GrpcError::Config(format!("`{path}` is text, but no JSON: {error}")))?,
            Value::Null => Value::map::<&str>([]),
            value => value.clone(),
        };
        protobuf::message(&input, &parsed, path).map_err(|problem| Failure::from(GrpcError::Config(problem)))
    };
    let (key, given) = match (config.value("requests"), config.value("request")) {
        (Some(_), Some(_)) => {
            return Err(GrpcError::Config("`request` and `requests` are both given".to_owned()).into());
        }
        (Some(_), None) => ("requests", config.list("requests")?),
        (None, Some(list)) if streams && list.is_list() => ("request", config.list("request")?),
        (None, Some(value)) => return Ok(vec![one(value, "request")?]),
        (None, None) if streams => return Ok(Vec::new()),
        (None, None) => return Ok(vec![one(&Value::Null, "request")?]),
    };
    if !streams && given.len() != 1 {
        let (name, count) = (method.full_name(), given.len());
        return Err(GrpcError::Config(format!("`{name}` takes one message, not {count} (`{key}`)")).into());
    }
    given.iter().enumerate().map(|(at, value)| one(value, &format!("{key}[{at}]"))).collect()
}

fn read_metadata(config: &Resolved) -> Result<MetadataMap, ActionError> {
    let mut metadata = MetadataMap::new();
    for (name, value) in &config.map("metadata")? {
        let wrong = |problem: &str| ActionError::new(ErrorKind::Config, format!("`metadata` has `{name}`, {problem}"));
        let name_in_small = name.to_ascii_lowercase();
        if name_in_small.starts_with("grpc-") {
            return Err(wrong("but names that begin with `grpc-` are the protocol's own"));
        }
        let several = value.items();
        let values = several.as_ref().map_or(std::slice::from_ref(value), |items| items.as_slice());
        for value in values.iter().filter(|value| !value.is_null()) {
            if name_in_small.ends_with("-bin") {
                let key = BinaryMetadataKey::from_bytes(name_in_small.as_bytes());
                let bytes = match value {
                    Value::Bytes(bytes) => bytes.to_vec(),
                    value => STANDARD
                        .decode(value.to_text().unwrap_or_default().as_bytes())
                        .map_err(|_| wrong("whose value is no base64"))?,
                };
                let key = key.map_err(|_| wrong("which is no name"))?;
                metadata.append_bin(key, BinaryMetadataValue::from_bytes(&bytes));
            } else {
                let key = AsciiMetadataKey::from_bytes(name_in_small.as_bytes());
                let text = value.to_text().unwrap_or_default();
                let text = AsciiMetadataValue::try_from(&*text);
                let key = key.map_err(|_| wrong("which is no name"))?;
                metadata.append(key, text.map_err(|_| wrong("whose value is not ASCII"))?);
            }
        }
    }
    Ok(metadata)
}

/// Metadata as a map; of a name that comes several times, the values with commas between them.
fn shown_metadata(metadata: &MetadataMap) -> Map {
    let mut map = Map { ignore_case: true, ..Map::default() };
    for entry in metadata.iter() {
        let name = match &entry {
            KeyAndValueRef::Ascii(name, _) => name.as_str(),
            KeyAndValueRef::Binary(name, _) => name.as_str(),
        };
        // What HTTP and gRPC themselves say is in the status.
        if matches!(name, "content-type" | "grpc-status" | "grpc-message" | "grpc-status-details-bin") {
            continue;
        }
        let value = match entry {
            KeyAndValueRef::Ascii(_, value) => Value::from(&*String::from_utf8_lossy(value.as_encoded_bytes())),
            KeyAndValueRef::Binary(_, value) => value.to_bytes().map_or(Value::Null, Value::Bytes),
        };
        let value = match (map.entries.get(name), &value) {
            (Some(Value::Text(before)), Value::Text(text)) => Value::from(format!("{before}, {text}")),
            _ => value,
        };
        map.entries.insert(name.into(), value);
    }
    map
}

/// The name of a status as the specification writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
