//! The server itself: whether it lives, what it measures, what it documents.

pub(crate) mod docs;
pub(crate) mod errors;
pub(crate) mod health;
pub(crate) mod livez;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod readyz;
