//! Connections of the HTTP client: shared, closed, broken.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use testmesh_shared::http::{ConnectionOptions, HttpClient, HttpError, HttpErrorKind, HttpVersion};
use testmesh_shared::net::{Connector, NetPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use crate::server::{Server, get, ok, read_request, version_app};

/// Long enough for a loaded machine, short enough for a test that fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn client() -> HttpClient {
    HttpClient::new(Connector::default())
}

async fn text(client: &HttpClient, url: &str, options: &ConnectionOptions) -> String {
    let response = client.send(get(url), options).await.unwrap().collect(1 << 20).await.unwrap();
    String::from_utf8(response.body.to_vec()).unwrap()
}

#[tokio::test]
async fn requests_one_after_the_other_share_a_connection() {
    let server = Server::canned(ok("hello")).await;
    let (client, options) = (client(), ConnectionOptions::default());
    for n in 0..50 {
        let response = client.send(get(&server.url("/")), &options).await.unwrap();
        assert_eq!(response.timings.connect.is_some(), n == 0, "only the first request connects");
        assert_eq!(response.collect(100).await.unwrap().body, "hello");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_empty_answer_gives_its_connection_back() {
    let server = Server::canned("HTTP/1.1 204 No Content\r\n\r\n").await;
    let (client, options) = (client(), ConnectionOptions::default());
    for _ in 0..3 {
        // The body is never asked for: there is none.
        let response = client.send(get(&server.url("/")), &options).await.unwrap();
        assert_eq!(response.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn requests_at_the_same_time_have_connections_of_their_own_in_http_1_and_share_one_in_http_2() {
    for (version, most) in [(HttpVersion::Http1, 8), (HttpVersion::Http2, 1)] {
        let server = Server::app(version_app(), None).await;
        let (client, options) = (client(), ConnectionOptions { version, ..ConnectionOptions::default() });
        let url = server.url("/x");
        text(&client, &url, &options).await;
        futures::future::join_all((0..8).map(|_| text(&client, &url, &options))).await;
        assert!(server.connections() <= most, "{version:?}: {} connections", server.connections());
    }
}

#[tokio::test]
async fn http_2_is_spoken_by_prior_knowledge_when_asked_for() {
    let server = Server::app(version_app(), None).await;
    let url = server.url("/x?y=1");
    let authority = server.address;
    for (version, expect) in [
        (HttpVersion::Auto, "HTTP/1.1 /x?y=1".to_owned()),
        (HttpVersion::Http1, "HTTP/1.1 /x?y=1".to_owned()),
        (HttpVersion::Http2, format!("HTTP/2.0 http://{authority}/x?y=1")),
    ] {
        let options = ConnectionOptions { version, ..ConnectionOptions::default() };
        assert_eq!(text(&client(), &url, &options).await, expect);
    }
}

#[tokio::test]
async fn the_host_header_is_the_urls_unless_set() {
    let (heads, mut seen) = mpsc::unbounded_channel();
    let server = Server::raw(move |stream, _| {
        let heads = heads.clone();
        async move {
            let mut stream = BufReader::new(stream);
            while let Some(head) = read_request(&mut stream).await {
                heads.send(head).unwrap();
                stream.write_all(ok("").as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let client = client();
    client.send(get(&server.url("/a")), &ConnectionOptions::default()).await.unwrap();
    let mut request = get(&server.url("/b"));
    request.headers_mut().insert("host", "shop.test".parse().unwrap());
    client.send(request, &ConnectionOptions::default()).await.unwrap();
    assert!(seen.recv().await.unwrap().contains(&format!("host: {}\r\n", server.address)));
    let second = seen.recv().await.unwrap();
    assert!(second.starts_with("GET /b HTTP/1.1\r\n") && second.contains("host: shop.test\r\n"), "{second}");
}

/// A server that reads a request, may send `answer`, and then tells when the client has hung up.
async fn until_closed(answer: &'static str) -> (Server, mpsc::UnboundedReceiver<&'static str>) {
    let (events, seen) = mpsc::unbounded_channel();
    let server = Server::raw(move |stream, _| {
        let events = events.clone();
        async move {
            let mut stream = BufReader::new(stream);
            read_request(&mut stream).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            events.send("asked").unwrap();
            let mut rest = Vec::new();
            // Ends with the connection, in order or by a reset.
            let _ = stream.read_to_end(&mut rest).await;
            events.send("closed").unwrap();
        }
    })
    .await;
    (server, seen)
}

async fn expect_event(seen: &mut mpsc::UnboundedReceiver<&'static str>, event: &str) {
    let next = tokio::time::timeout(PATIENCE, seen.recv()).await;
    assert_eq!(next.unwrap_or_else(|_| panic!("no `{event}` within {PATIENCE:?}")), Some(event));
}

#[tokio::test]
async fn a_request_that_is_dropped_closes_its_connection() {
    let (server, mut seen) = until_closed("").await;
    let (client, options) = (client(), ConnectionOptions::default());
    {
        let request = client.send(get(&server.url("/")), &options);
        tokio::select! {
            _ = request => panic!("the server never answers"),
            () = expect_event(&mut seen, "asked") => {}
        }
    }
    expect_event(&mut seen, "closed").await;
}

#[tokio::test]
async fn an_answer_that_is_dropped_closes_its_connection() {
    let (server, mut seen) = until_closed("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nfirst").await;
    let client = client();
    let mut response = client.send(get(&server.url("/")), &ConnectionOptions::default()).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "first");
    expect_event(&mut seen, "asked").await;
    drop(response);
    expect_event(&mut seen, "closed").await;
}

#[tokio::test]
async fn dropping_the_client_closes_idle_connections() {
    let (server, mut seen) = until_closed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
    let client = client();
    assert_eq!(text(&client, &server.url("/"), &ConnectionOptions::default()).await, "hi");
    expect_event(&mut seen, "asked").await;
    drop(client);
    expect_event(&mut seen, "closed").await;
}

#[tokio::test]
async fn a_pooled_connection_that_the_server_closed_is_replaced() {
    let (closed, mut seen) = mpsc::unbounded_channel();
    let server = Server::raw(move |stream, n| {
        let closed = closed.clone();
        async move {
            let mut stream = BufReader::new(stream);
            read_request(&mut stream).await.unwrap();
            stream.write_all(ok(&n.to_string()).as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            closed.send(()).unwrap();
        }
    })
    .await;
    let (client, options) = (client(), ConnectionOptions::default());
    for n in 0..3 {
        let mut request = Request::post(server.url("/")).body(Bytes::from_static(b"once")).unwrap();
        *request.version_mut() = Version::HTTP_11;
        let response = client.send(request, &options).await.unwrap().collect(10).await.unwrap();
        assert_eq!(response.body, n.to_string());
        seen.recv().await.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_may_have_been_processed_is_not_sent_again() {
    let (asked, mut seen) = mpsc::unbounded_channel();
    let server = Server::raw(move |stream, _| {
        let asked = asked.clone();
        async move {
            let mut stream = BufReader::new(stream);
            read_request(&mut stream).await.unwrap();
            stream.write_all(ok("hi").as_bytes()).await.unwrap();
            // The second request is read, and never answered.
            if read_request(&mut stream).await.is_some() {
                asked.send(()).unwrap();
            }
        }
    })
    .await;
    let (client, options) = (client(), ConnectionOptions::default());
    assert_eq!(text(&client, &server.url("/"), &options).await, "hi");
    let error = client.send(get(&server.url("/")), &options).await.unwrap_err();
    assert!(matches!(error, HttpError::Closed(_)), "{error:?}");
    seen.recv().await.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn what_is_no_http_is_a_protocol_error_and_what_breaks_off_a_connection_error() {
    for (answer, kind) in [
        ("220 mail.test ESMTP\r\n\r\n", HttpErrorKind::Protocol),
        ("HTTP/1.1 abc Nonsense\r\n\r\n", HttpErrorKind::Protocol),
        ("HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n", HttpErrorKind::Protocol),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", HttpErrorKind::Protocol),
        ("", HttpErrorKind::Connection),
        ("HTTP/1.1 200 OK\r\nContent-", HttpErrorKind::Connection),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive", HttpErrorKind::Connection),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", HttpErrorKind::Connection),
    ] {
        let server = Server::raw(move |stream, _| async move {
            let mut stream = BufReader::new(stream);
            read_request(&mut stream).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let outcome = match client().send(get(&server.url("/")), &ConnectionOptions::default()).await {
            Ok(response) => response.collect(1000).await.map(|response| response.body),
            Err(error) => Err(error),
        };
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), kind, "{answer:?}: {error:?}");
    }
}

#[tokio::test]
async fn http_2_offered_to_a_server_of_http_1_is_an_error() {
    let server = Server::canned("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let options = ConnectionOptions { version: HttpVersion::Http2, ..ConnectionOptions::default() };
    let outcome = tokio::time::timeout(PATIENCE, client().send(get(&server.url("/")), &options)).await.unwrap();
    assert_eq!(outcome.unwrap_err().kind(), HttpErrorKind::Protocol);
}

#[tokio::test]
async fn a_refused_connection_and_a_denied_one_are_told_apart() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{unused}/");
    let refused = client().send(get(&url), &ConnectionOptions::default()).await.unwrap_err();
    assert_eq!(refused.kind(), HttpErrorKind::Connection);
    assert_eq!(refused.to_string(), format!("cannot connect to `{unused}`"));
    let policy = NetPolicy::open().with_denied("127.0.0.0/8, ::1").unwrap();
    let denied = HttpClient::new(Connector::new(policy)).send(get(&url), &ConnectionOptions::default()).await;
    assert_eq!(denied.unwrap_err().kind(), HttpErrorKind::Policy);
}
