//! Commands of curl, as people paste them: one flow with a step for each.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::{Draft, OPEN, StepDraft, literal, marked, shell, text};

/// What an option does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Nothing after it.
    Nothing,
    /// A value.
    Value,
    /// A value; and it says nothing about the request or its answer.
    Ignored,
    /// Nothing; and it says nothing about the request or its answer.
    Quiet,
}

/// Every option that is known: short, long.
const OPTIONS: &[(Option<char>, &str, Takes)] = &[
    (Some('X'), "request", Takes::Value),
    (Some('H'), "header", Takes::Value),
    (Some('d'), "data", Takes::Value),
    (None, "data-ascii", Takes::Value),
    (None, "data-raw", Takes::Value),
    (None, "data-binary", Takes::Value),
    (None, "data-urlencode", Takes::Value),
    (None, "json", Takes::Value),
    (Some('F'), "form", Takes::Value),
    (None, "form-string", Takes::Value),
    (Some('u'), "user", Takes::Value),
    (Some('A'), "user-agent", Takes::Value),
    (Some('e'), "referer", Takes::Value),
    (Some('b'), "cookie", Takes::Value),
    (Some('x'), "proxy", Takes::Value),
    (Some('m'), "max-time", Takes::Value),
    (Some('E'), "cert", Takes::Value),
    (None, "key", Takes::Value),
    (None, "cacert", Takes::Value),
    (None, "url", Takes::Value),
    (None, "oauth2-bearer", Takes::Value),
    (None, "max-redirs", Takes::Value),
    (None, "resolve", Takes::Value),
    (None, "connect-to", Takes::Value),
    (None, "unix-socket", Takes::Value),
    (None, "interface", Takes::Value),
    (None, "aws-sigv4", Takes::Value),
    (None, "url-query", Takes::Value),
    (Some('T'), "upload-file", Takes::Value),
    (Some('r'), "range", Takes::Value),
    (Some('k'), "insecure", Takes::Nothing),
    (Some('L'), "location", Takes::Nothing),
    (Some('G'), "get", Takes::Nothing),
    (Some('I'), "head", Takes::Nothing),
    (None, "digest", Takes::Nothing),
    (None, "http2", Takes::Quiet),
    (None, "http1.1", Takes::Nothing),
    (None, "basic", Takes::Quiet),
    (Some('s'), "silent", Takes::Quiet),
    (Some('S'), "show-error", Takes::Quiet),
    (Some('i'), "include", Takes::Quiet),
    (Some('v'), "verbose", Takes::Quiet),
    (Some('f'), "fail", Takes::Quiet),
    (None, "fail-with-body", Takes::Quiet),
    (None, "compressed", Takes::Quiet),
    (Some('N'), "no-buffer", Takes::Quiet),
    (Some('#'), "progress-bar", Takes::Quiet),
    (None, "no-progress-meter", Takes::Quiet),
    (Some('O'), "remote-name", Takes::Quiet),
    (Some('g'), "globoff", Takes::Quiet),
    (None, "path-as-is", Takes::Quiet),
    (Some('4'), "ipv4", Takes::Quiet),
    (Some('6'), "ipv6", Takes::Quiet),
    (Some('o'), "output", Takes::Ignored),
    (Some('w'), "write-out", Takes::Ignored),
    (Some('D'), "dump-header", Takes::Ignored),
    (Some('c'), "cookie-jar", Takes::Ignored),
    (None, "retry", Takes::Ignored),
    (None, "retry-delay", Takes::Ignored),
    (None, "connect-timeout", Takes::Ignored),
    (None, "limit-rate", Takes::Ignored),
    (None, "stderr", Takes::Ignored),
];

/// One flow with a step for each command.
///
/// # Errors
/// There is no command, or one of them is broken; the text says which.
pub(crate) fn read(source: &str, name: &str) -> Result<Vec<Draft>, String> {
    let mut draft = Draft { name: name.to_owned(), ..Draft::default() };
    for words in shell::commands(source)? {
        // `$ curl …`, `sudo curl …`, `curl.exe …`
        let is_curl = |word: &String| matches!(word.rsplit(['/', '\\']).next(), Some("curl" | "curl.exe"));
        let Some(start) = words.iter().position(is_curl).filter(|start| *start <= 2) else { continue };
        let n = draft.steps.len() + 1;
        draft.steps.push(Request::read(&words[start + 1..]).map_err(|reason| format!("command {n}: {reason}"))?);
        for name in words.iter().flat_map(|word| marked(word)) {
            draft.input.insert(name.to_owned(), format!("the variable {name} of the command"));
        }
    }
    if draft.steps.is_empty() {
        return Err("there is no curl command in it".to_owned());
    }
    Ok(vec![draft])
}

/// What the options of one command say.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is one option of the command")]
struct Request {
    method: Option<String>,
    url: Option<String>,
    data: Vec<String>,
    is_json: bool,
    in_query: bool,
    follows: bool,
    digest: bool,
    user: Option<String>,
    step: StepDraft,
}

impl Request {
    fn read(words: &[String]) -> Result<StepDraft, String> {
        let mut request = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let mut value = |option: &str| rest.next().ok_or_else(|| format!("`{option}` has no value"));
            if let Some(long) = word.strip_prefix("--") {
                let (name, attached) =
                    long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value.to_owned())));
                match OPTIONS.iter().find(|(_, known, _)| *known == name) {
                    None => request.step.notes.push(format!("left out: the option --{name}")),
                    Some((_, _, Takes::Quiet)) => {}
                    Some((_, _, Takes::Nothing)) => request.set(name, ""),
                    Some((_, _, takes)) => {
                        let value = attached.map_or_else(|| value(word).cloned(), Ok)?;
                        if *takes == Takes::Value {
                            request.set(name, &value);
                        }
                    }
                }
            } else if word.len() > 1 && word.starts_with('-') {
                let mut letters = word[1..].char_indices();
                while let Some((at, letter)) = letters.next() {
                    match OPTIONS.iter().find(|(short, ..)| *short == Some(letter)) {
                        None => request.step.notes.push(format!("left out: the option -{letter}")),
                        Some((_, _, Takes::Quiet)) => {}
                        Some((_, name, Takes::Nothing)) => request.set(name, ""),
                        Some((_, name, takes)) => {
                            let attached = &word[1 + at + letter.len_utf8()..];
                            let value = if attached.is_empty() { value(word)? } else { attached };
                            if *takes == Takes::Value {
                                request.set(name, value);
                            }
                            break;
                        }
                    }
                }
            } else {
                request.url.get_or_insert_with(|| word.clone());
            }
        }
        request.finish()
    }

    fn set(&mut self, name: &str, value: &str) {
        let mut config = |key: &str, value: Json| drop(self.step.config.insert(key.to_owned(), value));
        match name {
            "request" => self.method = Some(value.to_owned()),
            "url" => self.url = Some(value.to_owned()),
            "header" => self.header(value),
            "data" | "data-ascii" | "data-binary" | "json" if value.starts_with('@') => {
                self.step.notes.push(format!("left out: the body from the file {}", &value[1..]));
            }
            "data" | "data-ascii" => self.data.push(value.replace(['\r', '\n'], "")),
            "data-raw" | "data-binary" => self.data.push(value.to_owned()),
            "data-urlencode" => self.data.push(encoded(value)),
            "json" => {
                self.is_json = true;
                self.data.push(value.to_owned());
            }
            "form" | "form-string" => self.form(value, name == "form"),
            "user" => self.user = Some(value.to_owned()),
            "oauth2-bearer" => config("auth", json!({ "bearer": text(value) })),
            "digest" => self.digest = true,
            "insecure" => config("verify_tls", json!(false)),
            "location" => self.follows = true,
            "get" => self.in_query = true,
            "head" => self.method = Some("HEAD".to_owned()),
            "user-agent" => self.step.header("User-Agent", value),
            "referer" => self.step.header("Referer", value),
            "range" => self.step.header("Range", &format!("bytes={value}")),
            "cookie" if value.contains('=') => {
                for (name, value) in value.split(';').filter_map(|pair| pair.trim().split_once('=')) {
                    self.step.add("cookies", name, text(value));
                }
            }
            "proxy" => config("proxy", text(value)),
            "max-time" if value.parse::<f64>().is_ok_and(|limit| limit > 0.0) => {
                config("timeout", json!(format!("{value}s")));
            }
            "cert" => config("client_cert", text(value)),
            "key" => config("client_key", text(value)),
            "cacert" => config("ca_cert", text(value)),
            "http1.1" => config("http_version", json!("1.1")),
            "max-redirs" => {
                if let Ok(most) = value.parse::<u32>() {
                    config("max_redirects", json!(most.min(100)));
                }
            }
            name => self.step.notes.push(format!("left out: --{name} {value}").replace([OPEN, super::CLOSE], "")),
        }
    }

    fn header(&mut self, value: &str) {
        match value.split_once(':') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("cookie") => self.set("cookie", value.trim()),
            Some((name, value)) if !name.trim().is_empty() => self.step.header(name.trim(), value.trim()),
            _ => self.step.notes.push(format!("left out: the header {value}")),
        }
    }

    fn form(&mut self, value: &str, files: bool) {
        let Some((name, value)) = value.split_once('=') else {
            return self.step.notes.push(format!("left out: the part {value}"));
        };
        let part = match value.strip_prefix('@').filter(|_| files) {
            None => text(value),
            Some(file) => {
                let (file, kind) = file.split_once(";type=").map_or((file, None), |(file, kind)| (file, Some(kind)));
                let mut part = Map::new();
                part.insert("file".to_owned(), text(file));
                part.extend(kind.map(|kind| ("content_type".to_owned(), text(kind))));
                Json::Object(part)
            }
        };
        if self.step.config.get("multipart").is_some_and(|parts| parts.get(literal(name)).is_some()) {
            return self.step.notes.push(format!("left out: a second part with the name {name}"));
        }
        self.step.add("multipart", name, part);
    }

    fn finish(mut self) -> Result<StepDraft, String> {
        let url = self.url.ok_or("it has no URL")?;
        let url = if url.contains("://") || url.starts_with(OPEN) { url } else { format!("http://{url}") };
        let has_body = !self.data.is_empty() || self.step.config.contains_key("multipart");
        let method = match self.method {
            Some(method) => method.to_ascii_uppercase(),
            None if has_body && !self.in_query => "POST".to_owned(),
            None => "GET".to_owned(),
        };
        if let Some(user) = &self.user {
            let (username, password) = user.split_once(':').unwrap_or((user, ""));
            let kind = if self.digest { "digest" } else { "basic" };
            let auth = json!({ kind: { "username": literal(username), "password": literal(password) } });
            self.step.config.insert("auth".to_owned(), auth);
        }
        let mut step = StepDraft { name: format!("{method} {}", path_of(&url)), ..StepDraft::default() };
        step.config.insert("method".to_owned(), text(&method));
        step.config.insert("url".to_owned(), text(&url));
        step.config.insert("follow_redirects".to_owned(), json!(self.follows));
        step.config.append(&mut self.step.config);
        step.notes = self.step.notes;
        let data = self.data.join(if self.is_json { "" } else { "&" });
        if self.in_query && !data.is_empty() {
            step.config.insert("params".to_owned(), text(&data));
        } else if !data.is_empty() {
            let usual = if self.is_json { "application/json" } else { "application/x-www-form-urlencoded" };
            let own = step.header_value("content-type").unwrap_or(usual).to_owned();
            if self.is_json {
                step.header("Accept", "application/json");
            }
            step.body(&own, &data);
        }
        step.assert.push("status < 400".to_owned());
        Ok(step)
    }
}

/// The path of a URL, for people.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    rest.find('/').map_or("/", |at| &rest[at..])
}

/// What `--data-urlencode` sends of `content`, `=content` or `name=content`. The value of a variable is sent as it is.
fn encoded(value: &str) -> String {
    let (name, content) = value.split_once('=').unwrap_or(("", value));
    let mut encoded = if name.is_empty() { String::new() } else { format!("{name}=") };
    for letter in content.chars() {
        if letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '~' | OPEN | super::CLOSE) {
            encoded.push(letter);
            continue;
        }
        for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
