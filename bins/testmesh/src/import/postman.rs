//! Collections of Postman, 2.0 and 2.1: a flow for each folder at the top, and one for the requests beside the folders.

use std::collections::HashSet;
use std::sync::LazyLock;

use indexmap::IndexMap;
use serde_json::{Value as Json, json};

use super::{Draft, StepDraft, literal, reference, text, variable};

/// Variables that Postman makes itself, and what they are called here.
const DYNAMIC: [(&str, &str); 9] = [
    ("$guid", "UUID"),
    ("$randomUUID", "UUID"),
    ("$timestamp", "TIMESTAMP"),
    ("$isoTimestamp", "ISO_TIMESTAMP"),
    ("$randomInt", "RANDOM_INT"),
    ("$randomAlphaNumeric", "RANDOM_STRING"),
    ("$randomPassword", "RANDOM_STRING"),
    ("$randomUserName", "RANDOM_STRING"),
    ("$randomWord", "RANDOM_STRING"),
];

/// The flows of a collection.
///
/// # Errors
/// It is no collection of these versions, or has no request.
pub(crate) fn read(collection: &Json, name: &str) -> Result<Vec<Draft>, String> {
    // Exported by the API, the collection is one level down.
    let collection = collection.get("collection").unwrap_or(collection);
    let items = collection["item"].as_array();
    let items = items.ok_or("it is no Postman collection 2.0 or 2.1: `item` is missing")?;
    let title = collection["info"]["name"].as_str().unwrap_or(name).to_owned();
    let mut variables = IndexMap::new();
    for entry in collection["variable"].as_array().into_iter().flatten() {
        if let Some(key) = entry["key"].as_str().or(entry["id"].as_str()) {
            variables.insert(variable(key), literal(&marked_text(&scalar(&entry["value"]))));
        }
    }
    let around = Around { auth: &collection["auth"], events: vec![&collection["event"]], path: Vec::new() };
    let mut drafts = Vec::new();
    let mut own = Draft { name: title.clone(), ..Draft::default() };
    own.description = described(&collection["info"]["description"]);
    for item in items {
        if item["item"].is_array() {
            let folder = item["name"].as_str().unwrap_or("folder");
            let mut draft = Draft { name: format!("{title}: {folder}"), ..Draft::default() };
            draft.description = described(&item["description"]);
            folder_steps(item, &around, &mut draft);
            drafts.push(draft);
        } else {
            request_step(item, &around, &mut own);
        }
    }
    drafts.insert(0, own);
    drafts.retain(|draft| !draft.steps.is_empty());
    if drafts.is_empty() {
        return Err("the collection has no request".to_owned());
    }
    for draft in &mut drafts {
        give_variables(draft, &variables);
    }
    Ok(drafts)
}

/// What a request has from the folders around it.
#[derive(Clone)]
struct Around<'c> {
    auth: &'c Json,
    events: Vec<&'c Json>,
    path: Vec<&'c str>,
}

fn folder_steps(folder: &Json, around: &Around<'_>, draft: &mut Draft) {
    let mut inside = around.clone();
    if folder["auth"].is_object() {
        inside.auth = &folder["auth"];
    }
    inside.events.push(&folder["event"]);
    for item in folder["item"].as_array().into_iter().flatten() {
        if item["item"].is_array() {
            let mut deeper = inside.clone();
            deeper.path.push(item["name"].as_str().unwrap_or("folder"));
            folder_steps(item, &deeper, draft);
        } else {
            request_step(item, &inside, draft);
        }
    }
}

/// The variables that the steps use: those of the collection with their values, the others to be given.
fn give_variables(draft: &mut Draft, variables: &IndexMap<String, String>) {
    let mut known: HashSet<String> = DYNAMIC.iter().map(|(_, name)| (*name).to_owned()).collect();
    let mut waiting: Vec<String> = Vec::new();
    for step in &draft.steps {
        waiting.extend(references(&json!(step.config).to_string()));
    }
    // Values may refer to others.
    let mut at = 0;
    while let Some(name) = waiting.get(at).cloned() {
        at += 1;
        if !known.insert(name.clone()) {
            continue;
        }
        match variables.get(&name) {
            Some(value) => {
                waiting.extend(references(value));
                draft.env.insert(name, value.clone());
            }
            None if draft.steps.iter().any(|step| step.output.contains_key(&name)) => {}
            None => {
                draft.input.insert(name.clone(), format!("the variable {name}, which the collection does not have"));
            }
        }
    }
    // A value may refer only to what stands before it.
    let names: Vec<String> = draft.env.keys().cloned().collect();
    draft.env.sort_by(|left, _, right, _| {
        let place = |name: &String| variables.get_index_of(name).unwrap_or(names.len());
        place(left).cmp(&place(right))
    });
}

/// The names in `${…}` of text that is escaped already.
fn references(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("${") {
        if !text[..at].ends_with('$')
            && let Some(end) = text[at..].find('}')
        {
            found.push(text[at + 2..at + end].to_owned());
        }
    }
    found
}

/// Text of a collection with its `{{variables}}` marked.
fn marked_text(text: &str) -> String {
    let mut made = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let Some(length) = rest[start..].find("}}") else { break };
        let name = rest[start + 2..start + length].trim();
        made.push_str(&rest[..start]);
        let dynamic = DYNAMIC.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| (*ours).to_owned());
        made.push_str(&reference(&dynamic.unwrap_or_else(|| variable(name))));
        rest = &rest[start + length + 2..];
    }
    made + rest
}

fn scalar(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

fn value(value: &Json) -> Json {
    text(&marked_text(&scalar(value)))
}

fn described(description: &Json) -> Option<String> {
    let text = description.as_str().or(description["content"].as_str())?;
    Some(literal(text))
}

fn request_step(item: &Json, around: &Around<'_>, draft: &mut Draft) {
    let request = &item["request"];
    let name = item["name"].as_str().unwrap_or_default();
    let path: Vec<&str> = around.path.iter().copied().chain([name]).collect();
    let mut step = StepDraft { name: path.join(" / "), ..StepDraft::default() };
    let method = request["method"].as_str().unwrap_or("GET").to_ascii_uppercase();
    step.config.insert("method".to_owned(), text(&marked_text(&method)));
    let url = if request.is_string() { url(request) } else { url(&request["url"]) };
    step.config.insert("url".to_owned(), text(&url));
    for header in request["header"].as_array().into_iter().flatten().filter(|header| header["disabled"] != json!(true)) {
        if let Some(name) = header["key"].as_str().filter(|name| !name.trim().is_empty()) {
            step.header(&marked_text(name.trim()), &marked_text(&scalar(&header["value"])));
        }
    }
    let own = &request["auth"];
    auth(&mut step, if own.is_object() { own } else { around.auth });
    body(&mut step, &request["body"]);
    let events = around.events.iter().copied().chain([&item["event"]]);
    for event in events.flat_map(|events| events.as_array().into_iter().flatten()) {
        script(&mut step, event);
    }
    if let Some(description) = described(&request["description"]) {
        step.notes.insert(0, description);
    }
    draft.steps.push(step);
}

/// A URL as text, without what is disabled, with `:name` replaced.
fn url(url: &Json) -> String {
    let raw = url.as_str().or(url["raw"].as_str()).unwrap_or_default();
    let mut path = marked_text(raw.split('?').next().unwrap_or_default());
    for entry in url["variable"].as_array().into_iter().flatten() {
        let Some(key) = entry["key"].as_str().or(entry["id"].as_str()) else { continue };
        let value = marked_text(&scalar(&entry["value"]));
        let value = if value.is_empty() { reference(&variable(key)) } else { value };
        let parts = path.split('/').map(|part| if part.strip_prefix(':') == Some(key) { value.as_str() } else { part });
        path = parts.collect::<Vec<_>>().join("/");
    }
    if !path.contains("://") && !path.starts_with(super::OPEN) {
        path.insert_str(0, "http://");
    }
    let query = match url["query"].as_array() {
        Some(pairs) => {
            let kept = pairs.iter().filter(|pair| pair["disabled"] != json!(true));
            let kept = kept.map(|pair| {
                let (key, value) = (scalar(&pair["key"]), scalar(&pair["value"]));
                if pair["value"].is_null() { key } else { format!("{key}={value}") }
            });
            kept.collect::<Vec<_>>().join("&")
        }
        None => raw.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default(),
    };
    if query.is_empty() { path } else { format!("{path}?{}", marked_text(&query)) }
}

fn auth(step: &mut StepDraft, auth: &Json) {
    let kind = auth["type"].as_str().unwrap_or("noauth");
    // 2.1 has a list of keys and values, 2.0 a map.
    let field = |name: &str| match &auth[kind] {
        Json::Array(pairs) => pairs.iter().find(|pair| pair["key"] == json!(name)).map(|pair| value(&pair["value"])),
        map => map.get(name).map(value),
    };
    let or_empty = |name: &str| field(name).unwrap_or_else(|| json!(""));
    let made = match kind {
        "noauth" => return,
        "basic" | "digest" => json!({ kind: { "username": or_empty("username"), "password": or_empty("password") } }),
        "bearer" => json!({ "bearer": or_empty("token") }),
        "apikey" => {
            let place = if field("in") == Some(json!("query")) { "query" } else { "header" };
            json!({ "api_key": { "name": or_empty("key"), "value": or_empty("value"), "in": place } })
        }
        "oauth2" if field("accessToken").is_some() => json!({ "bearer": or_empty("accessToken") }),
        other => return step.notes.push(format!("left out: authentication by {other}")),
    };
    step.config.insert("auth".to_owned(), made);
}

fn body(step: &mut StepDraft, body: &Json) {
    if body["disabled"] == json!(true) {
        return;
    }
    let enabled = |pairs: &Json| -> Vec<Json> {
        pairs.as_array().into_iter().flatten().filter(|pair| pair["disabled"] != json!(true)).cloned().collect()
    };
    match body["mode"].as_str() {
        Some("raw") => {
            let raw = body["raw"].as_str().unwrap_or_default();
            if raw.trim().is_empty() {
                return;
            }
            let language = body["options"]["raw"]["language"].as_str();
            let own = step.header_value("content-type").map(str::to_owned);
            let usual = match language {
                Some("json") => "application/json",
                Some("xml") => "application/xml",
                Some("html") => "text/html",
                None if serde_json::from_str::<Json>(raw).is_ok_and(|json| json.is_object()) => "application/json",
                Some(_) | None => "text/plain",
            };
            step.body(own.as_deref().unwrap_or(usual), &marked_text(raw));
        }
        Some("urlencoded") => {
            for pair in enabled(&body["urlencoded"]) {
                step.add("form", &marked_text(&scalar(&pair["key"])), value(&pair["value"]));
            }
        }
        Some("formdata") => {
            for part in enabled(&body["formdata"]) {
                let name = marked_text(&scalar(&part["key"]));
                match (part["type"].as_str(), part["src"].as_str()) {
                    (Some("file"), Some(file)) => step.add("multipart", &name, json!({ "file": literal(file) })),
                    (Some("file"), None) => step.notes.push(format!("left out: a file for the part {name}")),
                    _ => step.add("multipart", &name, value(&part["value"])),
                }
            }
        }
        Some("graphql") => {
            let variables = body["graphql"]["variables"].as_str().unwrap_or_default();
            let mut graphql = json!({ "query": value(&body["graphql"]["query"]) });
            if let Ok(Json::Object(map)) = serde_json::from_str::<Json>(variables) {
                let marked = serde_json::from_str(&marked_text(&Json::Object(map).to_string())).unwrap_or_default();
                graphql["variables"] = super::literal_json(&marked);
            }
            step.config.insert("graphql".to_owned(), graphql);
        }
        Some("file") => step.notes.push("left out: the body from a file".to_owned()),
        Some(_) | None => {}
    }
}

/// A line of a script that can be taken over: its words, without what they are about.
struct Patterns {
    status: regex::Regex,
    one_of: regex::Regex,
    captures: regex::Regex,
    json: regex::Regex,
    title: regex::Regex,
}

static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    let compile = |pattern: &str| regex::Regex::new(pattern).expect("the patterns are fixed");
    Patterns {
        status: compile(
            r"pm\.response\.to\.have\.status\(\s*(\d{3})\s*\)|pm\.expect\(\s*pm\.response\.(?:code|status)\s*\)\.to\.(?:be\.)?(?:equal|eql|eq)s?\(\s*(\d{3})\s*\)|responseCode\.code\s*={2,3}\s*(\d{3})",
        ),
        one_of: compile(r"pm\.expect\(\s*pm\.response\.code\s*\)\.to\.be\.oneOf\(\s*\[([\d,\s]+)\]\s*\)"),
        captures: compile(
            r#"pm\.(?:environment|collectionVariables|globals|variables)\.set\(\s*["']([^"']+)["']\s*,\s*(?:pm\.response\.json\(\)|([A-Za-z_]\w*))((?:\.[A-Za-z_]\w*|\[\d+\])+)\s*\)"#,
        ),
        json: compile(r"(?:var|let|const)\s+([A-Za-z_]\w*)\s*=\s*(?:pm\.response\.json\(\)|JSON\.parse\(\s*responseBody\s*\))"),
        title: compile(r#"pm\.test\(\s*["'`]([^"'`]+)["'`]"#),
    }
});

/// Takes over what a script checks of the status and keeps of the body; the rest is named.
fn script(step: &mut StepDraft, event: &Json) {
    let source = match &event["script"]["exec"] {
        Json::Array(lines) => lines.iter().filter_map(Json::as_str).collect::<Vec<_>>().join("\n"),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    let lines: Vec<&str> =
        source.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).collect();
    if lines.is_empty() || event["disabled"] == json!(true) {
        return;
    }
    if event["listen"].as_str() != Some("test") {
        return step.notes.push(format!("left out: a script of {} lines that runs before the request", lines.len()));
    }
    let parsed: HashSet<&str> =
        PATTERNS.json.captures_iter(&source).filter_map(|found| found.get(1)).map(|name| name.as_str()).collect();
    let mut title = None;
    let mut left = Vec::new();
    for line in lines {
        title = PATTERNS.title.captures(line).and_then(|found| found.get(1)).map(|it| it.as_str()).or(title);
        let mut taken = false;
        if let Some(found) = PATTERNS.status.captures(line) {
            let status = found.iter().skip(1).flatten().next().map_or("200", |status| status.as_str());
            step.assert.push(format!("status == {status}"));
            taken = true;
        }
        if let Some(found) = PATTERNS.one_of.captures(line) {
            step.assert.push(format!("status in [{}]", found[1].trim()));
            taken = true;
        }
        if let Some(found) = PATTERNS.captures.captures(line)
            && found.get(2).is_none_or(|name| parsed.contains(name.as_str()))
        {
            step.output.insert(variable(&found[1]), format!("body{}", &found[3]));
            taken = true;
        }
        // What only holds other lines together says nothing.
        let frame = PATTERNS.json.is_match(line) || PATTERNS.title.is_match(line) || !line.contains(char::is_alphanumeric);
        if !taken && !frame {
            left.push(title.map_or_else(|| line.to_owned(), |title| format!("{title}: {line}")));
        }
    }
    step.assert.dedup();
    for line in left {
        step.notes.push(format!("left out of its script: {line}"));
    }
}
