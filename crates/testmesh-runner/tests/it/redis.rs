//! `redis` in flows, against a real server.

use testmesh_runner::record::{ErrorKind, StepRecord, StepStatus};

use crate::authority::{free_port, native};
use crate::run::{fails, named_server, passed, run_steps};

/// Runs steps in which `REDIS` is the server and `KEY` starts the names of this test's keys.
async fn run(steps: &str) -> Option<Vec<StepRecord>> {
    let url = named_server("TESTMESH_TEST_REDIS", "Redis")?;
    let key = testmesh_shared::ids::new_uuid(&testmesh_shared::clock::SystemClock).simple().to_string();
    Some(run_steps(&steps.replace("REDIS", &url).replace("KEY", &key)).await)
}

#[tokio::test]
async fn commands_give_typed_results() {
    let Some(records) = run(r#"
- action: redis.set
  config: {url: "REDIS", key: "KEY:a", value: {name: Ada}, ttl: 1m}
  assert: [ok == true, value == "OK"]
- action: redis.get
  config: {url: "REDIS", key: "KEY:a"}
  assert: [value != nil, exists == true, "fromJSON(value).name == 'Ada'"]
- action: redis.ttl
  config: {url: "REDIS", key: "KEY:a"}
  assert: [value > 0, value <= 60]
- action: redis.get
  config: {url: "REDIS", key: "KEY:missing"}
  assert: [value is null, exists == false, ok == false]
- action: redis.hset
  config: {url: "REDIS", key: "KEY:h", value: {name: Ada, age: 36}}
  assert: [count == 2]
- action: redis.hgetall
  config: {url: "REDIS", key: "KEY:h"}
  assert: [value.name == "Ada", value.age == "36", count == 2]
- action: redis_rpush
  config: {url: "REDIS", key: "KEY:l", values: [a, b]}
- action: redis
  config: {url: "REDIS", command: "LRANGE KEY:l 0 -1"}
  assert: ["value[1] == 'b'", count == 2]
- action: redis.xadd
  config: {url: "REDIS", stream: "KEY:s", value: {n: 1}}
- action: redis
  config: {url: "REDIS", command: [XREAD, COUNT, 1, BLOCK, 1000, STREAMS, "KEY:s", 0]}
  assert: [exists == true]
- action: redis.exists
  config: {url: "REDIS", key: ["KEY:a", "KEY:h"]}
  assert: [count == 2, exists == true]
- action: redis.del
  config: {url: "REDIS", keys: ["KEY:a", "KEY:h"]}
  assert: [deleted == 2]
- action: redis.config_get
  config: {url: "REDIS", args: [maxmemory]}
  assert: [value.maxmemory is string]
"#)
    .await
    else {
        return;
    };
    for record in records {
        assert_eq!(record.status, StepStatus::Passed, "{record:#?}");
    }
}

#[tokio::test]
async fn a_refusal_fails_the_step_unless_an_assertion_is_about_it() {
    let Some(records) = run(r#"
- action: redis.rpush
  config: {url: "REDIS", key: "KEY", value: x}
- action: redis.get
  config: {url: "REDIS", key: "KEY"}
- action: redis.get
  config: {url: "REDIS", key: "KEY"}
  assert: [error.code == "WRONGTYPE"]
- action: redis.nosuch
  config: {url: "REDIS"}
- action: redis.blpop
  config: {url: "REDIS", key: "KEY:none", args: [0], timeout: 200ms}
- action: redis.ping
  config: {url: "REDIS"}
  assert: [value == "PONG"]
"#)
    .await
    else {
        return;
    };
    let error = records[1].error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::Protocol);
    assert!(error.message.contains("WRONGTYPE"), "{}", error.message);
    assert_eq!(records[2].status, StepStatus::Passed, "{:#?}", records[2]);
    assert!(records[3].error.clone().unwrap().message.to_lowercase().contains("unknown command"));
    assert_eq!(records[4].error.clone().unwrap().kind, ErrorKind::Timeout);
    assert_eq!(records[5].status, StepStatus::Passed, "{:#?}", records[5]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_without_the_password() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let steps = format!(
        "- action: redis.get\n  config: {{url: \"redis://me:secret@{unused}/0\", key: a}}\n\
         - action: redis.get\n  config: {{url: \"http://localhost\", key: a}}\n"
    );
    let records = run_steps(&steps).await;
    let error = records[0].error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::Connection);
    assert!(error.message.contains(&unused.to_string()) && !error.message.contains("secret"), "{}", error.message);
    assert_eq!(records[1].error.clone().unwrap().kind, ErrorKind::Config);
}

#[tokio::test]
async fn messages_that_the_next_step_causes_are_collected() {
    let Some(records) = run(r#"
- id: told
  action: redis.subscribe
  background: true
  config: {url: "REDIS", channel: ["KEY:a", "KEY:b"], match: {json_path: "$.id > 1"}, count: 2}
- id: all
  action: redis.psubscribe
  background: true
  config: {url: "REDIS", pattern: "KEY:*", count: 4}
- action: redis.publish
  config: {url: "REDIS", channel: "KEY:a", message: {id: 1}}
  assert: [count == 2]
- action: redis.publish
  config: {url: "REDIS", channel: "KEY:a", message: {id: 2}}
- action: redis.publish
  config: {url: "REDIS", channel: "KEY:b", message: {id: 3}}
- action: redis.publish
  config: {url: "REDIS", channel: "KEY:c", message: plain}
- await: told
  assert:
    - count == 2
    - messages[0].value.id == 2
    - messages[1].value.id == 3
    - "messages[1].channel endsWith ':b'"
    - messages[0].pattern == nil
  output: {first: $.id}
- await: all
  assert:
    - count == 4
    - messages[3].value == "plain"
    - "messages[3].pattern endsWith ':*'"
    - messages[0].value_raw contains "1"
- action: assert
  config: {assertions: [first == 2, told.count == 2]}
"#)
    .await
    else {
        return;
    };
    for record in records {
        assert_eq!(record.status, StepStatus::Passed, "{record:#?}");
    }
}

#[tokio::test]
async fn entries_of_a_stream_are_collected_from_when_it_is_armed() {
    let Some(records) = run(r#"
- action: redis.xadd
  config: {url: "REDIS", stream: "KEY:s", value: {n: 1}}
- id: added
  action: redis.xread
  background: true
  config: {url: "REDIS", stream: ["KEY:s", "KEY:t"], count: 2}
- action: redis.xadd
  config: {url: "REDIS", stream: "KEY:s", value: {n: 2}}
- action: redis.xadd
  config: {url: "REDIS", stream: "KEY:t", value: {n: 3}}
- await: added
  assert:
    - count == 2
    - messages[0].value.n == "2"
    - messages[1].value.n == "3"
    - messages[0].id exists
    - "messages[1].stream endsWith ':t'"
- action: redis.xread
  config: {url: "REDIS", stream: "KEY:s", from: "0", count: 2}
  assert: ["messages[0].value.n == '1'", "messages[1].value.n == '2'"]
- action: redis.xread
  config: {url: "REDIS", args: [COUNT, 1, STREAMS, "KEY:s", 0]}
  assert: [exists == true]
"#)
    .await
    else {
        return;
    };
    for record in records {
        assert_eq!(record.status, StepStatus::Passed, "{record:#?}");
    }
}

#[tokio::test]
async fn waiting_for_messages_ends_with_the_time_and_says_how_many_came() {
    let Some(records) = run(r#"
- action: redis.subscribe
  config: {url: "REDIS", channel: "KEY", timeout: 200ms}
- action: redis.subscribe
  config: {url: "REDIS", channel: "KEY", timeout: 200ms, min_count: 0}
  assert: [count == 0, len(messages) == 0]
- action: redis.xread
  config: {url: "REDIS", stream: "KEY", timeout: 200ms, count: 3}
"#)
    .await
    else {
        return;
    };
    for (record, message) in [(&records[0], "0 of 1 messages of `"), (&records[2], "0 of 3 messages of `")] {
        let error = record.error.clone().unwrap();
        assert_eq!(error.kind, ErrorKind::Timeout);
        assert!(error.message.contains(message), "{}", error.message);
    }
    assert_eq!(records[1].status, StepStatus::Passed, "{:#?}", records[1]);
}

#[tokio::test]
async fn a_subscription_that_cannot_be_made_is_told() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let steps = format!(
        "- id: told\n  action: redis.subscribe\n  background: true\n  config: {{url: \"redis://me:secret@{unused}/0\", channel: a}}\n\
         - await: told\n"
    );
    let records = run_steps(&steps).await;
    let error = records[0].error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::Connection);
    assert!(error.message.contains(&unused.to_string()) && !error.message.contains("secret"), "{}", error.message);
    assert_eq!(records[1].error.clone().unwrap().kind, ErrorKind::Config);
}

/// Three nodes that share the slots; they end with the test.
async fn redis_cluster(folder: &std::path::Path) -> Option<(Vec<u16>, Vec<tokio::process::Child>)> {
    named_server("TESTMESH_TEST_REDIS", "Redis")?;
    let (mut ports, mut nodes) = (Vec::new(), Vec::new());
    for n in 0..3 {
        let (port, bus) = (free_port(), free_port());
        let home = folder.join(n.to_string());
        std::fs::create_dir(&home).unwrap();
        let arguments = format!(
            "--port {port} --cluster-port {bus} --bind 127.0.0.1 --cluster-enabled yes --save  --dir {}",
            home.display()
        );
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        nodes.push(native("redis-server", &arguments, port).await.expect("redis-server starts"));
        ports.push(port);
    }
    let addresses = ports.iter().map(|port| format!("127.0.0.1:{port}"));
    let made = tokio::process::Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(addresses)
        .arg("--cluster-yes")
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    // Each node has to hear of the others before it answers for them.
    for port in &ports {
        let healthy = format!(
            "- {{action: redis, config: {{url: 'redis://127.0.0.1:{port}', command: CLUSTER INFO}}, poll: {{until: 'value contains \"cluster_state:ok\"', interval: 50ms, timeout: 20s}}}}\n"
        );
        passed(&run_steps(&healthy).await);
    }
    Some((ports, nodes))
}

#[tokio::test]
async fn any_node_of_a_cluster_leads_to_every_key() {
    let folder = tempfile::tempdir().unwrap();
    let Some((ports, _nodes)) = redis_cluster(folder.path()).await else { return };
    let each_key = (0..12).map(|n| {
        let (write, read) = (ports[n % 3], ports[(n + 1) % 3]);
        format!(
            "- {{action: redis.set, config: {{url: 'redis://127.0.0.1:{write}', key: 'key-{n}', value: '{n}'}}, assert: [ok == true]}}\n\
             - {{action: redis.get, config: {{url: 'redis://127.0.0.1:{read}', key: 'key-{n}'}}, assert: ['value == \"{n}\"']}}\n"
        )
    });
    let port = ports[0];
    let together = format!(
        "- {{action: redis.mset, config: {{url: 'redis://127.0.0.1:{port}', value: {{'{{t}}a': 1, '{{t}}b': 2}}}}}}\n\
         - {{id: across, action: redis, config: {{url: 'redis://127.0.0.1:{port}', command: MGET key-0 key-1 key-2}}}}\n"
    );
    let records = run_steps(&each_key.chain([together]).collect::<String>()).await;
    let (last, before) = records.split_last().unwrap();
    passed(before);
    fails(last, ErrorKind::Protocol, "CROSSSLOT");
}

#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let Some((ports, _nodes)) = redis_cluster(folder.path()).await else { return };
    // `slot` belongs to slot 4772, which the first of three nodes has.
    let (from, to) = (ports[0], ports[1]);
    let steps = format!(
        r#"
- {{id: slot, action: redis, config: {{url: "redis://127.0.0.1:{from}", command: CLUSTER KEYSLOT slot}}, assert: [value < 5461], output: {{slot: value}}}}
- {{id: source, action: redis, config: {{url: "redis://127.0.0.1:{from}", command: CLUSTER MYID}}, output: {{source: value}}}}
- {{id: target, action: redis, config: {{url: "redis://127.0.0.1:{to}", command: CLUSTER MYID}}, output: {{target: value}}}}
- {{action: redis, config: {{url: "redis://127.0.0.1:{to}", command: [CLUSTER, SETSLOT, "${{slot}}", IMPORTING, "${{source}}"]}}}}
- {{action: redis, config: {{url: "redis://127.0.0.1:{from}", command: [CLUSTER, SETSLOT, "${{slot}}", MIGRATING, "${{target}}"]}}}}
- {{action: redis.set, config: {{url: "redis://127.0.0.1:{from}", key: slot, value: here}}, assert: [ok == true]}}
- {{action: redis.get, config: {{url: "redis://127.0.0.1:{from}", key: slot}}, assert: ["value == 'here'"]}}
- {{action: redis.get, config: {{url: "redis://127.0.0.1:{to}", key: slot}}, assert: ["value == 'here'"]}}
- {{action: redis, config: {{url: "redis://127.0.0.1:{to}", command: [CLUSTER, COUNTKEYSINSLOT, "${{slot}}"]}}, assert: [value == 1]}}
"#
    );
    passed(&run_steps(&steps).await);
}
