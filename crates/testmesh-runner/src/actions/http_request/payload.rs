//! The request's body: JSON, text, bytes, forms, multipart, GraphQL.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use url::form_urlencoded::Serializer;

use crate::action::ActionError;
use crate::engine::{Resolved, entries, items, mismatch};
use crate::files::Files;
use crate::record::ErrorKind;
use crate::value::Value;

/// Largest file that is sent as a part.
const FILE_LIMIT: u64 = 100 << 20;

/// The keys of `config` that make a body; at most one of them may be there.
const SOURCES: [&str; 5] = ["body", "json", "form", "multipart", "graphql"];

/// What is sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Payload {
    /// As it goes over the wire.
    pub(super) bytes: Bytes,
    /// Sent unless the step sets a content type itself.
    pub(super) content_type: Option<HeaderValue>,
    /// For the record.
    pub(super) shown: Value,
    /// Whether there is a body at all; it may be empty.
    pub(super) present: bool,
}

impl Payload {
    fn new(bytes: impl Into<Bytes>, content_type: Option<&'static str>, shown: Value) -> Self {
        let content_type = content_type.map(HeaderValue::from_static);
        Self { bytes: bytes.into(), content_type, shown, present: true }
    }

    fn json(value: &Value) -> Self {
        Self::new(json_bytes(value), Some("application/json"), value.clone())
    }

    /// Reads the body from the configuration. `headers` are the step's own.
    pub(super) async fn read(config: &Resolved, headers: &HeaderMap, files: &Files) -> Result<Self, ActionError> {
        // Most requests have no body: then this allocates nothing.
        let written: Vec<_> = SOURCES.iter().filter(|key| config.value(key).is_some()).copied().collect();
        match written.as_slice() {
            [] => Ok(Self::default()),
            ["body"] => from_body(config.value("body").unwrap_or(&Value::Null), headers),
            ["json"] => Ok(Self::json(config.value("json").unwrap_or(&Value::Null))),
            ["form"] => from_form(config.value("form").unwrap_or(&Value::Null)),
            ["graphql"] => from_graphql(config),
            ["multipart"] => Box::pin(from_multipart(config.value("multipart").unwrap_or(&Value::Null), files)).await,
            several => Err(refuse(format!("a request has one body, but `{}` are given", several.join("` and `")))),
        }
    }
}

fn refuse(message: impl Into<String>) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}

fn from_body(body: &Value, headers: &HeaderMap) -> Result<Payload, ActionError> {
    match body {
        Value::Text(text) => Ok(Payload::new(text.clone().into_bytes(), None, body.clone())),
        Value::Bytes(bytes) => Ok(Payload::new(bytes.clone(), Some("application/octet-stream"), body.clone())),
        Value::Map(_) | Value::Raw(_) if is_form(headers) => from_form(body),
        _ => Ok(Payload::json(body)),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn from_form(form: &Value) -> Result<Payload, ActionError> {
    let mut serializer = Serializer::new(String::new());
    for (key, value) in pairs(form, "form")? {
        serializer.append_pair(&key, &value);
    }
    Ok(Payload::new(serializer.finish(), Some("application/x-www-form-urlencoded"), form.clone()))
}

/// The pairs of a query or form: a list gives its key once for each item, null gives nothing.
pub(super) fn pairs(value: &Value, what: &str) -> Result<Vec<(ByteString, ByteString)>, ActionError> {
    let map = entries(value).ok_or_else(|| mismatch(what, "a map of names and values", value))?;
    let mut found = Vec::with_capacity(map.len());
    for (key, value) in map {
        match items(&value) {
            Some(items) => found.extend(items.iter().filter_map(|item| Some((key.clone(), item.to_text()?)))),
            None => found.extend(value.to_text().map(|text| (key, text))),
        }
    }
    Ok(found)
}

fn from_graphql(config: &Resolved) -> Result<Payload, ActionError> {
    let section = match config.value("graphql") {
        // The query alone.
        Some(Value::Text(query)) => return Ok(Payload::json(&Value::map([("query", Value::Text(query.clone()))]))),
        _ => config.section("graphql")?.unwrap_or_default(),
    };
    let mut entries = vec![("query", Value::Text(section.required_text("query")?))];
    if let Some(variables) = section.value("variables").filter(|variables| !matches!(variables, Value::Null)) {
        entries.push(("variables", variables.clone()));
    }
    let operation = match section.text("operation_name")? {
        Some(name) => Some(name),
        None => section.text("operationName")?,
    };
    entries.extend(operation.map(|name| ("operationName", Value::Text(name))));
    Ok(Payload::json(&Value::map(entries)))
}

/// The JSON text of a value. A body that came as JSON goes out as the very bytes that came.
pub(super) fn json_bytes(value: &Value) -> Bytes {
    match value {
        Value::Raw(raw) => raw.shared_text().into_bytes(),
        Value::Map(_) | Value::List(_) => value.to_text().map(ByteString::into_bytes).unwrap_or_default(),
        _ => Bytes::from(value.to_json().to_string()),
    }
}

/// One part of a multipart body.
struct Part {
    name: ByteString,
    filename: Option<ByteString>,
    content_type: Option<ByteString>,
    bytes: Bytes,
}

async fn from_multipart(value: &Value, files: &Files) -> Result<Payload, ActionError> {
    let mut parts = Vec::new();
    if let Some(map) = entries(value) {
        for (name, value) in map {
            for item in items(&value).unwrap_or_else(|| vec![value]) {
                parts.push(part(&name, &item, files).await?);
            }
        }
    } else if let Some(list) = items(value) {
        for item in list {
            let name = item.get("name").and_then(|name| name.to_text());
            let name = name.ok_or_else(|| refuse("each part of `multipart` needs a `name`"))?;
            parts.push(part(&name, &item, files).await?);
        }
    } else {
        return Err(mismatch("multipart", "a map or a list of parts", value));
    }
    Ok(encode_multipart(&parts, &format!("testmesh-{:032x}", rand::random::<u128>())))
}

async fn part(name: &ByteString, value: &Value, files: &Files) -> Result<Part, ActionError> {
    let Some(map) = entries(value) else { return Ok(plain_part(name, value)) };
    let text_of = |key: &str| map.get(key).and_then(Value::to_text);
    let path = text_of("file").or_else(|| text_of("path"));
    let content_type = text_of("content_type");
    let (bytes, filename, guessed) = if let Some(path) = path {
        let contents = files.read(&path, FILE_LIMIT).await.map_err(|error| file_error(&error))?;
        let filename = path.rsplit(['/', '\\']).next().map(ByteString::from);
        let guessed = mime_guess::from_path(&*path).first_or_octet_stream().essence_str().into();
        (contents, text_of("filename").or(filename), Some(guessed))
    } else {
        let Some(value) = map.get("value").or_else(|| map.get("text")).or_else(|| map.get("content")) else {
            return Err(refuse(format!("the part `{name}` of `multipart` needs a `value` or a `file`")));
        };
        let plain = plain_part(name, value);
        (plain.bytes, text_of("filename"), plain.content_type)
    };
    let content_type = content_type.or(guessed);
    if let Some(text) = &content_type
        && HeaderValue::from_str(text).is_err()
    {
        return Err(refuse(format!("the part `{name}` of `multipart` has a `content_type` that cannot be sent")));
    }
    Ok(Part { name: name.clone(), filename, content_type, bytes })
}

fn plain_part(name: &ByteString, value: &Value) -> Part {
    let (bytes, content_type) = match value {
        Value::Bytes(bytes) => (bytes.clone(), Some(ByteString::from_static("application/octet-stream"))),
        Value::Map(_) | Value::List(_) | Value::Raw(_) => {
            (json_bytes(value), Some(ByteString::from_static("application/json")))
        }
        _ => (value.to_text().map(ByteString::into_bytes).unwrap_or_default(), None),
    };
    Part { name: name.clone(), filename: None, content_type, bytes }
}

/// Why a file cannot be read, as the step's error.
pub(in crate::actions) fn file_error(error: &crate::files::FileError) -> ActionError {
    let kind = match error {
        crate::files::FileError::Disabled { .. } | crate::files::FileError::Outside { .. } => ErrorKind::Policy,
        crate::files::FileError::TooLarge { .. } | crate::files::FileError::Io { .. } => ErrorKind::Config,
    };
    ActionError::new(kind, super::chain(error))
}

/// A part as the record shows it: text in full, files and bytes by their size.
fn describe_part(part: &Part) -> Value {
    let mut shown = vec![("name", Value::Text(part.name.clone()))];
    shown.extend(part.filename.clone().map(|text| ("filename", Value::Text(text))));
    shown.extend(part.content_type.clone().map(|text| ("content_type", Value::Text(text))));
    shown.push(match ByteString::try_from(part.bytes.clone()) {
        Ok(text) if part.filename.is_none() => ("value", Value::Text(text)),
        _ => ("size", Value::Int(i64::try_from(part.bytes.len()).unwrap_or(i64::MAX))),
    });
    Value::map(shown)
}

fn encode_multipart(parts: &[Part], boundary: &str) -> Payload {
    let size: usize = parts.iter().map(|part| part.bytes.len() + 256).sum();
    let mut body = BytesMut::with_capacity(size);
    for part in parts {
        body.put_slice(
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", quoted(&part.name)).as_bytes(),
        );
        if let Some(filename) = &part.filename {
            body.put_slice(format!("; filename=\"{}\"", quoted(filename)).as_bytes());
        }
        if let Some(content_type) = &part.content_type {
            body.put_slice(format!("\r\nContent-Type: {content_type}").as_bytes());
        }
        body.put_slice(b"\r\n\r\n");
        body.put_slice(&part.bytes);
        body.put_slice(b"\r\n");
    }
    body.put_slice(format!("--{boundary}--\r\n").as_bytes());
    let content_type = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"))
        .expect("the boundary is hexadecimal");
    let shown = Value::list(parts.iter().map(describe_part).collect());
    Payload { bytes: body.freeze(), content_type: Some(content_type), shown, present: true }
}

/// A name within quotes, as browsers write it (WHATWG HTML, multipart/form-data encoding).
fn quoted(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}
