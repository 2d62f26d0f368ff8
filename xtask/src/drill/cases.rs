//! The cases of the fault matrix, and what was asked for at the start: two servers that are killed all the time.

mod acceptance;
mod api;
mod postgres;
mod redis;
mod runner;
mod scheduler;

use std::path::Path;

use clap::ValueEnum;

use super::arena::Arena;
use super::findings::Findings;

/// A case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum Case {
    F1,
    F2,
    F3,
    F4,
    F5,
    F6,
    F7,
    F8,
    F9,
    F10,
    F12,
    F13,
    F14,
    F15,
    F16,
    F17,
    F19,
    /// Killed and flushed all the time
    A1,
    /// The same without Redis
    A2,
}

impl Case {
    /// The longest first, so that lanes end together.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Self::value_variants().to_vec();
        all.sort_by_key(|case| !matches!(case, Case::F17 | Case::F16 | Case::F2 | Case::F10 | Case::A1 | Case::A2));
        all
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Case::F1 => "F1",
            Case::F2 => "F2",
            Case::F3 => "F3",
            Case::F4 => "F4",
            Case::F5 => "F5",
            Case::F6 => "F6",
            Case::F7 => "F7",
            Case::F8 => "F8",
            Case::F9 => "F9",
            Case::F10 => "F10",
            Case::F12 => "F12",
            Case::F13 => "F13",
            Case::F14 => "F14",
            Case::F15 => "F15",
            Case::F16 => "F16",
            Case::F17 => "F17",
            Case::F19 => "F19",
            Case::A1 => "A1",
            Case::A2 => "A2",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Case::F1 => "the runner killed in the middle of steps",
            Case::F2 => "the runner frozen past its lease, then going on",
            Case::F3 => "the scheduler killed as it fires",
            Case::F4 => "three schedulers, a thousand schedules",
            Case::F5 => "Redis killed with all it held",
            Case::F6 => "Redis flushed again and again",
            Case::F7 => "Redis away",
            Case::F8 => "Redis stalls without closing",
            Case::F9 => "PostgreSQL restarted, fast and immediate",
            Case::F10 => "the runner cut off from PostgreSQL alone",
            Case::F12 => "clocks five minutes apart to both sides",
            Case::F13 => "every change of every time zone",
            Case::F14 => "the API killed before its answer, the client repeats",
            Case::F15 => "rolling restarts",
            Case::F16 => "cancellations, also with a dead runner",
            Case::F17 => "a job that kills its runner",
            Case::F19 => "foreign trimming, duplicates and garbage in Redis",
            Case::A1 => "two servers killed all the time, Redis flushed",
            Case::A2 => "two servers killed all the time, without Redis",
        }
    }

    pub(crate) async fn run(self, arena: &mut Arena<'_>, root: &Path) -> Result<Findings, String> {
        match self {
            Case::F1 => runner::killed(arena).await,
            Case::F2 => runner::frozen(arena).await,
            Case::F3 => scheduler::killed(arena).await,
            Case::F4 => scheduler::shared(arena).await,
            Case::F5 => redis::killed(arena).await,
            Case::F6 => redis::flushed(arena).await,
            Case::F7 => redis::away(arena).await,
            Case::F8 => redis::stalled(arena).await,
            Case::F9 => postgres::restarted(arena).await,
            Case::F10 => postgres::cut_off(arena).await,
            Case::F12 => scheduler::clocks(arena).await,
            Case::F13 => scheduler::zones(root, arena.scale),
            Case::F14 => api::killed_before_the_answer(arena).await,
            Case::F15 => api::rolling_restarts(arena).await,
            Case::F16 => api::cancellations(arena).await,
            Case::F17 => runner::deadly_job(arena).await,
            Case::F19 => redis::foreign_hands(arena).await,
            Case::A1 => acceptance::killed_all_the_time(arena, true).await,
            Case::A2 => acceptance::killed_all_the_time(arena, false).await,
        }
    }
}
