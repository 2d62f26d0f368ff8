//! Takes credentials out of drafts: what a source has of them becomes a reference to a secret that is given with the run.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use regex::Regex;
use serde_json::{Map, Value as Json, json};
use testmesh_runner::flow::looks_like_secret;

use super::words::{reference, references, refers, variable};
use super::{Draft, StepDraft};

/// What the names of secrets have in them, without `-`, `_` and the like.
const PARTS: [&str; 18] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "authorization",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "authtoken",
    "sessiontoken",
    "csrf",
    "xsrf",
    "signature",
    "sessionid",
];
/// Names that are secrets as a whole.
const WHOLE: [&str; 6] = ["pwd", "pass", "pin", "otp", "cvv", "cvc"];
/// Names that end in `token` and are none.
const PLACES: [&str; 4] = ["page", "continuation", "cancel", "sync"];

/// Whether a value of this name is a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let token = name.ends_with("token") && !PLACES.iter().any(|word| name.contains(word));
    token || WHOLE.contains(&name.as_str()) || PARTS.iter().any(|part| name.contains(part))
}

/// Every secret of one import: a value has one name, wherever it is.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    by_name: HashMap<String, String>,
}

/// Takes the secrets out of all drafts, and notes in each which it needs.
///
/// `documented`: values are examples of a description, which are no secrets unless they look like one.
pub(crate) fn hide(drafts: &mut [Draft], documented: bool) {
    let mut secrets = Secrets::default();
    for draft in drafts {
        for step in &mut draft.steps {
            let mut hider =
                Hider { secrets: &mut secrets, needed: &mut draft.secrets, at: step.name.clone(), documented };
            hider.step(step);
        }
        let mut hider = Hider { secrets: &mut secrets, needed: &mut draft.secrets, at: draft.name.clone(), documented };
        for (name, value) in &mut draft.env {
            if !refers(value) && looks_like_secret(name, value) {
                *value = hider.secret(name, &format!("the variable `{name}`"), value);
            }
        }
        draft.need_secrets();
    }
}

struct Hider<'s> {
    secrets: &'s mut Secrets,
    needed: &'s mut IndexMap<String, String>,
    at: String,
    documented: bool,
}

impl Hider<'_> {
    fn step(&mut self, step: &mut StepDraft) {
        self.url(step);
        self.headers(step);
        let config = &mut step.config;
        if let Some(Json::Object(auth)) = config.get_mut("auth") {
            for (kind, fields) in auth.iter_mut() {
                self.auth(kind, fields);
            }
        }
        // Its URL may have a password in it.
        if let Some(proxy) = config.get_mut("proxy").filter(|proxy| proxy.as_str().is_some_and(|url| url.contains('@')))
        {
            self.always("proxy", "the proxy's URL", proxy);
        }
        if let Some(Json::Object(cookies)) = config.get_mut("cookies") {
            for (name, value) in cookies.iter_mut() {
                self.always(name, &format!("the cookie `{name}`"), value);
            }
        }
        for (key, what) in [("params", "of the query"), ("form", "of the form"), ("multipart", "of the form")] {
            if let Some(value) = config.get_mut(key) {
                self.tree(key, what, value);
            }
        }
        if let Some(value) = config.get_mut("json") {
            self.tree("json", "of the body", value);
        }
        if let Some(value) = config.get_mut("graphql").and_then(|graphql| graphql.get_mut("variables")) {
            self.tree("variables", "of the variables", value);
        }
        if let Some(Json::String(body)) = config.get_mut("body") {
            self.body(body);
        }
        // Whatever else looks like one, wherever it is.
        self.documented = true;
        for (key, value) in config.iter_mut() {
            self.tree(key, "of the request", value);
        }
    }

    /// User, password and secret parameters of a URL, which go to where they are encoded.
    fn url(&mut self, step: &mut StepDraft) {
        let Some(Json::String(text)) = step.config.get("url") else { return };
        let mut text = text.clone();
        if let Some((start, rest)) = text.split_once("://")
            && let Some((user, host)) =
                rest.split(['/', '?', '#']).next().and_then(|authority| authority.rsplit_once('@'))
        {
            let plain = |text: &str| percent_decoded(text);
            let (username, password) = user.split_once(':').unwrap_or((user, ""));
            let auth = json!({ "basic": { "username": plain(username), "password": plain(password) } });
            let end = host.len() + user.len() + 1;
            let made = format!("{start}://{host}{}", &rest[end..]);
            text = made;
            step.config.entry("auth").or_insert(auth);
        }
        if let Some((path, query)) = text.split_once('?') {
            let (query, fragment) = query.split_once('#').map_or((query, ""), |(query, fragment)| (query, fragment));
            let secret = |pair: &&str| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let (name, value) = (form_decoded(name), form_decoded(value));
                !value.is_empty() && !refers(&value) && self.hides(&name, &value)
            };
            let (moved, kept): (Vec<&str>, Vec<&str>) = query.split('&').partition(secret);
            let moved: Vec<(String, String)> = moved
                .iter()
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (form_decoded(name), form_decoded(value)))
                .collect();
            if !moved.is_empty() {
                let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
                let fragment = if fragment.is_empty() { String::new() } else { format!("#{fragment}") };
                text = format!("{path}{query}{fragment}");
                for (name, value) in moved {
                    step.add("params", &name, Json::String(value));
                }
            }
        }
        step.config.insert("url".to_owned(), Json::String(text));
    }

    fn headers(&mut self, step: &mut StepDraft) {
        let Some(Json::Object(headers)) = step.config.get_mut("headers") else { return };
        let is_authorization = |name: &str| name.eq_ignore_ascii_case("authorization");
        let authorization =
            headers.iter().find(|(name, _)| is_authorization(name)).map(|(name, value)| (name.clone(), value.clone()));
        if let Some((name, Json::String(value))) = authorization
            && let Some(auth) = auth_of(&value)
        {
            // A header that is written wins over `auth`; so it does here.
            headers.shift_remove(&name);
            step.config.insert("auth".to_owned(), auth);
        }
        let Some(Json::Object(headers)) = step.config.get_mut("headers") else { return };
        for (name, value) in headers.iter_mut() {
            let items = match value {
                Json::Array(items) => items.iter_mut().collect(),
                single => vec![single],
            };
            for item in items {
                if is_secret(name) {
                    self.always(name, &format!("the header `{name}`"), item);
                } else {
                    self.tree(name, "of the headers", item);
                }
            }
        }
        if headers.is_empty() {
            step.config.shift_remove("headers");
        }
    }

    fn auth(&mut self, kind: &str, fields: &mut Json) {
        match (kind, fields) {
            ("bearer", token) => self.always("token", "the bearer token", token),
            ("api_key", Json::Object(fields)) => {
                let name = fields.get("name").and_then(Json::as_str).unwrap_or("api_key").to_owned();
                if let Some(value) = fields.get_mut("value") {
                    self.always(&name, &format!("the key `{name}`"), value);
                }
            }
            (_, Json::Object(fields)) => {
                let user = fields
                    .get("username")
                    .and_then(Json::as_str)
                    .map(|user| format!(" of `{}`", super::words::shown(user)));
                for key in ["password", "client_secret", "refresh_token"] {
                    if let Some(value) = fields.get_mut(key) {
                        self.always(
                            key,
                            &format!("the {}{}", key.replace('_', " "), user.as_deref().unwrap_or_default()),
                            value,
                        );
                    }
                }
            }
            _ => {}
        }
    }

    /// A text that is a secret whatever it is.
    fn always(&mut self, name: &str, what: &str, value: &mut Json) {
        match value {
            Json::String(text) if !text.is_empty() && !refers(text) => *text = self.secret(name, what, text),
            Json::Array(items) => items.iter_mut().for_each(|item| self.always(name, what, item)),
            _ => {}
        }
    }

    fn hides(&self, name: &str, text: &str) -> bool {
        looks_like_secret(name, text) || (!self.documented && is_secret(name))
    }

    fn tree(&mut self, name: &str, place: &str, value: &mut Json) {
        match value {
            Json::String(text) if !text.is_empty() && !refers(text) && self.hides(name, text) => {
                *text = self.secret(name, &format!("`{name}` {place}"), text);
            }
            Json::Array(items) => items.iter_mut().for_each(|item| self.tree(name, place, item)),
            Json::Object(map) => self.map(place, map),
            _ => {}
        }
    }

    fn map(&mut self, place: &str, map: &mut Map<String, Json>) {
        // A part of a form is `{value, filename}` below its name.
        for (name, value) in map.iter_mut() {
            match value {
                Json::Object(part) if part.contains_key("value") && part.contains_key("filename") => {
                    if let Some(value) = part.get_mut("value") {
                        self.tree(name, place, value);
                    }
                }
                value => self.tree(name, place, value),
            }
        }
    }

    /// A body that stays text: JSON with variables in it, XML, or a form.
    fn body(&mut self, body: &mut String) {
        static FIELDS: LazyLock<[Regex; 3]> = LazyLock::new(|| {
            [
                r#"(?P<start>"(?P<name>[\w-]{1,60})"\s*:\s*")(?P<value>[^"\\\n]+)(?P<end>")"#,
                r"(?P<start><(?P<name>[\w:-]{1,60})>)(?P<value>[^<>\n]+)(?P<end></)",
                r"(?P<start>(?:^|&)(?P<name>[\w-]{1,60})=)(?P<value>[^&\s]+)(?P<end>)",
            ]
            .map(|pattern| Regex::new(pattern).expect("the patterns are fixed"))
        });
        for pattern in FIELDS.iter() {
            let replaced = pattern.replace_all(body, |found: &regex::Captures<'_>| {
                let (name, value) = (&found["name"], &found["value"]);
                if refers(value) || !self.hides(name, value) {
                    return found[0].to_owned();
                }
                let secret = self.secret(name, &format!("`{name}` of the body"), value);
                format!("{}{secret}{}", &found["start"], &found["end"])
            });
            *body = replaced.into_owned();
        }
    }

    /// The reference to a secret.
    fn secret(&mut self, name: &str, what: &str, value: &str) -> String {
        let wanted = variable(name).to_ascii_uppercase();
        let wanted = wanted.trim_start_matches('_');
        let wanted = if wanted.is_empty() { "SECRET" } else { wanted };
        let mut n = 1;
        let known = loop {
            let known = if n == 1 { wanted.to_owned() } else { format!("{wanted}_{n}") };
            match self.secrets.by_name.get(&known) {
                Some(other) if other != value => n += 1,
                Some(_) => break known,
                None => {
                    self.secrets.by_name.insert(known.clone(), value.to_owned());
                    break known;
                }
            }
        };
        self.needed.entry(known.clone()).or_insert_with(|| format!("{what}, first in \"{}\"", self.at));
        reference(&format!("secrets.{known}"))
    }
}

/// `auth` for the value of an `Authorization` header that it can say.
fn auth_of(header: &str) -> Option<Json> {
    let (scheme, rest) = header.trim().split_once(' ')?;
    let rest = rest.trim();
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" if !rest.is_empty() => Some(json!({ "bearer": rest })),
        "basic" => {
            let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
            let (username, password) = decoded.split_once(':')?;
            Some(
                json!({ "basic": { "username": super::words::unmarked(username), "password": super::words::unmarked(password) } }),
            )
        }
        _ => None,
    }
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn form_decoded(text: &str) -> String {
    let pair = format!("x={}", text.replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

impl Draft {
    /// Notes the secrets that were references from the beginning.
    fn need_secrets(&mut self) {
        let mut found = Vec::new();
        for step in &self.steps {
            texts(&Json::Object(step.config.clone()), &mut |text| {
                found.extend(references(text).filter_map(|name| name.strip_prefix("secrets.")).map(str::to_owned));
            });
        }
        for name in found {
            self.secrets.entry(name.clone()).or_insert_with(|| format!("the variable `{name}` of the source"));
        }
    }
}

/// Every key and text of a value.
pub(super) fn texts(value: &Json, found: &mut impl FnMut(&str)) {
    match value {
        Json::String(text) => found(text),
        Json::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Json::Object(map) => {
            for (key, value) in map {
                found(key);
                texts(value, found);
            }
        }
        _ => {}
    }
}
