//! The API as its callers see it: a real server on a free port, real repositories, a real executor.

mod access;
mod app;
mod environments;
mod errors;
mod events;
mod executions;
mod flows;
mod hostile;
mod system;
