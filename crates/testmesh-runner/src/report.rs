//! Reports of finished runs: JUnit, JSON, HTML, TAP.
// SKELETON: owner C implements in report/{junit,json,html,tap}.rs.

use crate::record::Execution;

/// Kinds of report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// JUnit XML.
    Junit,
    /// JSON.
    Json,
    /// One HTML page, self-contained.
    Html,
    /// Test Anything Protocol, version 14.
    Tap,
}

/// One line of a report: a run, or a file that could not be run.
#[derive(Debug, Clone)]
pub struct ReportEntry {
    /// The flow file, if it came from one.
    pub file: Option<String>,
    /// The run with its steps; for a file that does not parse, an execution with status `error` whose message holds
    /// the diagnostics.
    pub execution: Execution,
}

impl ReportFormat {
    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            ReportFormat::Junit => "application/xml",
            ReportFormat::Json => "application/json",
            ReportFormat::Html => "text/html; charset=utf-8",
            ReportFormat::Tap => "text/plain; charset=utf-8",
        }
    }
}

/// Renders a report.
pub fn render(format: ReportFormat, entries: &[ReportEntry]) -> String {
    let _ = (format, entries);
    unimplemented!()
}
