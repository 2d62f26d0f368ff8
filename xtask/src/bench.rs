//! `cargo xtask bench NAME`: release builds, whole processes, against the bare limit in the same run.
//!
//! Figures are for comparing on one machine; nothing in the tests depends on them.

pub(crate) mod measure;

mod calls;
mod engine;
mod load;
mod protocols;
mod queue;
mod server;
mod table;
mod target;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace;

/// What to measure.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Benchmark {
    /// Calls between domains, and a run in every shape, on PostgreSQL and Redis.
    Calls,
    /// The command line against a bare HTTP client.
    Engine,
    /// Runs a second through the HTTP API, durable.
    Server,
    /// Steps of SQL, Redis and Kafka against a client library.
    Protocols,
    /// Jobs and submissions on PostgreSQL and Redis.
    Queue,
}

/// How to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// One JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Fewer rounds: a look, not a figure to quote.
    #[arg(long)]
    quick: bool,
    /// Only this part of `queue`; can be repeated.
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<queue::Case>,
}

/// The programs that are measured.
#[derive(Debug, Clone)]
struct Programs {
    testmesh: PathBuf,
    server: PathBuf,
    bare_client: PathBuf,
    bare_protocol: PathBuf,
    call_price: PathBuf,
    xtask: PathBuf,
}

/// Builds what is measured, measures, prints.
pub(crate) fn run(root: &Path, benchmark: Benchmark, options: &Options) -> Result<(), String> {
    let programs = build(root)?;
    if cfg!(debug_assertions) {
        return again(&programs.xtask);
    }
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("start a runtime: {error}"))?;
    let figures = runtime.block_on(async {
        match benchmark {
            Benchmark::Calls => calls::run(options, &programs).await,
            Benchmark::Engine => engine::run(options, &programs).await,
            Benchmark::Server => server::run(options, &programs).await,
            Benchmark::Queue => queue::run(options, &programs).await,
            Benchmark::Protocols => tokio::task::block_in_place(|| protocols::run(root, options, &programs)),
        }
    })?;
    table::print(&figures, options.json)
}

/// Measures by an optimised build of this program: its clients share the processors with what they measure.
fn again(program: &Path) -> Result<(), String> {
    let status = Command::new(program)
        .args(std::env::args_os().skip(1))
        .status()
        .map_err(|error| format!("start `{}`: {error}", program.display()))?;
    if status.success() { Ok(()) } else { Err(format!("the benchmark ended with {status}")) }
}

fn build(root: &Path) -> Result<Programs, String> {
    // Apart, so that what is measured has the features that it is released with, and none that this program asks for.
    for packages in [&["-p", "testmesh", "-p", "testmesh-server", "-p", "call-price"][..], &["-p", "xtask"]] {
        let status = workspace::cargo()
            .current_dir(root)
            .args(["build", "--release", "--quiet", "--bins"])
            .args(packages)
            .status()
            .map_err(|error| format!("start cargo: {error}"))?;
        if !status.success() {
            return Err("the release build failed".to_owned());
        }
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let program = |name: &str| target.join("release").join(name);
    Ok(Programs {
        testmesh: program("testmesh"),
        server: program("testmesh-server"),
        bare_client: program("bare_client"),
        bare_protocol: program("bare_protocol"),
        call_price: program("call-price"),
        xtask: program("xtask"),
    })
}
