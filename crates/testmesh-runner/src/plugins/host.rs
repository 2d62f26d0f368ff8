//! What an instance of a plugin sees of the world: WASI with nothing in it, and what its capabilities give.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use testmesh_shared::http::{
    ConnectionOptions, FullResponse, HttpClient, HttpError, HttpErrorKind, request_uri, shown,
};
use testmesh_shared::net::Connector;
use url::Url;
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

use super::Capability;
use super::budget::Budget;
use super::output::{Lines, Output, Stream};
use super::runtime::guest::testmesh::plugin::types::{Failure, FailureKind};
use super::runtime::guest::testmesh::plugin::{files, http as guest_http, log, types};
use crate::actions::chain;
use crate::files::{FileError, Files};

/// The largest answer and the largest file, in bytes.
const MAX_READ: u64 = 10 << 20;
/// The handles that an instance may have at a time.
const MAX_HANDLES: usize = 10_000;
/// The random bytes that an instance may ask for at once.
const MAX_RANDOM: u64 = 1 << 20;

/// What capabilities reach.
pub(crate) struct Reach {
    /// Opens connections.
    pub(crate) connector: Connector,
    /// Sends requests.
    pub(crate) http: HttpClient,
    /// Reads files.
    pub(crate) files: Files,
    /// Joins its requests to the run's trace.
    pub(crate) traceparent: String,
}

/// The world of one instance.
pub(super) struct State {
    name: Arc<str>,
    capabilities: Vec<Capability>,
    reach: Option<Reach>,
    lines: Arc<Lines>,
    pub(super) budget: Budget,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl State {
    /// A world in which `capabilities` reach as far as `reach`; without it there is nothing but the log.
    pub(super) fn new(name: &Arc<str>, capabilities: &[Capability], reach: Option<Reach>, lines: &Arc<Lines>) -> Self {
        let output = |stream| Output { stream, lines: Arc::clone(lines) };
        let wasi = WasiCtx::builder()
            .stdout(output(Stream::Out))
            .stderr(output(Stream::Err))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(MAX_RANDOM)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        Self {
            name: Arc::clone(name),
            capabilities: capabilities.to_vec(),
            reach,
            lines: Arc::clone(lines),
            budget: Budget::default(),
            wasi,
            table,
        }
    }

    /// What the capability reaches.
    pub(super) fn reach(&self, capability: Capability) -> Result<&Reach, Failure> {
        let word = capability.as_str();
        let refuse = |message| Failure { kind: FailureKind::Policy, message };
        let Some(reach) = &self.reach else {
            return Err(refuse(format!("`{word}` cannot be used to describe a plugin")));
        };
        if !self.capabilities.contains(&capability) {
            let name = &self.name;
            return Err(refuse(format!("the plugin `{name}` does not ask for the capability `{word}` and lacks it")));
        }
        Ok(reach)
    }

    /// What the instance has handles of.
    pub(super) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for State {}

impl log::Host for State {
    async fn write(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Debug => "debug",
            log::Level::Info => "info",
            log::Level::Warn => "warn",
            log::Level::Error => "error",
        };
        self.lines.say(level, &message);
    }
}

impl guest_http::Host for State {
    async fn send(&mut self, request: guest_http::Request) -> Result<guest_http::Response, Failure> {
        let reach = self.reach(Capability::Http)?;
        let limit = request.timeout_ms.map(|millis| Duration::from_millis(millis.into()));
        let (request, target) = outgoing(request, &reach.traceparent)?;
        let exchange = async {
            let answer = reach.http.send(request, &ConnectionOptions::default()).await?;
            answer.collect(MAX_READ).await
        };
        let answer = match limit {
            None => exchange.await,
            Some(limit) => tokio::time::timeout(limit, exchange).await.map_err(|_| Failure {
                kind: FailureKind::Timeout,
                message: format!("`{target}` did not answer within {} ms", limit.as_millis()),
            })?,
        };
        answer.map(incoming).map_err(|error| http_failure(&error, &target))
    }
}

impl files::Host for State {
    async fn read(&mut self, path: String) -> Result<Vec<u8>, Failure> {
        let reach = self.reach(Capability::Files)?;
        let failed = |error: FileError| {
            let kind = match error {
                FileError::Disabled { .. } | FileError::Outside { .. } => FailureKind::Policy,
                FileError::TooLarge { .. } | FileError::Io { .. } => FailureKind::Config,
            };
            Failure { kind, message: chain(&error) }
        };
        reach.files.read(&path, MAX_READ).await.map(Vec::from).map_err(failed)
    }
}

/// The request in the client's form, and its URL for messages.
fn outgoing(request: guest_http::Request, traceparent: &str) -> Result<(Request<Bytes>, String), Failure> {
    let wrong = |message: String| Failure { kind: FailureKind::Config, message };
    let url = Url::parse(&request.url).map_err(|error| wrong(format!("`{}` is no URL: {error}", request.url)))?;
    let target = shown(&url);
    let uri = request_uri(&url).map_err(|error| wrong(error.to_string()))?;
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| wrong(format!("`{}` is no HTTP method", request.method)))?;
    let mut headers = HeaderMap::new();
    let trace = HeaderValue::from_str(traceparent).map_err(|error| wrong(error.to_string()))?;
    headers.insert(HeaderName::from_static("traceparent"), trace);
    for (name, value) in request.headers {
        let bad = || wrong(format!("the header `{name}` cannot be sent: its name or value holds what no header can"));
        let value = HeaderValue::from_str(&value).map_err(|_| bad())?;
        headers.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?, value);
    }
    let mut outgoing = Request::new(Bytes::from(request.body));
    *outgoing.method_mut() = method;
    *outgoing.uri_mut() = uri;
    *outgoing.headers_mut() = headers;
    Ok((outgoing, target))
}

fn incoming(answer: FullResponse) -> guest_http::Response {
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    guest_http::Response {
        status: answer.status.as_u16(),
        headers: answer.headers.iter().map(header).collect(),
        body: answer.body.into(),
    }
}

fn http_failure(error: &HttpError, target: &str) -> Failure {
    let kind = match error.kind() {
        HttpErrorKind::Config => FailureKind::Config,
        HttpErrorKind::Policy => FailureKind::Policy,
        HttpErrorKind::Connection => FailureKind::Connection,
        HttpErrorKind::Protocol => FailureKind::Protocol,
    };
    Failure { kind, message: format!("`{target}`: {}", chain(error)) }
}
