//! Retries and polling.

use std::time::Duration;

use tokio::time::Instant;

use super::{Ran, run};
use crate::record::{ErrorKind, StepStatus};

/// Runs one step that takes `total` of virtual time.
async fn check(step: &str, status: StepStatus, attempts: u32, total: Duration) -> Ran {
    let since = Instant::now();
    let ran = run(&format!("name: t\nsteps:\n  - id: a\n    {}", step.trim().replace('\n', "\n    "))).await;
    let record = ran.step("a");
    assert_eq!((record.status, record.attempt), (status, attempts), "{ran}");
    assert_eq!(record.attempts.len(), attempts as usize - 1, "all but the last are kept");
    let elapsed = since.elapsed();
    assert!(elapsed >= total && elapsed < total + Duration::from_millis(50), "took {elapsed:?}, not {total:?}");
    ran
}

const NEVER: &str = "action: assert\nconfig: {assertions: ['1 > 2']}\n";

#[tokio::test(start_paused = true)]
async fn retries_wait_as_their_backoff_says() {
    let seconds = Duration::from_secs_f64;
    for (retry, attempts, total) in [
        ("{max_attempts: 3, delay: 1s}", 3, 2.0),
        ("{max_attempts: 4, delay: 1s, backoff: linear}", 4, 6.0),
        ("{max_attempts: 4, delay: 1s, backoff: exponential}", 4, 7.0),
        ("{max_attempts: 5, delay: 1s, backoff: exponential, max_delay: 3s}", 5, 9.0),
        ("{max_attempts: 1}", 1, 0.0),
    ] {
        check(&format!("{NEVER}retry: {retry}"), StepStatus::Failed, attempts, seconds(total)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn jitter_takes_a_part_off_each_delay() {
    let since = Instant::now();
    run(&format!(
        "name: t\nsteps:\n  - id: a\n    {}",
        format!("{NEVER}retry: {{max_attempts: 2, delay: 10s, jitter: true}}").replace('\n', "\n    ")
    ))
    .await;
    let took = since.elapsed().as_secs_f64();
    assert!((5.0..=10.0).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_assertion_is_tried_again_until_it_holds() {
    let step = "
action: transform
config: {input: {n: '${random_int(0, 3)}'}}
assert: [n == 3]
retry: {max_attempts: 20, delay: 1ms}
";
    let ran = run(&format!("name: t\nsteps:\n  - id: a\n    {}", step.trim().replace('\n', "\n    "))).await;
    let record = ran.step("a");
    assert_eq!(record.attempts.len() + 1, record.attempt as usize);
    for attempt in &record.attempts {
        assert_eq!(attempt.status, StepStatus::Failed);
        assert_eq!(attempt.assertions.len(), 1);
    }
    // A response is kept where it differs from the one before.
    let mut shown: Option<serde_json::Value> = None;
    for attempt in &record.attempts {
        assert!(attempt.response.is_none() || attempt.response != shown);
        shown = attempt.response.clone().or(shown);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_on_decides_whether_to_try_again() {
    let zero = Duration::ZERO;
    let one = Duration::from_secs(1);
    for (retry_on, attempts, total) in
        [("error.kind == \"assertion\"", 2, one), ("error.kind == \"timeout\"", 1, zero), ("failed == 1", 2, one)]
    {
        let step = format!("{NEVER}retry: {{max_attempts: 2, retry_on: '{retry_on}'}}");
        check(&step, StepStatus::Failed, attempts, total).await;
    }
}

#[tokio::test(start_paused = true)]
async fn mistakes_in_the_flow_are_not_tried_again() {
    let step = "action: log\nconfig: {message: '${nowhere}'}\nretry: {max_attempts: 5}";
    check(step, StepStatus::Error, 1, Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_the_whole_time_out() {
    let step = "action: delay\nconfig: {duration: 1h}\ntimeout: 2s\nretry: {max_attempts: 3, delay: 1s}";
    let ran = check(step, StepStatus::Error, 3, Duration::from_secs(8)).await;
    assert_eq!(ran.step("a").error.as_ref().unwrap().kind, ErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_poll_repeats_until_its_condition_holds() {
    let step = "
action: transform
config: {input: {n: '${random_int(0, 1)}'}}
assert: [n == 1]
poll: {until: n == 1, interval: 1s, timeout: 10m}
";
    let ran = run(&format!("name: t\nsteps:\n  - id: a\n    {}", step.trim().replace('\n', "\n    "))).await;
    let record = ran.step("a");
    assert_eq!(record.status, StepStatus::Passed, "{ran}");
    assert!(record.attempts.iter().all(|attempt| attempt.status == StepStatus::Failed));
}

#[tokio::test(start_paused = true)]
async fn a_poll_gives_up_when_its_time_is_over() {
    let step = "action: transform\nconfig: {input: {n: 1}}\npoll: {until: n == 2, interval: 1s, timeout: 3500ms}";
    let ran = check(step, StepStatus::Failed, 4, Duration::from_secs(3)).await;
    let error = ran.step("a").error.as_ref().unwrap();
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(error.message.starts_with("`n == 2` did not hold within 3.5s (4 attempts), last: "), "{}", error.message);
}

#[tokio::test(start_paused = true)]
async fn a_poll_stops_at_once_when_its_failure_shows() {
    let step = "action: transform\nconfig: {input: {n: 1}}\npoll: {until: n == 2, fail_when: n == 1}";
    let ran = check(step, StepStatus::Failed, 1, Duration::ZERO).await;
    assert_eq!(ran.message("a"), "`fail_when` holds: n == 1");
}

#[tokio::test(start_paused = true)]
async fn the_flows_retry_is_for_steps_without_their_own() {
    let yaml = "
name: t
config: {retry: {max_attempts: 2, delay: 1s}, fail_fast: false}
steps:
  - {id: a, action: assert, config: {assertions: ['1 > 2']}}
  - {id: b, action: assert, config: {assertions: ['1 > 2']}, retry: {max_attempts: 1}}
  - {id: c, action: for_each, config: {items: 1, steps: [{id: d, action: assert, config: {assertions: ['1 > 2']}}]}}
";
    let ran = run(yaml).await;
    let attempts = |id| ran.step(id).attempt;
    assert_eq!(["a", "b", "c", "d"].map(attempts), [2, 1, 1, 2], "{ran}");
}
