//! The API as its callers see it: a real server on a free port, real repositories, a real executor.

#![allow(clippy::unwrap_used, reason = "a test whose own server fails should fail, and say where")]

mod access;
mod app;
mod batches;
mod environments;
mod errors;
mod events;
mod executions;
mod flows;
mod hostile;
mod schedules;
mod system;
