//! What every report and the console say about a step: its place, its values as text, its differences.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value as Json;
use similar::{ChangeTag, TextDiff};

use crate::record::{AssertionRecord, ErrorKind, Execution, ExecutionStatus, StepRecord, StepStatus};

/// Texts longer than this are compared by a diff (characters).
const LONG_TEXT: usize = 60;

/// One line of a diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffLine {
    /// Where the line stands.
    pub side: Side,
    /// Its text, without a line end.
    pub text: String,
}

/// Where a line of a diff stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// In what was wanted only.
    Expected,
    /// In what was found only.
    Actual,
    /// In both.
    Both,
    /// Stands for lines that are the same on both sides and left out.
    Gap,
}

/// The steps of a run that are not nested in others, in the order they started.
pub fn top_level(execution: &Execution) -> impl Iterator<Item = &StepRecord> {
    records(execution).filter(|step| step.parent.is_none())
}

/// The steps nested directly in the step with this ordinal.
pub fn children(execution: &Execution, ordinal: u32) -> impl Iterator<Item = &StepRecord> {
    records(execution).filter(move |step| step.parent == Some(ordinal))
}

fn records(execution: &Execution) -> impl Iterator<Item = &StepRecord> {
    execution.steps.iter().flatten().map(|step| &**step)
}

/// The step and every step nested in it, at any depth, in the order they started, each with its depth.
pub fn subtree<'a>(execution: &'a Execution, step: &'a StepRecord) -> Vec<(usize, &'a StepRecord)> {
    let mut found = vec![(0, step)];
    let steps = execution.steps.as_deref().unwrap_or_default();
    let after = steps.partition_point(|other| other.ordinal <= step.ordinal);
    // A step starts after the one it is nested in and before the next one that is nested in none, so one pass in the
    // order of starts finds all of them.
    let mut candidates = steps[after..].iter().take_while(|nested| nested.parent.is_some()).peekable();
    if candidates.peek().is_none() {
        return found;
    }
    let mut depths = HashMap::from([(step.ordinal, 0)]);
    for nested in candidates {
        if let Some(&depth) = nested.parent.and_then(|parent| depths.get(&parent)) {
            depths.insert(nested.ordinal, depth + 1);
            found.push((depth + 1, nested));
        }
    }
    found
}

/// Whether a step ended badly.
pub fn is_failure(status: StepStatus) -> bool {
    match status {
        StepStatus::Failed | StepStatus::Error => true,
        StepStatus::Pending
        | StepStatus::Running
        | StepStatus::Passed
        | StepStatus::Skipped
        | StepStatus::Tolerated
        | StepStatus::Cancelled => false,
    }
}

/// A step's state as a word.
pub fn step_word(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Pending => "pending",
        StepStatus::Running => "running",
        StepStatus::Passed => "passed",
        StepStatus::Failed => "failed",
        StepStatus::Error => "error",
        StepStatus::Skipped => "skipped",
        StepStatus::Tolerated => "tolerated",
        StepStatus::Cancelled => "cancelled",
    }
}

/// A run's state as a word.
pub fn execution_word(status: ExecutionStatus) -> &'static str {
    match status {
        ExecutionStatus::Queued => "queued",
        ExecutionStatus::Running => "running",
        ExecutionStatus::Passed => "passed",
        ExecutionStatus::Failed => "failed",
        ExecutionStatus::Error => "error",
        ExecutionStatus::Cancelled => "cancelled",
    }
}

/// A step's name for people, with the turn of its loop: `create user [2]` in the third turn.
pub fn title(step: &StepRecord) -> Cow<'_, str> {
    match step.iteration {
        Some(turn) => Cow::Owned(format!("{} [{turn}]", step.name)),
        None => Cow::Borrowed(&step.name),
    }
}

/// `file:line`, or `line n` without a file.
pub fn place(file: Option<&str>, line: u32) -> String {
    match file {
        Some(file) => format!("{file}:{line}"),
        None => format!("line {line}"),
    }
}

/// A value on one line, as JSON; long ones are cut.
pub fn brief(value: &Json) -> String {
    const MOST: usize = 200;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

/// A value over as many lines as it takes: texts as they are, the rest as indented JSON.
pub fn full(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_else(|_| other.to_string()),
    }
}

/// How what was found differs from what was wanted, for an equality of long texts, lists or maps that does not hold.
pub fn diff(assertion: &AssertionRecord) -> Option<Vec<DiffLine>> {
    let (actual, expected) = (assertion.actual.as_ref()?, assertion.expected.as_ref()?);
    if assertion.passed || !assertion.expression.contains("==") || !worth_a_diff(actual, expected) {
        return None;
    }
    let (expected, actual) = (full(expected), full(actual));
    let texts = TextDiff::from_lines(expected.as_str(), actual.as_str());
    let mut lines = Vec::new();
    for (nth, group) in texts.grouped_ops(3).iter().enumerate() {
        let starts_later = group.first().is_some_and(|first| first.old_range().start > 0);
        if nth > 0 || starts_later {
            lines.push(DiffLine { side: Side::Gap, text: "…".to_owned() });
        }
        for change in group.iter().flat_map(|op| texts.iter_changes(op)) {
            let side = match change.tag() {
                ChangeTag::Delete => Side::Expected,
                ChangeTag::Insert => Side::Actual,
                ChangeTag::Equal => Side::Both,
            };
            lines.push(DiffLine { side, text: change.value().trim_end_matches(['\r', '\n']).to_owned() });
        }
    }
    Some(lines)
}

fn worth_a_diff(actual: &Json, expected: &Json) -> bool {
    match (actual, expected) {
        (Json::Array(_), Json::Array(_)) | (Json::Object(_), Json::Object(_)) => true,
        (Json::String(actual), Json::String(expected)) => {
            let long = |text: &str| text.contains('\n') || text.chars().count() > LONG_TEXT;
            long(actual) && long(expected)
        }
        _ => false,
    }
}

/// What a step's error says beyond its failed assertions, which are shown with their values; none when these say it all.
pub fn untold(step: &StepRecord) -> Option<&str> {
    let error = step.error.as_ref()?;
    let mut failed = step.assertions.iter().filter(|assertion| !assertion.passed);
    let Some(first) = failed.next() else { return Some(&error.message) };
    let told = first.message.as_deref().unwrap_or(&first.expression);
    let counted = format!("{} of {} assertions failed, first: {told}", 1 + failed.count(), step.assertions.len());
    let rest = error.message.strip_prefix(&counted).or_else(|| error.message.strip_prefix(told));
    match rest {
        Some(rest) => rest.strip_prefix("; "),
        None => (error.kind != ErrorKind::Assertion).then_some(&*error.message),
    }
}

/// What went wrong in a step as plain text: each assertion that does not hold with both values, then the error.
pub fn failure_text(file: Option<&str>, step: &StepRecord) -> String {
    let mut text = String::new();
    for assertion in step.assertions.iter().filter(|assertion| !assertion.passed) {
        push_assertion(&mut text, file, assertion);
    }
    if let Some(message) = untold(step) {
        let _ = writeln!(text, "{message}\n  at {}", place(file, step.line));
    }
    text
}

fn push_assertion(text: &mut String, file: Option<&str>, assertion: &AssertionRecord) {
    let _ = writeln!(text, "{}", assertion.expression);
    if let Some(message) = news(assertion) {
        let _ = writeln!(text, "  {message}");
    }
    if let Some(lines) = diff(assertion) {
        text.push_str("  - expected\n  + actual\n");
        for line in lines {
            let _ = writeln!(text, "  {} {}", sign(line.side), line.text);
        }
    } else {
        if let Some(actual) = &assertion.actual {
            let _ = writeln!(text, "  actual:   {}", brief(actual));
        }
        if let Some(expected) = &assertion.expected {
            let _ = writeln!(text, "  expected: {}", brief(expected));
        }
    }
    let _ = writeln!(text, "  at {}", place(file, assertion.line));
}

/// The first line of an assertion's message, unless it only says what the two values say.
pub fn news(assertion: &AssertionRecord) -> Option<&str> {
    let line = assertion.message.as_deref()?.lines().next()?;
    let says = |value: &Option<Json>| value.as_ref().is_some_and(|value| line.contains(&brief(value)));
    (!(says(&assertion.actual) && says(&assertion.expected))).then_some(line)
}

/// The mark in front of a diff's line.
pub fn sign(side: Side) -> char {
    match side {
        Side::Expected => '-',
        Side::Actual => '+',
        Side::Both | Side::Gap => ' ',
    }
}

/// What went wrong in a step and in every step nested in it, as plain text.
pub fn failure_tree(file: Option<&str>, execution: &Execution, step: &StepRecord) -> String {
    let mut text = failure_text(file, step);
    for (_, nested) in subtree(execution, step).into_iter().skip(1).filter(|(_, nested)| is_failure(nested.status)) {
        let _ = write!(text, "in step `{}`:\n{}", title(nested), failure_text(file, nested));
    }
    text
}

/// The first line of [`failure_text`]'s news: one sentence for a list.
pub fn headline(step: &StepRecord) -> String {
    let failed = step.assertions.iter().find(|assertion| !assertion.passed);
    let message = failed.and_then(|assertion| assertion.message.as_deref());
    let error = step.error.as_ref().map(|error| error.message.as_str());
    let line = message.or(error).or(failed.map(|assertion| &*assertion.expression));
    line.and_then(|line| line.lines().next()).unwrap_or("the step failed").to_owned()
}

/// What steps logged, one line each; `steps` is what [`subtree`] gives.
pub(super) fn log_text(steps: &[(usize, &StepRecord)]) -> String {
    let mut text = String::new();
    for log in steps.iter().flat_map(|(_, step)| &step.logs) {
        let _ = write!(text, "[{}] {}", log.level, log.message);
        if let Some(data) = &log.data {
            let _ = write!(text, " {}", brief(data));
        }
        text.push('\n');
    }
    text
}
