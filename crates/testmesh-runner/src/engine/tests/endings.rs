//! How runs end: teardown, cancellation, time-outs, panics.

use std::time::Duration;

use testmesh_shared::error::ErrorCode;
use tokio::time::Instant;

use super::{Setting, run, run_with};
use crate::event::{RunEvent, RunEventKind};
use crate::record::{ErrorKind, ExecutionStatus};

const TEARDOWN: &str = "
teardown:
  - {id: down1, action: assert, config: {assertions: ['1 > 2']}}
  - {id: down2, action: log, config: {message: '${FLOW_STATUS}'}}
";

fn started(id: &'static str) -> Setting {
    let at = move |event: &RunEvent| matches!(&event.kind, RunEventKind::StepStarted(start) if start.id == id);
    Setting { cancel_at: Some(Box::new(at)), ..Setting::default() }
}

async fn check(yaml: &str, setting: Setting, status: ExecutionStatus, statuses: &str) -> super::Ran {
    let ran = run_with(&format!("name: t\n{yaml}{TEARDOWN}"), setting).await;
    assert_eq!((ran.summary.status, ran.statuses().as_str()), (status, statuses), "{ran}");
    assert_eq!(ran.logged(), [status.as_str()], "`FLOW_STATUS` in teardown");
    ran
}

#[tokio::test(start_paused = true)]
async fn every_step_of_teardown_runs_whatever_happened() {
    let cases = [
        ("steps: [{id: a, action: log, config: {message: passed}, when: 1 > 2}]", ExecutionStatus::Passed, "a=skipped"),
        ("steps: [{id: a, action: assert, config: {assertions: ['1 > 2']}}]", ExecutionStatus::Failed, "a=failed"),
        (
            "setup: [{id: z, action: assert, config: {assertions: ['1 > 2']}}]\nsteps: [{id: a, action: panic}]",
            ExecutionStatus::Failed,
            "z=failed",
        ),
        (
            "config: {timeout: 1s}\nsteps: [{id: a, action: delay, config: {duration: 1h}}, {id: b, action: panic}]",
            ExecutionStatus::Error,
            "a=cancelled",
        ),
        ("steps: [{id: a, action: panic}, {id: b, action: panic}]", ExecutionStatus::Error, "a=error"),
    ];
    for (yaml, status, statuses) in cases {
        check(yaml, Setting::default(), status, &format!("{statuses} down1=failed down2=passed")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn cancelling_stops_a_long_wait_at_once_and_runs_teardown() {
    let since = Instant::now();
    let yaml = "steps: [{id: a, action: delay, config: {duration: 60s}}, {id: b, action: panic}]";
    let ran = check(yaml, started("a"), ExecutionStatus::Cancelled, "a=cancelled down1=failed down2=passed").await;
    assert!(since.elapsed() < Duration::from_secs(1));
    assert_eq!(ran.summary.error.unwrap().code, ErrorCode::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn cancelling_reaches_nested_steps_and_each_says_how_it_ended() {
    let yaml = "
steps:
  - id: loop
    action: for_each
    config:
      items: 5
      steps:
        - id: both
          action: parallel
          config: {steps: [{id: x, action: delay, config: {duration: 1h}}, {id: y, action: delay, config: {duration: 1h}}]}
  - {id: never, action: panic}
";
    let expected = "loop=cancelled both=cancelled x=cancelled y=cancelled down1=failed down2=passed";
    check(yaml, started("y"), ExecutionStatus::Cancelled, expected).await;
}

#[tokio::test(start_paused = true)]
async fn cancelling_between_two_attempts_ends_the_step() {
    let yaml = "
steps:
  - id: a
    action: assert
    config: {assertions: ['1 > 2']}
    retry: {max_attempts: 5, delay: 10m, max_delay: 10m}
";
    let at = |event: &RunEvent| matches!(event.kind, RunEventKind::StepRetrying { .. });
    let setting = Setting { cancel_at: Some(Box::new(at)), ..Setting::default() };
    let ran = check(yaml, setting, ExecutionStatus::Cancelled, "a=cancelled down1=failed down2=passed").await;
    assert_eq!(ran.step("a").attempts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn cancelling_in_teardown_leaves_it_thirty_seconds() {
    let since = Instant::now();
    let yaml = "
name: t
steps: [{id: a, action: log, config: {message: x}}]
teardown:
  - {id: b, action: delay, config: {duration: 50s}}
  - {id: c, action: log, config: {message: y}}
";
    let ran = run_with(yaml, started("b")).await;
    assert_eq!(ran.statuses(), "a=passed b=cancelled c=skipped", "{ran}");
    assert_eq!(ran.summary.status, ExecutionStatus::Cancelled);
    assert_eq!(since.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn teardown_has_a_budget_of_its_own() {
    let since = Instant::now();
    let yaml = "
name: t
config: {timeout: 5s}
steps: [{id: a, action: log, config: {message: x}}]
teardown:
  - {id: b, action: delay, config: {duration: 50s}}
  - {id: c, action: delay, config: {duration: 50s}}
  - {id: d, action: log, config: {message: y}}
";
    let ran = run(yaml).await;
    assert_eq!(ran.statuses(), "a=passed b=passed c=cancelled d=skipped", "{ran}");
    assert_eq!(since.elapsed().as_secs(), 60);
    assert_eq!(ran.step("c").error.as_ref().unwrap().kind, ErrorKind::Timeout);
    assert_eq!(ran.summary.status, ExecutionStatus::Passed);
}

#[tokio::test]
async fn a_teardown_failure_fails_the_run_only_under_strict() {
    let yaml = "name: t\nsteps: [{id: a, action: log, config: {message: x}}]\nteardown: [{id: b, action: assert, config: {assertions: ['1 > 2']}}]";
    for (strict, status) in [(false, ExecutionStatus::Passed), (true, ExecutionStatus::Failed)] {
        let ran = run_with(yaml, Setting { strict, ..Setting::default() }).await;
        assert_eq!(ran.summary.status, status);
        assert_eq!(ran.execution.failed_steps, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_takes_too_long_is_stopped() {
    let since = Instant::now();
    let yaml = "
name: t
config: {fail_fast: false}
steps:
  - {id: a, action: delay, config: {duration: 1h}, timeout: 2s}
  - id: b
    action: for_each
    timeout: 3s
    config: {items: 3, steps: [{id: c, action: delay, config: {duration: 2s}}]}
";
    let ran = run(yaml).await;
    assert_eq!(ran.statuses(), "a=error b=error c=passed c=cancelled", "{ran}");
    assert_eq!(since.elapsed().as_secs(), 5);
    for id in ["a", "b"] {
        assert_eq!(ran.step(id).error.as_ref().unwrap().kind, ErrorKind::Timeout);
    }
    assert_eq!(ran.message("a"), "took longer than its time-out of 2s");
    assert_eq!(ran.summary.status, ExecutionStatus::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_takes_too_long_is_an_error() {
    let yaml = "name: t\nconfig: {timeout: 90s}\nsteps: [{id: a, action: delay, config: {duration: 1h}}]";
    let ran = run(yaml).await;
    let error = ran.summary.error.as_ref().unwrap();
    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::Timeout, "the flow took longer than its time-out of 1m30s")
    );
}

#[tokio::test]
async fn a_panic_ends_its_own_run_alone_and_says_where() {
    let nested = "
name: t
steps:
  - id: loop
    action: for_each
    config: {items: 3, steps: [{id: a, action: panic}]}
  - {id: b, action: log, config: {message: x}}
teardown: [{id: c, action: panic}, {id: d, action: log, config: {message: y}}]
";
    let fine = "name: t\nsteps: [{id: a, action: log, config: {message: x}}]";
    let (broken, fine) = tokio::join!(run(nested), run(fine));
    assert_eq!(broken.statuses(), "loop=cancelled a=error c=error d=passed", "{broken}");
    let error = broken.summary.error.as_ref().unwrap();
    assert_eq!(error.code, ErrorCode::Internal);
    assert!(error.message.contains("`a`") && error.message.contains("broken on purpose"), "{}", error.message);
    assert_eq!(fine.summary.status, ExecutionStatus::Passed);
}

#[tokio::test]
async fn a_run_that_is_cancelled_before_it_starts_runs_nothing() {
    let at = |event: &RunEvent| matches!(event.kind, RunEventKind::Started { .. });
    let yaml = "name: t\nsteps: [{id: a, action: panic}]\nteardown: [{id: b, action: panic}]";
    let ran = run_with(yaml, Setting { cancel_at: Some(Box::new(at)), ..Setting::default() }).await;
    assert_eq!((ran.summary.status, ran.statuses().as_str()), (ExecutionStatus::Cancelled, ""));
}
