//! Bodies of answers: streamed, collected, bounded, unpacked.

use async_compression::tokio::write::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use testmesh_shared::http::{ConnectionOptions, FullResponse, HttpError};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::http::client;
use crate::server::{Server, get};

async fn packed(coding: &str, body: &[u8]) -> Vec<u8> {
    async fn finish(mut encoder: impl AsyncWrite + Unpin, body: &[u8]) {
        encoder.write_all(body).await.unwrap();
        encoder.shutdown().await.unwrap();
    }
    let mut out = Vec::new();
    match coding {
        "gzip" => finish(GzipEncoder::new(&mut out), body).await,
        "zlib" => finish(ZlibEncoder::new(&mut out), body).await,
        "deflate" => finish(DeflateEncoder::new(&mut out), body).await,
        "br" => finish(BrotliEncoder::new(&mut out), body).await,
        "zstd" => finish(ZstdEncoder::new(&mut out), body).await,
        _ => out.extend_from_slice(body),
    }
    out
}

async fn answer(head: &str, body: &[u8], limit: u64) -> Result<FullResponse, HttpError> {
    let mut canned = format!("HTTP/1.1 200 OK\r\n{head}\r\n").into_bytes();
    canned.extend_from_slice(body);
    let server = Server::canned(canned).await;
    client().send(get(&server.url("/")), &ConnectionOptions::default()).await?.collect(limit).await
}

async fn coded(coding: &str, body: &[u8], limit: u64) -> Result<FullResponse, HttpError> {
    answer(&format!("Content-Encoding: {coding}\r\nContent-Length: {}\r\n", body.len()), body, limit).await
}

#[tokio::test]
async fn every_coding_is_undone() {
    let text = "TestMesh ".repeat(1000);
    for (name, packing) in [
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("deflate", "zlib"),
        ("deflate", "deflate"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("identity", ""),
    ] {
        let body = packed(packing, text.as_bytes()).await;
        let response = coded(name, &body, 1 << 20).await.unwrap();
        assert_eq!(response.body, text, "{name} as {packing}");
        assert_eq!(response.wire_size, body.len() as u64);
    }
    let twice = packed("br", &packed("gzip", text.as_bytes()).await).await;
    assert_eq!(coded("gzip, br", &twice, 1 << 20).await.unwrap().body, text);
}

#[tokio::test]
async fn a_coding_that_is_not_known_leaves_the_body_as_it_is() {
    assert_eq!(coded("compress", b"as it came", 100).await.unwrap().body, "as it came");
}

#[tokio::test]
async fn a_small_body_that_unpacks_to_more_than_the_limit_is_refused() {
    let zeros = vec![0; 4 << 20];
    for (name, packing) in [("gzip", "gzip"), ("deflate", "zlib"), ("br", "br"), ("zstd", "zstd")] {
        let bomb = packed(packing, &zeros).await;
        assert!(bomb.len() < 32 << 10, "{name} packs to {}", bomb.len());
        let error = coded(name, &bomb, 256 << 10).await.unwrap_err();
        assert!(matches!(error, HttpError::TooLarge { limit: 262_144 }), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_its_coding_says_is_refused() {
    for name in ["gzip", "br", "zstd", "deflate"] {
        let error = coded(name, b"\xff\xff not packed at all", 100).await.unwrap_err();
        assert!(matches!(&error, HttpError::Decode { coding, .. } if *coding == name), "{name}: {error:?}");
    }
    let half = packed("gzip", b"whole").await;
    let error = coded("gzip", &half[..half.len() - 4], 100).await.unwrap_err();
    assert!(matches!(error, HttpError::Decode { .. }), "{error:?}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_is_framed() {
    for (head, body, limit, fits) in [
        ("Content-Length: 10\r\n", "0123456789", 10, true),
        ("Content-Length: 10\r\n", "0123456789", 9, false),
        ("Transfer-Encoding: chunked\r\n", "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n", 10, true),
        ("Transfer-Encoding: chunked\r\n", "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n", 9, false),
        // Far more than is ever sent: refused before a byte of it is read.
        ("Content-Length: 99999999999999\r\n", "0", 1 << 30, false),
    ] {
        let outcome = answer(head, body.as_bytes(), limit).await;
        match outcome {
            Ok(response) => assert!(fits && response.body == "0123456789", "{head:?} {limit}"),
            Err(error) => assert!(!fits && matches!(error, HttpError::TooLarge { .. }), "{head:?} {limit}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn pieces_of_a_body_are_given_as_they_arrive() {
    let (more, release) = tokio::sync::oneshot::channel::<()>();
    let release = std::sync::Mutex::new(Some(release));
    let server = Server::raw(move |mut stream, _| {
        let release = release.lock().unwrap().take().unwrap();
        async move {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await.unwrap();
            release.await.unwrap();
            stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let client = client();
    let mut response = client.send(get(&server.url("/")), &ConnectionOptions::default()).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "one");
    more.send(()).unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "two");
    assert!(response.chunk().await.unwrap().is_none());
    assert!(response.chunk().await.unwrap().is_none(), "the end stays the end");
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_whatever_it_announces() {
    let server = Server::canned("HTTP/1.1 200 OK\r\nContent-Length: 500\r\nContent-Encoding: gzip\r\n\r\n").await;
    let client = client();
    for _ in 0..2 {
        let mut request = get(&server.url("/"));
        *request.method_mut() = http::Method::HEAD;
        let response = client.send(request, &ConnectionOptions::default()).await.unwrap().collect(10).await.unwrap();
        assert!(response.body.is_empty());
    }
    assert_eq!(server.connections(), 1);
}
