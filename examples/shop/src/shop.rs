//! What every service works with.

use chrono::{DateTime, SubsecRound as _, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::cache::Cache;
use crate::events::Events;
use crate::neighbours::Neighbours;
use crate::settings::Settings;

/// The things that services share: they are one process, and meet over HTTP and Kafka all the same.
pub(crate) struct Shop {
    pub(crate) settings: Settings,
    pub(crate) db: PgPool,
    pub(crate) cache: Cache,
    pub(crate) events: Events,
    pub(crate) neighbours: Neighbours,
}

/// The time, as precise as the database keeps it.
#[expect(clippy::disallowed_methods, reason = "a program of its own, which has no other clock")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// A new id.
#[expect(clippy::disallowed_methods, reason = "a program of its own, which has no other source of ids")]
pub(crate) fn new_id() -> Uuid {
    Uuid::new_v4()
}

/// The id that a caller wrote. What is no id names nothing.
pub(crate) fn id(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok()
}
