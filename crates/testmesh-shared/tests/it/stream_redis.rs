//! Streams on Redis, and what becomes of them when it is flushed, killed, cut off, stalled, or written to by others.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use testmesh_shared::stream::{Entry, FallbackStream, RedisStream, RedisTarget, Stream, Topic};
use testmesh_shared::tasks::Tasks;
use tokio::time::{Instant, sleep};

use crate::redis_server::{Fault, Keys, Proxy, RedisServer, free_port};

const SOON: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(200);
/// What the fault matrix allows for noticing a server that stalls.
const NOTICED: Duration = Duration::from_secs(2);

fn message(text: &str) -> [String; 1] {
    [text.to_owned()]
}

async fn read(stream: &dyn Stream) -> Vec<Entry> {
    stream.read(Topic::RunFlow, 10, SOON).await.unwrap()
}

/// Publishes until it works, then reads until the message comes; errors in between are what the tests are about.
async fn passes_through(stream: &dyn Stream, text: &str) {
    let deadline = Instant::now() + SOON;
    while let Err(error) = stream.publish(Topic::RunFlow, &message(text)).await {
        assert!(Instant::now() < deadline, "{error}");
        sleep(Duration::from_millis(20)).await;
    }
    loop {
        assert!(Instant::now() < deadline, "`{text}` did not come");
        let Ok(found) = stream.read(Topic::RunFlow, 10, SHORT).await else { continue };
        let ids: Vec<_> = found.iter().map(|entry| entry.id.clone()).collect();
        stream.acknowledge(Topic::RunFlow, &ids).await.unwrap();
        if found.iter().any(|entry| entry.payload == text) {
            return;
        }
    }
}

#[tokio::test]
async fn acknowledged_entries_are_deleted() {
    let Some(keys) = Keys::on_test_server() else { return };
    let stream = keys.stream("a");
    stream.publish(Topic::RunFlow, &["1".to_owned(), "2".to_owned()]).await.unwrap();
    let found = read(&stream).await;
    assert_eq!(keys.len().await, 2);
    let ids: Vec<_> = found.iter().map(|entry| entry.id.clone()).collect();
    stream.acknowledge(Topic::RunFlow, &ids).await.unwrap();
    assert_eq!(keys.len().await, 0);
}

#[tokio::test]
async fn garbage_is_removed_and_messages_still_come() {
    let Some(keys) = Keys::on_test_server() else { return };
    let stream = keys.stream("a");
    let key = keys.run_flow();
    for fields in [&[b"other" as &[u8], b"x"], &[b"payload", b"\xff\xfe"], &[b"\xff", b"\xff"]] {
        keys.command(&[b"XADD", key.as_bytes(), b"*", fields[0], fields[1]]).await;
    }
    stream.publish(Topic::RunFlow, &message("not json")).await.unwrap();
    let found = read(&stream).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].payload, "not json");
    assert_eq!(keys.len().await, 1);
}

#[tokio::test]
async fn foreign_trimming_and_deleting_loses_only_what_was_removed() {
    let Some(keys) = Keys::on_test_server() else { return };
    let stream = keys.stream("a");
    stream.publish(Topic::RunFlow, &message("1")).await.unwrap();
    assert_eq!(read(&stream).await.len(), 1);
    keys.age().await;
    keys.command(&[b"XTRIM", keys.run_flow().as_bytes(), b"MAXLEN", b"0"]).await;
    passes_through(&stream, "2").await;
    keys.command(&[b"DEL", keys.run_flow().as_bytes()]).await;
    passes_through(&stream, "3").await;
}

#[tokio::test]
async fn what_is_under_way_is_not_what_nobody_will_be_given() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let keys = Keys::on(server.url());
    let stream = keys.stream("a");
    let (key, numbers) = (keys.run_flow(), |range: std::ops::Range<usize>| -> Vec<String> {
        range.map(|number| number.to_string()).collect()
    });
    stream.publish(Topic::RunFlow, &numbers(0..2_500)).await.unwrap();
    assert_eq!(stream.read(Topic::RunFlow, 10, SOON).await.unwrap().len(), 10);
    assert_eq!(stream.under_way(Topic::RunFlow, 5_000).await.unwrap().len(), 2_500);
    // With the consumer, nobody knows that these were read.
    keys.command(&[b"XGROUP", b"DELCONSUMER", key.as_bytes(), b"runners", b"a"]).await;
    assert_eq!(stream.under_way(Topic::RunFlow, 5_000).await.unwrap(), numbers(10..2_500));
    keys.command(&[b"XTRIM", key.as_bytes(), b"MAXLEN", b"2"]).await;
    keys.command(&[b"XADD", key.as_bytes(), b"*", b"other", b"x"]).await;
    assert_eq!(stream.under_way(Topic::RunFlow, 5_000).await.unwrap(), numbers(2_498..2_500));
    keys.command(&[b"FLUSHALL"]).await;
    assert!(stream.under_way(Topic::RunFlow, 5_000).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_flush_between_publishing_and_reading_costs_the_message_and_no_more() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let keys = Keys::on(server.url());
    let stream = keys.stream("a");
    passes_through(&stream, "0").await;
    stream.publish(Topic::RunFlow, &message("1")).await.unwrap();
    keys.command(&[b"FLUSHALL"]).await;
    assert_eq!(stream.read(Topic::RunFlow, 10, SHORT).await.unwrap(), []);
    passes_through(&stream, "2").await;
}

#[tokio::test]
async fn a_reader_goes_on_through_a_flush_while_it_waits() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let keys = Keys::on(server.url());
    let (reader, writer) = (keys.stream("a"), keys.stream("b"));
    passes_through(&reader, "0").await;
    let flush_and_publish = async {
        sleep(SHORT).await;
        keys.command(&[b"FLUSHALL"]).await;
        writer.publish(Topic::RunFlow, &message("1")).await.unwrap();
    };
    let (found, ()) = tokio::join!(read(&reader), flush_and_publish);
    assert_eq!(found[0].payload, "1");
}

#[tokio::test]
async fn a_server_that_comes_back_empty_is_used_again() {
    let Some(mut server) = RedisServer::start(&[]).await else { return };
    let stream = Keys::on(server.url()).stream("a");
    passes_through(&stream, "0").await;
    server.kill();
    let began = Instant::now();
    stream.publish(Topic::RunFlow, &message("1")).await.unwrap_err();
    stream.read(Topic::RunFlow, 10, SOON).await.unwrap_err();
    stream.ping().await.unwrap_err();
    assert!(began.elapsed() < NOTICED);
    server.restart().await;
    passes_through(&stream, "2").await;
}

#[tokio::test]
async fn a_reader_that_waits_notices_a_killed_server() {
    let Some(mut server) = RedisServer::start(&[]).await else { return };
    let stream = Keys::on(server.url()).stream("a");
    let kill = async {
        sleep(SHORT).await;
        server.kill();
    };
    let began = Instant::now();
    let (found, ()) = tokio::join!(stream.read(Topic::RunFlow, 10, Duration::from_secs(20)), kill);
    found.unwrap_err();
    assert!(began.elapsed() < NOTICED);
}

#[tokio::test]
async fn a_stall_is_noticed_within_two_seconds_by_everybody() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let proxy = Proxy::before(server.address()).await;
    let stream = Keys::on(format!("redis://{}", proxy.address)).stream("a");
    passes_through(&stream, "0").await;
    let timed = |error: Result<(), testmesh_shared::stream::StreamError>, began: Instant| {
        assert!(error.unwrap_err().to_string().ends_with("does not answer"));
        assert!(began.elapsed() < NOTICED, "noticed after {:?}", began.elapsed());
    };
    // With connections that stand already, and then with none.
    proxy.set(Fault::Stall);
    for _ in 0..2 {
        let began = Instant::now();
        let one = message("1");
        tokio::join!(
            async { timed(stream.publish(Topic::RunFlow, &one).await, began) },
            async { timed(stream.read(Topic::RunFlow, 10, Duration::from_secs(20)).await.map(drop), began) },
            async { timed(stream.acknowledge(Topic::RunFlow, &one).await, began) },
            async { timed(stream.ping().await, began) },
        );
    }
    proxy.set(Fault::None);
    passes_through(&stream, "2").await;
}

#[tokio::test]
async fn cut_connections_are_made_again() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let proxy = Proxy::before(server.address()).await;
    let stream = Keys::on(format!("redis://{}", proxy.address)).stream("a");
    for round in 0..5 {
        passes_through(&stream, &round.to_string()).await;
        proxy.set(Fault::Cut);
        stream.publish(Topic::RunFlow, &message("x")).await.unwrap_err();
        proxy.set(Fault::None);
    }
}

#[tokio::test]
async fn a_slow_network_is_no_fault() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let proxy = Proxy::before(server.address()).await;
    proxy.set(Fault::Delay(Duration::from_millis(60)));
    let stream = Keys::on(format!("redis://{}", proxy.address)).stream("a");
    stream.publish(Topic::RunFlow, &message("1")).await.unwrap();
    assert_eq!(read(&stream).await.len(), 1);
    // Longer than one question to the server takes.
    assert_eq!(stream.read(Topic::RunFlow, 10, Duration::from_millis(2_500)).await.unwrap(), []);
}

#[tokio::test]
async fn no_error_tells_a_password() {
    let Some(server) = RedisServer::start(&["--requirepass", "right-secret"]).await else { return };
    let address = server.address();
    let target =
        |url: String| RedisTarget { url, prefix: String::new(), consumer: "a".to_owned(), ca: None, identity: None };
    let wrong = RedisStream::new(&target(format!("redis://:wrong-secret@{address}/2"))).unwrap();
    let errors = [
        wrong.ping().await.unwrap_err().to_string(),
        wrong.read(Topic::RunFlow, 1, SHORT).await.unwrap_err().to_string(),
        RedisStream::new(&target(format!("redis://:wrong-secret@{address}/no"))).unwrap_err().to_string(),
        RedisStream::new(&target(format!("http://:wrong-secret@{address}"))).unwrap_err().to_string(),
        RedisStream::new(&target(format!("rediss://:wrong-secret@{address}#insecure"))).unwrap_err().to_string(),
        format!("{wrong:?} {:?}", target("redis://:wrong-secret@x".to_owned())),
    ];
    for error in errors {
        assert!(!error.contains("secret"), "{error}");
    }
    let right = RedisStream::new(&target(format!("redis://:right-secret@{address}/2"))).unwrap();
    passes_through(&right, "1").await;
    let user = Keys::on(format!("redis://:right-secret@{address}"));
    user.command(&[b"ACL", b"SETUSER", b"flow", b"on", b">its-secret", b"~testmesh:*", b"+@all", b"-@dangerous"]).await;
    let named = RedisStream::new(&target(format!("redis://flow:its-secret@{address}"))).unwrap();
    passes_through(&named, "2").await;
}

#[tokio::test]
async fn tls_needs_a_certificate_of_the_given_authority() {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ca, certificate) = (file("ca.pem", authority.pem()), file("certificate.pem", certificate.pem()));
    let (key, port) = (file("key.pem", key.serialize_pem()), free_port().to_string());
    let arguments = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let more = ["--tls-ca-cert-file", &ca, "--tls-auth-clients", "no"];
    let Some(_server) = RedisServer::start_in(folder, &[&arguments[..], &more[..]].concat()).await else { return };
    let target = |ca: Option<String>| RedisTarget {
        url: format!("rediss://localhost:{port}"),
        prefix: String::new(),
        consumer: "a".to_owned(),
        ca: ca.map(String::into_bytes),
        identity: None,
    };
    passes_through(&RedisStream::new(&target(Some(authority.pem()))).unwrap(), "1").await;
    let error = RedisStream::new(&target(None)).unwrap().ping().await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn messages_are_handed_over_in_memory_while_redis_is_away() {
    let Some(mut server) = RedisServer::start(&[]).await else { return };
    let tasks = Tasks::new();
    let keys = Keys::on(server.url());
    let stream = FallbackStream::new(keys.stream("a"), &tasks);
    passes_through(&stream, "0").await;
    assert_eq!(stream.note(), None);
    server.kill();
    let began = Instant::now();
    let one = message("1");
    let (found, published) = tokio::join!(read(&stream), stream.publish(Topic::RunFlow, &one));
    published.unwrap();
    assert_eq!(found[0].payload, "1");
    assert!(began.elapsed() < NOTICED, "{:?}", began.elapsed());
    for text in ["2", "3", "4"] {
        passes_through(&stream, text).await;
    }
    stream.ping().await.unwrap();
    let note = stream.note().unwrap();
    assert!(note.contains("handed over in this process"), "{note}");
    server.restart().await;
    let deadline = Instant::now() + SOON;
    while stream.note().is_some() {
        assert!(Instant::now() < deadline, "redis is back, and not used");
        sleep(Duration::from_millis(20)).await;
    }
    // What was read before and not acknowledged is still in memory's books, and no reason to stay there.
    stream.publish(Topic::RunFlow, &message("5")).await.unwrap();
    assert_eq!(keys.len().await, 1);
    assert_eq!(read(&stream).await[0].payload, "5");
    tasks.shutdown().await;
}

#[tokio::test]
async fn a_redis_that_answers_but_takes_nothing_does_not_hold_messages_up() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let keys = Keys::on(server.url());
    let tasks = Tasks::new();
    let stream = FallbackStream::new(keys.stream("a"), &tasks);
    keys.command(&[b"CONFIG", b"SET", b"maxmemory", b"1"]).await;
    passes_through(&stream, "1").await;
    tasks.shutdown().await;
}
