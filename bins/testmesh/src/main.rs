//! The TestMesh command line.
//!
//! Only this binary reads the environment, the terminal and the arguments; what a flow means is the runner's business.

mod args;
mod commands;
mod console;
mod document;
mod environment;
mod exit;
mod import;
mod local;
mod plan;
mod remote;
mod settings;
mod sources;
mod spread;
mod suite;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Nobody reads what libraries log here. Unless that is said, they make it all the same: with HTTP/2, a tenth of a call.
    let _ = tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::default());
    commands::dispatch(args::Cli::parse()).into()
}
