//! PostgreSQL that restarts, and a server that alone does not reach it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, block_in_place};

use super::super::arena::{Arena, Spec};
use super::super::findings::{Findings, Spoils};
use super::super::load;
use super::super::proxy::{Fault, Proxy};
use super::super::server::Server;
use super::runner::RESCUE_S;
use crate::services::Stop;

/// How long PostgreSQL may have been back before submissions are taken again.
const RECOVERY_S: f64 = 10.0;
/// Steps of a run that is longer than the lease.
const STEPS: u32 = 120;
/// Clients that submit all the time.
const CLIENTS: usize = 4;

/// Submissions that a server said it took: the execution and when.
type Taken = Vec<(String, Instant)>;

/// F9: restarted while runs are submitted, scheduled and going on.
pub(super) async fn restarted(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let (rate, rounds) = arena.scale.pick((10, 1), (50, 5));
    let spec = arena.spec()?;
    let mut servers = arena.servers(&spec, 2).await?;
    let load = load::steady(&servers[0], &arena.target, rate, Duration::from_millis(20)).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = submitters(&servers, &load.flow, &stop);
    let mut back = Vec::new();
    for how in [Stop::Fast, Stop::Immediate].into_iter().cycle().take(2 * rounds) {
        tokio::time::sleep(arena.seed.between(Duration::from_secs(2), Duration::from_secs(4))).await;
        let postgres = arena.services.postgres.as_mut().ok_or("there is no PostgreSQL")?;
        block_in_place(|| postgres.stop(how).and_then(|()| postgres.start())).map_err(|error| error.to_string())?;
        back.push(Instant::now());
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut taken, mut keys) = (Taken::new(), 0);
    while let Some(client) = clients.join_next().await {
        let (its, used) = client.map_err(|error| format!("a client died: {error}"))?;
        taken.extend(its);
        keys += used;
    }
    let mut findings = Findings::new(
        format!("{rate} jobs/s of 3 steps and {CLIENTS} clients that submit, 2 servers"),
        format!("{rounds} fast and {rounds} immediate restarts of PostgreSQL"),
    );
    findings.finish(arena, &mut servers, &load, Spoils::LOST).await?;
    let known: Vec<String> = sqlx::query_scalar("select id::text from executions.executions where job_id is null")
        .fetch_all(&arena.ledger.pool)
        .await
        .map_err(|error| format!("list submissions: {error}"))?;
    let known: HashSet<String> = known.into_iter().collect();
    let gone = taken.iter().filter(|(id, _)| !known.contains(id)).count();
    findings.check("no acknowledged submission is lost", gone == 0, format!("{gone} of {}", taken.len()));
    findings.check("no submission became two", known.len() <= keys, format!("{} runs for {keys} keys", known.len()));
    let recovery = |back: &Instant| {
        let next = taken.iter().filter(|(_, at)| at > back).map(|(_, at)| at.duration_since(*back).as_secs_f64());
        next.fold(f64::INFINITY, f64::min)
    };
    let slowest = back.iter().map(recovery).fold(0.0, f64::max);
    findings.at_most("submissions are taken again after", (slowest, "s"), RECOVERY_S);
    Ok(findings)
}

/// Clients that end when they are told to: what was taken from each, and how many keys it used.
fn submitters(servers: &[Server], flow: &str, stop: &Arc<AtomicBool>) -> JoinSet<(Taken, usize)> {
    let authorities: Vec<String> = servers.iter().map(|server| server.authority.clone()).collect();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (authorities, flow, stop) = (authorities.clone(), flow.to_owned(), Arc::clone(stop));
        clients.spawn(async move {
            let (mut taken, mut keys) = (Taken::new(), 0);
            while !stop.load(Ordering::Relaxed) {
                keys += 1;
                let key = format!("{client}-{keys}");
                if let Ok(id) = load::submit(&authorities, &flow, &key, Duration::from_secs(30)).await {
                    taken.push((id, Instant::now()));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            (taken, keys)
        });
    }
    clients
}

/// F10: one server's way to PostgreSQL goes dark, while it reaches everything else.
pub(super) async fn cut_off(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let (runs, time) = arena.scale.pick((8, Duration::from_secs(22)), (40, Duration::from_secs(30)));
    let proxy = Proxy::before(arena.postgres_port()?).await?;
    let direct = arena.spec()?;
    let spec = Spec { postgres: proxy.port(), ..direct.clone() };
    let mut servers = arena.servers(&spec, 1).await?;
    // Longer than the lease, so that each of them is in the middle when it ends.
    let yaml = load::steps(&arena.target.url(), "long", STEPS, Duration::from_millis(250));
    let flow = load::create_flow(&servers[0], yaml).await?;
    for number in 0..runs {
        let authority = [servers[0].authority.clone()];
        load::submit(&authority, &flow, &number.to_string(), Duration::from_secs(5)).await?;
    }
    tokio::time::sleep(arena.seed.between(Duration::from_secs(2), Duration::from_secs(5))).await;
    proxy.set(Fault::Stall);
    let (cut, cut_at) = (Instant::now(), arena.ledger.now().await?);
    let lease = arena
        .ledger
        .measure(
            "select extract(epoch from max(lease_until) - clock_timestamp())::float8 from executions.runner_sessions",
        )
        .await?
        .ok_or("the server has no lease")?;
    servers.extend(arena.servers(&direct, 1).await?);
    tokio::time::sleep(time).await;
    proxy.set(Fault::None);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut findings = Findings::new(
        format!("{runs} runs of {STEPS} steps on one server, another one beside it"),
        format!("its PostgreSQL dark for {} s", time.as_secs()),
    );
    findings.settled(arena, &mut servers).await?;
    findings.verdicts(&arena.ledger, &arena.target, Spoils::LOST, STEPS as usize).await?;
    let lost = arena.ledger.ids("error").await?.len();
    findings.check("every run ended as lost, none passed", lost == runs, format!("{lost} of {runs}"));
    let ended = "select extract(epoch from max(finished_at))::float8 from executions.executions";
    let ended = arena.ledger.measure(ended).await?.ok_or("no run has ended")?;
    findings.at_most("longest rescue after the cut", (ended - cut_at, "s"), RESCUE_S);
    let since = |hit: &super::super::target::Hit| hit.at.saturating_duration_since(cut).as_secs_f64();
    let newest = arena.target.hits().iter().map(since).fold(0.0, f64::max);
    let found = format!("the last one after {newest:.1} s, the lease ended after {lease:.1} s");
    findings.check("no step begins after the lease", newest < lease, found);
    findings.figure("last step begun before the lease ended", lease - newest, "s");
    Ok(findings)
}
