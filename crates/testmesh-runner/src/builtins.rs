//! Built-in names (`RANDOM_ID`, `TIMESTAMP` …) and what functions such as `now()` and `fake.email()` draw from.
//!
//! All of them repeat under one seed.

mod fakes;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use indexmap::IndexMap;
use parking_lot::Mutex;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use testmesh_shared::clock::Clock;

use crate::value::Value;

pub(crate) use fakes::FAKES;

/// Letters and digits that random texts are made of.
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// The longest text `random_string` makes: as long as a string in a flow may be.
const MAX_RANDOM_STRING: usize = 1 << 20;

/// Where built-in values come from, for one run.
#[derive(Debug)]
pub struct Builtins {
    seed: Option<u64>,
    clock: Arc<dyn Clock>,
    facts: RunFacts,
    os_env: Arc<IndexMap<String, String>>,
    /// Seeded when it is first drawn from: most runs need no random value.
    generator: Mutex<Option<Box<ChaCha8Rng>>>,
    flow_status: Mutex<&'static str>,
}

/// What the built-in names say about the run itself.
#[derive(Debug, Clone, Default)]
pub struct RunFacts {
    /// `EXECUTION_ID`.
    pub execution_id: String,
    /// `FLOW_ID`; empty for a flow that is not stored.
    pub flow_id: String,
    /// `FLOW_NAME`.
    pub flow_name: String,
}

/// Every built-in name.
const NAMES: &[&str] = &[
    "RANDOM_ID",
    "UUID",
    "TIMESTAMP",
    "TIMESTAMP_MS",
    "ISO_TIMESTAMP",
    "DATE",
    "TIME",
    "DATETIME",
    "TODAY",
    "YEAR",
    "MONTH",
    "DAY",
    "HOUR",
    "MINUTE",
    "SECOND",
    "DAY_OF_WEEK",
    "RANDOM_INT",
    "RANDOM_STRING",
    "EXECUTION_ID",
    "FLOW_ID",
    "FLOW_NAME",
    "FLOW_STATUS",
];

impl Builtins {
    /// Generators for one run. With a `seed`, all of them, the clock's reading included, repeat.
    /// `os_env` is what `env(name)` sees (empty on a server).
    pub fn new(
        seed: Option<u64>,
        clock: Arc<dyn Clock>,
        facts: RunFacts,
        os_env: Arc<IndexMap<String, String>>,
    ) -> Self {
        Self { seed, clock, facts, os_env, generator: Mutex::new(None), flow_status: Mutex::new("running") }
    }

    /// The value of a built-in name; a fresh one for each call of a random name.
    pub fn get(&self, name: &str) -> Option<Value> {
        let format = |layout: &str| Value::from(self.now().format(layout).to_string());
        Some(match name {
            "RANDOM_ID" | "UUID" => Value::from(self.uuid()),
            "TIMESTAMP" => Value::Int(self.now().timestamp()),
            "TIMESTAMP_MS" => Value::Int(self.now().timestamp_millis()),
            "ISO_TIMESTAMP" => Value::from(iso(self.now())),
            "DATE" | "TODAY" => format("%Y-%m-%d"),
            "TIME" => format("%H:%M:%S"),
            "DATETIME" => format("%Y-%m-%d %H:%M:%S"),
            "YEAR" => format("%Y"),
            "MONTH" => format("%m"),
            "DAY" => format("%d"),
            "HOUR" => format("%H"),
            "MINUTE" => format("%M"),
            "SECOND" => format("%S"),
            "DAY_OF_WEEK" => format("%A"),
            "RANDOM_INT" => Value::Int(self.random_int(0, 999_999)),
            "RANDOM_STRING" => Value::from(self.random_string(16).unwrap_or_default()),
            "EXECUTION_ID" => Value::from(self.facts.execution_id.as_str()),
            "FLOW_ID" => Value::from(self.facts.flow_id.as_str()),
            "FLOW_NAME" => Value::from(self.facts.flow_name.as_str()),
            "FLOW_STATUS" => Value::from(*self.flow_status.lock()),
            _ => return None,
        })
    }

    /// Sets `FLOW_STATUS` (before teardown).
    pub fn set_flow_status(&self, status: &'static str) {
        *self.flow_status.lock() = status;
    }

    /// Every built-in name.
    pub fn names() -> &'static [&'static str] {
        NAMES
    }

    /// Every function's name, for suggestions.
    pub fn functions() -> &'static [&'static str] {
        crate::expr::function_names()
    }

    /// A float in 0..1 from the run's generator, for jitter.
    pub fn random_fraction(&self) -> f64 {
        self.draw(ChaCha8Rng::random::<f64>)
    }

    /// The time; under a seed, one that the seed alone decides.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        match self.seed {
            None => self.clock.now(),
            Some(seed) => {
                // Some second of 2025, so that different seeds see different times.
                let offset = TimeDelta::seconds(i64::try_from(seed % 31_536_000).unwrap_or(0));
                DateTime::from_timestamp(1_735_689_600, 0).unwrap_or_default() + offset
            }
        }
    }

    /// A random (version 4) UUID.
    pub(crate) fn uuid(&self) -> String {
        let mut bytes = [0_u8; 16];
        self.draw(|generator| generator.fill_bytes(&mut bytes));
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// An integer from `low` to `high`, both included. `low` must not be greater.
    pub(crate) fn random_int(&self, low: i64, high: i64) -> i64 {
        self.draw(|generator| generator.random_range(low..=high.max(low)))
    }

    /// A text of `length` lower-case letters and digits; `None` when that is too long.
    pub(crate) fn random_string(&self, length: usize) -> Option<String> {
        if length > MAX_RANDOM_STRING {
            return None;
        }
        Some(self.draw(|generator| {
            (0..length).map(|_| char::from(ALPHABET[generator.random_range(0..ALPHABET.len())])).collect()
        }))
    }

    /// A variable of the operating system's environment, where flows may see it.
    pub(crate) fn env(&self, name: &str) -> Option<&str> {
        self.os_env.get(name).map(String::as_str)
    }

    /// The value of `fake.<kind>()`; `None` for a kind that does not exist.
    pub(crate) fn fake(&self, kind: &str) -> Option<Value> {
        self.draw(|generator| fakes::draw(kind, generator))
    }

    fn draw<T>(&self, take: impl FnOnce(&mut ChaCha8Rng) -> T) -> T {
        let mut slot = self.generator.lock();
        let generator = slot.get_or_insert_with(|| {
            Box::new(match self.seed {
                Some(seed) => ChaCha8Rng::seed_from_u64(seed),
                None => ChaCha8Rng::from_rng(&mut rand::rng()),
            })
        });
        take(generator)
    }
}

/// A time as built-in names write it: RFC 3339 in UTC with milliseconds, so that texts sort like times.
pub(crate) fn iso(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use testmesh_shared::clock::FakeClock;

    use super::*;

    fn builtins(seed: Option<u64>) -> Builtins {
        let start = DateTime::from_timestamp(1_700_000_000, 123_000_000).unwrap();
        let facts = RunFacts { execution_id: "e".into(), flow_id: "f".into(), flow_name: "shop".into() };
        let env = [("HOME".to_owned(), "/home/x".to_owned())].into_iter().collect();
        Builtins::new(seed, Arc::new(FakeClock::new(start)), facts, Arc::new(env))
    }

    #[test]
    fn names_have_the_values_of_the_run() {
        let builtins = builtins(None);
        let cases = [
            ("TIMESTAMP", "1700000000"),
            ("TIMESTAMP_MS", "1700000000123"),
            ("ISO_TIMESTAMP", "2023-11-14T22:13:20.123Z"),
            ("DATE", "2023-11-14"),
            ("TIME", "22:13:20"),
            ("DATETIME", "2023-11-14 22:13:20"),
            ("TODAY", "2023-11-14"),
            ("YEAR", "2023"),
            ("MONTH", "11"),
            ("DAY", "14"),
            ("HOUR", "22"),
            ("MINUTE", "13"),
            ("SECOND", "20"),
            ("DAY_OF_WEEK", "Tuesday"),
            ("EXECUTION_ID", "e"),
            ("FLOW_ID", "f"),
            ("FLOW_NAME", "shop"),
            ("FLOW_STATUS", "running"),
        ];
        for (name, expected) in cases {
            let text = builtins.get(name).and_then(|value| value.to_text());
            assert_eq!(text.as_deref(), Some(expected), "{name}");
        }
        builtins.set_flow_status("failed");
        assert_eq!(builtins.get("FLOW_STATUS"), Some(Value::from("failed")));
        assert_eq!(builtins.get("NO_SUCH_NAME"), None);
        assert_eq!(builtins.env("HOME"), Some("/home/x"));
        for name in Builtins::names() {
            assert!(builtins.get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_seed_repeats_everything() {
        let draw = |seed| {
            let builtins = builtins(Some(seed));
            let names: Vec<_> = Builtins::names().iter().map(|name| builtins.get(name)).collect();
            let fakes: Vec<_> = FAKES.iter().map(|(kind, _)| builtins.fake(kind)).collect();
            (names, fakes, builtins.uuid(), builtins.random_fraction().to_bits())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn random_values_have_their_shape() {
        let builtins = builtins(None);
        let id = uuid::Uuid::parse_str(&builtins.uuid()).unwrap();
        assert_eq!(id.get_version_num(), 4);
        assert_ne!(builtins.uuid(), builtins.uuid());
        assert!((3..=5).contains(&builtins.random_int(3, 5)));
        assert_eq!(builtins.random_int(i64::MIN, i64::MIN), i64::MIN);
        assert_eq!(builtins.random_string(12).map(|text| text.len()), Some(12));
        assert_eq!(builtins.random_string(usize::MAX), None);
        assert!((0.0..1.0).contains(&builtins.random_fraction()));
    }

    #[test]
    fn every_fake_has_a_value() {
        let builtins = builtins(Some(1));
        for (kind, _) in FAKES {
            let text = builtins.fake(kind).and_then(|value| value.to_text()).expect(kind);
            assert!(!text.is_empty(), "{kind}");
        }
        assert_eq!(builtins.fake("no_such_kind"), None);
    }
}
