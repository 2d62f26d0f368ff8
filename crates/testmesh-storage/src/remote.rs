//! The storage in a process of its own: the same traits, over HTTP and JSON on the internal listener.
//!
//! One trait method is one `POST` to `/internal/storage/v1/…`. Both sides ignore fields that they do not know, and a
//! new field can be left out, so that a release can talk to the one before and the one after it; what cannot be said
//! that way gets a new version in the path, beside the old one for a release.
//!
//! A call is repeated after a lost answer when twice is as good as once, which [`wire`] says for each; all writes but
//! the deletion of an environment are, by the ids that their callers made.

mod client;
mod server;
mod wire;

pub use client::{About, about, environment_repository, flow_repository};
pub use server::router;
