//! The service that the benchmarks send requests to: small documents, a slow one, a large one, on a free port.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Size of the large document, in bytes (about).
const BIG: usize = 50 * 1024 * 1024;

/// Serves until the runtime ends.
pub(super) async fn serve() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let big = big_document();
    #[allow(clippy::disallowed_methods, reason = "the target lives as long as the benchmark's runtime")]
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let big = big.clone();
            #[allow(clippy::disallowed_methods, reason = "a connection ends with its client")]
            tokio::spawn(async move {
                let answer = service_fn(move |request| respond(request, big.clone()));
                // A client that goes away is how every benchmark ends.
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
    Ok(address)
}

async fn respond(request: Request<Incoming>, big: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let body = match path.strip_prefix("/chain/").and_then(|link| link.parse::<u64>().ok()) {
        Some(link) => Bytes::from(format!(
            r#"{{"id":{link},"next":{},"name":"link {link}","tags":["a","b"],"price":59.98}}"#,
            link + 1
        )),
        None if path == "/one" => Bytes::from_static(br#"{"id":1,"name":"one","ok":true}"#),
        None if path == "/slow" => {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Bytes::from_static(br#"{"ok":true}"#)
        }
        None if path == "/big" => big,
        None => {
            let mut missing = Response::new(Full::new(Bytes::from_static(b"{}")));
            *missing.status_mut() = StatusCode::NOT_FOUND;
            return Ok(missing);
        }
    };
    let mut response = Response::new(Full::new(body));
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    Ok(response)
}

fn big_document() -> Bytes {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(BIG + 1024);
    text.push_str(r#"{"kind":"orders","items":["#);
    let mut number = 0_u64;
    while text.len() < BIG {
        if number > 0 {
            text.push(',');
        }
        let _ = write!(
            text,
            r#"{{"id":{number},"name":"item number {number}","price":{}.25,"tags":["red","blue"],"stock":{{"here":{},"there":null}}}}"#,
            number % 1000,
            number % 77
        );
        number += 1;
    }
    let _ = write!(text, r#"],"total":{number}}}"#);
    Bytes::from(text)
}
