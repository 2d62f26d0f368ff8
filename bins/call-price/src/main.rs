//! What a call of another domain costs beyond its work: in this process, over loopback HTTP, over loopback gRPC.
//!
//! `cargo xtask bench calls` builds and runs it: `call-price ROUNDS` prints one JSON object a line for each way of
//! calling, with p50 and p99 in microseconds of the whole call, of the work in it, and of the rest, its price. The work
//! is timed where it is done, so the price is one of each call, not the difference of two noisy figures. The called side
//! has a runtime of its own, as another process would. All ways take turns, so that the machine's other work falls on
//! all of them alike.
//!
//! For `cargo xtask bench protocols`, `call-price grpc serve` answers gRPC health checks and `call-price grpc ADDRESS
//! ROUNDS` asks for some.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what is measured is printed")]

mod bare;
mod served;
mod times;
mod watched;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testmesh_runner::repository::ExecutionRepository;
use testmesh_shared::ids::{ExecutionId, FlowId};
use testmesh_shared::internal::{Client, ClientLimits, Target};
use testmesh_shared::tasks::Tasks;
use testmesh_storage::FlowRepository;
use tokio::runtime::Runtime;

use crate::bare::{BareGrpc, BareHttp};
use crate::served::{Served, Stage};
use crate::times::Times;
use crate::watched::Watch;

/// Rounds before those that count: connections open, caches fill.
const WARM_UP: usize = 1_000;

/// Anything that ends the measurement.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("call-price: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["grpc", "serve"] => grpc_serve(),
        ["grpc", address, rounds] => grpc_call(address.parse()?, number(rounds)?),
        [rounds] => compare(number(rounds)?),
        _ => Err("usage: call-price ROUNDS | grpc serve | grpc ADDRESS ROUNDS".into()),
    }
}

fn number(rounds: &str) -> Result<usize, Failure> {
    match rounds.parse() {
        Ok(0) => Err("at least one round is needed".into()),
        Ok(rounds) => Ok(rounds),
        Err(_) => Err(format!("`{rounds}` is no number of rounds").into()),
    }
}

/// Answers gRPC health checks until its input ends; prints where.
fn grpc_serve() -> Result<(), Failure> {
    let runtime = Runtime::new()?;
    let address = runtime.block_on(async { bare::serve_grpc(&Tasks::new()).await })?;
    println!("{address}");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

/// Health checks, one after another over one connection.
fn grpc_call(address: SocketAddr, rounds: usize) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = BareGrpc::open(address, &Tasks::new()).await?;
        for _ in 0..rounds {
            connection.call().await?;
        }
        Ok(())
    })
}

/// Every way of calling, so many times each.
fn compare(rounds: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let (serving, calling) = (Runtime::new()?, Runtime::new()?);
    let stage = serving.block_on(Stage::set(folder.path()))?;
    let served = stage.served.clone();
    let tasks = Tasks::new();
    // A task, as it is a task of a worker thread that calls in a server.
    let lanes = calling.block_on(async { tasks.spawn(measure(served, rounds)).await })??;
    serving.block_on(stage.clear());
    for lane in lanes {
        println!("{}", lane.times.line(lane.name));
    }
    Ok(())
}

/// One way of calling.
struct Lane {
    name: &'static str,
    way: Way,
    /// Where the work is timed; none: there is no work.
    watch: Option<Watch>,
    times: Times,
}

enum Way {
    Flows(Arc<dyn FlowRepository>, FlowId),
    Executions(Arc<dyn ExecutionRepository>, ExecutionId),
    BareHttp(BareHttp),
    BareGrpc(BareGrpc),
}

impl Way {
    async fn call(&mut self) -> Result<(), Failure> {
        let found = match self {
            Way::Flows(flows, id) => flows.find(*id).await?.is_some(),
            Way::Executions(executions, id) => executions.find(*id).await?.is_some(),
            Way::BareHttp(connection) => connection.call().await?,
            Way::BareGrpc(connection) => connection.call().await?,
        };
        if found { Ok(()) } else { Err("what was stored is gone".into()) }
    }
}

async fn measure(served: Served, rounds: usize) -> Result<Vec<Lane>, Failure> {
    let tasks = Tasks::new();
    let credentials = served.credentials.clone();
    let target = Target::parse(&format!("http://{}", served.storage), &credentials)?;
    let far_flows =
        testmesh_storage::remote::flow_repository(&Client::new(target, credentials, ClientLimits::default()));
    let runner = testmesh_runner::remote::connect(&[format!("http://{}", served.runner)], &served.credentials)?;
    let (flow, execution) = (served.flow, served.execution);
    let question = serde_json::json!({ "id": flow }).to_string();
    let lane = |name, way, watch| Lane { name, way, watch, times: Times::default() };
    let (flows, executions) = (Some(served.flows_watch), Some(served.executions_watch));
    let mut lanes = vec![
        lane("storage in-process", Way::Flows(served.flows, flow), flows.clone()),
        lane("storage over HTTP", Way::Flows(far_flows, flow), flows),
        lane("runner in-process", Way::Executions(served.executions, execution), executions.clone()),
        lane("runner over gRPC", Way::Executions(runner.executions(), execution), executions),
        lane("bare HTTP", Way::BareHttp(BareHttp::open(served.bare_http, question, &tasks).await?), None),
        lane("bare gRPC", Way::BareGrpc(BareGrpc::open(served.bare_grpc, &tasks).await?), None),
    ];
    for round in 0..WARM_UP + rounds {
        for lane in &mut lanes {
            let started = Instant::now();
            lane.way.call().await?;
            let whole = started.elapsed();
            if round >= WARM_UP {
                lane.times.add(whole, lane.watch.as_ref().map_or(Duration::ZERO, Watch::last));
            }
        }
    }
    runner.close().await;
    Ok(lanes)
}
