//! Reports: what each outcome means, and how attempts are spaced.

use testmesh_shared::clock::SystemClock;
use testmesh_shared::ids::{ExecutionId, JobId};

use super::*;

fn now() -> DateTime<Utc> {
    "2026-03-10T12:00:00Z".parse().unwrap()
}

fn report(attempt: u32, outcome: Outcome) -> RunReport {
    RunReport {
        job_id: JobId::generate(&SystemClock),
        attempt,
        execution_id: ExecutionId::generate(&SystemClock),
        state: RunState::Finished { outcome, finished_at: now(), code: None, message: None },
    }
}

fn rule(retry_on: RetryOn) -> RetryRule {
    let retry = Retry { max_attempts: 3, backoff_s: 5, backoff_max_s: 60, retry_on: vec![retry_on] };
    RetryRule { max_attempts: 3, retry }
}

#[test]
fn an_outcome_is_final_or_another_attempt() {
    let check = |outcome, attempt, retry_on, expect: &str| {
        let settled = settle(&report(attempt, outcome), Some(&rule(retry_on)), now(), 0.5);
        assert_eq!(settled.state, expect, "{outcome:?} at attempt {attempt} with {retry_on:?}");
        let tries_again = expect == "queued";
        assert_eq!(settled.next_attempt, attempt + u32::from(tries_again));
        assert_eq!(settled.finished_at.is_none(), tries_again);
    };
    for retry_on in [RetryOn::Error, RetryOn::Failed] {
        check(Outcome::Passed, 1, retry_on, "passed");
        check(Outcome::Cancelled, 1, retry_on, "cancelled");
        check(Outcome::Error, 1, retry_on, "queued");
        check(Outcome::Lost, 2, retry_on, "queued");
        check(Outcome::Error, 3, retry_on, "dead");
        check(Outcome::Lost, 3, retry_on, "dead");
        check(Outcome::Failed, 3, retry_on, "failed");
    }
    check(Outcome::Failed, 1, RetryOn::Error, "failed");
    check(Outcome::Failed, 1, RetryOn::Failed, "queued");
}

#[test]
fn a_sign_of_life_gives_it_more_time() {
    let alive = RunReport { state: RunState::Running, ..report(2, Outcome::Passed) };
    let settled = settle(&alive, None, now(), 0.5);
    assert_eq!((settled.state, settled.next_attempt, settled.outcome), ("running", 2, None));
    assert_eq!((settled.available_at, settled.finished_at), (Some(Stamp(now() + TimeDelta::seconds(10))), None));
}

#[test]
fn waits_double_up_to_their_bound() {
    let retry = rule(RetryOn::Error).retry;
    let longest = |attempt| backoff(&retry, attempt, 1.0).as_secs();
    assert_eq!([1, 2, 3, 4, 5, 6, 4_000_000_000].map(longest), [5, 10, 20, 40, 60, 60, 60]);
    assert_eq!(backoff(&retry, 3, 0.0), Duration::ZERO);
    assert_eq!(backoff(&retry, 3, 0.25), Duration::from_secs(5));
}

#[test]
fn words_from_outside_are_bounded() {
    let state = RunState::Finished {
        outcome: Outcome::Error,
        finished_at: now(),
        code: Some("lost".to_owned()),
        message: Some(format!("a\0b{}", "x".repeat(5_000))),
    };
    let settled = settle(&RunReport { state, ..report(1, Outcome::Error) }, None, now(), 0.5);
    assert_eq!((settled.state, settled.reason.as_deref()), ("dead", Some("lost")));
    let message = settled.message.unwrap();
    assert!(message.starts_with("a\u{fffd}b") && message.len() < 2_100, "{}", message.len());
}
