//! Flows from what other tools wrote: each format is read into drafts, and every draft is written in one way.
//!
//! Text of the source is literal: what would be a reference here is escaped, and only variables of the source become
//! references. What cannot be taken over is named in a comment at its place.

pub(crate) mod curl;
pub(crate) mod har;
pub(crate) mod openapi;
pub(crate) mod postman;
mod sample;
mod shell;
mod yaml;

use std::collections::HashSet;
use std::fmt::Write as _;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};
use testmesh_runner::diagnostic::{Diagnostic, Severity};
use testmesh_runner::flow::{Flow, ParseOptions, format};

/// Stand around the name of a variable in text that is not escaped yet. (They are of no script.)
const OPEN: char = '\u{e000}';
const CLOSE: char = '\u{e001}';
/// The longest name of a flow, in characters.
const LONGEST_NAME: usize = 255;
/// The longest word for an id or a file.
const LONGEST_SLUG: usize = 60;

/// A flow to be written.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) tags: Vec<String>,
    /// Variables with their values, which are escaped already.
    pub(crate) env: IndexMap<String, String>,
    /// Variables that whoever runs it must give, with what they are.
    pub(crate) input: IndexMap<String, String>,
    pub(crate) notes: Vec<String>,
    pub(crate) steps: Vec<StepDraft>,
}

/// A step with an HTTP request.
#[derive(Debug, Default, Clone)]
pub(crate) struct StepDraft {
    pub(crate) name: String,
    /// Its texts are escaped already.
    pub(crate) config: Map<String, Json>,
    pub(crate) assert: Vec<String>,
    pub(crate) output: IndexMap<String, String>,
    /// What was left out.
    pub(crate) notes: Vec<String>,
}

/// Text of the source as a text of a flow: literal but for the variables that are marked in it.
pub(crate) fn literal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['$', '{', OPEN, CLOSE]) {
        escaped.push_str(&rest[..at]);
        rest = &rest[at..];
        let (length, replacement) = if rest.starts_with("${") {
            (2, "$${")
        } else if rest.starts_with("{{") {
            (2, "\\{{")
        } else if rest.starts_with(OPEN) {
            (OPEN.len_utf8(), "${")
        } else if rest.starts_with(CLOSE) {
            (CLOSE.len_utf8(), "}")
        } else {
            (1, &rest[..1])
        };
        escaped.push_str(replacement);
        rest = &rest[length..];
    }
    escaped.push_str(rest);
    escaped
}

/// [`literal`] as JSON.
pub(crate) fn text(text: &str) -> Json {
    Json::String(literal(text))
}

/// A reference to a variable, in text that is not escaped yet.
pub(crate) fn reference(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

/// Every name that is marked in a text.
pub(crate) fn marked(text: &str) -> impl Iterator<Item = &str> {
    text.split(OPEN).skip(1).filter_map(|rest| rest.split_once(CLOSE).map(|(name, _)| name))
}

/// JSON of the source with every text, and every key, made literal.
pub(crate) fn literal_json(value: &Json) -> Json {
    match value {
        Json::String(value) => text(value),
        Json::Array(items) => items.iter().map(literal_json).collect(),
        Json::Object(map) => {
            let entries = map.iter().map(|(key, value)| (literal(key), literal_json(value)));
            Json::Object(entries.collect())
        }
        other => other.clone(),
    }
}

/// A name of the source as the name of a variable: letters, digits and `_`.
pub(crate) fn variable(name: &str) -> String {
    let letter = |next: char| if next.is_ascii_alphanumeric() { next } else { '_' };
    let mut made: String = name.trim().chars().map(letter).collect();
    if !made.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        made.insert(0, '_');
    }
    made
}

/// A name of the source as a word for ids and files; empty when it has no letter or digit.
pub(crate) fn slug(name: &str) -> String {
    let mut made = String::new();
    for next in name.chars() {
        match next {
            next if next.is_ascii_alphanumeric() => made.push(next.to_ascii_lowercase()),
            _ if made.ends_with('_') || made.is_empty() => {}
            _ => made.push('_'),
        }
        if made.len() >= LONGEST_SLUG {
            break;
        }
    }
    made.trim_end_matches('_').to_owned()
}

/// A name that `taken` does not have yet; it does from now on.
pub(crate) fn distinct(name: &str, taken: &mut HashSet<String>) -> String {
    let mut made = name.to_owned();
    let mut n = 2;
    while !taken.insert(made.clone()) {
        made = format!("{name}_{n}");
        n += 1;
    }
    made
}

impl Draft {
    /// The flow's text, formatted.
    ///
    /// # Errors
    /// It does not validate: the source has what nobody thought of. The text says what, and where.
    pub(crate) fn write(&self) -> Result<String, String> {
        let formatted = format(&self.text()).map_err(|found| self.invalid(&found))?;
        let parsed = Flow::parse(&formatted, &ParseOptions::default());
        if parsed.is_valid() { Ok(formatted) } else { Err(self.invalid(&parsed.diagnostics)) }
    }

    fn invalid(&self, found: &[Diagnostic]) -> String {
        let first = found.iter().find(|finding| finding.severity == Severity::Error).or(found.first());
        let first = first.map(|first| first.render(None, false)).unwrap_or_default();
        format!("the flow `{}` that was made does not validate:\n{first}", self.name)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for note in &self.notes {
            comment(&mut text, "", note);
        }
        yaml::entries(&mut text, &self.head(), 0);
        text.push_str("steps:\n");
        let mut taken = HashSet::new();
        for (index, step) in self.steps.iter().enumerate() {
            for note in &step.notes {
                comment(&mut text, "  ", note);
            }
            let slug = slug(&step.name);
            let named = slug.starts_with(|first: char| first.is_ascii_alphabetic());
            let id = if named { slug } else { format!("step_{}", index + 1) };
            yaml::item(&mut text, &step.map(&distinct(&id, &mut taken)), 1);
        }
        text
    }

    fn head(&self) -> Map<String, Json> {
        let mut head = Map::new();
        let name: String = self.name.trim().chars().take(LONGEST_NAME).collect();
        head.insert("name".to_owned(), json!(if name.is_empty() { "imported" } else { &name }));
        if let Some(description) = self.description.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
            head.insert("description".to_owned(), json!(description));
        }
        if !self.tags.is_empty() {
            head.insert("tags".to_owned(), json!(self.tags));
        }
        if !self.env.is_empty() {
            head.insert("env".to_owned(), json!(self.env));
        }
        if !self.input.is_empty() {
            let declared = |what: &String| json!({ "type": "string", "required": true, "description": what });
            let input: Map<String, Json> =
                self.input.iter().map(|(name, what)| (name.clone(), declared(what))).collect();
            head.insert("input".to_owned(), Json::Object(input));
        }
        head
    }
}

impl StepDraft {
    fn map(&self, id: &str) -> Map<String, Json> {
        let mut map = Map::new();
        map.insert("id".to_owned(), json!(id));
        if !self.name.trim().is_empty() {
            map.insert("name".to_owned(), text(self.name.trim()));
        }
        map.insert("action".to_owned(), json!("http_request"));
        map.insert("config".to_owned(), Json::Object(self.config.clone()));
        if !self.assert.is_empty() {
            map.insert("assert".to_owned(), json!(self.assert));
        }
        if !self.output.is_empty() {
            map.insert("output".to_owned(), json!(self.output));
        }
        map
    }

    /// Sets a header unless the step has it, in whatever case.
    pub(crate) fn header(&mut self, name: &str, value: &str) {
        let headers = self.config.entry("headers").or_insert_with(|| json!({}));
        if let Some(headers) = headers.as_object_mut()
            && !headers.keys().any(|known| known.eq_ignore_ascii_case(name))
        {
            headers.insert(literal(name), text(value));
        }
    }

    /// The value of a header that was set.
    pub(crate) fn header_value(&self, name: &str) -> Option<&str> {
        let headers = self.config.get("headers")?.as_object()?;
        headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?.1.as_str()
    }

    /// Adds to a map of the configuration; a name that is there already gets a list.
    pub(crate) fn add(&mut self, key: &str, name: &str, value: Json) {
        let map = self.config.entry(key).or_insert_with(|| json!({}));
        let Some(map) = map.as_object_mut() else { return };
        match map.get_mut(&literal(name)) {
            Some(Json::Array(items)) => items.push(value),
            Some(first) => *first = json!([first.clone(), value]),
            None => {
                map.insert(literal(name), value);
            }
        }
    }

    /// Sets the body: as JSON when that is what it is, else as the text.
    pub(crate) fn body(&mut self, content_type: &str, body: &str) {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_json = essence == "application/json" || essence.ends_with("+json");
        let parsed = if is_json { serde_json::from_str::<Json>(body).ok() } else { None };
        if essence != "application/json" && !content_type.is_empty() || parsed.is_none() && is_json {
            self.header("Content-Type", content_type);
        }
        match parsed.filter(|parsed| is_exact(parsed, body)) {
            Some(parsed) => self.config.insert("json".to_owned(), literal_json(&parsed)),
            None => {
                if !content_type.is_empty() {
                    self.header("Content-Type", content_type);
                }
                self.config.insert("body".to_owned(), text(body))
            }
        };
    }
}

/// Whether no number lost a digit when the text was parsed.
fn is_exact(parsed: &Json, text: &str) -> bool {
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
    digits(&parsed.to_string()) == digits(text)
}

fn comment(text: &mut String, indent: &str, note: &str) {
    for line in note.lines() {
        let _ = writeln!(text, "{indent}# {}", line.trim());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_source_is_literal_but_for_its_variables() {
        let named = format!("/users/{}/a", reference("user"));
        for (from, to) in [
            ("plain", "plain"),
            ("${x} {{y}}", "$${x} \\{{y}}"),
            ("$5 {z}", "$5 {z}"),
            (named.as_str(), "/users/${user}/a"),
        ] {
            assert_eq!(literal(from), to);
        }
        assert_eq!(marked(&named).collect::<Vec<_>>(), ["user"]);
    }

    #[test]
    fn names_become_words() {
        for (name, word, known) in
            [("List users", "list_users", "List_users"), ("GET /a/{b}", "get_a_b", "GET__a__b_"), ("7", "7", "_7")]
        {
            assert_eq!((slug(name).as_str(), variable(name).as_str()), (word, known));
        }
    }

    #[test]
    fn numbers_that_would_lose_digits_stay_text() {
        for (body, key) in [("{\"a\": 1}", "json"), ("{\"a\": 12345678901234567890123.5}", "body"), ("{a}", "body")] {
            let mut step = StepDraft::default();
            step.body("application/json", body);
            assert!(step.config.contains_key(key), "{body}: {:?}", step.config);
        }
    }
}
