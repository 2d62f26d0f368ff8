//! What a due schedule does: which of its times become jobs, which are left out and why, and when it is due next.
//!
//! Pure: the time, what else is going, and the dice are handed in.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{JobStatus, Misfire, Overlap, ScheduleSpec};

/// A firing that is later than this was missed, and falls under the schedule's rule for misfires. Anything less is what
/// a restart of all servers takes, and fires as if nothing had happened.
pub(crate) const LATE: TimeDelta = TimeDelta::minutes(1);
/// Firings within [`LATE`]: the shortest interval is a second.
const MOST_ON_TIME: usize = 62;
/// Jobs of one schedule that may wait or run; one more is left out.
const MOST_UNFINISHED: u64 = 1_000;
/// How far missed firings are counted.
const COUNTED: usize = 1_000;

/// One of a schedule's times, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Firing {
    pub(crate) nominal_at: DateTime<Utc>,
    /// Queued, waiting or skipped.
    pub(crate) status: JobStatus,
    pub(crate) available_at: DateTime<Utc>,
    /// Why it is skipped: a stable word, and a sentence.
    pub(crate) skipped: Option<(&'static str, String)>,
}

/// What a due schedule does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fired {
    /// In the order of their times.
    pub(crate) firings: Vec<Firing>,
    pub(crate) next_at: Option<DateTime<Utc>>,
}

/// Fires a schedule whose next time is `first`, at `now`, while `unfinished` jobs of it wait or run. `dice` gives a
/// number from 0 up to 1 for each jitter.
pub(crate) fn fire(
    spec: &ScheduleSpec,
    first: DateTime<Utc>,
    now: DateTime<Utc>,
    mut unfinished: u64,
    mut dice: impl FnMut() -> f64,
) -> Fired {
    let Times { left_out, caught_up, on_time, next_at } = times(spec, first, now);
    let mut firings: Vec<Firing> = left_out.into_iter().collect();
    let with_catchup = caught_up.into_iter().map(|time| (time, true));
    for (nominal_at, is_caught_up) in with_catchup.chain(on_time.into_iter().map(|time| (time, false))) {
        let jitter = Duration::from_secs(spec.jitter_s.into()).mul_f64(dice());
        let firing = match decide(spec.overlap, is_caught_up, unfinished) {
            Ok(status) => {
                unfinished += 1;
                Firing { nominal_at, status, available_at: nominal_at + jitter, skipped: None }
            }
            Err(skipped) => left(nominal_at, skipped),
        };
        firings.push(firing);
    }
    Fired { firings, next_at }
}

/// What stands for the times that a schedule missed while it was paused; none: there was no such time.
pub(crate) fn missed_while_paused(spec: &ScheduleSpec, first: DateTime<Utc>, now: DateTime<Utc>) -> Option<Firing> {
    let last = spec.cron.newest(first, now, spec.timezone, 1).pop()?;
    let n_missed = count(spec, first, last);
    Some(left(first, ("paused", format!("{n_missed}, from {first} to {last}: the schedule was paused"))))
}

/// Whether a firing runs or waits, or why it is left out.
fn decide(overlap: Overlap, is_caught_up: bool, unfinished: u64) -> Result<JobStatus, (&'static str, String)> {
    match overlap {
        Overlap::Allow => Ok(JobStatus::Queued),
        _ if unfinished == 0 => Ok(JobStatus::Queued),
        // What is to be caught up cannot be left out because it is not alone.
        Overlap::Skip if !is_caught_up => {
            Err(("overlap", "a run of this schedule was still going, or waiting".to_owned()))
        }
        Overlap::Skip | Overlap::Queue if unfinished >= MOST_UNFINISHED => {
            Err(("queue_full", format!("{unfinished} jobs of this schedule were waiting")))
        }
        Overlap::Skip | Overlap::Queue => Ok(JobStatus::Waiting),
    }
}

/// The times that are due.
struct Times {
    /// What stands for the missed ones that do not run.
    left_out: Option<Firing>,
    /// Missed ones that run all the same.
    caught_up: Vec<DateTime<Utc>>,
    on_time: Vec<DateTime<Utc>>,
    next_at: Option<DateTime<Utc>>,
}

fn times(spec: &ScheduleSpec, first: DateTime<Utc>, now: DateTime<Utc>) -> Times {
    let (cron, zone) = (&spec.cron, spec.timezone);
    let newest = cron.newest(first, now, zone, MOST_ON_TIME);
    let Some(&last) = newest.last() else {
        return Times { left_out: None, caught_up: Vec::new(), on_time: Vec::new(), next_at: Some(first) };
    };
    let next_at = cron.next_after(last, zone);
    let still_good = now - LATE;
    let on_time: Vec<_> = newest.into_iter().filter(|time| *time >= still_good).collect();
    if first >= still_good {
        return Times { left_out: None, caught_up: Vec::new(), on_time, next_at };
    }
    let wanted = match spec.misfire {
        Misfire::Skip => 0,
        // One that is on time stands for those before it.
        Misfire::FireOnce => usize::from(on_time.is_empty()),
        Misfire::CatchUp => usize::try_from(spec.catchup_max).unwrap_or(usize::MAX),
    };
    // The newest of the missed ones: the wanted, and one that tells whether any is left out.
    let before = still_good - TimeDelta::microseconds(1);
    let mut missed = cron.newest(first, before, zone, wanted + 1);
    let caught_up = missed.split_off(missed.len().saturating_sub(wanted));
    let left_out = missed.pop().map(|last_left| {
        let n_missed = count(spec, first, last_left);
        left(first, ("misfire", format!("{n_missed}, from {first} to {last_left}: no scheduler was running")))
    });
    Times { left_out, caught_up, on_time, next_at }
}

fn left(nominal_at: DateTime<Utc>, why: (&'static str, String)) -> Firing {
    Firing { nominal_at, status: JobStatus::Skipped, available_at: nominal_at, skipped: Some(why) }
}

/// How many times there are from `first` to `last`, in words.
fn count(spec: &ScheduleSpec, first: DateTime<Utc>, last: DateTime<Utc>) -> String {
    match spec.cron.newest(first, last, spec.timezone, COUNTED + 1).len() {
        1 => "1 firing".to_owned(),
        n if n > COUNTED => format!("more than {COUNTED} firings"),
        n => format!("{n} firings"),
    }
}

#[cfg(test)]
mod tests;
