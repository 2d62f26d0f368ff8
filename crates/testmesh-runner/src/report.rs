//! Reports of finished runs: JUnit, JSON, HTML, TAP.
//!
//! Every report is a fold over [`Execution`] records and nothing else, so the command line and the server write the
//! same report of the same run.

pub mod detail;
mod figures;
mod html;
mod json;
mod junit;
mod tap;

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::record::{Execution, ExecutionStatus, StepStatus};

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
    /// Whether it shows what steps that passed have sent and got.
    pub fn shows_exchanges(self) -> bool {
        match self {
            ReportFormat::Json | ReportFormat::Html => true,
            ReportFormat::Junit | ReportFormat::Tap => false,
        }
    }

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

/// What a report counts: flows by verdict, top-level steps by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Flows.
    pub flows: u32,
    /// Flows whose every step held.
    pub passed: u32,
    /// Flows with a failed step.
    pub failed: u32,
    /// Flows that came to no verdict.
    pub errors: u32,
    /// Flows that were stopped.
    pub cancelled: u32,
    /// Top-level steps of all flows that ran or were skipped.
    pub steps: u32,
    /// Of these, passed.
    pub passed_steps: u32,
    /// Failed or error.
    pub failed_steps: u32,
    /// Skipped.
    pub skipped_steps: u32,
    /// Time the flows took, added up.
    pub duration_ms: u64,
}

impl Totals {
    /// Counts `entries`.
    pub fn of(entries: &[ReportEntry]) -> Self {
        let mut totals = Self::default();
        for entry in entries {
            totals.add(&entry.execution);
        }
        totals
    }

    /// What `parts` count together.
    fn sum(parts: &[Part]) -> Self {
        parts.iter().map(|part| part.totals).fold(Self::default(), |sum, more| Self {
            flows: sum.flows + more.flows,
            passed: sum.passed + more.passed,
            failed: sum.failed + more.failed,
            errors: sum.errors + more.errors,
            cancelled: sum.cancelled + more.cancelled,
            steps: sum.steps + more.steps,
            passed_steps: sum.passed_steps + more.passed_steps,
            failed_steps: sum.failed_steps + more.failed_steps,
            skipped_steps: sum.skipped_steps + more.skipped_steps,
            duration_ms: sum.duration_ms + more.duration_ms,
        })
    }

    /// Counts one more run.
    pub fn add(&mut self, execution: &Execution) {
        self.flows += 1;
        match execution.status {
            ExecutionStatus::Passed => self.passed += 1,
            ExecutionStatus::Failed => self.failed += 1,
            ExecutionStatus::Cancelled => self.cancelled += 1,
            ExecutionStatus::Error | ExecutionStatus::Queued | ExecutionStatus::Running => self.errors += 1,
        }
        self.duration_ms += execution.duration_ms.unwrap_or(0);
        for step in detail::top_level(execution) {
            self.steps += 1;
            match step.status {
                StepStatus::Passed => self.passed_steps += 1,
                StepStatus::Failed | StepStatus::Error => self.failed_steps += 1,
                StepStatus::Skipped => self.skipped_steps += 1,
                StepStatus::Pending | StepStatus::Running | StepStatus::Tolerated | StepStatus::Cancelled => {}
            }
        }
    }
}

/// What one entry adds to a report. It is made as soon as the run is over, on whichever thread ran it, and the run's
/// record need not be kept until the report is written.
#[derive(Debug, Clone)]
pub struct Part {
    flow_name: String,
    started: DateTime<Utc>,
    totals: Totals,
    /// JUnit's own counts.
    cases: junit::Counts,
    passed: bool,
    text: Halves,
}

/// A part's text. What stands between the halves depends on the other parts.
#[derive(Debug, Clone, Default)]
struct Halves {
    before: String,
    after: String,
}

impl Part {
    /// What `entry` adds to a report in `format`.
    pub fn of(format: ReportFormat, entry: &ReportEntry) -> Self {
        let execution = &entry.execution;
        let mut totals = Totals::default();
        totals.add(execution);
        let mut part = Self {
            flow_name: execution.flow_name.clone(),
            started: execution.started_at.unwrap_or(execution.queued_at),
            totals,
            cases: junit::Counts::default(),
            passed: execution.status == ExecutionStatus::Passed,
            text: Halves::default(),
        };
        match format {
            ReportFormat::Junit => part.cases = junit::push_suite(&mut part.text.before, entry),
            ReportFormat::Json => part.text.before = json::entry(entry),
            ReportFormat::Html => part.text = html::flow(entry),
            ReportFormat::Tap => part.text = tap::flow(entry),
        }
        // It is kept to the end, beside thousands of others.
        part.text.before.shrink_to_fit();
        part.text.after.shrink_to_fit();
        part
    }
}

/// The whole report of `parts`, which were made in the same format, piece by piece in the order they are written.
pub fn assemble(format: ReportFormat, parts: &[Part]) -> Vec<Cow<'_, str>> {
    match format {
        ReportFormat::Junit => junit::assemble(parts),
        ReportFormat::Json => json::assemble(parts),
        ReportFormat::Html => html::assemble(parts),
        ReportFormat::Tap => tap::assemble(parts),
    }
}

/// Renders a report. Whatever a flow or a reply put into names, values or messages is escaped.
pub fn render(format: ReportFormat, entries: &[ReportEntry]) -> String {
    let parts: Vec<Part> = entries.iter().map(|entry| Part::of(format, entry)).collect();
    assemble(format, &parts).concat()
}

#[cfg(test)]
mod tests;
