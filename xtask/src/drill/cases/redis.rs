//! Redis that dies, forgets, is away, stalls, or is written to by others. What it holds are hints, so nothing is lost.

use std::time::{Duration, Instant};

use tokio::task::block_in_place;

use super::super::arena::{Arena, Spec};
use super::super::client;
use super::super::findings::{Findings, Spoils};
use super::super::load::{self, Load};
use super::super::proxy::{Fault, Proxy};
use super::super::server::Server;

/// How long everything may take to be as before.
const RECOVERY_S: f64 = 15.0;
/// How long servers are under load before anything happens to them, to compare with.
const UNDISTURBED: Duration = Duration::from_secs(4);
/// What must still get done meanwhile, in percent of what was done in time before.
const THROUGHPUT: f64 = 80.0;
/// How soon a stall must be noticed.
const NOTICED_S: f64 = 2.0;

/// Servers under load, before anything happens to them.
struct Stage {
    servers: Vec<Server>,
    load: Load,
    rate: usize,
    /// Since when all schedules fire, by PostgreSQL's clock.
    since: f64,
}

async fn stage(arena: &mut Arena<'_>, spec: &Spec) -> Result<Stage, String> {
    let rate = arena.scale.pick(20, 50);
    let servers = arena.servers(spec, 2).await?;
    let load = load::steady(&servers[0], &arena.target, rate, Duration::from_millis(20)).await?;
    let since = arena.ledger.now().await?;
    tokio::time::sleep(UNDISTURBED).await;
    Ok(Stage { servers, load, rate, since })
}

impl Stage {
    fn words(&self) -> String {
        format!("{} jobs/s of 3 steps, 2 servers", self.rate)
    }

    /// What was done between two times by PostgreSQL's clock, and how long what was due then took.
    async fn finish(
        mut self,
        arena: &Arena<'_>,
        mut findings: Findings,
        (from, to): (f64, f64),
    ) -> Result<Findings, String> {
        // Something of the time after, to compare with.
        tokio::time::sleep(Duration::from_secs(3)).await;
        findings.finish(arena, &mut self.servers, &self.load, Spoils::NONE).await?;
        let before = done_in_time(arena, self.since, from).await?;
        let meanwhile = done_in_time(arena, from, to).await?;
        let share = 100.0 * meanwhile.share() / before.share().max(0.01);
        let found = format!("{meanwhile} done before it was over, {before} in the time before it");
        findings.check("throughput meanwhile ≥ 80 % of that before", before.fired > 0 && share >= THROUGHPUT, found);
        findings.figure("throughput meanwhile", share.min(100.0), "%");
        let last = meanwhile.last;
        findings.at_most("all as before after", ((last.unwrap_or(to) - to).max(0.0), "s"), RECOVERY_S);
        findings.lateness(arena).await?;
        Ok(findings)
    }
}

/// Jobs that were due in a time, and those of them that were done a second after it at the latest.
#[derive(Debug, sqlx::FromRow)]
struct Done {
    fired: i64,
    in_time: i64,
    /// When the last of them was done.
    last: Option<f64>,
}

impl Done {
    #[allow(clippy::cast_precision_loss, reason = "a count of jobs fits in 53 bits")]
    fn share(&self) -> f64 {
        self.in_time as f64 / self.fired.max(1) as f64
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} jobs", self.in_time, self.fired)
    }
}

async fn done_in_time(arena: &Arena<'_>, from: f64, to: f64) -> Result<Done, String> {
    sqlx::query_as(
        "select count(*) as fired, count(*) filter (where extract(epoch from finished_at) <= $2 + 1) as in_time, \
         extract(epoch from max(finished_at))::float8 as last \
         from scheduler.jobs where extract(epoch from nominal_at) between $1 and $2 and state <> 'skipped'",
    )
    .bind(from)
    .bind(to)
    .fetch_one(&arena.ledger.pool)
    .await
    .map_err(|error| format!("read the throughput: {error}"))
}

/// F5: SIGKILL, and an empty Redis in its place.
pub(super) async fn killed(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let kills = arena.scale.pick(2, 10);
    let spec = arena.spec()?;
    let stage = stage(arena, &spec).await?;
    let from = arena.ledger.now().await?;
    for _ in 0..kills {
        let away = arena.seed.between(Duration::from_millis(200), Duration::from_secs(3));
        let redis = arena.services.redis.as_mut().ok_or("there is no Redis")?;
        block_in_place(|| redis.kill()).map_err(|error| error.to_string())?;
        tokio::time::sleep(away).await;
        block_in_place(|| redis.start()).map_err(|error| error.to_string())?;
        tokio::time::sleep(arena.seed.between(Duration::from_secs(1), Duration::from_secs(4))).await;
    }
    let to = arena.ledger.now().await?;
    let findings = Findings::new(stage.words(), format!("{kills} SIGKILLs of Redis, empty after 0.2–3 s"));
    stage.finish(arena, findings, (from, to)).await
}

/// F6: FLUSHALL.
pub(super) async fn flushed(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let (every, flushes) = arena.scale.pick((Duration::from_secs(2), 5), (Duration::from_secs(5), 12));
    let spec = arena.spec()?;
    let stage = stage(arena, &spec).await?;
    let from = arena.ledger.now().await?;
    for _ in 0..flushes {
        client::redis(arena.redis_port()?, &[b"FLUSHALL"])?;
        tokio::time::sleep(every).await;
    }
    let to = arena.ledger.now().await?;
    let findings = Findings::new(stage.words(), format!("{flushes} FLUSHALLs, {} s apart", every.as_secs()));
    stage.finish(arena, findings, (from, to)).await
}

/// F7: not there at all.
pub(super) async fn away(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let time = arena.scale.pick(Duration::from_secs(10), Duration::from_mins(1));
    let spec = arena.spec()?;
    let stage = stage(arena, &spec).await?;
    let from = arena.ledger.now().await?;
    let redis = arena.services.redis.as_mut().ok_or("there is no Redis")?;
    block_in_place(|| redis.kill()).map_err(|error| error.to_string())?;
    tokio::time::sleep(time).await;
    let status = stage.servers[0].get("/readyz").await?.status;
    let redis = arena.services.redis.as_mut().ok_or("there is no Redis")?;
    block_in_place(|| redis.start()).map_err(|error| error.to_string())?;
    let to = arena.ledger.now().await?;
    let mut findings = Findings::new(stage.words(), format!("Redis away for {} s", time.as_secs()));
    findings.check("servers with every role stay ready", status == 200, status.to_string());
    stage.finish(arena, findings, (from, to)).await
}

/// F8: connections stay open, and nothing comes.
pub(super) async fn stalled(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let time = arena.scale.pick(Duration::from_secs(6), Duration::from_secs(30));
    let proxy = Proxy::before(arena.redis_port()?).await?;
    let spec = Spec { redis: Some(proxy.port()), ..arena.spec()? };
    let stage = stage(arena, &spec).await?;
    let from = arena.ledger.now().await?;
    let faults = format!("the way to Redis, then Redis itself, stalls for {} s", time.as_secs());
    let mut findings = Findings::new(stage.words(), faults);
    proxy.set(Fault::Stall);
    let noticed = noticed_after(&stage.servers[0], time).await?;
    findings.at_most("a dark way noticed after", (noticed, "s"), NOTICED_S);
    proxy.set(Fault::None);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let redis = arena.services.redis.as_ref().ok_or("there is no Redis")?;
    redis.pause().map_err(|error| error.to_string())?;
    let noticed = noticed_after(&stage.servers[0], time).await?;
    findings.at_most("a frozen Redis noticed after", (noticed, "s"), NOTICED_S);
    redis.resume().map_err(|error| error.to_string())?;
    let to = arena.ledger.now().await?;
    stage.finish(arena, findings, (from, to)).await
}

/// How long until the server says of itself that it makes do without Redis; looks on until `time` is over.
async fn noticed_after(server: &Server, time: Duration) -> Result<f64, String> {
    let began = Instant::now();
    let mut noticed = f64::INFINITY;
    while began.elapsed() < time {
        let body = server.get("/readyz").await?.body;
        if noticed.is_infinite() && body.contains("stream: degraded") {
            noticed = began.elapsed().as_secs_f64();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(noticed)
}

/// F19: others trim the streams, repeat messages, and write nonsense.
pub(super) async fn foreign_hands(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let rounds = arena.scale.pick(40, 300);
    let spec = arena.spec()?;
    let stage = stage(arena, &spec).await?;
    let port = arena.redis_port()?;
    let (flow, report): (&[u8], &[u8]) = (b"testmesh:run-flow", b"testmesh:run-finished");
    let from = arena.ledger.now().await?;
    for round in 0..rounds {
        let garbage: [&[&[u8]]; 5] = [
            &[b"XADD", flow, b"*", b"no", b"message"],
            &[b"XADD", flow, b"*", b"payload", b"\xff\xfe"],
            &[b"XADD", flow, b"*", b"payload", b"{\"job_id\":"],
            &[b"XADD", report, b"*", b"payload", b"[1,2,3]"],
            &[b"XADD", report, b"*", b"\xff", b""],
        ];
        client::redis(port, garbage[arena.seed.below(garbage.len())])?;
        if round % 10 == 9 {
            client::redis(port, &[b"XTRIM", if round % 20 == 9 { flow } else { report }, b"MAXLEN", b"0"])?;
        }
        for message in repeated(arena).await? {
            client::redis(port, &[b"XADD", flow, b"*", b"payload", message.as_bytes()])?;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let to = arena.ledger.now().await?;
    let faults = format!("{rounds} rounds of garbage and repeated messages, {} foreign XTRIMs", rounds / 10);
    let findings = Findings::new(stage.words(), faults);
    stage.finish(arena, findings, (from, to)).await
}

/// Messages for jobs that were sent before, as the scheduler writes them.
async fn repeated(arena: &Arena<'_>) -> Result<Vec<String>, String> {
    sqlx::query_scalar(
        "select json_build_object('job_id', id, 'attempt', attempt, 'schedule_id', schedule_id, 'manual', manual, \
         'nominal_at', to_char(nominal_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), 'flow_id', flow_id, \
         'flow_version', null, 'environment', null, 'variables', json_build_object())::text \
         from scheduler.jobs where attempt > 0 order by random() limit 4",
    )
    .fetch_all(&arena.ledger.pool)
    .await
    .map_err(|error| format!("read jobs to repeat: {error}"))
}
