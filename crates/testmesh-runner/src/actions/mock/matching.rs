//! What a request must have, and which of it a request lacks.

use std::fmt;

use regex::Regex;

use super::arrival::Incoming;
use super::route::Route;
use super::spec::OPERATORS;
use crate::action::ActionError;
use crate::engine::{Resolved, mismatch};
use crate::path::{PathRoots, ResultPath};
use crate::record::ErrorKind;
use crate::value::{Map, Value};

/// Characters of a value that a message shows.
const SHOWN: usize = 120;

/// A compiled `match`.
#[derive(Debug, Clone, Default)]
pub(super) struct Matcher {
    path_pattern: Option<Regex>,
    headers: Vec<(String, Comparison)>,
    query: Vec<(String, Comparison)>,
    body: Option<Value>,
    body_equals: Option<Value>,
    body_contains: Option<String>,
    body_pattern: Option<Regex>,
    json_path: Vec<(ResultPath, Comparison)>,
    state: Vec<(String, Value)>,
}

/// What a request is asked for as a whole.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// None: any.
    pub(super) methods: Vec<String>,
    pub(super) route: Option<Route>,
}

/// How one value is compared.
#[derive(Debug, Clone)]
enum Comparison {
    Equals(Value),
    All(Vec<Operator>),
}

#[derive(Debug, Clone)]
enum Operator {
    Equals(Value),
    Not(Value),
    Contains(String),
    Pattern(Regex),
    Exists(bool),
}

/// Something a request lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Miss {
    /// `method`, `path`, ``header `accept` ``, ``body `$.user.id` `` …
    pub(super) what: String,
    pub(super) expected: String,
    pub(super) actual: String,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.what, self.expected, self.actual)
    }
}

impl Wanted {
    pub(super) fn read(config: &Resolved) -> Result<Self, ActionError> {
        let written = config.list("method")?;
        let methods = written.iter().filter_map(Value::to_text).map(|method| method.to_ascii_uppercase());
        let methods = methods.filter(|method| !matches!(method.as_str(), "ANY" | "*")).collect();
        let route = match config.text("path")? {
            None => None,
            Some(path) => Some(Route::parse(&path).map_err(|reason| refuse(format!("`path` `{path}`: {reason}")))?),
        };
        Ok(Self { methods, route })
    }

    /// `GET /users/:id`.
    pub(super) fn shown(&self) -> String {
        let methods = if self.methods.is_empty() { "any method".to_owned() } else { self.methods.join("|") };
        format!("{methods} {}", self.route.as_ref().map_or("on any path", Route::source))
    }

    /// What is wrong with method and path; the path's parameters when nothing is.
    pub(super) fn check(&self, incoming: &Incoming) -> Result<Vec<(String, String)>, Vec<Miss>> {
        let mut misses = Vec::new();
        let mut params = Vec::new();
        if !self.methods.is_empty() && !self.methods.contains(&incoming.method) {
            misses.push(miss("method", quoted(&self.methods.join("|")), quoted(&incoming.method)));
        }
        if let Some(route) = &self.route {
            match route.matched(&incoming.path) {
                Some(found) => params = found,
                None => misses.push(miss("path", quoted(route.source()), quoted(&incoming.path))),
            }
        }
        if misses.is_empty() { Ok(params) } else { Err(misses) }
    }

    /// How far a request's path is from the one that is wanted, in edits.
    pub(super) fn distance(&self, incoming: &Incoming) -> usize {
        self.route.as_ref().map_or(0, |route| strsim::levenshtein(route.source(), &incoming.path))
    }
}

impl Matcher {
    /// Compiles a resolved `match`.
    pub(super) fn read(config: &Resolved) -> Result<Self, ActionError> {
        let compared = |key| -> Result<Vec<(String, Comparison)>, ActionError> {
            let entries = config.map(key)?;
            entries.iter().map(|(name, value)| Ok((name.to_string(), Comparison::read(value)?))).collect()
        };
        Ok(Self {
            path_pattern: pattern(config, "path_pattern")?,
            headers: compared("headers")?,
            query: compared("query")?,
            body: config.value("body").cloned(),
            body_equals: config.value("body_equals").cloned(),
            body_contains: config.text("body_contains")?.map(|text| text.to_string()),
            body_pattern: pattern(config, "body_pattern")?,
            json_path: json_paths(config)?,
            state: config.map("state")?.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
        })
    }

    /// Everything that a request lacks; nothing when it matches.
    pub(super) fn misses(&self, incoming: &Incoming, state: &Map) -> Vec<Miss> {
        let mut misses = Vec::new();
        if let Some(pattern) = &self.path_pattern
            && !pattern.is_match(&incoming.path)
        {
            misses.push(miss("path", format!("a match of `{pattern}`"), quoted(&incoming.path)));
        }
        for (name, comparison) in &self.headers {
            let found = incoming.header(name);
            let is_type = name.eq_ignore_ascii_case("content-type");
            if !comparison.holds_for_texts(&found, |wanted, found| same_header(is_type, wanted, found)) {
                misses.push(miss(format!("header `{name}`"), comparison.shown(), texts(&found)));
            }
        }
        for (name, comparison) in &self.query {
            let found = incoming.parameter(name);
            if !comparison.holds_for_texts(&found, |wanted, found| wanted == found) {
                misses.push(miss(format!("query parameter `{name}`"), comparison.shown(), texts(&found)));
            }
        }
        self.body_misses(incoming, &mut misses);
        for (name, wanted) in &self.state {
            let found = state.get(name).cloned().unwrap_or_default();
            if !found.equals(wanted) {
                misses.push(miss(format!("state `{name}`"), shown(wanted), shown(&found)));
            }
        }
        misses
    }

    fn body_misses(&self, incoming: &Incoming, misses: &mut Vec<Miss>) {
        let text = incoming.text.as_deref().unwrap_or_default();
        match &self.body {
            None => {}
            Some(Value::Text(wanted)) if &**wanted == text => {}
            Some(Value::Text(wanted)) => misses.push(miss("body", quoted(wanted), quoted(text))),
            Some(wanted) => partial("$", wanted, &incoming.body, misses),
        }
        if let Some(wanted) = &self.body_equals
            && incoming.body != *wanted
        {
            misses.push(miss("body", format!("exactly {}", shown(wanted)), shown(&incoming.body)));
        }
        if let Some(wanted) = &self.body_contains
            && !text.contains(wanted.as_str())
        {
            misses.push(miss("body", format!("a text with {}", quoted(wanted)), quoted(text)));
        }
        if let Some(pattern) = &self.body_pattern
            && !pattern.is_match(text)
        {
            misses.push(miss("body", format!("a match of `{pattern}`"), quoted(text)));
        }
        for (path, comparison) in &self.json_path {
            let roots = PathRoots { result: &incoming.body, primary: None, reserved: &[], step_id: "" };
            let found = path.find(&roots).ok().flatten();
            if !comparison.holds(found.as_ref()) {
                let actual = found.as_ref().map_or_else(|| "nothing".to_owned(), shown);
                misses.push(miss(format!("body `{}`", path.source()), comparison.shown(), actual));
            }
        }
    }
}

fn refuse(message: String) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}

fn compile(key: &str, text: &str) -> Result<Regex, ActionError> {
    Regex::new(text).map_err(|error| refuse(format!("`{key}` is not a regular expression: {error}")))
}

fn pattern(config: &Resolved, key: &str) -> Result<Option<Regex>, ActionError> {
    config.text(key)?.map(|text| compile(key, &text)).transpose()
}

fn json_paths(config: &Resolved) -> Result<Vec<(ResultPath, Comparison)>, ActionError> {
    let parse = |text: &str| {
        ResultPath::parse(text).map_err(|mistakes| {
            let reason = mistakes.into_iter().next().map(|mistake| mistake.message).unwrap_or_default();
            refuse(format!("`json_path` `{text}`: {reason}"))
        })
    };
    match config.value("json_path") {
        Some(map) if map.is_map() => {
            let entries = config.map("json_path")?;
            entries.iter().map(|(path, value)| Ok((parse(path)?, Comparison::read(value)?))).collect()
        }
        _ => {
            let there = |value: &Value| {
                let text = value.to_text().unwrap_or_default();
                Ok((parse(&text)?, Comparison::All(vec![Operator::Exists(true)])))
            };
            config.list("json_path")?.iter().map(there).collect()
        }
    }
}

impl Comparison {
    /// A map of nothing but operators compares by them, anything else by equality.
    fn read(value: &Value) -> Result<Self, ActionError> {
        let canonical = |key: &str| {
            let known = OPERATORS.iter().find(|field| field.name == key || field.aliases.contains(&key));
            known.map(|field| field.name)
        };
        let entries = value.entries().filter(|map| !map.entries.is_empty());
        let Some(entries) = entries.filter(|map| map.entries.keys().all(|key| canonical(key).is_some())) else {
            return Ok(Self::Equals(value.clone()));
        };
        let operators = entries.entries.iter().map(|(key, value)| {
            let text = || value.to_text().map(|text| text.to_string()).unwrap_or_default();
            Ok(match canonical(key).unwrap_or_default() {
                "not" => Operator::Not(value.clone()),
                "contains" => Operator::Contains(text()),
                "pattern" => Operator::Pattern(compile(key, &text())?),
                "exists" => Operator::Exists(value.as_bool().ok_or_else(|| mismatch(key, "`true` or `false`", value))?),
                _ => Operator::Equals(value.clone()),
            })
        });
        Ok(Self::All(operators.collect::<Result<_, ActionError>>()?))
    }

    fn holds(&self, found: Option<&Value>) -> bool {
        let text = || found.and_then(Value::to_text).unwrap_or_default();
        match self {
            Self::Equals(wanted) => found.is_some_and(|found| found == wanted),
            Self::All(operators) => operators.iter().all(|operator| match operator {
                Operator::Equals(wanted) => found.is_some_and(|found| found == wanted),
                Operator::Not(unwanted) => found.is_none_or(|found| found != unwanted),
                Operator::Contains(part) => match found.and_then(Value::items) {
                    Some(items) => items.iter().any(|item| item.equals(&Value::from(part.as_str()))),
                    None => text().contains(part.as_str()),
                },
                Operator::Pattern(pattern) => found.is_some() && pattern.is_match(&text()),
                Operator::Exists(wanted) => found.is_some() == *wanted,
            }),
        }
    }

    /// For what has any number of texts: one of them has to fit, and a list names all of them.
    fn holds_for_texts(&self, found: &[String], same: impl Fn(&str, &str) -> bool) -> bool {
        let is = |wanted: &Value| {
            let list = wanted.items();
            let texts =
                |items: &[Value]| items.iter().map(|item| item.to_text().unwrap_or_default()).collect::<Vec<_>>();
            if let Some(items) = list {
                let wanted = texts(&items);
                wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| same(wanted, found))
            } else {
                let wanted = wanted.to_text().unwrap_or_default();
                found.iter().any(|found| same(&wanted, found))
            }
        };
        match self {
            Self::Equals(wanted) => is(wanted),
            Self::All(operators) => operators.iter().all(|operator| match operator {
                Operator::Equals(wanted) => is(wanted),
                Operator::Not(unwanted) => !is(unwanted),
                Operator::Contains(part) => found.iter().any(|text| text.contains(part.as_str())),
                Operator::Pattern(pattern) => found.iter().any(|text| pattern.is_match(text)),
                Operator::Exists(wanted) => found.is_empty() != *wanted,
            }),
        }
    }

    fn shown(&self) -> String {
        let Self::All(operators) = self else {
            let Self::Equals(wanted) = self else { return String::new() };
            return shown(wanted);
        };
        let told = operators.iter().map(|operator| match operator {
            Operator::Equals(wanted) => shown(wanted),
            Operator::Not(unwanted) => format!("anything but {}", shown(unwanted)),
            Operator::Contains(part) => format!("something with {}", quoted(part)),
            Operator::Pattern(pattern) => format!("a match of `{pattern}`"),
            Operator::Exists(true) => "something".to_owned(),
            Operator::Exists(false) => "nothing".to_owned(),
        });
        told.collect::<Vec<_>>().join(" and ")
    }
}

/// Whether a header's value is the wanted one. A type without parameters fits one with them.
fn same_header(is_type: bool, wanted: &str, found: &str) -> bool {
    if is_type && !wanted.contains(';') {
        let essence = found.split(';').next().unwrap_or_default();
        return essence.trim().eq_ignore_ascii_case(wanted.trim());
    }
    wanted.trim() == found.trim()
}

/// Everything of `wanted` that `found` lacks; `found` may have more.
fn partial(place: &str, wanted: &Value, found: &Value, misses: &mut Vec<Miss>) {
    if let (Some(wanted), Some(found)) = (wanted.entries(), found.entries()) {
        for (key, value) in &wanted.entries {
            let place = format!("{place}.{key}");
            match found.get(key) {
                Some(found) => partial(&place, value, found, misses),
                None => misses.push(miss(format!("body `{place}`"), shown(value), "nothing".to_owned())),
            }
        }
        return;
    }
    if let (Some(wanted), Some(found)) = (wanted.items(), found.items())
        && wanted.len() == found.len()
    {
        for (index, (wanted, found)) in wanted.iter().zip(found.iter()).enumerate() {
            partial(&format!("{place}[{index}]"), wanted, found, misses);
        }
        return;
    }
    if wanted != found {
        misses.push(miss(format!("body `{place}`"), shown(wanted), shown(found)));
    }
}

fn miss(what: impl Into<String>, expected: String, actual: String) -> Miss {
    Miss { what: what.into(), expected, actual }
}

fn texts(found: &[String]) -> String {
    match found {
        [] => "nothing".to_owned(),
        found => found.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "),
    }
}

fn quoted(text: &str) -> String {
    format!("`{}`", cut(text))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::Text(text) => cut(&serde_json::Value::from(&**text).to_string()),
        _ => cut(&value.to_text().unwrap_or_default()),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use serde_json::json;

    use super::*;
    use crate::engine::entries;

    fn misses(matching: serde_json::Value) -> String {
        let request = Request::post("/users/7?page=2&tag=a&tag=b")
            .header("Content-Type", "application/json; charset=utf-8")
            .header("X-Token", "abc")
            .body(Some(Bytes::from_static(br#"{"id": 7, "name": "Ada", "tags": ["x", "y"], "n": null}"#)))
            .unwrap();
        let fields = entries(&Value::from_json(matching)).unwrap().into_iter().collect();
        let matcher = Matcher::read(&Resolved::new(fields)).unwrap();
        let state = [("step", Value::Int(2))].into_iter().collect();
        let misses = matcher.misses(&Incoming::read(request), &state);
        misses.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_matcher_names_what_a_request_lacks() {
        for (matching, expect) in [
            (json!({}), ""),
            (json!({"path_pattern": "^/users/[0-9]+$"}), ""),
            (json!({"path_pattern": "^/orders"}), "path: expected a match of `^/orders`, got `/users/7`"),
            (json!({"headers": {"content-type": "application/json", "x-token": "abc"}}), ""),
            (
                json!({"headers": {"content-type": "application/json; charset=latin1"}}),
                "header `content-type`: expected \"application/json; charset=latin1\", got `application/json; charset=utf-8`",
            ),
            (json!({"headers": {"X-Token": {"pattern": "^a", "not": "b"}, "x-none": {"exists": false}}}), ""),
            (json!({"headers": {"x-none": "1"}}), "header `x-none`: expected \"1\", got nothing"),
            (json!({"query": {"page": 2, "tag": ["a", "b"]}}), ""),
            (json!({"query": {"tag": "b"}}), ""),
            (json!({"query": {"tag": ["b"]}}), "query parameter `tag`: expected [\"b\"], got `a`, `b`"),
            (json!({"body": {"id": 7, "tags": ["x", "y"]}}), ""),
            (json!({"body": {"id": "7"}}), "body `$.id`: expected \"7\", got 7"),
            (json!({"body": {"tags": ["x", "z"]}}), "body `$.tags[1]`: expected \"z\", got \"y\""),
            (json!({"body": {"tags": ["x"]}}), "body `$.tags`: expected [\"x\"], got [\"x\",\"y\"]"),
            (json!({"body": {"user": {"id": 1}}}), "body `$.user`: expected {\"id\":1}, got nothing"),
            (json!({"body_equals": {"n": null, "tags": ["x", "y"], "name": "Ada", "id": 7}}), ""),
            (json!({"body_contains": "\"Ada\"", "body_pattern": "\"id\": \\d"}), ""),
            (
                json!({"body_contains": "Bob"}),
                "body: expected a text with `Bob`, got `{\"id\": 7, \"name\": \"Ada\", \"tags\": [\"x\", \"y\"], \"n\": null}`",
            ),
            (
                json!({"json_path": {"$.name": "Ada", "$.id": {"not": 8}, "$.tags[*]": ["x", "y"], "$.tags": {"contains": "x"}}}),
                "",
            ),
            (json!({"json_path": ["$.id", "$.gone"]}), "body `$.gone`: expected something, got nothing"),
            (
                json!({"json_path": {"$.name": {"pattern": "^B"}}}),
                "body `$.name`: expected a match of `^B`, got \"Ada\"",
            ),
            (json!({"state": {"step": 2}}), ""),
            (json!({"state": {"step": 3}}), "state `step`: expected 3, got 2"),
        ] {
            assert_eq!(misses(matching.clone()), expect, "{matching}");
        }
    }
}
