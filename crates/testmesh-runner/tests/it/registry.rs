//! Kafka messages with schemas, against a real broker and a real registry: what goes and comes, and what is told when it
//! does not.

use std::net::SocketAddr;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use testmesh_runner::files::Files;
use testmesh_runner::record::{ErrorKind, StepRecord};
use testmesh_shared::net::NetPolicy;
use testmesh_shared::tasks::Tasks;

use crate::run::{Setting, each, fails, named_server, passed, run_steps, run_steps_in};
use crate::secure::{Start, in_front_of};

/// The open listener of the broker, and the registry.
fn servers() -> Option<(String, String)> {
    let brokers = named_server("TESTMESH_TEST_KAFKA", "Kafka")?;
    let registry = named_server("TESTMESH_TEST_REGISTRY", "a schema registry")?;
    let (open, _) = brokers.split_once(' ').expect("two addresses");
    Some((open.to_owned(), registry))
}

/// A name of this test alone.
fn own(name: &str) -> String {
    format!("{name}.{}", testmesh_shared::ids::new_uuid(&testmesh_shared::clock::SystemClock).simple())
}

async fn run(name: &str, steps: &str) -> Option<Vec<StepRecord>> {
    let (brokers, registry) = servers()?;
    let steps = steps.replace("BROKERS", &brokers).replace("REGISTRY", &registry).replace("TOPIC", &own(name));
    Some(run_steps(&steps).await)
}

/// A step that registers a schema, which is JSON or a `.proto` file.
fn register(subject: &str, kind: &str, schema: &str, references: &str) -> String {
    let body = serde_json::json!({ "schema": schema, "schemaType": kind });
    let mut body = body.to_string();
    body.insert_str(1, &format!("\"references\": {references}, "));
    let step = serde_json::json!({
        "action": "http_request",
        "config": {
            "method": "POST",
            "url": format!("REGISTRY/subjects/{subject}/versions"),
            "headers": {"Content-Type": "application/vnd.schemaregistry.v1+json"},
            "body": body,
        },
        "assert": ["status == 200"],
    });
    format!("- {step}\n")
}

const ORDER: &str = r#"{"type": "record", "name": "shop.Order", "fields": [
    {"name": "id", "type": "long"}, {"name": "customer", "type": "string"},
    {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
    {"name": "made", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "note", "type": ["null", "string"], "default": null}]}"#;

#[tokio::test]
async fn avro_goes_and_comes_by_the_latest_schema_of_the_topic() {
    let mut steps = register("TOPIC-value", "AVRO", ORDER, "[]");
    steps.push_str(
        r#"
- id: send
  action: kafka_producer
  config:
    brokers: BROKERS
    topic: TOPIC
    key: "7"
    schema_registry: {url: REGISTRY}
    payload: {id: 9007199254740993, customer: Ada, total: "12.50", made: "2026-01-02T03:04:05.678Z"}
  assert: [value_schema.id > 0, value_schema.version == 1, "value_schema.format == 'avro'", result.key_schema == null]
- action: kafka_producer
  config:
    brokers: BROKERS
    topic: TOPIC
    schema_registry: {url: REGISTRY}
    value_schema: {version: 1}
    payload: {id: 2, customer: Bob, total: 1, made: 0, note: late}
- id: receive
  action: kafka_consumer
  config:
    brokers: BROKERS
    topic: TOPIC
    timeout: 20s
    count: 2
    schema_registry: {url: REGISTRY}
  assert:
    - messages[0].value.id == 9007199254740993 or messages[1].value.id == 9007199254740993
    - messages[0].value_schema.id == messages[1].value_schema.id
    - "messages[0].value_schema.subject == 'TOPIC-value'"
    - messages[0].value_schema.version == 1
- id: match
  action: kafka_consumer
  config:
    brokers: BROKERS
    topic: TOPIC
    timeout: 20s
    schema_registry: {url: "REGISTRY/"}
    value_format: avro
    match: {key: "7", json_path: ["$.customer == 'Ada'", "$.total == 12.5"]}
  assert:
    - messages[0].value.made == "2026-01-02T03:04:05.678Z"
    - string(messages[0].value.total) == "12.50"
    - messages[0].value.note == null
"#,
    );
    let Some(records) = run("avro", &steps).await else { return };
    passed(&records);
}

#[tokio::test]
async fn protobuf_and_json_schema_go_and_come_with_keys_and_references() {
    let proto = "syntax = \"proto3\";\npackage shop;\nimport \"money.proto\";\nimport \"google/protobuf/timestamp.proto\";\n\
                 message Other { string x = 1; }\nmessage Order { string id = 1; Money total = 2; \
                 google.protobuf.Timestamp made = 3; message Line { int32 n = 1; } repeated Line lines = 4; }\n";
    let money = "syntax = \"proto3\";\npackage shop;\nmessage Money { int64 cents = 1; }\n";
    let mut steps = register("TOPIC-money", "PROTOBUF", money, "[]");
    steps += &register(
        "TOPIC-value",
        "PROTOBUF",
        proto,
        r#"[{"name": "money.proto", "subject": "TOPIC-money", "version": 1}]"#,
    );
    steps += &register("TOPIC-key", "JSON", r#"{"type": "object", "properties": {"id": {"type": "integer"}}}"#, "[]");
    steps.push_str(
        r#"
- action: kafka_producer
  config:
    brokers: BROKERS
    topic: TOPIC
    schema_registry: {url: REGISTRY}
    key: {id: 7}
    key_format: json_schema
    value_schema: {message: Order}
    payload: {id: "7", total: {cents: 1250}, made: "2026-01-02T03:04:05Z", lines: [{n: 3}]}
  assert: ["value_schema.format == 'protobuf'", "key_schema.subject == 'TOPIC-key'"]
- action: kafka_producer
  config:
    brokers: BROKERS
    topic: TOPIC
    schema_registry: {url: REGISTRY}
    value_schema: {message: shop.Order.Line}
    payload: {n: 5}
- action: kafka_consumer
  config:
    brokers: BROKERS
    topic: TOPIC
    timeout: 20s
    schema_registry: {url: REGISTRY}
    key_format: json_schema
    match: {json_path: ["$.id == '7'"]}
  assert:
    - messages[0].value.total.cents == 1250
    - messages[0].value.made == "2026-01-02T03:04:05Z"
    - messages[0].value.lines[0].n == 3
    - messages[0].key.id == 7
    - "messages[0].key_schema.format == 'json_schema'"
- action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 20s, schema_registry: {url: REGISTRY}, match: {json_path: [$.n == 5]}}
- id: other
  action: kafka_producer
  config:
    brokers: BROKERS
    topic: TOPIC
    schema_registry: {url: REGISTRY}
    value_schema: {message: Ordr}
    payload: {}
"#,
    );
    let Some(mut records) = run("protobuf", &steps).await else { return };
    let unknown = records.pop().unwrap();
    passed(&records);
    fails(&unknown, ErrorKind::Config, "the Protobuf schema has no message `Ordr`: ");
}

#[tokio::test]
async fn a_step_brings_its_own_schema_and_registers_it_only_when_told() {
    let steps = r#"
- id: unknown
  action: kafka_producer
  config: &config
    brokers: BROKERS
    topic: TOPIC
    schema_registry: {url: REGISTRY}
    value_format: json_schema
    value_schema: {subject: TOPIC.own, schema: {type: object, properties: {a: {type: integer}}}}
    payload: {a: 1}
- id: unfit
  action: kafka_producer
  config:
    <<: *config
    value_schema: {subject: TOPIC.own, auto_register: true, schema: {type: object, properties: {a: {type: integer}}}}
    payload: {a: x}
- id: still_unknown
  action: http_request
  config: {url: REGISTRY/subjects/TOPIC.own/versions}
  assert: [status == 404]
- id: registered
  action: kafka_producer
  config:
    <<: *config
    value_schema: {subject: TOPIC.own, auto_register: true, schema: {type: object, properties: {a: {type: integer}}}}
  assert: ["value_schema.subject == 'TOPIC.own'", value_schema.version == 1]
- id: known
  action: kafka_producer
  config: {<<: *config}
  assert: [value_schema.id == registered.value_schema.id]
- id: word
  action: kafka_producer
  config:
    brokers: BROKERS
    topic: TOPIC
    schema_registry: {url: REGISTRY}
    value_schema: {subject: TOPIC.word, auto_register: true, schema: string}
    payload: just text
- id: receive
  action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 20s, count: 3, schema_registry: {url: REGISTRY}}
  assert: ["any(messages, {.value == 'just text'})", "count(messages, {.value.a == 1}) == 2"]
"#;
    let Some(records) = run("own", steps).await else { return };
    let by_id = |id: &str| records.iter().find(|record| record.id == id).unwrap();
    fails(by_id("unknown"), ErrorKind::Protocol, "(`auto_register: true` registers it)");
    fails(by_id("unfit"), ErrorKind::Config, "`payload` does not fit the schema: `/a`: ");
    for id in ["still_unknown", "registered", "known", "word", "receive"] {
        passed(std::slice::from_ref(by_id(id)));
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_told_with_its_path_and_not_sent() {
    let mut steps = register("TOPIC-value", "AVRO", ORDER, "[]");
    steps.push_str(
        r"
- id: unfit
  action: kafka_producer
  config:
    brokers: BROKERS
    topic: TOPIC
    schema_registry: {url: REGISTRY}
    payload: {id: 1, customer: Ada, total: 1.234, made: 0}
- id: nothing
  action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 1s, min_count: 0, from_beginning: true}
  assert: [count == 0]
- id: incompatible
  action: kafka_producer
  config:
    brokers: BROKERS
    topic: TOPIC
    schema_registry: {url: REGISTRY}
    value_schema: {auto_register: true, schema: {type: record, name: shop.Order, fields: [{name: z, type: int}]}}
    payload: {z: 1}
",
    );
    let strict = r"- {action: http_request, config: {method: PUT, url: REGISTRY/config/TOPIC-value, json: {compatibility: BACKWARD}}}
";
    let steps = steps.replacen("- id: unfit", &format!("{strict}- id: unfit"), 1);
    let Some(records) = run("unfit", &steps).await else { return };
    let by_id = |id: &str| records.iter().find(|record| record.id == id).unwrap();
    let expected =
        "`payload.total` takes a number of 12 digits, 2 of them after the point, got 1.234 (schema of `unfit.";
    fails(by_id("unfit"), ErrorKind::Config, expected);
    passed(std::slice::from_ref(by_id("nothing")));
    fails(by_id("incompatible"), ErrorKind::Protocol, "the schema is not compatible with those before it: ");
}

#[tokio::test]
async fn a_message_that_has_no_schema_fails_the_step_unless_others_are_waited_for() {
    let mut steps = register("TOPIC-value", "AVRO", r#""long""#, "[]");
    steps.push_str(
        r#"
- action: kafka_producer
  config: {brokers: BROKERS, topic: TOPIC, partition: 0, payload: {plain: json}}
- action: kafka_producer
  config: {brokers: BROKERS, topic: TOPIC, partition: 0, schema_registry: {url: REGISTRY}, payload: 5}
- id: matching
  action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 20s, schema_registry: {url: REGISTRY}, match: {json_path: ["$ == 5"]}}
- id: any
  action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 20s, schema_registry: {url: REGISTRY}}
- id: never
  action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 1s, schema_registry: {url: REGISTRY}, match: {json_path: ["$ == 6"]}}
- id: plain
  action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 20s, schema_registry: {url: REGISTRY}, value_format: plain}
  assert: ["messages[0].value.plain == 'json'"]
- id: another
  action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 1s, schema_registry: {url: REGISTRY}, value_format: protobuf, match: {json_path: ["$ == 5"]}}
"#,
    );
    let Some(records) = run("foreign", &steps).await else { return };
    let by_id = |id: &str| records.iter().find(|record| record.id == id).unwrap();
    passed(&[by_id("matching").clone(), by_id("plain").clone()]);
    let text =
        "in partition 0 at offset 0: its value is not in the registry's format: it begins with the byte 123, not 0";
    fails(by_id("any"), ErrorKind::Protocol, text);
    fails(by_id("never"), ErrorKind::Timeout, text);
    fails(by_id("another"), ErrorKind::Timeout, "which is `avro`, not `protobuf`");
}

#[tokio::test]
async fn a_tombstone_and_an_armed_consumer_need_no_schema_for_what_is_not_there() {
    let mut steps = register("TOPIC-value", "AVRO", r#""string""#, "[]");
    steps.push_str(
        r"
- id: event
  action: kafka_consumer
  background: true
  config: {brokers: BROKERS, topic: TOPIC, timeout: 20s, schema_registry: {url: REGISTRY}}
- action: kafka_producer
  config: {brokers: BROKERS, topic: TOPIC, key: k, schema_registry: {url: REGISTRY}}
  assert: [result.value_schema == null]
- await: event
  assert:
    - messages[0].value == null
    - messages[0].key == 'k'
    - messages[0].value_schema == null
",
    );
    let Some(records) = run("tombstone", &steps).await else { return };
    passed(&records);
}

#[tokio::test]
async fn a_schema_from_a_file_uses_registered_ones_and_is_read_under_the_file_policy() {
    let Some((brokers, registry)) = servers() else { return };
    let folder = tempfile::tempdir().unwrap();
    let cart = r#"{"type": "record", "name": "shop.Cart", "fields": [{"name": "total", "type": "Money"}]}"#;
    std::fs::write(folder.path().join("cart.avsc"), cart).unwrap();
    let money = r#"{"type": "record", "name": "shop.Money", "fields": [{"name": "cents", "type": "long"}]}"#;
    let mut steps = register("TOPIC-money", "AVRO", money, "[]");
    steps.push_str(
        r"
- action: kafka_producer
  config:
    brokers: BROKERS
    topic: TOPIC
    schema_registry: {url: REGISTRY}
    value_schema:
      schema_file: cart.avsc
      references: [{name: shop.Money, subject: TOPIC-money, version: 1}]
      auto_register: true
    payload: {total: {cents: 5}}
- action: kafka_consumer
  config: {brokers: BROKERS, topic: TOPIC, timeout: 20s, schema_registry: {url: REGISTRY}}
  assert: messages[0].value.total.cents == 5
",
    );
    let steps = steps.replace("BROKERS", &brokers).replace("REGISTRY", &registry).replace("TOPIC", &own("file"));
    let files = Files { base: folder.path().to_owned(), root: None, enabled: true };
    passed(&run_steps_in(&steps, Setting { files, ..Setting::default() }).await);
    let (sending, _) = steps.split_once("- action: kafka_consumer").expect("two actions of Kafka");
    let refused = run_steps(sending).await;
    fails(&refused[1], ErrorKind::Policy, "cannot read `cart.avsc`");
}

#[tokio::test]
async fn a_consumer_tells_that_its_registry_is_silent_or_does_not_know_the_schema() {
    let (silent, _listener) = silent().await;
    let absent = r#"{"error_code": 40403, "message": "Schema not found"}"#;
    let another = registry((StatusCode::NOT_FOUND, absent)).await;
    let broken = registry((StatusCode::BAD_GATEWAY, "")).await;
    let mut steps = register("TOPIC-value", "AVRO", r#""long""#, "[]");
    steps.push_str(
        "- action: kafka_producer\n  config: {brokers: BROKERS, topic: TOPIC, schema_registry: {url: REGISTRY}, payload: 5}\n",
    );
    for (id, address) in [("silent", silent), ("another", another), ("broken", broken)] {
        let step = format!(
            "- id: {id}\n  action: kafka_consumer\n  config: {{brokers: BROKERS, topic: TOPIC, timeout: 1s, \
             schema_registry: {{url: 'http://user:wr0ng@{address}'}}, match: {{json_path: [$ == 5]}}}}\n"
        );
        steps.push_str(&step);
    }
    let Some(records) = run("silent", &steps).await else { return };
    let by_id = |id: &str| records.iter().find(|record| record.id == id).unwrap();
    fails(by_id("silent"), ErrorKind::Timeout, &format!("last: schema registry `http://{silent}`: no answer yet"));
    fails(by_id("another"), ErrorKind::Timeout, "Schema not found (status 404, error 40403)");
    fails(by_id("broken"), ErrorKind::Protocol, &format!("schema registry `http://{broken}`: schema "));
}

/// A registry that answers everything with one answer.
async fn registry(answer: (StatusCode, &'static str)) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handler = move |headers: HeaderMap| async move {
        let known = headers.get(header::AUTHORIZATION).is_some_and(|value| value == "Basic dXNlcjpzZWNyZXQ=");
        if answer.0 == StatusCode::UNAUTHORIZED && known {
            return (StatusCode::OK, r#"{"id": 7, "version": 1, "subject": "t-value", "schema": "\"long\""}"#)
                .into_response();
        }
        answer.into_response()
    };
    Tasks::new().spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await });
    address
}

/// A registry that hears and does not answer.
async fn silent() -> (SocketAddr, tokio::net::TcpListener) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), listener)
}

#[tokio::test]
async fn a_registry_that_does_not_do_it_is_told_by_its_name_without_a_password() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (silent, _listener) = silent().await;
    let unauthorized = registry((StatusCode::UNAUTHORIZED, r#"{"error_code": 401, "message": "Unauthorized"}"#)).await;
    let page = registry((StatusCode::OK, "<html>")).await;
    let broken = registry((StatusCode::INTERNAL_SERVER_ERROR, r#"{"error_code": 50001, "message": "backend"}"#)).await;
    let wrong = registry((StatusCode::OK, r#"{"id": 1, "version": 1, "schema": "{\"type\": \"recrd\"}"}"#)).await;
    let elsewhere = registry((StatusCode::NOT_FOUND, "<html>")).await;
    let cases = [
        (format!("http://{unused}"), ErrorKind::Connection, "connect".to_owned()),
        (format!("http://user:wr0ng@{silent}"), ErrorKind::Timeout, format!("`http://{silent}`: no answer within 1s")),
        (format!("http://user:wr0ng@{unauthorized}"), ErrorKind::Protocol, "Unauthorized (status 401)".to_owned()),
        (format!("http://{page}"), ErrorKind::Protocol, "is none of a schema registry: ".to_owned()),
        (format!("http://{broken}"), ErrorKind::Protocol, "backend (status 500, error 50001)".to_owned()),
        (format!("http://{wrong}"), ErrorKind::Protocol, "there is no type `recrd`".to_owned()),
        (
            format!("http://{elsewhere}/api"),
            ErrorKind::Protocol,
            "there is no `/api/subjects/t-value/versions/latest`; is `url` where its API begins?".to_owned(),
        ),
        ("ftp://x".to_owned(), ErrorKind::Config, "schema_registry.url".to_owned()),
    ];
    for (url, kind, expected) in cases {
        let steps = format!(
            "- action: kafka_producer\n  config: {{brokers: '{unused}', topic: t, payload: 1, timeout: 1s, \
             schema_registry: {{url: '{url}'}}}}\n"
        );
        let records = run_steps(&steps).await;
        fails(&records[0], kind, &expected);
        let message = records[0].error.clone().unwrap().message;
        assert!(kind == ErrorKind::Config || message.starts_with("schema registry `"), "{url}: {message}");
    }
    // The right password leads on to the brokers, which are not there.
    let steps = format!(
        "- action: kafka_producer\n  config: {{brokers: '{unused}', topic: t, payload: 1, timeout: 5s, \
         schema_registry: {{url: 'http://{unauthorized}', username: user, password: secret}}}}\n"
    );
    fails(&run_steps(&steps).await[0], ErrorKind::Connection, &format!("kafka://{unused}"));
}

#[tokio::test]
async fn a_registry_over_tls_must_have_a_certificate_that_is_trusted() {
    let Some((brokers, registry)) = servers() else { return };
    let (address, path) = registry.trim_start_matches("http://").split_once('/').expect("a path");
    let secure = in_front_of(address.to_owned(), Start::AtOnce).await;
    let step = |more: &str| {
        format!(
            "- action: kafka_producer\n  config: {{brokers: '{brokers}', topic: '{}', payload: a, value_schema: {{schema: \
             string, auto_register: true}}, schema_registry: {{url: 'https://{secure}/{path}'{more}}}}}\n",
            own("tls")
        )
    };
    let records = run_steps(&(step("") + &step(", verify_tls: false"))).await;
    let refused = format!("schema registry `https://{secure}/{path}`: the step's schema under `tls.");
    each(&records, &[(ErrorKind::Connection, &refused), (ErrorKind::Connection, "")]);
    fails(&records[0], ErrorKind::Connection, "certificate");
}

#[tokio::test]
async fn the_registry_is_asked_under_the_network_policy() {
    let address = registry((StatusCode::OK, "{}")).await;
    let policy = NetPolicy::server(&[address]);
    let steps = format!(
        "- action: kafka_producer\n  config: {{brokers: '127.0.0.1:1', topic: t, payload: 1, \
         schema_registry: {{url: 'http://{address}'}}}}\n"
    );
    let records = run_steps_in(&steps, Setting { policy, ..Setting::default() }).await;
    fails(&records[0], ErrorKind::Policy, "schema registry `http://127.0.0.1:");
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_anything_is_asked() {
    let step = |config: &str| {
        format!("- action: kafka_producer\n  config: {{brokers: '127.0.0.1:1', topic: t, payload: 1, {config}}}\n")
    };
    let registry = "schema_registry: {url: 'http://127.0.0.1:1'}";
    let cases = [
        ("value_format: avro".to_owned(), "`value_format` needs `schema_registry`"),
        ("value_schema: {version: 1}".to_owned(), "`value_schema` needs `schema_registry`"),
        (
            format!("{registry}, value_schema: {{version: 1, schema: string}}"),
            "has a `version` and a schema of its own",
        ),
        (format!("{registry}, value_schema: {{version: first}}"), "`value_schema.version` takes a number or `latest`"),
        (format!("{registry}, value_schema: {{auto_register: true}}"), "needs a `schema` or a `schema_file`"),
        (format!("{registry}, value_schema: {{schema: s, schema_file: f}}"), "has a `schema` and a `schema_file`"),
        (format!("{registry}, value_format: plain, value_schema: {{version: 1}}"), "and the format is `plain`"),
        (format!("{registry}, value_schema: {{schema: '{{\"type\": \"recrd\"}}'}}"), "there is no type `recrd`"),
    ];
    let steps: String = cases.iter().map(|(config, _)| step(config)).collect();
    let expected: Vec<(ErrorKind, &str)> = cases.iter().map(|(_, part)| (ErrorKind::Config, *part)).collect();
    each(&run_steps(&steps).await, &expected);
    let steps =
        "- action: kafka_consumer\n  config: {brokers: '127.0.0.1:1', topic: t, key_format: avro, timeout: 1s}\n";
    fails(&run_steps(steps).await[0], ErrorKind::Config, "`key_format` needs `schema_registry`");
}
