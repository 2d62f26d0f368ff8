//! Asks a server for the descriptions of its services: reflection v1, and v1alpha where there is no v1. The messages of
//! both are the same.

use std::collections::HashSet;

use futures::stream;
use http::Uri;
use http::uri::PathAndQuery;
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_reflect::prost_types::FileDescriptorProto;
use protox::file::{FileResolver, GoogleFileResolver};
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::GrpcError;
use super::call::trouble;
use super::channel::Channel;

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
/// Files that one service may consist of.
const MOST_FILES: usize = 10_000;

/// What a server says about a service.
pub(super) enum Reflected {
    /// Its files and all that they import.
    Service(DescriptorPool),
    /// There is none of this name: these there are.
    Others(Vec<String>),
}

/// Asks for a service by its full name.
pub(super) async fn service(
    channel: &Channel,
    origin: &Uri,
    metadata: &MetadataMap,
    name: &str,
) -> Result<Reflected, GrpcError> {
    for path in [V1, V1_ALPHA] {
        let server = Server { channel, origin, metadata, path };
        let outcome = match server.files(name).await {
            Err(Refused::NoSymbol) => server.names().await.map(Reflected::Others),
            outcome => outcome.map(Reflected::Service),
        };
        match outcome {
            Err(Refused::NoReflection) => {}
            Err(Refused::NoSymbol) => return Ok(Reflected::Others(Vec::new())),
            Err(Refused::Failed(error)) => return Err(error),
            Ok(reflected) => return Ok(reflected),
        }
    }
    let text = "the server does not offer reflection: name a `proto_file` or a `descriptor_set`";
    Err(GrpcError::Config(text.to_owned()))
}

/// Why there is no answer.
enum Refused {
    /// The server does not have this version of reflection.
    NoReflection,
    /// It does not have what was asked for.
    NoSymbol,
    Failed(GrpcError),
}

impl From<GrpcError> for Refused {
    fn from(error: GrpcError) -> Self {
        Self::Failed(error)
    }
}

fn protocol(text: &str) -> Refused {
    Refused::Failed(GrpcError::Protocol(format!("reflection: {text}")))
}

/// A server that speaks one version of reflection, or not.
struct Server<'a> {
    channel: &'a Channel,
    origin: &'a Uri,
    metadata: &'a MetadataMap,
    path: &'static str,
}

impl Server<'_> {
    /// The files of a service and all that they import.
    async fn files(&self, name: &str) -> Result<DescriptorPool, Refused> {
        let mut call = self.call(MessageRequest::FileContainingSymbol(name.to_owned())).await?;
        let mut files = Files::default();
        match call.answer().await? {
            MessageResponse::FileDescriptorResponse(first) => files.add(first.file_descriptor_proto)?,
            other => return Err(unexpected(&other)),
        }
        while let Some(missing) = files.next_missing() {
            // What every client has need not be asked for, and some servers leave it out.
            if let Ok(known) = GoogleFileResolver::new().open_file(&missing) {
                files.take(known.file_descriptor_proto().clone())?;
                continue;
            }
            call.ask(MessageRequest::FileByFilename(missing.clone())).await?;
            match call.answer().await? {
                MessageResponse::FileDescriptorResponse(more) => files.add(more.file_descriptor_proto)?,
                other => return Err(unexpected(&other)),
            }
        }
        files.pool()
    }

    /// The names of the services, without reflection's own.
    async fn names(&self) -> Result<Vec<String>, Refused> {
        let mut call = self.call(MessageRequest::ListServices(String::new())).await?;
        match call.answer().await? {
            MessageResponse::ListServicesResponse(list) => {
                let names = list.service.into_iter().map(|service| service.name);
                Ok(names.filter(|name| !name.starts_with("grpc.reflection.")).collect())
            }
            other => Err(unexpected(&other)),
        }
    }

    /// A call with its first question: some servers send no head before they were asked something.
    async fn call(&self, question: MessageRequest) -> Result<Call, Refused> {
        let channel = self.channel.again();
        let (questions, waiting) = mpsc::channel(1);
        let waiting = stream::unfold(waiting, async |mut waiting: mpsc::Receiver<_>| {
            let question = waiting.recv().await?;
            Some((question, waiting))
        });
        let mut request = Request::new(waiting);
        *request.metadata_mut() = self.metadata.clone();
        let mut grpc = Grpc::with_origin(channel.clone(), self.origin.clone());
        grpc.ready().await.map_err(|error| GrpcError::Broken(error.to_string()))?;
        ask(&questions, question).await?;
        let codec = ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::default();
        let answers = grpc.streaming(request, PathAndQuery::from_static(self.path), codec).await;
        let answers = answers.map_err(|status| refused(&channel, &status))?.into_inner();
        Ok(Call { channel, questions, answers })
    }
}

/// Questions and answers, one at a time.
struct Call {
    channel: Channel,
    questions: mpsc::Sender<ServerReflectionRequest>,
    answers: Streaming<ServerReflectionResponse>,
}

impl Call {
    async fn ask(&self, question: MessageRequest) -> Result<(), Refused> {
        ask(&self.questions, question).await
    }

    async fn answer(&mut self) -> Result<MessageResponse, Refused> {
        let answer = self.answers.message().await.map_err(|status| refused(&self.channel, &status))?;
        let answer = answer.and_then(|answer| answer.message_response);
        match answer.ok_or_else(|| protocol("the answer is empty"))? {
            MessageResponse::ErrorResponse(error) if error.error_code == Code::NotFound as i32 => {
                Err(Refused::NoSymbol)
            }
            answer => Ok(answer),
        }
    }
}

/// What a status says. Some servers answer a name that they do not know with one.
fn refused(channel: &Channel, status: &Status) -> Refused {
    if !channel.said() {
        return Refused::Failed(trouble(status));
    }
    match status.code() {
        Code::Unimplemented => Refused::NoReflection,
        Code::NotFound => Refused::NoSymbol,
        code => protocol(&format!("it was refused: {} ({})", super::code_name(code), status.message())),
    }
}

async fn ask(questions: &mpsc::Sender<ServerReflectionRequest>, question: MessageRequest) -> Result<(), Refused> {
    let question = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let ended = |_| GrpcError::Broken("the server ended the reflection call".to_owned());
    Ok(questions.send(question).await.map_err(ended)?)
}

fn unexpected(answer: &MessageResponse) -> Refused {
    protocol(&match answer {
        MessageResponse::ErrorResponse(error) => {
            let code = super::code_name(Code::from(error.error_code));
            format!("it was refused: {code} ({})", error.error_message)
        }
        _ => "the answer is to another question".to_owned(),
    })
}

/// Files of descriptions, and those that are still missing.
#[derive(Default)]
struct Files {
    names: HashSet<String>,
    list: Vec<FileDescriptorProto>,
    missing: Vec<String>,
}

impl Files {
    fn add(&mut self, encoded: Vec<Vec<u8>>) -> Result<(), Refused> {
        for bytes in encoded {
            let decoded = FileDescriptorProto::decode(&bytes[..]);
            self.take(decoded.map_err(|error| protocol(&format!("a description cannot be read: {error}")))?)?;
        }
        Ok(())
    }

    fn take(&mut self, file: FileDescriptorProto) -> Result<(), Refused> {
        if self.list.len() >= MOST_FILES {
            return Err(protocol(&format!("the service has more than {MOST_FILES} files")));
        }
        if self.names.insert(file.name().to_owned()) {
            self.missing.extend(file.dependency.iter().cloned());
            self.list.push(file);
        }
        Ok(())
    }

    fn next_missing(&mut self) -> Option<String> {
        while let Some(name) = self.missing.pop() {
            if !self.names.contains(&name) {
                return Some(name);
            }
        }
        None
    }

    fn pool(self) -> Result<DescriptorPool, Refused> {
        let mut pool = DescriptorPool::new();
        let added = pool.add_file_descriptor_protos(self.list);
        added.map_err(|error| protocol(&format!("the descriptions do not fit together: {error}")))?;
        Ok(pool)
    }
}
