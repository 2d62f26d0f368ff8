//! `kafka_producer` and `kafka_consumer` in flows, against a real broker: what comes back, and what is told when nothing does.

use std::fmt::Write as _;

use testmesh_runner::record::{ErrorKind, StepRecord, StepStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::run::{named_server, passed, run_steps};

/// The open listener and the one with SASL.
fn brokers() -> Option<(String, String)> {
    let both = named_server("TESTMESH_TEST_KAFKA", "Kafka")?;
    let (open, sasl) = both.split_once(' ').expect("two addresses");
    Some((open.to_owned(), sasl.to_owned()))
}

/// A topic of this test alone.
fn topic(name: &str) -> String {
    format!("{name}.{}", testmesh_shared::ids::new_uuid(&testmesh_shared::clock::SystemClock).simple())
}

async fn run(name: &str, steps: &str) -> Option<Vec<StepRecord>> {
    let (open, sasl) = brokers()?;
    let steps = steps.replace("SASL", &sasl).replace("BROKERS", &open).replace("TOPIC", &topic(name));
    Some(run_steps(&steps).await)
}

#[tokio::test]
async fn what_is_sent_comes_back_whole() {
    let Some(records) = run(
        "whole",
        r#"
- id: send
  action: kafka_producer
  config: {brokers: BROKERS, topic: TOPIC, key: "42", headers: {source: test}, payload: {id: 42, name: Ada}}
  assert: [offset == 0, partition >= 0, "topic startsWith 'whole'"]
  output: {sent: $.id}
- id: receive
  action: kafka_consumer
  config: {brokers: ["BROKERS"], topic: TOPIC, group_id: "ignored", timeout: 20s}
  assert:
    - len(messages) == 1
    - count == 1
    - messages[0].value.name == "Ada"
    - messages[0].value_raw contains "Ada"
    - messages[0].key == "42"
    - messages[0].headers.source == "test"
    - messages[0].offset == 0
    - messages[0].timestamp > 1700000000000
    - sent == 42
  output: {name: $.name}
- id: use
  action: assert
  config: {assertions: [name == "Ada"]}
"#,
    )
    .await
    else {
        return;
    };
    passed(&records);
}

#[tokio::test]
async fn every_compression_is_understood() {
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let steps = format!(
            "- action: kafka_publish\n  config: {{brokers: BROKERS, topic: TOPIC, value: plain text, compression: {compression}}}\n\
             - action: kafka_consume\n  config: {{brokers: BROKERS, topic: TOPIC, timeout: 20s}}\n  \
             assert: [\"messages[0].value == 'plain text'\", \"messages[0].key == nil\"]\n"
        );
        let Some(records) = run(compression, &steps).await else { return };
        passed(&records);
    }
}

#[tokio::test]
async fn only_messages_that_match_count() {
    let mut steps = String::new();
    for (key, amount) in [("a", 1), ("b", 2), ("b", 3)] {
        let payload =
            format!("{{brokers: BROKERS, topic: TOPIC, key: {key}, payload: {{pan: {key}, amount: {amount}}}}}");
        write!(steps, "- action: kafka_producer\n  config: {payload}\n").unwrap();
    }
    steps.push_str(
        r#"
- id: found
  action: kafka_consumer
  config:
    brokers: BROKERS
    topic: TOPIC
    timeout: 20s
    match:
      key: b
      json_path: ["$.pan == 'b'", "$.amount > 2", "key == 'b'"]
  assert: [len(messages) == 1, "messages[0].value.amount == 3"]
- id: none
  action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 1s, match: {json_path: "$.amount > 10"}}
- id: none_is_fine
  action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 1s, min_count: 0, match: {json_path: "$.amount > 10"}}
  assert: [count == 0, len(messages) == 0]
"#,
    );
    let Some(records) = run("match", &steps).await else { return };
    let by_id = |id: &str| records.iter().find(|record| record.id == id).unwrap();
    assert_eq!(by_id("found").status, StepStatus::Passed, "{:#?}", by_id("found"));
    let error = by_id("none").error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(error.message.contains("0 of 1 messages of `match."), "{}", error.message);
    assert_eq!(by_id("none_is_fine").status, StepStatus::Passed, "{:#?}", by_id("none_is_fine"));
}

#[tokio::test]
async fn a_run_sees_what_came_since_it_began_unless_it_asks_for_all() {
    let Some((open, _)) = brokers() else { return };
    let topic = topic("since");
    let send = format!("- action: kafka_producer\n  config: {{brokers: '{open}', topic: {topic}, payload: old}}\n");
    passed(&run_steps(&send).await);
    let steps = format!(
        "- action: kafka_consumer\n  config: {{brokers: '{open}', topic: {topic}, timeout: 1s, min_count: 0}}\n  assert: [count == 0]\n\
         - action: kafka_consumer\n  config: {{brokers: '{open}', topic: {topic}, timeout: 20s, from_beginning: true}}\n  \
         assert: [\"messages[0].value == 'old'\"]\n"
    );
    passed(&run_steps(&steps).await);
}

#[tokio::test]
async fn each_step_of_a_run_sees_what_earlier_ones_have_read_and_what_came_since() {
    let Some(records) = run(
        "again",
        r#"
- action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 1s, min_count: 0}
  assert: [count == 0]
- action: kafka_producer
  config: {brokers: BROKERS, topic: TOPIC, partition: 0, key: "1", payload: {n: 1}}
- action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 20s}
  assert: ["messages[0].value.n == 1", "messages[0].offset == 0"]
- action: kafka_producer
  config: {brokers: BROKERS, topic: TOPIC, partition: 0, key: "2", payload: {n: 2}}
- action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 20s, count: 2}
  assert: ["map(messages, .offset) == [0, 1]", "map(messages, .value.n) == [1, 2]"]
- action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 20s, match: {json_path: "$.n == 1"}}
  assert: ["messages[0].key == '1'"]
- action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 1s, min_count: 0, match: {json_path: "$.n == 3"}}
  assert: [count == 0]
- action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 1s, count: 3, min_count: 2, from_beginning: true}
  assert: ["map(messages, .value.n) == [1, 2]"]
"#,
    )
    .await
    else {
        return;
    };
    passed(&records);
}

#[tokio::test]
async fn passwords_are_proved_in_every_way() {
    for (mechanism, user) in [("PLAIN", "plain"), ("SCRAM-SHA-256", "scram"), ("SCRAM-SHA-512", "scram")] {
        let step = |password: &str| {
            format!(
                "- action: kafka_producer\n  config: {{brokers: SASL, topic: TOPIC, payload: x, timeout: 20s, \
                 sasl: {{mechanism: {mechanism}, username: {user}, password: {password}}}}}\n"
            )
        };
        let Some(records) = run("sasl", &format!("{}{}", step("secret"), step("wr0ng"))).await else { return };
        assert_eq!(records[0].status, StepStatus::Passed, "{mechanism}: {records:#?}");
        let error = records[1].error.clone().unwrap();
        assert!(error.message.to_lowercase().contains("authentication"), "{mechanism}: {}", error.message);
        assert!(!error.message.contains("wr0ng"), "{}", error.message);
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_told() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let steps = format!("- action: kafka_consumer\n  config: {{brokers: '{unused}', topic: t, timeout: 5s}}\n");
    let error = run_steps(&steps).await[0].error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::Connection);
    assert!(error.message.contains(&unused.to_string()), "{}", error.message);
}

#[tokio::test]
async fn an_armed_consumer_takes_what_the_next_step_causes_and_nothing_older() {
    let Some(records) = run(
        "armed",
        r"
- action: kafka_producer
  config: {brokers: BROKERS, topic: TOPIC, payload: {id: 1}}
- id: event
  action: kafka_consumer
  background: true
  config: {brokers: BROKERS, topic: TOPIC, timeout: 20s}
- action: kafka_producer
  config: {brokers: BROKERS, topic: TOPIC, payload: {id: 2}}
- await: event
  assert: [count == 1, 'messages[0].value.id == 2']
  output: {id: $.id}
- action: assert
  config: {assertions: [id == 2, event.count == 1]}
",
    )
    .await
    else {
        return;
    };
    passed(&records);
}

/// Asks for more partitions of a topic (`CreatePartitions`, version 0).
async fn add_partitions(broker: &str, topic: &str, count: i32) {
    let name = [&u16::try_from(topic.len()).unwrap().to_be_bytes()[..], topic.as_bytes()].concat();
    let head = [&37_i16.to_be_bytes()[..], &0_i16.to_be_bytes(), &7_i32.to_be_bytes(), &(-1_i16).to_be_bytes()];
    // One topic, with no wish where the partitions are; ten seconds; not only to be checked.
    let body = [&1_i32.to_be_bytes()[..], &name, &count.to_be_bytes(), &(-1_i32).to_be_bytes()];
    let end = [&10_000_i32.to_be_bytes()[..], &[0]];
    let request = [head.concat(), body.concat(), end.concat()].concat();
    let mut stream = TcpStream::connect(broker).await.unwrap();
    stream.write_i32(i32::try_from(request.len()).unwrap()).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let mut answer = vec![0; usize::try_from(stream.read_i32().await.unwrap()).unwrap()];
    stream.read_exact(&mut answer).await.unwrap();
    // The number of the request, the throttle time and the number of topics stand before the name.
    let code = &answer[12 + name.len()..][..2];
    assert_eq!(code, [0, 0], "{answer:?}");
}

#[tokio::test]
async fn partitions_that_are_added_in_a_run_are_found() {
    let Some((open, _)) = brokers() else { return };
    let (grown, go) = (topic("grown"), topic("go"));
    let run = async |steps: &str| {
        let steps = steps.replace("BROKERS", &open).replace("TOPIC", &grown).replace("GO", &go);
        passed(&run_steps(&steps).await);
    };
    let begun = "- {action: kafka_producer, config: {brokers: BROKERS, topic: TOPIC, key: begun, payload: 1}}\n\
                 - {action: kafka_consumer, config: {brokers: BROKERS, topic: GO, from_beginning: true, timeout: 40s}}\n";
    let reads = format!(
        "{begun}- {{action: kafka_consumer, config: {{brokers: BROKERS, topic: TOPIC, match: {{key: late}}, timeout: 20s}}}}\n"
    );
    let writes = format!(
        "{begun}- {{action: kafka_producer, config: {{brokers: BROKERS, topic: TOPIC, partition: 3}}, assert: [partition == 3]}}\n"
    );
    let adds = async {
        run("- {action: kafka_consumer, config: {brokers: BROKERS, topic: TOPIC, from_beginning: true, match: {key: begun}, count: 2, timeout: 30s}}\n").await;
        add_partitions(&open, &grown, 4).await;
        run("- {action: kafka_producer, config: {brokers: BROKERS, topic: TOPIC, partition: 3, key: late, payload: 2}}\n\
             - {action: kafka_producer, config: {brokers: BROKERS, topic: GO, payload: go}}\n")
        .await;
    };
    tokio::join!(run(&reads), run(&writes), adds);
}
