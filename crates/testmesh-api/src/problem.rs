//! Errors as they leave the server: problem documents (RFC 9457) with a stable code.
//!
//! A problem carries no text of a driver, no path and no source. It is rendered by the guard, the outermost layer,
//! because only that knows the request's id.

pub(crate) mod convert;
pub(crate) mod status;

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use testmesh_runner::diagnostic::Diagnostic;
use testmesh_shared::error::ErrorCode;
use utoipa::ToSchema;

/// The media type of a problem document.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong, for the caller.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    code: ErrorCode,
    detail: Cow<'static, str>,
    diagnostics: Vec<Diagnostic>,
    retry_after_s: Option<u32>,
}

/// A problem document.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// Where this kind of problem is explained.
    #[schema(example = "/docs/errors/flow_not_found")]
    r#type: String,
    /// The kind of problem, in words.
    title: &'static str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What happened this time: names the field and the rule, or the thing.
    detail: &'a str,
    /// A stable word for it.
    code: ErrorCode,
    /// The request's id, also in the `x-request-id` header and in the log.
    request_id: &'a str,
    /// Every mistake of a flow that does not parse or check.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    diagnostics: Option<&'a [Diagnostic]>,
}

impl Problem {
    /// A problem with a detail: a sentence that names the field and the rule, or the thing.
    pub(crate) fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), diagnostics: Vec::new(), retry_after_s: None }
    }

    /// The request breaks a rule.
    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, detail)
    }

    /// The flow has mistakes.
    pub(crate) fn invalid_flow(diagnostics: Vec<Diagnostic>) -> Self {
        let detail = match diagnostics.len() {
            1 => "the flow has a mistake; `diagnostics` says where and what to do".to_owned(),
            n => format!("the flow has {n} findings; `diagnostics` says where and what to do"),
        };
        Self { diagnostics, ..Self::new(ErrorCode::InvalidFlow, detail) }
    }

    /// A fault of the server itself; what it was goes to the log alone.
    pub(crate) fn internal() -> Self {
        Self::new(ErrorCode::Internal, "the server failed to answer; its log has the reason under this request id")
    }

    /// All event streams are taken.
    pub(crate) fn too_many_streams(limit: usize) -> Self {
        Self {
            retry_after_s: Some(5),
            ..Self::new(ErrorCode::TooManyStreams, format!("all {limit} event streams of this server are taken"))
        }
    }

    /// Says when to try again.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The answer to the request `request_id`.
    pub(crate) fn render(&self, request_id: &str) -> Response {
        let status = status::of(self.code);
        let body = ProblemBody {
            r#type: format!("/docs/errors/{}", self.code),
            title: status::title(self.code),
            status: status.as_u16(),
            detail: &self.detail,
            code: self.code,
            request_id,
            diagnostics: (self.code == ErrorCode::InvalidFlow).then_some(&self.diagnostics),
        };
        let body = serde_json::to_vec(&body).expect("a problem holds nothing that JSON cannot");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"testmesh\""));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = status::of(self.code).into_response();
        response.extensions_mut().insert(self);
        response
    }
}
