//! An OpenAPI document: finds operations, responses and schemas, and makes JSON Schemas of those of version 3.0.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json, json};
use url::Url;

use crate::expr::schema::{Compiled, Fault};

/// How many references may lead to one another.
const LONGEST_CHAIN: usize = 20;
/// The methods that a path can have.
const METHODS: &[&str] = &["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// A document.
#[derive(Debug)]
pub(super) struct Document {
    json: Json,
    /// Paths of the servers' URLs, the longest first.
    bases: Vec<String>,
    /// The schemas that were asked for, by where they stand.
    compiled: Mutex<HashMap<String, Arc<Compiled>>>,
}

/// An operation.
#[derive(Debug)]
pub(super) struct Operation {
    /// `GET /users/{id}`.
    pub(super) shown: String,
    /// Where it stands.
    pub(super) pointer: String,
}

impl Operation {
    /// The statuses it has responses for.
    pub(super) fn statuses(&self, document: &Document) -> Vec<String> {
        let responses = document.at(&self.pointer)["responses"].as_object();
        responses.into_iter().flatten().map(|(status, _)| status.clone()).collect()
    }
}

impl Document {
    /// Reads JSON or YAML.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8 text".to_owned())?;
        let mut json = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?
        } else {
            crate::flow::parse_data(text)?.to_json()
        };
        let version = json["openapi"].as_str().unwrap_or_default().to_owned();
        let old = version.starts_with("3.0");
        if !old && !version.starts_with("3.1") {
            return Err(match json.get("swagger") {
                Some(swagger) => format!("it is of version {swagger} of Swagger: OpenAPI 3.0 and 3.1 are understood"),
                None => "it has no `openapi: 3.0.x` or `3.1.x`".to_owned(),
            });
        }
        tidy(&mut json, old);
        let mut bases: Vec<String> = json["servers"].as_array().into_iter().flatten().filter_map(base).collect();
        bases.push(String::new());
        bases.sort_by_key(|base| std::cmp::Reverse(base.len()));
        Ok(Self { json, bases, compiled: Mutex::default() })
    }

    /// What is wrong with a value under the schema at a JSON pointer. `Err` is a mistake of the schema.
    pub(super) fn faults(&self, pointer: &str, value: &Json) -> Result<Vec<Fault>, String> {
        let known = self.compiled.lock().get(pointer).cloned();
        let compiled = if let Some(known) = known {
            known
        } else {
            let compiled = Compiled::of_document(&self.json, pointer);
            let compiled = Arc::new(compiled.map_err(|error| format!("`{pointer}`: {}", error.message))?);
            self.compiled.lock().insert(pointer.to_owned(), Arc::clone(&compiled));
            compiled
        };
        Ok(compiled.faults(value))
    }

    /// What stands at a JSON pointer; null when there is nothing.
    pub(super) fn at(&self, pointer: &str) -> &Json {
        self.json.pointer(pointer).unwrap_or(&Json::Null)
    }

    /// Where the references at `pointer` lead in the end.
    fn resolved(&self, pointer: &str) -> Result<String, String> {
        let mut pointer = pointer.to_owned();
        for _ in 0..LONGEST_CHAIN {
            let Some(reference) = self.at(&pointer).get("$ref").and_then(Json::as_str) else { return Ok(pointer) };
            let Some(inside) = reference.strip_prefix('#') else {
                return Err(format!("`{pointer}` refers to `{reference}`, which is another document"));
            };
            let inside = percent_decode_str(inside).decode_utf8_lossy().into_owned();
            if self.json.pointer(&inside).is_none() {
                return Err(format!("`{pointer}` refers to `{reference}`, which is not there"));
            }
            pointer = inside;
        }
        Err(format!("`{pointer}` refers to itself"))
    }

    fn operations(&self) -> Result<Vec<(&str, &'static str, String)>, String> {
        let mut found = Vec::new();
        for path in self.json["paths"].as_object().into_iter().flatten().map(|(path, _)| path) {
            let item = self.resolved(&format!("/paths/{}", escaped(path)))?;
            for method in METHODS.iter().filter(|method| self.at(&item).get(**method).is_some()) {
                found.push((path.as_str(), *method, format!("{item}/{method}")));
            }
        }
        Ok(found)
    }

    /// The operation with this `operationId`.
    pub(super) fn by_id(&self, id: &str) -> Result<Option<Operation>, String> {
        let all = self.operations()?;
        let found = all.into_iter().find(|(_, _, pointer)| self.at(pointer)["operationId"] == id);
        Ok(found.map(|(path, method, pointer)| Operation { shown: shown(method, path), pointer }))
    }

    /// The operation for a request; of several templates that fit the one with the fewest parameters. The inner `Err` says
    /// what there is instead.
    #[allow(clippy::type_complexity, reason = "the outer error is the document's, the inner one the answer's")]
    pub(super) fn find(&self, method: &Method, url: &Url) -> Result<Result<Operation, String>, String> {
        let wanted = method.as_str().to_ascii_lowercase();
        let all = self.operations()?;
        let mut other_methods = Vec::new();
        for base in &self.bases {
            let Some(path) = url.path().strip_prefix(base.as_str()).filter(|path| path.starts_with('/')) else {
                continue;
            };
            let mut fitting: Vec<_> =
                all.iter().filter_map(|operation| Some((parameters(operation.0, path)?, operation))).collect();
            fitting.sort_by_key(|(n_parameters, _)| *n_parameters);
            if let Some((_, (path, method, pointer))) = fitting.iter().find(|(_, (_, method, _))| *method == wanted) {
                return Ok(Ok(Operation { shown: shown(method, path), pointer: pointer.clone() }));
            }
            other_methods.extend(fitting.iter().map(|(_, (path, method, _))| shown(method, path)));
        }
        let asked = format!("{method} {}", url.path());
        Ok(Err(if other_methods.is_empty() {
            format!("no path fits {asked} (`/paths`)")
        } else {
            format!("no operation is for {asked}, but {} (`/paths`)", other_methods.join(", "))
        }))
    }

    /// The response for a status: by itself, by its range (`2XX`), or the default.
    pub(super) fn response(&self, operation: &Operation, status: u16) -> Result<Option<String>, String> {
        let responses = format!("{}/responses", operation.pointer);
        let there = self.at(&responses).as_object();
        let range = format!("{}xx", status / 100);
        let keys: Vec<&String> = there.into_iter().flatten().map(|(key, _)| key).collect();
        let exact = keys.iter().find(|key| ***key == status.to_string());
        let ranged = || keys.iter().find(|key| key.eq_ignore_ascii_case(&range));
        let default = || keys.iter().find(|key| **key == "default");
        let key = exact.or_else(ranged).or_else(default);
        key.map(|key| self.resolved(&format!("{responses}/{}", escaped(key)))).transpose()
    }

    /// Name and place of each header of a response. The content type is another matter.
    pub(super) fn headers(&self, response: &str) -> Result<Vec<(String, String)>, String> {
        let there = self.at(response)["headers"].as_object();
        let named = there.into_iter().flatten().map(|(name, _)| name);
        let named = named.filter(|name| !name.eq_ignore_ascii_case("content-type"));
        named.map(|name| Ok((name.clone(), self.resolved(&format!("{response}/headers/{}", escaped(name)))?))).collect()
    }

    /// Whether a schema is one of texts.
    pub(super) fn is_text(&self, schema: &str) -> bool {
        self.resolved(schema).is_ok_and(|schema| self.has_type(&schema, "string"))
    }

    fn has_type(&self, schema: &str, wanted: &str) -> bool {
        match &self.at(schema)["type"] {
            Json::String(kind) => kind == wanted,
            Json::Array(kinds) => kinds.iter().any(|kind| kind == wanted),
            _ => false,
        }
    }

    /// A header's text as a value of the type that its schema asks for.
    pub(super) fn coerced(&self, schema: &str, text: &str) -> Result<Json, String> {
        let schema = self.resolved(schema)?;
        let parsed = || serde_json::from_str::<Json>(text.trim()).ok();
        let scalar = |kind: &str| self.has_type(&schema, kind);
        if scalar("array") {
            let items = self.resolved(&format!("{schema}/items"))?;
            let items = text.split(',').map(|item| {
                if self.at(&items).is_null() { Ok(json!(item.trim())) } else { self.coerced(&items, item.trim()) }
            });
            return Ok(Json::Array(items.collect::<Result<_, _>>()?));
        }
        let value = if scalar("integer") || scalar("number") {
            parsed().filter(Json::is_number)
        } else if scalar("boolean") {
            parsed().filter(Json::is_boolean)
        } else if scalar("object") {
            parsed().filter(Json::is_object)
        } else {
            None
        };
        Ok(value.unwrap_or_else(|| json!(text)))
    }
}

fn shown(method: &str, path: &str) -> String {
    format!("{} {path}", method.to_ascii_uppercase())
}

/// The path of a server's URL, with the defaults of its variables.
fn base(server: &Json) -> Option<String> {
    let mut url = server["url"].as_str()?.to_owned();
    for (name, variable) in server["variables"].as_object().into_iter().flatten() {
        url = url.replace(&format!("{{{name}}}"), variable["default"].as_str().unwrap_or_default());
    }
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => url.as_str(),
    };
    let path = path.trim_end_matches('/');
    (path.is_empty() || path.starts_with('/')).then(|| path.to_owned())
}

/// How many parameters a template has when it fits a path.
fn parameters(template: &str, path: &str) -> Option<usize> {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    if template.len() != path.len() {
        return None;
    }
    let mut n_parameters = 0;
    for (wanted, found) in template.iter().zip(&path) {
        let found = percent_decode_str(found).decode_utf8_lossy();
        match (wanted.find('{'), wanted.rfind('}')) {
            (Some(start), Some(end)) if start < end => {
                let (before, after) = (&wanted[..start], &wanted[end + 1..]);
                let fits =
                    found.len() > before.len() + after.len() && found.starts_with(before) && found.ends_with(after);
                if !fits {
                    return None;
                }
                n_parameters += 1;
            }
            _ if *wanted == found => {}
            _ => return None,
        }
    }
    Some(n_parameters)
}

/// The entry of `content` for a type: itself, then `text/*`, then `*/*`.
pub(super) fn media_type<'a>(content: &'a Map<String, Json>, essence: &str) -> Option<&'a str> {
    let main = essence.split('/').next().unwrap_or_default();
    let named = |wanted: &str| {
        let essence_of = |key: &str| key.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        content.keys().find(|key| essence_of(key) == wanted).map(String::as_str)
    };
    named(essence).or_else(|| named(&format!("{main}/*"))).or_else(|| named("*/*"))
}

/// A key as a part of a JSON pointer.
pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Makes JSON Schemas of what version 3.0 says in its own way, and asks no answer for what is only written.
fn tidy(json: &mut Json, old: bool) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(|item| tidy(item, old)),
        Json::Object(map) => {
            map.values_mut().for_each(|value| tidy(value, old));
            drop_write_only(map);
            if old {
                modernize(map);
            }
        }
        _ => {}
    }
}

fn drop_write_only(map: &mut Map<String, Json>) {
    let Some(properties) = map.get("properties").and_then(Json::as_object) else { return };
    let hidden: Vec<String> =
        properties.iter().filter(|(_, schema)| schema["writeOnly"] == true).map(|(name, _)| name.clone()).collect();
    if let Some(Json::Array(required)) = map.get_mut("required") {
        required.retain(|name| !hidden.iter().any(|hidden| name == hidden));
    }
}

fn modernize(map: &mut Map<String, Json>) {
    // Beside a reference everything is ignored.
    if map.get("$ref").is_some_and(Json::is_string) {
        map.retain(|key, _| key == "$ref");
        return;
    }
    for (flag, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        match map.get(flag) {
            Some(Json::Bool(true)) => {
                let limit = map.remove(bound);
                map.remove(flag);
                map.extend(limit.map(|limit| (flag.to_owned(), limit)));
            }
            Some(Json::Bool(false)) => {
                map.remove(flag);
            }
            _ => {}
        }
    }
    if map.get("nullable") != Some(&Json::Bool(true)) {
        return;
    }
    map.remove("nullable");
    if let Some(Json::Array(values)) = map.get_mut("enum")
        && !values.contains(&Json::Null)
    {
        values.push(Json::Null);
    }
    let kind = map.get("type").and_then(Json::as_str).map(str::to_owned);
    if let Some(kind) = kind {
        map.insert("type".to_owned(), json!([kind, "null"]));
    } else if map.keys().any(|key| matches!(key.as_str(), "allOf" | "oneOf" | "anyOf")) {
        let inner = Json::Object(std::mem::take(map));
        map.insert("anyOf".to_owned(), json!([inner, { "type": "null" }]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_found_by_method_and_path() {
        let text = "openapi: 3.1.0\nservers: [{url: 'https://{host}/v1', variables: {host: {default: a}}}]\npaths:\n  /users/{id}: {get: {operationId: one, responses: {}}}\n  /users/me: {get: {responses: {}}, put: {responses: {}}}\n  /files/{name}.json: {$ref: '#/x'}\nx: {get: {responses: {}}}\n";
        let document = Document::parse(text.as_bytes()).unwrap();
        for (method, url, expect) in [
            ("GET", "http://h/v1/users/7", Ok("GET /users/{id}")),
            ("GET", "http://h/users/7", Ok("GET /users/{id}")),
            ("GET", "http://h/users/me", Ok("GET /users/me")),
            ("GET", "http://h/files/a.json", Ok("GET /files/{name}.json")),
            ("DELETE", "http://h/users/me", Err("but GET /users/me, PUT /users/me, GET /users/{id}")),
            ("GET", "http://h/orders", Err("no path fits GET /orders")),
        ] {
            let found = document.find(&method.parse().unwrap(), &url.parse().unwrap()).unwrap();
            match (found, expect) {
                (Ok(found), Ok(expect)) => assert_eq!(found.shown, expect),
                (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
                (found, expect) => panic!("{url}: {found:?}, not {expect:?}"),
            }
        }
        assert_eq!(document.by_id("one").unwrap().unwrap().shown, "GET /users/{id}");
    }

    #[test]
    fn what_is_no_document_says_why() {
        for (text, part) in [
            ("{", "not JSON"),
            ("a: [", "line 1"),
            ("swagger: '2.0'", "Swagger"),
            ("openapi: 2.0.0", "no `openapi"),
            ("openapi: 3.0.0\npaths: {/a: {$ref: other.yaml}}", ""),
        ] {
            let outcome = Document::parse(text.as_bytes());
            match outcome {
                Err(reason) => assert!(reason.contains(part), "{text}: {reason}"),
                Ok(document) => assert!(document.operations().unwrap_err().contains("another document"), "{text}"),
            }
        }
    }

    #[test]
    fn schemas_of_version_3_0_become_json_schemas() {
        for (old, new) in [
            (json!({"type": "string", "nullable": true}), json!({"type": ["string", "null"]})),
            (
                json!({"nullable": true, "allOf": [{"$ref": "#/x", "nullable": true}]}),
                json!({"anyOf": [{"allOf": [{"$ref": "#/x"}]}, {"type": "null"}]}),
            ),
            (
                json!({"type": "string", "nullable": true, "enum": ["a"]}),
                json!({"type": ["string", "null"], "enum": ["a", null]}),
            ),
            (json!({"minimum": 1, "exclusiveMinimum": true}), json!({"exclusiveMinimum": 1})),
            (
                json!({"properties": {"nullable": {"type": "string"}, "p": {"writeOnly": true}}, "required": ["nullable", "p"]}),
                json!({"properties": {"nullable": {"type": "string"}, "p": {"writeOnly": true}}, "required": ["nullable"]}),
            ),
        ] {
            let mut found = old.clone();
            tidy(&mut found, true);
            assert_eq!(found, new, "{old}");
        }
    }
}
