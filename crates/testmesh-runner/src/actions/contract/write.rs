//! Makes a Pact file of interactions, and finds out whether their examples keep to their own rules.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value as Json, json};

use super::compare::{Difference, differences};
use super::pact::{HTTP, Pact};
use super::rules::Rules;

/// Headers of a recorded request that are about the content; the others are the client's and the connection's own.
const CONTENT_HEADERS: &[&str] = &["accept", "content-encoding", "content-language", "content-type"];

/// An interaction to be written.
#[derive(Debug, Clone)]
pub(in crate::actions) struct Drafted {
    pub(in crate::actions) description: String,
    /// Each with `name` and maybe `params`.
    pub(in crate::actions) states: Vec<Json>,
    pub(in crate::actions) request: Side,
    pub(in crate::actions) response: Side,
    pub(in crate::actions) status: u16,
}

/// A request or a response.
#[derive(Debug, Clone, Default)]
pub(in crate::actions) struct Side {
    pub(in crate::actions) method: String,
    pub(in crate::actions) path: String,
    pub(in crate::actions) query: Vec<(String, String)>,
    pub(in crate::actions) headers: Vec<(String, String)>,
    pub(in crate::actions) body: Option<Json>,
    /// By path as version 2 writes it: `$.body.id`, `$.headers.Location`.
    pub(in crate::actions) rules: Map<String, Json>,
}

/// Whether a header of a recorded request belongs into a contract.
pub(in crate::actions) fn is_content(name: &str, value: &str) -> bool {
    CONTENT_HEADERS.contains(&name) && value != "*/*"
}

/// The file, in a version from 2 to 4.
pub(in crate::actions) fn pact(consumer: &str, provider: &str, version: u32, interactions: &[Drafted]) -> Json {
    let specification = format!("{version}.0{}", if version == 4 { "" } else { ".0" });
    let interactions: Vec<Json> = interactions.iter().map(|interaction| written(interaction, version)).collect();
    json!({
        "consumer": { "name": consumer },
        "provider": { "name": provider },
        "interactions": interactions,
        "metadata": {
            "pactSpecification": { "version": specification },
            "testmesh": { "version": env!("CARGO_PKG_VERSION") },
        },
    })
}

/// What is wrong with the rules of an interaction: they cannot be read, or their own example does not keep to them.
pub(in crate::actions) fn check(interaction: &Drafted, version: u32) -> Result<(), String> {
    for (name, side) in [("request", &interaction.request), ("response", &interaction.response)] {
        let wrong = |reason: String| format!("`{name}.rules`: {reason}");
        Rules::read(&Json::Object(side.rules.clone())).map_err(wrong)?;
        if let Some((path, _)) = side.rules.iter().find(|(_, rule)| version == 2 && rule.is_array()) {
            return Err(wrong(format!(
                "`{path}` has several matchers, which version 2 of the specification does not know"
            )));
        }
        for (path, rule) in
            side.rules.iter().filter(|(path, _)| path.starts_with("$.path") || path.starts_with("$.query"))
        {
            if name == "response" {
                return Err(wrong(format!("`{path}` is about no part of a response")));
            }
            super::rules::RuleList::read(rule).map_err(|reason| wrong(format!("`{path}`: {reason}")))?;
        }
        // A request is compared as a response would be, which is by the same rules.
        let status = if name == "request" { 200 } else { interaction.status };
        let alone = Drafted { response: side.clone(), status, ..interaction.clone() };
        let differ = of_example(&alone, version)?;
        if !differ.is_empty() {
            let told: Vec<String> = differ.iter().map(ToString::to_string).collect();
            return Err(wrong(format!("the example does not keep to them: {}", told.join("; "))));
        }
        if let Some(path) = side.rules.keys().find(|path| !leads_somewhere(path, side)) {
            return Err(wrong(format!("`{path}` is about nothing that the {name} has")));
        }
    }
    Ok(())
}

/// How the example of a response differs from what its rules ask for.
fn of_example(interaction: &Drafted, version: u32) -> Result<Vec<Difference>, String> {
    let file = pact("consumer", "provider", version, std::slice::from_ref(interaction));
    let read = Pact::read(&file)?;
    let mut headers = HeaderMap::new();
    for (name, value) in &interaction.response.headers {
        let name = HeaderName::try_from(name.as_str()).map_err(|_| format!("`{name}` is no name of a header"))?;
        let value = HeaderValue::try_from(value.as_str()).map_err(|_| format!("the header `{name}` has no text"))?;
        headers.append(name, value);
    }
    let body = match &interaction.response.body {
        None | Some(Json::Null) => String::new(),
        Some(Json::String(text)) if !is_json(&interaction.response) => text.clone(),
        Some(body) => body.to_string(),
    };
    let found = differences(&read.interactions[0].response, interaction.status, &headers, body.as_bytes());
    Ok(found)
}

fn is_json(side: &Side) -> bool {
    content_type(side).is_some_and(|value| value.to_ascii_lowercase().contains("json"))
}

fn content_type(side: &Side) -> Option<&str> {
    let declared = side.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    declared.map(|(_, value)| value.as_str())
}

/// Whether a rule is about something that is there.
fn leads_somewhere(path: &str, side: &Side) -> bool {
    let names =
        |pairs: &[(String, String)]| pairs.iter().map(|(name, _)| (name.clone(), json!([""]))).collect::<Map<_, _>>();
    let query = names(&side.query);
    let headers: Map<String, Json> =
        names(&side.headers).into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let (root, below) = split(path);
    match root {
        "path" | "status" => true,
        "query" => super::rules::leads_somewhere(&format!("${below}"), &Json::Object(query)),
        "headers" | "header" => {
            super::rules::leads_somewhere(&format!("${}", below.to_ascii_lowercase()), &Json::Object(headers))
        }
        _ => side.body.as_ref().is_some_and(|body| super::rules::leads_somewhere(&format!("${below}"), body)),
    }
}

/// `$.body.id` as `body` and `.id`.
fn split(path: &str) -> (&str, &str) {
    let rest = path.trim_start_matches("$.");
    rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()))
}

fn written(interaction: &Drafted, version: u32) -> Json {
    let mut out = Map::new();
    if version == 4 {
        out.insert("type".to_owned(), json!(HTTP));
    }
    out.insert("description".to_owned(), json!(interaction.description));
    if !interaction.states.is_empty() {
        if version == 2 {
            let names: Vec<&str> = interaction.states.iter().filter_map(|state| state["name"].as_str()).collect();
            out.insert("providerState".to_owned(), json!(names.join(" and ")));
        } else {
            out.insert("providerStates".to_owned(), json!(interaction.states));
        }
    }
    let mut request = Map::new();
    request.insert("method".to_owned(), json!(interaction.request.method));
    request.insert("path".to_owned(), json!(interaction.request.path));
    if !interaction.request.query.is_empty() {
        request.insert("query".to_owned(), query(&interaction.request.query, version));
    }
    side(&interaction.request, version, &mut request);
    let mut response = Map::new();
    response.insert("status".to_owned(), json!(interaction.status));
    side(&interaction.response, version, &mut response);
    out.insert("request".to_owned(), Json::Object(request));
    out.insert("response".to_owned(), Json::Object(response));
    Json::Object(out)
}

fn query(pairs: &[(String, String)], version: u32) -> Json {
    if version == 2 {
        return json!(url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish());
    }
    let mut map = Map::new();
    for (name, value) in pairs {
        if let Json::Array(values) = map.entry(name.clone()).or_insert_with(|| json!([])) {
            values.push(json!(value));
        }
    }
    Json::Object(map)
}

fn side(side: &Side, version: u32, out: &mut Map<String, Json>) {
    if !side.headers.is_empty() {
        let value = |value: &String| if version == 4 { json!([value]) } else { json!(value) };
        let headers: Map<String, Json> = side.headers.iter().map(|(name, text)| (name.clone(), value(text))).collect();
        out.insert("headers".to_owned(), Json::Object(headers));
    }
    if let Some(body) = &side.body {
        let assumed = if body.is_string() { "text/plain" } else { "application/json" };
        let body = match version {
            4 if body.is_null() => json!({ "content": null }),
            4 => json!({
                "content": body,
                "contentType": content_type(side).unwrap_or(assumed),
                "encoded": false,
            }),
            _ => body.clone(),
        };
        out.insert("body".to_owned(), body);
    }
    if !side.rules.is_empty() {
        let rules = if version == 2 { side.rules.clone() } else { grouped(&side.rules) };
        out.insert("matchingRules".to_owned(), Json::Object(rules));
    }
}

/// The rules by category, as versions 3 and 4 have them.
fn grouped(rules: &Map<String, Json>) -> Map<String, Json> {
    let mut groups: Map<String, Json> = Map::new();
    for (path, rule) in rules {
        let list = match rule {
            Json::Array(matchers) => json!({ "matchers": matchers, "combine": "AND" }),
            Json::Object(map) if map.contains_key("matchers") => {
                let combine = map.get("combine").cloned().unwrap_or_else(|| json!("AND"));
                json!({ "matchers": map["matchers"], "combine": combine })
            }
            one => json!({ "matchers": [one], "combine": "AND" }),
        };
        let (root, below) = split(path);
        let name = below.trim_start_matches('.').trim_matches(['[', ']', '\'', '"']);
        match root {
            "path" | "status" => {
                groups.insert(root.to_owned(), list);
            }
            "headers" | "header" => insert(&mut groups, "header", name, list),
            "query" => insert(&mut groups, "query", name, list),
            _ => insert(&mut groups, "body", &format!("${below}"), list),
        }
    }
    groups
}

fn insert(groups: &mut Map<String, Json>, group: &str, key: &str, list: Json) {
    if let Json::Object(map) = groups.entry(group.to_owned()).or_insert_with(|| json!({})) {
        map.insert(key.to_owned(), list);
    }
}

#[cfg(test)]
mod tests {
    use super::super::pact::Body;
    use super::*;

    fn drafted() -> Drafted {
        let rules = json!({"$.body.id": {"match": "integer"}, "$.headers.Location": {"match": "regex", "regex": "/users/\\d+"}});
        let asked = json!({
            "$.path": {"match": "regex", "regex": "/users"},
            "$.query.a": {"match": "type"},
            "$.body.name": {"match": "type"},
            "$.headers['Content-Type']": {"match": "include", "value": "json"},
        });
        let content_type = || vec![("Content-Type".to_owned(), "application/json".to_owned())];
        Drafted {
            description: "a user".to_owned(),
            states: vec![json!({"name": "user 1 exists", "params": {"id": 1}})],
            request: Side {
                method: "POST".to_owned(),
                path: "/users".to_owned(),
                query: vec![("a".to_owned(), "x y".to_owned()), ("a".to_owned(), "2".to_owned())],
                headers: content_type(),
                body: Some(json!({"name": "Ada"})),
                rules: asked.as_object().cloned().unwrap(),
            },
            response: Side {
                headers: content_type().into_iter().chain([("Location".to_owned(), "/users/1".to_owned())]).collect(),
                body: Some(json!({"id": 1, "name": "Ada"})),
                rules: rules.as_object().cloned().unwrap(),
                ..Side::default()
            },
            status: 201,
        }
    }

    #[test]
    fn what_is_written_reads_back_in_every_version() {
        let drafted = drafted();
        for version in 2..=4 {
            check(&drafted, version).unwrap();
            let file = pact("web", "api", version, std::slice::from_ref(&drafted));
            let read = Pact::parse(file.to_string().as_bytes()).unwrap();
            let interaction = &read.interactions[0];
            assert_eq!(
                (read.consumer.as_str(), interaction.states[0].name.as_str()),
                ("web", "user 1 exists"),
                "{version}"
            );
            assert_eq!(interaction.request.query.len(), 2, "{version}: {file}");
            assert_eq!(interaction.request.body, Body::Json(json!({"name": "Ada"})), "{version}: {file}");
            let mut headers = HeaderMap::new();
            headers.insert("content-type", "application/json; charset=utf-8".parse().unwrap());
            headers.insert("location", "/users/9".parse().unwrap());
            let good = differences(&interaction.response, 201, &headers, br#"{"id": 9, "name": "Ada", "more": 1}"#);
            assert_eq!(good, [], "{version}: {file}");
            headers.insert("location", "/people/9".parse().unwrap());
            let bad = differences(&interaction.response, 200, &headers, br#"{"id": "9", "name": "Bob"}"#);
            let paths: Vec<_> = bad.iter().map(|difference| difference.path.as_str()).collect();
            assert_eq!(paths, ["status", "header Location", "$.id", "$.name"], "{version}: {bad:?}");
        }
        let file = pact("web", "api", 3, std::slice::from_ref(&drafted));
        let rules = &file["interactions"][0]["request"]["matchingRules"];
        let places = [&rules["path"], &rules["query"]["a"], &rules["header"]["Content-Type"], &rules["body"]["$.name"]];
        for place in places {
            assert_eq!(place["combine"], "AND", "{rules}");
        }
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        for (version, side, path, rule, expect) in [
            (
                3,
                "response",
                "$.body.id",
                json!({"match": "magic"}),
                "`response.rules`: the matching rule `$.body.id`: there is no matcher",
            ),
            (
                3,
                "response",
                "$.body.idd",
                json!({"match": "type"}),
                "`response.rules`: `$.body.idd` is about nothing that the response has",
            ),
            (
                3,
                "response",
                "$.headers.X",
                json!({"match": "type"}),
                "`response.rules`: `$.headers.X` is about nothing that the response has",
            ),
            (
                3,
                "response",
                "$.path",
                json!({"match": "type"}),
                "`response.rules`: `$.path` is about no part of a response",
            ),
            (
                3,
                "request",
                "$.query.b",
                json!({"match": "type"}),
                "`request.rules`: `$.query.b` is about nothing that the request has",
            ),
            (
                3,
                "request",
                "$.query.a",
                json!({"match": "x"}),
                "`request.rules`: the matching rule `$.query.a`: there is no matcher `x`",
            ),
            (
                3,
                "response",
                "$.body.name",
                json!({"match": "regex", "regex": "\\d+"}),
                "`response.rules`: the example does not keep to them: `$.name`: expected a match of `\\d+`, got \"Ada\"",
            ),
            (
                2,
                "response",
                "$.body.name",
                json!([{"match": "type"}]),
                "`response.rules`: `$.body.name` has several matchers, which version 2",
            ),
        ] {
            let mut drafted = drafted();
            let rules = if side == "request" { &mut drafted.request.rules } else { &mut drafted.response.rules };
            rules.insert(path.to_owned(), rule);
            let found = check(&drafted, version).unwrap_err();
            assert!(found.starts_with(expect), "{found}\ninstead of\n{expect}");
        }
    }
}
