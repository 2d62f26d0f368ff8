//! The time of day as a parameter, so that a test can hold it.
//!
//! Stamps are truncated to microseconds: PostgreSQL keeps no more, and a value must read back as it was written.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use parking_lot::Mutex;

/// Where stamps come from. Durations are measured with `std::time::Instant`, never with this.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time now, in UTC, to the microsecond.
    fn now(&self) -> DateTime<Utc>;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
    fn now(&self) -> DateTime<Utc> {
        // (Truncating a `DateTime` takes several times as long.) A clock before 1970 is as good as one at 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).ok().and_then(DateTime::from_timestamp_micros).unwrap_or_default()
    }
}

/// A clock that stands still until it is told to move. Clones share the time.
#[derive(Debug, Clone)]
pub struct FakeClock(Arc<Mutex<DateTime<Utc>>>);

impl FakeClock {
    /// A clock that shows `start` until it is moved.
    pub fn new(start: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(truncate(start))))
    }

    /// Moves the time forward by `step`.
    pub fn advance(&self, step: TimeDelta) {
        *self.0.lock() += step;
    }
}

impl Clock for FakeClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock()
    }
}

/// A clock that agrees with another machine's, such as a database's: the system's, and the difference measured last.
/// Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SyncedClock {
    offset_us: Arc<AtomicI64>,
}

impl SyncedClock {
    /// Takes over the time `there`, asked for at `asked` and answered now, both by the system's clock.
    pub fn set(&self, there: DateTime<Utc>, asked: DateTime<Utc>) {
        let answered = SystemClock.now();
        let here = asked + (answered - asked) / 2;
        self.offset_us.store((there - here).num_microseconds().unwrap_or(0), Ordering::Relaxed);
    }
}

impl Clock for SyncedClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::microseconds(self.offset_us.load(Ordering::Relaxed))
    }
}

fn truncate(time: DateTime<Utc>) -> DateTime<Utc> {
    time.with_nanosecond(time.nanosecond() / 1_000 * 1_000).unwrap_or(time)
}
