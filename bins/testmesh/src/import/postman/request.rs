//! One request of a collection as a step.

use serde_json::{Value as Json, json};

use super::script::Script;
use super::{Around, apply, described, marked, value};
use crate::import::StepDraft;
use crate::import::words::{reference, refers, scalar, variable};

/// The step for a request.
pub(super) fn step(item: &Json, around: &Around<'_>) -> StepDraft {
    let request = &item["request"];
    let method =
        request["method"].as_str().map_or_else(|| "GET".to_owned(), |method| marked(&method.to_ascii_uppercase()));
    let url = if request.is_string() { url(request) } else { url(&request["url"]) };
    let name = item["name"].as_str().filter(|name| !name.trim().is_empty());
    let name = name.map_or_else(|| format!("{method} {}", crate::import::curl::path_of(&url)), str::to_owned);
    let path: Vec<&str> = around.path.iter().copied().chain([name.as_str()]).collect();
    let folders = around.scripts.iter().skip(1).map(|(name, _)| *name);
    let place: Vec<&str> = folders.chain([name.as_str()]).collect();
    let mut step = StepDraft { name: path.join(" / "), place: place.join(" / "), ..StepDraft::default() };
    step.comments.extend(described(&request["description"]));
    if url.is_empty() || url == "http://" {
        step.left_out.push("the request's URL, which is empty".to_owned());
    }
    step.set("method", method);
    step.set("url", url);
    for header in enabled(&request["header"]) {
        if let Some(name) = header["key"].as_str().filter(|name| !name.trim().is_empty()) {
            step.header(&marked(name.trim()), &value(&header["value"]));
        }
    }
    let own = &request["auth"];
    auth(&mut step, if own.is_object() { own } else { around.auth });
    body(&mut step, &request["body"]);
    behaviour(&mut step, &item["protocolProfileBehavior"]);
    scripts(&mut step, item, around);
    step
}

/// What the scripts around it check and keep, and its own. Without any of the status an answer must be no error.
fn scripts(step: &mut StepDraft, item: &Json, around: &Around<'_>) {
    for (_, events) in &around.scripts {
        for event in events.as_array().into_iter().flatten() {
            // What is left out of these is noted at their own place.
            apply(step, Script::read(event));
        }
    }
    for event in item["event"].as_array().into_iter().flatten() {
        let mut script = Script::read(event);
        step.left_out.append(&mut script.left_out);
        apply(step, script);
    }
    if !step.assert.iter().any(|assertion| assertion.starts_with("status ")) {
        // A collection may keep one answer for each request as an example.
        let codes: Vec<u64> =
            item["response"].as_array().into_iter().flatten().filter_map(|one| one["code"].as_u64()).collect();
        let assertion = match codes.as_slice() {
            [code] if (100..600).contains(code) => format!("status == {code}"),
            _ => "status < 400".to_owned(),
        };
        step.assert.insert(0, assertion);
    }
}

fn behaviour(step: &mut StepDraft, behaviour: &Json) {
    for (theirs, ours) in [("followRedirects", "follow_redirects"), ("strictSSL", "verify_tls")] {
        if behaviour[theirs] == json!(false) {
            step.set(ours, false);
        }
    }
    if let Some(most) = behaviour["maxRedirects"].as_u64() {
        step.set("max_redirects", most.min(100));
    }
}

fn enabled(list: &Json) -> impl Iterator<Item = &Json> {
    list.as_array().into_iter().flatten().filter(|entry| entry["disabled"] != json!(true))
}

/// A URL as text, without what is disabled, with `:name` replaced.
fn url(url: &Json) -> String {
    let raw = url.as_str().or(url["raw"].as_str()).map_or_else(|| joined(url), str::to_owned);
    let start = raw.split(['?', '#']).next().unwrap_or_default();
    let mut path = marked(start);
    for entry in url["variable"].as_array().into_iter().flatten() {
        let Some(key) = entry["key"].as_str().or(entry["id"].as_str()) else { continue };
        let given = value(&entry["value"]);
        let given = if given.is_empty() { reference(&variable(key)) } else { given };
        let parts = path.split('/').map(|part| if part.strip_prefix(':') == Some(key) { given.as_str() } else { part });
        path = parts.collect::<Vec<_>>().join("/");
    }
    if !path.contains("://") && !refers(path.get(..3).unwrap_or_default()) {
        path.insert_str(0, "http://");
    }
    let query = match url["query"].as_array() {
        Some(_) => {
            let pairs = enabled(&url["query"]).map(|pair| {
                let (key, value) = (scalar(&pair["key"]), scalar(&pair["value"]));
                if pair["value"].is_null() { key } else { format!("{key}={value}") }
            });
            pairs.collect::<Vec<_>>().join("&")
        }
        None => raw.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default(),
    };
    if query.is_empty() { path } else { format!("{path}?{}", marked(&query)) }
}

/// A URL that is given in parts only.
fn joined(url: &Json) -> String {
    let parts = |key: &str, separator: &str| match &url[key] {
        Json::Array(parts) => parts.iter().map(scalar).collect::<Vec<_>>().join(separator),
        other => scalar(other),
    };
    let (host, path, port) = (parts("host", "."), parts("path", "/"), scalar(&url["port"]));
    let protocol = url["protocol"].as_str().map(|protocol| format!("{protocol}://")).unwrap_or_default();
    let port = if port.is_empty() { port } else { format!(":{port}") };
    let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
    format!("{protocol}{host}{port}{slash}{path}")
}

fn auth(step: &mut StepDraft, auth: &Json) {
    let kind = auth["type"].as_str().unwrap_or("noauth");
    // 2.1 has a list of keys and values, 2.0 a map.
    let field = |name: &str| match &auth[kind] {
        Json::Array(pairs) => pairs.iter().find(|pair| pair["key"] == json!(name)).map(|pair| value(&pair["value"])),
        map => map.get(name).map(value),
    };
    let or_empty = |name: &str| field(name).unwrap_or_default();
    let made = match kind {
        "noauth" => return,
        "basic" | "digest" => json!({ kind: { "username": or_empty("username"), "password": or_empty("password") } }),
        "bearer" => json!({ "bearer": or_empty("token") }),
        "apikey" => {
            let mut key = json!({ "name": or_empty("key"), "value": or_empty("value") });
            if field("in").as_deref() == Some("query") {
                key["in"] = json!("query");
            }
            json!({ "api_key": key })
        }
        "oauth2" => match oauth2(&field) {
            Some(made) => made,
            None => return step.left_out.push("authentication by oauth2, with a grant that needs a person".to_owned()),
        },
        other => return step.left_out.push(format!("authentication by {other}")),
    };
    step.set("auth", made);
}

/// A token that is fetched by the run, or the one that the collection has.
fn oauth2(field: &impl Fn(&str) -> Option<String>) -> Option<Json> {
    let grant = match field("grant_type").as_deref() {
        Some("client_credentials") => Some("client_credentials"),
        Some("password_credentials") => Some("password"),
        _ => None,
    };
    let (Some(grant), Some(token_url)) = (grant, field("accessTokenUrl").filter(|url| !url.is_empty())) else {
        return Some(json!({ "bearer": field("accessToken").filter(|token| !token.is_empty())? }));
    };
    let mut made = json!({ "token_url": token_url, "client_id": field("clientId").unwrap_or_default() });
    for (theirs, ours) in
        [("clientSecret", "client_secret"), ("scope", "scope"), ("username", "username"), ("password", "password")]
    {
        if let Some(given) = field(theirs).filter(|given| !given.is_empty()) {
            made[ours] = json!(given);
        }
    }
    if grant == "password" {
        made["grant"] = json!(grant);
    }
    Some(json!({ "oauth2": made }))
}

fn body(step: &mut StepDraft, body: &Json) {
    if body["disabled"] == json!(true) {
        return;
    }
    match body["mode"].as_str() {
        Some("raw") => raw(step, body),
        Some("urlencoded") => {
            if body["urlencoded"].is_string() {
                step.body("application/x-www-form-urlencoded", &value(&body["urlencoded"]));
            }
            for pair in enabled(&body["urlencoded"]) {
                step.add("form", &value(&pair["key"]), value(&pair["value"]));
            }
            if step.config.contains_key("form") {
                step.drop_header("content-type");
            }
        }
        Some("formdata") => {
            for part in enabled(&body["formdata"]) {
                multipart(step, part);
            }
            step.drop_header("content-type");
        }
        Some("graphql") => graphql(step, &body["graphql"]),
        Some("file") => match body["file"]["src"].as_str().or(body["file"]["content"].as_str()) {
            Some(file) => step.left_out.push(format!("the body from the file {file}")),
            None => step.left_out.push("the body from a file that is not named".to_owned()),
        },
        Some(other) => step.left_out.push(format!("a body of the kind {other}")),
        None => {}
    }
}

fn raw(step: &mut StepDraft, body: &Json) {
    let raw = body["raw"].as_str().unwrap_or_default();
    if raw.trim().is_empty() {
        return;
    }
    let usual = match body["options"]["raw"]["language"].as_str() {
        Some("json") => "application/json",
        Some("xml") => "application/xml",
        Some("html") => "text/html",
        Some("javascript") => "application/javascript",
        None if serde_json::from_str::<Json>(raw).is_ok_and(|json| json.is_object()) => "application/json",
        Some(_) | None => "text/plain",
    };
    step.body(usual, &marked(raw));
}

fn multipart(step: &mut StepDraft, part: &Json) {
    let name = value(&part["key"]);
    let kind = part["contentType"].as_str().filter(|kind| !kind.is_empty());
    if part["type"] != json!("file") {
        return match kind {
            Some(kind) => step.add("multipart", &name, json!({ "value": value(&part["value"]), "content_type": kind })),
            None => step.add("multipart", &name, value(&part["value"])),
        };
    }
    let files: Vec<&str> = match &part["src"] {
        Json::Array(files) => files.iter().filter_map(Json::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    if files.is_empty() {
        step.left_out.push(format!("a file for the part {name}, which is not named"));
    }
    for file in files {
        let mut made = json!({ "file": marked(file) });
        if let Some(kind) = kind {
            made["content_type"] = json!(kind);
        }
        step.add("multipart", &name, made);
    }
}

fn graphql(step: &mut StepDraft, graphql: &Json) {
    let mut made = json!({ "query": value(&graphql["query"]) });
    let variables = marked(&scalar(&graphql["variables"]));
    match serde_json::from_str::<Json>(&variables) {
        Ok(Json::Object(map)) if !map.is_empty() => made["variables"] = Json::Object(map),
        Ok(_) => {}
        Err(_) if variables.trim().is_empty() => {}
        Err(_) => step.left_out.push("the query's variables, which are no JSON".to_owned()),
    }
    if let Some(name) = graphql["operationName"].as_str().filter(|name| !name.is_empty()) {
        made["operation_name"] = json!(name);
    }
    step.drop_header("content-type");
    step.set("graphql", made);
}
