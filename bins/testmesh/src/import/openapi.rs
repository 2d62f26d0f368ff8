//! Descriptions of HTTP APIs, OpenAPI 3.0 and 3.1: a flow for each operation, for each tag, or one.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};

use super::sample::Document;
use super::words::{distinct, reference, scalar, variable};
use super::{Draft, GroupBy, StepDraft};

/// The methods that an operation may have.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// The flows of a description.
///
/// # Errors
/// It is none of these versions, or describes no operation.
pub(crate) fn read(document: &Json, name: &str, group_by: GroupBy) -> Result<Vec<Draft>, String> {
    let version = document["openapi"].as_str().unwrap_or_default();
    if !version.starts_with("3.") {
        let found = match document["swagger"].as_str() {
            Some(version) => format!("Swagger {version}, which editors and converters of OpenAPI make 3.0 of"),
            None => "a document without `openapi: 3.x`".to_owned(),
        };
        return Err(format!("it takes OpenAPI 3.0 and 3.1, not {found}"));
    }
    let title = document["info"]["title"].as_str().unwrap_or(name);
    let mut groups: IndexMap<String, Draft> = IndexMap::new();
    let mut names = HashSet::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        let shared = Document(document).resolve(item);
        for (method, operation) in shared.as_object().into_iter().flatten() {
            if !METHODS.contains(&method.as_str()) || !operation.is_object() || !path.starts_with('/') {
                continue;
            }
            let operation =
                Operation { document: Document(document), path, item: shared, method, described: operation };
            let name = operation.name();
            let tag = operation.described["tags"][0].as_str();
            let (key, flow, tag) = match group_by {
                GroupBy::Request => (distinct(&name, &mut names), format!("{title}: {name}"), tag),
                GroupBy::Group => {
                    let tag = tag.unwrap_or("other");
                    (tag.to_owned(), format!("{title}: {tag}"), Some(tag))
                }
                GroupBy::All => (String::new(), title.to_owned(), None),
            };
            let draft = groups.entry(key).or_insert_with(|| {
                let mut draft =
                    Draft { name: flow, tags: tag.map(str::to_owned).into_iter().collect(), ..Draft::default() };
                draft.set_base_url(&operation.server());
                draft
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
    described: &'d Json,
}

impl<'d> Operation<'d> {
    fn name(&self) -> String {
        let id = self.described["operationId"].as_str().filter(|id| !id.trim().is_empty());
        id.map_or_else(|| format!("{} {}", self.method.to_uppercase(), self.path), str::to_owned)
    }

    /// Where the API is, with the defaults of the server's variables.
    fn server(&self) -> String {
        let servers = [self.described, self.item, self.document.0];
        let server = servers.iter().find_map(|place| place["servers"].get(0));
        let mut url = server.and_then(|server| server["url"].as_str()).unwrap_or("/").to_owned();
        for (name, variable) in server.and_then(|server| server["variables"].as_object()).into_iter().flatten() {
            url = url.replace(&format!("{{{name}}}"), variable["default"].as_str().unwrap_or_default());
        }
        let url = url.trim_end_matches('/').to_owned();
        if url.contains("://") { url } else { format!("http://localhost:8080{url}") }
    }

    fn add_to(&self, draft: &mut Draft) {
        let mut step = StepDraft { name: self.name(), ..StepDraft::default() };
        step.place = format!("{} {}", self.method.to_uppercase(), self.path);
        step.comments.extend(self.described["summary"].as_str().map(str::to_owned));
        if self.described["deprecated"] == json!(true) {
            step.comments.push("deprecated".to_owned());
        }
        step.set("method", self.method.to_uppercase());
        step.set("url", Json::Null);
        let mut path = self.path.to_owned();
        for parameter in self.parameters() {
            self.parameter(parameter, &mut path, &mut step, draft);
        }
        // What no parameter describes must be given all the same.
        while let Some((start, end)) = path.find('{').and_then(|start| Some((start, start + path[start..].find('}')?)))
        {
            let name = variable(&path[start + 1..end]);
            path.replace_range(start..=end, &reference(&name));
            draft.input.insert(name.clone(), format!("the {name} in the path"));
        }
        step.set("url", format!("{}{path}", reference("base_url")));
        self.security(&mut step, draft);
        self.body(&mut step);
        step.assert.push(self.expected());
        draft.steps.push(step);
    }

    /// The operation's own, and those of its path that it does not replace.
    fn parameters(&self) -> Vec<&'d Json> {
        let of = |place: &'d Json| place["parameters"].as_array().into_iter().flatten();
        let own: Vec<&Json> = of(self.described).map(|parameter| self.document.resolve(parameter)).collect();
        let same = |left: &Json, right: &Json| left["name"] == right["name"] && left["in"] == right["in"];
        let shared = of(self.item).map(|parameter| self.document.resolve(parameter));
        let shared: Vec<&Json> = shared.filter(|shared| !own.iter().any(|own| same(own, shared))).collect();
        shared.into_iter().chain(own).collect()
    }

    fn parameter(&self, parameter: &'d Json, path: &mut String, step: &mut StepDraft, draft: &mut Draft) {
        let Some(name) = parameter["name"].as_str() else {
            return step.left_out.push("a parameter that is not in this document".to_owned());
        };
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
                    if super::secrets::is_secret(name) {
                        *path = path.replace(&reference(&known), &reference(&format!("secrets.{known}")));
                    } else {
                        draft.env.entry(known).or_insert_with(|| scalar(&value));
                    }
                }
            }
            Some("query") if required => {
                step.add("params", name, if value.is_object() { json!(scalar(&value)) } else { value });
            }
            // These three come from the body and from `security`.
            Some("header")
                if ["accept", "content-type", "authorization"].contains(&name.to_ascii_lowercase().as_str()) => {}
            Some("header") if required => step.header(name, &scalar(&value)),
            Some("cookie") if required => step.add("cookies", name, scalar(&value)),
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

    fn security(&self, step: &mut StepDraft, draft: &mut Draft) {
        let required = self.described.get("security").unwrap_or(&self.document.0["security"]);
        // The first alternative; an empty one means that none is needed.
        let Some(alternative) = required.get(0).and_then(Json::as_object) else { return };
        for name in alternative.keys() {
            let scheme = self.document.resolve(&self.document.0["components"]["securitySchemes"][name.as_str()]);
            let mut given = |what: &str| {
                let known = variable(name).to_uppercase();
                let known = if known.ends_with(what) { known } else { format!("{known}_{what}") };
                draft.secrets.insert(known.clone(), format!("the {} for `{name}`", what.to_lowercase()));
                reference(&format!("secrets.{known}"))
            };
            let kind = scheme["scheme"].as_str().unwrap_or_default().to_ascii_lowercase();
            let auth = match (scheme["type"].as_str(), kind.as_str()) {
                (Some("http"), "basic" | "digest") => {
                    json!({ kind: { "username": given("USERNAME"), "password": given("PASSWORD") } })
                }
                (Some("http"), "bearer") | (Some("oauth2" | "openIdConnect"), _) => json!({ "bearer": given("TOKEN") }),
                (Some("apiKey"), _) => {
                    let at = scheme["name"].as_str().unwrap_or(name);
                    match scheme["in"].as_str() {
                        Some("cookie") => {
                            step.add("cookies", at, given("KEY"));
                            continue;
                        }
                        Some("query") => json!({ "api_key": { "name": at, "value": given("KEY"), "in": "query" } }),
                        _ => json!({ "api_key": { "name": at, "value": given("KEY") } }),
                    }
                }
                _ => {
                    step.left_out.push(format!("authentication by `{name}`"));
                    continue;
                }
            };
            if step.config.contains_key("auth") {
                step.left_out.push(format!("authentication by `{name}`, which is asked for as well"));
            } else {
                step.set("auth", auth);
            }
        }
    }

    fn body(&self, step: &mut StepDraft) {
        let body = self.document.resolve(&self.described["requestBody"]);
        if body.is_null() && !self.described["requestBody"].is_null() {
            step.left_out.push("a body that is not in this document".to_owned());
        }
        let Some(content) = body["content"].as_object().filter(|content| !content.is_empty()) else { return };
        let essence = |kind: &str| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_json = |kind: &str| essence(kind) == "application/json" || essence(kind).ends_with("+json");
        let chosen = content.iter().find(|(kind, _)| is_json(kind)).or_else(|| content.iter().next());
        let Some((kind, media)) = chosen else { return };
        let schema = self.document.resolve(&media["schema"]);
        if schema.is_null() && !media["schema"].is_null() {
            step.left_out.push("the body's schema, which is not in this document".to_owned());
        }
        let value = self.written(media).unwrap_or_else(|| self.document.sample(&media["schema"]));
        let pairs = || value.as_object().cloned().unwrap_or_default();
        if is_json(kind) {
            if essence(kind) != "application/json" {
                step.header("Content-Type", kind);
            }
            // An example may be written as text.
            match value.as_str().and_then(|text| serde_json::from_str::<Json>(text).ok()).filter(Json::is_object) {
                Some(parsed) => step.set("json", parsed),
                None => step.set("json", value),
            }
        } else if essence(kind) == "application/x-www-form-urlencoded" {
            step.set("form", Json::Object(pairs()));
        } else if kind.starts_with("multipart/") {
            let mut parts = Map::new();
            for (name, value) in pairs() {
                let property = self.document.resolve(&schema["properties"][name.as_str()]);
                let is_file = property["format"] == json!("binary") || property["contentMediaType"].is_string();
                let part = if is_file {
                    json!({ "value": "text", "filename": format!("{}.bin", super::slug(&name)) })
                } else {
                    json!(scalar(&value))
                };
                parts.insert(name, part);
            }
            step.set("multipart", Json::Object(parts));
        } else {
            if !kind.contains('*') {
                step.header("Content-Type", kind);
            }
            step.set("body", scalar(&value));
        }
    }

    /// What the answer's status must be: one of those that mean success.
    fn expected(&self) -> String {
        let codes = self.described["responses"].as_object().into_iter().flatten().map(|(code, _)| code.as_str());
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
