//! What `run` prints, format by format, with times and ids filtered.

use crate::program::{Folder, filtered};
use crate::service::Service;

const FLOW: &str = "flow:
  name: shop
  steps:
    - id: ask
      name: ask the shop
      action: http_request
      config:
        method: POST
        url: \"${BASE}/status/500\"
        body: {id: 7}
      assert:
        - status == 201
        - body.items == [1, 2, 4]
        - body.code == 500
    - id: later
      action: log
      config: {message: later}
  teardown:
    - id: clean
      action: log
      config: {message: cleaned}
";

fn printed(format: &str) -> String {
    let service = Service::start(1);
    let folder = Folder::with(&[("shop.yaml", FLOW)]);
    let base = format!("BASE={}", service.base);
    let said = folder.run(&["run", "shop.yaml", "--format", format, "--var", &base]).expect_code(1);
    filtered(&said.out.replace(&service.base, "BASE"))
}

#[test]
fn pretty_shows_request_response_and_both_values() {
    assert_eq!(printed("pretty"), PRETTY);
}

#[test]
fn github_adds_annotations_and_obeys_no_command_of_a_reply() {
    let text = printed("github");
    let lines: Vec<_> = text.lines().collect();
    let guard = lines.iter().position(|line| line.starts_with("::stop-commands::")).expect("the guard begins");
    assert_eq!(guard, 0, "{text}");
    let end = lines.iter().skip(1).position(|line| line.starts_with("::")).expect("the guard ends") + 1;
    assert!(lines[end].ends_with("::") && !lines[end].contains("error"), "{text}");
    assert!(
        lines[end + 1].starts_with("::error title=shop%3A ask the shop,file=shop.yaml,line=12::status == 201%0A"),
        "{text}"
    );
}

#[test]
fn json_is_every_event_and_a_summary() {
    let text = printed("json");
    let events: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect();
    let (summary, events) = events.split_last().expect("at least the summary");
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    let expect = [
        "execution.queued",
        "execution.started",
        "step.started",
        "step.finished",
        "step.started",
        "log",
        "step.finished",
        "execution.finished",
    ];
    assert_eq!(kinds, expect);
    let numbers: Vec<_> = events.iter().map(|event| event["seq"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, (1..=8).collect::<Vec<u64>>());
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["totals"]["failed"], 1);
}

#[test]
fn tap_is_a_whole_report() {
    let text = printed("tap");
    assert!(
        text.starts_with("TAP version 14\n1..1\n# Subtest: shop\n    1..2\n    not ok 1 - ask the shop\n"),
        "{text}"
    );
    assert!(text.contains("    ok 2 - teardown: clean\n"), "{text}");
    assert!(text.contains("\nnot ok 1 - shop\n"), "{text}");
}

#[test]
fn colours_are_for_terminals_and_for_those_who_ask() {
    let folder =
        Folder::with(&[("a.yaml", "flow: {name: a, steps: [{action: log, config: {message: \"\\e[31mred\"}}]}")]);
    let plain = folder.run(&["run", "a.yaml"]).expect_code(0);
    assert!(!plain.out.contains('\u{1b}'), "neither colours nor those of the flow: {:?}", plain.out);
    assert!(plain.out.contains("␛[31mred"), "{:?}", plain.out);
    let coloured = folder.run(&["run", "a.yaml", "--color", "always"]).expect_code(0);
    assert!(coloured.out.contains("\u{1b}[32m✓\u{1b}[0m"), "{:?}", coloured.out);
}

const PRETTY: &str = r#"✗ shop (1 of 3 steps, N ms)
  ✗ ask the shop  N ms  shop.yaml:4
      → POST BASE/status/500
        user-agent: testmesh/0.1.0
        accept: */*
        accept-encoding: gzip, deflate, br, zstd
        content-type: application/json
        traceparent: ID
        {
          "id": 7
        }
      ← 500 in N ms
        content-type: application/json
        content-length: 28
        {
          "code": 500,
          "items": [
            1,
            2,
            3
          ]
        }
      ✗ status == 201  shop.yaml:12
          actual    500
          expected  201
      ✗ body.items == [1, 2, 4]  shop.yaml:13
          - expected + actual
            [
              1,
              2,
          -   4
          +   3
            ]
  ✓ teardown: clean  N ms
      info cleaned

1 flow: 1 failed · 2 steps · N ms
"#;
