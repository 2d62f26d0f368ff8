//! What a step sent, got and expected, for a terminal.

use std::fmt::Write as _;

use serde_json::Value as Json;
use testmesh_runner::record::{AssertionRecord, StepRecord};
use testmesh_runner::report::detail::{self, Side};

use super::{Paint, clean};

/// How much of a body is shown unless everything is asked for.
const MOST_LINES: usize = 30;
const MOST_CHARACTERS: usize = 4_000;

/// Every line of `text` with `width` spaces before it; nothing for nothing.
pub(super) fn indent(text: &str, width: usize) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut indented = String::with_capacity(text.len() + 64);
    for line in text.lines() {
        if line.is_empty() {
            indented.push('\n');
        } else {
            let _ = writeln!(indented, "{:width$}{line}", "");
        }
    }
    indented
}

/// The request and the response of a step.
pub(super) fn exchange(step: &StepRecord, paint: Paint, verbose: bool) -> String {
    let mut text = String::new();
    if let Some(request) = step.request.as_deref().filter(|request| !request.is_null()) {
        push_message(&mut text, &Message { value: request, arrow: "→", head: request_head(request) }, paint, verbose);
    }
    if let Some(response) = step.response.as_deref().filter(|response| !response.is_null()) {
        push_message(
            &mut text,
            &Message { value: response, arrow: "←", head: response_head(response) },
            paint,
            verbose,
        );
    }
    text
}

struct Message<'a> {
    value: &'a Json,
    arrow: &'a str,
    head: Option<String>,
}

fn request_head(request: &Json) -> Option<String> {
    Some(format!("{} {}", request.get("method")?.as_str()?, request.get("url")?.as_str()?))
}

fn response_head(response: &Json) -> Option<String> {
    let status = response.get("status").filter(|status| status.is_number())?;
    Some(match response.pointer("/timings/total").and_then(Json::as_f64) {
        Some(millis) => format!("{status} in {millis:.1} ms"),
        None => status.to_string(),
    })
}

fn push_message(text: &mut String, message: &Message<'_>, paint: Paint, verbose: bool) {
    let Some(head) = &message.head else {
        let body = shorten(&detail::full(message.value), verbose);
        let _ = writeln!(text, "{}", paint.dim(message.arrow));
        text.push_str(&indent(&clean(&body), 2));
        return;
    };
    let _ = writeln!(text, "{} {}", paint.dim(message.arrow), paint.bold(&clean(head)));
    if let Some(headers) = message.value.get("headers").and_then(Json::as_object) {
        for (name, value) in headers {
            let values = match value {
                Json::Array(values) => values.iter().map(detail::full).collect::<Vec<_>>().join(", "),
                other => detail::full(other),
            };
            let _ = writeln!(text, "  {}", paint.dim(&clean(&format!("{name}: {values}"))));
        }
    }
    let body = message.value.get("body").filter(|body| !body.is_null()).or_else(|| message.value.get("body_text"));
    if let Some(body) = body.filter(|body| !body.is_null()) {
        text.push_str(&indent(&clean(&shorten(&detail::full(body), verbose)), 2));
    }
}

/// A body of at most so many lines and characters, and how much is left out.
fn shorten(text: &str, verbose: bool) -> String {
    if verbose {
        return text.to_owned();
    }
    let end = text.char_indices().nth(MOST_CHARACTERS).map_or(text.len(), |(end, _)| end);
    let lines: Vec<_> = text[..end].lines().collect();
    let cut = lines[..lines.len().min(MOST_LINES)].join("\n");
    if cut.len() + 1 >= text.len() { cut } else { format!("{cut}\n… {} bytes in all (-v shows them)", text.len()) }
}

/// What was expected and did not hold; with `verbose` also what did.
pub(super) fn verdict(file: Option<&str>, step: &StepRecord, paint: Paint, verbose: bool) -> String {
    let mut text = String::new();
    for assertion in &step.assertions {
        if !assertion.passed {
            push_failed(&mut text, file, assertion, paint);
        } else if verbose {
            let _ = writeln!(text, "{} {}", paint.good("✓"), paint.dim(&clean(&assertion.expression)));
        }
    }
    if let Some(message) = detail::untold(step) {
        let _ = writeln!(text, "{} {}", paint.bad("✗"), clean(message));
    }
    text
}

fn push_failed(text: &mut String, file: Option<&str>, assertion: &AssertionRecord, paint: Paint) {
    let place = detail::place(file, assertion.line);
    let _ = writeln!(text, "{} {}  {}", paint.bad("✗"), paint.bold(&clean(&assertion.expression)), paint.dim(&place));
    let diff = detail::diff(assertion);
    if let Some(message) = detail::news(assertion) {
        let _ = writeln!(text, "    {}", clean(message));
    }
    if let Some(lines) = diff {
        let _ = writeln!(text, "    {} {}", paint.good("- expected"), paint.bad("+ actual"));
        for line in lines {
            let shown = format!("{} {}", detail::sign(line.side), clean(&line.text));
            let shown = match line.side {
                Side::Expected => paint.good(&shown),
                Side::Actual => paint.bad(&shown),
                Side::Both => shown,
                Side::Gap => paint.dim(&shown),
            };
            let _ = writeln!(text, "    {shown}");
        }
        return;
    }
    if let Some(actual) = &assertion.actual {
        let _ = writeln!(text, "    actual    {}", paint.bad(&clean(&detail::brief(actual))));
    }
    if let Some(expected) = &assertion.expected {
        let _ = writeln!(text, "    expected  {}", paint.good(&clean(&detail::brief(expected))));
    }
}
