//! What a step asks for, read from its configuration once and checked before anything is sent.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use http::Method;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    USER_AGENT,
};
use percent_encoding::percent_decode_str;
use testmesh_shared::http::{ConnectionOptions, HttpVersion, ProxyChoice, shown};
use url::Url;

use super::address::parse_url;
use super::auth::{self, Auth};
use super::openapi::Expected;
use super::payload::{Payload, file_error, pairs};
use super::{Failure, HttpSession, header};
use crate::action::{ActionError, Shown};
use crate::engine::{ActionContext, Resolved};
use crate::files::Files;
use crate::record::ErrorKind;
use crate::value::{Map, Value};

/// Largest body that is read unless the step says otherwise.
const DEFAULT_MAX_BODY: u64 = 10 << 20;
/// For a step with `stream: false`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Redirects that are followed unless the step says otherwise.
const DEFAULT_MAX_REDIRECTS: usize = 10;
/// Certificates and keys are a few kilobytes.
const PEM_LIMIT: u64 = 1 << 20;
/// The record of a message with a larger body is made at once: it keeps less of the body than the message has.
pub(super) const SHOWN_LATER: usize = 64 << 10;
/// Stands for what must not be shown.
const HIDDEN: &str = "***";

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const OUR_NAME: HeaderValue = HeaderValue::from_static(concat!("testmesh/", env!("CARGO_PKG_VERSION")));
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");
const GRAPHQL: HeaderValue = HeaderValue::from_static("application/graphql-response+json, application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const CODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate, br, zstd");
/// What a request has when its step says nothing about headers; the trace it belongs to is put in.
static USUAL: LazyLock<HeaderMap> = LazyLock::new(|| {
    let trace = (TRACEPARENT, HeaderValue::from_static(""));
    [(USER_AGENT, OUR_NAME), (ACCEPT, ANYTHING), (ACCEPT_ENCODING, CODINGS), trace].into_iter().collect()
});

/// How the answer's body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadAs {
    /// JSON by content type, else text, else bytes.
    Auto,
    Json,
    Text,
    Bytes,
}

/// A request and how its answer is treated.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) method: Method,
    pub(super) url: Url,
    /// The URL as it may be shown.
    pub(super) shown_url: ByteString,
    pub(super) headers: Arc<HeaderMap>,
    pub(super) payload: Payload,
    pub(super) auth: Auth,
    /// Headers with credentials: another origin does not get them, and the record does not show them.
    pub(super) secret_headers: Vec<HeaderName>,
    pub(super) connection: ConnectionOptions,
    pub(super) follow_redirects: bool,
    pub(super) max_redirects: usize,
    pub(super) use_jar: bool,
    cookies: Vec<(ByteString, ByteString)>,
    pub(super) max_body: u64,
    pub(super) read_as: ReadAs,
    /// Whether events are taken from an answer that does not end.
    pub(super) stream: bool,
    /// What the answer has to match.
    pub(super) expected: Option<Arc<Expected>>,
    /// For everything together; none: the step's own limit only.
    pub(super) timeout: Option<Duration>,
}

impl Plan {
    pub(super) async fn read(cx: &ActionContext<'_>) -> Result<Self, ActionError> {
        let config = cx.resolve()?;
        let mut url = parse_url("url", &config.required_text("url")?)?;
        add_params(&mut url, &config)?;
        let own_headers = OwnHeaders::read(&config)?;
        let payload = Payload::read(&config, &own_headers.set, cx.files()).await?;
        let mut auth = Auth::read(&config)?;
        if matches!(auth, Auth::None) {
            auth = auth_from_url(&url);
        }
        // Both fail only for URLs without a host, and this one has one.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let (use_jar, cookies) = read_cookies(&config)?;
        // A step that could stream has no limit of the engine's.
        let streams = config.boolean("stream")?;
        let not_streaming = (streams == Some(false)).then_some(DEFAULT_TIMEOUT);
        let max_redirects = config.integer("max_redirects")?.map(|n| usize::try_from(n).unwrap_or(0));
        let mut plan = Self {
            method: read_method(&config, &payload)?,
            url,
            shown_url: ByteString::default(),
            headers: Arc::default(),
            auth,
            secret_headers: Vec::new(),
            connection: read_connection(&config, cx.files()).await?,
            follow_redirects: config.boolean("follow_redirects")?.unwrap_or(true),
            max_redirects: max_redirects.unwrap_or(DEFAULT_MAX_REDIRECTS),
            use_jar,
            cookies,
            max_body: config.size("max_body")?.unwrap_or(DEFAULT_MAX_BODY),
            read_as: read_as(&config)?,
            stream: streams.unwrap_or(false),
            timeout: config.duration("timeout")?.or(not_streaming),
            expected: Expected::read(cx, &config).await?,
            payload,
        };
        plan.headers = Arc::new(own_headers.complete(cx, &plan, config.value("graphql").is_some()));
        plan.apply_static_auth()?;
        plan.shown_url = plan.display(&plan.url).into();
        Ok(plan)
    }

    /// Puts credentials that need no request of their own where they belong.
    fn apply_static_auth(&mut self) -> Result<(), ActionError> {
        match &self.auth {
            Auth::None | Auth::Digest { .. } | Auth::OAuth2(_) => {}
            Auth::Basic { username, password } => {
                let value = auth::basic(username, password);
                self.set_secret(AUTHORIZATION, value);
            }
            Auth::Bearer { token } => {
                let value = auth::sensitive(&format!("Bearer {token}")).ok_or_else(|| {
                    ActionError::new(ErrorKind::Config, "the `bearer` token holds characters that cannot be sent")
                })?;
                self.set_secret(AUTHORIZATION, value);
            }
            Auth::ApiKey { name, value, in_query: true } => {
                self.url.query_pairs_mut().append_pair(name, value);
            }
            Auth::ApiKey { name, value, in_query: false } => {
                let (name, mut value) = header(name, value)?;
                value.set_sensitive(true);
                self.set_secret(name, value);
            }
        }
        Ok(())
    }

    /// Gets a token first, if the step asks for one.
    pub(super) async fn authorize(&mut self, session: &HttpSession) -> Result<(), Failure> {
        let Auth::OAuth2(request) = &self.auth else { return Ok(()) };
        let token = Box::pin(request.token(session, &self.connection)).await?;
        let value = auth::sensitive(&format!("Bearer {token}"))
            .ok_or_else(|| Failure::new(ErrorKind::Protocol, "the token holds characters that cannot be sent"))?;
        self.set_secret(AUTHORIZATION, value);
        Ok(())
    }

    fn set_secret(&mut self, name: HeaderName, value: HeaderValue) {
        self.secret_headers.push(name.clone());
        Arc::make_mut(&mut self.headers).insert(name, value);
    }

    /// The `Cookie` header for a request to `url`. The step's own cookies go to the origin it names alone, and come
    /// before one of the same name in the jar.
    pub(super) fn cookie_header(&self, session: &HttpSession, url: &Url, trusted: bool) -> Option<HeaderValue> {
        let own = if trusted { self.cookies.as_slice() } else { &[] };
        let mut text = String::new();
        let mut push = |name: &str, value: &str| {
            let separator = if text.is_empty() { "" } else { "; " };
            text.extend([separator, name, "=", value]);
        };
        for (name, value) in own {
            push(name, value);
        }
        if self.use_jar {
            let jar = session.cookies.lock();
            for (name, value) in jar.get_request_values(url).filter(|(name, _)| own.iter().all(|(own, _)| own != name))
            {
                push(name, value);
            }
        }
        // What the server set may hold bytes beyond ASCII; a step's own cookies were checked when they were read.
        if text.is_empty() { None } else { HeaderValue::from_bytes(text.as_bytes()).ok() }
    }

    /// Method and URL, for messages.
    pub(super) fn target(&self) -> String {
        format!("{} {}", self.method, self.shown_url)
    }

    /// A URL as it may be shown: without password, and without the API key.
    pub(super) fn display(&self, url: &Url) -> String {
        let Auth::ApiKey { name, value, in_query: true } = &self.auth else { return shown(url) };
        let mut safe = url.clone();
        safe.set_query(None);
        {
            let mut pairs = safe.query_pairs_mut();
            for (key, found) in url.query_pairs() {
                pairs.append_pair(&key, if key == **name && found == **value { HIDDEN } else { &found });
            }
        }
        shown(&safe)
    }

    /// What is asked, for the record.
    pub(super) fn shown(&self) -> Shown {
        let asked = Asked {
            method: self.method.clone(),
            url: self.shown_url.clone(),
            headers: Arc::clone(&self.headers),
            secret_headers: self.secret_headers.clone(),
            body: self.payload.present.then(|| self.payload.shown.clone()),
            verify_tls: self.connection.tls.verify,
        };
        if self.payload.bytes.len() > SHOWN_LATER {
            return Shown::Value(asked.value());
        }
        Shown::Later(Arc::new(move || asked.value()))
    }
}

/// What a request's record is made of.
struct Asked {
    method: Method,
    url: ByteString,
    headers: Arc<HeaderMap>,
    secret_headers: Vec<HeaderName>,
    body: Option<Value>,
    verify_tls: bool,
}

impl Asked {
    fn value(&self) -> Value {
        let mut headers = Map { ignore_case: true, ..Map::default() };
        for name in self.headers.keys() {
            let value =
                if self.secret_headers.contains(name) { hidden(self.headers.get(name)) } else { self.joined(name) };
            headers.entries.insert(name.as_str().into(), Value::Text(value));
        }
        let mut record = vec![
            ("method", Value::Text(self.method.as_str().into())),
            ("url", Value::Text(self.url.clone())),
            ("headers", Value::Map(headers.into())),
        ];
        record.extend(self.body.clone().map(|body| ("body", body)));
        if !self.verify_tls {
            record.push(("verify_tls", Value::Bool(false)));
        }
        Value::map(record)
    }

    fn joined(&self, name: &HeaderName) -> ByteString {
        let mut values = self.headers.get_all(name).into_iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let first = values.next().unwrap_or_default();
        let mut more = values.peekable();
        if more.peek().is_none() {
            return first.as_ref().into();
        }
        std::iter::once(first).chain(more).collect::<Vec<_>>().join(", ").into()
    }
}

/// A credential without what makes it one: `Basic ***`.
fn hidden(value: Option<&HeaderValue>) -> ByteString {
    let scheme = value.and_then(|value| value.to_str().ok()).and_then(|text| text.split_once(' '));
    match scheme {
        Some((scheme @ ("Basic" | "Bearer"), _)) => format!("{scheme} {HIDDEN}").into(),
        _ => HIDDEN.into(),
    }
}

fn add_params(url: &mut Url, config: &Resolved) -> Result<(), ActionError> {
    match config.value("params") {
        None | Some(Value::Null) => {}
        Some(Value::Text(query)) => {
            let query = query.trim_start_matches('?');
            let joined = match url.query() {
                Some(first) if !first.is_empty() => format!("{first}&{query}"),
                _ => query.to_owned(),
            };
            url.set_query(Some(&joined));
        }
        Some(params) => {
            let pairs = pairs(params, "params")?;
            if !pairs.is_empty() {
                url.query_pairs_mut().extend_pairs(pairs.iter().map(|(name, value)| (&**name, &**value)));
            }
        }
    }
    Ok(())
}

fn auth_from_url(url: &Url) -> Auth {
    if url.username().is_empty() && url.password().is_none() {
        return Auth::None;
    }
    let decoded = |text| ByteString::from(percent_decode_str(text).decode_utf8_lossy().into_owned());
    Auth::Basic { username: decoded(url.username()), password: decoded(url.password().unwrap_or_default()) }
}

fn read_method(config: &Resolved, payload: &Payload) -> Result<Method, ActionError> {
    let Some(text) = config.text("method")? else {
        return Ok(if payload.present { Method::POST } else { Method::GET });
    };
    let name = text.trim();
    let capital = name.bytes().all(|letter| letter.is_ascii_uppercase());
    let method = if capital {
        Method::from_bytes(name.as_bytes())
    } else {
        Method::from_bytes(name.to_ascii_uppercase().as_bytes())
    };
    match method {
        Ok(method) if method != Method::CONNECT => Ok(method),
        _ => Err(ActionError::new(ErrorKind::Config, format!("`method` takes an HTTP method, got `{text}`"))),
    }
}

fn read_as(config: &Resolved) -> Result<ReadAs, ActionError> {
    match config.text("as")?.as_deref() {
        None | Some("auto") => Ok(ReadAs::Auto),
        Some("json") => Ok(ReadAs::Json),
        Some("text") => Ok(ReadAs::Text),
        Some("bytes") => Ok(ReadAs::Bytes),
        Some(other) => {
            let message = format!("`as` takes `auto`, `json`, `text` or `bytes`, got `{other}`");
            Err(ActionError::new(ErrorKind::Config, message))
        }
    }
}

/// Whether the run's jar is used, and the step's own cookies.
fn read_cookies(config: &Resolved) -> Result<(bool, Vec<(ByteString, ByteString)>), ActionError> {
    match config.value("cookies") {
        None | Some(Value::Null) => Ok((true, Vec::new())),
        Some(Value::Bool(on)) => Ok((*on, Vec::new())),
        Some(map @ Value::Map(_)) => {
            let cookies = pairs(map, "cookies")?;
            for (name, value) in &cookies {
                let (_, value) = header("cookie", &format!("{name}={value}"))?;
                if value.as_bytes().contains(&b';') {
                    return Err(ActionError::new(ErrorKind::Config, format!("the cookie `{name}` holds a `;`")));
                }
            }
            Ok((true, cookies))
        }
        Some(other) => {
            let message = format!("`cookies` takes a map or `false`, got {}", other.type_name());
            Err(ActionError::new(ErrorKind::Config, message))
        }
    }
}

/// The headers that a step sets itself, and those it does not want.
struct OwnHeaders {
    set: HeaderMap,
    unwanted: Vec<HeaderName>,
}

impl OwnHeaders {
    fn read(config: &Resolved) -> Result<Self, ActionError> {
        let mut own = Self { set: HeaderMap::new(), unwanted: Vec::new() };
        for (name, value) in config.map("headers")? {
            let items = match &value {
                Value::List(items) => items.as_slice(),
                single => std::slice::from_ref(single),
            };
            for item in items {
                let Some(text) = item.to_text() else {
                    own.unwanted.push(header(&name, "")?.0);
                    continue;
                };
                let (name, value) = header(&name, &text)?;
                own.set.append(name, value);
            }
        }
        // The length is that of the body; another one would break the connection's framing.
        own.set.remove(CONTENT_LENGTH);
        Ok(own)
    }

    /// Adds what every request has, unless the step says otherwise.
    fn complete(mut self, cx: &ActionContext<'_>, plan: &Plan, graphql: bool) -> HeaderMap {
        if plan.stream {
            self.add(ACCEPT, || Some(EVENTS));
            // A packed stream could not be read piece by piece.
            self.unwanted.push(ACCEPT_ENCODING);
        }
        let trace = HeaderValue::try_from(cx.traceparent()).ok();
        let usual = self.set.is_empty() && self.unwanted.is_empty() && !graphql;
        if usual {
            self.set.clone_from(&USUAL);
            if trace.is_none() || plan.payload.content_type.is_some() {
                // It comes last.
                self.set.remove(TRACEPARENT);
            }
        } else {
            let accept = if graphql { GRAPHQL } else { ANYTHING };
            for (name, value) in [(USER_AGENT, OUR_NAME), (ACCEPT, accept), (ACCEPT_ENCODING, CODINGS)] {
                self.add(name, || Some(value));
            }
        }
        if let Some(content_type) = &plan.payload.content_type {
            self.add(CONTENT_TYPE, || Some(content_type.clone()));
        }
        match trace {
            Some(trace) if usual => {
                self.set.insert(TRACEPARENT, trace);
            }
            trace => self.add(TRACEPARENT, || trace),
        }
        if plan.payload.bytes.is_empty() && matches!(plan.method, Method::POST | Method::PUT | Method::PATCH) {
            // RFC 9110, section 8.6: a method that expects a body says that there is none.
            self.add(CONTENT_LENGTH, || Some(HeaderValue::from_static("0")));
        }
        self.set
    }

    fn add(&mut self, name: HeaderName, value: impl FnOnce() -> Option<HeaderValue>) {
        if !self.set.contains_key(&name)
            && !self.unwanted.contains(&name)
            && let Some(value) = value()
        {
            self.set.insert(name, value);
        }
    }
}

/// How connections are made, from the keys `http_version`, `proxy`, `verify_tls` and those of certificates.
pub(in crate::actions) async fn read_connection(
    config: &Resolved,
    files: &Files,
) -> Result<ConnectionOptions, ActionError> {
    let version = match config.text("http_version")?.as_deref() {
        None | Some("auto") => HttpVersion::Auto,
        Some("1.1" | "1") => HttpVersion::Http1,
        Some("2" | "2.0") => HttpVersion::Http2,
        Some(other) => {
            let message = format!("`http_version` takes `1.1`, `2` or `auto`, got `{other}`");
            return Err(ActionError::new(ErrorKind::Config, message));
        }
    };
    let proxy = match config.text("proxy")?.as_deref().map(str::trim) {
        None => ProxyChoice::Configured,
        Some("" | "none" | "direct" | "false") => ProxyChoice::Direct,
        Some(url) => {
            let refuse = |error| ActionError::new(ErrorKind::Config, format!("`proxy`: {error}"));
            ProxyChoice::Through(url.parse().map_err(refuse)?)
        }
    };
    let tls = Box::pin(crate::actions::tls::options(config, files)).await?;
    Ok(ConnectionOptions { version, tls, proxy })
}

/// PEM written into the flow, or read from the file that is named.
pub(in crate::actions) async fn read_pem(
    source: Option<ByteString>,
    files: &Files,
) -> Result<Option<Bytes>, ActionError> {
    match source {
        None => Ok(None),
        Some(text) if text.contains("-----BEGIN ") => Ok(Some(text.into_bytes())),
        Some(path) => Box::pin(files.read(&path, PEM_LIMIT)).await.map(Some).map_err(|error| file_error(&error)),
    }
}
