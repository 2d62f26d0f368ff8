//! Keeps secrets out of everything that leaves a run: their text, and the forms it takes on the way.
//!
//! A secret is looked for as it is, as it stands inside JSON text, URL-encoded in the usual ways, and in base64, alone
//! or in the middle of a longer text (`user:secret`). A run without secrets pays nothing.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use memchr::memmem;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::event::RunEventKind;
use crate::record::{AssertionRecord, AttemptRecord, Execution, LogRecord, StepError, StepRecord};

/// What stands where a secret was.
const MASK: &str = "***";
/// Shorter secrets would mask half of every text.
const SHORTEST: usize = 3;
/// A part of a base64 text must be this long to be taken for a secret's.
const SHORTEST_INNER: usize = 6;
/// What `encodeURIComponent` leaves as it is.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'!')
    .remove(b'*')
    .remove(b'(')
    .remove(b')');
/// What RFC 3986 calls unreserved.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What a URL's parser encodes in a fragment, a query, a path and a user's name, when the writer has not (the percent-encode
/// sets of the URL standard).
const IN_FRAGMENT: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');
const IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\'');
const IN_PATH: &AsciiSet = &IN_FRAGMENT.add(b'#').add(b'?').add(b'{').add(b'}');
const IN_USERINFO: &AsciiSet =
    &IN_PATH.add(b'/').add(b':').add(b';').add(b'=').add(b'@').add(b'[').add(b'\\').add(b']').add(b'^').add(b'|');

/// Replaces secrets by `***`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Masker {
    needles: Vec<String>,
}

impl Masker {
    /// A masker of `secrets`; those shorter than 3 characters are left out (they would mask everything).
    pub(crate) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut needles = Vec::new();
        for secret in secrets {
            if secret.chars().count() >= SHORTEST {
                forms(&secret, &mut needles);
            }
        }
        // Longest first: a secret that contains another is replaced whole.
        needles.sort_by(|left, right| right.len().cmp(&left.len()).then_with(|| left.cmp(right)));
        needles.dedup();
        Self { needles }
    }

    /// Whether there is nothing to mask.
    pub(crate) fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// Length in bytes of the longest form of a secret.
    pub(crate) fn longest(&self) -> usize {
        self.needles.first().map_or(0, String::len)
    }

    /// `text` with every secret replaced.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut masked = Cow::Borrowed(text);
        for needle in &self.needles {
            if memmem::find(masked.as_bytes(), needle.as_bytes()).is_some() {
                masked = Cow::Owned(masked.replace(needle.as_str(), MASK));
            }
        }
        masked
    }

    /// Masks everything an event says.
    pub(crate) fn event(&self, event: &mut RunEventKind) {
        if self.is_empty() {
            return;
        }
        match event {
            RunEventKind::Queued(execution) => self.execution(execution),
            RunEventKind::StepStarted(start) => self.string(&mut start.name),
            RunEventKind::StepRetrying { attempt, .. } => self.attempt(attempt),
            RunEventKind::StepFinished(step) | RunEventKind::StepSkipped(step) => self.step(Arc::make_mut(step)),
            RunEventKind::Log { line, .. } => self.line(line),
            RunEventKind::Finished { error: Some(error), .. } => self.string(&mut error.message),
            RunEventKind::Started { .. } | RunEventKind::Finished { error: None, .. } => {}
        }
    }

    fn execution(&self, execution: &mut Execution) {
        for value in execution.variables.values_mut() {
            self.json(value);
        }
        if let Some(definition) = &mut execution.definition {
            self.string(definition);
        }
        if let Some(error) = &mut execution.error {
            self.string(&mut error.message);
        }
        for step in execution.steps.iter_mut().flatten() {
            self.step(Arc::make_mut(step));
        }
    }

    fn step(&self, step: &mut StepRecord) {
        self.string(&mut step.name);
        self.optional_string(&mut step.skip_reason);
        for attempt in &mut step.attempts {
            self.attempt(attempt);
        }
        for message in [&mut step.request, &mut step.response].into_iter().flatten() {
            let mut json = (**message).clone();
            self.json(&mut json);
            *message = json.into();
        }
        for assertion in &mut step.assertions {
            self.assertion(assertion);
        }
        for value in step.outputs.values_mut() {
            self.json(value);
        }
        for line in &mut step.logs {
            self.line(line);
        }
        self.error(&mut step.error);
    }

    fn attempt(&self, attempt: &mut AttemptRecord) {
        self.optional_json(&mut attempt.response);
        for assertion in &mut attempt.assertions {
            self.assertion(assertion);
        }
        self.error(&mut attempt.error);
    }

    fn assertion(&self, assertion: &mut AssertionRecord) {
        if let Cow::Owned(masked) = self.text(&assertion.expression) {
            assertion.expression = masked.into();
        }
        self.optional_json(&mut assertion.actual);
        self.optional_json(&mut assertion.expected);
        self.optional_string(&mut assertion.message);
    }

    fn line(&self, line: &mut LogRecord) {
        self.string(&mut line.message);
        self.optional_json(&mut line.data);
    }

    fn error(&self, error: &mut Option<StepError>) {
        if let Some(error) = error {
            self.string(&mut error.message);
        }
    }

    fn optional_string(&self, text: &mut Option<String>) {
        if let Some(text) = text {
            self.string(text);
        }
    }

    fn string(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.text(text) {
            *text = masked;
        }
    }

    fn optional_json(&self, json: &mut Option<serde_json::Value>) {
        if let Some(json) = json {
            self.json(json);
        }
    }

    /// Masks every text and key in `json`.
    pub(crate) fn json(&self, json: &mut serde_json::Value) {
        match json {
            serde_json::Value::String(text) => self.string(text),
            serde_json::Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            serde_json::Value::Object(map) => {
                if map.keys().any(|key| matches!(self.text(key), Cow::Owned(_))) {
                    let entries = std::mem::take(map);
                    map.extend(entries.into_iter().map(|(key, value)| (self.text(&key).into_owned(), value)));
                }
                map.values_mut().for_each(|value| self.json(value));
            }
            // A secret that is a number shows as one, too.
            serde_json::Value::Number(number) => {
                if let Cow::Owned(masked) = self.text(&number.to_string()) {
                    *json = serde_json::Value::String(masked);
                }
            }
            serde_json::Value::Null | serde_json::Value::Bool(_) => {}
        }
    }
}

/// Every form in which a secret may show.
fn forms(secret: &str, forms: &mut Vec<String>) {
    forms.push(secret.to_owned());
    let quoted = serde_json::Value::from(secret).to_string();
    forms.push(quoted[1..quoted.len() - 1].to_owned());
    for set in [NON_ALPHANUMERIC, COMPONENT, UNRESERVED] {
        let encoded = utf8_percent_encode(secret, set).to_string();
        forms.push(encoded.replace("%20", "+"));
        forms.push(lower_escapes(&encoded));
        forms.push(encoded);
    }
    forms.extend([IN_FRAGMENT, IN_QUERY, IN_PATH, IN_USERINFO].map(|set| utf8_percent_encode(secret, set).to_string()));
    forms.push(STANDARD.encode(secret));
    forms.push(URL_SAFE.encode(secret));
    for offset in 0..3 {
        inner_base64(secret.as_bytes(), offset, forms);
    }
}

/// `%2F` as `%2f`.
fn lower_escapes(encoded: &str) -> String {
    let mut lower = String::with_capacity(encoded.len());
    let mut left = 0;
    for character in encoded.chars() {
        left = if character == '%' { 3 } else { left };
        lower.push(if left > 0 { character.to_ascii_lowercase() } else { character });
        left = if left > 0 { left - 1 } else { 0 };
    }
    lower
}

/// The part of a longer text's base64 that the secret alone decides, when it starts `offset` bytes after a group of three.
fn inner_base64(secret: &[u8], offset: usize, forms: &mut Vec<String>) {
    let mut padded = vec![0; offset];
    padded.extend_from_slice(secret);
    let first = (offset * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    if last < first + SHORTEST_INNER {
        return;
    }
    forms.push(STANDARD_NO_PAD.encode(&padded)[first..last].to_owned());
    forms.push(URL_SAFE_NO_PAD.encode(&padded)[first..last].to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "p@ss/wörd \"7\"";

    fn check(text: &str, expected: &str) {
        let masker = Masker::new([SECRET.to_owned(), "s3cr".to_owned(), "ab".to_owned()]);
        assert_eq!(masker.text(text), expected);
    }

    #[test]
    fn secrets_are_masked_as_text_inside_longer_texts() {
        check("token p@ss/wörd \"7\"!", "token ***!");
        check("nothing here", "nothing here");
        check("ab stays, s3cr goes, s3crs3cr too", "ab stays, *** goes, ****** too");
    }

    #[test]
    fn secrets_are_masked_in_json_text() {
        check(r#"{"password":"p@ss/wörd \"7\""}"#, r#"{"password":"***"}"#);
    }

    #[test]
    fn secrets_are_masked_url_encoded() {
        check("?p=p%40ss%2Fw%C3%B6rd%20%227%22", "?p=***");
        check("?p=p%40ss%2fw%c3%b6rd%20%227%22", "?p=***");
        check("?p=p%40ss%2Fw%C3%B6rd+%227%22", "?p=***");
    }

    #[test]
    fn secrets_are_masked_where_a_url_was_written_with_them_as_they_are() {
        let secret = "s3cr/et+v&lue: <x> `1` {ü}'^|";
        let masker = Masker::new([secret.to_owned()]);
        for url in ["http://localhost/?k=SECRET", "http://localhost/SECRET/x", "http://localhost/#SECRET"] {
            let url = url::Url::parse(&url.replace("SECRET", secret)).unwrap();
            let shown = masker.text(url.as_str()).into_owned();
            assert!(shown.contains(MASK) && !shown.contains("lue"), "{shown}");
        }
        let mut url = url::Url::parse("http://localhost/").unwrap();
        url.set_username(secret).unwrap();
        assert_eq!(masker.text(url.as_str()), "http://***@localhost/");
    }

    #[test]
    fn secrets_are_masked_in_base64_at_every_alignment() {
        for user in ["", "u:", "us:", "use:"] {
            for tail in ["", "x", "yy", "zzz"] {
                let encoded = STANDARD.encode(format!("{user}{SECRET}{tail}"));
                let masker = Masker::new([SECRET.to_owned()]);
                let hidden = masker.text(&encoded);
                assert!(hidden.contains(MASK), "{user} {tail}: {hidden}");
                let core = STANDARD_NO_PAD.encode(SECRET);
                assert!(!hidden.contains(&core[1..core.len() - 2]), "{hidden}");
            }
        }
    }

    #[test]
    fn secrets_are_masked_in_keys_and_nested_values() {
        let masker = Masker::new(["s3cr".to_owned(), "4711".to_owned()]);
        let mut json = serde_json::json!({"k-s3cr": ["x s3cr", 1, 47_111], "plain": null});
        masker.json(&mut json);
        assert_eq!(json, serde_json::json!({"k-***": ["x ***", 1, "***1"], "plain": null}));
    }

    #[test]
    fn a_secret_that_contains_another_is_masked_whole() {
        let masker = Masker::new(["abcd".to_owned(), "abcdefgh".to_owned()]);
        assert_eq!(masker.text("abcdefgh abcd"), "*** ***");
    }
}
