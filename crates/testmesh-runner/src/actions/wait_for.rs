//! `wait_for`: waits until something outside is there: an HTTP answer, an open port, a file, a name.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;
use http::{Method, Request, StatusCode};
use testmesh_shared::http::{ConnectionOptions, request_uri, shown};
use testmesh_shared::net::{Connector, NetError};
use testmesh_shared::tls::TlsOptions;
use url::Url;

use super::http_request::{HttpSession, chain, file_error, header, kind_of, parse_url};
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::{ActionContext, Resolved};
use crate::files::Files;
use crate::record::ErrorKind;
use crate::value::Value;

const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// An attempt that hangs is given up after this long, so that the next one gets its turn.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(10);
/// As much of an answer is read to use its connection again, or to look for a text in it.
const BODY_LIMIT: u64 = 1 << 20;

const HTTP: Kind = Kind::OneOf(&[
    Kind::Text,
    Kind::Object(&[
        Field { required: true, ..field("url", Kind::Text, "An absolute `http` or `https` URL.") },
        Field { default: Some("GET"), ..field("method", Kind::Text, "The method.") },
        field("headers", Kind::Map(&Kind::Text), "Headers."),
        Field {
            default: Some("any below 400"),
            ..field("status", Kind::List(&Kind::Integer { min: 100, max: 599 }), "The status, or several, to wait for.")
        },
        field("contains", Kind::Text, "Text that the body must contain."),
        Field { default: Some("true"), ..field("verify_tls", Kind::Boolean, "Whether the certificate is checked.") },
    ]),
]);

const TCP: Kind = Kind::OneOf(&[
    Kind::Text,
    Kind::Object(&[
        Field { required: true, ..field("host", Kind::Text, "Name or address.") },
        Field { required: true, ..field("port", Kind::Integer { min: 1, max: 65_535 }, "The port.") },
    ]),
]);

const FILE: Kind = Kind::OneOf(&[
    Kind::Text,
    Kind::Object(&[
        Field { required: true, ..field("path", Kind::Text, "The file, relative to the flow file.") },
        field("contains", Kind::Text, "Text that it must contain."),
    ]),
]);

const fn field(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { name, aliases: &[], kind, required: false, default: None, doc }
}

static SPEC: ActionSpec = ActionSpec {
    name: "wait_for",
    aliases: &[],
    summary: "Waits until an HTTP endpoint, a TCP port, a file or a name is there.",
    description: "Takes exactly one of `http`, `tcp`, `file` and `dns`. What the network or file policy denies is an \
                  error at once; everything else is tried again until `timeout`.",
    config: &[
        field("http", HTTP, "A URL that must answer, with a status below 400 unless `status` says otherwise."),
        field("tcp", TCP, "`host:port` that must accept a connection."),
        field("file", FILE, "A file that must exist."),
        field("dns", Kind::Text, "A name that must have an address."),
        Field {
            default: Some("1s"),
            ..field("interval", Kind::Duration { zero: false }, "The pause between two attempts.")
        },
        Field {
            default: Some("30s"),
            ..field("timeout", Kind::Duration { zero: false }, "When it is not there by then, the step is in error.")
        },
    ],
    open_config: false,
    result: &[
        ResultField { name: "attempts", kind: "integer", doc: "How often it was tried." },
        ResultField { name: "duration_ms", kind: "integer", doc: "How long it took, in milliseconds." },
        ResultField { name: "status", kind: "integer", doc: "For `http`: the status of the answer." },
        ResultField { name: "addresses", kind: "list", doc: "For `tcp` and `dns`: the addresses." },
        ResultField { name: "size", kind: "integer", doc: "For `file`: its size in bytes." },
    ],
    open_result: false,
    reserved: &[],
    examples: &[
        Example {
            title: "Until a service is ready",
            yaml: "- action: wait_for\n  config:\n    http: http://localhost:8080/health\n    interval: 500ms\n    timeout: 1m\n",
        },
        Example { title: "Until a port is open", yaml: "- action: wait_for\n  config:\n    tcp: localhost:5432\n" },
        Example {
            title: "Until a file has been written",
            yaml: "- action: wait_for\n  config:\n    file:\n      path: out/report.csv\n      contains: total\n",
        },
        Example { title: "Until a name resolves", yaml: "- action: wait_for\n  config:\n    dns: localhost\n" },
    ],
};

/// The action.
pub(crate) struct WaitFor;

#[async_trait]
impl Action for WaitFor {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    fn waits(&self) -> bool {
        true
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let awaited = Awaited::read(&config)?;
        let interval = config.duration("interval")?.unwrap_or(DEFAULT_INTERVAL);
        let timeout = config.duration("timeout")?.unwrap_or(DEFAULT_TIMEOUT);
        let target = awaited.to_string().replace('`', "");
        cx.note_request(Value::map([("wait_for", Value::Text(target.into()))]).into());
        let started = Instant::now();
        let mut attempts = 0;
        let mut last = Miss::Again("no attempt came to an end".to_owned());
        let waiting = async {
            loop {
                attempts += 1;
                let attempt = tokio::time::timeout(LONGEST_ATTEMPT, awaited.attempt(cx));
                last = match attempt.await {
                    Ok(Ok(found)) => return Ok(found),
                    Ok(Err(miss)) => miss,
                    Err(_) => Miss::Again(format!("no answer within {LONGEST_ATTEMPT:?}")),
                };
                if let Miss::Final(kind, message) = &last {
                    return Err(ActionError::new(*kind, format!("waiting for {awaited}: {message}")));
                }
                tokio::time::sleep(interval).await;
            }
        };
        let Ok(outcome) = tokio::time::timeout(timeout, waiting).await else {
            let (Miss::Again(message) | Miss::Final(_, message)) = last;
            let tries = if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
            let message = format!("{awaited} is not there after {timeout:?} and {tries}: {message}");
            return Err(ActionError::new(ErrorKind::Timeout, message));
        };
        let mut entries = outcome?;
        let waited = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        entries.extend([("attempts", Value::Int(attempts)), ("duration_ms", Value::Int(waited))]);
        let result = Value::map(entries);
        Ok(ActionResult { response: result.clone().into(), result, ..ActionResult::default() })
    }
}

/// Why an attempt found nothing.
enum Miss {
    /// It may come yet.
    Again(String),
    /// It never will.
    Final(ErrorKind, String),
}

/// What there is to say about what was found.
type Found = Vec<(&'static str, Value)>;

/// What is waited for.
enum Awaited {
    Http(Box<HttpTarget>),
    Tcp { host: ByteString, port: u16 },
    File { path: ByteString, contains: Option<ByteString> },
    Dns { name: ByteString },
}

struct HttpTarget {
    request: Request<Bytes>,
    url: String,
    options: ConnectionOptions,
    /// Empty: any below 400.
    statuses: Vec<StatusCode>,
    contains: Option<ByteString>,
}

impl std::fmt::Display for Awaited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Awaited::Http(target) => write!(f, "`{}`", target.url),
            Awaited::Tcp { host, port } => write!(f, "`{host}:{port}`"),
            Awaited::File { path, .. } => write!(f, "the file `{path}`"),
            Awaited::Dns { name } => write!(f, "an address of `{name}`"),
        }
    }
}

fn refuse(message: impl Into<String>) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}

/// A map's section, or the one text that stands for it under `key`.
fn section(config: &Resolved, name: &str, key: &str) -> Result<Resolved, ActionError> {
    match config.value(name) {
        Some(text @ Value::Text(_)) => Ok(Resolved::new(vec![(key.into(), text.clone())])),
        _ => config.section(name)?.ok_or_else(|| refuse(format!("`{name}` is missing"))),
    }
}

impl Awaited {
    fn read(config: &Resolved) -> Result<Self, ActionError> {
        let is_set = |key: &&&str| !matches!(config.value(key), None | Some(Value::Null));
        let kinds: Vec<_> = ["http", "tcp", "file", "dns"].iter().filter(is_set).copied().collect();
        match kinds.as_slice() {
            ["http"] => Ok(Awaited::Http(Box::new(HttpTarget::read(&section(config, "http", "url")?)?))),
            ["tcp"] => read_tcp(&section(config, "tcp", "host")?),
            ["file"] => {
                let file = section(config, "file", "path")?;
                Ok(Awaited::File { path: file.required_text("path")?, contains: file.text("contains")? })
            }
            ["dns"] => Ok(Awaited::Dns { name: config.required_text("dns")? }),
            _ => Err(refuse("`wait_for` takes exactly one of `http`, `tcp`, `file` and `dns`")),
        }
    }

    async fn attempt(&self, cx: &ActionContext<'_>) -> Result<Found, Miss> {
        match self {
            Awaited::Http(target) => target.attempt(&HttpSession::of(cx)).await,
            Awaited::Tcp { host, port } => {
                let connected = cx.connector().tcp(host, *port).await.map_err(|error| net_miss(&error))?;
                let address = Value::Text(connected.peer.ip().to_string().into());
                Ok(vec![("addresses", Value::list(vec![address]))])
            }
            Awaited::File { path, contains } => find_file(cx.files(), path, contains.as_deref()).await,
            Awaited::Dns { name } => resolve(cx.connector(), name).await,
        }
    }
}

fn read_tcp(config: &Resolved) -> Result<Awaited, ActionError> {
    let written = config.required_text("host")?;
    let (host, port) = match config.integer("port")? {
        Some(port) => (&*written, Some(port)),
        None => match written.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (&*written, None),
        },
    };
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    match port {
        Some(port) if !host.is_empty() => Ok(Awaited::Tcp { host: host.into(), port }),
        _ => Err(refuse(format!("`tcp` takes `host:port`, got `{written}`"))),
    }
}

impl HttpTarget {
    fn read(config: &Resolved) -> Result<Self, ActionError> {
        let url: Url = parse_url("url", &config.required_text("url")?)?;
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = request_uri(&url).map_err(|error| refuse(error.to_string()))?;
        if let Some(method) = config.text("method")? {
            *request.method_mut() = Method::from_bytes(method.to_ascii_uppercase().as_bytes())
                .map_err(|_| refuse(format!("`method` takes an HTTP method, got `{method}`")))?;
        }
        for (name, value) in config.map("headers")? {
            if let Some(value) = value.to_text() {
                let (name, value) = header(&name, &value)?;
                request.headers_mut().append(name, value);
            }
        }
        let statuses = if config.value("status").is_some() { config.list("status")? } else { Vec::new() };
        let statuses = statuses.iter().map(|status| {
            let code = status.to_text().and_then(|text| text.parse().ok());
            code.and_then(|code| StatusCode::from_u16(code).ok())
                .ok_or_else(|| refuse("`status` takes a status code or a list of them"))
        });
        let tls = TlsOptions { verify: config.boolean("verify_tls")?.unwrap_or(true), ..TlsOptions::default() };
        Ok(Self {
            request,
            url: shown(&url),
            options: ConnectionOptions { tls, ..ConnectionOptions::default() },
            statuses: statuses.collect::<Result<_, _>>()?,
            contains: config.text("contains")?,
        })
    }

    async fn attempt(&self, session: &HttpSession) -> Result<Found, Miss> {
        let miss = |error: testmesh_shared::http::HttpError| match kind_of(&error) {
            kind @ (ErrorKind::Policy | ErrorKind::Config) => Miss::Final(kind, chain(&error)),
            _ => Miss::Again(chain(&error)),
        };
        let response = session.client.send(self.request.clone(), &self.options).await.map_err(miss)?;
        let status = response.status;
        let wanted = if self.statuses.is_empty() { status.as_u16() < 400 } else { self.statuses.contains(&status) };
        let body = response.collect(BODY_LIMIT).await;
        if !wanted {
            return Err(Miss::Again(format!("it answers {status}")));
        }
        if let Some(text) = &self.contains {
            let body = body.map_err(miss)?.body;
            if memchr::memmem::find(&body, text.as_bytes()).is_none() {
                return Err(Miss::Again(format!("its body does not contain `{text}`")));
            }
        }
        Ok(vec![("status", Value::Int(i64::from(status.as_u16())))])
    }
}

fn net_miss(error: &NetError) -> Miss {
    match error {
        NetError::Denied { .. } => Miss::Final(ErrorKind::Policy, error.to_string()),
        NetError::Resolve { .. } | NetError::Connect { .. } => Miss::Again(chain(error)),
    }
}

async fn resolve(connector: &Connector, name: &str) -> Result<Found, Miss> {
    let addresses = connector.resolve(name, 0).await.map_err(|error| net_miss(&error))?;
    let addresses = addresses.iter().map(|address| Value::Text(address.ip().to_string().into())).collect();
    Ok(vec![("addresses", Value::list(addresses))])
}

async fn find_file(files: &Files, path: &str, contains: Option<&str>) -> Result<Found, Miss> {
    let miss = |error: crate::files::FileError| {
        let error = file_error(&error);
        if error.kind == ErrorKind::Policy {
            Miss::Final(error.kind, error.message)
        } else {
            Miss::Again(error.message)
        }
    };
    let size = match contains {
        None => {
            let resolved = files.resolve(path).map_err(miss)?;
            let metadata = tokio::fs::metadata(resolved).await;
            metadata.map_err(|error| Miss::Again(error.to_string()))?.len()
        }
        Some(text) => {
            let contents = files.read(path, 64 << 20).await.map_err(miss)?;
            if memchr::memmem::find(&contents, text.as_bytes()).is_none() {
                return Err(Miss::Again(format!("it does not contain `{text}`")));
            }
            contents.len() as u64
        }
    };
    Ok(vec![("size", Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))])
}
