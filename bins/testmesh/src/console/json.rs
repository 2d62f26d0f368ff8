//! `--format json`: the last line, after the events.

use std::time::Duration;

use testmesh_runner::report::Totals;

use crate::suite::Outcome;

#[derive(serde::Serialize)]
struct Summary {
    #[serde(rename = "type")]
    kind: &'static str,
    totals: Totals,
    invalid: u32,
    not_started: usize,
    interrupted: bool,
    elapsed_ms: u64,
}

/// The summary as one line of JSON.
pub(super) fn summary(outcome: &Outcome, elapsed: Duration) -> String {
    let summary = Summary {
        kind: "summary",
        totals: outcome.totals,
        invalid: outcome.invalid,
        not_started: outcome.not_started,
        interrupted: outcome.interrupted,
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
    };
    let mut line = serde_json::to_string(&summary).expect("a struct of numbers and words");
    line.push('\n');
    line
}
