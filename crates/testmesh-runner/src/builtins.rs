//! Built-in names (`RANDOM_ID`, `TIMESTAMP` …) and what functions such as `now()` and `fake.email()` draw from.
//!
//! All of them repeat under one seed.
// SKELETON: owner L1.

use std::sync::Arc;

use indexmap::IndexMap;
use testmesh_shared::clock::Clock;

use crate::value::Value;

/// Where built-in values come from, for one run.
#[derive(Debug)]
pub struct Builtins {
    // L1: rng (parking_lot::Mutex<ChaCha>), clock, facts
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

impl Builtins {
    /// Generators for one run. With a `seed`, all of them, the clock's reading included, repeat.
    /// `os_env` is what `env(name)` sees (empty on a server).
    pub fn new(
        seed: Option<u64>,
        clock: Arc<dyn Clock>,
        facts: RunFacts,
        os_env: Arc<IndexMap<String, String>>,
    ) -> Self {
        let _ = (seed, clock, facts, os_env);
        unimplemented!()
    }
    /// The value of a built-in name; a fresh one for each call of a random name.
    pub fn get(&self, name: &str) -> Option<Value> {
        let _ = name;
        unimplemented!()
    }
    /// Sets `FLOW_STATUS` (before teardown).
    pub fn set_flow_status(&self, status: &'static str) {
        let _ = status;
        unimplemented!()
    }
    /// Every built-in name.
    pub fn names() -> &'static [&'static str] {
        &[]
    }
    /// Every function's name, for suggestions.
    pub fn functions() -> &'static [&'static str] {
        &[]
    }
    /// A float in 0..1 from the run's generator, for jitter.
    pub fn random_fraction(&self) -> f64 {
        unimplemented!()
    }
}
