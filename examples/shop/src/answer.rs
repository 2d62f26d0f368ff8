//! What the services answer when they do not do it: a status and a body of one shape everywhere.

use std::fmt::Display;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The request is wrong: each field, and what it should be.
    Invalid(Vec<(String, String)>),
    /// The request is well-formed, and cannot be done: why.
    Unacceptable(&'static str, String),
    /// Nobody knows who asks.
    Unauthorized(&'static str),
    /// There is no such thing: its kind.
    NotFound(&'static str),
    /// It contradicts what is there already.
    Conflict(String),
    /// Something that the service works with failed. It is told to the log, and not to the caller.
    Failed(String),
}

impl Refusal {
    /// One field that is wrong.
    pub(crate) fn field(name: &str, problem: &str) -> Self {
        Self::Invalid(vec![(name.to_owned(), problem.to_owned())])
    }

    /// Turns an error of `what` into a refusal.
    pub(crate) fn failed<E: Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Failed(format!("{what}: {error}"))
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(format!("database: {error}"))
    }
}

#[derive(serde::Serialize)]
struct Body {
    error: String,
    code: &'static str,
    #[serde(skip_serializing_if = "Value::is_null")]
    details: Value,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let plain = |status, code, error| (status, Body { error, code, details: Value::Null });
        let (status, body) = match self {
            Self::Invalid(problems) => {
                let list: Vec<String> = problems.iter().map(|(field, problem)| format!("{field} {problem}")).collect();
                let details = problems.iter().map(|(field, problem)| json!({"field": field, "message": problem}));
                let details = Value::Array(details.collect());
                (StatusCode::BAD_REQUEST, Body { error: list.join("; "), code: "validation_failed", details })
            }
            Self::Unacceptable(code, error) => plain(StatusCode::BAD_REQUEST, code, error),
            Self::Unauthorized(error) => plain(StatusCode::UNAUTHORIZED, "unauthorized", error.to_owned()),
            Self::NotFound(what) => plain(StatusCode::NOT_FOUND, "not_found", format!("{what} not found")),
            Self::Conflict(error) => plain(StatusCode::CONFLICT, "conflict", error),
            Self::Failed(cause) => {
                crate::tell(&format!("a request failed: {cause}"));
                plain(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "internal error".to_owned())
            }
        };
        (status, Json(body)).into_response()
    }
}

/// What a route answers: a status and JSON, or a refusal.
pub(crate) type Answer = Result<(StatusCode, Json<Value>), Refusal>;

/// 200 with a body.
#[expect(clippy::unnecessary_wraps, reason = "every route ends with an `Answer`")]
pub(crate) fn ok(body: Value) -> Answer {
    Ok((StatusCode::OK, Json(body)))
}

/// 201 with a body.
#[expect(clippy::unnecessary_wraps, reason = "every route ends with an `Answer`")]
pub(crate) fn created(body: Value) -> Answer {
    Ok((StatusCode::CREATED, Json(body)))
}
