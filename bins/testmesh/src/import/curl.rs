//! Commands of curl, as people paste them: one flow with a step for each request.

mod options;

use std::fmt::Write as _;
use std::path::Path;

use indexmap::IndexMap;
use serde_json::{Value as Json, json};

use self::options::Takes;
use super::words::{reference, references, refers, unmarked};
use super::{Draft, LARGEST_BODY, StepDraft, origin, shell};

/// One flow with a step for each request. Files that commands send are read in `folder`.
///
/// # Errors
/// There is no command, or one of them is broken; the text says which.
pub(crate) fn read(source: &str, name: &str, folder: &Path) -> Result<Vec<Draft>, String> {
    let mut draft = Draft { name: name.to_owned(), ..Draft::default() };
    for command in shell::commands(source)? {
        // `$ curl …`, `sudo curl …`, `curl.exe …`
        let is_curl = |word: &String| matches!(word.rsplit(['/', '\\']).next(), Some("curl" | "curl.exe"));
        let start = command.words.iter().position(is_curl).filter(|start| *start <= 2);
        let Some(start) = start else { continue };
        let failed = |reason: String| format!("line {}: {reason}", command.line);
        // `--next` begins a request with options of its own.
        for words in command.words[start + 1..].split(|word| word == "--next" || word == "-:") {
            draft.steps.extend(Request::read(words, folder, command.line).map_err(failed)?);
        }
    }
    if draft.steps.is_empty() {
        return Err("there is no curl command in it".to_owned());
    }
    variables(&mut draft);
    origin::share(&mut draft);
    Ok(vec![draft])
}

/// Shell variables become inputs, or secrets when they are called like one.
fn variables(draft: &mut Draft) {
    let Draft { steps, input, .. } = draft;
    for step in steps {
        let mut config = Json::Object(std::mem::take(&mut step.config));
        rename_secrets(&mut config);
        super::secrets::texts(&config, &mut |text| {
            for name in references(text).filter(|name| !name.starts_with("secrets.")) {
                input.entry(name.to_owned()).or_insert_with(|| format!("the shell's variable {name}"));
            }
        });
        if let Json::Object(config) = config {
            step.config = config;
        }
    }
}

fn rename_secrets(value: &mut Json) {
    match value {
        Json::String(text) if refers(text) => {
            let names: Vec<String> = references(text)
                .filter(|name| !name.starts_with("secrets.") && super::secrets::is_secret(name))
                .map(str::to_owned)
                .collect();
            for name in names {
                *text = text.replace(&reference(&name), &reference(&format!("secrets.{name}")));
            }
        }
        Json::Array(items) => items.iter_mut().for_each(rename_secrets),
        Json::Object(map) => map.values_mut().for_each(rename_secrets),
        _ => {}
    }
}

/// What the options of one request say.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is one option of the command")]
struct Request<'f> {
    folder: Option<&'f Path>,
    method: Option<String>,
    urls: Vec<String>,
    data: Vec<String>,
    query: Vec<String>,
    is_json: bool,
    in_query: bool,
    uploads: bool,
    follows: bool,
    digest: bool,
    globs: bool,
    user: Option<String>,
    step: StepDraft,
}

impl<'f> Request<'f> {
    fn read(words: &[String], folder: &'f Path, line: usize) -> Result<Vec<StepDraft>, String> {
        let mut request = Self { folder: Some(folder), globs: true, ..Self::default() };
        request.step.place = format!("line {line}");
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if word == "--" {
                request.urls.extend(rest.by_ref().cloned());
            } else if let Some(name) = word.strip_prefix("--") {
                request.long(name, &mut rest)?;
            } else if word.len() > 1 && word.starts_with('-') {
                request.short(&word[1..], &mut rest)?;
            } else {
                request.urls.push(word.clone());
            }
        }
        request.finish()
    }

    fn long<'w>(&mut self, word: &str, rest: &mut impl Iterator<Item = &'w String>) -> Result<(), String> {
        // curl takes no `--name=value`, but people write it.
        let (name, attached) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        match options::long(name) {
            None => self.leave(format!("the option --{name}, which is not known")),
            Some(Takes::Nothing) => self.set(name, ""),
            Some(Takes::Quiet) => {}
            Some(Takes::Left) => self.leave(format!("--{name}")),
            Some(takes) => {
                let value = attached.or_else(|| rest.next().map(String::as_str));
                let value = value.ok_or_else(|| format!("`--{name}` has no value"))?;
                self.take(name, takes, value);
            }
        }
        Ok(())
    }

    fn short<'w>(&mut self, letters: &str, rest: &mut impl Iterator<Item = &'w String>) -> Result<(), String> {
        for (at, letter) in letters.char_indices() {
            match options::short(letter) {
                None => self.leave(format!("the option -{letter}, which is not known")),
                Some((name, Takes::Nothing)) => self.set(name, ""),
                Some((_, Takes::Quiet)) => {}
                Some((name, Takes::Left)) => self.leave(format!("--{name}")),
                Some((name, takes)) => {
                    let attached = Some(&letters[at + letter.len_utf8()..]).filter(|text| !text.is_empty());
                    let value = attached.or_else(|| rest.next().map(String::as_str));
                    self.take(name, takes, value.ok_or_else(|| format!("`-{letter}` has no value"))?);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &str, takes: Takes, value: &str) {
        match takes {
            Takes::Value => self.set(name, value),
            // Their values may be passwords.
            Takes::LeftWithValue
                if ["user", "pass", "header", "sasl", "cert", "variable"].iter().any(|word| name.contains(word)) =>
            {
                self.leave(format!("--{name}"));
            }
            Takes::LeftWithValue => self.leave(format!("--{name} {value}")),
            Takes::Nothing | Takes::Quiet | Takes::QuietWithValue | Takes::Left => {}
        }
    }

    fn leave(&mut self, what: String) {
        self.step.left_out.push(what);
    }

    fn set(&mut self, name: &str, value: &str) {
        match name {
            "request" => self.method = Some(value.to_owned()),
            "url" => self.urls.push(value.to_owned()),
            "header" => self.header(value),
            "data" | "data-ascii" | "data-binary" | "json" | "data-raw" | "data-urlencode" => self.data(name, value),
            "form" | "form-string" => self.form(value, name == "form"),
            "upload-file" => {
                self.uploads = true;
                self.data("data-binary", &format!("@{value}"));
            }
            "user" => self.user = Some(value.to_owned()),
            "oauth2-bearer" => self.step.set("auth", json!({ "bearer": value })),
            "digest" => self.digest = true,
            "insecure" => self.step.set("verify_tls", false),
            "location" | "location-trusted" => self.follows = true,
            "get" => self.in_query = true,
            "head" => self.method = Some("HEAD".to_owned()),
            "globoff" => self.globs = false,
            "user-agent" => self.step.header("User-Agent", value),
            "referer" => self.step.header("Referer", value),
            "range" => self.step.header("Range", &format!("bytes={value}")),
            "cookie" if value.contains('=') => self.step.header("Cookie", value),
            "cookie" => self.leave(format!("the cookies of the file {value}")),
            "proxy" if value.contains("://") && !value.starts_with("http://") => {
                self.leave("--proxy: it takes http proxies".to_owned());
            }
            "proxy" => {
                self.step
                    .set("proxy", if value.contains("://") { value.to_owned() } else { format!("http://{value}") });
            }
            "max-time" if value.parse::<f64>().is_ok_and(|limit| limit > 0.0 && limit < 86_400.0) => {
                self.step.set("timeout", format!("{value}s"));
            }
            "cert" => {
                let (file, password) = value.split_once(':').unwrap_or((value, ""));
                self.step.set("client_cert", file);
                if !password.is_empty() {
                    self.leave("the password of --cert: a key must be without one".to_owned());
                }
            }
            "key" => self.step.set("client_key", value),
            "cacert" => self.step.set("ca_cert", value),
            "http1.1" => self.step.set("http_version", "1.1"),
            "http2-prior-knowledge" => self.step.set("http_version", "2"),
            "max-redirs" if value.parse::<u32>().is_ok() => {
                self.step.set("max_redirects", value.parse::<u32>().unwrap_or(10).min(100));
            }
            "url-query" => {
                let pair = self.encoded(value);
                self.query.push(pair);
            }
            name => self.leave(format!("--{name} {value}")),
        }
    }

    fn header(&mut self, value: &str) {
        match value.split_once(':') {
            _ if value.starts_with('@') => self.leave(format!("the headers of the file {}", &value[1..])),
            // A name without a value takes the header away.
            Some((name, "")) if !name.trim().is_empty() => {
                self.step.config.entry("headers").or_insert_with(|| json!({}))[name.trim()] = Json::Null;
            }
            Some((name, value)) if !name.trim().is_empty() => self.step.header(name.trim(), value.trim()),
            // `Name;` sends it without a value.
            None if value.ends_with(';') => self.step.header(value.trim_end_matches(';'), ""),
            _ => self.leave("a header without a name".to_owned()),
        }
    }

    fn data(&mut self, name: &str, value: &str) {
        self.is_json |= name == "json";
        let made = match (name, value.strip_prefix('@')) {
            ("data-urlencode", _) => Some(self.encoded(value)),
            ("data-raw", _) | (_, None) => Some(value.to_owned()),
            (_, Some(file)) => self.file(file),
        };
        // What is typed or read as plain data comes without its line ends.
        let plain = matches!(name, "data" | "data-ascii") && value.starts_with('@');
        self.data.extend(made.map(|text| if plain { text.replace(['\r', '\n'], "") } else { text }));
    }

    /// The text of a file that is sent; without it, what was left out is noted.
    fn file(&mut self, file: &str) -> Option<String> {
        let bytes = match (file, self.folder) {
            ("-", _) | (_, None) => None,
            (file, _) if refers(file) => None,
            (file, Some(folder)) => std::fs::File::open(folder.join(file)).ok().and_then(|file| {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut std::io::Read::take(file, LARGEST_BODY as u64 + 1), &mut bytes).ok()?;
                Some(bytes)
            }),
        };
        let text = bytes.filter(|bytes| bytes.len() <= LARGEST_BODY).and_then(|bytes| String::from_utf8(bytes).ok());
        if text.is_some() {
            self.step.comments.push(format!("the body is that of {file}"));
        } else {
            self.leave(format!("the body from {file}, which is no text that can be read from here"));
        }
        text.map(|text| unmarked(&text))
    }

    fn form(&mut self, value: &str, files: bool) {
        let Some((name, content)) = value.split_once('=') else {
            return self.leave(format!("the part {value}"));
        };
        let (content, kind, filename) = if files { part(content) } else { (content, None, None) };
        let mut made = match content.chars().next().filter(|_| files) {
            Some('@') => json!({ "file": &content[1..] }),
            Some('<') => match self.file(&content[1..]) {
                Some(text) => json!({ "value": text }),
                None => return,
            },
            _ => json!({ "value": content }),
        };
        for (key, given) in [("content_type", kind), ("filename", filename)] {
            if let Some(given) = given {
                made[key] = json!(given);
            }
        }
        let plain = made.as_object().is_some_and(|part| part.len() == 1 && part.contains_key("value"));
        self.step.add("multipart", name, if plain { made["value"].take() } else { made });
    }

    fn finish(mut self) -> Result<Vec<StepDraft>, String> {
        if self.urls.is_empty() {
            return Err("it has no URL".to_owned());
        }
        let multipart = self.step.config.contains_key("multipart");
        let has_body = !self.data.is_empty() || multipart;
        let method = match self.method.take() {
            Some(method) => method.to_ascii_uppercase(),
            None if self.uploads => "PUT".to_owned(),
            None if has_body && !self.in_query => "POST".to_owned(),
            None => "GET".to_owned(),
        };
        if let Some(user) = self.user.take() {
            let (username, password) = user.split_once(':').unwrap_or((&user, ""));
            let password = if password.is_empty() { reference("secrets.PASSWORD") } else { password.to_owned() };
            let kind = if self.digest { "digest" } else { "basic" };
            self.step.set("auth", json!({ kind: { "username": username, "password": password } }));
        }
        if multipart {
            self.step.drop_header("content-type");
        }
        let data = self.data.join(if self.is_json || self.uploads { "" } else { "&" });
        if self.in_query {
            self.query.extend(Some(data).filter(|data| !data.is_empty()));
        } else if !data.is_empty() {
            if self.is_json && self.step.header_value("accept").is_none() {
                self.step.header("Accept", "application/json");
            }
            self.step.body(
                if self.is_json {
                    "application/json"
                } else if self.uploads {
                    ""
                } else {
                    FORM
                },
                &data,
            );
        }
        let steps = self.urls.iter().map(|url| self.step_of(url, &method));
        Ok(steps.collect())
    }

    fn step_of(&self, url: &str, method: &str) -> StepDraft {
        let mut url = if url.contains("://") || refers(url.get(..3).unwrap_or_default()) {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        if !self.query.is_empty() {
            let (start, fragment) = url.split_once('#').map_or((url.as_str(), None), |(start, end)| (start, Some(end)));
            let separator = if start.contains('?') { '&' } else { '?' };
            let mut made = format!("{start}{separator}{}", self.query.join("&"));
            if let Some(fragment) = fragment {
                let _ = write!(made, "#{fragment}");
            }
            url = made;
        }
        let mut step = StepDraft { name: format!("{method} {}", path_of(&url)), ..StepDraft::default() };
        step.place = format!("{} ({})", self.step.place, step.name);
        step.left_out.clone_from(&self.step.left_out);
        step.comments.clone_from(&self.step.comments);
        if self.globs && url.contains(['{', '[']) && !refers(&url) {
            step.left_out.push("that curl makes several requests of a URL with [ ] or { }".to_owned());
        }
        step.set("method", method);
        step.set("url", url);
        step.set("follow_redirects", self.follows);
        let rest: IndexMap<String, Json> = self.step.config.clone().into_iter().collect();
        step.config.extend(rest);
        step.assert.push("status < 400".to_owned());
        step
    }

    /// What `--data-urlencode` sends of `content`, `=content`, `name=content` or `name@file`. The value of a variable is
    /// sent as it is.
    fn encoded(&mut self, value: &str) -> String {
        let (name, content) = match (value.find('='), value.find('@')) {
            (Some(at), _) => (&value[..at], value[at + 1..].to_owned()),
            (None, Some(at)) => (&value[..at], self.file(&value[at + 1..]).unwrap_or_default()),
            (None, None) => ("", value.to_owned()),
        };
        let mut encoded = if name.is_empty() { String::new() } else { format!("{name}=") };
        let mut rest = content.as_str();
        while let Some(next) = rest.chars().next() {
            // A reference is taken over whole.
            if let Some(inside) = references(rest).next().filter(|_| refers(&rest[..next.len_utf8()])) {
                let whole = reference(inside);
                encoded.push_str(&whole);
                rest = &rest[whole.len()..];
                continue;
            }
            if next.is_ascii_alphanumeric() || matches!(next, '-' | '_' | '.' | '~') {
                encoded.push(next);
            } else {
                for byte in next.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(encoded, "%{byte:02X}");
                }
            }
            rest = &rest[next.len_utf8()..];
        }
        encoded
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

/// `content;type=…;filename=…`
fn part(content: &str) -> (&str, Option<&str>, Option<&str>) {
    let mut pieces = content.split(';');
    let start = pieces.next().unwrap_or_default();
    let (mut kind, mut filename) = (None, None);
    for piece in pieces {
        match piece.trim().split_once('=') {
            Some(("type", given)) => kind = Some(given),
            Some(("filename", given)) => filename = Some(given.trim_matches('"')),
            // It belongs to the content.
            _ => return (content, None, None),
        }
    }
    (start, kind, filename)
}

/// The path of a URL, for people.
pub(super) fn path_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    super::words::shown(rest.find('/').map_or("/", |at| &rest[at..]))
}
