//! Cron expressions: what they mean in a time zone, on the days the clocks change too.
//!
//! An expression whose minute and hour are both fixed names points on the wall clock: each fires once, at the first
//! valid instant when the clocks skip it, at the first of the two when they repeat it. An expression with a wildcard
//! minute or hour follows elapsed time: it fires at every instant whose wall clock matches (the rule of Vixie's cron).

mod fields;
mod zone;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Serialize, Serializer};
use testmesh_shared::error::ErrorCode;

/// The shortest interval that `@every` takes.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// A cron expression that has been checked.
///
/// ```
/// use chrono::{DateTime, Utc};
/// use testmesh_scheduler::cron::{Cron, parse_zone};
///
/// let cron = Cron::parse("30 9 * * mon-fri")?;
/// let friday: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().expect("a valid time");
/// let next = cron.next_after(friday, parse_zone("Europe/Berlin")?);
/// assert_eq!(next, Some("2026-11-23T08:30:00Z".parse().expect("a valid time")));
/// # Ok::<(), testmesh_scheduler::cron::CronError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Cron {
    text: String,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    /// Points on the wall clock.
    Calendar { pattern: Arc<croner::Cron>, fixed: bool },
    /// The same time apart, whatever the wall clock shows.
    Every(Duration),
}

/// What is wrong with a cron expression or a time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// There is nothing in it.
    #[error("the cron expression is empty")]
    Empty,
    /// It has too few or too many fields.
    #[error(
        "`{text}` has {found} fields: five (minute hour day-of-month month day-of-week) or six (second first) are wanted"
    )]
    FieldCount {
        /// The expression.
        text: String,
        /// How many fields it has.
        found: usize,
    },
    /// A field breaks its rule.
    #[error("{field}: `{text}` {rule}")]
    Field {
        /// The field's name: `minute`, `day-of-month` …
        field: &'static str,
        /// The part of the field that is wrong.
        text: String,
        /// What is wrong with it, and what would be right.
        rule: String,
    },
    /// A word after `@` that is no shortcut.
    #[error("`{text}` is no shortcut: @yearly, @monthly, @weekly, @daily, @hourly and `@every 5m` are")]
    Shortcut {
        /// What was written.
        text: String,
    },
    /// The interval after `@every` cannot be used.
    #[error("`@every {text}`: an interval of at least one second is wanted, such as `90s`, `5m`, `1h30m` or `1d`")]
    Interval {
        /// The interval as it was written.
        text: String,
    },
    /// No day ever matches, such as 30 February.
    #[error("`{text}` never fires: no date matches")]
    Never {
        /// The expression.
        text: String,
    },
    /// Not a time zone of the IANA database.
    #[error("`{name}` is no IANA time zone, such as `Europe/Berlin` or `UTC`")]
    Zone {
        /// What was written.
        name: String,
    },
}

impl CronError {
    /// The stable word for it: every one is a mistake in what was asked.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::InvalidRequest
    }

    /// Which field of a request is wrong: `timezone` or `cron`.
    pub fn subject(&self) -> &'static str {
        match self {
            CronError::Zone { .. } => "timezone",
            CronError::Empty
            | CronError::FieldCount { .. }
            | CronError::Field { .. }
            | CronError::Shortcut { .. }
            | CronError::Interval { .. }
            | CronError::Never { .. } => "cron",
        }
    }
}

/// Finds a time zone by its IANA name.
///
/// # Errors
/// [`CronError::Zone`] when the database has no such name.
pub fn parse_zone(name: &str) -> Result<Tz, CronError> {
    name.trim().parse().map_err(|_| CronError::Zone { name: name.to_owned() })
}

impl Cron {
    /// Checks an expression: five fields, six with seconds first, `@hourly` and its like, or `@every 5m`.
    ///
    /// # Errors
    /// Every [`CronError`] but `Zone`; the message names the field and the rule.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(CronError::Empty);
        }
        let rule = match trimmed.strip_prefix('@') {
            Some(shortcut) => parse_shortcut(trimmed, shortcut)?,
            None => parse_calendar(trimmed, trimmed)?,
        };
        Ok(Self { text: trimmed.to_owned(), rule })
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time after `after` at which it fires, in the zone's wall clock. `None`: never again.
    pub fn next_after(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        match &self.rule {
            Rule::Calendar { pattern, fixed: true } => zone::next_fixed(pattern, after, zone),
            Rule::Calendar { pattern, fixed: false } => zone::next_elapsed(pattern, after, zone),
            Rule::Every(interval) => {
                let whole = after - TimeDelta::nanoseconds(i64::from(after.timestamp_subsec_nanos()));
                whole.checked_add_signed(TimeDelta::from_std(*interval).ok()?)
            }
        }
    }

    /// The next `count` times after `from`, in order; fewer when it does not fire that often.
    pub fn upcoming(&self, from: DateTime<Utc>, zone: Tz, count: usize) -> Vec<DateTime<Utc>> {
        std::iter::successors(self.next_after(from, zone), |last| self.next_after(*last, zone)).take(count).collect()
    }

    /// The newest `count` of the times from `first`, which is one of them, to `until`, oldest first.
    pub(crate) fn newest(
        &self,
        first: DateTime<Utc>,
        until: DateTime<Utc>,
        zone: Tz,
        count: usize,
    ) -> Vec<DateTime<Utc>> {
        if first > until || count == 0 {
            return Vec::new();
        }
        if let Rule::Every(interval) = &self.rule {
            let Ok(interval) = TimeDelta::from_std(*interval) else { return vec![first] };
            let n_after = (until - first).num_seconds() / interval.num_seconds().max(1);
            let from = n_after.saturating_sub(i64::try_from(count).unwrap_or(i64::MAX) - 1).max(0);
            let at = |n: i64| Some(first + TimeDelta::seconds(interval.num_seconds().checked_mul(n)?));
            return (from..=n_after).filter_map(at).collect();
        }
        // Look back over ever longer stretches, so that years of missed seconds are not walked through.
        let mut stretch = TimeDelta::minutes(1);
        loop {
            let start = until - stretch;
            let begin = if start <= first { Some(first) } else { self.next_after(start, zone) };
            let mut found: VecDeque<DateTime<Utc>> = VecDeque::new();
            let times = std::iter::successors(begin, |last| self.next_after(*last, zone));
            for time in times.take_while(|time| *time <= until) {
                if found.len() == count {
                    found.pop_front();
                }
                found.push_back(time);
            }
            if found.len() == count || start <= first {
                return found.into();
            }
            stretch = stretch * 4;
        }
    }

    /// What it means, in English: "At 09:30 on Monday".
    pub fn describe(&self) -> String {
        match &self.rule {
            Rule::Calendar { pattern, .. } => pattern.describe(),
            Rule::Every(_) => {
                format!("Every {}", self.text.trim_start_matches('@').trim_start_matches("every").trim())
            }
        }
    }
}

impl PartialEq for Cron {
    /// Two expressions are the same when they are written the same.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

fn parse_shortcut(text: &str, shortcut: &str) -> Result<Rule, CronError> {
    let lower = shortcut.to_ascii_lowercase();
    if let Some(interval) = lower.strip_prefix("every") {
        return match parse_interval(interval.trim()) {
            Some(interval) if interval >= SHORTEST_INTERVAL => Ok(Rule::Every(interval)),
            _ => Err(CronError::Interval { text: interval.trim().to_owned() }),
        };
    }
    let fields = match lower.as_str() {
        "yearly" | "annually" => "0 0 1 1 *",
        "monthly" => "0 0 1 * *",
        "weekly" => "0 0 * * 0",
        "daily" | "midnight" => "0 0 * * *",
        "hourly" => "0 * * * *",
        _ => return Err(CronError::Shortcut { text: text.to_owned() }),
    };
    parse_calendar(text, fields)
}

/// Reads `1h30m`, `90s`, `1d`: whole numbers, each with its unit, at most ten years in all.
fn parse_interval(text: &str) -> Option<Duration> {
    const LONGEST_SECONDS: u64 = 10 * 366 * 86_400;
    let mut rest = text;
    let mut seconds: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        seconds = seconds.checked_add(count.checked_mul(factor)?)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    (seconds <= LONGEST_SECONDS).then(|| Duration::from_secs(seconds))
}

fn parse_calendar(text: &str, fields: &str) -> Result<Rule, CronError> {
    let checked = fields::check(text, fields)?;
    let pattern = croner::parser::CronParser::builder()
        .seconds(croner::parser::Seconds::Required)
        .year(croner::parser::Year::Disallowed)
        .dom_and_dow(checked.both_days)
        .build()
        .parse(&checked.canonical)
        .map_err(|error| CronError::Field { field: "cron", text: text.to_owned(), rule: error.to_string() })?;
    if !zone::ever_fires(&pattern) {
        return Err(CronError::Never { text: text.to_owned() });
    }
    Ok(Rule::Calendar { pattern: Arc::new(pattern), fixed: checked.fixed })
}

#[cfg(test)]
mod tests;
