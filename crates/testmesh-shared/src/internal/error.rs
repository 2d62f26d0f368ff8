//! What can go wrong with a call, and how a server says it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{RELEASE, TOKEN_SETTING};
use crate::error::ErrorCode;
use crate::http::HttpError;

/// An error as it crosses the wire. A receiver ignores fields that it does not know and takes a code that it does not
/// know for [`ErrorCode::Unavailable`], so that two releases can talk to each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireError {
    /// A stable word, as a rule one of [`ErrorCode`].
    pub code: String,
    /// For people and logs. Holds no text of a driver.
    #[serde(default)]
    pub message: String,
    /// What a caller branches on beside the code; its shape depends on the code.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub details: serde_json::Value,
}

impl WireError {
    /// An error without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code: code.as_str().to_owned(), message: message.into(), details: serde_json::Value::Null }
    }

    /// The same with details.
    #[must_use]
    pub fn with(self, details: serde_json::Value) -> Self {
        Self { details, ..self }
    }

    /// The code, when this release knows it.
    pub fn known_code(&self) -> Option<ErrorCode> {
        self.code.parse().ok()
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("two strings and a JSON value are JSON")
    }
}

/// A call to another process did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no connection, or it broke.
    #[error("cannot reach `{target}`")]
    Unreachable {
        /// The process that was called.
        target: String,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// No answer in time.
    #[error("`{target}` did not answer within {} ms", .time.as_millis())]
    TimedOut {
        /// The process that was called.
        target: String,
        /// How long it had.
        time: Duration,
    },
    /// The other side does not know this process.
    #[error(
        "`{target}` does not accept the credentials of this process ({message}); both need the same token in the file \
         that `{TOKEN_SETTING}` names, or certificates of the same authority"
    )]
    Unauthorized {
        /// The process that was called.
        target: String,
        /// What it said.
        message: String,
    },
    /// The other side says that it could not do it.
    #[error("`{target}` answered `{}`: {}", .error.code, .error.message)]
    Answered {
        /// The process that was called.
        target: String,
        /// What it said.
        error: WireError,
    },
    /// The answer makes no sense to this release.
    #[error(
        "`{target}` answered what this release ({RELEASE}) cannot read{}: {reason}",
        .release.as_ref().map(|release| format!(" (it is release {release})")).unwrap_or_default()
    )]
    Malformed {
        /// The process that was called.
        target: String,
        /// Its release, when it named one.
        release: Option<String>,
        /// What is wrong with it. Never a part of it.
        reason: String,
    },
    /// The answer is over the limit.
    #[error("the answer of `{target}` is larger than {limit} bytes")]
    TooLarge {
        /// The process that was called.
        target: String,
        /// The limit.
        limit: u64,
    },
}

impl CallError {
    /// The stable word for it: the other side's own when it is known, otherwise [`ErrorCode::Unavailable`].
    pub fn code(&self) -> ErrorCode {
        match self {
            CallError::Answered { error, .. } => error.known_code().unwrap_or(ErrorCode::Unavailable),
            CallError::Unreachable { .. }
            | CallError::TimedOut { .. }
            | CallError::Unauthorized { .. }
            | CallError::Malformed { .. }
            | CallError::TooLarge { .. } => ErrorCode::Unavailable,
        }
    }
}
