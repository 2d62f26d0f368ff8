//! Calls of the server's API: JSON in and out, problems as they are documented, repeated where that is safe.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use testmesh_runner::diagnostic::Diagnostic;
use testmesh_shared::error::ErrorCode;
use testmesh_shared::http::{ConnectionOptions, HttpClient, HttpError, Response, request_uri, shown};
use testmesh_shared::net::Connector;
use url::Url;

use super::events::Pause;
use crate::exit::{Stop, chain};

/// The largest answer that is read.
const MOST_BYTES: u64 = 64 << 20;
/// How often a call is tried in all.
const MOST_ATTEMPTS: u32 = 5;
/// How long an answer's head may take.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// A client of one server.
pub(super) struct ApiClient {
    connector: Connector,
    http: HttpClient,
    base: Url,
    authorization: Option<HeaderValue>,
}

/// A call that did not succeed.
#[derive(Debug)]
pub(super) struct Fault {
    /// The server's word, or `unavailable` when it could not be reached.
    pub(super) code: ErrorCode,
    /// Why, a fragment that names the server.
    pub(super) message: String,
    /// What is wrong with the flow that was sent.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Whether the same call may succeed later.
    pub(super) passing: bool,
}

/// A problem document.
#[derive(Debug, Deserialize)]
struct Problem {
    code: ErrorCode,
    detail: Option<String>,
    #[serde(default)]
    diagnostics: Vec<Diagnostic>,
}

impl ApiClient {
    pub(super) fn new(url: &str, token: Option<&str>, connector: Connector) -> Result<Self, Stop> {
        let mut base =
            Url::parse(url).map_err(|error| Stop::input(format!("`{url}` is not a server's URL: {error}")))?;
        request_uri(&base).map_err(|error| Stop::input(chain(&error)))?;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let authorization = match token {
            Some(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
                    .map_err(|_| Stop::input("the token holds characters that no token has"))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        Ok(Self { http: HttpClient::new(connector.clone()), connector, base, authorization })
    }

    /// The same client with connections of its own.
    pub(super) fn beside(&self) -> Self {
        Self {
            connector: self.connector.clone(),
            http: HttpClient::new(self.connector.clone()),
            base: self.base.clone(),
            authorization: self.authorization.clone(),
        }
    }

    /// The server, for messages.
    pub(super) fn server(&self) -> String {
        shown(&self.base).trim_end_matches('/').to_owned()
    }

    /// Sends a request and reads its answer. Tried again after trouble that may pass: a GET repeats nothing, and a POST
    /// has its key.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: Vec<u8>,
        headers: &[(&'static str, &str)],
    ) -> Result<T, Fault> {
        let body = Bytes::from(body);
        let mut pause = Pause::new();
        let mut attempt = 1;
        loop {
            let answer = match self.send(method, path, body.clone(), headers).await {
                Ok(response) => self.read(response).await,
                Err(fault) => Err(fault),
            };
            match answer {
                Err(fault) if fault.passing && attempt < MOST_ATTEMPTS => {
                    attempt += 1;
                    pause.wait().await;
                }
                Err(fault) => return Err(fault),
                Ok(bytes) => {
                    return serde_json::from_slice(&bytes)
                        .map_err(|error| self.fault(&format!("answered something else: {error}")));
                }
            }
        }
    }

    /// Sends a request; an answer that is not a success is a fault.
    pub(super) async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Bytes,
        headers: &[(&'static str, &str)],
    ) -> Result<Response, Fault> {
        let url = self.base.join(path.trim_start_matches('/')).expect("a path of this API joins any base");
        let uri = request_uri(&url).expect("checked when the client was made");
        let mut request = Request::builder().method(method.clone()).uri(uri);
        if !headers.iter().any(|(name, _)| *name == ACCEPT.as_str()) {
            request = request.header(ACCEPT, "application/json");
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("headers are made of ASCII texts");
        let options = ConnectionOptions::default();
        let sent = tokio::time::timeout(ANSWER_TIMEOUT, self.http.send(request, &options)).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.broken(&error)),
            Err(_) => return Err(self.passing(&format!("did not answer within {} s", ANSWER_TIMEOUT.as_secs()))),
        };
        if response.status.is_success() { Ok(response) } else { Err(self.problem(response).await) }
    }

    async fn read(&self, response: Response) -> Result<Bytes, Fault> {
        match response.collect(MOST_BYTES).await {
            Ok(full) => Ok(full.body),
            Err(error) => Err(self.broken(&error)),
        }
    }

    async fn problem(&self, response: Response) -> Fault {
        let status = response.status;
        let passing = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        let body = self.read(response).await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Fault {
                code: problem.code,
                message: problem.detail.unwrap_or_else(|| format!("the server answered {status}")),
                diagnostics: problem.diagnostics,
                passing,
            },
            Err(_) => Fault { passing, ..self.fault(&format!("answered {status}")) },
        }
    }

    fn broken(&self, error: &HttpError) -> Fault {
        self.passing(&format!("cannot be talked to: {}", chain(error)))
    }

    fn passing(&self, what: &str) -> Fault {
        Fault { passing: true, ..self.fault(what) }
    }

    fn fault(&self, what: &str) -> Fault {
        let message = format!("the server `{}` {what}", self.server());
        Fault { code: ErrorCode::Unavailable, message, diagnostics: Vec::new(), passing: false }
    }
}
