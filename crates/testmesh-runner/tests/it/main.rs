//! The runner from outside: what flow files come to.

#![allow(clippy::unwrap_used, reason = "a test whose own servers fail should fail, and say where")]

mod amqp;
mod authority;
mod batches;
mod browser;
mod cluster;
mod contracts;
mod corpus;
mod diagnostics;
mod exec;
mod executor;
mod grpc;
mod http_request;
mod jobs;
mod kafka;
mod mail;
mod mocks;
mod mqtt;
mod nats;
mod openapi;
mod plugin_cache;
mod plugins;
mod proxy;
mod recovery;
mod redis;
mod registry;
mod remote;
mod robustness;
mod run;
mod secure;
mod server;
mod sql;
mod stream;
mod target;
mod wait_for;
mod websocket;
