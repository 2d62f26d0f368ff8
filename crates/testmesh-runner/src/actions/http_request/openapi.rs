//! `matches_openapi`: holds an answer against the operation of an OpenAPI document (3.0 or 3.1) that it belongs to.

mod document;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use parking_lot::Mutex;
use serde_json::Value as Json;
use url::Url;

use self::document::{Document, Operation};
use super::Answer;
use super::payload::file_error;
use crate::action::ActionError;
use crate::engine::{ActionContext, Resolved};
use crate::record::{AssertionRecord, ErrorKind};
use crate::value::Value;

/// Bytes of a document.
const LIMIT: u64 = 8 << 20;

/// What an answer is held against.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    file: String,
    document: Arc<Document>,
    /// The operation by its id; none: by method and path.
    operation: Option<String>,
}

/// The documents that a run has read.
#[derive(Default)]
struct Documents(Mutex<HashMap<String, Arc<Document>>>);

impl Expected {
    /// Reads the document that the step names.
    pub(super) async fn read(cx: &ActionContext<'_>, config: &Resolved) -> Result<Option<Arc<Self>>, ActionError> {
        let (file, operation) = match config.value("matches_openapi") {
            None | Some(Value::Null) => return Ok(None),
            Some(map) if map.is_map() => {
                let section = config.section("matches_openapi")?.unwrap_or_default();
                (section.required_text("file")?, section.text("operation")?)
            }
            Some(_) => (config.required_text("matches_openapi")?, None),
        };
        if config.boolean("stream")?.unwrap_or(false) {
            return Err(refuse(&file, "a stream of events is not held against a document: leave out `stream`"));
        }
        let documents = cx.resource(Documents::default);
        let known = documents.0.lock().get(&*file).cloned();
        let document = if let Some(known) = known {
            known
        } else {
            let text = cx.files().read(&file, LIMIT).await.map_err(|error| file_error(&error))?;
            let read = Arc::new(Document::parse(&text).map_err(|reason| refuse(&file, &reason))?);
            documents.0.lock().insert(file.to_string(), Arc::clone(&read));
            read
        };
        let operation = operation.map(|operation| operation.to_string());
        Ok(Some(Arc::new(Self { file: file.to_string(), document, operation })))
    }

    /// The assertion that the answer came to.
    pub(super) fn check(&self, method: &Method, answer: &Answer, line: u32) -> Result<AssertionRecord, ActionError> {
        let asked = Asked { method, url: &answer.url };
        let response = &answer.response;
        let came = Answered { status: response.status.as_u16(), headers: &response.headers, body: &response.body };
        let (shown, faults) = self.faults(&asked, &came).map_err(|reason| refuse(&self.file, &reason))?;
        let message = (!faults.is_empty())
            .then(|| format!("the answer does not match {shown} of `{}`: {}", self.file, faults.join("; ")));
        Ok(AssertionRecord {
            expression: format!("matches_openapi \"{}\"", self.file).into(),
            passed: faults.is_empty(),
            actual: None,
            expected: None,
            message,
            line,
        })
    }

    /// What the operation is called, and what is wrong with the answer. `Err` is a mistake of the document.
    fn faults(&self, asked: &Asked<'_>, answer: &Answered<'_>) -> Result<(String, Vec<String>), String> {
        let found = match &self.operation {
            Some(id) => self.document.by_id(id)?.ok_or_else(|| format!("it has no operation `{id}`")),
            None => self.document.find(asked.method, asked.url)?,
        };
        let operation = match found {
            Ok(operation) => operation,
            Err(missing) => return Ok(("any operation".to_owned(), vec![missing])),
        };
        let faults = self.of_response(&operation, asked, answer)?;
        Ok((operation.shown, faults))
    }

    fn of_response(
        &self,
        operation: &Operation,
        asked: &Asked<'_>,
        answer: &Answered<'_>,
    ) -> Result<Vec<String>, String> {
        let Some(response) = self.document.response(operation, answer.status)? else {
            let there = operation.statuses(&self.document).join(", ");
            return Ok(vec![format!(
                "status {} is none of {there} (`{}/responses`)",
                answer.status, operation.pointer
            )]);
        };
        let mut faults = Vec::new();
        for (name, pointer) in self.document.headers(&response)? {
            let header = self.document.at(&pointer);
            let values: Vec<String> = answer
                .headers
                .get_all(&name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect();
            if values.is_empty() {
                if header["required"] == true {
                    faults.push(format!("header `{name}` is missing (`{pointer}/required`)"));
                }
                continue;
            }
            if header.get("schema").is_some() {
                let schema = format!("{pointer}/schema");
                let value = self.document.coerced(&schema, &values.join(","))?;
                self.hold(&format!("header `{name}`"), &schema, &value, &mut faults)?;
            }
        }
        // The answer to HEAD has none.
        if asked.method != Method::HEAD {
            self.of_body(&response, answer, &mut faults)?;
        }
        Ok(faults)
    }

    fn of_body(&self, response: &str, answer: &Answered<'_>, faults: &mut Vec<String>) -> Result<(), String> {
        let content = self.document.at(response).get("content").and_then(Json::as_object);
        // Without `content` the document says nothing about a body.
        let Some(content) = content else { return Ok(()) };
        if content.is_empty() {
            if !answer.body.is_empty() {
                let n_bytes = answer.body.len();
                faults.push(format!("a body of {n_bytes} bytes, where there is none (`{response}/content`)"));
            }
            return Ok(());
        }
        let declared =
            answer.headers.get(http::header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let essence =
            declared.as_deref().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let Some(media) = document::media_type(content, &essence) else {
            let there: Vec<&str> = content.keys().map(String::as_str).collect();
            let found = if essence.is_empty() { "none" } else { essence.as_str() };
            faults.push(format!("content type `{found}` is none of {} (`{response}/content`)", there.join(", ")));
            return Ok(());
        };
        let pointer = format!("{response}/content/{}/schema", document::escaped(media));
        if content[media].get("schema").is_none() {
            return Ok(());
        }
        if essence.ends_with("json") {
            match serde_json::from_slice(answer.body) {
                Ok(value) => self.hold("body", &pointer, &value, faults)?,
                Err(error) => faults.push(format!("the body is not JSON: {error} (`{pointer}`)")),
            }
        } else if let (true, Ok(text)) = (self.document.is_text(&pointer), std::str::from_utf8(answer.body)) {
            self.hold("body", &pointer, &Json::from(text), faults)?;
        }
        Ok(())
    }

    fn hold(&self, what: &str, pointer: &str, value: &Json, faults: &mut Vec<String>) -> Result<(), String> {
        let found = self.document.faults(pointer, value)?;
        let told =
            found.iter().map(|fault| format!("{what} `{}`: {} (`{}`)", fault.instance, fault.message, fault.schema));
        faults.extend(told);
        Ok(())
    }
}

/// What was asked.
struct Asked<'a> {
    method: &'a Method,
    url: &'a Url,
}

/// What came.
struct Answered<'a> {
    status: u16,
    headers: &'a HeaderMap,
    body: &'a Bytes,
}

fn refuse(file: &str, reason: &str) -> ActionError {
    ActionError::new(ErrorKind::Config, format!("`matches_openapi` `{file}`: {reason}"))
}
