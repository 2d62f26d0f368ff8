//! Schedulers that die as they fire, that share the work, and that do not know the time.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::arena::{Arena, Scale, Spec};
use super::super::findings::{Findings, Spoils};
use super::super::load;
use crate::services::FAKETIME;
use crate::workspace;

/// What counts as late where clocks are five minutes off: what a busy machine takes is far from that.
const LATE_S: f64 = 30.0;

/// F3: SIGKILL of every server when jobs are inserted and about to be published: at a seeded time after the full
/// second, or as soon as the table shows such jobs.
pub(super) async fn killed(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let (rate, kills) = arena.scale.pick((20, 6), (50, 60));
    let spec = arena.spec()?;
    let mut servers = arena.servers(&spec, 2).await?;
    let load = load::steady(&servers[0], &arena.target, rate, Duration::from_millis(20)).await?;
    let mut caught = 0;
    for kill in 0..kills {
        let now = arena.ledger.now().await?;
        let after = arena.seed.between(Duration::ZERO, Duration::from_millis(40));
        tokio::time::sleep(Duration::from_secs_f64(now.ceil() - now) + after).await;
        let began = Instant::now();
        while kill % 2 == 1 && began.elapsed() < Duration::from_secs(1) && between(arena).await? == 0 {}
        for server in &mut servers {
            server.kill();
        }
        caught += between(arena).await?;
        for server in &mut servers {
            server.start_ready().await?;
        }
    }
    let mut findings = Findings::new(
        format!("{rate} jobs/s of 3 steps, 2 servers"),
        format!("{kills} SIGKILLs of both, 0–40 ms after the second or when jobs are in the table"),
    );
    findings.check("jobs were inserted and not taken", caught > 0, format!("{caught} jobs when the servers died"));
    findings.finish(arena, &mut servers, &load, Spoils::LOST).await?;
    findings.lateness(arena).await?;
    Ok(findings)
}

/// Jobs that are in the table and that no runner has.
async fn between(arena: &Arena<'_>) -> Result<i64, String> {
    arena
        .ledger
        .number(
            "select count(*) from scheduler.jobs j where j.state in ('queued', 'dispatched') and not exists \
             (select 1 from executions.executions e where e.job_id = j.id and e.attempt = j.attempt)",
        )
        .await
}

/// F4: three servers and a thousand schedules (in brief, three hundred) that fire at the same time.
pub(super) async fn shared(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let (schedules, period, firings) = arena.scale.pick((300, 5, 3), (1_000, 60, 3));
    let spec = arena.spec()?;
    let mut servers = arena.servers(&spec, 3).await?;
    let flow = load::create_flow(&servers[0], load::nothing("drill")).await?;
    let load = load::schedule(&servers[0], &flow, schedules, period).await?;
    // Only rounds before which every schedule was there, and after which none was paused yet.
    let made = arena.ledger.now().await?;
    tokio::time::sleep(Duration::from_secs(u64::from(period) * firings)).await;
    let ends = arena.ledger.now().await?;
    let mut findings =
        Findings::new(format!("{schedules} schedules every {period} s, 3 servers"), "none but each other".to_owned());
    findings.finish(arena, &mut servers, &load, Spoils::NONE).await?;
    let rounds: Vec<(f64, i64)> = sqlx::query_as(
        "select extract(epoch from nominal_at)::float8, count(*) from scheduler.jobs where state <> 'skipped' group by 1",
    )
    .fetch_all(&arena.ledger.pool)
    .await
    .map_err(|error| format!("count the rounds: {error}"))?;
    let within = rounds.iter().filter(|round| round.0 > made && round.0 < ends);
    let rounds: Vec<i64> = within.map(|round| round.1).collect();
    let wanted = i64::try_from(schedules).unwrap_or(i64::MAX);
    let whole = !rounds.is_empty() && rounds.iter().all(|jobs| *jobs == wanted);
    findings.check("each round is exactly one job of each", whole, format!("{rounds:?}"));
    let late = arena
        .ledger
        .measure(
            "select percentile_cont(0.99) within group (order by extract(epoch from created_at - nominal_at)::float8) \
             from scheduler.jobs where state <> 'skipped'",
        )
        .await?;
    findings.at_most("lateness of jobs, p99", (late.unwrap_or(f64::INFINITY), "s"), 1.0);
    findings.lateness(arena).await?;
    Ok(findings)
}

/// F12: one server's clock five minutes ahead, the other's five minutes behind.
pub(super) async fn clocks(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let Some(library) = &arena.services.faketime else {
        let missing = arena.services.missing.iter().find(|missing| missing.starts_with(FAKETIME));
        return Ok(Findings::skipped(missing.map_or(FAKETIME, String::as_str)));
    };
    let library = library.display().to_string();
    let (rate, time) = arena.scale.pick((20, Duration::from_secs(20)), (50, Duration::from_mins(1)));
    let mut servers = Vec::new();
    for offset in ["+300", "-300"] {
        let variables = [("LD_PRELOAD", library.as_str()), ("FAKETIME", offset), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let spec = Spec { variables, ..arena.spec()? };
        servers.extend(arena.servers(&spec, 1).await?);
    }
    let load = load::steady(&servers[0], &arena.target, rate, Duration::from_millis(20)).await?;
    tokio::time::sleep(time).await;
    let mut findings =
        Findings::new(format!("{rate} jobs/s of 3 steps, 2 servers"), "clocks 5 min ahead and 5 min behind".to_owned());
    findings.finish(arena, &mut servers, &load, Spoils::NONE).await?;
    let (earliest, latest) = first_steps(arena).await?;
    findings.check("nothing ran early", earliest >= 0.0, format!("the earliest {earliest:.3} s after its time"));
    findings.at_most("first request after its time, at most", (latest, "s"), LATE_S);
    Ok(findings)
}

/// How long after its time each job first asked the target, by the clock of PostgreSQL and this machine: the least and
/// the most.
async fn first_steps(arena: &Arena<'_>) -> Result<(f64, f64), String> {
    let (here, there) = (Instant::now(), arena.ledger.now().await?);
    let times: Vec<(String, f64)> = sqlx::query_as(
        "select e.id::text, extract(epoch from j.nominal_at)::float8 from executions.executions e \
         join scheduler.jobs j on j.id = e.job_id",
    )
    .fetch_all(&arena.ledger.pool)
    .await
    .map_err(|error| format!("read the times: {error}"))?;
    let times: HashMap<String, f64> = times.into_iter().collect();
    let mut after = Vec::new();
    for hit in arena.target.hits().iter().filter(|hit| hit.step == 1) {
        if let Some(nominal) = times.get(&hit.execution) {
            after.push(there - here.duration_since(hit.at).as_secs_f64() - nominal);
        }
    }
    let least = after.iter().copied().fold(f64::INFINITY, f64::min);
    let most = after.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Ok((least, most))
}

/// F13: the scheduler's own test, against a rule written down anew. In brief, one in 101 of the changes by an hour; all
/// other changes always.
pub(super) fn zones(root: &Path, scale: Scale) -> Result<Findings, String> {
    let stride = scale.pick("101", "1");
    let output = workspace::cargo()
        .current_dir(root)
        .args(["test", "--workspace", "--locked", "--lib", "oracle", "--", "--nocapture"])
        .env("TESTMESH_ORACLE_STRIDE", stride)
        .output()
        .map_err(|error| format!("start cargo: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let compared = text.lines().find(|line| line.ends_with("changes were compared")).unwrap_or("nothing was compared");
    let mut findings = Findings::new("no server: `cargo test --workspace --lib oracle`", "2000–2037, every zone");
    let held = output.status.success() && text.contains("changes were compared");
    findings.check("schedules fire as the rule says", held, compared);
    Ok(findings)
}
