//! What a benchmark prints: a table for people, or one JSON object a line.

use serde::Serialize;

/// One figure.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    /// What was measured.
    pub(super) name: String,
    /// The value, in `unit`.
    pub(super) value: f64,
    /// `ms`, `µs`, `MiB` or `1/s`.
    pub(super) unit: &'static str,
    /// What the bare client, database or stream took for the same work in the same run.
    pub(super) limit: Option<f64>,
    /// `value / limit` for times and sizes (smaller is better), as well for rates (larger is better).
    pub(super) ratio: Option<f64>,
    /// The bar: `≤ 2 ×`, `≤ 12 MiB`.
    pub(super) goal: String,
    /// Whether the bar is met.
    pub(super) met: bool,
}

/// How a figure is judged.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    /// At most this many times the limit.
    Ratio(f64),
    /// At most this value.
    AtMost(f64),
    /// At least this value.
    AtLeast(f64),
    /// Shown for comparison only.
    Shown,
}

impl Figure {
    pub(super) fn new(name: &str, (value, unit): (f64, &'static str), limit: Option<f64>, goal: Goal) -> Self {
        let ratio = limit.map(|limit| value / limit);
        let (text, met) = match goal {
            Goal::Ratio(most) => (format!("≤ {most} ×"), ratio.is_some_and(|ratio| ratio <= most)),
            Goal::AtMost(most) => (format!("≤ {most} {unit}"), value <= most),
            Goal::AtLeast(least) => (format!("≥ {least} {unit}"), value >= least),
            Goal::Shown => ("–".to_owned(), true),
        };
        Self { name: name.to_owned(), value, unit, limit, ratio, goal: text, met }
    }
}

/// Prints the figures.
pub(super) fn print(figures: &[Figure], json: bool) -> Result<(), String> {
    if json {
        for figure in figures {
            println!("{}", serde_json::to_string(figure).map_err(|error| error.to_string())?);
        }
        return Ok(());
    }
    println!("{:<58} {:>12} {:>12} {:>8} {:>12}", "", "value", "limit", "ratio", "goal");
    for figure in figures {
        let limit = figure.limit.map_or(String::new(), number);
        let ratio = figure.ratio.map_or(String::new(), |ratio| format!("{ratio:.2} ×"));
        let value = format!("{} {}", number(figure.value), figure.unit);
        let verdict = if figure.met { "" } else { "  missed" };
        println!("{:<58} {value:>12} {limit:>12} {ratio:>8} {:>12}{verdict}", figure.name, figure.goal);
    }
    Ok(())
}

/// Three digits at least of what is small.
fn number(value: f64) -> String {
    if value.abs() < 1.0 { format!("{value:.3}") } else { format!("{value:.1}") }
}
