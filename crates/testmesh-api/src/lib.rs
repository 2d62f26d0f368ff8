//! Speaks HTTP, WebSocket and SSE: routes, authentication, the OpenAPI document.
//!
//! Owns no table and decides nothing about flows: a handler reads a request, calls one trait, and writes the answer.
//! Every error leaves as a problem document (RFC 9457) with a code of [`testmesh_shared::error::ErrorCode`].

mod auth;
mod cursor;
mod definition;
mod etag;
mod extract;
mod guard;
mod handlers;
mod home;
mod meters;
mod negotiate;
mod openapi;
mod page;
mod problem;
mod routes;
mod serve;
mod state;
mod table;

pub use auth::scope::Scope;
pub use auth::tokens::{NewToken, Tokens, TokensError};
pub use meters::Metrics;
pub use openapi::document;
pub use routes::{metrics_router, router, system_router};
pub use serve::serve;
pub use state::{Access, ApiState, Callers, Check, Limits, SystemState};
