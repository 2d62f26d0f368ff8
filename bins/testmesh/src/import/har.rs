//! What a browser recorded (HTTP Archive 1.2): one flow with a step for each request that is no part of a page's looks.

use std::collections::HashSet;

use serde_json::{Value as Json, json};
use url::Url;

use super::words::{scalar, shown};
use super::{Draft, StepDraft, origin};

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
const BROWSER_HEADERS: [&str; 22] = [
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
    "keep-alive",
    "origin",
    "pragma",
    "priority",
    "proxy-",
    "referer",
    "sec-",
    "te",
    "upgrade-insecure-requests",
    "user-agent",
];
/// Cookies that only measure visitors, by their beginnings.
const TRACKERS: [&str; 14] = [
    "_ga",
    "_gid",
    "_gat",
    "_gcl",
    "_fbp",
    "_fbc",
    "_hj",
    "__utm",
    "ajs_",
    "amplitude",
    "mp_",
    "_clck",
    "_clsk",
    "optanon",
];

/// One flow. `assets`: with what a page is made of as well.
///
/// # Errors
/// It is no HTTP Archive, or nothing of it is a request to test.
pub(crate) fn read(archive: &Json, name: &str, assets: bool) -> Result<Vec<Draft>, String> {
    let entries = archive["log"]["entries"].as_array().ok_or("it is no HTTP Archive: `log.entries` is missing")?;
    let mut draft = Draft { name: name.to_owned(), ..Draft::default() };
    let mut left = Left::default();
    let mut jar = Jar::default();
    for (index, entry) in entries.iter().enumerate() {
        if let Some(reason) = Reason::of(entry, assets) {
            left.count(reason);
            continue;
        }
        match step(entry, index + 1, &jar) {
            Some(step) => draft.steps.push(step),
            None => left.count(Reason::Broken),
        }
        jar.take(entry);
    }
    draft.left_out = left.notes();
    if draft.steps.is_empty() {
        return Err("no request in it is one to test".to_owned());
    }
    origin::share(&mut draft);
    Ok(vec![draft])
}

/// Why an entry becomes no step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    Asset,
    Preflight,
    NotHttp,
    Unanswered,
    Broken,
}

impl Reason {
    fn of(entry: &Json, assets: bool) -> Option<Self> {
        let request = &entry["request"];
        let url = request["url"].as_str().unwrap_or_default();
        let method = request["method"].as_str().unwrap_or("GET");
        let path = url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
        let kind = entry["_resourceType"].as_str().unwrap_or_default();
        let content_type = entry["response"]["content"]["mimeType"].as_str().unwrap_or_default().to_ascii_lowercase();
        let asset = ASSETS.contains(&kind)
            || ASSET_TYPES.iter().any(|start| content_type.starts_with(start))
            || (method == "GET" && ASSET_ENDS.iter().any(|end| path.ends_with(end)));
        if !url.starts_with("http") || kind == "websocket" || entry["response"]["status"] == json!(101) {
            Some(Self::NotHttp)
        } else if matches!(method, "OPTIONS" | "CONNECT") {
            Some(Self::Preflight)
        } else if asset && !assets {
            Some(Self::Asset)
        } else if entry["response"]["status"].as_i64().unwrap_or(0) <= 0 {
            Some(Self::Unanswered)
        } else {
            None
        }
    }
}

/// How many entries became no step, by reason.
#[derive(Default)]
struct Left([usize; 5]);

impl Left {
    fn count(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }

    fn notes(&self) -> Vec<(String, String)> {
        let whats = [
            "scripts, styles, pictures and their like (--assets takes them in)",
            "questions of the browser what is allowed (OPTIONS)",
            "what is no HTTP (WebSocket, data, blob)",
            "requests without an answer",
            "requests without a URL that can be read",
        ];
        let counted = self.0.iter().zip(whats).filter(|(count, _)| **count > 0);
        counted.map(|(count, what)| ("log.entries".to_owned(), format!("{what}: {count}"))).collect()
    }
}

/// The cookies that answers of the archive set: a run sends these again by itself.
#[derive(Default)]
struct Jar(HashSet<String>);

impl Jar {
    fn take(&mut self, entry: &Json) {
        let cookies = entry["response"]["cookies"].as_array().into_iter().flatten();
        self.0.extend(cookies.filter_map(|cookie| cookie["name"].as_str().map(str::to_owned)));
        for header in entry["response"]["headers"].as_array().into_iter().flatten() {
            if header["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case("set-cookie")) {
                let lines = header["value"].as_str().unwrap_or_default().lines();
                self.0.extend(lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim().to_owned()));
            }
        }
    }
}

fn step(entry: &Json, number: usize, jar: &Jar) -> Option<StepDraft> {
    let request = &entry["request"];
    let method = request["method"].as_str().unwrap_or("GET").to_ascii_uppercase();
    let mut url = Url::parse(request["url"].as_str()?).ok()?;
    url.set_fragment(None);
    let mut step = StepDraft { name: format!("{method} {}", url.path()), ..StepDraft::default() };
    step.place = format!("entry {number} ({})", shown(&step.name));
    step.set("method", method.as_str());
    step.set("url", url.as_str());
    step.set("follow_redirects", false);
    for header in request["headers"].as_array().into_iter().flatten() {
        let (Some(name), Some(value)) = (header["name"].as_str(), header["value"].as_str()) else { continue };
        let known = name.to_ascii_lowercase();
        let browsers = BROWSER_HEADERS.iter().any(|start| match *start {
            "te" => known == "te",
            start => known.starts_with(start),
        });
        if !browsers && known != "content-type" && (known != "accept" || value != "*/*") {
            step.header(name, value);
        }
    }
    for cookie in request["cookies"].as_array().into_iter().flatten() {
        let Some(name) = cookie["name"].as_str() else { continue };
        let tracks = TRACKERS.iter().any(|start| name.to_ascii_lowercase().starts_with(start));
        if !jar.0.contains(name) && !tracks {
            step.add("cookies", name, scalar(&cookie["value"]));
        }
    }
    body(&mut step, request);
    step.assert.push(match entry["response"]["status"].as_u64().unwrap_or(200) {
        // What was not modified is sent whole to a tester.
        304 => "status in [200, 304]".to_owned(),
        status => format!("status == {status}"),
    });
    Some(step)
}

fn body(step: &mut StepDraft, request: &Json) {
    let posted = &request["postData"];
    let header = |header: &&Json| header["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case("content-type"));
    let own = request["headers"].as_array().and_then(|headers| headers.iter().find(header));
    let kind = posted["mimeType"].as_str().filter(|kind| !kind.is_empty());
    let kind = kind.or_else(|| own.and_then(|own| own["value"].as_str())).unwrap_or_default();
    let pairs: Vec<&Json> = posted["params"].as_array().into_iter().flatten().collect();
    let text = posted["text"].as_str().filter(|text| !text.is_empty());
    if kind.starts_with("multipart/") {
        for part in &pairs {
            let Some(name) = part["name"].as_str() else { continue };
            match part["fileName"].as_str() {
                Some(file) => step.left_out.push(format!("the file {file} of the part {name}")),
                None => step.add("multipart", name, scalar(&part["value"])),
            }
        }
        if pairs.is_empty() && text.is_some() {
            step.left_out.push("a form of several parts, which the archive has as one text".to_owned());
        }
        return;
    }
    match text {
        Some(_) if posted["encoding"].as_str() == Some("base64") => {
            step.left_out.push("a body that is no text".to_owned());
        }
        Some(text) => step.body(kind, text),
        None if kind.starts_with("application/x-www-form-urlencoded") => {
            for pair in pairs {
                // Browsers write them as they are sent.
                let decode = |key: &str| {
                    let pair = format!("x={}", pair[key].as_str().unwrap_or_default().replace('&', "%26"));
                    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
                    decoded.map(|(_, value)| value.into_owned()).unwrap_or_default()
                };
                step.add("form", &decode("name"), decode("value"));
            }
        }
        None => {}
    }
}
