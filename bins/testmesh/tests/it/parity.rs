//! One file gives one result: here, and on a real server through `--server`.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::program::Folder;
use crate::service::Service;

/// A server with a data folder of its own; it ends when this is dropped.
struct Server {
    url: String,
    process: Child,
}

impl Server {
    fn start(folder: &Folder) -> Self {
        let mut process = Command::new(program())
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_clear()
            .spawn()
            .expect("start the server");
        // Its log stays in the pipe: this short life does not fill it.
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let url = lines
            .map_while(Result::ok)
            .find_map(|line| line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned));
        Self { url: url.expect("the server says where it listens"), process }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server's program, built if need be: cargo builds the programs of a test's own package only.
fn program() -> PathBuf {
    let client = PathBuf::from(env!("CARGO_BIN_EXE_testmesh"));
    let release = client.parent().is_some_and(|folder| folder.ends_with("release"));
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo told this test of its own package: build scripts look at it, and would build dependencies anew.
    let is_own = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.starts_with(start));
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_own(&name.to_string_lossy())) {
        cargo.env_remove(name);
    }
    let built = cargo
        // With the features that the tests of the whole workspace were built with.
        .args(["build", "--quiet", "--workspace", "--bins", "--tests"])
        .args(release.then_some("--release"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("start cargo");
    assert!(built.success(), "the server does not build");
    client.with_file_name(format!("testmesh-server{}", std::env::consts::EXE_SUFFIX))
}

const FLOWS: [(&str, &str); 4] = [
    (
        "http.yaml",
        "flow:
  name: http
  env: {WHO: Ada}
  setup:
    - {id: begin, action: log, config: {message: \"for ${WHO}\"}}
  steps:
    - id: ask
      action: http_request
      config: {method: GET, url: \"${BASE}/ok\"}
      assert: [status == 200, 'body.name == WHO']
      output: {name: body.name}
    - id: each
      action: for_each
      config:
        items: [1, 2]
        steps:
          - {id: say, action: log, config: {message: \"${item} ${name}\"}}
    - {id: never, action: log, when: 'name == \"Bob\"', config: {message: x}}
",
    ),
    (
        "failing.yaml",
        "flow:
  name: failing
  steps:
    - id: ask
      action: http_request
      config: {method: POST, url: \"${BASE}/status/500\", body: {a: 1}}
      retry: {max_attempts: 2, delay: 1ms}
      assert: [status == 201, 'body.items == [1]']
    - {id: later, action: log, config: {message: never}}
  teardown:
    - {id: clean, action: log, config: {message: \"${FLOW_STATUS}\"}}
",
    ),
    (
        "unreachable.yaml",
        "flow: {name: unreachable, steps: [{action: http_request, config: {method: GET, url: \"http://127.0.0.1:1/\"}}]}",
    ),
    (
        "rows.yaml",
        "flow: {name: rows, env_file: values.env, data: [{n: 1}, {n: 2}], steps: [{action: assert, config: {assertions: [n == ONE]}}]}",
    ),
];

/// A report without what differs from run to run: ids, times, and who ran it.
fn comparable(report: &str) -> Value {
    fn strip(value: &mut Value) {
        const OWN: [&str; 17] = [
            "id",
            "queued_at",
            "started_at",
            "finished_at",
            "duration_ms",
            "trace_id",
            "runner",
            "time",
            "timings",
            "date",
            "traceparent",
            "flow_version",
            "elapsed_ms",
            "definition",
            "peer",
            "total",
            "first_byte",
        ];
        match value {
            Value::Object(fields) => {
                // A step's id is its name in the flow and stays.
                let is_step = fields.contains_key("ordinal");
                fields.retain(|name, _| !OWN.contains(&name.as_str()) || (is_step && name == "id"));
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut report: Value = serde_json::from_str(report).expect("the report is JSON");
    strip(&mut report);
    report
}

#[test]
fn a_file_gives_the_same_result_here_and_on_a_server() {
    let service = Service::start(1);
    let folder = Folder::with(&FLOWS);
    folder.write("values.env", "ONE=1\n");
    let server = Server::start(&folder);
    let base = format!("BASE={}", service.base);
    let mut arguments = vec!["run", "--var", &base, "--parallel", "1"];
    arguments.extend(FLOWS.iter().map(|(name, _)| *name));
    let here = folder.run(&[&arguments[..], &["--report", "json=here.json"]].concat()).expect_code(1);
    let there = ["--report", "json=there.json", "--server", &server.url];
    let there = folder.run(&[&arguments[..], &there].concat()).expect_code(1);
    let (ours, theirs) = (comparable(&folder.read("here.json")), comparable(&folder.read("there.json")));
    assert_eq!(
        serde_json::to_string_pretty(&ours).expect("JSON"),
        serde_json::to_string_pretty(&theirs).expect("JSON"),
        "here:\n{}\nthere:\n{}",
        here.out,
        there.out
    );
    assert_eq!(ours["totals"]["flows"], 5);
}
