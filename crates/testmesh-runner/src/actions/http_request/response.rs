//! Makes an answer a result: headers, a body read by its content type, times.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use encoding_rs::{Encoding, UTF_8};
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Method, Version};
use testmesh_shared::http::Timings;

use super::plan::{Plan, ReadAs, SHOWN_LATER};
use super::{Answer, Failure};
use crate::action::{ActionResult, Shown};
use crate::record::ErrorKind;
use crate::value::{Entries, Map, Shape, Value};

static RESULT: Shape<12> = Shape::new([
    "status",
    "headers",
    "body",
    "body_text",
    "cookies",
    "duration_ms",
    "timings",
    "url",
    "redirects",
    "size",
    "content_type",
    "http_version",
]);
static RECORD: Shape<7> = Shape::new(["status", "headers", "body", "timings", "size", "wire_size", "http_version"]);
/// What most answers have none of.
static NOTHING: LazyLock<Nothing> =
    LazyLock::new(|| Nothing { list: Value::list(Vec::new()), map: Value::Map(Arc::default()) });
static TIMINGS: Shape<5> = Shape::new(["dns", "connect", "tls", "first_byte", "total"]);

struct Nothing {
    list: Value,
    map: Value,
}

/// The result and the record of an answer; what was asked is noted already.
pub(super) fn result(plan: &Plan, answer: Answer) -> Result<ActionResult, Failure> {
    let Answer { response, url, redirects, cookies, started } = answer;
    let content_type = response.headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let media_type = MediaType::parse(content_type.as_deref());
    let nothing = &*NOTHING;
    let size = to_int(response.body.len());
    let bodiless = plan.method == Method::HEAD || response.body.is_empty();
    let Content { body, text } = if bodiless && plan.read_as != ReadAs::Json {
        Content::empty(plan.read_as, &media_type)
    } else {
        read_content(plan.read_as, &media_type, response.body)?
    };
    let status = Value::Int(i64::from(response.status.as_u16()));
    let headers = headers(&response.headers);
    let timings = timings(&response.timings);
    let redirected = !redirects.is_empty();
    let url = Value::Text(if redirected { plan.display(&url).into() } else { plan.shown_url.clone() });
    let version = Value::Text(ByteString::from_static(match response.version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }));
    let redirects = if redirected { Value::list(redirects) } else { nothing.list.clone() };
    let got = Got {
        message: [
            status.clone(),
            headers.clone(),
            body.clone(),
            timings.clone(),
            Value::Int(size),
            Value::Int(i64::try_from(response.wire_size).unwrap_or(i64::MAX)),
            version.clone(),
        ],
        redirected: redirected.then(|| [url.clone(), redirects.clone()]),
    };
    let result = RESULT.map([
        status,
        headers,
        body.clone(),
        text,
        if cookies.is_empty() { nothing.map.clone() } else { Value::Map(cookies.into_iter().collect::<Map>().into()) },
        Value::Int(i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX)),
        timings,
        url,
        redirects,
        Value::Int(size),
        content_type.as_deref().map_or(Value::Null, |text| Value::Text(usual(text).unwrap_or_else(|| text.into()))),
        version,
    ]);
    let response = if usize::try_from(size).is_ok_and(|size| size <= SHOWN_LATER) {
        Shown::Later(Arc::new(move || got.value()))
    } else {
        Shown::Value(got.value())
    };
    Ok(ActionResult { result, primary: Some(body), request: Shown::Nothing, response })
}

/// What an answer's record is made of.
struct Got {
    message: [Value; 7],
    /// The last URL, and the way to it.
    redirected: Option<[Value; 2]>,
}

impl Got {
    fn value(&self) -> Value {
        let mut record = RECORD.map(self.message.clone());
        if let (Value::Map(map), Some([url, redirects])) = (&mut record, &self.redirected) {
            let entries = &mut Arc::make_mut(map).entries;
            entries.insert(ByteString::from_static("url"), url.clone());
            entries.insert(ByteString::from_static("redirects"), redirects.clone());
        }
        record
    }
}

fn to_int(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// The first value of each header, under its name in small letters; look-ups ignore case.
fn headers(headers: &HeaderMap) -> Value {
    let mut entries = Vec::with_capacity(headers.keys_len());
    for name in headers.keys() {
        let value = headers.get(name).map_or_else(ByteString::default, |value| text_of(value.as_bytes()));
        let name = name.as_str();
        entries.push((usual(name).unwrap_or_else(|| name.into()), Value::Text(value)));
    }
    Value::Map(Map { entries: Entries::of_distinct(entries), ignore_case: true }.into())
}

fn text_of(bytes: &[u8]) -> ByteString {
    match std::str::from_utf8(bytes) {
        Ok(text) => usual(text).unwrap_or_else(|| text.into()),
        Err(_) => String::from_utf8_lossy(bytes).into_owned().into(),
    }
}

/// A text that stands in the head of nearly every answer, without memory of its own.
fn usual(text: &str) -> Option<ByteString> {
    Some(ByteString::from_static(match text {
        "application/json" => "application/json",
        "cache-control" => "cache-control",
        "connection" => "connection",
        "content-length" => "content-length",
        "content-type" => "content-type",
        "date" => "date",
        "server" => "server",
        "transfer-encoding" => "transfer-encoding",
        "vary" => "vary",
        _ => return None,
    }))
}

/// Milliseconds with microseconds behind the point; 0 for what a connection that was there already did not take.
fn timings(timings: &Timings) -> Value {
    let milliseconds = |duration: Option<Duration>| {
        let micros = u32::try_from(duration.unwrap_or_default().as_micros()).unwrap_or(u32::MAX);
        Value::Float(f64::from(micros) / 1_000.0)
    };
    TIMINGS.map([
        milliseconds(timings.dns),
        milliseconds(timings.connect),
        milliseconds(timings.tls),
        milliseconds(Some(timings.first_byte)),
        milliseconds(Some(timings.total)),
    ])
}

/// What `Content-Type` says, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MediaType<'h> {
    /// `application/json`, in small letters; empty when there is none.
    essence: Cow<'h, str>,
    charset: Option<String>,
}

impl<'h> MediaType<'h> {
    fn parse(content_type: Option<&'h str>) -> Self {
        let mut parts = content_type.unwrap_or_default().split(';');
        let written = parts.next().unwrap_or_default().trim();
        let capital = written.bytes().any(|byte| byte.is_ascii_uppercase());
        let essence = if capital { Cow::Owned(written.to_ascii_lowercase()) } else { Cow::Borrowed(written) };
        let charset = parts.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
        });
        Self { essence, charset }
    }

    fn is_json(&self) -> bool {
        matches!(&*self.essence, "application/json" | "text/json") || self.essence.ends_with("+json")
    }

    fn is_text(&self) -> bool {
        self.essence.starts_with("text/") || self.essence.ends_with("xml") || self.essence.ends_with("javascript")
    }
}

struct Content {
    body: Value,
    text: Value,
}

impl Content {
    fn empty(read_as: ReadAs, media_type: &MediaType<'_>) -> Self {
        let body = match read_as {
            ReadAs::Bytes => Value::Bytes(Bytes::new()),
            ReadAs::Auto if media_type.is_json() => Value::Null,
            ReadAs::Auto | ReadAs::Json | ReadAs::Text => Value::Text(ByteString::default()),
        };
        Self { body, text: Value::Text(ByteString::default()) }
    }
}

fn read_content(read_as: ReadAs, media_type: &MediaType<'_>, bytes: Bytes) -> Result<Content, Failure> {
    match read_as {
        ReadAs::Bytes => {
            let text = ByteString::try_from(bytes.clone()).map_or(Value::Null, Value::Text);
            Ok(Content { body: Value::Bytes(bytes), text })
        }
        ReadAs::Text => {
            let text = Value::Text(decode(media_type, &bytes));
            Ok(Content { body: text.clone(), text })
        }
        ReadAs::Json => {
            let text = decode(media_type, &bytes);
            let body = Value::from_json_bytes(text.clone().into_bytes()).map_err(|error| {
                Failure::new(ErrorKind::Protocol, format!("the answer's body is not JSON: {error} (`as: json`)"))
            })?;
            Ok(Content { body, text: Value::Text(text) })
        }
        ReadAs::Auto => Ok(read_by_content_type(media_type, bytes)),
    }
}

fn read_by_content_type(media_type: &MediaType<'_>, bytes: Bytes) -> Content {
    // A server that says nothing about what it sends may well send JSON.
    let untyped_json =
        || media_type.essence.is_empty() && matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['));
    if media_type.is_json() || untyped_json() {
        let text = decode(media_type, &bytes);
        let body = Value::from_json_bytes(text.clone().into_bytes());
        return Content { body: body.unwrap_or_else(|_| Value::Text(text.clone())), text: Value::Text(text) };
    }
    if media_type.is_text() || media_type.charset.is_some() {
        let text = Value::Text(decode(media_type, &bytes));
        return Content { body: text.clone(), text };
    }
    match ByteString::try_from(bytes.clone()) {
        Ok(text) => Content { body: Value::Text(text.clone()), text: Value::Text(text) },
        Err(_) => Content { body: Value::Bytes(bytes), text: Value::Null },
    }
}

/// The body as text: by its byte order mark, by its charset, else as UTF-8. Text that is UTF-8 already shares the
/// body's memory; bytes that fit no character become U+FFFD.
fn decode(media_type: &MediaType<'_>, bytes: &Bytes) -> ByteString {
    let named = media_type.charset.as_deref().and_then(|label| Encoding::for_label(label.as_bytes()));
    let (encoding, marked) = match Encoding::for_bom(bytes) {
        Some((encoding, length)) => (encoding, length),
        None => (named.unwrap_or(UTF_8), 0),
    };
    let bytes = bytes.slice(marked..);
    if encoding == UTF_8
        && let Ok(text) = ByteString::try_from(bytes.clone())
    {
        return text;
    }
    encoding.decode_without_bom_handling(&bytes).0.into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content_type: &str, bytes: &'static [u8]) -> Value {
        let media_type = MediaType::parse(Some(content_type).filter(|text| !text.is_empty()));
        read_by_content_type(&media_type, Bytes::from_static(bytes)).text
    }

    #[test]
    fn text_is_decoded_by_mark_then_charset_then_utf_8() {
        for (content_type, bytes, expect) in [
            ("text/plain", "grün".as_bytes(), "grün"),
            ("text/plain; charset=iso-8859-1", b"gr\xfcn", "grün"),
            ("text/html; Charset=\"windows-1252\"", b"\x80 5", "€ 5"),
            ("text/plain; charset=utf-16le", b"h\0i\0", "hi"),
            ("text/plain; charset=iso-8859-1", b"\xef\xbb\xbfgr\xc3\xbcn", "grün"),
            ("text/plain", b"\xfe\xff\0h\0i", "hi"),
            ("text/plain; charset=shift_jis", b"\x83e", "テ"),
            ("text/plain; charset=nonsense", "grün".as_bytes(), "grün"),
            ("text/plain", b"a\xffb", "a\u{fffd}b"),
            ("application/xml", b"a\xffb", "a\u{fffd}b"),
            ("application/octet-stream", b"plain", "plain"),
        ] {
            assert_eq!(text(content_type, bytes).as_str(), Some(expect), "{content_type} {bytes:?}");
        }
    }

    #[test]
    fn what_is_no_text_stays_bytes() {
        let media_type = MediaType::parse(Some("image/png"));
        let content = read_by_content_type(&media_type, Bytes::from_static(b"\x89PNG\xff"));
        assert!(matches!(content.body, Value::Bytes(_)));
        assert!(matches!(content.text, Value::Null));
    }

    #[test]
    fn text_shares_the_memory_of_the_body() {
        let bytes = Bytes::from(vec![b'x'; 1000]);
        let decoded = decode(&MediaType::parse(Some("text/plain")), &bytes);
        assert_eq!(decoded.as_bytes().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn json_is_known_by_its_content_type() {
        for (content_type, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("text/json", true),
            ("text/plain", false),
            ("application/jsonp", false),
        ] {
            assert_eq!(MediaType::parse(Some(content_type)).is_json(), json, "{content_type}");
        }
    }
}
