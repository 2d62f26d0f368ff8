//! Request bodies: bounded in size and time, of a declared type, and decoded without tolerance.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use testmesh_shared::error::ErrorCode;
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::state::App;

/// A body as it came.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    media: Media,
}

/// What a body says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Media {
    Unstated,
    Json,
    Yaml,
    Other(String),
}

/// A flow's text inside JSON.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FlowText {
    /// The flow as YAML, exactly one document.
    #[schema(example = "name: ping\nsteps:\n  - action: log\n    config: {message: hello}\n")]
    pub(crate) yaml: String,
}

impl FromRequest<Arc<App>> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let limit = app.limits.body_bytes;
        let too_large = || Problem::new(ErrorCode::PayloadTooLarge, format!("the body may have at most {limit} bytes"));
        let headers = request.headers();
        let media = media(headers);
        let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if declared.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let read = Limited::new(request.into_body(), limit).collect();
        let collected = match tokio::time::timeout(app.limits.body_time, read).await {
            Ok(Ok(collected)) => collected,
            Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => return Err(too_large()),
            Ok(Err(_)) => return Err(Problem::new(ErrorCode::BadRequest, "the body ended early or is malformed")),
            Err(_) => {
                let seconds = app.limits.body_time.as_secs();
                return Err(Problem::new(ErrorCode::BadRequest, format!("the body did not arrive within {seconds} s")));
            }
        };
        Ok(Self { bytes: collected.to_bytes(), media })
    }
}

impl Body {
    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        match self.media {
            Media::Json => decode(&self.bytes),
            Media::Unstated | Media::Yaml | Media::Other(_) => Err(self.unsupported("application/json")),
        }
    }

    /// The body as JSON; no body at all, or `null`, is the default.
    pub(crate) fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        let empty = self.bytes.is_empty() && matches!(self.media, Media::Unstated | Media::Json);
        if empty || (self.media == Media::Json && self.bytes.trim_ascii() == b"null") {
            return Ok(T::default());
        }
        self.json()
    }

    /// A flow's text: the body itself when it is YAML, or the field `yaml` of a JSON body.
    pub(crate) fn flow_text(&self) -> Result<String, Problem> {
        match self.yaml()? {
            Some(text) => Ok(text),
            None => Ok(self.json_or_yaml::<FlowText>()?.yaml),
        }
    }

    /// The body as text when it says that it is YAML.
    pub(crate) fn yaml(&self) -> Result<Option<String>, Problem> {
        if self.media != Media::Yaml {
            return Ok(None);
        }
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(error) => Err(Problem::new(
                ErrorCode::BadRequest,
                format!("the body is not UTF-8: byte {} starts no character", error.valid_up_to()),
            )),
        }
    }

    /// The body as JSON, where YAML would have been welcome too.
    pub(crate) fn json_or_yaml<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        match self.media {
            Media::Json => decode(&self.bytes),
            Media::Unstated | Media::Yaml | Media::Other(_) => {
                Err(self.unsupported("application/yaml` or `application/json"))
            }
        }
    }

    fn unsupported(&self, expected: &str) -> Problem {
        let found = match &self.media {
            Media::Unstated => "it is missing".to_owned(),
            Media::Json => "it is `application/json`".to_owned(),
            Media::Yaml => "it is `application/yaml`".to_owned(),
            Media::Other(name) => format!("it is `{}`", name.chars().take(100).collect::<String>()),
        };
        Problem::new(ErrorCode::UnsupportedMediaType, format!("`Content-Type` must be `{expected}`; {found}"))
    }
}

fn media(headers: &HeaderMap) -> Media {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Media::Unstated };
    let Ok(text) = value.to_str() else { return Media::Other("not text".to_owned()) };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Media::Json,
        "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => Media::Yaml,
        _ => Media::Other(essence),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // A derived reader takes a list for an object with its fields in order; this API does not.
    let is_object = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let decoded = if is_object {
        serde_json::from_slice(bytes)
    } else {
        let parsed = serde_json::from_slice::<IgnoredAny>(bytes);
        parsed.and_then(|_| Err(serde::de::Error::custom("a JSON object is wanted")))
    };
    decoded.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::invalid(format!("the body does not fit: {error}")),
        serde_json::error::Category::Syntax | serde_json::error::Category::Eof | serde_json::error::Category::Io => {
            Problem::new(ErrorCode::BadRequest, format!("the body is not JSON: {error}"))
        }
    })
}
