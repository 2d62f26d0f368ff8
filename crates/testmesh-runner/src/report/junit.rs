//! The JUnit report: one suite per flow, one case per top-level step.
//!
//! The verdict is the run's own: a flow that passed has no failing case (a teardown that failed beside it is told in
//! `system-err`), and a flow that did not pass has at least one.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::detail::{self, failure_tree, log_text};
use super::figures::{push_number, push_seconds, push_stamp};
use super::{Part, ReportEntry, Totals};
use crate::record::{Execution, ExecutionStatus, Phase, StepRecord, StepStatus};

/// What became of one case.
enum Outcome {
    Passed,
    Skipped(String),
    Failure { message: String, text: String },
    Error { kind: String, message: String, text: String },
}

struct Case<'e> {
    name: Cow<'e, str>,
    line: Option<u32>,
    duration_ms: u64,
    n_assertions: usize,
    outcome: Outcome,
    out: String,
    err: String,
}

/// How many cases there are, by what became of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl Counts {
    fn of(cases: &[Case<'_>]) -> Self {
        let mut counts = Self { tests: cases.len(), ..Self::default() };
        for case in cases {
            match case.outcome {
                Outcome::Passed => {}
                Outcome::Skipped(_) => counts.skipped += 1,
                Outcome::Failure { .. } => counts.failures += 1,
                Outcome::Error { .. } => counts.errors += 1,
            }
        }
        counts
    }

    fn add(&mut self, other: &Counts) {
        self.tests += other.tests;
        self.failures += other.failures;
        self.errors += other.errors;
        self.skipped += other.skipped;
    }
}

pub(super) fn assemble(parts: &[Part]) -> Vec<Cow<'_, str>> {
    let mut all = Counts::default();
    for part in parts {
        all.add(&part.cases);
    }
    let mut time = String::new();
    push_seconds(&mut time, Totals::sum(parts).duration_ms);
    let head = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"testmesh\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{time}\">\n",
        all.tests, all.failures, all.errors
    );
    let suites = parts.iter().map(|part| Cow::Borrowed(part.text.before.as_str()));
    std::iter::once(Cow::Owned(head)).chain(suites).chain([Cow::Borrowed("</testsuites>\n")]).collect()
}

/// Adds the suite of one entry and says what it counts.
pub(super) fn push_suite(text: &mut String, entry: &ReportEntry) -> Counts {
    let execution = &entry.execution;
    let cases = cases(entry);
    let counts = Counts::of(&cases);
    text.reserve(1024);
    text.push_str("  <testsuite name=\"");
    text.push_str(&escape(&execution.flow_name));
    for (name, count) in
        [("tests", counts.tests), ("failures", counts.failures), ("errors", counts.errors), ("skipped", counts.skipped)]
    {
        text.extend(["\" ", name, "=\""]);
        push_number(text, count as u64);
    }
    text.push_str("\" time=\"");
    push_seconds(text, execution.duration_ms.unwrap_or(0));
    text.push_str("\" timestamp=\"");
    push_stamp(text, execution.started_at.unwrap_or(execution.queued_at), 'T');
    if let Some(file) = &entry.file {
        text.extend(["\" file=\"", &escape(file)]);
    }
    text.push_str("\">\n    <properties>\n");
    let id = execution.id.as_uuid();
    push_property(text, "execution_id", id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()));
    push_property(text, "status", detail::execution_word(execution.status));
    if let Some(environment) = &execution.environment {
        push_property(text, "environment", environment);
    }
    if let Some(trace_id) = &execution.trace_id {
        push_property(text, "trace_id", trace_id);
    }
    text.push_str("    </properties>\n");
    for case in &cases {
        push_case(text, entry, case);
    }
    text.push_str("  </testsuite>\n");
    counts
}

fn push_property(text: &mut String, name: &str, value: &str) {
    text.extend(["      <property name=\"", name, "\" value=\"", &escape(value), "\"/>\n"]);
}

fn cases(entry: &ReportEntry) -> Vec<Case<'_>> {
    let execution = &entry.execution;
    let mut cases: Vec<_> =
        detail::top_level(execution).map(|step| step_case(entry.file.as_deref(), execution, step)).collect();
    let counts = Counts::of(&cases);
    let unexplained = counts.failures + counts.errors == 0 && execution.status != ExecutionStatus::Passed;
    if unexplained || execution.error.is_some() {
        cases.push(run_case(execution));
    }
    cases
}

/// A case for what is wrong with the run as a whole: a file that does not parse, a time-out, a cancellation.
fn run_case(execution: &Execution) -> Case<'_> {
    let word = detail::execution_word(execution.status);
    let (kind, message) = match &execution.error {
        Some(error) => (error.code.as_str().to_owned(), error.message.clone()),
        None => (word.to_owned(), format!("the run ended as {word}")),
    };
    let first = message.lines().next().unwrap_or_default().to_owned();
    Case {
        name: Cow::Borrowed(&execution.flow_name),
        line: None,
        duration_ms: execution.duration_ms.unwrap_or(0),
        n_assertions: 0,
        outcome: Outcome::Error { kind, message: first, text: message },
        out: String::new(),
        err: String::new(),
    }
}

fn step_case<'e>(file: Option<&str>, execution: &'e Execution, step: &'e StepRecord) -> Case<'e> {
    let mut err = String::new();
    let outcome = match step.status {
        StepStatus::Passed => Outcome::Passed,
        StepStatus::Skipped => Outcome::Skipped(step.skip_reason.clone().unwrap_or_default()),
        StepStatus::Cancelled | StepStatus::Pending | StepStatus::Running => {
            Outcome::Skipped(detail::step_word(step.status).to_owned())
        }
        StepStatus::Tolerated => {
            err = format!("tolerated:\n{}", failure_tree(file, execution, step));
            Outcome::Passed
        }
        StepStatus::Failed | StepStatus::Error if execution.status == ExecutionStatus::Passed => {
            err = format!("failed beside a flow that passed:\n{}", failure_tree(file, execution, step));
            Outcome::Passed
        }
        StepStatus::Failed => {
            Outcome::Failure { message: detail::headline(step), text: failure_tree(file, execution, step) }
        }
        StepStatus::Error => Outcome::Error {
            kind: step.error.as_ref().map_or("error", |error| kind_word(error.kind)).to_owned(),
            message: detail::headline(step),
            text: failure_tree(file, execution, step),
        },
    };
    let steps = detail::subtree(execution, step);
    let n_assertions = steps.iter().map(|(_, step)| step.assertions.len()).sum();
    let name = match step.phase {
        Phase::Main => detail::title(step),
        Phase::Setup => format!("setup: {}", detail::title(step)).into(),
        Phase::Teardown => format!("teardown: {}", detail::title(step)).into(),
    };
    Case {
        name,
        line: Some(step.line),
        duration_ms: step.duration_ms,
        n_assertions,
        outcome,
        out: log_text(&steps),
        err,
    }
}

fn kind_word(kind: crate::record::ErrorKind) -> &'static str {
    use crate::record::ErrorKind;
    match kind {
        ErrorKind::Timeout => "timeout",
        ErrorKind::Connection => "connection",
        ErrorKind::Protocol => "protocol",
        ErrorKind::Assertion => "assertion",
        ErrorKind::Config => "config",
        ErrorKind::Expression => "expression",
        ErrorKind::Policy => "policy",
        ErrorKind::Internal => "internal",
    }
}

fn push_case(text: &mut String, entry: &ReportEntry, case: &Case<'_>) {
    let classname = escape(&entry.execution.flow_name);
    text.extend(["    <testcase name=\"", &escape(&case.name), "\" classname=\"", &classname, "\" assertions=\""]);
    push_number(text, case.n_assertions as u64);
    text.push_str("\" time=\"");
    push_seconds(text, case.duration_ms);
    if let Some(file) = &entry.file {
        text.extend(["\" file=\"", &escape(file)]);
    }
    if let Some(line) = case.line {
        text.push_str("\" line=\"");
        push_number(text, line.into());
    }
    text.push_str("\">\n");
    match &case.outcome {
        Outcome::Passed => {}
        Outcome::Skipped(reason) => {
            let _ = writeln!(text, "      <skipped message=\"{}\"/>", escape(reason));
        }
        Outcome::Failure { message, text: body } => push_problem(text, "failure", ("assertion", message), body),
        Outcome::Error { kind, message, text: body } => push_problem(text, "error", (kind, message), body),
    }
    if !case.out.is_empty() {
        let _ = writeln!(text, "      <system-out>{}</system-out>", escape(&case.out));
    }
    if !case.err.is_empty() {
        let _ = writeln!(text, "      <system-err>{}</system-err>", escape(&case.err));
    }
    text.push_str("    </testcase>\n");
}

fn push_problem(text: &mut String, element: &str, (kind, message): (&str, &str), body: &str) {
    let _ = writeln!(
        text,
        "      <{element} type=\"{}\" message=\"{}\">{}</{element}>",
        escape(kind),
        escape(message),
        escape(body)
    );
}

/// Text for XML 1.0: markup escaped, characters that XML cannot hold replaced by U+FFFD.
fn escape(text: &str) -> Cow<'_, str> {
    let harmless = |byte: u8| matches!(byte, 0x20..=0x7e) & !matches!(byte, b'&' | b'<' | b'>' | b'"');
    // Without an early end, so that many bytes are looked at at a time.
    if text.bytes().fold(true, |all, byte| all & harmless(byte)) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\r' => escaped.push_str("&#13;"),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}
