//! The AMQP actions in flows, against RabbitMQ.

use testmesh_runner::record::{ErrorKind, StepStatus};
use testmesh_shared::net::NetPolicy;

use crate::run::{Setting, each, fails, named_server, passed, run_steps, run_steps_in};
use crate::secure::{Start, in_front_of, says};

fn url() -> Option<String> {
    named_server("TESTMESH_TEST_AMQP", "RabbitMQ")
}

/// `host:port` of a URL.
fn address(url: &str) -> String {
    url.rsplit('@').next().unwrap().to_owned()
}

/// Steps in which `URL` is the broker, and `NAME` starts the names of this test's queues and exchanges.
fn at(url: &str, steps: &str) -> String {
    let name = testmesh_shared::ids::new_uuid(&testmesh_shared::clock::SystemClock).simple().to_string();
    steps.replace("URL", &format!("'{url}'")).replace("NAME", &name)
}

#[tokio::test]
async fn what_is_published_is_taken_from_its_queue_and_the_rest_stays() {
    let Some(url) = url() else { return };
    let steps = r#"
- action: amqp_declare
  config: {url: URL, exchange: NAME, exchange_type: topic, queue: NAME.q, routing_key: "order.#", arguments: {x-expires: 60000, x-max-length: 100}}
  assert: [message_count == 0, consumer_count == 0, "queue endsWith '.q'"]
- action: amqp.publish
  config:
    url: URL
    exchange: NAME
    routing_key: order.created
    payload: {id: 1}
    headers: {source: test, n: 7, deep: {list: [1, "a", true, 1.5, null]}}
    correlation_id: c1
    reply_to: answers
    message_id: m1
    type: created
    app_id: test
    priority: 3
    expiration: 1h
  assert: [routed == true, bytes == 8]
  output: {sent: $.id}
- {action: amqp.publish, config: {url: URL, exchange: NAME, routing_key: order.paid, payload: {id: 2}}, assert: routed}
- {action: amqp.publish, config: {url: URL, exchange: NAME, routing_key: order.created, payload: plain text, persistent: false}, assert: routed}
- {action: amqp.publish, config: {url: URL, exchange: NAME, routing_key: bill.paid, payload: x}, assert: [routed == false]}
- {id: unrouted, action: amqp.publish, config: {url: URL, exchange: NAME, routing_key: bill.paid, mandatory: true}}
- id: second
  action: amqp_consume
  config: {url: URL, queue: NAME.q, timeout: 20s, match: {routing_key: order.paid, json_path: ["$.id == 2"]}}
  assert: ["messages[0].value.id == 2", "messages[0].redelivered == false", "messages[0].content_type == 'application/json'"]
- id: kept
  action: amqp_consume
  config: {url: URL, queue: NAME.q, timeout: 20s, ack: false, match: {headers: {source: test}}}
  assert: ["messages[0].value.id == 1"]
- id: first
  action: amqp.consume
  config: {url: URL, queue: NAME.q, timeout: 20s}
  assert:
    - messages[0].value.id == 1
    - messages[0].value_raw == '{"id":1}'
    - messages[0].routing_key == "order.created"
    - messages[0].headers.n == 7
    - messages[0].headers.deep.list == [1, "a", true, 1.5, null]
    - messages[0].correlation_id == "c1"
    - messages[0].reply_to == "answers"
    - messages[0].message_id == "m1"
    - messages[0].type == "created"
    - messages[0].app_id == "test"
    - messages[0].priority == 3
    - messages[0].redelivered == true
    - sent == 1
  output: {id: $.id}
- id: look
  action: amqp_get
  config: {url: URL, queue: NAME.q, ack: false}
  assert: [empty == false, left == 0, "message.value == 'plain text'", id == 1]
- {action: amqp.get, config: {url: URL, queue: NAME.q}, assert: ["message.value == 'plain text'", message.redelivered == true]}
- {action: amqp.get, config: {url: URL, queue: NAME.q}, assert: [empty == true, message is null]}
- {action: amqp_declare, config: {url: URL, queue: NAME.q, passive: true}, assert: [message_count == 0]}
- {action: amqp_delete, config: {url: URL, queue: NAME.q, exchange: NAME}, assert: [message_count == 0]}
- {action: amqp_delete, config: {url: URL, queue: NAME.q, exchange: NAME}}
- {id: gone, action: amqp_declare, config: {url: URL, queue: NAME.q, passive: true}}
"#;
    let records = run_steps(&at(&url, steps)).await;
    let (failed, fine): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|record| ["unrouted", "gone"].contains(&record.id.as_str()));
    passed(&fine);
    fails(&failed[0], ErrorKind::Protocol, "no queue takes messages of exchange `");
    fails(&failed[1], ErrorKind::Protocol, "NOT_FOUND - no queue '");
}

#[tokio::test]
async fn an_exchange_is_listened_to_through_a_queue_that_leaves_no_trace() {
    let Some(url) = url() else { return };
    let steps = r#"
- {action: amqp_declare, config: {url: URL, exchange: NAME, exchange_type: topic, auto_delete: true}}
- action: parallel
  config:
    branches:
      - name: listener
        steps:
          - id: heard
            action: amqp_subscribe
            config: {url: URL, exchange: NAME, routing_key: 'a.*', count: 2, timeout: 20s, match: {json_path: ['$ != 0']}}
            assert: ["messages[0].value == 'x'", "messages[1].routing_key == 'a.d'"]
      - name: speaker
        steps:
          # Nobody takes it until the listener's queue is bound.
          - action: amqp_publish
            config: {url: URL, exchange: NAME, routing_key: a.probe, payload: '0'}
            assert: routed
            retry: {max_attempts: 20, delay: 50ms}
          - {action: amqp_publish, config: {url: URL, exchange: NAME, routing_key: a.b, payload: x}, assert: routed}
          - {action: amqp_publish, config: {url: URL, exchange: NAME, routing_key: b.c, payload: y}, assert: [routed == false]}
          - {action: amqp_publish, config: {url: URL, exchange: NAME, routing_key: a.d, payload: z}, assert: routed}
- {id: gone, action: amqp_declare, config: {url: URL, exchange: NAME, passive: true}}
"#;
    let records = run_steps(&at(&url, steps)).await;
    passed(&records[..records.len() - 1]);
    fails(records.last().unwrap(), ErrorKind::Protocol, "NOT_FOUND - no exchange '");
}

#[tokio::test]
async fn large_messages_come_in_many_frames() {
    let Some(url) = url() else { return };
    let steps = "
- {action: amqp_declare, config: {url: URL, queue: NAME, arguments: {x-expires: 60000}}}
- {action: amqp_publish, config: {url: URL, queue: NAME, payload: BIG}, assert: [routed, bytes == 600000]}
- {action: amqp_consume, config: {url: URL, queue: NAME, timeout: 20s}, assert: ['len(messages[0].value) == 600000']}
- {action: amqp_delete, config: {url: URL, queue: NAME}}
";
    passed(&run_steps(&at(&url, &steps.replace("BIG", &"x".repeat(600_000)))).await);
}

#[tokio::test]
async fn refusals_are_told_with_the_cause_and_without_the_password() {
    let Some(url) = url() else { return };
    let wrong = url.replace("secret", "wr0ng");
    let long = "x".repeat(256);
    let steps = format!(
        r#"
- {{id: wrong_password, action: amqp_publish, config: {{url: "{wrong}", routing_key: a}}}}
- {{id: no_vhost, action: amqp_publish, config: {{url: "{url}/nowhere", routing_key: a}}}}
- {{id: no_exchange, action: amqp_publish, config: {{url: URL, exchange: NAME, routing_key: a}}}}
- {{id: no_queue, action: amqp_consume, config: {{url: URL, queue: NAME, timeout: 5s}}}}
- {{id: no_queue_to_get, action: amqp_get, config: {{url: URL, queue: NAME}}}}
- {{id: no_exchange_to_hear, action: amqp_consume, config: {{url: URL, exchange: NAME, timeout: 5s}}}}
- {{id: too_few, action: amqp_consume, config: {{url: URL, exchange: amq.topic, routing_key: NAME, timeout: 300ms}}}}
- {{id: fine, action: amqp_consume, config: {{url: URL, exchange: amq.topic, routing_key: NAME, timeout: 300ms, min_count: 0}}, assert: count == 0}}
- {{id: long, action: amqp_publish, config: {{url: URL, routing_key: "{long}"}}}}
- {{id: nothing, action: amqp_declare, config: {{url: URL}}}}
- {{id: both, action: amqp_consume, config: {{url: URL, queue: a, exchange: b}}}}
- {{id: neither, action: amqp_consume, config: {{url: URL}}}}
- {{id: not_amqp, action: amqp_publish, config: {{url: "http://localhost", routing_key: a}}}}
"#
    );
    let records = run_steps(&at(&url, &steps)).await;
    let expected = [
        (ErrorKind::Connection, "ACCESS_REFUSED"),
        (ErrorKind::Connection, "NOT_ALLOWED - vhost nowhere not found"),
        (ErrorKind::Protocol, "NOT_FOUND - no exchange '"),
        (ErrorKind::Protocol, "NOT_FOUND - no queue '"),
        (ErrorKind::Protocol, "NOT_FOUND - no queue '"),
        (ErrorKind::Protocol, "NOT_FOUND - no exchange '"),
        (ErrorKind::Timeout, "0 of 1 messages of `amq.topic` within 300ms"),
        (ErrorKind::Internal, ""),
        (ErrorKind::Config, "`routing_key` takes at most 255 bytes"),
        (ErrorKind::Config, "`exchange` or `queue` must say what to declare"),
        (ErrorKind::Config, "`queue` and `exchange` exclude each other"),
        (ErrorKind::Config, "`queue` or `exchange` must say where messages come from"),
        (ErrorKind::Config, "`url` is `http://…`: it takes `amqp://` or `amqps://`"),
    ];
    each(&records, &expected);
}

#[tokio::test]
async fn connections_can_be_secure_and_strangers_are_not_believed() {
    let Some(url) = url() else { return };
    let front = in_front_of(address(&url), Start::AtOnce).await;
    let steps = format!(
        "- {{action: amqp_publish, config: {{url: 'amqps://testmesh:secret@{front}', verify_tls: false, routing_key: a}}}}\n\
         - {{action: amqp_publish, config: {{url: 'amqps://testmesh:secret@{front}', routing_key: a}}}}\n"
    );
    let records = run_steps(&steps).await;
    passed(&records[..1]);
    fails(&records[1], ErrorKind::Connection, "the TLS handshake with `127.0.0.1` failed");
}

#[tokio::test]
async fn servers_that_are_away_deaf_or_strange_are_told() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closes = says(b"", b"").await;
    let strange = says(b"", b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let newer = says(b"", b"AMQP\0\x01\0\0").await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = (silent.local_addr().unwrap(), silent);
    for (address, kind, part) in [
        (unused, ErrorKind::Connection, unused.to_string()),
        (closes, ErrorKind::Connection, "the server closed the connection".to_owned()),
        (strange, ErrorKind::Connection, "which is not AMQP 0-9-1".to_owned()),
        (newer, ErrorKind::Connection, "it says another version of AMQP".to_owned()),
        (silent.0, ErrorKind::Timeout, "not done within 300ms".to_owned()),
    ] {
        let limit = if kind == ErrorKind::Timeout { "300ms" } else { "20s" };
        let steps = format!(
            "- {{action: amqp_publish, config: {{url: 'amqp://me:secret@{address}', routing_key: a, timeout: {limit}}}}}\n"
        );
        fails(&run_steps(&steps).await[0], kind, &part);
    }
    let policy = NetPolicy::server(&[unused]);
    let steps = format!("- {{action: amqp_publish, config: {{url: 'amqp://{unused}', routing_key: a}}}}\n");
    let records = run_steps_in(&steps, Setting { policy, ..Setting::default() }).await;
    fails(&records[0], ErrorKind::Policy, "is denied by the network policy");
}

#[tokio::test]
async fn waiting_ends_when_the_run_is_cancelled() {
    let Some(url) = url() else { return };
    let steps = at(
        &url,
        "- {id: wait, action: amqp_consume, config: {url: URL, exchange: amq.topic, routing_key: NAME, timeout: 10m}}\n",
    );
    let setting = Setting { cancel_at: Some("wait"), ..Setting::default() };
    let running = tokio::time::timeout(std::time::Duration::from_secs(10), run_steps_in(&steps, setting));
    assert_eq!(running.await.unwrap()[0].status, StepStatus::Cancelled);
}
