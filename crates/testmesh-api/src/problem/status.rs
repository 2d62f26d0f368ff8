//! The status and the title of each error code: the one place that maps them.

use axum::http::StatusCode;
use testmesh_shared::error::ErrorCode;

/// The status an answer with this code has.
pub(crate) fn of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::RouteNotFound
        | ErrorCode::FlowNotFound
        | ErrorCode::VersionNotFound
        | ErrorCode::EnvironmentNotFound
        | ErrorCode::ExecutionNotFound
        | ErrorCode::StepNotFound
        | ErrorCode::BatchNotFound
        | ErrorCode::SuiteNotFound
        | ErrorCode::ScheduleNotFound
        | ErrorCode::JobNotFound => StatusCode::NOT_FOUND,
        ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        ErrorCode::NameTaken
        | ErrorCode::IdempotencyMismatch
        | ErrorCode::AlreadyFinished
        | ErrorCode::JobNotDead
        | ErrorCode::Cancelled => StatusCode::CONFLICT,
        ErrorCode::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ErrorCode::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorCode::InvalidRequest | ErrorCode::InvalidFlow | ErrorCode::SecretsUnavailable => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        ErrorCode::TooManyStreams | ErrorCode::Overloaded | ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Lost | ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// The kind of problem in a few words; the same for every occurrence.
pub(crate) fn title(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::BadRequest => "The request cannot be read",
        ErrorCode::InvalidRequest => "The request breaks a rule",
        ErrorCode::InvalidFlow => "The flow has mistakes",
        ErrorCode::RouteNotFound => "No route at this path",
        ErrorCode::MethodNotAllowed => "The path does not take this method",
        ErrorCode::FlowNotFound => "No flow with this id",
        ErrorCode::VersionNotFound => "The flow has no such version",
        ErrorCode::EnvironmentNotFound => "No environment with this name",
        ErrorCode::ExecutionNotFound => "No execution with this id",
        ErrorCode::StepNotFound => "The execution has no such step",
        ErrorCode::BatchNotFound => "No batch with this id",
        ErrorCode::SuiteNotFound => "No flow belongs to this suite",
        ErrorCode::ScheduleNotFound => "No schedule with this id",
        ErrorCode::JobNotFound => "No job with this id",
        ErrorCode::JobNotDead => "The job is not dead",
        ErrorCode::NameTaken => "The name is taken",
        ErrorCode::PreconditionFailed => "It was changed in the meantime",
        ErrorCode::IdempotencyMismatch => "The idempotency key was used for another request",
        ErrorCode::AlreadyFinished => "The execution is finished",
        ErrorCode::PayloadTooLarge => "The body is over the limit",
        ErrorCode::UnsupportedMediaType => "The content type is not one this route reads",
        ErrorCode::NotAcceptable => "No representation that `Accept` allows",
        ErrorCode::Unauthorized => "A valid token is needed",
        ErrorCode::Forbidden => "Not allowed",
        ErrorCode::SecretsUnavailable => "Secret values cannot be kept",
        ErrorCode::TooManyStreams => "All event streams are taken",
        ErrorCode::Overloaded => "The queue is full",
        ErrorCode::Unavailable => "A part of the server does not answer",
        ErrorCode::Lost => "The run was lost",
        ErrorCode::Timeout => "The run took too long",
        ErrorCode::Cancelled => "The run was cancelled",
        ErrorCode::Internal => "A fault in the server",
    }
}
