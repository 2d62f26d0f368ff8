//! Pact files, versions 2 to 4, as one form: the HTTP interactions of a consumer with a provider.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};

use super::rules::Rules;

/// The most interactions of a file.
const MOST_INTERACTIONS: usize = 2_000;
/// What version 4 calls interactions over HTTP.
pub(super) const HTTP: &str = "Synchronous/HTTP";

/// A contract.
#[derive(Debug, Clone)]
pub(in crate::actions) struct Pact {
    pub(in crate::actions) consumer: String,
    pub(in crate::actions) provider: String,
    pub(in crate::actions) interactions: Vec<Interaction>,
    /// Interactions that are none over HTTP.
    pub(in crate::actions) others: Vec<Other>,
}

/// An interaction that is none over HTTP.
#[derive(Debug, Clone)]
pub(in crate::actions) struct Other {
    pub(in crate::actions) description: String,
    /// As the file calls it: `Asynchronous/Messages`.
    pub(in crate::actions) kind: String,
}

#[derive(Debug, Clone)]
pub(in crate::actions) struct Interaction {
    pub(in crate::actions) description: String,
    pub(in crate::actions) states: Vec<State>,
    pub(in crate::actions) request: PactRequest,
    pub(in crate::actions) response: PactResponse,
    /// Whether it may fail without failing the whole (version 4).
    pub(in crate::actions) pending: bool,
}

/// What must be so at the provider.
#[derive(Debug, Clone)]
pub(in crate::actions) struct State {
    pub(in crate::actions) name: String,
    pub(in crate::actions) params: Map<String, Json>,
}

#[derive(Debug, Clone)]
pub(in crate::actions) struct PactRequest {
    pub(in crate::actions) method: String,
    pub(in crate::actions) path: String,
    pub(in crate::actions) query: Vec<(String, String)>,
    pub(in crate::actions) headers: Vec<(String, String)>,
    pub(in crate::actions) body: Body,
    /// `{body: {"$.id": {type: …}}, path: {…}, header: {…}, query: {…}}`.
    pub(in crate::actions) generators: Map<String, Json>,
}

#[derive(Debug, Clone)]
pub(in crate::actions) struct PactResponse {
    /// None: any that is good.
    pub(in crate::actions) status: Option<u16>,
    pub(in crate::actions) headers: Vec<(String, String)>,
    pub(in crate::actions) body: Body,
    pub(in crate::actions) rules: Rules,
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::actions) enum Body {
    /// Whatever it is.
    Any,
    /// Nothing.
    Empty,
    Json(Json),
    /// Fields, URL-encoded.
    Form(String),
    /// Compared as text, but for white space between tags.
    Xml(String),
    Text(String),
    Bytes(Vec<u8>),
}

impl Pact {
    /// Reads a file's text.
    pub(in crate::actions) fn parse(text: &[u8]) -> Result<Self, String> {
        let json: Json = serde_json::from_slice(text).map_err(|error| format!("it is not JSON: {error}"))?;
        Self::read(&json)
    }

    /// Reads a file.
    pub(in crate::actions) fn read(json: &Json) -> Result<Self, String> {
        let name = |who: &str| {
            let name = json[who]["name"].as_str().map(str::to_owned);
            name.ok_or_else(|| format!("it has no `{who}.name`: it is no Pact file"))
        };
        let empty = Vec::new();
        let listed = match (json["interactions"].as_array(), json["messages"].as_array()) {
            (Some(listed), _) => listed,
            (None, Some(_)) => &empty,
            (None, None) => return Err("it has no `interactions`: it is no Pact file".to_owned()),
        };
        if listed.len() > MOST_INTERACTIONS {
            return Err(format!("it has {} interactions, more than {MOST_INTERACTIONS}", listed.len()));
        }
        let version = version(json)?;
        let (mut interactions, mut others) = (Vec::new(), Vec::new());
        for interaction in listed {
            let description = described(interaction);
            match interaction["type"].as_str() {
                None | Some(HTTP) => interactions.push(
                    interaction_of(interaction, &description, version)
                        .map_err(|reason| format!("interaction `{description}`: {reason}"))?,
                ),
                Some(kind) => others.push(Other { description, kind: kind.to_owned() }),
            }
        }
        for message in json["messages"].as_array().into_iter().flatten() {
            others.push(Other { description: described(message), kind: "message".to_owned() });
        }
        Ok(Self { consumer: name("consumer")?, provider: name("provider")?, interactions, others })
    }
}

fn described(interaction: &Json) -> String {
    interaction["description"].as_str().unwrap_or("an interaction without a description").to_owned()
}

/// The version of the specification, by its first number; 2 when the file does not say.
fn version(json: &Json) -> Result<u32, String> {
    let metadata = &json["metadata"];
    let places = [
        &metadata["pactSpecification"]["version"],
        &metadata["pact-specification"]["version"],
        &metadata["pactSpecificationVersion"],
    ];
    let text = places.iter().find_map(|place| place.as_str());
    let version = text.map_or(Some(2), |text| text.split('.').next()?.parse().ok());
    match version {
        Some(version) if version <= 4 => Ok(version),
        _ => Err(format!(
            "it is of version {} of the Pact specification: 2, 3 and 4 are understood",
            text.unwrap_or_default()
        )),
    }
}

fn interaction_of(json: &Json, description: &str, version: u32) -> Result<Interaction, String> {
    let request = &json["request"];
    let response = &json["response"];
    if !request.is_object() || !response.is_object() {
        return Err("it has no `request` and `response`".to_owned());
    }
    if let Some(plugin) = json["pluginConfiguration"].as_object().and_then(|plugins| plugins.keys().next()) {
        return Err(format!("it needs the Pact plugin `{plugin}`, and plugins are not supported"));
    }
    let path = match &request["path"] {
        Json::Null => "/".to_owned(),
        Json::String(path) => path.clone(),
        other => return Err(format!("`request.path` is {other}, not text")),
    };
    let status = match &response["status"] {
        Json::Null => None,
        status => Some(
            status
                .as_u64()
                .and_then(|status| u16::try_from(status).ok())
                .ok_or_else(|| format!("`response.status` is {status}, not a status"))?,
        ),
    };
    let (request_headers, response_headers) = (headers(&request["headers"]), headers(&response["headers"]));
    let rules = Rules::read(&response["matchingRules"]).map_err(|reason| format!("`response`: {reason}"))?;
    let response_body = body(response, &response_headers, version).map_err(|reason| format!("`response`: {reason}"))?;
    if matches!(response_body, Body::Xml(_)) && !rules.body.is_empty() {
        return Err("`response`: matching rules for a body of XML are not supported".to_owned());
    }
    Ok(Interaction {
        description: description.to_owned(),
        states: states(json),
        request: PactRequest {
            method: request["method"].as_str().unwrap_or("GET").to_ascii_uppercase(),
            path,
            query: query(&request["query"]),
            body: body(request, &request_headers, version).map_err(|reason| format!("`request`: {reason}"))?,
            headers: request_headers,
            generators: request["generators"].as_object().cloned().unwrap_or_default(),
        },
        response: PactResponse { status, body: response_body, headers: response_headers, rules },
        pending: json["pending"].as_bool().unwrap_or(false),
    })
}

fn states(json: &Json) -> Vec<State> {
    let old = json.get("providerState").or_else(|| json.get("provider_state"));
    match (json["providerStates"].as_array(), old) {
        (Some(list), _) => list
            .iter()
            .map(|state| State {
                name: state["name"].as_str().or(state.as_str()).unwrap_or_default().to_owned(),
                params: state["params"].as_object().cloned().unwrap_or_default(),
            })
            .collect(),
        (None, Some(Json::String(name))) => vec![State { name: name.clone(), params: Map::new() }],
        (None, _) => Vec::new(),
    }
}

fn headers(json: &Json) -> Vec<(String, String)> {
    let text = |value: &Json| match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let joined = |value: &Json| match value {
        Json::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        other => text(other),
    };
    json.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), joined(value))).collect()
}

fn query(json: &Json) -> Vec<(String, String)> {
    let text = |value: &Json| match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    match json {
        Json::String(query) => url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        Json::Object(map) => map
            .iter()
            .flat_map(|(name, value)| match value {
                Json::Array(values) => values.iter().map(|value| (name.clone(), text(value))).collect(),
                value => vec![(name.clone(), text(value))],
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Whether a type is JSON; without one, everything that is no text is.
fn is_json(content_type: Option<&str>) -> bool {
    content_type.is_some_and(|text| text.contains("json"))
}

/// What a text is by its type.
fn of_type(text: String, content_type: Option<&str>) -> Body {
    let is = |part: &str| content_type.is_some_and(|content_type| content_type.contains(part));
    if text.is_empty() {
        Body::Empty
    } else if is("x-www-form-urlencoded") {
        Body::Form(text)
    } else if is("/xml") || is("+xml") {
        Body::Xml(text)
    } else {
        Body::Text(text)
    }
}

fn body(message: &Json, headers: &[(String, String)], version: u32) -> Result<Body, String> {
    let Some(body) = message.get("body") else { return Ok(Body::Any) };
    let declared = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let declared = declared.map(|(_, value)| value.as_str());
    if version < 4 {
        let declared = declared.map(str::to_ascii_lowercase);
        return Ok(match body {
            Json::Null => Body::Empty,
            Json::String(text) if !is_json(declared.as_deref()) => of_type(text.clone(), declared.as_deref()),
            json => Body::Json(json.clone()),
        });
    }
    let Some(content) = body.get("content") else {
        return Ok(if body.is_null() { Body::Empty } else { Body::Any });
    };
    let declared = body["contentType"].as_str().or(declared).map(str::to_ascii_lowercase);
    let declared = declared.as_deref();
    match (&body["encoded"], content) {
        (_, Json::Null) => Ok(Body::Empty),
        (Json::String(coding), Json::String(text)) if coding.eq_ignore_ascii_case("base64") => {
            let bytes = STANDARD.decode(text).map_err(|error| format!("the body is not base64: {error}"))?;
            match (is_json(declared), serde_json::from_slice(&bytes)) {
                (true, Ok(json)) => Ok(Body::Json(json)),
                _ => Ok(match String::from_utf8(bytes) {
                    Ok(text) => of_type(text, declared),
                    Err(error) => Body::Bytes(error.into_bytes()),
                }),
            }
        }
        (Json::String(_), Json::String(text)) => match serde_json::from_str(text) {
            Ok(json) if is_json(declared) => Ok(Body::Json(json)),
            _ => Ok(of_type(text.clone(), declared)),
        },
        (_, Json::String(text)) if !is_json(declared) => Ok(of_type(text.clone(), declared)),
        (_, json) => Ok(Body::Json(json.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(interactions: &Json) -> Json {
        json!({"consumer": {"name": "c"}, "provider": {"name": "p"}, "interactions": interactions})
    }

    #[test]
    fn what_is_no_contract_says_why() {
        let one = |interaction: Json| file(&json!([interaction]));
        for (json, expect) in [
            (json!({"a": 1}), "it has no `interactions`: it is no Pact file"),
            (json!({"interactions": []}), "it has no `consumer.name`: it is no Pact file"),
            (
                json!({"interactions": [], "metadata": {"pactSpecification": {"version": "5.0"}}}),
                "it is of version 5.0 of the Pact specification: 2, 3 and 4 are understood",
            ),
            (one(json!({"description": "d"})), "interaction `d`: it has no `request` and `response`"),
            (
                one(json!({"description": "d", "request": {"path": 1}, "response": {}})),
                "interaction `d`: `request.path` is 1, not text",
            ),
            (
                one(json!({"description": "d", "request": {}, "response": {"status": "ok"}})),
                "interaction `d`: `response.status` is \"ok\", not a status",
            ),
            (
                one(
                    json!({"description": "d", "request": {}, "response": {"matchingRules": {"$.body.a": {"match": "x"}}}}),
                ),
                "interaction `d`: `response`: the matching rule `$.body.a`: there is no matcher `x`",
            ),
            (
                one(json!({"description": "d", "request": {}, "response": {
                    "headers": {"Content-Type": "text/xml"}, "body": "<a/>", "matchingRules": {"$.body.a": {"match": "type"}}}})),
                "interaction `d`: `response`: matching rules for a body of XML are not supported",
            ),
            (
                one(
                    json!({"description": "d", "pluginConfiguration": {"protobuf": {}}, "request": {}, "response": {}}),
                ),
                "interaction `d`: it needs the Pact plugin `protobuf`, and plugins are not supported",
            ),
        ] {
            assert_eq!(Pact::read(&json).unwrap_err(), expect);
        }
    }

    #[test]
    fn bodies_are_read_by_version_and_type() {
        let typed = |kind: &str| json!({"Content-Type": kind});
        for (version, headers, body, expect) in [
            ("2.0.0", json!({}), json!({"a": 1}), Body::Json(json!({"a": 1}))),
            ("3.0.0", typed("application/json"), json!("x"), Body::Json(json!("x"))),
            ("3.0.0", typed("text/plain"), json!("x"), Body::Text("x".into())),
            ("3.0.0", typed("application/x-www-form-urlencoded"), json!("a=1"), Body::Form("a=1".into())),
            ("3.0.0", typed("application/soap+xml"), json!("<a/>"), Body::Xml("<a/>".into())),
            ("3.0.0", json!({}), json!(null), Body::Empty),
            (
                "4.0",
                json!({}),
                json!({"content": {"a": 1}, "contentType": "application/json"}),
                Body::Json(json!({"a": 1})),
            ),
            ("4.0", typed("application/json"), json!({"content": "x"}), Body::Json(json!("x"))),
            ("4.0", json!({}), json!({"content": "x", "contentType": "text/plain"}), Body::Text("x".into())),
            (
                "4.0",
                json!({}),
                json!({"content": "/w==", "contentType": "image/png", "encoded": "base64"}),
                Body::Bytes(vec![255]),
            ),
            (
                "4.0",
                json!({}),
                json!({"content": "{\"a\": 1}", "contentType": "application/json", "encoded": "JSON"}),
                Body::Json(json!({"a": 1})),
            ),
            ("4.0", json!({}), json!({}), Body::Any),
        ] {
            let response = json!({"headers": headers, "body": body});
            let mut file = file(&json!([{"request": {}, "response": response}]));
            file["metadata"] = json!({"pactSpecification": {"version": version}});
            assert_eq!(Pact::read(&file).unwrap().interactions[0].response.body, expect, "{version} {body}");
        }
    }

    #[test]
    fn what_is_not_over_http_is_kept_apart() {
        let mut file = file(&json!([{"type": "Asynchronous/Messages", "description": "m"}]));
        file["metadata"] = json!({"pactSpecification": {"version": "4.0"}});
        file["messages"] = json!([{"description": "n"}]);
        let read = Pact::read(&file).unwrap();
        let others: Vec<_> =
            read.others.iter().map(|other| (other.description.as_str(), other.kind.as_str())).collect();
        assert_eq!(others, [("m", "Asynchronous/Messages"), ("n", "message")]);
    }
}
