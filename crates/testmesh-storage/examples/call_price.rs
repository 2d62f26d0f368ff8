//! What it costs to ask a storage in another process instead of this one: the same reads, in-process and over loopback.
//!
//! `cargo run --release -p testmesh-storage --example call_price`. Both go to one SQLite database, in turns, so that the
//! machine's other work falls on both alike.

#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testmesh_shared::clock::SystemClock;
use testmesh_shared::db::{DataFolder, Db};
use testmesh_shared::ids::FlowId;
use testmesh_shared::internal::{Client, ClientLimits, Credentials, Gate, GateLimits, InternalToken, Target, serve};
use testmesh_shared::tasks::Tasks;
use testmesh_storage::{FlowHeader, FlowRepository, NewFlow, remote};

const TOKEN: &str = "a-secret-of-this-measurement-alone";
const WARM_UP: usize = 2_000;
const CALLS: usize = 20_000;
/// A flow of a few steps.
const FLOW_BYTES: usize = 2_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let db = Db::embedded(&DataFolder::take(folder.path())?, &testmesh_storage::SCHEMA).await?;
    let clock = Arc::new(SystemClock);
    let local = testmesh_storage::flow_repository(&db, clock.clone());
    let environments = testmesh_storage::environment_repository(&db, clock);

    let credentials = Credentials::new(Some(InternalToken::parse(TOKEN)?), None)?;
    let gate = Gate::new(credentials.clone(), GateLimits::default());
    let router = remote::router(Arc::clone(&local), environments).layer(gate.http());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let tasks = Tasks::new();
    tasks.spawn(serve(listener, router, credentials.clone(), tasks.cancelled().clone(), Duration::from_secs(1)));
    let client = Client::new(Target::parse(&url, &credentials)?, credentials, ClientLimits::default());
    let far = remote::flow_repository(&client);

    let id = FlowId::generate(&SystemClock);
    let header = FlowHeader { name: "login".to_owned(), description: None, suite: None, tags: Vec::new() };
    local.create(NewFlow { id, header, yaml: "a: b\n".repeat(FLOW_BYTES / 5) }).await?;

    let (mut near_times, mut far_times) = (Vec::with_capacity(CALLS), Vec::with_capacity(CALLS));
    for call in 0..WARM_UP + CALLS {
        let near_time = time(&local, id).await?;
        let far_time = time(&far, id).await?;
        if call >= WARM_UP {
            near_times.push(near_time);
            far_times.push(far_time);
        }
    }
    let (near, far) = (Percentiles::of(near_times), Percentiles::of(far_times));
    println!("find a flow, {CALLS} times      p50         p99");
    println!("in this process         {:>9.1?}   {:>9.1?}", near.p50, near.p99);
    println!("over loopback HTTP      {:>9.1?}   {:>9.1?}", far.p50, far.p99);
    println!(
        "the price               {:>9.1?}   {:>9.1?}",
        far.p50.saturating_sub(near.p50),
        far.p99.saturating_sub(near.p99)
    );
    tasks.shutdown().await;
    Ok(())
}

async fn time(flows: &Arc<dyn FlowRepository>, id: FlowId) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    let found = flows.find(id).await?;
    let took = started.elapsed();
    if found.is_some() { Ok(took) } else { Err("the flow is gone".into()) }
}

struct Percentiles {
    p50: Duration,
    p99: Duration,
}

impl Percentiles {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { p50: times[times.len() / 2], p99: times[times.len() * 99 / 100] }
    }
}
