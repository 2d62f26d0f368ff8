//! `GET /docs/errors/{code}`: what the `type` of a problem document points at.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use testmesh_shared::error::ErrorCode;

use crate::extract::path::{Path, Word};
use crate::problem::Problem;

macro_rules! pages {
    ($($variant:ident => $file:literal,)*) => {
        /// The page of a code.
        fn page(code: ErrorCode) -> &'static str {
            match code {
                $(ErrorCode::$variant => include_str!(concat!("../../../../../docs/errors/", $file, ".md")),)*
            }
        }
    };
}

pages! {
    BadRequest => "bad_request",
    InvalidRequest => "invalid_request",
    InvalidFlow => "invalid_flow",
    RouteNotFound => "route_not_found",
    MethodNotAllowed => "method_not_allowed",
    FlowNotFound => "flow_not_found",
    VersionNotFound => "version_not_found",
    EnvironmentNotFound => "environment_not_found",
    ExecutionNotFound => "execution_not_found",
    StepNotFound => "step_not_found",
    BatchNotFound => "batch_not_found",
    SuiteNotFound => "suite_not_found",
    ScheduleNotFound => "schedule_not_found",
    JobNotFound => "job_not_found",
    JobNotDead => "job_not_dead",
    NameTaken => "name_taken",
    PreconditionFailed => "precondition_failed",
    IdempotencyMismatch => "idempotency_mismatch",
    AlreadyFinished => "already_finished",
    PayloadTooLarge => "payload_too_large",
    UnsupportedMediaType => "unsupported_media_type",
    NotAcceptable => "not_acceptable",
    Unauthorized => "unauthorized",
    Forbidden => "forbidden",
    SecretsUnavailable => "secrets_unavailable",
    TooManyStreams => "too_many_streams",
    Overloaded => "overloaded",
    Unavailable => "unavailable",
    Lost => "lost",
    Timeout => "timeout",
    Cancelled => "cancelled",
    Internal => "internal",
}

/// What an error code means, why it happens, and what to do about it.
#[utoipa::path(
    get, path = "/docs/errors/{code}", operation_id = "docs_error", tag = "system",
    params(("code" = ErrorCode, Path, description = "The `code` of a problem document.")),
    responses((status = 200, description = "The page, as Markdown.", body = String, content_type = "text/markdown")),
    extensions(("x-errors" = json!(["route_not_found"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn docs_error(Path(Word(code)): Path<Word>) -> Result<Response, Problem> {
    let code: ErrorCode =
        code.parse().map_err(|_| Problem::new(ErrorCode::RouteNotFound, "there is no such error code"))?;
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], page(code)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::status;

    #[test]
    fn every_code_has_its_own_page() {
        for code in ErrorCode::ALL.iter().copied() {
            let text = page(code);
            let heading = format!("# `{code}`");
            assert!(text.starts_with(&heading), "the page of `{code}` must start with `{heading}`");
            let status = format!("Status: {}", status::of(code).as_u16());
            let run = "Status: none";
            assert!(text.contains(&status) || text.contains(run), "the page of `{code}` must say `{status}`");
            for part in ["## Why it happens", "## What to do"] {
                assert!(text.contains(part), "the page of `{code}` lacks `{part}`");
            }
        }
    }
}
