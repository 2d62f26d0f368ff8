//! The real binary: started, asked, stopped, killed, started again.

#![allow(clippy::unwrap_used, reason = "a test whose own server fails should fail, and say where")]

mod health;
#[cfg(feature = "plugins")]
mod plugins;
mod postgres;
mod restart;
mod roles;
mod server;
mod settings;
mod stop;
