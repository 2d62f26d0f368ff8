//! `cargo xtask`: the checks, tests and benchmarks of the workspace. Knows the product by its files and commands alone.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool that people run in a terminal")]

mod acceptance;
mod bench;
mod boundaries;
mod chart;
mod demo;
mod drill;
mod finding;
mod image;
mod schemas;
mod services;
mod shapes;
mod suite;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Failure;

/// Checks, tests and benchmarks of the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Crate edges, public interfaces, licences, and the shape of the code
    Boundaries {
        /// Record the public interfaces as they are in docs/contracts/
        #[arg(long)]
        bless: bool,
    },
    /// Every statement and migration stays inside its schema, and works on both engines
    Schemas {
        #[command(flatten)]
        options: schemas::Options,
    },
    /// The whole test suite
    Test {
        /// Only this part; may repeat
        #[arg(long, value_name = "PART")]
        only: Vec<suite::Part>,
    },
    /// The demo shop of examples/shop with PostgreSQL, Redis and Kafka, until Ctrl-C; or flows against it
    Demo {
        #[command(flatten)]
        options: demo::Options,
    },
    /// Real servers under faults: what must hold, and what does
    Drill {
        #[command(flatten)]
        options: drill::Options,
    },
    /// The Helm chart: what it makes of its values, and what a cluster and the restricted profile say to that
    Chart {
        #[command(flatten)]
        options: chart::Options,
    },
    /// The container image, without a container engine: its tree, its bill of materials, an OCI layout
    Image {
        #[command(flatten)]
        options: image::Options,
    },
    /// The acceptance suite in every shape that the processes can take
    Shapes {
        #[command(flatten)]
        options: shapes::Options,
    },
    /// Writes the book's pages about actions and settings
    Reference,
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
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Does the task; says how it went.
fn run(task: Task) -> Result<ExitCode, Failure> {
    let root = workspace::root();
    let mut out = std::io::stdout();
    let held = match task {
        Task::Boundaries { bless } => boundaries::run(&root, bless, &mut out)?,
        Task::Schemas { options } => schemas::run(&root, &options, &mut out)?,
        Task::Test { only } => suite::run(&root, &only, &mut out)?,
        Task::Demo { options } => return Ok(demo::run(&root, &options, &mut out).into()),
        Task::Drill { options } => drill::run(&root, &options, &mut out)?,
        Task::Chart { options } => chart::run(&root, options, &mut out)?,
        Task::Image { options } => image::run(&root, &options, &mut out)?,
        Task::Shapes { options } => shapes::run(&root, &options, &mut out)?,
        Task::Reference => suite::reference::write(&root, &mut out)?,
        Task::Bench { benchmark, options } => bench::run(&root, benchmark, &options).map(|()| true)?,
        Task::Measure { command } => bench::measure::measure_here(&command).map(|()| true)?,
    };
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
