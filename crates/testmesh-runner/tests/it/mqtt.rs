//! The MQTT actions in flows, against a real broker, in both versions.

use testmesh_runner::record::{ErrorKind, StepStatus};
use testmesh_shared::net::NetPolicy;

use crate::run::{Setting, fails, named_server, passed, run_steps, run_steps_in};
use crate::secure::{Start, in_front_of, says};

const VERSIONS: [&str; 2] = ["3.1.1", "5"];

fn url() -> Option<String> {
    named_server("TESTMESH_TEST_MQTT", "MQTT")
}

/// `host:port` of a URL.
fn address(url: &str) -> String {
    url.rsplit('@').next().unwrap().to_owned()
}

/// Steps in which `URL` is the broker with its version, and `TOPIC` starts this test's topics.
fn at(url: &str, version: &str, steps: &str) -> String {
    let topic = testmesh_shared::ids::new_uuid(&testmesh_shared::clock::SystemClock).simple().to_string();
    steps.replace("URL", &format!("'{url}', version: '{version}'")).replace("TOPIC", &topic)
}

#[tokio::test]
async fn messages_that_are_kept_come_first_and_are_removed_again() {
    let Some(url) = url() else { return };
    let steps = r#"
- action: mqtt.publish
  config: {url: URL, topic: TOPIC/a, payload: {id: 1}, retain: true}
  assert: [bytes == 8, "topic endsWith '/a'"]
  output: {sent: $.id}
- {action: mqtt.publish, config: {url: URL, topic: TOPIC/b, payload: plain text, retain: true, qos: 2}}
- id: both
  action: mqtt_subscribe
  config: {url: URL, topic: TOPIC/+, count: 2, timeout: 20s, qos: 2}
  assert: [count == 2, "all(messages, .retain)", sent == 1]
- id: one
  action: mqtt.consume
  config: {url: URL, topic: "TOPIC/#", timeout: 20s, match: {topic: TOPIC/a, json_path: ["$.id == 1"]}}
  assert:
    - messages[0].value.id == 1
    - messages[0].value_raw == '{"id":1}'
    - messages[0].qos == 1
    - messages[0].retain == true
  output: {id: $.id}
- action: assert
  config: {assertions: [id == 1]}
- {action: mqtt_subscribe, config: {url: URL, topic: TOPIC/+, retained: false, min_count: 0, timeout: 300ms}, assert: [count == 0]}
- {action: mqtt_publish, config: {url: URL, topic: TOPIC/a, retain: true}}
- {action: mqtt_subscribe, config: {url: URL, topic: TOPIC/a, min_count: 0, timeout: 300ms}, assert: [count == 0]}
"#;
    for version in VERSIONS {
        passed(&run_steps(&at(&url, version, steps)).await);
    }
}

#[tokio::test]
async fn every_quality_of_service_arrives_at_who_subscribed_before() {
    let Some(url) = url() else { return };
    let steps = r#"
- action: parallel
  config:
    branches:
      - name: listener
        steps:
          - id: heard
            action: mqtt_subscribe
            config: {url: URL, topic: TOPIC/a, timeout: 20s, qos: QOS}
            assert: ["messages[0].value == 'x'", "messages[0].qos == QOS", "messages[0].retain == false"]
          - {action: mqtt_publish, config: {url: URL, topic: TOPIC/heard, payload: yes, retain: true}}
      - name: speaker
        steps:
          # Until the listener says that it has heard.
          - action: wait_until
            config:
              condition: heard_it.count == 1
              interval: 10ms
              timeout: 20s
              steps:
                - {action: mqtt_publish, config: {url: URL, topic: TOPIC/a, payload: x, qos: QOS}}
                - {id: heard_it, action: mqtt_subscribe, config: {url: URL, topic: TOPIC/heard, min_count: 0, timeout: 100ms}}
- {action: mqtt_publish, config: {url: URL, topic: TOPIC/heard, retain: true}}
"#;
    for version in VERSIONS {
        for qos in ["0", "1", "2"] {
            let records = run_steps(&at(&url, version, &steps.replace("QOS", qos))).await;
            passed(&records);
        }
    }
}

#[tokio::test]
async fn version_5_carries_headers_and_what_answers_need() {
    let Some(url) = url() else { return };
    let steps = r#"
- action: mqtt_publish
  config: {url: URL, topic: TOPIC, payload: {a: 1}, retain: true, headers: {source: test, n: 1}, content_type: application/json, response_topic: TOPIC/answers, correlation_data: "42"}
- action: mqtt_subscribe
  config: {url: URL, topic: TOPIC, timeout: 20s, match: {headers: {source: test}}}
  assert:
    - messages[0].headers.n == "1"
    - messages[0].content_type == "application/json"
    - messages[0].response_topic endsWith "/answers"
    - messages[0].correlation_data == "42"
- {action: mqtt_publish, config: {url: URL, topic: TOPIC, retain: true}}
"#;
    passed(&run_steps(&at(&url, "5", steps)).await);
    let records = run_steps(&at(&url, "3.1.1", steps)).await;
    fails(&records[0], ErrorKind::Config, "need `version: \"5\"`");
}

#[tokio::test]
async fn refusals_are_told_with_the_cause_and_without_the_password() {
    let Some(url) = url() else { return };
    let limited = url.replace("testmesh:", "limited:");
    let wrong = url.replace("secret", "wr0ng");
    for version in VERSIONS {
        let steps = format!(
            r#"
- {{id: wrong_password, action: mqtt_publish, config: {{url: "{wrong}", version: "{version}", topic: a}}}}
- {{id: no_user, action: mqtt_subscribe, config: {{url: "mqtt://{}", version: "{version}", topic: a, timeout: 5s}}}}
- {{id: not_a_filter, action: mqtt_subscribe, config: {{url: URL, topic: "a/#/b", timeout: 5s}}}}
- {{id: may_not_publish, action: mqtt_publish, config: {{url: "{limited}", version: "{version}", topic: denied/a}}}}
- {{id: may, action: mqtt_publish, config: {{url: "{limited}", version: "{version}", topic: allowed/a}}}}
- {{id: too_few, action: mqtt_subscribe, config: {{url: URL, topic: TOPIC, timeout: 300ms}}}}
- {{id: wildcard, action: mqtt_publish, config: {{url: URL, topic: a/#}}}}
- {{id: no_topic, action: mqtt_publish, config: {{url: URL, topic: ""}}}}
- {{id: not_mqtt, action: mqtt_publish, config: {{url: "http://localhost", topic: a}}}}
"#,
            address(&url)
        );
        let records = run_steps(&at(&url, version, &steps)).await;
        let [password, no_user, not_a_filter, publish, may, too_few, wildcard, no_topic, not_mqtt] = &records[..]
        else {
            panic!("{records:#?}")
        };
        let unknown = "not authorized";
        fails(password, ErrorKind::Connection, unknown);
        fails(no_user, ErrorKind::Connection, unknown);
        // Only version 5 has words for it.
        let closed = if version == "5" { "malformed packet" } else { "the server closed the connection" };
        fails(not_a_filter, ErrorKind::Connection, closed);
        if version == "5" {
            fails(publish, ErrorKind::Protocol, "not authorized");
        }
        passed(std::slice::from_ref(may));
        fails(too_few, ErrorKind::Timeout, "0 of 1 messages of `");
        fails(wildcard, ErrorKind::Config, "`topic` is `a/#`: wildcards are for subscriptions");
        fails(no_topic, ErrorKind::Config, "`topic` takes 1 to 65535 bytes");
        fails(not_mqtt, ErrorKind::Config, "`url` is `http://…`: it takes `mqtt://` or `mqtts://`");
    }
}

#[tokio::test]
async fn connections_can_be_secure_and_strangers_are_not_believed() {
    let Some(url) = url() else { return };
    let front = in_front_of(address(&url), Start::AtOnce).await;
    let steps = format!(
        "- {{action: mqtt_publish, config: {{url: 'mqtts://testmesh:secret@{front}', verify_tls: false, topic: a, payload: x}}}}\n\
         - {{action: mqtt_publish, config: {{url: 'mqtts://testmesh:secret@{front}', topic: a}}}}\n"
    );
    let records = run_steps(&steps).await;
    passed(&records[..1]);
    fails(&records[1], ErrorKind::Connection, "the TLS handshake with `127.0.0.1` failed");
}

#[tokio::test]
async fn servers_that_are_away_deaf_or_strange_are_told() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closes = says(b"", b"").await;
    let closes_later = says(b"\x20\x02\0\0", b"").await;
    let strange = says(b"", b"\xf0\0").await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = (silent.local_addr().unwrap(), silent);
    for (address, kind, part) in [
        (unused, ErrorKind::Connection, unused.to_string()),
        (closes, ErrorKind::Connection, "the server closed the connection".to_owned()),
        (closes_later, ErrorKind::Connection, String::new()),
        (strange, ErrorKind::Connection, "which is not MQTT".to_owned()),
        (silent.0, ErrorKind::Timeout, "not done within 300ms".to_owned()),
    ] {
        let limit = if kind == ErrorKind::Timeout { "300ms" } else { "20s" };
        let steps = format!(
            "- {{action: mqtt_publish, config: {{url: 'mqtt://me:secret@{address}', topic: a, timeout: {limit}}}}}\n"
        );
        fails(&run_steps(&steps).await[0], kind, &part);
    }
    let policy = NetPolicy::server(&[unused]);
    let steps = format!("- {{action: mqtt_publish, config: {{url: 'mqtt://{unused}', topic: a}}}}\n");
    let records = run_steps_in(&steps, Setting { policy, ..Setting::default() }).await;
    fails(&records[0], ErrorKind::Policy, "is denied by the network policy");
}

#[tokio::test]
async fn waiting_ends_when_the_run_is_cancelled() {
    let Some(url) = url() else { return };
    let steps = at(&url, "5", "- {id: wait, action: mqtt_subscribe, config: {url: URL, topic: TOPIC, timeout: 10m}}\n");
    let setting = Setting { cancel_at: Some("wait"), ..Setting::default() };
    let running = tokio::time::timeout(std::time::Duration::from_secs(10), run_steps_in(&steps, setting));
    assert_eq!(running.await.unwrap()[0].status, StepStatus::Cancelled);
}
