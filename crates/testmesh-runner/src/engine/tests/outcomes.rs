//! What single steps come to: assertions, outputs, `when`, `on_error`, results.

use super::{Setting, run, run_with};
use crate::engine::Detail;
use crate::files::Files;
use crate::record::{ErrorKind, ExecutionStatus};

async fn check(steps: &str, status: ExecutionStatus, statuses: &str) -> super::Ran {
    let ran = run(&format!("name: t\nsteps:\n{steps}")).await;
    assert_eq!((ran.summary.status, ran.statuses().as_str()), (status, statuses), "{ran}");
    ran
}

#[tokio::test]
async fn a_flow_of_passing_steps_passes() {
    let steps = "
  - id: one
    action: log
    config: {message: hello}
    assert: [message == \"hello\", level == \"info\"]
    output: {text: message}
  - id: two
    action: assert
    config:
      assertions: ['one.text == text', 'one.message == \"hello\"', 'steps.one.level == \"info\"']
";
    let ran = check(steps, ExecutionStatus::Passed, "one=passed two=passed").await;
    assert_eq!(ran.logged(), ["hello"]);
    assert_eq!(ran.step("one").outputs["text"], "hello");
    assert_eq!(ran.step("two").assertions.len(), 3);
    assert_eq!((ran.execution.total_steps, ran.execution.passed_steps), (2, 2));
    assert_eq!(ran.execution.trace_id.as_deref().map(str::len), Some(32));
}

#[tokio::test]
async fn every_assertion_is_evaluated_and_every_failure_recorded() {
    let steps = "
  - id: one
    action: transform
    config: {input: {a: 1, b: 2}}
    assert: [a == 2, b == 2, 'a > 5']
    output: {c: nothing.here, a: a}
";
    let ran = check(steps, ExecutionStatus::Failed, "one=failed").await;
    let step = ran.step("one");
    assert_eq!(step.assertions.iter().map(|it| it.passed).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(step.assertions[0].actual, Some(1.into()));
    assert_eq!(step.assertions[0].expected, Some(2.into()));
    assert_eq!(step.outputs["a"], 1, "outputs that there are, are captured");
    let error = step.error.as_ref().unwrap();
    assert_eq!(error.kind, ErrorKind::Assertion);
    assert!(error.message.starts_with("2 of 3 assertions failed, first: "), "{}", error.message);
    assert!(error.message.contains("output `c`"), "{}", error.message);
}

#[tokio::test]
async fn groups_of_assertions_hold_as_their_names_say() {
    for (group, expected) in [
        ("assert_any: [a == 2, a == 1]", "one=passed"),
        ("assert_any: [a == 2, a == 3]", "one=failed"),
        ("assert_none: [a == 2, a == 3]", "one=passed"),
        ("assert_none: [a == 2, a == 1]", "one=failed"),
    ] {
        let ran =
            run(&format!("name: t\nsteps:\n  - {{id: one, action: transform, config: {{input: {{a: 1}}}}, {group}}}"))
                .await;
        assert_eq!(ran.statuses(), expected, "{group}");
    }
}

#[tokio::test]
async fn a_missing_output_fails_the_step_unless_it_may_be_missing() {
    let steps = "
  - id: one
    action: transform
    config: {input: {a: 1}}
    output: {x: 'b?', y: {path: b, default: 7}, z: '${a}-${b ?? 2}'}
  - id: two
    action: assert
    config: {assertions: ['x is null', 'y == 7', 'z == \"1-2\"']}
";
    check(steps, ExecutionStatus::Passed, "one=passed two=passed").await;
}

#[tokio::test]
async fn a_failed_step_ends_the_flow_and_an_own_message_is_told() {
    let steps = "
  - id: one
    action: assert
    config: {assertions: [{expression: 1 > 2, message: 'one is ${FLOW_NAME}'}]}
  - {id: two, action: log, config: {message: never}}
";
    let ran = check(steps, ExecutionStatus::Failed, "one=failed").await;
    assert_eq!(ran.message("one"), "one is t");
    assert_eq!(ran.execution.total_steps, 2);
}

#[tokio::test]
async fn without_fail_fast_the_flow_goes_on_and_fails_at_the_end() {
    let yaml = "
name: t
config: {fail_fast: false}
setup: [{id: zero, action: assert, config: {assertions: ['1 > 2']}}]
steps:
  - {id: one, action: assert, config: {assertions: ['1 > 2']}}
  - {id: two, action: assert, config: {data: '${one}', assertions: ['error.kind == \"assertion\"', 'failed == 1']}}
";
    let ran = run(yaml).await;
    assert_eq!(ran.statuses(), "zero=failed one=failed two=passed", "{ran}");
    assert_eq!(ran.summary.status, ExecutionStatus::Failed);
    assert_eq!(ran.execution.failed_steps, 2);
}

#[tokio::test]
async fn tolerated_failures_let_the_flow_pass_and_publish_their_error() {
    let steps = "
  - id: one
    action: assert
    config: {assertions: ['1 > 2']}
    on_error: continue
  - {id: two, action: assert, config: {assertions: ['one.error.kind == \"assertion\"']}}
";
    let ran = check(steps, ExecutionStatus::Passed, "one=tolerated two=passed").await;
    assert_eq!((ran.execution.passed_steps, ran.execution.failed_steps), (1, 0));
}

#[tokio::test]
async fn an_error_handler_sees_the_error_and_decides_how_it_goes_on() {
    let handler = |extra: &str| {
        format!(
            "
  - id: one
    action: assert
    config: {{assertions: ['1 > 2']}}
    on_error:{extra}
      steps: [{{id: help, action: log, config: {{message: 'kind ${{error.kind}}'}}}}]
  - {{id: two, action: log, config: {{message: on}}}}
"
        )
    };
    let ran = check(&handler(""), ExecutionStatus::Failed, "one=failed help=passed").await;
    assert_eq!(ran.logged(), ["kind assertion"]);
    assert_eq!(ran.step("help").parent, Some(1));
    let go_on = handler("\n      action: continue");
    check(&go_on, ExecutionStatus::Passed, "one=tolerated help=passed two=passed").await;
}

#[tokio::test]
async fn steps_are_skipped_with_the_reason_kept() {
    let steps = "
  - {id: one, action: log, config: {message: a}, when: 1 > 2}
  - {id: two, action: log, config: {message: b}, disabled: true}
  - {id: three, action: log, config: {message: c}, when: 1 < 2}
";
    let ran = check(steps, ExecutionStatus::Passed, "one=skipped two=skipped three=passed").await;
    assert_eq!(ran.step("one").skip_reason.as_deref(), Some("`when` does not hold: 1 > 2"));
    assert_eq!(ran.step("two").skip_reason.as_deref(), Some("disabled"));
    assert_eq!(ran.execution.skipped_steps, 2);
}

#[tokio::test]
async fn a_when_that_cannot_be_evaluated_is_an_error() {
    let ran = check(
        "  - {id: one, action: log, config: {message: a}, when: nowhere > 2}",
        ExecutionStatus::Failed,
        "one=error",
    )
    .await;
    assert_eq!(ran.step("one").error.as_ref().unwrap().kind, ErrorKind::Expression);
    assert!(ran.message("one").contains("`nowhere` is not defined"), "{ran}");
}

#[tokio::test]
async fn an_undefined_name_in_the_configuration_is_an_error_that_names_the_key() {
    let ran =
        check("  - {id: one, action: log, config: {message: '${nowhere}'}}", ExecutionStatus::Failed, "one=error")
            .await;
    assert!(ran.message("one").starts_with("`message`: `nowhere` is not defined"), "{ran}");
}

#[tokio::test]
async fn a_dry_run_skips_every_step() {
    let yaml = "
name: t
setup: [{id: a, action: panic}]
steps: [{id: b, action: panic}]
teardown: [{id: c, action: panic}]
output: {x: '${b.x}'}
";
    let ran = run_with(yaml, Setting { dry_run: true, ..Setting::default() }).await;
    assert_eq!(ran.statuses(), "a=skipped b=skipped c=skipped");
    assert_eq!(ran.summary.status, ExecutionStatus::Passed);
    assert!(ran.steps().iter().all(|step| step.skip_reason.as_deref() == Some("dry run")));
}

#[tokio::test]
async fn a_value_is_held_against_a_schema() {
    let flow = |wanted: &str| {
        format!(
            "
  - id: one
    action: assert
    config:
      data: {{a: 1}}
      assertions:
        - response: {{id: 5}}
          matches_schema: {{type: object, required: [{wanted}]}}
"
        )
    };
    check(&flow("id"), ExecutionStatus::Passed, "one=passed").await;
    let ran = check(&flow("other"), ExecutionStatus::Failed, "one=failed").await;
    assert!(ran.message("one").contains("other"), "{ran}");
}

#[tokio::test]
async fn text_that_a_reference_inserted_is_never_looked_at_again() {
    let yaml = "
name: t
steps:
  - {id: one, action: log, config: {message: '${name}'}}
  - {id: two, action: transform, config: {input: {a: 1}, transforms: {b: '${name}', c: \"$a\"}}, assert: ['b == name', c == 1]}
";
    let variables = vec![("name", crate::value::Value::Text("$.a ${HOST} {{HOST}}".into()))];
    let ran = run_with(yaml, Setting { variables, ..Setting::default() }).await;
    assert_eq!(ran.statuses(), "one=passed two=passed", "{ran}");
    assert_eq!(ran.logged(), ["$.a ${HOST} {{HOST}}"]);
}

#[tokio::test]
async fn files_hold_schemas_and_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("s.json"), r#"{"required": ["a"]}"#).unwrap();
    let yaml = |assertion: &str| {
        format!(
            "name: t\nsteps: [{{id: one, action: transform, config: {{input: {{a: 1}}}}, assert: ['{assertion}']}}]"
        )
    };
    let files = || Some(Files { base: folder.path().to_owned(), root: None, enabled: true });
    for (assertion, update_snapshots, expected) in [
        ("result matches_schema \"s.json\"", false, "one=passed"),
        ("a matches_schema \"none.json\"", false, "one=failed"),
        ("result match_snapshot \"x\"", false, "one=failed"),
        ("result match_snapshot \"x\"", true, "one=passed"),
        ("result match_snapshot \"x\"", false, "one=passed"),
        ("a match_snapshot \"x\"", false, "one=failed"),
    ] {
        let setting = Setting { files: files(), update_snapshots, ..Setting::default() };
        let ran = run_with(&yaml(assertion), setting).await;
        assert_eq!(ran.statuses(), expected, "{assertion}: {ran}");
    }
}

#[tokio::test]
async fn names_of_steps_are_resolved() {
    let ran = run("name: t\nsteps: [{id: a, name: 'in ${FLOW_NAME}', action: log, config: {message: x}}]").await;
    assert_eq!(ran.step("a").name, "in t");
}

#[tokio::test]
async fn of_a_step_that_passed_no_more_is_told_than_was_asked_for() {
    let step = |id: &str, a: u8, more: &str| {
        let config = "{input: {a: 1}}, output: {x: $.a}";
        format!("  - {{id: {id}, action: transform, config: {config}, assert: ['a == {a}', 'a < 2']{more}}}\n")
    };
    let tolerated = step("tolerated", 2, ", on_error: continue");
    let yaml = format!("name: t\nsteps:\n{}{tolerated}{}", step("passed", 1, ""), step("failed", 2, ""));
    for (detail, tells_passed) in [(Detail::Full, true), (Detail::Failures, false)] {
        let ran = run_with(&yaml, Setting { detail, ..Setting::default() }).await;
        assert_eq!(ran.statuses(), "passed=passed tolerated=tolerated failed=failed", "{ran}");
        for (id, tells) in [("passed", tells_passed), ("tolerated", true), ("failed", true)] {
            let step = ran.step(id);
            assert_eq!(step.response.is_some(), tells, "{detail:?} {id}");
            assert_eq!(step.outputs.contains_key("x"), tells, "{detail:?} {id}");
            let compared: Vec<bool> = step.assertions.iter().map(|made| made.actual.is_some()).collect();
            // A passed assertion explains no failure.
            assert_eq!(compared, [tells, tells_passed], "{detail:?} {id}");
        }
    }
}
