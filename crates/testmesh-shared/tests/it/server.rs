//! Servers on the loopback interface that the tests talk to.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use testmesh_shared::tasks::Tasks;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A server and how many connections it took.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Hands every connection to `serve`, with its number from 0.
    pub(crate) async fn raw<F>(serve: impl Fn(TcpStream, usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let tasks = Tasks::new();
        tasks.clone().spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tasks.spawn(serve(stream, counter.fetch_add(1, Ordering::SeqCst)));
            }
        });
        Self { address, connections }
    }

    /// Answers every request on every connection with these bytes, and keeps the connection open.
    pub(crate) async fn canned(answer: impl Into<Bytes>) -> Self {
        let answer = answer.into();
        Self::raw(move |stream, _| {
            let answer = answer.clone();
            async move {
                let mut stream = BufReader::new(stream);
                while read_request(&mut stream).await.is_some() {
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Serves `app` over HTTP/1.1 and HTTP/2, by TLS if there is a configuration.
    pub(crate) async fn app(app: Router, tls: Option<ServerConfig>) -> Self {
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        Self::raw(move |stream, _| {
            let (app, acceptor) = (app.clone(), acceptor.clone());
            async move {
                match acceptor {
                    None => serve_app(stream, app).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve_app(stream, app).await;
                        }
                    }
                }
            }
        })
        .await
    }
}

async fn serve_app(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, app: Router) {
    let builder = auto::Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)).await;
}

/// The head of a request, its body read and left out; `None` when the client hung up.
pub(crate) async fn read_request(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(head)
}

/// A GET request.
pub(crate) fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

/// An answer with a length.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// An application that tells the version of HTTP it is spoken to in.
pub(crate) fn version_app() -> Router {
    Router::new().fallback(|request: Request<axum::body::Body>| async move {
        Response::new(axum::body::Body::from(format!("{:?} {}", request.version(), request.uri())))
    })
}
