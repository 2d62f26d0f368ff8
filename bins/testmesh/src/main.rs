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
    commands::dispatch(args::Cli::parse()).into()
}
