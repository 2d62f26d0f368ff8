//! The NATS actions in flows, against a real server.

use testmesh_runner::record::{ErrorKind, StepRecord, StepStatus};
use testmesh_shared::net::NetPolicy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::run::{Setting, each, fails, named_server, passed, run_steps, run_steps_in};
use crate::secure::{Start, in_front_of, says};

fn url() -> Option<String> {
    named_server("TESTMESH_TEST_NATS", "NATS")
}

/// `host:port` of a URL.
fn address(url: &str) -> String {
    url.rsplit('@').next().unwrap().to_owned()
}

/// Runs steps in which `URL` is the server and `SUBJECT` starts this test's subjects.
async fn run(steps: &str) -> Option<Vec<StepRecord>> {
    Some(run_steps(&at(&url()?, steps)).await)
}

fn at(url: &str, steps: &str) -> String {
    let subject = testmesh_shared::ids::new_uuid(&testmesh_shared::clock::SystemClock).simple().to_string();
    steps.replace("URL", url).replace("SUBJECT", &subject)
}

#[tokio::test]
async fn what_is_published_reaches_who_subscribed_before() {
    let Some(records) = run(r#"
- action: parallel
  config:
    branches:
      - name: listener
        steps:
          - id: heard
            action: nats_subscribe
            config: {url: URL, subject: "SUBJECT.>", count: 2, timeout: 20s, match: {subject: SUBJECT.b, headers: {n: "1"}, json_path: ["$.id > 1", "value.id < 9"]}}
            assert:
              - count == 2
              - messages[0].value.id == 2
              - messages[0].value_raw == '{"id":2}'
              - messages[0].subject == "SUBJECT.b"
              - messages[0].headers.n == "1"
              - messages[1].value.id == 3
            output: {first: $.id}
      - name: speaker
        steps:
          # While nobody listens, the server says so.
          - id: until_somebody_listens
            action: nats.request
            config: {url: URL, subject: SUBJECT.probe, timeout: 100ms}
            retry: {max_attempts: 20, delay: 50ms, retry_on: error.kind == "protocol"}
            on_error: continue
          - {action: nats.publish, config: {url: URL, subject: SUBJECT.a, headers: {n: 1}, payload: {id: 2}}}
          - {action: nats.publish, config: {url: URL, subject: SUBJECT.b, headers: {n: 2}, payload: {id: 2}}}
          - {action: nats.publish, config: {url: URL, subject: SUBJECT.b, headers: {n: 1}, payload: {id: 1}}}
          - {action: nats.publish, config: {url: URL, subject: SUBJECT.b, headers: {n: 1}, payload: {id: 2}}}
          - action: nats.publish
            config: {url: URL, subject: SUBJECT.b, headers: {n: 1}, payload: {id: 3}}
            assert: [bytes == 8, "subject endsWith '.b'"]
"#)
    .await
    else {
        return;
    };
    let waited = records.iter().position(|record| record.id == "until_somebody_listens").unwrap();
    assert_eq!(records[waited].status, StepStatus::Tolerated, "{:#?}", records[waited]);
    passed(&[&records[..waited], &records[waited + 1..]].concat());
}

#[tokio::test]
async fn requests_are_answered_and_silence_is_told_at_once() {
    let Some(url) = url() else { return };
    let (host, subject) = (address(&url), "prices.get");
    // Somebody who answers, over the protocol itself.
    let mut service = tokio::net::TcpStream::connect(&host).await.unwrap();
    let hello = format!(
        "CONNECT {{\"verbose\":false,\"user\":\"testmesh\",\"pass\":\"secret\",\"headers\":true}}\r\nSUB {subject} 1\r\nPING\r\n"
    );
    service.write_all(hello.as_bytes()).await.unwrap();
    let mut heard = String::new();
    while !heard.contains("PONG") {
        heard.push_str(&read(&mut service).await);
    }
    let answering = async {
        let mut heard = String::new();
        while !heard.contains("A1") {
            heard.push_str(&read(&mut service).await);
        }
        let inbox = heard.split_whitespace().find(|word| word.starts_with("_INBOX.")).unwrap().to_owned();
        service.write_all(format!("PUB {inbox} 12\r\n{{\"amount\":3}}\r\n").as_bytes()).await.unwrap();
    };
    let steps = r#"
- id: price
  action: nats.request
  config: {url: URL, subject: prices.get, payload: {sku: A1}, headers: {x: y}, timeout: 20s}
  assert: [value.amount == 3, 'value_raw == "{\"amount\":3}"', "duration_ms >= 0"]
  output: {amount: $.amount}
- {id: nobody, action: nats.request, config: {url: URL, subject: SUBJECT, timeout: 20s}}
- {id: after, action: nats.publish, config: {url: URL, subject: SUBJECT, payload: "${amount}"}}
"#;
    let steps = at(&url, steps);
    let (records, ()) = tokio::join!(run_steps(&steps), answering);
    passed(&[records[0].clone(), records[2].clone()]);
    fails(&records[1], ErrorKind::Protocol, "nobody answers requests to");
}

async fn read(stream: &mut tokio::net::TcpStream) -> String {
    let mut part = [0; 4096];
    let length = stream.read(&mut part).await.unwrap();
    assert!(length > 0, "the server hung up");
    String::from_utf8_lossy(&part[..length]).into_owned()
}

#[tokio::test]
async fn too_few_messages_are_a_time_out_unless_few_are_enough() {
    let Some(records) = run(r"
- {id: none, action: nats_subscribe, config: {url: URL, subject: SUBJECT, timeout: 300ms}}
- {id: fine, action: nats.consume, config: {url: URL, subject: SUBJECT, timeout: 300ms, min_count: 0, queue: workers}, assert: [count == 0]}
")
    .await
    else {
        return;
    };
    fails(&records[0], ErrorKind::Timeout, "0 of 1 messages of `");
    passed(&records[1..]);
}

#[tokio::test]
async fn refusals_are_told_with_the_cause_and_without_the_password() {
    let Some(url) = url() else { return };
    let limited = url.replace("testmesh:", "limited:");
    let wrong = url.replace("secret", "wr0ng");
    let steps = format!(
        r#"
- {{id: wrong_password, action: nats_publish, config: {{url: "{wrong}", subject: a}}}}
- {{id: no_user, action: nats_subscribe, config: {{url: "nats://{}", subject: a, timeout: 5s}}}}
- {{id: may_not_publish, action: nats_publish, config: {{url: "{limited}", subject: denied.a, payload: x}}}}
- {{id: may_not_subscribe, action: nats_subscribe, config: {{url: "{limited}", subject: denied.a, timeout: 5s}}}}
- {{id: may_publish, action: nats_publish, config: {{url: "{limited}", subject: allowed.a, payload: x}}}}
- {{id: too_large, action: nats_publish, config: {{url: URL, subject: a, payload: "{}"}}}}
- {{id: not_a_subject, action: nats_publish, config: {{url: URL, subject: "a b"}}}}
- {{id: not_for_publishing, action: nats_publish, config: {{url: URL, subject: "a.*"}}}}
- {{id: not_a_header, action: nats_publish, config: {{url: URL, subject: a, headers: {{"a:b": c}}}}}}
- {{id: not_nats, action: nats_publish, config: {{url: "http://localhost", subject: a}}}}
"#,
        address(&url),
        "x".repeat(70_000)
    );
    let records = run_steps(&at(&url, &steps)).await;
    let expected = [
        (ErrorKind::Connection, "Authorization Violation"),
        (ErrorKind::Connection, "Authorization Violation"),
        (ErrorKind::Protocol, "Permissions Violation for Publish to \"denied.a\""),
        (ErrorKind::Protocol, "Permissions Violation for Subscription to \"denied.a\""),
        (ErrorKind::Internal, ""),
        (ErrorKind::Protocol, "the message has 70000 bytes, and the server takes 65536 at most"),
        (ErrorKind::Config, "`subject` is `a b`, which is no subject"),
        (ErrorKind::Config, "`subject` is `a.*`"),
        (ErrorKind::Config, "`headers`: `a:b` is no header"),
        (ErrorKind::Config, "`url` is `http://…`: it takes `nats://`"),
    ];
    each(&records, &expected);
}

#[tokio::test]
async fn connections_can_be_secure_and_strangers_are_not_believed() {
    let Some(url) = url() else { return };
    let front = in_front_of(address(&url), Start::AfterInfo).await;
    let steps = format!(
        "- {{action: nats_publish, config: {{url: 'tls://testmesh:secret@{front}', verify_tls: false, subject: a, payload: x}}}}\n\
         - {{action: nats_publish, config: {{url: 'nats://testmesh:secret@{front}', verify_tls: false, subject: a}}}}\n\
         - {{action: nats_publish, config: {{url: 'tls://testmesh:secret@{front}', subject: a}}}}\n"
    );
    let records = run_steps(&steps).await;
    passed(&records[..2]);
    fails(&records[2], ErrorKind::Connection, "the TLS handshake with `127.0.0.1` failed");
}

#[tokio::test]
async fn a_token_is_sent_wherever_it_is_written() {
    for config in ["url: 'nats://t0ken@ADDRESS'", "url: 'nats://ADDRESS', token: t0ken"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = config.replace("ADDRESS", &listener.local_addr().unwrap().to_string());
        let steps = format!("- {{action: nats_publish, config: {{{config}, subject: a}}}}\n");
        let server = async {
            let (mut client, _) = listener.accept().await.unwrap();
            client.write_all(b"INFO {\"headers\":true}\r\n").await.unwrap();
            let mut heard = String::new();
            while heard.matches("PING").count() < 2 {
                let part = read(&mut client).await;
                client.write_all("PONG\r\n".repeat(part.matches("PING").count()).as_bytes()).await.unwrap();
                heard.push_str(&part);
            }
            heard
        };
        let (records, heard) = tokio::join!(run_steps(&steps), server);
        passed(&records);
        assert!(heard.contains("\"auth_token\":\"t0ken\"") && heard.contains("\"user\":null"), "{heard}");
    }
}

#[tokio::test]
async fn servers_that_are_away_deaf_or_strange_are_told() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closes = says(b"INFO {}\r\n", b"").await;
    let strange = says(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"").await;
    let garbage = says(b"INFO {}\r\n", b"PONG\r\nMSG a 1 x\r\n").await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = (silent.local_addr().unwrap(), silent);
    for (address, kind, part) in [
        (unused, ErrorKind::Connection, unused.to_string()),
        (closes, ErrorKind::Connection, "the server closed the connection".to_owned()),
        (strange, ErrorKind::Connection, "`HTTP/1.1`, which is not NATS".to_owned()),
        (garbage, ErrorKind::Connection, "which is not NATS".to_owned()),
        (silent.0, ErrorKind::Timeout, "not done within 300ms".to_owned()),
    ] {
        let url = format!("nats://me:secret@{address}");
        let limit = if kind == ErrorKind::Timeout { "300ms" } else { "20s" };
        let steps = format!(
            "- {{id: \"x{}\", action: nats_publish, config: {{url: '{url}', subject: a, timeout: {limit}}}}}\n",
            address.port()
        );
        fails(&run_steps(&steps).await[0], kind, &part);
    }
    let policy = NetPolicy::server(&[unused]);
    let steps = format!("- {{action: nats_publish, config: {{url: 'nats://{unused}', subject: a}}}}\n");
    let records = run_steps_in(&steps, Setting { policy, ..Setting::default() }).await;
    fails(&records[0], ErrorKind::Policy, "is denied by the network policy");
}

#[tokio::test]
async fn waiting_ends_when_the_run_is_cancelled() {
    let Some(url) = url() else { return };
    let steps = at(&url, "- {id: wait, action: nats_subscribe, config: {url: URL, subject: SUBJECT, timeout: 10m}}\n");
    let setting = Setting { cancel_at: Some("wait"), ..Setting::default() };
    let running = tokio::time::timeout(std::time::Duration::from_secs(10), run_steps_in(&steps, setting));
    assert_eq!(running.await.unwrap()[0].status, StepStatus::Cancelled);
}
