//! Paths into a step's result, for `output`: `body.items[0].id`, `$.items[*].id`, `$..id`.
//!
//! A path has a plain part, which is walked without copying, and from the first `*`, `..`, slice or filter on a query
//! after RFC 9535, whose value is the list of everything it selects.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json_path::JsonPath;

use crate::expr::{EvalError, SyntaxError, Wanted, into_part};
use crate::value::Value;

/// How many brackets a query may open: its parser recurses.
const MAX_BRACKETS: usize = 32;
/// How many `..` a query may hold: each multiplies what it visits.
const MAX_DESCENTS: usize = 3;
/// How many values a query may select.
const MAX_NODES: usize = 100_000;

/// A compiled path. Plain paths walk the value; paths with `[*]`, filters or `..` follow RFC 9535.
#[derive(Debug, Clone)]
pub struct ResultPath {
    source: Arc<str>,
    optional: bool,
    /// Whether it starts with `$.` or `$[`, so that its first key is never a root's name.
    rooted: bool,
    steps: Vec<Step>,
    query: Option<Arc<JsonPath>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Key(String),
    Index(i64),
}

/// Where a path looks: the whole result, and what `$` and bare names mean for this action.
#[derive(Debug)]
pub struct PathRoots<'a> {
    /// The whole result (a map).
    pub result: &'a Value,
    /// What `$` alone is, and where `$.x` and bare `x` look first: the body for HTTP, the first message's value for
    /// Kafka. `None`: the result itself.
    pub primary: Option<&'a Value>,
    /// Bare names that mean the result even where `primary` has them (`status`, `headers`, `duration_ms` for HTTP).
    pub reserved: &'a [&'a str],
    /// The step's own id, accepted as a root.
    pub step_id: &'a str,
}

impl ResultPath {
    /// Compiles a path. A `?` at its end makes it optional.
    pub fn parse(text: &str) -> Result<ResultPath, Vec<SyntaxError>> {
        let start = text.len() - text.trim_start().len();
        parse(text.trim()).map_err(|error| vec![error.shifted(start)])
    }

    /// The text it was parsed from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it ends in `?`.
    pub fn optional(&self) -> bool {
        self.optional
    }

    /// The first key, when the path has one and does not start with `$`.
    pub fn first_name(&self) -> Option<&str> {
        match self.steps.first() {
            Some(Step::Key(key)) if !self.rooted => Some(key),
            _ => None,
        }
    }

    /// The id of the step that a path `steps.<id>.…` names.
    pub(crate) fn step(&self) -> Option<&str> {
        match self.steps.as_slice() {
            [Step::Key(root), Step::Key(id), ..] if !self.rooted && root == "steps" => Some(id),
            _ => None,
        }
    }

    /// The value at the path; `None` when there is none.
    ///
    /// # Errors
    /// The path selects more than 100,000 values.
    pub fn find(&self, roots: &PathRoots<'_>) -> Result<Option<Value>, EvalError> {
        // `steps.<id>` means the same as `<id>`.
        if self.step() == Some(roots.step_id)
            && let found @ Some(_) = self.look_up(&self.steps[1..], roots)?
        {
            return Ok(found);
        }
        self.look_up(&self.steps, roots)
    }

    fn look_up(&self, steps: &[Step], roots: &PathRoots<'_>) -> Result<Option<Value>, EvalError> {
        let primary = roots.primary.unwrap_or(roots.result);
        let Some(Step::Key(first)) = steps.first() else { return self.select(primary, steps) };
        let bare = !self.rooted;
        if bare && roots.reserved.contains(&first.as_str()) {
            return self.select(roots.result, steps);
        }
        let is_root = bare && (matches!(first.as_str(), "result" | "response") || first == roots.step_id);
        // `result` alone is the result, unless there is something of that name to be found.
        let alone = steps.len() == 1 && self.query.is_none();
        if is_root
            && !alone
            && let found @ Some(_) = self.select(roots.result, &steps[1..])?
        {
            return Ok(found);
        }
        if let found @ Some(_) = self.select(primary, steps)? {
            return Ok(found);
        }
        match self.select(roots.result, steps)? {
            None if is_root && alone => Ok(Some(roots.result.clone())),
            found => Ok(found),
        }
    }

    fn select(&self, root: &Value, steps: &[Step]) -> Result<Option<Value>, EvalError> {
        let Some(here) = walk(root, steps) else { return Ok(None) };
        match &self.query {
            None => Ok(Some(here.into_owned())),
            Some(query) => run(query, &here).map(Some),
        }
    }
}

/// The value of `path` in `value`, for the function `jsonpath`: null when a plain path leads nowhere.
pub(crate) fn query(value: &Value, path: &str) -> Result<Value, EvalError> {
    let parsed = parse(path.trim())
        .map_err(|error| EvalError { message: format!("`{path}`: {}", error.message), help: error.help })?;
    Ok(parsed.select(value, &parsed.steps)?.unwrap_or_default())
}

fn walk<'v>(root: &'v Value, steps: &[Step]) -> Option<Cow<'v, Value>> {
    let mut here = Cow::Borrowed(root);
    for step in steps {
        let wanted = match step {
            Step::Key(key) => Wanted::Key(key),
            Step::Index(index) => Wanted::Index(*index),
        };
        here = match here {
            Cow::Borrowed(value) => into_part(value, &wanted)?,
            Cow::Owned(value) => Cow::Owned(into_part(&value, &wanted)?.into_owned()),
        };
    }
    Some(here)
}

fn run(query: &JsonPath, value: &Value) -> Result<Value, EvalError> {
    let json = value.to_json();
    let nodes = query.query(&json);
    if nodes.len() > MAX_NODES {
        return Err(EvalError {
            message: format!("the path selects {} values, more than {MAX_NODES}", nodes.len()),
            help: Some("select less, for example with a filter".to_owned()),
        });
    }
    Ok(Value::list(nodes.iter().map(|node| Value::from_json((*node).clone())).collect()))
}

fn fault(message: impl Into<String>, help: &str, start: usize, end: usize) -> SyntaxError {
    let help = (!help.is_empty()).then(|| help.to_owned());
    SyntaxError { message: message.into(), help, start, end }
}

/// Parses a text without white space around it.
fn parse(text: &str) -> Result<ResultPath, SyntaxError> {
    let (body, optional) = match text.strip_suffix('?') {
        Some(body) => (body, true),
        None => (text, false),
    };
    if body.is_empty() {
        return Err(fault("the path is empty", "write it like `body.id` or `$.items[0].id`", 0, text.len()));
    }
    let rooted = body == "$" || body.starts_with("$.") || body.starts_with("$[");
    let mut at = usize::from(body.starts_with('$'));
    let mut steps = Vec::new();
    if !rooted {
        // A bare path starts with a key, which no point stands before.
        let length = key_length(&body[at..]);
        if length == 0 {
            return Err(unexpected(body, at));
        }
        steps.push(Step::Key(body[at..at + length].to_owned()));
        at += length;
    }
    let mut query = None;
    while at < body.len() {
        let Some((step, next)) = step(body, at)? else {
            query = Some(Arc::new(compile(body, at)?));
            break;
        };
        steps.push(step);
        at = next;
    }
    Ok(ResultPath { source: text.into(), optional, rooted, steps, query })
}

/// The plain step at byte `at` and where it ends; `None` when a query starts there.
fn step(text: &str, at: usize) -> Result<Option<(Step, usize)>, SyntaxError> {
    let rest = &text[at..];
    if let Some(after) = rest.strip_prefix('.').or_else(|| rest.strip_prefix("?.")) {
        let start = text.len() - after.len();
        if after.starts_with(['.', '*', '[']) {
            return Ok(None);
        }
        let length = key_length(after);
        if length == 0 {
            return Err(if after.is_empty() {
                fault("the path ends in `.`", "name a key after it", at, text.len())
            } else {
                unexpected(text, start)
            });
        }
        let key = &after[..length];
        let step = key.parse().map_or_else(|_| Step::Key(key.to_owned()), Step::Index);
        return Ok(Some((step, start + length)));
    }
    let Some(inner) = rest.strip_prefix('[') else { return Err(unexpected(text, at)) };
    if let Some(quote) = inner.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let after = &inner[1..];
        let Some(length) = after.find(quote) else {
            return Err(fault("the key is never closed", &format!("add the closing `{quote}`"), at, text.len()));
        };
        let plain = !after[..length].contains('\\') && after[length + 1..].starts_with(']');
        return Ok(plain.then(|| (Step::Key(after[..length].to_owned()), at + length + 4)));
    }
    let Some(length) = inner.find(']') else {
        return Err(fault("`[` is never closed", "add `]`", at, text.len()));
    };
    Ok(inner[..length].trim().parse().ok().map(|index| (Step::Index(index), at + length + 2)))
}

fn compile(text: &str, at: usize) -> Result<JsonPath, SyntaxError> {
    let rest = &text[at..];
    if rest.bytes().filter(|byte| matches!(byte, b'[' | b'(')).count() > MAX_BRACKETS {
        return Err(fault("the path has too many brackets", "split it into several outputs", at, text.len()));
    }
    if rest.matches("..").count() > MAX_DESCENTS {
        return Err(fault("the path has too many `..`", "name the keys between", at, text.len()));
    }
    JsonPath::parse(&format!("${rest}")).map_err(|error| {
        let start = (at + error.position().saturating_sub(1)).min(text.len());
        let start = (0..=start).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(at);
        let said = error.to_string();
        let reason = said.rsplit(": ").next().unwrap_or_default().trim();
        let help = "paths follow RFC 9535: `$.items[*].id`, `$.items[?@.price > 10]`, `$..id`";
        fault(format!("`{rest}` is not a path: {reason}"), help, start, text.len())
    })
}

fn key_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(text.len())
}

fn unexpected(text: &str, at: usize) -> SyntaxError {
    let Some(found) = text[at..].chars().next() else {
        return fault("the path ends too early", "name a key", at, at);
    };
    let help = match found {
        '{' | '}' => "an output is a path such as `body.id`; references need no path",
        '(' | ')' => "a path calls no function; use `${…}` for an expression",
        _ => "write it like `body.items[0].id`; other keys as `[\"content-type\"]`",
    };
    fault(format!("`{}` has no place in a path", found.escape_debug()), help, at, at + found.len_utf8())
}

#[cfg(test)]
mod tests;
