//! The runner in a process of its own: its traits over gRPC, with several runners as one.
//!
//! A runner process gives its executor to [`serve`]; whoever uses it gets the same traits from [`connect`]. Runs live in
//! the database, so any runner answers for any run: a call that gets no answer from one is made again at another. That
//! is safe for every method, as what is submitted has the caller's id.

mod client;
mod server;
mod wire;

pub use client::{RemoteRunner, connect};
pub use server::{ServeParts, serve};
