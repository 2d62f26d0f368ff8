//! Asks a registry, over the run's HTTP client, so that the network policy holds for it, too.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use testmesh_shared::http::{ConnectionOptions, HttpClient, request_uri, shown};
use url::Url;

use crate::action::ActionError;
use crate::actions::http_request::{HttpSession, basic, chain, kind_of, parse_url, read_connection};
use crate::engine::{ActionContext, Resolved};
use crate::record::ErrorKind;

/// Largest answer that is read.
const ANSWER_LIMIT: u64 = 16 << 20;
/// What the registries' own clients send and accept.
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.schemaregistry.v1+json");
const ACCEPTED: HeaderValue = HeaderValue::from_static("application/vnd.schemaregistry.v1+json, application/json");

/// A registry, and who asks it.
pub(super) struct Client {
    http: HttpClient,
    base: Url,
    options: ConnectionOptions,
    authorization: Option<HeaderValue>,
}

/// A registry, and who asks it: what was found for one is nothing that another may see.
pub(super) type Identity = (String, Option<HeaderValue>);

/// Why a registry did not do it.
pub(super) enum Trouble {
    /// It said no: the status, its own number for the reason, and the reason.
    Refused { status: u16, code: i64, message: String },
    /// There is no answer, or none that a registry gives.
    Failed { kind: ErrorKind, message: String },
}

impl Trouble {
    fn failed(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Failed { kind, message: message.into() }
    }

    /// Whether what was asked for is not there.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Refused { status: 404, code: 40_400..=40_499, .. })
    }
}

/// How registries say no.
#[derive(Deserialize)]
struct Refusal {
    error_code: i64,
    #[serde(default)]
    message: String,
}

impl Client {
    /// Reads it from the step's section `schema_registry`.
    pub(super) async fn read(cx: &ActionContext<'_>, section: &Resolved) -> Result<Self, ActionError> {
        let wrong = |message: &str| ActionError::new(ErrorKind::Config, message);
        let mut base = parse_url("schema_registry.url", &section.required_text("url")?)?;
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let mut username = (!base.username().is_empty()).then(|| decoded(base.username()));
        let mut password = base.password().map(decoded);
        // Both fail only for URLs without a host, and this one has one.
        let _ = base.set_username("");
        let _ = base.set_password(None);
        base.set_query(None);
        base.set_fragment(None);
        username = section.text("username")?.map(String::from).or(username);
        password = section.text("password")?.map(String::from).or(password);
        let authorization = match (username, section.text("token")?) {
            (Some(_), Some(_)) => {
                return Err(wrong("`schema_registry` has a `username` and a `token`: one of them is used"));
            }
            (Some(username), None) => Some(basic(&username, &password.unwrap_or_default())),
            (None, Some(token)) => {
                let value = HeaderValue::from_str(&format!("Bearer {token}"));
                let mut value =
                    value.map_err(|_| wrong("`schema_registry.token` has characters that cannot be sent"))?;
                value.set_sensitive(true);
                Some(value)
            }
            (None, None) => None,
        };
        let options = read_connection(section, cx.files()).await?;
        Ok(Self { http: HttpSession::of(cx).client.clone(), base, options, authorization })
    }

    /// What may be shown of it.
    pub(super) fn shown(&self) -> String {
        shown(&self.base).trim_end_matches('/').to_owned()
    }

    /// Who asks whom.
    pub(super) fn identity(&self) -> Identity {
        (self.shown(), self.authorization.clone())
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Trouble> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &serde_json::Value,
    ) -> Result<T, Trouble> {
        self.ask(Method::POST, path, body.to_string().into()).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &[&str], body: Bytes) -> Result<T, Trouble> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let config = |error: &dyn std::error::Error| Trouble::failed(ErrorKind::Config, chain(error));
        let mut request = Request::new(body);
        *request.uri_mut() = request_uri(&url).map_err(|error| config(&error))?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, ACCEPTED);
        if method == Method::POST {
            headers.insert(CONTENT_TYPE, MEDIA_TYPE);
        }
        headers.extend(self.authorization.clone().map(|value| (AUTHORIZATION, value)));
        *request.method_mut() = method;
        let failed = |error| Trouble::failed(kind_of(&error), chain(&error));
        let response = self.http.send(request, &self.options).await.map_err(failed)?;
        let response = response.collect(ANSWER_LIMIT).await.map_err(failed)?;
        let status = response.status;
        if status.is_success() {
            return serde_json::from_slice(&response.body).map_err(|error| {
                let text = format!("its answer to `{}` is none of a schema registry: {error}", url.path());
                Trouble::failed(ErrorKind::Protocol, text)
            });
        }
        if let Ok(Refusal { error_code, message }) = serde_json::from_slice(&response.body) {
            return Err(Trouble::Refused { status: status.as_u16(), code: error_code, message });
        }
        let message = match (status.as_u16(), response.headers.get(LOCATION)) {
            (401, _) => "the credentials are missing or wrong".to_owned(),
            (403, _) => "the user may not do that".to_owned(),
            (300..=399, Some(place)) => {
                format!("it leads to `{}`; is `url` where its API begins?", String::from_utf8_lossy(place.as_bytes()))
            }
            (404, _) => format!("there is no `{}`; is `url` where its API begins?", url.path()),
            _ => "without a reason".to_owned(),
        };
        Err(Trouble::Refused { status: status.as_u16(), code: 0, message })
    }

    /// The step's error; `what` was asked for.
    pub(super) fn error(&self, what: &str, trouble: Trouble) -> ActionError {
        let (kind, message) = match trouble {
            Trouble::Failed { kind, message } => (kind, message),
            Trouble::Refused { status, code, message } => {
                let known = code != 0 && code != i64::from(status);
                let number = if known { format!("{status}, error {code}") } else { status.to_string() };
                let reason = match status {
                    409 => "the schema is not compatible with those before it: ",
                    _ => "",
                };
                (ErrorKind::Protocol, format!("{reason}{} (status {number})", message.trim_end_matches('.')))
            }
        };
        ActionError::new(kind, format!("schema registry `{}`: {what}: {message}", self.shown()))
    }
}
