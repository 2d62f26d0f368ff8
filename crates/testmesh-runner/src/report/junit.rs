//! The JUnit report: one suite per flow, one case per top-level step.
//!
//! The verdict is the run's own: a flow that passed has no failing case (a teardown that failed beside it is told in
//! `system-err`), and a flow that did not pass has at least one.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::detail::{self, failure_tree, log_text};
use super::{Part, ReportEntry, Totals};
use crate::record::{Execution, ExecutionStatus, Phase, StepRecord, StepStatus};

/// What became of one case.
enum Outcome {
    Passed,
    Skipped(String),
    Failure { message: String, text: String },
    Error { kind: String, message: String, text: String },
}

struct Case {
    name: String,
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
    fn of(cases: &[Case]) -> Self {
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
    let head = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"testmesh\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{}\">\n",
        all.tests,
        all.failures,
        all.errors,
        seconds(Totals::sum(parts).duration_ms)
    );
    let suites = parts.iter().map(|part| Cow::Borrowed(part.text.before.as_str()));
    std::iter::once(Cow::Owned(head)).chain(suites).chain([Cow::Borrowed("</testsuites>\n")]).collect()
}

/// Adds the suite of one entry and says what it counts.
pub(super) fn push_suite(text: &mut String, entry: &ReportEntry) -> Counts {
    let execution = &entry.execution;
    let cases = cases(entry);
    let counts = Counts::of(&cases);
    let _ = write!(
        text,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\"",
        escape(&execution.flow_name),
        counts.tests,
        counts.failures,
        counts.errors,
        counts.skipped,
        seconds(execution.duration_ms.unwrap_or(0))
    );
    let started = execution.started_at.unwrap_or(execution.queued_at);
    let _ = write!(text, " timestamp=\"{}\"", started.format("%Y-%m-%dT%H:%M:%S"));
    if let Some(file) = &entry.file {
        let _ = write!(text, " file=\"{}\"", escape(file));
    }
    text.push_str(">\n    <properties>\n");
    push_property(text, "execution_id", &execution.id.to_string());
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
    let _ = writeln!(text, "      <property name=\"{name}\" value=\"{}\"/>", escape(value));
}

fn cases(entry: &ReportEntry) -> Vec<Case> {
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
fn run_case(execution: &Execution) -> Case {
    let word = detail::execution_word(execution.status);
    let (kind, message) = match &execution.error {
        Some(error) => (error.code.as_str().to_owned(), error.message.clone()),
        None => (word.to_owned(), format!("the run ended as {word}")),
    };
    let first = message.lines().next().unwrap_or_default().to_owned();
    Case {
        name: execution.flow_name.clone(),
        line: None,
        duration_ms: execution.duration_ms.unwrap_or(0),
        n_assertions: 0,
        outcome: Outcome::Error { kind, message: first, text: message },
        out: String::new(),
        err: String::new(),
    }
}

fn step_case(file: Option<&str>, execution: &Execution, step: &StepRecord) -> Case {
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
    let n_assertions = detail::subtree(execution, step).iter().map(|(_, step)| step.assertions.len()).sum();
    let name = match step.phase {
        Phase::Main => detail::title(step),
        Phase::Setup => format!("setup: {}", detail::title(step)),
        Phase::Teardown => format!("teardown: {}", detail::title(step)),
    };
    Case {
        name,
        line: Some(step.line),
        duration_ms: step.duration_ms,
        n_assertions,
        outcome,
        out: log_text(execution, step),
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

fn push_case(text: &mut String, entry: &ReportEntry, case: &Case) {
    let _ = write!(
        text,
        "    <testcase name=\"{}\" classname=\"{}\" assertions=\"{}\" time=\"{}\"",
        escape(&case.name),
        escape(&entry.execution.flow_name),
        case.n_assertions,
        seconds(case.duration_ms)
    );
    if let Some(file) = &entry.file {
        let _ = write!(text, " file=\"{}\"", escape(file));
    }
    if let Some(line) = case.line {
        let _ = write!(text, " line=\"{line}\"");
    }
    text.push_str(">\n");
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
    let harmless = |byte: &u8| matches!(byte, 0x20..=0x7e) && !matches!(byte, b'&' | b'<' | b'>' | b'"');
    if text.as_bytes().iter().all(harmless) {
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

fn seconds(duration_ms: u64) -> String {
    format!("{}.{:03}", duration_ms / 1000, duration_ms % 1000)
}
