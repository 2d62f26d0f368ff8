//! Nothing is left of a run: after a thousand of them the process has as many files, sockets, threads and tasks as before.
//!
//! A program of its own, since it counts what the whole process has.

#![allow(clippy::unwrap_used, reason = "a test whose own servers fail should fail, and say where")]
#![allow(dead_code, reason = "it shares the helpers of the other tests, and does not need all of them")]
#![cfg(target_os = "linux")]

#[path = "it/run.rs"]
mod run;
#[path = "it/grpc/shop.rs"]
mod shop;
#[path = "it/target.rs"]
mod target;

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::Html;
use axum::routing::get;
use futures::future::join_all;
use testmesh_runner::files::Files;
use testmesh_runner::plugins::guest::{ECHO, EXCHANGE, FOREVER, Guest, REQUEST};
use testmesh_runner::plugins::{Grants, Plugins};
use testmesh_runner::programs::Programs;
use testmesh_runner::record::StepStatus;
use testmesh_shared::tasks::Tasks;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::run::{Setting, named_server, run_steps_in};
use crate::shop::{Reflects, Shop};
use crate::target::Target;

/// Runs of each kind.
const RUNS: usize = 1_000;
/// Runs that open a browser, each of which takes a second.
const BROWSER_RUNS: usize = 20;
/// Runs at a time.
const TOGETHER: usize = 10;
/// How long the runs of a kind may take.
const TIME: Duration = Duration::from_mins(5);
/// How long the system may take to close what the last run had open.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the runs may use.
struct Means {
    programs: Programs,
    plugins: Plugins,
}

/// Steps of a run, the step at which it is cancelled, and how the last one ends where that is certain.
struct Case {
    steps: String,
    cancel_at: Option<&'static str>,
    ends: Option<StepStatus>,
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
    let mut cases: Vec<Case> = steps.into_iter().map(|steps| Case { steps, cancel_at: None, ends: None }).collect();
    for steps in [
        "- {id: wait, action: delay, config: {duration: 60s}}".to_owned(),
        "- {id: wait, action: exec, config: {command: [sleep, \"60\"]}}".to_owned(),
        "- {action: mail_catcher}\n- {id: wait, action: mail_wait}".to_owned(),
        format!("- {{id: wait, action: http_request, config: {{method: GET, url: \"http://{silent}/\"}}}}"),
    ] {
        cases.push(Case { steps, cancel_at: Some("wait"), ends: None });
    }
    cases
}

fn ending(status: StepStatus, steps: impl Into<String>) -> Case {
    Case { steps: steps.into(), cancel_at: None, ends: Some(status) }
}

fn cancelled(steps: impl Into<String>) -> Case {
    Case { steps: steps.into(), cancel_at: Some("wait"), ends: Some(StepStatus::Cancelled) }
}

/// Mock servers that are stopped or not, that answer, hang and break off; contracts made of what they answered.
fn of_mocks() -> Vec<Case> {
    let start = |response: &str| {
        format!("- {{id: m, action: mock_server_start, config: {{endpoints: [{{path: /a, response: {response}}}]}}}}\n")
    };
    let ask = "action: http_request, config: {url: \"${m.base_url}/a\"}, assert: status == 200}\n";
    let (answers, hangs, resets) = (start("{body: {id: 1}}"), start("{fault: hang}"), start("{fault: reset}"));
    let stop = "- {action: mock_server_verify, config: {path: /a}}\n- {action: mock_server_stop}";
    let contract = "- {action: contract_generate, config: {consumer: c, provider: p}}\n\
        - {action: contract_verify, config: {contract_id: c-p, provider_base_url: \"${m.base_url}\"}, assert: passed == 1}";
    let verify = "- {action: mock_server_verify, timeout: 20ms, config: {path: /b, within: 1m}}";
    vec![
        ending(StepStatus::Passed, format!("{answers}- {{{ask}{stop}")),
        ending(StepStatus::Passed, format!("{answers}- {{{ask}")),
        ending(StepStatus::Passed, format!("{answers}- {{{ask}{contract}")),
        ending(StepStatus::Error, format!("{hangs}- {{timeout: 20ms, {ask}")),
        ending(StepStatus::Error, format!("{resets}- {{{ask}")),
        ending(StepStatus::Error, format!("{answers}{verify}")),
        cancelled(format!("{hangs}- {{id: wait, {ask}")),
        cancelled(format!("{answers}- {{id: wait, action: delay, config: {{duration: 60s}}}}")),
    ]
}

/// Connections that are closed or left open, to a server that answers, and to one that does not speak the protocol.
fn of_websockets(server: &str, target: &Target) -> Vec<Case> {
    let connect = format!("- {{action: websocket.connect, config: {{url: \"ws://{server}/echo\"}}}}\n");
    let talk =
        "- {action: websocket.send, config: {message: a}}\n- {action: websocket.receive, assert: received == 1}\n";
    let to = |url: &str| format!("- {{action: websocket.connect, config: {{url: \"{url}\"}}}}");
    vec![
        ending(StepStatus::Passed, format!("{connect}{talk}- {{action: websocket.close}}")),
        ending(StepStatus::Passed, connect.clone()),
        ending(
            StepStatus::Passed,
            format!("- {{action: websocket, config: {{url: \"ws://{server}/echo\", message: a, count: 1}}}}"),
        ),
        ending(StepStatus::Error, format!("{connect}- {{action: websocket.receive, timeout: 20ms}}")),
        ending(StepStatus::Error, to(&format!("ws://{}/", target.address))),
        ending(StepStatus::Error, to("ws://127.0.0.1:1/")),
        cancelled(format!("{connect}- {{id: wait, action: websocket.receive, config: {{timeout: 1h}}}}")),
    ]
}

/// Calls that end, that do not in time, and that cannot be made.
fn of_calls(shop: &Shop) -> Vec<Case> {
    let call =
        |rest: &str| format!("action: grpc, config: {{address: \"{}\", method: shop.v1.Shop/{rest}}}", shop.address);
    let nowhere = "- {action: grpc, config: {address: \"127.0.0.1:1\", method: shop.v1.Shop/Echo}}";
    vec![
        ending(StepStatus::Passed, format!("- {{{}, assert: status == \"OK\"}}", call("Echo"))),
        ending(StepStatus::Passed, format!("- {{{}, assert: count == 3}}", call("List"))),
        ending(StepStatus::Passed, format!("- {{{}, assert: count == 5}}", call("Endless, max_messages: 5"))),
        ending(StepStatus::Passed, format!("- {{{}, assert: status == \"NOT_FOUND\"}}", call("Refuse"))),
        ending(StepStatus::Passed, format!("- {{{}, assert: status_code == 4}}", call("Wait, deadline: 200ms"))),
        ending(StepStatus::Error, format!("- {{timeout: 20ms, {}}}", call("Wait"))),
        ending(StepStatus::Error, format!("- {{{}}}", call("None"))),
        ending(StepStatus::Error, nowhere),
        cancelled(format!("- {{id: wait, {}}}", call("Wait"))),
    ]
}

/// Plugins that answer, crash, never end, and wait for a server that says nothing, at `port`.
fn guests(port: u16) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let exchange = EXCHANGE.replace("PORT", &port.to_string());
    for (name, asks, run) in [
        ("echo", &[][..], ECHO),
        ("crash", &[], "(unreachable)"),
        ("forever", &[], FOREVER),
        ("request", &["http"], REQUEST),
        ("exchange", &["tcp"], &exchange),
    ] {
        Guest { asks, run, ..Guest::default() }.write(folder.path(), name);
    }
    folder
}

/// Calls of plugins that end, that do not in time, and that are cancelled.
fn of_plugins(silent: &str) -> Vec<Case> {
    let request = format!("action: plugin.request, config: {{url: \"http://{silent}/\"}}");
    vec![
        ending(StepStatus::Passed, "- {action: plugin.echo, config: {a: 1}, assert: a == 1}"),
        ending(StepStatus::Error, "- {action: plugin.crash}"),
        ending(StepStatus::Error, "- {action: plugin.none}"),
        ending(StepStatus::Error, "- {action: plugin.request, config: {url: \"http://127.0.0.1:1/\"}}"),
        ending(StepStatus::Error, "- {action: plugin.forever, timeout: 20ms}"),
        ending(StepStatus::Error, format!("- {{timeout: 20ms, {request}}}")),
        ending(StepStatus::Error, "- {action: plugin.exchange, timeout: 20ms}"),
        cancelled("- {id: wait, action: plugin.forever}"),
        cancelled(format!("- {{id: wait, {request}}}")),
        cancelled("- {id: wait, action: plugin.exchange}"),
    ]
}

/// Pages that come and one that does not.
fn of_browsers(server: &str) -> Vec<Case> {
    let open = |path: &str| format!("{{goto: \"http://{server}{path}\"}}");
    let browse = |steps: &str| format!("action: browser, config: {{steps: [{steps}]}}");
    let page = format!("{}, {{expect: {{title: A}}}}", open("/"));
    vec![
        ending(StepStatus::Passed, format!("- {{{}}}", browse(&page))),
        ending(StepStatus::Error, format!("- {{timeout: 2s, {}}}", browse(&open("/hangs")))),
        cancelled(format!("- {{id: wait, timeout: 1m, {}}}", browse(&open("/hangs")))),
    ]
}

/// A server of WebSockets and pages.
async fn pages(tasks: &Tasks) -> String {
    let echo = async |mut socket: WebSocket| {
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                break;
            }
        }
    };
    let app = Router::new()
        .route("/echo", get(async move |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo)))
        .route("/", get(async || Html("<title>A</title>")))
        .route("/hangs", get(std::future::pending::<()>));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = tasks.cancelled().clone();
    tasks.spawn(async move { stop.run_until_cancelled(async { axum::serve(listener, app).await }).await });
    address
}

async fn run(case: &Case, means: &Means) {
    let setting = Setting {
        files: Files::none(),
        programs: means.programs.clone(),
        plugins: means.plugins.clone(),
        cancel: CancellationToken::new(),
        cancel_at: case.cancel_at,
        ..Setting::default()
    };
    let records = run_steps_in(&case.steps, setting).await;
    let last = records.last().unwrap_or_else(|| panic!("nothing ran of {}", case.steps));
    assert!(case.ends.is_none_or(|status| status == last.status), "{}\n{last:#?}", case.steps);
}

/// One test for all kinds, since each counts what the whole process holds.
#[tokio::test]
async fn nothing_is_left_of_a_thousand_runs_of_each_kind() {
    let target = Target::start().await;
    let tasks = Tasks::new();
    let shop = Shop::start(Reflects::V1).await;
    let pages = pages(&tasks).await;
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let guests = guests(silent.local_addr().unwrap().port());
    let kept = tempfile::tempdir().unwrap();
    let plugins = Plugins::in_folder(guests.path(), Grants::All, Some(kept.path())).unwrap();
    let mut kinds = vec![
        ("of every protocol", RUNS, cases(&target, &address)),
        ("with mock servers", RUNS, of_mocks()),
        ("with WebSockets", RUNS, of_websockets(&pages, &target)),
        ("with gRPC calls", RUNS, of_calls(&shop)),
        ("with plugins", RUNS, of_plugins(&address)),
    ];
    let mut programs = Programs::all();
    if let Some(browser) = named_server("TESTMESH_TEST_BROWSER", "Chromium") {
        let path = ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned());
        programs = programs.with_browser(browser).with_environment([path]);
        kinds.push(("with a browser", BROWSER_RUNS, of_browsers(&pages)));
    }
    let means = Means { programs, plugins };
    for (kind, n_runs, cases) in kinds {
        let checked = tokio::time::timeout(TIME, check(kind, n_runs, &cases, &silent, &means)).await;
        assert!(checked.is_ok(), "{n_runs} runs {kind} take longer than {TIME:?}");
    }
}

async fn check(kind: &str, n_runs: usize, cases: &[Case], silent: &TcpListener, means: &Means) {
    let drop_silent = async || {
        // What waits to be accepted is held by this process too.
        while let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(1), silent.accept()).await {}
    };
    // What is made once and kept: threads that block, the servers' listeners, caches.
    for _ in 0..2 {
        join_all(cases.iter().map(|case| run(case, means))).await;
    }
    drop_silent().await;
    let before = settled(|_| false, Duration::from_secs(1)).await;
    let together = TOGETHER.min(n_runs / 2);
    for turn in 0..n_runs / together {
        join_all((0..together).map(|place| run(&cases[(turn * together + place) % cases.len()], means))).await;
        drop_silent().await;
    }
    let after = settled(|held| held.is_within(before), PATIENCE).await;
    assert!(after.is_within(before), "runs {kind}: before: {before:?}, after: {after:?}");
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
