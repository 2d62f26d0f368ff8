//! How a request says who sends it: basic, bearer, API key, digest, OAuth 2.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use bytestring::ByteString;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request};
use testmesh_shared::http::{ConnectionOptions, FullResponse, request_uri, shown};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::{Failure, HttpSession};
use crate::action::ActionError;
use crate::engine::Resolved;
use crate::record::ErrorKind;
use crate::value::Value;

/// A token's answer is small; whatever is larger is something else.
const TOKEN_BODY_LIMIT: u64 = 1 << 20;
/// A token this close to its end is fetched anew, so that it does not end on the way.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);

/// Who sends the request.
#[derive(Debug, Clone)]
pub(super) enum Auth {
    None,
    Basic { username: ByteString, password: ByteString },
    Bearer { token: ByteString },
    ApiKey { name: ByteString, value: ByteString, in_query: bool },
    Digest { username: ByteString, password: ByteString },
    OAuth2(Box<TokenRequest>),
}

impl Auth {
    /// Reads `auth` from the configuration.
    pub(super) fn read(config: &Resolved) -> Result<Self, ActionError> {
        let Some(auth) = config.section("auth")? else { return Ok(Auth::None) };
        let mut kinds = auth.fields().filter(|(_, value)| !matches!(value, Value::Null)).map(|(key, _)| key);
        let (kind, more) = (kinds.next(), kinds.next());
        if more.is_some() {
            return Err(refuse("`auth` takes one kind: `basic`, `bearer`, `api_key`, `digest` or `oauth2`"));
        }
        match kind {
            None => Ok(Auth::None),
            Some("basic") => {
                let (username, password) = credentials(&auth, "basic")?;
                Ok(Auth::Basic { username, password })
            }
            Some("digest") => {
                let (username, password) = credentials(&auth, "digest")?;
                Ok(Auth::Digest { username, password })
            }
            Some("bearer") => {
                let token = match auth.value("bearer") {
                    Some(Value::Map(_)) => section(&auth, "bearer")?.required_text("token")?,
                    _ => auth.required_text("bearer")?,
                };
                Ok(Auth::Bearer { token })
            }
            Some("api_key") => {
                let key = section(&auth, "api_key")?;
                let in_query = match key.text("in")?.as_deref() {
                    None | Some("header") => false,
                    Some("query") => true,
                    Some(other) => return Err(refuse(format!("`in` takes `header` or `query`, got `{other}`"))),
                };
                let name = key.text("name")?.unwrap_or_else(|| "X-API-Key".into());
                Ok(Auth::ApiKey { name, value: key.required_text("value")?, in_query })
            }
            Some("oauth2") => Ok(Auth::OAuth2(Box::new(TokenRequest::read(&section(&auth, "oauth2")?)?))),
            Some(other) => Err(refuse(format!(
                "`auth` does not know `{other}`: it takes `basic`, `bearer`, `api_key`, `digest` or `oauth2`"
            ))),
        }
    }
}

fn refuse(message: impl Into<String>) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}

fn section(config: &Resolved, key: &str) -> Result<Resolved, ActionError> {
    config.section(key)?.ok_or_else(|| refuse(format!("`{key}` takes a map")))
}

fn credentials(auth: &Resolved, kind: &str) -> Result<(ByteString, ByteString), ActionError> {
    let section = section(auth, kind)?;
    Ok((section.required_text("username")?, section.text("password")?.unwrap_or_default()))
}

/// The value of `Authorization` for a user and password (RFC 7617).
pub(in crate::actions) fn basic(username: &str, password: &str) -> HeaderValue {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))).expect("base64 is visible ASCII")
}

/// A header's value that is kept out of debug output; `None` when it cannot be sent.
pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a token is asked for with; equal requests share a token within a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenRequest {
    token_url: Url,
    client_id: ByteString,
    client_secret: Option<ByteString>,
    grant: Grant,
    scope: Option<ByteString>,
    audience: Option<ByteString>,
    /// Whether the client's id and secret go into the body instead of the `Authorization` header.
    credentials_in_body: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Grant {
    ClientCredentials,
    Password { username: ByteString, password: ByteString },
    RefreshToken { refresh_token: ByteString },
}

/// A token and when it ends.
#[derive(Debug)]
pub(super) struct Token {
    value: ByteString,
    fresh_until: Option<Instant>,
}

impl TokenRequest {
    fn read(config: &Resolved) -> Result<Self, ActionError> {
        let written = config.required_text("token_url")?;
        let token_url = super::address::parse_url("token_url", &written)?;
        let grant = match config.text("grant")?.as_deref() {
            None | Some("client_credentials") => Grant::ClientCredentials,
            Some("password") => Grant::Password {
                username: config.required_text("username")?,
                password: config.required_text("password")?,
            },
            Some("refresh_token") => Grant::RefreshToken { refresh_token: config.required_text("refresh_token")? },
            Some(other) => {
                let message =
                    format!("`grant` takes `client_credentials`, `password` or `refresh_token`, got `{other}`");
                return Err(refuse(message));
            }
        };
        let credentials_in_body = match config.text("client_auth")?.as_deref() {
            None | Some("header") => false,
            Some("body") => true,
            Some(other) => return Err(refuse(format!("`client_auth` takes `header` or `body`, got `{other}`"))),
        };
        Ok(Self {
            token_url,
            client_id: config.required_text("client_id")?,
            client_secret: config.text("client_secret")?,
            grant,
            scope: config.text("scope")?,
            audience: config.text("audience")?,
            credentials_in_body,
        })
    }

    /// The token, from the run's own or fetched.
    pub(super) async fn token(
        &self,
        session: &HttpSession,
        connection: &ConnectionOptions,
    ) -> Result<ByteString, Failure> {
        let mut tokens = session.tokens.lock().await;
        if let Some(token) = tokens.get(self)
            && token.fresh_until.is_none_or(|end| Instant::now() < end)
        {
            return Ok(token.value.clone());
        }
        let token = self.fetch(session, connection).await?;
        let value = token.value.clone();
        tokens.insert(self.clone(), token);
        Ok(value)
    }

    async fn fetch(&self, session: &HttpSession, connection: &ConnectionOptions) -> Result<Token, Failure> {
        let endpoint = shown(&self.token_url);
        let mut request = Request::new(Bytes::from(self.form()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = request_uri(&self.token_url)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(secret) = self.client_secret.as_ref().filter(|_| !self.credentials_in_body) {
            // RFC 6749, section 2.3.1: both are form-encoded before they are joined.
            let encoded = |text: &ByteString| byte_serialize(text.as_bytes()).collect::<String>();
            headers.insert(AUTHORIZATION, basic(&encoded(&self.client_id), &encoded(secret)));
        }
        let asked = Instant::now();
        let about =
            |failure: Failure| Failure { message: format!("token from `{endpoint}`: {}", failure.message), ..failure };
        let response = session.client.send(request, connection).await.map_err(|error| about(error.into()))?;
        let response = response.collect(TOKEN_BODY_LIMIT).await.map_err(|error| about(error.into()))?;
        read_token(&response, asked).map_err(|message| about(Failure::new(ErrorKind::Protocol, message)))
    }

    fn form(&self) -> String {
        let mut form = Serializer::new(String::new());
        match &self.grant {
            Grant::ClientCredentials => {
                form.append_pair("grant_type", "client_credentials");
            }
            Grant::Password { username, password } => {
                form.append_pair("grant_type", "password");
                form.append_pair("username", username).append_pair("password", password);
            }
            Grant::RefreshToken { refresh_token } => {
                form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", refresh_token);
            }
        }
        // A client without a secret has nothing to sign in with, but still says who it is.
        if self.credentials_in_body || self.client_secret.is_none() {
            form.append_pair("client_id", &self.client_id);
            if let Some(secret) = &self.client_secret {
                form.append_pair("client_secret", secret);
            }
        }
        for (name, value) in [("scope", &self.scope), ("audience", &self.audience)] {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        form.finish()
    }
}

#[derive(serde::Deserialize)]
struct TokenAnswer {
    access_token: Option<String>,
    /// Seconds; some servers send text.
    expires_in: Option<serde_json::Value>,
    error: Option<String>,
    error_description: Option<String>,
}

fn read_token(response: &FullResponse, asked: Instant) -> Result<Token, String> {
    let status = response.status.as_u16();
    let answer: TokenAnswer = serde_json::from_slice(&response.body)
        .map_err(|_| format!("it answered {status} and no token (its body is not JSON)"))?;
    match answer.access_token {
        Some(value) if response.status.is_success() => {
            let seconds = answer.expires_in.and_then(|seconds| match seconds {
                serde_json::Value::Number(number) => number.as_u64(),
                serde_json::Value::String(text) => text.parse().ok(),
                _ => None,
            });
            let fresh_until =
                seconds.map(|seconds| asked + Duration::from_secs(seconds.min(1 << 32)).saturating_sub(EXPIRY_MARGIN));
            Ok(Token { value: value.into(), fresh_until })
        }
        _ => {
            let words: Vec<_> = [answer.error, answer.error_description].into_iter().flatten().collect();
            let reason = if words.is_empty() { "no `access_token`".to_owned() } else { words.join(": ") };
            Err(format!("it answered {status}: {reason}"))
        }
    }
}
