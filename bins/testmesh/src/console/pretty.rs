//! `--format pretty`: one line for a flow that passed, everything that helps for one that did not.

use std::fmt;
use std::time::Duration;

use testmesh_runner::record::{Execution, ExecutionStatus, Phase, StepRecord, StepStatus};
use testmesh_runner::report::detail;

use super::detail as shown;
use super::{Paint, Tone, clean, duration};
use crate::suite::{Finished, Outcome};

/// What is printed for a flow.
pub(super) fn flow(finished: &Finished, paint: Paint, show_steps: bool, verbose: bool) -> String {
    let execution = &finished.entry.execution;
    let file = finished.entry.file.as_deref();
    let mut text = String::new();
    push_title(&mut text, execution, file, paint);
    let passed = execution.status == ExecutionStatus::Passed;
    if show_steps || !passed {
        for step in detail::top_level(execution) {
            for (depth, step) in detail::subtree(execution, step) {
                push_step(&mut text, file, step, (depth, paint, verbose));
            }
        }
    } else {
        // What failed beside a flow that passed (a teardown) is told all the same.
        for step in detail::top_level(execution).filter(|step| detail::is_failure(step.status)) {
            push_step(&mut text, file, step, (0, paint, verbose));
        }
    }
    if !finished.diagnostics.is_empty() {
        for diagnostic in &finished.diagnostics {
            text.push_str(&shown::indent(&diagnostic.render(file, paint.is_on()), 2));
        }
    } else if let Some(error) = &execution.error {
        text.push_str(&shown::indent(&paint.bad(&clean(&error.message)), 2));
    }
    text
}

fn push_title(text: &mut String, execution: &Execution, file: Option<&str>, paint: Paint) {
    let name = clean(&execution.flow_name);
    let took = duration(Duration::from_millis(execution.duration_ms.unwrap_or(0)));
    let (tone, mark) = match execution.status {
        ExecutionStatus::Passed => (Tone::Good, "✓"),
        ExecutionStatus::Cancelled => (Tone::Warn, "■"),
        ExecutionStatus::Failed | ExecutionStatus::Error | ExecutionStatus::Queued | ExecutionStatus::Running => {
            (Tone::Bad, "✗")
        }
    };
    paint.push(text, tone, mark);
    text.push(' ');
    match execution.status {
        ExecutionStatus::Passed => text.push_str(&name),
        ExecutionStatus::Cancelled => {
            text.extend([&name, " "]);
            paint.push(text, Tone::Warn, "cancelled");
        }
        ExecutionStatus::Failed => paint.push(text, Tone::Bold, name),
        ExecutionStatus::Error | ExecutionStatus::Queued | ExecutionStatus::Running => {
            paint.push(text, Tone::Bold, name);
            if let Some(file) = file.filter(|file| *file != execution.flow_name) {
                text.extend([" ", file]);
            }
        }
    }
    text.push(' ');
    let steps = fmt::from_fn(|out| match execution.total_steps {
        0 => Ok(()),
        1 => out.write_str("1 step, "),
        total if execution.passed_steps == total => write!(out, "{total} steps, "),
        total => write!(out, "{} of {total} steps, ", execution.passed_steps),
    });
    paint.push(text, Tone::Dim, format_args!("({steps}{took})"));
    text.push('\n');
}

fn push_step(text: &mut String, file: Option<&str>, step: &StepRecord, (depth, paint, verbose): (usize, Paint, bool)) {
    let (tone, mark) = match step.status {
        StepStatus::Passed => (Tone::Good, "✓"),
        StepStatus::Failed | StepStatus::Error => (Tone::Bad, "✗"),
        StepStatus::Tolerated | StepStatus::Cancelled => (Tone::Warn, "!"),
        StepStatus::Skipped | StepStatus::Pending | StepStatus::Running => (Tone::Dim, "-"),
    };
    let phase = match step.phase {
        Phase::Main => "",
        Phase::Setup => "setup: ",
        Phase::Teardown => "teardown: ",
    };
    text.extend(std::iter::repeat_n(' ', 2 + 2 * depth));
    paint.push(text, tone, mark);
    text.extend([" ", phase, &clean(&detail::title(step))]);
    match step.status {
        StepStatus::Skipped => {
            let reason = step.skip_reason.as_deref().unwrap_or("skipped");
            text.push_str("  ");
            paint.push(text, Tone::Dim, format_args!("skipped: {}", clean(reason)));
        }
        StepStatus::Tolerated | StepStatus::Cancelled => {
            text.push_str("  ");
            paint.push(text, Tone::Warn, detail::step_word(step.status));
        }
        StepStatus::Pending | StepStatus::Running | StepStatus::Passed | StepStatus::Failed | StepStatus::Error => {}
    }
    if step.status != StepStatus::Skipped {
        let took = duration(Duration::from_millis(step.duration_ms));
        text.push_str("  ");
        if step.attempt > 1 {
            paint.push(text, Tone::Dim, format_args!("{} attempts, {took}", step.attempt));
        } else {
            paint.push(text, Tone::Dim, took);
        }
    }
    let failed = detail::is_failure(step.status) || step.status == StepStatus::Tolerated;
    if failed {
        text.push_str("  ");
        paint.push(text, Tone::Dim, detail::place(file, step.line));
    }
    text.push('\n');
    let indent = 6 + 2 * depth;
    if failed || verbose {
        text.push_str(&shown::indent(&shown::exchange(step, paint, verbose), indent));
    }
    for log in &step.logs {
        let line = format!("{} {}", paint.dim(&log.level), clean(&log.message));
        text.push_str(&shown::indent(&line, indent));
    }
    text.push_str(&shown::indent(&shown::verdict(file, step, paint, verbose), indent));
}

/// What is printed at the end.
pub(super) fn summary(outcome: &Outcome, paint: Paint, elapsed: Duration) -> String {
    let totals = &outcome.totals;
    let mut parts = Vec::new();
    let mut part = |count: u32, word: &str, painted: fn(Paint, &str) -> String| {
        if count > 0 {
            parts.push(painted(paint, &format!("{count} {word}")));
        }
    };
    part(totals.passed, "passed", Paint::good);
    part(totals.failed, "failed", Paint::bad);
    part(totals.errors - outcome.invalid.min(totals.errors), "could not be run", Paint::bad);
    part(outcome.invalid, "invalid", Paint::bad);
    part(totals.cancelled, "cancelled", Paint::warn);
    part(u32::try_from(outcome.not_started).unwrap_or(u32::MAX), "not started", Paint::warn);
    let all = u64::from(totals.flows) + outcome.not_started as u64;
    let flows = if all == 1 { "1 flow".to_owned() } else { format!("{all} flows") };
    let steps = if totals.steps == 1 { "1 step".to_owned() } else { format!("{} steps", totals.steps) };
    format!("\n{} {} · {steps} · {}\n", paint.bold(&format!("{flows}:")), parts.join(", "), duration(elapsed))
}
