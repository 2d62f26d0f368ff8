//! `cargo xtask bench queue`: jobs and submissions on PostgreSQL with `fsync` on and Redis, against their bare limits.

mod limits;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};

use super::load::{Call, load as offer};
use super::table::{Figure, Goal};
use super::{Options, Programs};
use crate::drill::arena::{Arena, Scale, Spec};
use crate::drill::load;
use crate::drill::server::Server;
use crate::services::{Missing, Services, Stop, Wanted};
use limits::Limits;

/// Clients that submit at the same time.
const CLIENTS: usize = 32;
/// Schedules that all fire every second.
const RATE: usize = 200;
/// Schedules that are there and hardly ever fire.
const MANY: i64 = 100_000;

/// What is measured, in this order.
const CASES: [Case; 5] = [Case::Idle, Case::Start, Case::Submit, Case::Drain, Case::Many];

/// A part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Case {
    /// What a server costs that has nothing to do.
    Idle,
    /// How soon a due job starts.
    Start,
    /// Submissions over HTTP.
    Submit,
    /// How fast a full queue is worked off.
    Drain,
    /// What a great many schedules cost.
    Many,
}

/// Runs every case that is asked for.
pub(super) async fn run(options: &Options, programs: &Programs) -> Result<Vec<Figure>, String> {
    let wanted = Wanted { postgres: true, redis: true, faketime: false, missing: Missing::Install };
    let mut services = Services::start(wanted, &mut std::io::stderr()).map_err(|error| error.to_string())?;
    if !services.missing.is_empty() {
        return Err(services.missing.join("; "));
    }
    count_statements(&mut services).await?;
    let time = Duration::from_secs(if options.quick { 3 } else { 15 });
    let mut figures = Vec::new();
    let limits = {
        let arena = arena(&mut services, &programs.server, "limits").await?;
        let admin = arena.services.postgres.as_ref().map(crate::services::Postgres::url).unwrap_or_default();
        limits::measure(&admin, arena.redis_port()?, time.min(Duration::from_secs(5))).await?
    };
    for (name, value) in [
        ("one-row commits, bare PostgreSQL, 32 connections", limits.commits),
        ("rows in batches of 100, bare PostgreSQL", limits.rows),
        ("stream entries added, read, acknowledged, bare Redis", limits.pairs),
    ] {
        figures.push(Figure::new(name, (value, "1/s"), None, Goal::Shown));
    }
    for case in CASES.into_iter().filter(|case| options.cases.is_empty() || options.cases.contains(case)) {
        let mut arena = arena(&mut services, &programs.server, &format!("{case:?}")).await?;
        figures.extend(match case {
            Case::Idle => idle(&mut arena, time).await?,
            Case::Start => start(&mut arena, &limits, time).await?,
            Case::Submit => submit(&mut arena, &limits, time).await?,
            Case::Drain => drain(&mut arena, &limits, if options.quick { 20_000 } else { 100_000 }).await?,
            Case::Many => many(&mut arena, time).await?,
        });
    }
    Ok(figures)
}

/// A place whose ledger does not look into the tables by itself.
async fn arena<'a>(services: &'a mut Services, program: &Path, case: &str) -> Result<Arena<'a>, String> {
    let arena = Arena::open(services, program, case, (Scale::Long, 1)).await?;
    arena.ledger.rest();
    let counted = sqlx::query("create extension if not exists pg_stat_statements").execute(&arena.ledger.pool).await;
    counted.map_err(|error| format!("count statements: {error}"))?;
    Ok(arena)
}

/// Lets PostgreSQL count what each statement takes.
async fn count_statements(services: &mut Services) -> Result<(), String> {
    let postgres = services.postgres.as_mut().ok_or("there is no PostgreSQL")?;
    let failed = |error: sqlx::Error| format!("set up PostgreSQL: {error}");
    let mut admin = PgConnection::connect(&postgres.url()).await.map_err(failed)?;
    admin.execute("alter system set shared_preload_libraries = 'pg_stat_statements'").await.map_err(failed)?;
    admin.close().await.map_err(failed)?;
    tokio::task::block_in_place(|| postgres.stop(Stop::Fast).and_then(|()| postgres.start()))
        .map_err(|error| error.to_string())
}

/// What a replica costs that has nothing to do.
async fn idle(arena: &mut Arena<'_>, time: Duration) -> Result<Vec<Figure>, String> {
    const REPLICAS: usize = 2;
    let spec = arena.spec()?;
    let servers = arena.servers(&spec, REPLICAS).await?;
    let flow = load::create_flow(&servers[0], load::nothing("idle")).await?;
    servers[0].post(&format!("/api/v1/flows/{flow}/executions?wait=10s"), "{}".to_owned()).await?.done("running")?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let time = time * 2;
    let before = statements(arena).await?;
    tokio::time::sleep(time).await;
    let queries = (statements(arena).await? - before) / time.as_secs_f64() / 2.0;
    let memory = servers.iter().filter_map(resident).fold(0.0, f64::max);
    Ok(vec![
        Figure::new("idle: statements a second and replica", (queries, "1/s"), None, Goal::AtMost(5.0)),
        Figure::new("idle: memory of a replica", (memory, "MiB"), None, Goal::AtMost(60.0)),
    ])
}

/// Statements so far in the arena's database, but for those of this program.
async fn statements(arena: &Arena<'_>) -> Result<f64, String> {
    let count = arena
        .ledger
        .measure(
            "select sum(s.calls)::float8 from pg_stat_statements s join pg_database d on d.oid = s.dbid \
             where d.datname = current_database() and s.query not like '%pg_stat_statements%'",
        )
        .await?;
    Ok(count.unwrap_or(0.0))
}

fn resident(server: &Server) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()?)).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse::<f64>().ok().map(|kibibytes| kibibytes / 1024.0)
}

/// From the time a job is for until its run starts, for jobs that are all due at the same moment, and spread.
async fn start(arena: &mut Arena<'_>, limits: &Limits, time: Duration) -> Result<Vec<Figure>, String> {
    // A slot for each that is due at once: what waits for a slot is another figure.
    let spec = Spec { concurrency: 256, ..arena.spec()? };
    let servers = arena.servers(&spec, 1).await?;
    let flow = load::create_flow(&servers[0], load::nothing("start")).await?;
    let load = load::schedule(&servers[0], &flow, RATE, 1).await?;
    tokio::time::sleep(Duration::from_secs(2) + time).await;
    load::pause(&servers[0], &load).await?;
    arena.ledger.settle(Duration::from_mins(1)).await?;
    let mut figures = Vec::new();
    let scheduled = percentiles(
        arena,
        "select array_agg(extract(epoch from e.started_at - j.nominal_at)::float8 * 1000) from scheduler.jobs j \
         join executions.executions e on e.job_id = j.id where not j.manual",
    )
    .await?;
    figures.extend(both("time to start, 200 due at each second", scheduled, limits));
    spread(&servers[0], &load.schedules, time).await?;
    arena.ledger.settle(Duration::from_mins(1)).await?;
    let by_hand = percentiles(
        arena,
        "select array_agg(extract(epoch from e.started_at - j.nominal_at)::float8 * 1000) from scheduler.jobs j \
         join executions.executions e on e.job_id = j.id where j.manual",
    )
    .await?;
    figures.extend(both("time to start, 200 a second, spread", by_hand, limits));
    Ok(figures)
}

fn both(name: &str, (half, most): (f64, f64), limits: &Limits) -> [Figure; 2] {
    let bare = Some(limits.hand_over_ms);
    [
        Figure::new(&format!("{name}, p50"), (half, "ms"), bare, Goal::AtMost(15.0)),
        Figure::new(&format!("{name}, p99"), (most, "ms"), bare, Goal::AtMost(50.0)),
    ]
}

/// The median and the 99th percentile of an aggregated list.
async fn percentiles(arena: &Arena<'_>, statement: &'static str) -> Result<(f64, f64), String> {
    let mut all: Vec<f64> = sqlx::query_scalar::<_, Option<Vec<f64>>>(statement)
        .fetch_one(&arena.ledger.pool)
        .await
        .map_err(|error| format!("read the times: {error}"))?
        .ok_or("no run started")?;
    all.sort_by(f64::total_cmp);
    let at = |part: usize| all.get(all.len() * part / 100).copied().unwrap_or(f64::NAN);
    Ok((at(50), at(99)))
}

/// Fires schedules by hand, evenly.
async fn spread(server: &Server, schedules: &[String], time: Duration) -> Result<(), String> {
    let started = Instant::now();
    let every = Duration::from_secs(1) / u32::try_from(RATE).unwrap_or(1);
    let mut firing = tokio::task::JoinSet::new();
    for (number, schedule) in (0_u32..).zip(schedules.iter().cycle()) {
        let due = every * number;
        if due > time {
            break;
        }
        tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
        let (authority, path) = (server.authority.clone(), format!("/api/v1/schedules/{schedule}/trigger"));
        firing.spawn(async move {
            crate::drill::client::send(&authority, "POST", &path, None, String::new()).await?.done("firing by hand")
        });
    }
    for fired in firing.join_all().await {
        fired?;
    }
    Ok(())
}

/// Submissions that are stored when they are answered.
async fn submit(arena: &mut Arena<'_>, limits: &Limits, time: Duration) -> Result<Vec<Figure>, String> {
    let spec = arena.spec()?;
    let servers = arena.servers(&spec, 1).await?;
    let flow = load::create_flow(&servers[0], load::nothing("submit")).await?;
    let path = format!("/api/v1/flows/{flow}/executions");
    let call = Call { method: "POST", path, body: Bytes::from_static(b"{}"), wanted: r#""id""# };
    let taken = offer(&servers[0].authority, &call, CLIENTS, time).await?;
    let bare = Some(limits.commits);
    Ok(vec![
        Figure::new("POST …/executions, durable", (taken.per_second, "1/s"), bare, Goal::AtLeast(4_000.0)),
        Figure::new("POST …/executions, p50", (taken.p50_ms, "ms"), None, Goal::Shown),
        Figure::new("POST …/executions, p99", (taken.p99_ms, "ms"), None, Goal::AtMost(50.0)),
    ])
}

/// How fast a full queue of jobs that do nothing is worked off.
async fn drain(arena: &mut Arena<'_>, limits: &Limits, jobs: i64) -> Result<Vec<Figure>, String> {
    let spec = Spec { concurrency: 512, ..arena.spec()? };
    let mut servers = arena.servers(&spec, 1).await?;
    let flow = load::create_flow(&servers[0], load::nothing("drain")).await?;
    let body = json!({"name": "drain", "flow_id": flow, "cron": "0 0 29 2 *"});
    let schedule =
        servers[0].post("/api/v1/schedules", body.to_string()).await?.done("creating a schedule")?.text("id")?;
    let trigger = format!("/api/v1/schedules/{schedule}/trigger");
    servers[0].post(&trigger, String::new()).await?.done("firing by hand")?;
    arena.ledger.settle(Duration::from_secs(30)).await?;
    servers[0].terminate().await?;
    // Copies of a job that the product made, as they were before they ran: with ids in the order of creation.
    sqlx::query(
        "insert into scheduler.jobs (id, manual, nominal_at, flow_id, payload, state, attempt, max_attempts, \
         available_at, created_at) \
         select overlay(id::text placing lpad(to_hex(n), 12, '0') from 25)::uuid, true, now(), flow_id, payload, \
         'queued', 1, max_attempts, now(), now() from scheduler.jobs, generate_series(1, $1) n",
    )
    .bind(jobs)
    .execute(&arena.ledger.pool)
    .await
    .map_err(|error| format!("fill the queue: {error}"))?;
    sqlx::query("analyze scheduler.jobs").execute(&arena.ledger.pool).await.map_err(|error| error.to_string())?;
    servers[0].start_ready().await?;
    settle_quietly(arena).await?;
    let seconds = arena
        .ledger
        .measure(
            "select extract(epoch from max(finished_at) - min(dispatched_at))::float8 from scheduler.jobs \
             where schedule_id is null",
        )
        .await?;
    #[allow(clippy::cast_precision_loss, reason = "a count of jobs fits in 53 bits")]
    let rate = jobs as f64 / seconds.unwrap_or(f64::INFINITY);
    // Each job is inserted, dispatched, claimed, finished and settled; the limit is one batched insert.
    Ok(vec![Figure::new("no-op jobs drained", (rate, "1/s"), Some(limits.rows), Goal::AtLeast(10_000.0))])
}

/// Waits until everything is finished, without counting all of it again and again as the ledger does: that would be
/// measured too.
async fn settle_quietly(arena: &Arena<'_>) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_mins(5);
    let any = "select count(*) from (select 1 from scheduler.jobs \
               where state in ('waiting', 'queued', 'dispatched', 'running') limit 1) one";
    while arena.ledger.number(any).await? > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    arena.ledger.settle(Duration::from_mins(1)).await.map(drop)
}

/// What a great many schedules cost that are not due.
async fn many(arena: &mut Arena<'_>, time: Duration) -> Result<Vec<Figure>, String> {
    let spec = arena.spec()?;
    let mut servers = arena.servers(&spec, 1).await?;
    let flow = load::create_flow(&servers[0], load::nothing("many")).await?;
    let load = load::schedule(&servers[0], &flow, RATE, 1).await?;
    // Copies of one that the product made, due some time in the next days.
    sqlx::query(
        "insert into scheduler.schedules (id, name, flow_id, flow_version, cron, timezone, misfire, catchup_max, overlap, \
         jitter_s, environment, variables, retry, enabled, revision, next_fire_at, created_at, updated_at) \
         select gen_random_uuid(), 'many ' || n, flow_id, flow_version, '30 2 * * *', timezone, misfire, catchup_max, \
         overlap, jitter_s, environment, variables, retry, true, 1, now() + interval '1 hour' + n * interval '1 second', \
         created_at, updated_at from generate_series(1, $1) n, \
         (select * from scheduler.schedules order by id limit 1) model",
    )
    .bind(MANY)
    .execute(&arena.ledger.pool)
    .await
    .map_err(|error| format!("make schedules: {error}"))?;
    servers[0].terminate().await?;
    let started = servers[0].start_ready().await?;
    sqlx::query("select pg_stat_statements_reset()")
        .execute(&arena.ledger.pool)
        .await
        .map_err(|error| error.to_string())?;
    tokio::time::sleep(time).await;
    let tick = arena
        .ledger
        .measure(
            "select sum(total_exec_time)::float8 from pg_stat_statements \
             where query like '%scheduler.schedules%' or query like 'insert into scheduler.jobs%'",
        )
        .await?;
    let tick = tick.unwrap_or(f64::INFINITY) / time.as_secs_f64();
    load::pause(&servers[0], &load).await?;
    arena.ledger.settle(Duration::from_mins(1)).await?;
    Ok(vec![
        Figure::new("100,000 schedules: start", (started.as_secs_f64(), "s"), None, Goal::AtMost(5.0)),
        Figure::new("100,000 schedules: a tick of 200 firings", (tick, "ms"), None, Goal::AtMost(20.0)),
    ])
}
