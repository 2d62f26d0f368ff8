//! Schedulers that die as they fire, that share the work, and that do not know the time.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::super::arena::{Arena, Spec};
use super::super::findings::{Findings, Spoils};
use super::super::load;

/// F3: SIGKILL of every server right after the full second, when jobs are inserted and about to be published.
pub(super) async fn killed(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let (rate, kills) = arena.scale.pick((20, 6), (50, 60));
    let spec = arena.spec()?;
    let mut servers = arena.servers(&spec, 2).await?;
    let flow = load::steps(&arena.target.url(), "drill", 3, Duration::from_millis(20));
    let flow = load::create_flow(&servers[0], flow).await?;
    let load = load::schedule(&servers[0], &flow, rate, 1).await?;
    for _ in 0..kills {
        let now = arena.ledger.now().await?;
        let after = arena.seed.between(Duration::ZERO, Duration::from_millis(40));
        tokio::time::sleep(Duration::from_secs_f64(now.ceil() - now) + after).await;
        for server in &mut servers {
            server.kill();
        }
        for server in &mut servers {
            server.start_ready().await?;
        }
    }
    let mut findings = Findings::new(
        format!("{rate} jobs/s of 3 steps, 2 servers"),
        format!("{kills} SIGKILLs of both, 0–40 ms after the second"),
    );
    findings.finish(arena, &servers, &load, Spoils::LOST).await?;
    findings.lateness(arena).await?;
    Ok(findings)
}

/// F4: three servers and a thousand schedules that fire at the same time.
pub(super) async fn shared(arena: &mut Arena<'_>) -> Result<Findings, String> {
    const SCHEDULES: usize = 1_000;
    let (period, firings) = arena.scale.pick((10, 2), (60, 3));
    let spec = arena.spec()?;
    let servers = arena.servers(&spec, 3).await?;
    let flow = load::create_flow(&servers[0], load::nothing("drill")).await?;
    let load = load::schedule(&servers[0], &flow, SCHEDULES, period).await?;
    // Only rounds before which every schedule was there, and after which none was paused yet.
    let made = arena.ledger.now().await?;
    tokio::time::sleep(Duration::from_secs(u64::from(period) * firings)).await;
    let ends = arena.ledger.now().await?;
    let mut findings =
        Findings::new(format!("{SCHEDULES} schedules every {period} s, 3 servers"), "none but each other".to_owned());
    findings.finish(arena, &servers, &load, Spoils::NONE).await?;
    let rounds: Vec<(f64, i64)> = sqlx::query_as(
        "select extract(epoch from nominal_at)::float8, count(*) from scheduler.jobs where state <> 'skipped' group by 1",
    )
    .fetch_all(&arena.ledger.pool)
    .await
    .map_err(|error| format!("count the rounds: {error}"))?;
    let within = rounds.iter().filter(|round| round.0 > made && round.0 < ends);
    let rounds: Vec<i64> = within.map(|round| round.1).collect();
    let wanted = i64::try_from(SCHEDULES).unwrap_or(i64::MAX);
    let whole = !rounds.is_empty() && rounds.iter().all(|jobs| *jobs == wanted);
    findings.check("each round is exactly 1,000 jobs", whole, format!("{rounds:?}"));
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
    let Some(library) = faketime() else {
        return Ok(Findings::skipped("libfaketime is not installed (on Debian: `apt-get install faketime`)"));
    };
    let (rate, time) = arena.scale.pick((20, Duration::from_secs(20)), (50, Duration::from_mins(1)));
    let mut servers = Vec::new();
    for offset in ["+300", "-300"] {
        let variables = [("LD_PRELOAD", library.as_str()), ("FAKETIME", offset), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let spec = Spec { variables, ..arena.spec()? };
        servers.extend(arena.servers(&spec, 1).await?);
    }
    let flow = load::steps(&arena.target.url(), "drill", 3, Duration::from_millis(20));
    let flow = load::create_flow(&servers[0], flow).await?;
    let load = load::schedule(&servers[0], &flow, rate, 1).await?;
    tokio::time::sleep(time).await;
    let mut findings =
        Findings::new(format!("{rate} jobs/s of 3 steps, 2 servers"), "clocks 5 min ahead and 5 min behind".to_owned());
    findings.finish(arena, &servers, &load, Spoils::NONE).await?;
    let (earliest, latest) = first_steps(arena).await?;
    findings.check("nothing ran early", earliest >= 0.0, format!("the earliest {earliest:.3} s after its time"));
    findings.at_most("first request after its time, at most", (latest, "s"), 5.0);
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

/// Where the distribution keeps the library that shows a process another time.
fn faketime() -> Option<String> {
    let folders = ["x86_64-linux-gnu", "aarch64-linux-gnu", "."];
    let paths = folders.map(|folder| format!("/usr/lib/{folder}/faketime/libfaketime.so.1"));
    paths.into_iter().find(|path| Path::new(path).exists())
}

/// F13: the scheduler's own tests, against a rule written down anew.
pub(super) fn zones(root: &Path) -> Result<Findings, String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args(["test", "--locked", "-p", "testmesh-scheduler", "oracle"])
        .output()
        .map_err(|error| format!("start cargo: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let count = |line: &str| line.split_once(" passed")?.0.rsplit(' ').next()?.parse::<u32>().ok();
    let passed: u32 = text.lines().filter_map(count).sum();
    let mut findings =
        Findings::new("no server: `cargo test -p testmesh-scheduler oracle`", "every change of every zone, 2000–2037");
    findings.check("the rule holds for all of them", output.status.success() && passed > 0, format!("{passed} tests"));
    Ok(findings)
}
