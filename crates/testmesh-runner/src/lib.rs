//! How a flow runs: the flow language, its actions, the engine, and the executions it leaves behind.
//!
//! Owns the schema `executions`. The engine emits a closed set of [`event::RunEvent`]s and knows none of those who
//! listen: the recorder, live events, the console and reports are folds over them.

pub(crate) mod action;
pub(crate) mod actions;
pub mod builtins;
pub mod diagnostic;
pub mod engine;
pub mod event;
pub mod executor;
pub(crate) mod expr;
pub mod files;
pub mod flow;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod mask;
pub(crate) mod path;
pub mod plugins;
pub mod programs;
pub mod record;
#[cfg(feature = "remote")]
pub mod remote;
pub mod report;
pub mod repository;
pub(crate) mod scope;
pub(crate) mod snapshot;
pub mod template;
pub(crate) mod units;
pub mod value;
