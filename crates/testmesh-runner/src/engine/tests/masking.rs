//! Secrets show nowhere.

use super::{Setting, run_with};
use crate::record::ExecutionStatus;

const SECRET: &str = "s3cr3t/+ \"value\"";

#[tokio::test(start_paused = true)]
async fn a_secret_is_masked_in_every_event() {
    let yaml = "
name: t
env: {COPY: 'a ${secrets.KEY} b'}
setup: [{id: zero, name: 'with ${KEY}', action: log, config: {message: '${COPY}', data: {deep: ['${KEY}']}}}]
steps:
  - id: one
    action: transform
    config: {input: {k: '${KEY}', '${KEY}': 1, json: '${toJSON({\"x\": KEY})}'}}
    output: {captured: k}
    on_error: continue
    assert: ['k == \"other\"', {expression: '1 > 2', message: 'not ${KEY}'}]
    retry: {max_attempts: 2, delay: 1s}
  - {id: two, action: log, config: {message: \"${captured} ${KEY}\"}, when: 'KEY == \"x\"'}
  - {id: three, action: for_each, config: {items: ['${KEY}'], steps: [{id: in, action: log, config: {message: '${item}'}}]}}
  - {id: four, action: log, config: {level: '${KEY}', message: x}}
teardown: [{id: five, action: assert, config: {data: {k: '${KEY}'}, assertions: ['k == \"y\"']}}]
";
    let ran = run_with(yaml, Setting { secrets: vec![("KEY", SECRET)], ..Setting::default() }).await;
    assert_eq!(
        ran.statuses(),
        "zero=passed one=tolerated two=skipped three=passed in=passed four=error five=failed",
        "{ran}"
    );
    assert_eq!(ran.summary.status, ExecutionStatus::Failed);
    for event in &ran.events {
        let text = serde_json::to_string(event).unwrap();
        assert!(!text.contains("s3cr3t"), "{text}");
    }
    assert_eq!(ran.logged()[0], "a *** b");
    assert_eq!(ran.step("zero").name, "with ***");
    assert_eq!(ran.step("one").outputs["captured"], "***");
    assert!(ran.message("five").contains("***"), "{ran}");
}

#[tokio::test]
async fn steps_still_work_with_the_secret_itself() {
    let yaml = "name: t\nsteps: [{id: a, action: assert, config: {assertions: ['KEY == \"p@ssw0rd\"', 'secrets.KEY == KEY']}}]";
    let ran = run_with(yaml, Setting { secrets: vec![("KEY", "p@ssw0rd")], ..Setting::default() }).await;
    assert_eq!(ran.summary.status, ExecutionStatus::Passed, "{ran}");
}
