//! The JSON report: totals, then every run with its steps as the API answers it.

use serde::Serialize;

use super::{ReportEntry, Totals};
use crate::record::Execution;

#[derive(Serialize)]
struct Report<'a> {
    /// Grows when a field changes its meaning.
    format: u32,
    totals: Totals,
    executions: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    file: Option<&'a str>,
    #[serde(flatten)]
    execution: &'a Execution,
}

pub(super) fn render(entries: &[ReportEntry]) -> String {
    let report = Report {
        format: 1,
        totals: Totals::of(entries),
        executions: entries
            .iter()
            .map(|entry| Entry { file: entry.file.as_deref(), execution: &entry.execution })
            .collect(),
    };
    let mut text =
        serde_json::to_string_pretty(&report).expect("records hold text keys and finite numbers: JSON can hold them");
    text.push('\n');
    text
}
