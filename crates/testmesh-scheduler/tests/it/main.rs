//! What the scheduler must do, run on each engine there is.

#![allow(clippy::unwrap_used, reason = "a test whose own database fails should fail, and say where")]

mod dispatch;
mod firing;
mod jobs;
mod replicas;
mod reports;
mod schedules;
mod world;
