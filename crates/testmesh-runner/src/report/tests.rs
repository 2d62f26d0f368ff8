//! Reports of one set of runs in every format: well-formed, complete, escaped, and agreeing with the run's verdict.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde_json::json;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::ids::ExecutionId;

use super::{ReportEntry, ReportFormat, Totals, detail, render};
use crate::record::{
    AssertionRecord, ErrorKind, Execution, ExecutionError, ExecutionStatus, LogRecord, Phase, StepError, StepRecord,
    StepStatus, Trigger,
};

const NASTY: &str = "<script>alert(\"x\")</script> & # 'q' \u{1b}[31m \u{0} \u{ffff} ]]> \\";

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a valid time")
}

fn execution(name: &str, status: ExecutionStatus, steps: Vec<StepRecord>) -> ReportEntry {
    let execution = Execution {
        id: ExecutionId::from(uuid::Uuid::from_u128(1)),
        flow_id: None,
        flow_name: name.to_owned(),
        flow_version: None,
        status,
        trigger: Trigger::Cli,
        schedule_id: None,
        job_id: None,
        attempt: 1,
        batch_id: None,
        environment: None,
        variables: IndexMap::new(),
        queued_at: start(),
        started_at: Some(start()),
        finished_at: Some(start()),
        duration_ms: Some(1_234),
        total_steps: u32::try_from(steps.len()).expect("few steps"),
        passed_steps: 0,
        failed_steps: 0,
        skipped_steps: 0,
        error: None,
        trace_id: None,
        runner: None,
        definition: None,
        steps: Some(steps.into_iter().map(Arc::new).collect()),
    };
    ReportEntry { file: Some("flows/a b.yaml".to_owned()), execution }
}

fn step(ordinal: u32, name: &str, status: StepStatus) -> StepRecord {
    StepRecord {
        ordinal,
        id: format!("step_{ordinal}"),
        name: name.to_owned(),
        action: "http_request".into(),
        phase: Phase::Main,
        parent: None,
        iteration: None,
        line: 10 + ordinal,
        status,
        skip_reason: None,
        attempt: 1,
        attempts: Vec::new(),
        started_at: start(),
        duration_ms: 7,
        request: None,
        response: None,
        assertions: Vec::new(),
        outputs: IndexMap::new(),
        logs: Vec::new(),
        error: None,
    }
}

fn failed_assertion(expression: &str, actual: serde_json::Value, expected: serde_json::Value) -> AssertionRecord {
    AssertionRecord {
        expression: expression.into(),
        passed: false,
        actual: Some(actual),
        expected: Some(expected),
        message: Some("it does not hold".to_owned()),
        line: 42,
    }
}

fn failing_step(ordinal: u32) -> StepRecord {
    let mut failing = step(ordinal, NASTY, StepStatus::Failed);
    failing.assertions = vec![
        failed_assertion("status == 201", json!(500), json!(201)),
        failed_assertion("body == wanted", json!({"a": 1, "b": NASTY}), json!({"a": 2, "b": NASTY})),
    ];
    failing.response = Some(json!({"status": 500, "headers": {"x": NASTY}, "body": {"html": NASTY}}).into());
    failing.logs = vec![LogRecord { time: start(), level: "info".to_owned(), message: NASTY.to_owned(), data: None }];
    failing
}

/// One run of each kind: passed, failed, failed in a nested step, no verdict, teardown failed beside a pass.
fn entries() -> Vec<ReportEntry> {
    let mut loop_step = step(1, "loop", StepStatus::Failed);
    loop_step.error = Some(StepError { kind: ErrorKind::Assertion, message: "a nested step failed".to_owned() });
    let mut nested = failing_step(2);
    nested.name = "nested".to_owned();
    nested.parent = Some(1);
    nested.iteration = Some(3);
    let mut skipped = step(2, "later", StepStatus::Skipped);
    skipped.skip_reason = Some("an earlier step failed".to_owned());
    let mut teardown = step(2, "clean", StepStatus::Error);
    teardown.phase = Phase::Teardown;
    teardown.error = Some(StepError { kind: ErrorKind::Connection, message: "cannot connect to `db`".to_owned() });
    let mut unread = execution("broken.yaml", ExecutionStatus::Error, Vec::new());
    unread.execution.error = Some(ExecutionError {
        code: ErrorCode::InvalidFlow,
        message: "error[unknown_action]: no action `htp`\n  at 3:5".to_owned(),
    });
    vec![
        execution("good", ExecutionStatus::Passed, vec![step(1, "one", StepStatus::Passed)]),
        execution(NASTY, ExecutionStatus::Failed, vec![failing_step(1), skipped]),
        execution("loops", ExecutionStatus::Failed, vec![loop_step, nested]),
        unread,
        execution("cleaned badly", ExecutionStatus::Passed, vec![step(1, "one", StepStatus::Passed), teardown]),
    ]
}

/// Walks XML or XHTML-like text and fails on anything that is not well-formed; gives the number of each element.
fn elements(text: &str) -> IndexMap<String, usize> {
    let mut open = Vec::new();
    let mut counts = IndexMap::new();
    let mut rest = text;
    while let Some(begin) = rest.find('<') {
        assert!(!rest[..begin].contains('>'), "a bare `>` in {:?}", &rest[..begin]);
        let end = begin + rest[begin..].find('>').expect("every tag is closed");
        let tag = &rest[begin + 1..end];
        rest = &rest[end + 1..];
        if tag.starts_with('?') {
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "odd quotes in `{tag}`");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().expect("a tag has a name").to_owned();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
            continue;
        }
        *counts.entry(name.clone()).or_insert(0) += 1;
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    counts
}

#[test]
fn junit_is_well_formed_and_agrees_with_the_verdicts() {
    let text = render(ReportFormat::Junit, &entries());
    let counts = elements(&text);
    assert_eq!(counts["testsuite"], 5);
    assert_eq!(counts["testcase"], 7, "six top-level steps and one file that does not parse");
    assert_eq!(counts["failure"], 2);
    assert_eq!(counts["error"], 1);
    assert_eq!(counts["skipped"], 1);
    assert_eq!(counts["system-err"], 1, "the teardown beside the pass");
    assert!(text.contains("<testsuites name=\"testmesh\" tests=\"7\" failures=\"2\" errors=\"1\" time=\"6.170\">"));
    assert!(text.contains("line=\"11\""), "{text}");
    assert!(text.contains("in step `nested [3]`:&#10;status == 201&#10;"), "{text}");
    assert!(text.contains("actual:   500&#10;"), "{text}");
}

#[test]
fn junit_holds_no_character_that_xml_forbids() {
    let text = render(ReportFormat::Junit, &entries());
    let bad = text.chars().find(|&c| (c.is_control() && c != '\n') || matches!(c, '\u{fffe}' | '\u{ffff}'));
    assert_eq!(bad, None);
}

#[test]
fn html_escapes_everything_and_loads_nothing() {
    let text = render(ReportFormat::Html, &entries());
    assert!(!text.contains("<script"), "markup from a flow must stay text");
    for outside in ["http://", "https://", "src=", "<link", "@import", "url("] {
        assert!(!text.contains(outside), "the page must not refer to `{outside}`");
    }
    let body = &text[text.find("<body>").expect("a body")..];
    let body = &body[..body.find("</html>").expect("an end")];
    let counts = elements(&body.replace("<br>", "<br/>"));
    assert_eq!(counts["details"] - body.matches("class=\"step\"").count(), 5, "one fold per flow");
}

#[test]
fn html_opens_what_failed_and_folds_what_passed() {
    let text = render(ReportFormat::Html, &entries());
    let opened = text.lines().filter(|line| line.contains("class=\"flow\" open")).count();
    assert_eq!(opened, 3);
    assert!(text.contains("<span class=\"expected\">-   &quot;a&quot;: 2,</span>"), "{text}");
    assert!(text.contains("<span class=\"actual\">+   &quot;a&quot;: 1,</span>"), "{text}");
}

#[test]
fn json_made_of_parts_is_laid_out_like_json_made_at_once() {
    let all = entries();
    for n in [0, 1, all.len()] {
        let text = render(ReportFormat::Json, &all[..n]);
        let report: serde_json::Value = serde_json::from_str(&text).expect("the report is JSON");
        assert_eq!(report["executions"].as_array().map(Vec::len), Some(n));
        let whole = serde_json::to_string_pretty(&report).expect("JSON");
        assert_eq!(text, format!("{whole}\n"));
    }
}

#[test]
fn json_holds_totals_and_every_step() {
    let report: serde_json::Value =
        serde_json::from_str(&render(ReportFormat::Json, &entries())).expect("the report is JSON");
    let totals = &report["totals"];
    for (name, count) in [("flows", 5), ("passed", 2), ("failed", 2), ("errors", 1), ("steps", 6), ("failed_steps", 3)]
    {
        assert_eq!(totals[name], count, "{name}");
    }
    assert_eq!(report["executions"][2]["steps"][1]["parent"], 1);
    assert_eq!(report["executions"][1]["file"], "flows/a b.yaml");
}

#[test]
fn tap_has_a_plan_a_point_per_flow_and_closed_blocks() {
    let text = render(ReportFormat::Tap, &entries());
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..2], ["TAP version 14", "1..5"]);
    let points: Vec<_> = lines.iter().filter(|line| line.starts_with("ok ") || line.starts_with("not ok ")).collect();
    assert_eq!(points.len(), 5);
    assert_eq!(points.iter().filter(|line| line.starts_with("not ok ")).count(), 3);
    let count = |mark: &str| lines.iter().filter(|line| line.trim() == mark).count();
    assert_eq!(count("---"), count("..."));
    assert!(lines.contains(&"    ok 2 - later # SKIP an earlier step failed"), "{text}");
    assert!(text.contains("    not ok 2 - teardown: clean # TODO "), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "control characters are escaped");
}

#[test]
fn totals_count_flows_and_top_level_steps() {
    let totals = Totals::of(&entries());
    assert_eq!((totals.flows, totals.passed, totals.failed, totals.errors), (5, 2, 2, 1));
    assert_eq!((totals.steps, totals.passed_steps, totals.failed_steps, totals.skipped_steps), (6, 2, 3, 1));
}

#[test]
fn a_diff_is_made_for_equalities_of_lists_maps_and_long_texts_alone() {
    let long = "x".repeat(100);
    for (expression, actual, expected, wanted) in [
        ("body == x", json!([1, 2]), json!([1, 3]), true),
        ("body == x", json!({"a": 1}), json!({"a": 2}), true),
        ("body == x", json!(long), json!(format!("{long}y")), true),
        ("body == x", json!("a\nb"), json!("a\nc"), true),
        ("body == 1", json!(2), json!(1), false),
        ("body == x", json!("short"), json!("text"), false),
        ("body contains x", json!([1, 2]), json!([3]), false),
        ("body == x", json!([1, 2]), json!(3), false),
    ] {
        let assertion = failed_assertion(expression, actual, expected);
        assert_eq!(detail::diff(&assertion).is_some(), wanted, "{assertion:?}");
    }
}

#[test]
fn a_steps_error_repeats_no_failed_assertion() {
    let mut failed = step(1, "check", StepStatus::Failed);
    let cases = [
        (0, "no route to host", Some("no route to host")),
        (1, "said 0", None),
        (2, "2 of 2 assertions failed, first: said 0", None),
        (1, "said 0; output `id`: the result has no value there", Some("output `id`: the result has no value there")),
        (2, "2 of 2 assertions failed, first: said 0; output `id`: none", Some("output `id`: none")),
        (1, "something else", Some("something else")),
    ];
    for (n_assertions, message, expected) in cases {
        failed.assertions = (0..n_assertions)
            .map(|nth| AssertionRecord {
                message: Some(format!("said {nth}")),
                ..failed_assertion("status == 200", json!(500), json!(200))
            })
            .collect();
        failed.error = Some(StepError { kind: ErrorKind::Expression, message: message.to_owned() });
        assert_eq!(detail::untold(&failed), expected, "{message}");
    }
}
