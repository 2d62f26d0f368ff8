//! `--format github`: the pretty output without colours, and an annotation for everything that failed.

use std::fmt::Write as _;

use testmesh_runner::diagnostic::Severity;
use testmesh_runner::record::ExecutionStatus;
use testmesh_runner::report::detail;

use super::{Paint, pretty};
use crate::suite::Finished;

/// What is printed for a flow.
pub(super) fn flow(finished: &Finished, show_steps: bool) -> String {
    let mut text = String::new();
    let execution = &finished.entry.execution;
    let details = pretty::flow(finished, Paint::plain(), show_steps, false);
    // A reply could hold a line that reads as a command to the runner: between these two none is obeyed.
    let _ = writeln!(text, "::stop-commands::{}", execution.id);
    text.push_str(&details);
    let _ = writeln!(text, "::{}::", execution.id);
    let file = finished.entry.file.as_deref();
    for diagnostic in &finished.diagnostics {
        let kind = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        annotate(&mut text, kind, (file, Some(diagnostic.line)), (&diagnostic.code, &diagnostic.message));
    }
    let mut told = !finished.diagnostics.is_empty();
    for step in execution.steps.iter().flatten().filter(|step| detail::is_failure(step.status)) {
        // A step that failed because of those in it is told by them.
        let below = detail::subtree(execution, step).into_iter().skip(1);
        if below.into_iter().any(|(_, nested)| detail::is_failure(nested.status)) {
            continue;
        }
        told = true;
        let kind = if execution.status == ExecutionStatus::Passed { "warning" } else { "error" };
        let failed = step.assertions.iter().find(|assertion| !assertion.passed);
        let line = failed.map_or(step.line, |assertion| assertion.line);
        let title = format!("{}: {}", execution.flow_name, detail::title(step));
        annotate(&mut text, kind, (file, Some(line)), (&title, &detail::failure_text(file, step)));
    }
    if !told && execution.status != ExecutionStatus::Passed {
        let word = detail::execution_word(execution.status);
        let message = execution.error.as_ref().map_or(word, |error| error.message.as_str());
        annotate(&mut text, "error", (file, None), (&execution.flow_name, message));
    }
    text
}

fn annotate(text: &mut String, kind: &str, place: (Option<&str>, Option<u32>), (title, message): (&str, &str)) {
    let _ = write!(text, "::{kind} title={}", property(title));
    if let Some(file) = place.0 {
        let _ = write!(text, ",file={}", property(file));
        if let Some(line) = place.1 {
            let _ = write!(text, ",line={line}");
        }
    }
    let _ = writeln!(text, "::{}", escape(message.trim_end()));
}

/// A message: line ends would end the command.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property: separators would begin the next one.
fn property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}
