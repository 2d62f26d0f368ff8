//! Which value a name has.

use super::{Setting, run, run_with};
use crate::record::ExecutionStatus;
use crate::value::Value;
use testmesh_shared::error::ErrorCode;

#[tokio::test]
async fn the_nearest_scope_wins() {
    let scopes = ["loop", "captured", "variable", "env", "env_file", "environment", "os"];
    for (first, nearest) in scopes.into_iter().enumerate() {
        check_from(first, nearest).await;
    }
}

/// Defines `name` in the scopes from `first` on, nearest first.
async fn check_from(first: usize, expected: &str) {
    let there = |place: usize| place >= first;
    let env = if there(3) { "env: {name: env}\n" } else { "" };
    let captured = if there(1) { "output: {name: message}" } else { "" };
    let local = if there(0) { "name" } else { "other" };
    let yaml = format!(
        "
name: t
{env}steps:
  - {{id: a, action: log, config: {{message: captured}}, {captured}}}
  - {{id: l, action: for_each, config: {{items: [loop], item_name: {local}, steps: [{{id: s, action: log, config: {{message: '${{name}}'}}}}]}}}}
"
    );
    let pair = |place: usize, text: &'static str| if there(place) { vec![("name", text)] } else { Vec::new() };
    let setting = Setting {
        variables: if there(2) { vec![("name", Value::Text("variable".into()))] } else { Vec::new() },
        env_file: pair(4, "env_file"),
        environment: pair(5, "environment"),
        os_env: pair(6, "os"),
        ..Setting::default()
    };
    let ran = run_with(&yaml, setting).await;
    assert_eq!(ran.logged(), ["captured", expected], "{ran}");
}

#[tokio::test]
async fn env_is_rendered_in_order_against_lower_scopes() {
    let yaml = "
name: t
env:
  X: '${X}'
  URL: 'http://${HOST}:${PORT:8080}/${X}'
  ZERO: 012
steps:
  - {id: a, action: log, config: {message: '${URL} ${ZERO} ${env.X} ${env.low}'}}
  - {id: b, action: assert, config: {assertions: ['env.ZERO == \"012\"', 'vars.HOST == \"h\"']}}
";
    let setting = Setting {
        variables: vec![("HOST", Value::Text("h".into()))],
        environment: vec![("X", "lower"), ("low", "deep")],
        ..Setting::default()
    };
    let ran = run_with(yaml, setting).await;
    assert_eq!(ran.logged(), ["http://h:8080/lower 012 lower deep"], "{ran}");
    assert_eq!(ran.summary.status, ExecutionStatus::Passed, "{ran}");
}

#[tokio::test]
async fn an_env_value_that_cannot_be_resolved_ends_the_run_with_its_name() {
    let ran = run("name: t\nenv: {A: '${nowhere}'}\nsteps: [{id: a, action: panic}]").await;
    let error = ran.summary.error.as_ref().unwrap();
    assert_eq!((ran.summary.status, error.code), (ExecutionStatus::Error, ErrorCode::InvalidFlow));
    assert!(error.message.starts_with("`env.A`: `nowhere` is not defined"), "{}", error.message);
    assert_eq!(ran.statuses(), "");
}

#[tokio::test]
async fn declared_inputs_are_checked_converted_and_filled_in() {
    let yaml = "
name: t
input: {n: {type: integer, required: true}, flag: {type: boolean, default: true}, tag: {}}
steps: [{id: a, action: assert, config: {assertions: ['input.n == 5', 'n + 1 == 6', 'flag', 'input.tag is null']}}]
";
    let given = |text: &'static str| Setting { variables: vec![("n", Value::Text(text.into()))], ..Setting::default() };
    let ran = run_with(yaml, given("5")).await;
    assert_eq!(ran.summary.status, ExecutionStatus::Passed, "{ran}");
    for (setting, message) in [
        (given("five"), "input `n` takes a value of type `integer`, got the string \"five\""),
        (Setting::default(), "input `n` is required"),
    ] {
        let ran = run_with(yaml, setting).await;
        assert_eq!(ran.summary.error.as_ref().unwrap().message, message);
    }
}

#[tokio::test]
async fn ids_may_be_used_again_in_another_phase() {
    let yaml = "
name: t
setup: [{id: c, action: log, config: {message: one}}]
steps: [{id: a, action: log, config: {message: '${c.message}'}}]
teardown: [{id: c, action: log, config: {message: two}}, {id: d, action: log, config: {message: '${c.message}'}}]
";
    assert_eq!(run(yaml).await.logged(), ["one", "one", "two", "two"]);
}

#[tokio::test]
async fn result_keys_come_before_everything_in_assertions() {
    let yaml = "
name: t
env: {message: env}
steps:
  - id: a
    action: log
    config: {message: own}
    assert: ['message == \"own\"', 'result.message == \"own\"', 'response.level == \"info\"', 'a.message == \"own\"', 'env.message == \"env\"']
    output: {message: message, level: '${level}!'}
  - {id: b, action: assert, config: {assertions: ['a.level == \"info\"', 'level == \"info!\"', 'message == \"own\"']}}
";
    let ran = run(yaml).await;
    assert_eq!(ran.summary.status, ExecutionStatus::Passed, "{ran}");
}

#[tokio::test]
async fn a_seed_makes_random_values_repeat() {
    let yaml = "
name: t
steps:
  - {id: a, action: log, config: {message: '${RANDOM_ID} ${random_int(1, 1000000)} ${random_string(8)}'}}
  - {id: b, action: log, config: {message: '${uuid()} ${fake.name()}'}}
";
    let seeded = |seed| run_with(yaml, Setting { seed: Some(seed), ..Setting::default() });
    let (first, second, other) = (seeded(7).await, seeded(7).await, seeded(8).await);
    assert_eq!(first.logged(), second.logged());
    assert_ne!(first.logged(), other.logged());
}
