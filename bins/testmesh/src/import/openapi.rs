//! Descriptions of HTTP APIs, OpenAPI 3.0 and 3.1: a flow for each operation, or for each tag.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};

use super::sample::Document;
use super::{Draft, StepDraft, distinct, literal, literal_json, reference, text, variable};

/// The methods that an operation may have.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// What a flow is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum GroupBy {
    /// One operation
    Operation,
    /// The operations of a tag, in their order
    Tag,
}

/// The flows of a description.
///
/// # Errors
/// It is none of these versions, or describes no operation.
pub(crate) fn read(document: &Json, name: &str, group_by: GroupBy) -> Result<Vec<Draft>, String> {
    let version = document["openapi"].as_str().unwrap_or_default();
    if !version.starts_with("3.") {
        let found = document["swagger"].as_str().map(|version| format!("Swagger {version}"));
        let found = found.unwrap_or_else(|| "a document without `openapi: 3.x`".to_owned());
        return Err(format!("it takes OpenAPI 3.0 and 3.1, not {found}"));
    }
    let title = document["info"]["title"].as_str().unwrap_or(name);
    let mut groups: IndexMap<String, Draft> = IndexMap::new();
    let mut names = HashSet::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        let item = Document(document).resolve(item);
        for method in METHODS {
            let Some(operation) = item.get(method).filter(|operation| operation.is_object()) else { continue };
            let operation = Operation { document: Document(document), path, item, method, operation };
            let name = operation.name();
            let tag = operation.operation["tags"][0].as_str();
            let (key, flow) = match group_by {
                GroupBy::Operation => (distinct(&name, &mut names), format!("{title}: {name}")),
                GroupBy::Tag => {
                    let tag = tag.unwrap_or("other");
                    (tag.to_owned(), format!("{title}: {tag}"))
                }
            };
            let draft = groups.entry(key).or_insert_with(|| Draft {
                name: flow,
                tags: tag.map(literal).into_iter().collect(),
                env: IndexMap::from([("BASE_URL".to_owned(), literal(&operation.server()))]),
                ..Draft::default()
            });
            operation.add_to(draft);
        }
    }
    if groups.is_empty() {
        return Err("it describes no operation".to_owned());
    }
    Ok(groups.into_values().collect())
}

struct Operation<'d> {
    document: Document<'d>,
    path: &'d str,
    item: &'d Json,
    method: &'d str,
    operation: &'d Json,
}

impl<'d> Operation<'d> {
    fn name(&self) -> String {
        let id = self.operation["operationId"].as_str().filter(|id| !id.trim().is_empty());
        id.map_or_else(|| format!("{} {}", self.method.to_uppercase(), self.path), str::to_owned)
    }

    /// Where the API is, with the defaults of the server's variables.
    fn server(&self) -> String {
        let servers = [self.operation, self.item, self.document.0];
        let server = servers.iter().find_map(|place| place["servers"].get(0));
        let mut url = server.and_then(|server| server["url"].as_str()).unwrap_or("/").to_owned();
        for (name, variable) in server.and_then(|server| server["variables"].as_object()).into_iter().flatten() {
            url = url.replace(&format!("{{{name}}}"), variable["default"].as_str().unwrap_or_default());
        }
        let url = url.trim_end_matches('/').to_owned();
        if url.contains("://") { url } else { format!("http://localhost:8080{url}") }
    }

    fn add_to(&self, draft: &mut Draft) {
        let summary = self.operation["summary"].as_str().unwrap_or_default();
        let mut step = StepDraft { name: self.name(), ..StepDraft::default() };
        if !summary.is_empty() {
            step.notes.push(summary.to_owned());
        }
        if self.operation["deprecated"] == json!(true) {
            step.notes.push("deprecated".to_owned());
        }
        step.config.insert("method".to_owned(), text(&self.method.to_uppercase()));
        step.config.insert("url".to_owned(), Json::Null);
        let mut path = self.path.to_owned();
        for parameter in self.parameters() {
            self.parameter(parameter, &mut path, &mut step, &mut draft.env);
        }
        // What no parameter describes must be given all the same.
        while let Some((start, end)) = path.find('{').and_then(|start| Some((start, start + path[start..].find('}')?))) {
            let name = variable(&path[start + 1..end]);
            path.replace_range(start..=end, &reference(&name));
            draft.input.insert(name.clone(), format!("the {name} in the path"));
        }
        step.config.insert("url".to_owned(), text(&format!("{}{path}", reference("BASE_URL"))));
        self.security(&mut step, &mut draft.input);
        self.body(&mut step);
        step.assert.push(self.expected());
        draft.steps.push(step);
    }

    /// The operation's own, and those of its path that it does not replace.
    fn parameters(&self) -> Vec<&'d Json> {
        let of = |place: &'d Json| place["parameters"].as_array().into_iter().flatten();
        let own: Vec<&Json> = of(self.operation).map(|parameter| self.document.resolve(parameter)).collect();
        let same = |left: &Json, right: &Json| left["name"] == right["name"] && left["in"] == right["in"];
        let shared = of(self.item).map(|parameter| self.document.resolve(parameter));
        let shared: Vec<&Json> = shared.filter(|shared| !own.iter().any(|own| same(own, shared))).collect();
        shared.into_iter().chain(own).collect()
    }

    fn parameter(&self, parameter: &'d Json, path: &mut String, step: &mut StepDraft, env: &mut IndexMap<String, String>) {
        let Some(name) = parameter["name"].as_str() else { return };
        let content = parameter["content"].as_object().and_then(|content| content.values().next());
        let schema = content.map_or(&parameter["schema"], |content| &content["schema"]);
        let value = self.written(parameter).unwrap_or_else(|| self.document.sample(schema));
        let required = parameter["required"] == json!(true);
        match parameter["in"].as_str() {
            Some("path") => {
                let known = variable(name);
                let place = format!("{{{name}}}");
                if path.contains(&place) {
                    *path = path.replace(&place, &reference(&known));
                    env.entry(known).or_insert_with(|| literal(&plain(&value)));
                }
            }
            Some("query") if required => {
                let value = if value.is_object() { json!(plain(&value)) } else { value };
                step.add("params", name, literal_json(&value));
            }
            Some("header") if required => step.header(name, &plain(&value)),
            Some("cookie") if required => step.add("cookies", name, text(&plain(&value))),
            _ => {}
        }
    }

    /// The example that is written beside a schema.
    fn written(&self, place: &'d Json) -> Option<Json> {
        if let Some(example) = place.get("example") {
            return Some(example.clone());
        }
        let named = place["examples"].as_object().and_then(|examples| examples.values().next())?;
        self.document.resolve(named).get("value").cloned()
    }

    fn security(&self, step: &mut StepDraft, input: &mut IndexMap<String, String>) {
        let required = self.operation.get("security").unwrap_or(&self.document.0["security"]);
        // The first alternative; an empty one means that none is needed.
        let Some(alternative) = required.get(0).and_then(Json::as_object) else { return };
        for name in alternative.keys() {
            let scheme = self.document.resolve(&self.document.0["components"]["securitySchemes"][name.as_str()]);
            let mut given = |what: &str, doc: String| {
                let known = format!("{}_{what}", variable(name).to_uppercase());
                input.insert(known.clone(), doc);
                text(&reference(&known))
            };
            let kind = scheme["scheme"].as_str().unwrap_or_default().to_ascii_lowercase();
            let auth = match (scheme["type"].as_str(), kind.as_str()) {
                (Some("http"), "basic") => json!({ "basic": {
                    "username": given("USERNAME", format!("the user for `{name}`")),
                    "password": given("PASSWORD", format!("the password for `{name}`")),
                } }),
                (Some("http"), "bearer") | (Some("oauth2" | "openIdConnect"), _) => {
                    json!({ "bearer": given("TOKEN", format!("the token for `{name}`")) })
                }
                (Some("apiKey"), _) => {
                    let key = given("KEY", format!("the key for `{name}`"));
                    let at = scheme["name"].as_str().unwrap_or(name);
                    match scheme["in"].as_str() {
                        Some("cookie") => {
                            step.add("cookies", at, key);
                            continue;
                        }
                        place => json!({ "api_key": { "name": literal(at), "value": key, "in": place.unwrap_or("header") } }),
                    }
                }
                _ => {
                    step.notes.push(format!("left out: authentication by `{name}`"));
                    continue;
                }
            };
            if step.config.contains_key("auth") {
                step.notes.push(format!("left out: `{name}`, which is asked for as well"));
            } else {
                step.config.insert("auth".to_owned(), auth);
            }
        }
    }

    fn body(&self, step: &mut StepDraft) {
        let body = self.document.resolve(&self.operation["requestBody"]);
        let Some(content) = body["content"].as_object().filter(|content| !content.is_empty()) else { return };
        let is_json = |kind: &str| kind.starts_with("application/json") || kind.split(';').next().is_some_and(|kind| kind.ends_with("+json"));
        let chosen = content.iter().find(|(kind, _)| is_json(kind)).or_else(|| content.iter().next());
        let Some((kind, media)) = chosen else { return };
        let value = self.written(media).unwrap_or_else(|| self.document.sample(&media["schema"]));
        let pairs = || value.as_object().cloned().unwrap_or_default();
        if is_json(kind) {
            if kind != "application/json" {
                step.header("Content-Type", kind);
            }
            step.config.insert("json".to_owned(), literal_json(&value));
        } else if kind.starts_with("application/x-www-form-urlencoded") {
            step.config.insert("form".to_owned(), literal_json(&Json::Object(pairs())));
        } else if kind.starts_with("multipart/") {
            let properties = &self.document.resolve(&media["schema"])["properties"];
            let mut parts = Map::new();
            for (name, value) in pairs() {
                let is_file = self.document.resolve(&properties[name.as_str()])["format"] == json!("binary");
                let part = if is_file {
                    json!({ "value": "text", "filename": format!("{}.bin", super::slug(&name)) })
                } else {
                    text(&plain(&value))
                };
                parts.insert(literal(&name), part);
            }
            step.config.insert("multipart".to_owned(), Json::Object(parts));
        } else {
            step.header("Content-Type", kind);
            step.config.insert("body".to_owned(), text(&plain(&value)));
        }
    }

    /// What the answer's status must be: one of those that mean success.
    fn expected(&self) -> String {
        let codes = self.operation["responses"].as_object().into_iter().flatten().map(|(code, _)| code.as_str());
        let codes: Vec<&str> = codes.collect();
        let good: Vec<&str> = codes.iter().copied().filter(|code| code.len() == 3 && code.starts_with('2')).collect();
        let exact: Vec<&str> = good.iter().copied().filter(|code| code.parse::<u16>().is_ok()).collect();
        match exact.as_slice() {
            _ if exact.len() != good.len() => "status >= 200 and status < 300".to_owned(),
            [one] => format!("status == {one}"),
            [] if codes.iter().any(|code| code.starts_with('3')) => "status < 400".to_owned(),
            [] => "status >= 200 and status < 300".to_owned(),
            several => format!("status in [{}]", several.join(", ")),
        }
    }
}

/// A value as text.
fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}
