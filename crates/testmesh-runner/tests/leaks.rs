//! Nothing is left of a run: after a thousand of them the process has as many files, sockets, threads and tasks as before.
//!
//! A program of its own, since it counts what the whole process has.

#![allow(clippy::unwrap_used, reason = "a test whose own servers fail should fail, and say where")]
#![allow(dead_code, reason = "it shares the helpers of the other tests, and does not need all of them")]
#![cfg(target_os = "linux")]

#[path = "it/run.rs"]
mod run;
#[path = "it/target.rs"]
mod target;

use std::time::{Duration, Instant};

use futures::future::join_all;
use testmesh_runner::files::Files;
use testmesh_runner::programs::Programs;
use tokio_util::sync::CancellationToken;

use crate::run::{Setting, named_server, run_steps_in};
use crate::target::Target;

/// Runs in all.
const RUNS: usize = 1_000;
/// Runs at a time.
const TOGETHER: usize = 10;
/// How long the system may take to close what the last run had open.
const PATIENCE: Duration = Duration::from_secs(20);

/// Steps of a run, and the step at which it is cancelled.
struct Case {
    steps: String,
    cancel_at: Option<&'static str>,
}

/// What the process has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
struct Held {
    files: usize,
    threads: usize,
    tasks: usize,
}

impl Held {
    fn now() -> Self {
        let entries = |folder: &str| std::fs::read_dir(folder).unwrap().count();
        Self {
            files: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        }
    }

    fn is_within(self, most: Self) -> bool {
        self.files <= most.files && self.threads <= most.threads && self.tasks <= most.tasks
    }
}

/// What passes, what fails, what is too late and what is cancelled, by each protocol whose server is at hand.
fn cases(target: &Target, silent: &str) -> Vec<Case> {
    let mut steps = vec![
        target.steps("- action: http_request\n  config: {method: GET, url: BASE/one}\n  assert: status == 200"),
        "- action: http_request\n  config: {method: GET, url: \"http://127.0.0.1:1/\"}".to_owned(),
        format!("- action: http_request\n  timeout: 20ms\n  config: {{method: GET, url: \"http://{silent}/\"}}"),
        "- action: database_query\n  config: {connection: \"sqlite::memory:\", query: select 1 as n}\n  assert: rows[0].n == 1".to_owned(),
        target.steps("- action: parallel\n  config:\n    steps:\n      - {action: http_request, config: {method: GET, url: BASE/a}}\n      - {action: http_request, config: {method: GET, url: BASE/b}}"),
        "- action: exec\n  config: {command: [cat], stdin: hello}\n  assert: exit_code == 0".to_owned(),
        "- action: exec\n  timeout: 20ms\n  config: {command: [sleep, \"60\"]}".to_owned(),
        "- action: mail_catcher\n  id: inbox\n- action: mail_send\n  config: {url: \"${inbox.url}\", from: a@b.c, to: d@e.f}\n- action: mail_wait\n  assert: count == 1".to_owned(),
        "- action: mail_catcher\n- action: mail_wait\n  config: {timeout: 20ms}".to_owned(),
    ];
    let servers = [
        (
            "TESTMESH_TEST_POSTGRES",
            "- action: database_query\n  config: {connection: \"URL\", query: select 1 as n}\n  assert: rows[0].n == 1",
        ),
        (
            "TESTMESH_TEST_POSTGRES",
            "- action: database_query\n  timeout: 30ms\n  config: {connection: \"URL\", query: select pg_sleep(60)}",
        ),
        (
            "TESTMESH_TEST_MYSQL",
            "- action: database_query\n  config: {connection: \"URL\", query: select 1 as n}\n  assert: rows[0].n == 1",
        ),
        ("TESTMESH_TEST_REDIS", "- action: redis.get\n  config: {url: \"URL\", key: none}\n  assert: exists == false"),
        (
            "TESTMESH_TEST_REDIS",
            "- action: redis\n  timeout: 30ms\n  config: {url: \"URL\", command: [BLPOP, none, 0]}",
        ),
        (
            "TESTMESH_TEST_AMQP",
            "- action: amqp_publish\n  config: {url: \"URL\", routing_key: none}\n  assert: not routed",
        ),
        (
            "TESTMESH_TEST_AMQP",
            "- action: amqp_consume\n  config: {url: \"URL\", exchange: amq.topic, routing_key: none, timeout: 50ms}",
        ),
        ("TESTMESH_TEST_MQTT", "- action: mqtt_publish\n  config: {url: \"URL\", topic: leaks}"),
        ("TESTMESH_TEST_MQTT", "- action: mqtt_subscribe\n  config: {url: \"URL\", topic: none, timeout: 50ms}"),
        ("TESTMESH_TEST_NATS", "- action: nats_publish\n  config: {url: \"URL\", subject: leaks}"),
        ("TESTMESH_TEST_NATS", "- action: nats_subscribe\n  timeout: 50ms\n  config: {url: \"URL\", subject: none}"),
        ("TESTMESH_TEST_KAFKA", "- action: kafka_producer\n  config: {brokers: \"URL\", topic: leaks, payload: hello}"),
        (
            "TESTMESH_TEST_KAFKA",
            "- action: kafka_consumer\n  timeout: 50ms\n  config: {brokers: \"URL\", topic: leaks, match: {key: never}}",
        ),
    ];
    for (variable, text) in servers {
        if let Some(url) = named_server(variable, variable) {
            steps.push(text.replace("URL", url.split(' ').next().unwrap()));
        }
    }
    let mut cases: Vec<Case> = steps.into_iter().map(|steps| Case { steps, cancel_at: None }).collect();
    for steps in [
        "- {id: wait, action: delay, config: {duration: 60s}}".to_owned(),
        "- {id: wait, action: exec, config: {command: [sleep, \"60\"]}}".to_owned(),
        "- {action: mail_catcher}\n- {id: wait, action: mail_wait}".to_owned(),
        format!("- {{id: wait, action: http_request, config: {{method: GET, url: \"http://{silent}/\"}}}}"),
    ] {
        cases.push(Case { steps, cancel_at: Some("wait") });
    }
    cases
}

async fn run(case: &Case) {
    let setting = Setting {
        files: Files::none(),
        programs: Programs::all(),
        cancel: CancellationToken::new(),
        cancel_at: case.cancel_at,
        ..Setting::default()
    };
    let records = run_steps_in(&case.steps, setting).await;
    assert!(!records.is_empty(), "{}", case.steps);
}

#[tokio::test]
async fn nothing_is_left_of_a_thousand_runs() {
    let target = Target::start().await;
    // It takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cases = cases(&target, &silent.local_addr().unwrap().to_string());
    // What is made once and kept: threads that block, the target's listener, caches.
    for _ in 0..2 {
        join_all(cases.iter().map(run)).await;
    }
    let drop_silent = async || {
        // What waits to be accepted is held by this process too.
        while let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(1), silent.accept()).await {}
    };
    drop_silent().await;
    let before = settled(|_| false, Duration::from_secs(1)).await;
    for turn in 0..RUNS / TOGETHER {
        join_all((0..TOGETHER).map(|place| run(&cases[(turn * TOGETHER + place) % cases.len()]))).await;
        drop_silent().await;
    }
    let after = settled(|held| held.is_within(before), PATIENCE).await;
    assert!(after.is_within(before), "before: {before:?}, after: {after:?}");
}

/// What is held as soon as `enough` says so, or when the time is over.
async fn settled(enough: impl Fn(Held) -> bool, patience: Duration) -> Held {
    let since = Instant::now();
    loop {
        let held = Held::now();
        if enough(held) || since.elapsed() > patience {
            return held;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
