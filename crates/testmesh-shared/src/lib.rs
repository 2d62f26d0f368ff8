//! Infrastructure without business logic: ids, clock, databases, outgoing network, calls between processes, tasks,
//! telemetry.
//!
//! Nothing here knows what a flow is. Every domain crate may depend on this one; it depends on none of them.

pub mod clock;
pub mod db;
pub mod error;
pub mod host;
pub mod http;
pub mod ids;
pub mod internal;
pub mod messages;
pub mod net;
pub mod page;
pub mod stream;
pub mod tasks;
pub mod telemetry;
pub mod timestamp;
pub mod tls;
pub mod trace;
