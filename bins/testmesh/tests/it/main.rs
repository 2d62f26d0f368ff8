//! The command line from outside: the real program against services on loopback.

mod commands;
mod concurrency;
mod formats;
mod import;
#[cfg(unix)]
mod interrupts;
mod parity;
#[cfg(feature = "plugins")]
mod plugins;
mod program;
mod remote;
mod reports;
mod run;
mod service;
