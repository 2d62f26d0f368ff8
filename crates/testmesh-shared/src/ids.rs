//! Ids of things that are stored: UUIDv7, one type each, parsed at the edge.

use crate::clock::Clock;

/// An id could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a UUID")]
pub struct InvalidId {
    /// What was given.
    pub text: String,
}

macro_rules! define_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[derive(utoipa::ToSchema)]
        #[serde(transparent)]
        pub struct $name(uuid::Uuid);

        impl $name {
            /// A new id whose order follows `clock`.
            pub fn generate(clock: &dyn Clock) -> Self {
                Self(new_uuid(clock))
            }

            /// The id as a plain UUID, to bind it to a statement.
            pub fn as_uuid(self) -> uuid::Uuid {
                self.0
            }
        }

        impl From<uuid::Uuid> for $name {
            fn from(id: uuid::Uuid) -> Self {
                Self(id)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                uuid::Uuid::try_parse(text).map(Self).map_err(|_| InvalidId { text: text.chars().take(100).collect() })
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

define_id!(
    /// A stored flow.
    FlowId
);
define_id!(
    /// One run of one flow.
    ExecutionId
);
define_id!(
    /// One writing of something that is stored: carried out once, however often it is asked for.
    WriteId
);
define_id!(
    /// A stored environment.
    EnvironmentId
);
define_id!(
    /// A cron schedule.
    ScheduleId
);
define_id!(
    /// One firing of a schedule, with all its attempts.
    JobId
);
define_id!(
    /// One life of one runner process: new at every start.
    SessionId
);
define_id!(
    /// Runs that belong together: those of a suite, or of the rows of one flow's data.
    BatchId
);

/// A UUIDv7 from `clock` and 74 random bits.
pub fn new_uuid(clock: &dyn Clock) -> uuid::Uuid {
    let millis = u64::try_from(clock.now().timestamp_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
}
