//! The limits: the same sockets with nothing of TestMesh around them. HTTP/1.1 by hyper, a question and an answer of the
//! size of a flow; gRPC by tonic, a health check, which is its smallest call.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use testmesh_shared::http::TaskExecutor;
use testmesh_shared::tasks::Tasks;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::Failure;
use crate::served::listen;

/// Answers every HTTP request with `answer`.
pub(crate) async fn serve_http(answer: Bytes, tasks: &Tasks) -> Result<SocketAddr, Failure> {
    accept(tasks, move |stream, _| {
        let answer = answer.clone();
        let respond = service_fn(move |request: Request<Incoming>| {
            let answer = answer.clone();
            async move {
                request.into_body().collect().await?;
                Ok::<_, hyper::Error>(Response::new(Full::new(answer)))
            }
        });
        async move {
            // A client that goes away is how the measurement ends.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, respond).await;
        }
    })
    .await
}

/// Answers gRPC health checks.
pub(crate) async fn serve_grpc(tasks: &Tasks) -> Result<SocketAddr, Failure> {
    let health = HealthServer::new(HealthService::from_health_reporter(HealthReporter::new()));
    accept(tasks, move |stream, tasks| {
        let health = health.clone();
        let respond = service_fn(move |request: Request<Incoming>| {
            let mut health = health.clone();
            async move { Ok::<_, Infallible>(health.call(request).await.unwrap_or_else(|never| match never {})) }
        });
        async move {
            let server = hyper::server::conn::http2::Builder::new(TaskExecutor(tasks));
            // A client that goes away is how the measurement ends.
            let _ = server.serve_connection(stream, respond).await;
        }
    })
    .await
}

/// Accepts connections until the tasks are to end.
async fn accept<F>(
    tasks: &Tasks,
    converse: impl Fn(TokioIo<TcpStream>, Tasks) -> F + Send + 'static,
) -> Result<SocketAddr, Failure>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listen().await?;
    let accepting = tasks.clone();
    tasks.spawn(async move {
        let stop = accepting.cancelled().clone();
        while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
            if stream.set_nodelay(true).is_ok() {
                let (conversation, stop) = (converse(TokioIo::new(stream), accepting.clone()), stop.clone());
                accepting.spawn(async move { stop.run_until_cancelled(conversation).await });
            }
        }
    });
    Ok(address)
}

async fn connect(address: SocketAddr) -> Result<TokioIo<TcpStream>, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

/// A connection that speaks HTTP/1.1.
pub(crate) struct BareHttp {
    sender: http1::SendRequest<Full<Bytes>>,
    question: Bytes,
}

impl BareHttp {
    pub(crate) async fn open(address: SocketAddr, question: String, tasks: &Tasks) -> Result<Self, Failure> {
        let (sender, connection) = http1::handshake(connect(address).await?).await?;
        tasks.spawn(connection);
        Ok(Self { sender, question: question.into() })
    }

    /// Asks; whether something came.
    pub(crate) async fn call(&mut self) -> Result<bool, Failure> {
        let question = Full::new(self.question.clone());
        let request = Request::post("/").header("host", "localhost").body(question)?;
        let answer = self.sender.send_request(request).await?.into_body().collect().await?.to_bytes();
        Ok(!answer.is_empty())
    }
}

/// A connection that speaks gRPC.
pub(crate) struct BareGrpc {
    client: HealthClient<Link>,
}

impl BareGrpc {
    pub(crate) async fn open(address: SocketAddr, tasks: &Tasks) -> Result<Self, Failure> {
        let builder = http2::Builder::new(TaskExecutor(tasks.clone()));
        let (link, connection) = builder.handshake(connect(address).await?).await?;
        tasks.spawn(connection);
        let origin: Uri = format!("http://{address}").parse()?;
        Ok(Self { client: HealthClient::with_origin(Link(link), origin) })
    }

    /// Asks; whether an answer came.
    pub(crate) async fn call(&mut self) -> Result<bool, Failure> {
        self.client.check(HealthCheckRequest::default()).await?;
        Ok(true)
    }
}

/// The connection as the generated client uses it.
#[derive(Clone)]
struct Link(http2::SendRequest<Body>);

impl Service<Request<Body>> for Link {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Response<Incoming>, hyper::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
