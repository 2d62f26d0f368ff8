//! The stable words for what went wrong, shared by every domain and every wire.
//!
//! Each domain has its own error enum with only what a caller branches on, and a `code()` that maps it to one of
//! these. The HTTP API maps each of these to a status in one exhaustive match. `docs/errors/` has a page for each.

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)*) => {
        /// A stable word for one kind of trouble.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorCode {
            /// Every code there is, in the order of their declaration.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The word as it stands in answers, records and the documentation.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $word,)*
                }
            }
        }
    };
}

error_codes! {
    /// The request cannot be read: malformed JSON, invalid UTF-8, a bad header.
    BadRequest = "bad_request",
    /// The request can be read but breaks a rule; the detail names the field and the rule.
    InvalidRequest = "invalid_request",
    /// The flow has mistakes; the answer carries them as diagnostics.
    InvalidFlow = "invalid_flow",
    /// No route at this path.
    RouteNotFound = "route_not_found",
    /// The path exists, but not with this method.
    MethodNotAllowed = "method_not_allowed",
    /// No flow with this id.
    FlowNotFound = "flow_not_found",
    /// The flow has no such version.
    VersionNotFound = "version_not_found",
    /// No environment with this name.
    EnvironmentNotFound = "environment_not_found",
    /// No execution with this id.
    ExecutionNotFound = "execution_not_found",
    /// The execution has no such step.
    StepNotFound = "step_not_found",
    /// No batch with this id.
    BatchNotFound = "batch_not_found",
    /// No flow belongs to this suite.
    SuiteNotFound = "suite_not_found",
    /// No schedule with this id.
    ScheduleNotFound = "schedule_not_found",
    /// No job with this id.
    JobNotFound = "job_not_found",
    /// Only a dead job can be retried, and this one is not.
    JobNotDead = "job_not_dead",
    /// Another object has this name.
    NameTaken = "name_taken",
    /// `If-Match` names another version than the stored one.
    PreconditionFailed = "precondition_failed",
    /// The idempotency key was used with another body.
    IdempotencyMismatch = "idempotency_mismatch",
    /// The execution is finished: there is nothing to cancel.
    AlreadyFinished = "already_finished",
    /// The request body is over the limit.
    PayloadTooLarge = "payload_too_large",
    /// The body's content type is not one this route reads.
    UnsupportedMediaType = "unsupported_media_type",
    /// No representation that the `Accept` header allows.
    NotAcceptable = "not_acceptable",
    /// No token, or one that is not known.
    Unauthorized = "unauthorized",
    /// The token's scope does not allow this.
    Forbidden = "forbidden",
    /// Secret values cannot be kept: the server has no key to seal them with.
    SecretsUnavailable = "secrets_unavailable",
    /// All event streams of this replica are taken.
    TooManyStreams = "too_many_streams",
    /// The queue of this replica is full.
    Overloaded = "overloaded",
    /// A part this server needs does not answer.
    Unavailable = "unavailable",
    /// The server stopped or died while the run was going.
    Lost = "lost",
    /// The run took longer than its time-out.
    Timeout = "timeout",
    /// The run was cancelled.
    Cancelled = "cancelled",
    /// A fault in TestMesh itself.
    Internal = "internal",
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl std::str::FromStr for ErrorCode {
    type Err = UnknownCode;

    fn from_str(word: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|code| code.as_str() == word).ok_or(UnknownCode)
    }
}

impl utoipa::PartialSchema for ErrorCode {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("A stable word for one kind of trouble; each has a page in the documentation."))
            .enum_values(Some(Self::ALL.iter().map(|code| code.as_str())))
            .into()
    }
}

impl utoipa::ToSchema for ErrorCode {}

impl<'de> serde::Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map_err(serde::de::Error::custom)
    }
}

/// A word that is no [`ErrorCode`].
#[derive(Debug, thiserror::Error)]
#[error("unknown error code")]
pub struct UnknownCode;
