//! Calls that the gate turns away, as HTTP and as gRPC say it.

use http::{HeaderValue, Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{WireError, header};
use crate::error::ErrorCode;

/// What the gRPC specification asks to encode in `grpc-message`, in UTF-8.
const GRPC_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// A call that did not get through, or did not get its answer.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The stable word for it.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Whether no work was begun, so that any call can be repeated.
    pub before_work: bool,
}

/// How a refusal is put into an answer with a body of type `B`.
pub trait Render<B>: Clone + Send + Sync + 'static {
    /// The answer.
    fn render(&self, refusal: &Refusal) -> Response<B>;
}

/// Answers with a status and a [`WireError`] in JSON.
#[derive(Debug, Clone, Copy)]
pub struct Http;

/// Answers with `grpc-status` and `grpc-message`.
#[derive(Debug, Clone, Copy)]
pub struct Grpc;

impl<B: From<String>> Render<B> for Http {
    fn render(&self, refusal: &Refusal) -> Response<B> {
        let status = match refusal.code {
            ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorCode::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let body = WireError::new(refusal.code, refusal.message.clone()).to_json();
        let mut response = Response::new(B::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        mark(refusal, headers);
        response
    }
}

impl<B: Default> Render<B> for Grpc {
    fn render(&self, refusal: &Refusal) -> Response<B> {
        // The numbers are those of the gRPC specification.
        let status = match refusal.code {
            ErrorCode::Unauthorized => "16",
            ErrorCode::PayloadTooLarge => "8",
            ErrorCode::Overloaded => "14",
            ErrorCode::Timeout => "4",
            _ => "13",
        };
        let mut response = Response::new(B::default());
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static(status));
        let message = utf8_percent_encode(&refusal.message, GRPC_MESSAGE).to_string();
        headers.extend(
            HeaderValue::from_str(&message).ok().map(|value| (http::HeaderName::from_static("grpc-message"), value)),
        );
        mark(refusal, headers);
        response
    }
}

fn mark(refusal: &Refusal, headers: &mut http::HeaderMap) {
    if refusal.before_work {
        headers.insert(header::TURNED_AWAY, HeaderValue::from_static("1"));
    }
}
