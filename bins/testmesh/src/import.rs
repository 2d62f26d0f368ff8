//! Flows from what other tools wrote: each format is read into drafts, and every draft is written in one way.
//!
//! Text of the source is literal: what would be a reference here is escaped, and only variables of the source become
//! references. No credential of the source reaches a flow. What cannot be taken over is named in a comment at its place.

pub(crate) mod curl;
pub(crate) mod har;
pub(crate) mod openapi;
mod origin;
pub(crate) mod postman;
mod sample;
mod secrets;
mod shell;
mod words;
mod yaml;

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};
use testmesh_runner::diagnostic::{Diagnostic, Severity};
use testmesh_runner::flow::{Flow, ParseOptions, format};

pub(crate) use self::secrets::hide;
pub(crate) use self::words::{distinct, slug, unmarked_json};
use self::words::{literal, literal_json, refers, shown};

/// The longest name of a flow, in characters.
const LONGEST_NAME: usize = 255;
/// The largest body that is written into a flow, in bytes.
const LARGEST_BODY: usize = 64 << 10;
/// The deepest JSON that is written as YAML.
const DEEPEST_BODY: usize = 32;
/// The longest key that is written as YAML.
const LONGEST_KEY: usize = 500;
/// Digits that a number of JSON surely keeps.
const SURE_DIGITS: usize = 15;

/// The keys of a request in the order that they are read best.
const ORDER: [&str; 20] = [
    "method",
    "url",
    "params",
    "headers",
    "auth",
    "cookies",
    "json",
    "form",
    "multipart",
    "graphql",
    "body",
    "timeout",
    "follow_redirects",
    "max_redirects",
    "verify_tls",
    "ca_cert",
    "client_cert",
    "client_key",
    "proxy",
    "http_version",
];

/// What a flow is made of, where a source has parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum GroupBy {
    /// A flow for each request
    Request,
    /// A flow for each tag, or for each folder at the top
    Group,
    /// One flow
    All,
}

/// A flow to be written. Its texts are marked and not escaped.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) tags: Vec<String>,
    /// Variables with their values.
    pub(crate) env: IndexMap<String, String>,
    /// Variables that whoever runs it must give, with what they are.
    pub(crate) input: IndexMap<String, String>,
    /// Secrets that whoever runs it must give, with what they are.
    pub(crate) secrets: IndexMap<String, String>,
    /// What was left out, with its place in the source.
    pub(crate) left_out: Vec<(String, String)>,
    pub(crate) steps: Vec<StepDraft>,
}

/// A step with an HTTP request. Its texts are marked and not escaped, but for those of `assert` and `output`.
#[derive(Debug, Default, Clone)]
pub(crate) struct StepDraft {
    pub(crate) name: String,
    /// Where it is in the source.
    pub(crate) place: String,
    pub(crate) config: Map<String, Json>,
    pub(crate) assert: Vec<String>,
    pub(crate) output: IndexMap<String, String>,
    /// What the source says about it.
    pub(crate) comments: Vec<String>,
    /// What was left out.
    pub(crate) left_out: Vec<String>,
}

impl Draft {
    /// The flow's text, formatted.
    ///
    /// # Errors
    /// It does not validate: the source has what nobody thought of. The text says what, and where.
    pub(crate) fn write(&self) -> Result<String, String> {
        let text = self.text();
        let formatted = format(&text).map_err(|found| self.invalid(&found))?;
        let parsed = Flow::parse(&formatted, &ParseOptions { strict: true, ..ParseOptions::default() });
        if parsed.is_valid() { Ok(formatted) } else { Err(self.invalid(&parsed.diagnostics)) }
    }

    /// What was left out, for people: `place: what`.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        let own = self.left_out.iter().map(|(place, what)| format!("{place}: left out: {}", shown(what)));
        let of_steps = self
            .steps
            .iter()
            .flat_map(|step| step.left_out.iter().map(|what| format!("{}: left out: {}", step.place, shown(what))));
        own.chain(of_steps)
    }

    fn invalid(&self, found: &[Diagnostic]) -> String {
        let first = found.iter().find(|finding| finding.severity == Severity::Error).or(found.first());
        let first = first.map(|first| first.render(None, false)).unwrap_or_default();
        format!("the flow `{}` that was made does not validate:\n{first}", self.name)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (place, what) in &self.left_out {
            yaml::comment(&mut text, 0, &format!("left out of {place}: {}", shown(what)));
        }
        if !self.secrets.is_empty() {
            yaml::comment(&mut text, 0, "Secrets that a run needs, from an environment or by --secret NAME:");
            for (name, what) in &self.secrets {
                yaml::comment(&mut text, 0, &format!("- {name}: {what}"));
            }
        }
        yaml::entries(&mut text, &self.head(), 0);
        text.push_str("\nsteps:\n");
        let mut taken = HashSet::new();
        for (index, step) in self.steps.iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            for comment in &step.comments {
                yaml::comment(&mut text, 1, &shown(comment));
            }
            for what in &step.left_out {
                yaml::comment(&mut text, 1, &format!("left out: {}", shown(what)));
            }
            let slug = slug(&shown(&step.name));
            let named = slug.starts_with(|first: char| first.is_ascii_alphabetic());
            let id = if named { slug } else { format!("step_{}", index + 1) };
            yaml::item(&mut text, &step.map(&distinct(&id, &mut taken)), 1);
        }
        text
    }

    fn head(&self) -> Map<String, Json> {
        let mut head = Map::new();
        let name: String = shown(self.name.trim()).chars().take(LONGEST_NAME).collect();
        head.insert("name".to_owned(), json!(if name.is_empty() { "imported" } else { &name }));
        if let Some(description) = self.description.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
            head.insert("description".to_owned(), json!(shown(description)));
        }
        if !self.tags.is_empty() {
            head.insert("tags".to_owned(), json!(self.tags));
        }
        if !self.env.is_empty() {
            let env = self.env.iter().map(|(name, value)| (name.clone(), json!(literal(value))));
            head.insert("env".to_owned(), Json::Object(env.collect()));
        }
        if !self.input.is_empty() {
            let declared = |what: &String| json!({ "type": "string", "required": true, "description": what });
            let input: Map<String, Json> =
                self.input.iter().map(|(name, what)| (name.clone(), declared(what))).collect();
            head.insert("input".to_owned(), Json::Object(input));
        }
        head
    }

    /// Gives the flow a variable for where its requests go, which the environment may set.
    pub(crate) fn set_base_url(&mut self, url: &str) {
        // A default ends at `}`.
        let value = if url.contains(['{', '}']) || refers(url) {
            url.to_owned()
        } else {
            words::reference(&format!("BASE_URL:{url}"))
        };
        self.env.insert("base_url".to_owned(), value);
    }
}

impl StepDraft {
    fn map(&self, id: &str) -> Map<String, Json> {
        let mut map = Map::new();
        map.insert("id".to_owned(), json!(id));
        if !self.name.trim().is_empty() {
            map.insert("name".to_owned(), json!(literal(&shown(self.name.trim()))));
        }
        map.insert("action".to_owned(), json!("http_request"));
        let ordered = ORDER.iter().filter_map(|key| Some(((*key).to_owned(), literal_json(self.config.get(*key)?))));
        map.insert("config".to_owned(), Json::Object(ordered.collect()));
        if !self.assert.is_empty() {
            map.insert("assert".to_owned(), json!(self.assert));
        }
        if !self.output.is_empty() {
            map.insert("output".to_owned(), json!(self.output));
        }
        map
    }

    pub(crate) fn set(&mut self, key: &str, value: impl Into<Json>) {
        self.config.insert(key.to_owned(), value.into());
    }

    /// Adds to a map of the configuration; a name that is there already gets a list.
    pub(crate) fn add(&mut self, key: &str, name: &str, value: impl Into<Json>) {
        let value = value.into();
        let map = self.config.entry(key).or_insert_with(|| json!({}));
        let Some(map) = map.as_object_mut() else { return };
        match map.get_mut(name) {
            Some(Json::Array(items)) => items.push(value),
            Some(first) => *first = json!([first.take(), value]),
            None => {
                map.insert(name.to_owned(), value);
            }
        }
    }

    /// Adds a header; `Cookie` becomes cookies. A name that is there already, in whatever case, gets a list.
    pub(crate) fn header(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("cookie") {
            for (name, value) in value.split(';').filter_map(|pair| pair.trim().split_once('=')) {
                self.add("cookies", name, value);
            }
            return;
        }
        let known = self.header_name(name).unwrap_or(name).to_owned();
        self.add("headers", &known, value);
    }

    fn header_name(&self, name: &str) -> Option<&str> {
        let headers = self.config.get("headers")?.as_object()?;
        headers.keys().map(String::as_str).find(|known| known.eq_ignore_ascii_case(name))
    }

    /// The value of a header that was set once.
    pub(crate) fn header_value(&self, name: &str) -> Option<&str> {
        let known = self.header_name(name)?;
        self.config["headers"][known].as_str()
    }

    /// Takes a header away.
    pub(crate) fn drop_header(&mut self, name: &str) {
        let Some(known) = self.header_name(name).map(str::to_owned) else { return };
        if let Some(Json::Object(headers)) = self.config.get_mut("headers") {
            headers.shift_remove(&known);
            if headers.is_empty() {
                self.config.shift_remove("headers");
            }
        }
    }

    /// Sets the body to text of a kind: as JSON or a form when that says the same, else as it is.
    ///
    /// A `Content-Type` that the step has already wins over `usual`.
    pub(crate) fn body(&mut self, usual: &str, body: &str) {
        if body.len() > LARGEST_BODY {
            return self.left_out.push(format!("a body of {} bytes", body.len()));
        }
        let kind = self.header_value("content-type").unwrap_or(usual).to_owned();
        let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence == "application/json" || essence.ends_with("+json") {
            if let Some(parsed) = exact_json(body) {
                if essence == "application/json" {
                    self.drop_header("content-type");
                } else {
                    self.replace_header("Content-Type", &kind);
                }
                return self.set("json", parsed);
            }
        } else if essence == "application/x-www-form-urlencoded"
            && let Some(form) = form(body)
        {
            self.drop_header("content-type");
            return self.set("form", form);
        }
        if !kind.is_empty() {
            self.replace_header("Content-Type", &kind);
        }
        self.set("body", body);
    }

    fn replace_header(&mut self, name: &str, value: &str) {
        let known = self.header_name(name).unwrap_or(name).to_owned();
        let headers = self.config.entry("headers").or_insert_with(|| json!({}));
        if let Some(headers) = headers.as_object_mut() {
            headers.insert(known, json!(value));
        }
    }
}

/// The pairs of an encoded form, when a map says the same.
fn form(body: &str) -> Option<Json> {
    if !body.split('&').all(|pair| pair.split_once('=').is_some_and(|(name, _)| !name.is_empty())) {
        return None;
    }
    let mut step = StepDraft::default();
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    for (name, value) in &pairs {
        step.add("form", name, value.as_str());
    }
    let form = step.config.shift_remove("form")?;
    let in_order = form.as_object()?.iter().flat_map(|(name, value)| {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        values.iter().map(move |value| (name.as_str(), value.as_str().unwrap_or_default()))
    });
    in_order.eq(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))).then_some(form)
}

/// The JSON of a body, when YAML can say the same.
fn exact_json(body: &str) -> Option<Json> {
    let parsed: Json = serde_json::from_str(body).ok()?;
    (numbers_are_sure(body) && fits(&parsed, 0)).then_some(parsed)
}

fn fits(value: &Json, depth: usize) -> bool {
    match value {
        Json::Array(items) => depth < DEEPEST_BODY && items.iter().all(|item| fits(item, depth + 1)),
        Json::Object(map) => {
            depth < DEEPEST_BODY && map.iter().all(|(key, value)| key.len() <= LONGEST_KEY && fits(value, depth + 1))
        }
        _ => true,
    }
}

/// Whether no number of a JSON text has more digits than a float keeps.
fn numbers_are_sure(text: &str) -> bool {
    let (mut quoted, mut escaped, mut digits) = (false, false, 0);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'0'..=b'9' if !quoted => digits += 1,
            b'.' if !quoted => {}
            _ => digits = 0,
        }
        if digits > SURE_DIGITS {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_become_what_says_the_same() {
        for (kind, body, key) in [
            ("application/json", "{\"a\": 1.50}", "json"),
            ("application/json; charset=utf-8", "[\"12345678901234567890\"]", "json"),
            ("application/json", "{\"a\": 12345678901234567890123.5}", "body"),
            ("application/json", "{a}", "body"),
            ("application/x-www-form-urlencoded", "a=1&b=%26&b=c+d", "form"),
            ("application/x-www-form-urlencoded", "a=1&b=2&a=3", "body"),
            ("application/x-www-form-urlencoded", "hello", "body"),
            ("text/plain", "a=1", "body"),
        ] {
            let mut step = StepDraft::default();
            step.header("content-type", kind);
            step.body("", body);
            assert!(step.config.contains_key(key), "{body}: {:?}", step.config);
            assert_eq!(step.config.contains_key("headers"), key == "body", "{body}: {:?}", step.config);
        }
        assert_eq!(form("a=1&b=%26&b=c+d"), Some(json!({"a": "1", "b": ["&", "c d"]})));
    }
}
