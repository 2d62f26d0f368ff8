//! What a runner's report means for its job: final, another attempt, or alive.
//!
//! Pure: the time and the dice are handed in.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use testmesh_shared::db::Stamp;
use testmesh_shared::messages::{Outcome, RunReport, RunState};
use uuid::Uuid;

use crate::{JobStatus, MAX_BACKOFF_S, Retry, RetryOn};

/// How long a job may be out without a sign of life before it is sent again.
pub(crate) const SIGN_OF_LIFE: TimeDelta = TimeDelta::seconds(10);
/// Characters of a report's words that are kept.
const LONGEST_MESSAGE: usize = 2_000;

/// What a job's own attempts allow.
#[derive(Debug, Clone)]
pub(crate) struct RetryRule {
    pub(crate) max_attempts: u32,
    pub(crate) retry: Retry,
}

/// What a report changes, as the statement takes it. It applies to one attempt of a job that is not over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Settlement {
    pub(crate) job_id: Uuid,
    pub(crate) attempt: u32,
    pub(crate) state: &'static str,
    pub(crate) next_attempt: u32,
    /// None: as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) available_at: Option<Stamp>,
    pub(crate) seen_at: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) finished_at: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    pub(crate) execution_id: Uuid,
}

/// Whether what is to be done about an outcome depends on the job's own rule.
pub(crate) fn needs_rule(state: &RunState) -> bool {
    match state {
        RunState::Running => false,
        RunState::Finished { outcome, .. } => match outcome {
            Outcome::Passed | Outcome::Cancelled => false,
            Outcome::Failed | Outcome::Error | Outcome::Lost => true,
        },
    }
}

/// What `report` changes. Without a rule, where one is needed, there is no further attempt. `dice` is from 0 up to 1.
pub(crate) fn settle(report: &RunReport, rule: Option<&RetryRule>, now: DateTime<Utc>, dice: f64) -> Settlement {
    let attempt = report.attempt;
    let alive = Settlement {
        job_id: report.job_id.as_uuid(),
        attempt,
        state: JobStatus::Running.as_str(),
        next_attempt: attempt,
        available_at: Some(Stamp(now + SIGN_OF_LIFE)),
        seen_at: Stamp(now),
        finished_at: None,
        outcome: None,
        reason: None,
        message: None,
        execution_id: report.execution_id.as_uuid(),
    };
    let RunState::Finished { outcome, code, message, .. } = &report.state else { return alive };
    let word = outcome_word(*outcome);
    let reason = match outcome {
        Outcome::Passed => None,
        Outcome::Failed | Outcome::Error | Outcome::Cancelled | Outcome::Lost => {
            Some(code.as_deref().map_or_else(|| word.to_owned(), kept))
        }
    };
    let over = Settlement { outcome: Some(word), reason, message: message.as_deref().map(kept), ..alive };
    match rule.filter(|rule| attempt < rule.max_attempts && tries_again(&rule.retry, *outcome)) {
        Some(rule) => Settlement {
            state: JobStatus::Queued.as_str(),
            next_attempt: attempt + 1,
            available_at: Some(Stamp(now + backoff(&rule.retry, attempt, dice))),
            ..over
        },
        None => Settlement {
            state: final_status(*outcome).as_str(),
            available_at: None,
            finished_at: Some(Stamp(now)),
            ..over
        },
    }
}

/// The wait before the attempt after `attempt`: full jitter, so that what failed together does not come back together.
fn backoff(retry: &Retry, attempt: u32, dice: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(20);
    let ceiling = u64::from(retry.backoff_s) << doublings;
    let ceiling = ceiling.min(u64::from(retry.backoff_max_s)).min(u64::from(MAX_BACKOFF_S));
    Duration::from_secs(ceiling).mul_f64(dice)
}

fn tries_again(retry: &Retry, outcome: Outcome) -> bool {
    match outcome {
        Outcome::Error | Outcome::Lost => true,
        Outcome::Failed => retry.retry_on.contains(&RetryOn::Failed),
        Outcome::Passed | Outcome::Cancelled => false,
    }
}

fn final_status(outcome: Outcome) -> JobStatus {
    match outcome {
        Outcome::Passed => JobStatus::Passed,
        Outcome::Failed => JobStatus::Failed,
        Outcome::Cancelled => JobStatus::Cancelled,
        Outcome::Error | Outcome::Lost => JobStatus::Dead,
    }
}

fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Error => "error",
        Outcome::Cancelled => "cancelled",
        Outcome::Lost => "lost",
    }
}

/// Words from outside, bounded, and without the character that PostgreSQL cannot keep.
fn kept(text: &str) -> String {
    text.chars().take(LONGEST_MESSAGE).map(|letter| if letter == '\0' { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests;
