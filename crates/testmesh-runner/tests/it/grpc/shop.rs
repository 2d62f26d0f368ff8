//! The gRPC service that steps are tried on: tonic's own server and reflection, its messages described at run time.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::post;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, ServiceDescriptor, Value};
use protox::Compiler;
use testmesh_shared::tasks::Tasks;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::server::{Grpc, StreamingService};
use tonic::{Code, Status, Streaming};

/// What the service says of itself.
pub(crate) const PROTO: &str = r#"
syntax = "proto3";
package shop.v1;
import "google/protobuf/timestamp.proto";

service Shop {
  rpc Echo(Product) returns (Product);
  rpc Refuse(Product) returns (Product);
  rpc Wait(Product) returns (Product);
  rpc List(Product) returns (stream Product);
  rpc Endless(Product) returns (stream Product);
  rpc Fail(Product) returns (stream Product);
  rpc Sum(stream Product) returns (Product);
  rpc Chat(stream Product) returns (stream Product);
}

message Product {
  string product_id = 1;
  int64 stock = 2;
  uint64 serial = 3;
  bool active = 4;
  repeated string tags = 5;
  google.protobuf.Timestamp made_at = 6;
  Kind kind = 7;
  Product part = 8;
}

enum Kind {
  KIND_UNKNOWN = 0;
  KIND_BOOK = 1;
}
"#;

/// How the service describes itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reflects {
    V1,
    V1Alpha,
    Not,
}

/// A running service.
pub(crate) struct Shop {
    pub(crate) address: SocketAddr,
    pub(crate) watched: Watched,
    tasks: Tasks,
}

/// What the tests see of the service.
#[derive(Clone, Default)]
pub(crate) struct Watched {
    pub(crate) connections: Arc<AtomicUsize>,
    /// A call of `Wait` has come.
    pub(crate) waiting: Arc<Notify>,
    /// It is gone.
    pub(crate) gone: Arc<Notify>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
    }
}

impl Shop {
    pub(crate) async fn start(reflects: Reflects) -> Self {
        Self::start_with(reflects, None).await
    }

    pub(crate) async fn start_with(reflects: Reflects, tls: Option<TlsAcceptor>) -> Self {
        let watched = Watched::default();
        let app = app(reflects, watched.clone());
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let listener = Listener { tcp, tls, connections: Arc::clone(&watched.connections) };
        let tasks = Tasks::new();
        let cancelled = tasks.cancelled().clone();
        tasks.spawn(async move { cancelled.run_until_cancelled(async { axum::serve(listener, app).await }).await });
        Self { address, watched, tasks }
    }
}

/// The descriptor set of [`PROTO`], imports included.
pub(crate) fn descriptor_set() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shop.proto"), PROTO).unwrap();
    let mut compiler = Compiler::new([folder.path()]).unwrap();
    compiler.include_imports(true).open_file(folder.path().join("shop.proto")).unwrap();
    compiler.encode_file_descriptor_set()
}

fn app(reflects: Reflects, watched: Watched) -> Router {
    let set = descriptor_set();
    let pool = prost_reflect::DescriptorPool::decode(&set[..]).unwrap();
    let service = pool.get_service_by_name("shop.v1.Shop").unwrap();
    let unimplemented = async || Status::unimplemented("").into_http::<axum::body::Body>();
    let router = Router::new()
        .route("/shop.v1.Shop/{method}", post(call))
        .fallback(unimplemented)
        .with_state((service, watched));
    let builder = tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(&set);
    match reflects {
        Reflects::V1 => {
            router.route_service("/grpc.reflection.v1.ServerReflection/{method}", builder.build_v1().unwrap())
        }
        Reflects::V1Alpha => {
            router.route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", builder.build_v1alpha().unwrap())
        }
        Reflects::Not => router,
    }
}

async fn call(
    Path(method): Path<String>,
    State((service, watched)): State<(ServiceDescriptor, Watched)>,
    request: Request,
) -> Response {
    let method = service.methods().find(|known| known.name() == method).unwrap();
    let codec = Dynamic(method.input());
    let handler = Handler { method: method.name().to_owned(), watched };
    Grpc::new(codec).streaming(handler, request).await.map(axum::body::Body::new)
}

struct Handler {
    method: String,
    watched: Watched,
}

type Answers = Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>>;

impl StreamingService<DynamicMessage> for Handler {
    type Response = DynamicMessage;
    type ResponseStream = Answers;
    type Future = BoxFuture<'static, Result<tonic::Response<Answers>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<DynamicMessage>>) -> Self::Future {
        let (method, watched) = (self.method.clone(), self.watched.clone());
        Box::pin(async move {
            let (metadata, _, messages) = request.into_parts();
            let mut response = tonic::Response::new(answer(&method, watched, messages).await?);
            for name in ["x-user", "grpc-timeout", "traceparent"] {
                if let Some(value) = metadata.get(name) {
                    response
                        .metadata_mut()
                        .insert(if name == "grpc-timeout" { "x-timeout" } else { name }, value.clone());
                }
            }
            if let Some(value) = metadata.get_bin("x-raw-bin") {
                response.metadata_mut().insert_bin("x-raw-bin", value.clone());
            }
            Ok(response)
        })
    }
}

async fn answer(method: &str, watched: Watched, mut messages: Streaming<DynamicMessage>) -> Result<Answers, Status> {
    if method == "Chat" {
        return Ok(messages.map_ok(|message| with_stock(message, |stock| stock * 2)).boxed());
    }
    if method == "Sum" {
        let all: Vec<DynamicMessage> = messages.try_collect().await?;
        let sum = all.iter().map(stock).sum::<i64>();
        let count = all.len();
        let first = all.into_iter().next().ok_or_else(|| Status::invalid_argument("nothing to add up"))?;
        let mut answer = with_stock(first, |_| sum);
        answer.set_field_by_name("serial", Value::U64(count as u64));
        return Ok(stream::iter([Ok(answer)]).boxed());
    }
    let first = messages.message().await?.unwrap();
    match method {
        "Echo" => Ok(stream::iter([Ok(first)]).boxed()),
        "Refuse" => Err(refusal(&first)),
        "List" => Ok(stream::iter((1..=3).map(move |n| Ok(with_stock(first.clone(), |_| n)))).boxed()),
        "Endless" => Ok(stream::iter((1..).map(move |n| Ok(with_stock(first.clone(), |_| n)))).boxed()),
        "Fail" => {
            let broken = Status::resource_exhausted("enough");
            Ok(stream::iter([Ok(first), Err(broken)]).boxed())
        }
        "Wait" => {
            let _gone = Gone(watched.gone);
            watched.waiting.notify_one();
            std::future::pending().await
        }
        other => panic!("`{other}` is not described"),
    }
}

struct Gone(Arc<Notify>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn stock(message: &DynamicMessage) -> i64 {
    message.get_field_by_name("stock").unwrap().as_i64().unwrap()
}

fn with_stock(mut message: DynamicMessage, change: impl Fn(i64) -> i64) -> DynamicMessage {
    let stock = change(stock(&message));
    message.set_field_by_name("stock", Value::I64(stock));
    message
}

/// `google.rpc.Status` with a `Product` and a type that nobody knows as details.
fn refusal(about: &DynamicMessage) -> Status {
    #[derive(Clone, PartialEq, Message)]
    struct Rich {
        #[prost(message, repeated, tag = "3")]
        details: Vec<Any>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        value: Vec<u8>,
    }
    let any = |name: &str, value| Any { type_url: format!("type.googleapis.com/{name}"), value };
    let details = vec![any("shop.v1.Product", about.encode_to_vec()), any("shop.v1.Unknown", vec![1, 2])];
    let mut metadata = MetadataMap::new();
    metadata.insert("x-shelf", MetadataValue::from_static("12"));
    let id = about.get_field_by_name("product_id").unwrap().as_str().unwrap().to_owned();
    let message = format!("there is no product `{id}`");
    Status::with_details_and_metadata(Code::NotFound, message, Rich { details }.encode_to_vec().into(), metadata)
}

struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(self.0.clone())
    }

    fn decoder(&mut self) -> Self {
        Self(self.0.clone())
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(out).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.0.clone(), bytes).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Counts the connections, and makes them secure.
struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    connections: Arc<AtomicUsize>,
}

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

impl axum::serve::Listener for Listener {
    type Io = Box<dyn Transport>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address): (TcpStream, _) = self.tcp.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            self.connections.fetch_add(1, Ordering::Relaxed);
            match &self.tls {
                None => return (Box::new(stream), address),
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        return (Box::new(stream), address);
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
