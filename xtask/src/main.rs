//! `cargo xtask`: the checks, tests and benchmarks of the workspace. Depends on no product crate.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool that people run in a terminal")]

mod bench;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Checks, tests and benchmarks of the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measures release builds against bare limits in the same run.
    Bench {
        /// What to measure.
        benchmark: bench::Benchmark,
        #[command(flatten)]
        options: bench::Options,
    },
    /// Runs one command and prints what it took; used by `bench`.
    #[command(hide = true)]
    Measure {
        /// The command.
        #[arg(last = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Bench { benchmark, options } => bench::run(&root(), benchmark, &options),
        Task::Measure { command } => bench::measure::measure_here(&command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace").to_owned()
}
