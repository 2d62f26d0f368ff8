//! The JSON report: totals, then every run with its steps as the API answers it.

use std::borrow::Cow;

use serde::Serialize;

use super::{Part, ReportEntry, Totals};
use crate::record::Execution;

/// Grows when a field changes its meaning.
const FORMAT: u32 = 1;
/// How far the executions are indented in the whole.
const INDENT: &str = "    ";

#[derive(Serialize)]
struct Head {
    format: u32,
    totals: Totals,
    executions: [(); 0],
}

#[derive(Serialize)]
struct Entry<'a> {
    file: Option<&'a str>,
    #[serde(flatten)]
    execution: &'a Execution,
}

/// One execution, indented as it stands in the whole.
pub(super) fn entry(entry: &ReportEntry) -> String {
    let text = pretty(&Entry { file: entry.file.as_deref(), execution: &entry.execution });
    // Line ends inside of texts are escaped, so each one here begins a line of its own.
    format!("{INDENT}{}", text.replace('\n', &format!("\n{INDENT}")))
}

pub(super) fn assemble(parts: &[Part]) -> Vec<Cow<'_, str>> {
    let head = pretty(&Head { format: FORMAT, totals: Totals::sum(parts), executions: [] });
    let (head, tail) = head.rsplit_once("[]").expect("the list of executions is the last member, and empty");
    let mut pieces = vec![Cow::Owned(format!("{head}["))];
    for (number, part) in parts.iter().enumerate() {
        pieces.push(Cow::Borrowed(if number == 0 { "\n" } else { ",\n" }));
        pieces.push(Cow::Borrowed(part.text.before.as_str()));
    }
    let close = if parts.is_empty() { "]" } else { "\n  ]" };
    pieces.push(Cow::Owned(format!("{close}{tail}\n")));
    pieces
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("records hold text keys and finite numbers: JSON can hold them")
}
