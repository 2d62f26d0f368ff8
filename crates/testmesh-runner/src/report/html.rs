//! The HTML report: one page that needs nothing else, neither a script nor another file, to be read.
//!
//! What failed stands open, what passed is folded. Light and dark follow the reader's system.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value as Json;

use super::detail::{self, Side};
use super::figures::{push_duration, push_number, push_thousandths};
use super::{Halves, Part, ReportEntry, Totals};
use crate::record::{AssertionRecord, AttemptRecord, Execution, LazyJson, Phase, StepRecord, StepStatus};
use crate::value::Value;

const STYLE: &str = include_str!("report.css");

/// A text longer than this is cut on the page (characters); the JSON report has all of it.
const MOST_SHOWN: usize = 64 * 1024;

pub(super) fn assemble(parts: &[Part]) -> Vec<Cow<'_, str>> {
    let mut pieces = Vec::with_capacity(2 * parts.len() + 2);
    pieces.push(Cow::Owned(head(parts)));
    for part in parts {
        let open = parts.len() == 1 || !part.passed;
        let start = if open { "<details class=\"flow\" open" } else { "<details class=\"flow\"" };
        pieces.extend([start, part.text.after.as_str()].map(Cow::Borrowed));
    }
    pieces.push(Cow::Borrowed("<footer>TestMesh report</footer>\n</main>\n</body>\n</html>\n"));
    pieces
}

fn head(parts: &[Part]) -> String {
    let title = match parts {
        [part] => part.flow_name.clone(),
        _ => format!("{} flows", parts.len()),
    };
    let mut page = String::with_capacity(8 * 1024);
    page.push_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
    page.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    let _ = write!(
        page,
        "<title>{} – TestMesh</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escape(&title)
    );
    push_summary(&mut page, &title, parts);
    page
}

fn push_summary(page: &mut String, title: &str, parts: &[Part]) {
    let totals = Totals::sum(parts);
    let started = parts.iter().map(|part| part.started).min();
    let _ = write!(page, "<h1>{}</h1>\n<p>", escape(title));
    match started {
        Some(started) => {
            let _ = write!(page, "Started {}", started.format("%Y-%m-%d %H:%M:%S UTC"));
        }
        None => page.push_str("Nothing was run"),
    }
    page.push_str("</p>\n<div class=\"tiles\">\n");
    tile(page, &totals.passed.to_string(), "flows passed");
    tile(page, &(totals.failed + totals.errors).to_string(), "failed");
    if totals.cancelled > 0 {
        tile(page, &totals.cancelled.to_string(), "cancelled");
    }
    tile(page, &format!("{}/{}", totals.passed_steps, totals.steps), "steps passed");
    tile(page, &duration(totals.duration_ms), "time, added up");
    page.push_str("</div>\n<div class=\"bar\">");
    let bad = totals.failed + totals.errors;
    for (class, share) in [("passed", totals.passed), ("failed", bad), ("cancelled", totals.cancelled)] {
        if share > 0 {
            let _ = write!(page, "<i class=\"{class}\" style=\"flex:{share}\"></i>");
        }
    }
    page.push_str("</div>\n");
}

fn tile(page: &mut String, figure: &str, label: &str) {
    let _ = writeln!(page, "<div class=\"tile\"><b>{figure}</b><span>{label}</span></div>");
}

/// A flow: all but whether it stands open, which is told between the halves.
pub(super) fn flow(entry: &ReportEntry) -> Halves {
    let execution = &entry.execution;
    let word = detail::execution_word(execution.status);
    let mut after = String::with_capacity(3072);
    let page = &mut after;
    page.extend(["><summary><span class=\"badge ", word, "\">", word, "</span><span class=\"name\">"]);
    push_escaped(page, &execution.flow_name, "\n");
    page.push_str("</span><span class=\"meta\">");
    push_number(page, execution.passed_steps.into());
    page.push_str(" of ");
    push_number(page, execution.total_steps.into());
    page.push_str(" steps · ");
    push_duration(page, execution.duration_ms.unwrap_or(0));
    page.push_str("</span></summary>\n<div class=\"inside\">\n");
    push_facts(page, entry);
    if let Some(error) = &execution.error {
        let _ = writeln!(page, "<pre class=\"problem\">{}</pre>", shown(&error.message));
    }
    let mut phase = None;
    for step in detail::top_level(execution) {
        if phase != Some(step.phase) {
            phase = Some(step.phase);
            page.extend(["<div class=\"phase\">", phase_word(step.phase), "</div>\n"]);
        }
        push_step(page, entry, step);
    }
    page.push_str("</div></details>\n");
    Halves { before: String::new(), after }
}

fn push_facts(page: &mut String, entry: &ReportEntry) {
    let execution = &entry.execution;
    page.push_str("<div class=\"facts\">");
    if let Some(file) = &entry.file {
        push_escaped(page, file, "\n");
        page.push_str(" · ");
    }
    if let Some(version) = execution.flow_version {
        page.push_str("version ");
        push_number(page, version.into());
        page.push_str(" · ");
    }
    if let Some(environment) = &execution.environment {
        page.push_str("environment ");
        push_escaped(page, environment, "\n");
        page.push_str(" · ");
    }
    let id = execution.id.as_uuid();
    page.extend(["run ", id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer())]);
    if let Some(trace_id) = &execution.trace_id {
        page.push_str(" · trace ");
        push_escaped(page, trace_id, "\n");
    }
    page.push_str("</div>\n");
    if !execution.variables.is_empty() {
        page.push_str("<details><summary class=\"note\">variables</summary>\n");
        push_names(page, execution.variables.iter().map(|(name, value)| (name.as_str(), value)));
        page.push_str("</details>\n");
    }
}

fn push_step(page: &mut String, entry: &ReportEntry, step: &StepRecord) {
    let execution = &entry.execution;
    let word = detail::step_word(step.status);
    let below_failed = detail::subtree(execution, step).iter().any(|(_, nested)| detail::is_failure(nested.status));
    let open = if below_failed { " open" } else { "" };
    page.extend(["<details class=\"step\"", open, "><summary><span class=\"badge ", word, "\">", word, "</span>"]);
    page.push_str("<span class=\"name\">");
    push_escaped(page, &detail::title(step), "\n");
    page.push_str("</span> <span class=\"action\">");
    push_escaped(page, &step.action, "\n");
    page.push_str("</span><span class=\"meta\">");
    if step.attempt > 1 {
        push_number(page, step.attempt.into());
        page.push_str(" attempts · ");
    }
    push_duration(page, step.duration_ms);
    page.push_str("</span></summary>\n<div class=\"inside\">\n<div class=\"note\">");
    push_escaped(page, &detail::place(entry.file.as_deref(), step.line), "\n");
    page.push_str("</div>\n");
    if let Some(reason) = step.skip_reason.as_deref().filter(|_| step.status == StepStatus::Skipped) {
        let _ = writeln!(page, "<p>{}</p>", escape(reason));
    }
    // What failed assertions say is below, with both values.
    if let Some(message) = detail::untold(step) {
        let _ = writeln!(page, "<pre class=\"problem\">{}</pre>", shown(message));
    }
    push_assertions(page, &step.assertions);
    push_exchange(page, "Request", step.request.as_ref().map(LazyJson::value));
    push_exchange(page, "Response", step.response.as_ref().map(LazyJson::value));
    if !step.outputs.is_empty() {
        page.push_str("<h3>Outputs</h3>\n");
        push_names(page, step.outputs.iter().map(|(name, value)| (name.as_str(), value)));
    }
    if !step.logs.is_empty() {
        page.push_str("<h3>Log</h3>\n<pre>");
        for log in &step.logs {
            let data = log.data.as_ref().map(detail::brief).unwrap_or_default();
            let _ = writeln!(page, "{} {} {}", escape(&log.level), shown(&log.message), escape(&data));
        }
        page.push_str("</pre>\n");
    }
    for attempt in &step.attempts {
        push_attempt(page, attempt);
    }
    push_children(page, entry, execution, step);
    page.push_str("</div></details>\n");
}

fn push_children(page: &mut String, entry: &ReportEntry, execution: &Execution, step: &StepRecord) {
    let mut children = detail::children(execution, step.ordinal).peekable();
    if children.peek().is_some() {
        page.push_str("<h3>Steps</h3>\n");
    }
    for child in children {
        push_step(page, entry, child);
    }
}

fn push_assertions(page: &mut String, assertions: &[AssertionRecord]) {
    if assertions.is_empty() {
        return;
    }
    page.push_str(
        "<h3>Assertions</h3>\n<table>\n<tr><th></th><th>expression</th><th>actual</th><th>expected</th></tr>\n",
    );
    for assertion in assertions {
        let (class, mark) = if assertion.passed { ("ok", "✓") } else { ("no", "✗") };
        page.extend(["<tr><td class=\"mark ", class, "\">", mark, "</td><td><code>"]);
        push_escaped(page, &assertion.expression, "\n");
        for value in [&assertion.actual, &assertion.expected] {
            page.push_str("</code></td><td><code>");
            if let Some(value) = value {
                push_brief(page, value);
            }
        }
        page.push_str("</code></td></tr>\n");
        if assertion.passed {
            continue;
        }
        if let Some(lines) = detail::diff(assertion) {
            page.push_str("<tr><td></td><td colspan=\"3\"><pre class=\"diff\">");
            for line in lines {
                let class = match line.side {
                    Side::Expected => "expected",
                    Side::Actual => "actual",
                    Side::Both => "both",
                    Side::Gap => "gap",
                };
                let _ =
                    write!(page, "<span class=\"{class}\">{} {}</span>", detail::sign(line.side), escape(&line.text));
            }
            page.push_str("</pre></td></tr>\n");
        } else if let Some(message) = &assertion.message {
            let _ = writeln!(page, "<tr><td></td><td colspan=\"3\">{}</td></tr>", shown(message));
        }
    }
    page.push_str("</table>\n");
}

/// A value on one line. The usual ones need no text of their own first.
fn push_brief(page: &mut String, value: &Json) {
    match value {
        Json::Null => page.push_str("null"),
        Json::Bool(truth) => page.push_str(if *truth { "true" } else { "false" }),
        Json::Number(number) if number.is_u64() => push_number(page, number.as_u64().unwrap_or_default()),
        other => push_escaped(page, &detail::brief(other), "\n"),
    }
}

/// A request or a response: its body apart, the rest as a table when it is a map.
fn push_exchange(page: &mut String, heading: &str, value: Option<&Value>) {
    let Some(value) = value.filter(|value| !value.is_null()) else { return };
    page.extend(["<h3>", heading, "</h3>\n"]);
    let Value::Map(map) = value else { return push_block(page, value) };
    let fields = || map.entries.iter().map(|(name, value)| (&**name, value)).filter(|(_, value)| !value.is_null());
    push_names(page, fields().filter(|(name, _)| !is_body(name)));
    for (name, body) in fields().filter(|(name, _)| is_body(name)) {
        if name == "body_text" && map.entries.get("body").is_some_and(|body| !body.is_null()) {
            continue;
        }
        push_block(page, body);
    }
}

fn push_block(page: &mut String, value: &Value) {
    let mut text = String::new();
    value.push_full(&mut text);
    page.push_str("<pre>");
    push_shown(page, &text, "\n");
    page.push_str("</pre>\n");
}

fn is_body(name: &str) -> bool {
    matches!(name, "body" | "body_text" | "rows" | "messages")
}

fn push_names<'a, V: Cell + 'a>(page: &mut String, fields: impl Iterator<Item = (&'a str, &'a V)>) {
    page.push_str("<table>\n");
    let mut text = String::new();
    for (name, value) in fields {
        page.push_str("<tr><th>");
        push_escaped(page, name, "\n");
        page.push_str("</th><td><code>");
        if let Some(whole) = value.as_text() {
            push_shown(page, whole.trim_end(), "<br>");
        } else {
            text.clear();
            value.push_cell(&mut text);
            push_shown(page, text.trim_end(), "<br>");
        }
        page.push_str("</code></td></tr>\n");
    }
    page.push_str("</table>\n");
}

/// What stands in a cell of a table.
trait Cell {
    /// The text, if it is one.
    fn as_text(&self) -> Option<&str>;
    /// Texts as they are, the rest as indented JSON.
    fn push_full(&self, text: &mut String);
    /// The same, and a map of plain values as one line for each.
    fn push_cell(&self, text: &mut String);
}

impl Cell for Json {
    fn as_text(&self) -> Option<&str> {
        self.as_str()
    }

    fn push_full(&self, text: &mut String) {
        text.push_str(&detail::full(self));
    }

    fn push_cell(&self, text: &mut String) {
        match self {
            Json::Object(fields) if fields.values().all(|value| !value.is_object() && !value.is_array()) => {
                push_lines(text, fields.iter().map(|(name, value)| (name.as_str(), value)));
            }
            other => other.push_full(text),
        }
    }
}

impl Cell for Value {
    fn as_text(&self) -> Option<&str> {
        self.as_str()
    }

    fn push_full(&self, text: &mut String) {
        match self {
            Value::Text(whole) => text.push_str(whole),
            Value::Int(number @ 0..) => push_number(text, number.unsigned_abs()),
            Value::Float(number) if push_thousandths(text, *number) => {}
            other => text.push_str(&serde_json::to_string_pretty(other).unwrap_or_default()),
        }
    }

    fn push_cell(&self, text: &mut String) {
        match self {
            Value::Map(map) if map.entries.values().all(|value| !value.is_map() && !value.is_list()) => {
                push_lines(text, map.entries.iter().map(|(name, value)| (&**name, value)));
            }
            other => other.push_full(text),
        }
    }
}

fn push_lines<'a, V: Cell + 'a>(text: &mut String, fields: impl Iterator<Item = (&'a str, &'a V)>) {
    for (nth, (name, value)) in fields.enumerate() {
        let line_end = if nth > 0 { "\n" } else { "" };
        text.extend([line_end, name, ": "]);
        value.push_full(text);
    }
}

fn push_attempt(page: &mut String, attempt: &AttemptRecord) {
    let _ = writeln!(
        page,
        "<details><summary class=\"note\">attempt {}: {} · {}</summary>",
        attempt.attempt,
        detail::step_word(attempt.status),
        duration(attempt.duration_ms)
    );
    if let Some(error) = &attempt.error {
        let _ = writeln!(page, "<pre class=\"problem\">{}</pre>", shown(&error.message));
    }
    push_assertions(page, &attempt.assertions);
    push_exchange(page, "Response", attempt.response.clone().map(Value::from_json).as_ref());
    page.push_str("</details>\n");
}

fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Setup => "Setup",
        Phase::Main => "Steps",
        Phase::Teardown => "Teardown",
    }
}

/// Escaped text, cut where it is too long for a page.
fn shown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len().min(MOST_SHOWN) + 16);
    push_shown(&mut escaped, text, "\n");
    escaped
}

fn push_shown(page: &mut String, text: &str, line_end: &str) {
    let end = if text.len() > MOST_SHOWN { text.char_indices().nth(MOST_SHOWN) } else { None };
    match end {
        Some((end, _)) => {
            push_escaped(page, &text[..end], line_end);
            let _ = write!(page, "{line_end}… cut here: {} bytes in all", text.len());
        }
        None => push_escaped(page, text, line_end),
    }
}

/// Text for HTML, in elements and in quoted attributes alike.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    push_escaped(&mut escaped, text, "\n");
    escaped
}

/// Whether a byte stands on a page as it is, whatever stands beside it.
static HARMLESS: [bool; 256] = {
    let mut harmless = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        harmless[byte] = byte == b'\t' as usize;
        byte += 1;
    }
    // 0xc2 begins the control characters U+0080 to U+009F, among others.
    let special = [b'&', b'<', b'>', b'"', b'\'', 0x7f, 0xc2];
    let mut nth = 0;
    while nth < special.len() {
        harmless[special[nth] as usize] = false;
        nth += 1;
    }
    harmless
};

/// Escapes text. Whatever stands between two characters that need it is copied as a whole.
fn push_escaped(page: &mut String, text: &str, line_end: &str) {
    let bytes = text.as_bytes();
    let (mut start, mut at) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        if HARMLESS[usize::from(byte)] {
            at += 1;
            continue;
        }
        let (replacement, length) = match byte {
            b'&' => ("&amp;", 1),
            b'<' => ("&lt;", 1),
            b'>' => ("&gt;", 1),
            b'"' => ("&quot;", 1),
            b'\'' => ("&#39;", 1),
            b'\n' => (line_end, 1),
            // A browser would turn it into a second line end.
            b'\r' => ("", 1),
            0xc2 if matches!(bytes.get(at + 1), Some(0x80..=0x9f)) => ("\u{fffd}", 2),
            0xc2 => {
                at += 1;
                continue;
            }
            _ => ("\u{fffd}", 1),
        };
        page.push_str(&text[start..at]);
        page.push_str(replacement);
        at += length;
        start = at;
    }
    page.push_str(&text[start..]);
}

fn duration(duration_ms: u64) -> String {
    let mut text = String::new();
    push_duration(&mut text, duration_ms);
    text
}
