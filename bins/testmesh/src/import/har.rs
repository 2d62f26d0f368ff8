//! What a browser recorded (HTTP Archive 1.2): one flow with a step for each request that is no part of a page's looks.

use std::collections::HashMap;

use serde_json::{Value as Json, json};
use url::Url;

use super::{Draft, StepDraft, reference, text};

/// Kinds of what a page is made of.
const ASSETS: [&str; 7] = ["image", "font", "stylesheet", "script", "media", "manifest", "texttrack"];
/// And its content types, by their beginnings.
const ASSET_TYPES: [&str; 8] = [
    "image/",
    "font/",
    "video/",
    "audio/",
    "text/css",
    "text/javascript",
    "application/javascript",
    "application/x-javascript",
];
/// And the ends of its paths.
const ASSET_ENDS: [&str; 14] = [
    ".js", ".mjs", ".css", ".map", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".ico", ".webp", ".woff", ".woff2", ".ttf",
];
/// Headers that the browser or the connection adds, by their beginnings.
const BROWSER_HEADERS: [&str; 20] = [
    ":",
    "accept-encoding",
    "accept-language",
    "alt-used",
    "cache-control",
    "connection",
    "content-length",
    "cookie",
    "dnt",
    "host",
    "if-modified-since",
    "if-none-match",
    "origin",
    "pragma",
    "priority",
    "proxy-",
    "referer",
    "sec-",
    "upgrade-insecure-requests",
    "user-agent",
];
/// Headers whose values are credentials, by what their names have in them.
const CREDENTIALS: [&str; 5] = ["authorization", "api-key", "apikey", "token", "secret"];

/// One flow.
///
/// # Errors
/// It is no HTTP Archive, or nothing of it is a request to test.
pub(crate) fn read(archive: &Json, name: &str) -> Result<Vec<Draft>, String> {
    let entries = archive["log"]["entries"].as_array().ok_or("it is no HTTP Archive: `log.entries` is missing")?;
    let mut draft = Draft { name: name.to_owned(), ..Draft::default() };
    let (kept, left): (Vec<&Json>, Vec<&Json>) = entries.iter().partition(|entry| is_kept(entry));
    if !left.is_empty() {
        draft.notes.push(format!("left out: {} requests for scripts, styles, pictures and their like", left.len()));
    }
    let base = usual_origin(&kept);
    if let Some(base) = &base {
        draft.env.insert("BASE_URL".to_owned(), base.clone());
    }
    let mut cookies = false;
    for entry in kept {
        cookies |= entry["request"]["cookies"].as_array().is_some_and(|cookies| !cookies.is_empty());
        draft.steps.extend(step(&entry["request"], &entry["response"], base.as_deref(), &mut draft.input));
    }
    if cookies {
        draft.notes.push("left out: the recorded cookies. What the answers set is sent again by the run itself".to_owned());
    }
    if draft.steps.is_empty() {
        return Err("no request in it is one to test".to_owned());
    }
    Ok(vec![draft])
}

fn is_kept(entry: &Json) -> bool {
    let request = &entry["request"];
    let url = request["url"].as_str().unwrap_or_default();
    let path = url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let kind = entry["_resourceType"].as_str().unwrap_or_default();
    let content_type = entry["response"]["content"]["mimeType"].as_str().unwrap_or_default().to_ascii_lowercase();
    let method = request["method"].as_str().unwrap_or("GET");
    let asset = ASSETS.contains(&kind)
        || ASSET_TYPES.iter().any(|start| content_type.starts_with(start))
        || (method == "GET" && ASSET_ENDS.iter().any(|end| path.ends_with(end)));
    url.starts_with("http") && !asset && !matches!(method, "OPTIONS" | "CONNECT")
}

/// The origin of most requests.
fn usual_origin(entries: &[&Json]) -> Option<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut best: Option<(String, usize)> = None;
    for entry in entries {
        let Some(origin) = entry["request"]["url"].as_str().and_then(origin) else { continue };
        let count = counts.entry(origin.clone()).or_default();
        *count += 1;
        if best.as_ref().is_none_or(|(_, most)| *count > *most) {
            best = Some((origin, *count));
        }
    }
    best.map(|(origin, _)| origin)
}

fn origin(url: &str) -> Option<String> {
    let origin = Url::parse(url).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

fn step(
    request: &Json,
    response: &Json,
    base: Option<&str>,
    input: &mut indexmap::IndexMap<String, String>,
) -> Option<StepDraft> {
    let method = request["method"].as_str().unwrap_or("GET").to_ascii_uppercase();
    let url = Url::parse(request["url"].as_str()?).ok()?;
    let mut step = StepDraft { name: format!("{method} {}", url.path()), ..StepDraft::default() };
    let mut whole = url.clone();
    whole.set_fragment(None);
    // Both fail only for URLs without a host.
    let _ = whole.set_username("");
    let _ = whole.set_password(None);
    let whole = whole.to_string();
    let shown = match base.and_then(|base| whole.strip_prefix(base)) {
        Some(rest) => format!("{}{rest}", reference("BASE_URL")),
        None => whole,
    };
    step.config.insert("method".to_owned(), text(&method));
    step.config.insert("url".to_owned(), text(&shown));
    step.config.insert("follow_redirects".to_owned(), json!(false));
    for header in request["headers"].as_array().into_iter().flatten() {
        let (Some(name), Some(value)) = (header["name"].as_str(), header["value"].as_str()) else { continue };
        let known = name.to_ascii_lowercase();
        if BROWSER_HEADERS.iter().any(|start| known.starts_with(start)) || known == "content-type" {
            continue;
        }
        if CREDENTIALS.iter().any(|word| known.contains(word)) {
            let variable = super::variable(name).to_ascii_uppercase();
            input.insert(variable.clone(), format!("the value of the header {name}, which was not taken over"));
            step.header(name, &reference(&variable));
        } else {
            step.header(name, value);
        }
    }
    body(&mut step, &request["postData"]);
    step.assert.extend(expected(response["status"].as_u64().unwrap_or(0)));
    Some(step)
}

fn body(step: &mut StepDraft, posted: &Json) {
    let kind = posted["mimeType"].as_str().unwrap_or_default();
    let pairs: Vec<&Json> = posted["params"].as_array().into_iter().flatten().collect();
    if kind.starts_with("multipart/") {
        for part in pairs {
            let Some(name) = part["name"].as_str() else { continue };
            match (part["fileName"].as_str(), part["value"].as_str()) {
                (Some(file), _) => step.notes.push(format!("left out: the file {file} of the part {name}")),
                (None, value) => step.add("multipart", name, text(value.unwrap_or_default())),
            }
        }
        return;
    }
    if kind.starts_with("application/x-www-form-urlencoded") && !pairs.is_empty() {
        for pair in pairs {
            let decode = |key: &str| {
                // Browsers write them as they are sent.
                let written = pair[key].as_str().unwrap_or_default().replace('&', "%26");
                let pair = format!("x={written}");
                let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
                decoded.map(|(_, value)| value.into_owned()).unwrap_or_default()
            };
            step.add("form", &decode("name"), text(&decode("value")));
        }
        return;
    }
    match posted["text"].as_str().filter(|text| !text.is_empty()) {
        Some(_) if posted["encoding"].as_str() == Some("base64") => {
            step.notes.push("left out: a body that is no text".to_owned());
        }
        Some(text) => step.body(kind, text),
        None => {}
    }
}

/// The status that came, as a condition. What was not modified is sent whole to a tester.
fn expected(status: u64) -> Option<String> {
    match status {
        0 => None,
        304 => Some("status in [200, 304]".to_owned()),
        status => Some(format!("status == {status}")),
    }
}
