//! What the infrastructure does against real sockets.

#![allow(clippy::unwrap_used, reason = "a test whose own servers fail should fail, and say where")]

mod http;
mod http_body;
mod http_proxy;
mod http_tls;
mod internal;
mod net;
mod redis_server;
mod server;
mod stream;
mod stream_redis;
