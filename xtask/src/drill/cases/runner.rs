//! Runners that die, stand still, or are killed by what they run.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::super::arena::Arena;
use super::super::findings::{Findings, Spoils, words};
use super::super::load;
use super::super::server::Server;

/// The longest that runs of a dead runner may stay open.
pub(super) const RESCUE_S: f64 = 20.0;

/// F1: SIGKILL in the middle of steps.
pub(super) async fn killed(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let (rate, kills) = arena.scale.pick((20, 6), (50, 100));
    let spec = arena.spec()?;
    let (mut servers, mut sessions) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        servers.extend(arena.servers(&spec, 1).await?);
        sessions.push(newest_session(arena).await?);
    }
    let load = load::steady(&servers[0], &arena.target, rate, Duration::from_millis(250)).await?;
    let mut died = HashMap::new();
    for _ in 0..kills {
        tokio::time::sleep(arena.seed.between(Duration::from_millis(300), Duration::from_millis(1_800))).await;
        let one = arena.seed.below(servers.len());
        servers[one].kill();
        let now = arena.ledger.now().await?;
        let held: Vec<String> = sqlx::query_scalar(
            "select id::text from executions.executions where session_id::text = $1 and status in ('queued', 'running')",
        )
        .bind(&sessions[one])
        .fetch_all(&arena.ledger.pool)
        .await
        .map_err(|error| format!("read what the dead server had: {error}"))?;
        died.extend(held.into_iter().map(|run| (run, now)));
        tokio::time::sleep(arena.seed.between(Duration::ZERO, Duration::from_millis(300))).await;
        servers[one].start_ready().await?;
        sessions[one] = newest_session(arena).await?;
    }
    let mut findings = Findings::new(format!("{rate} jobs/s of 3 steps, 2 servers"), format!("{kills} SIGKILLs"));
    findings.finish(arena, &mut servers, &load, Spoils::LOST).await?;
    rescue(arena, &mut findings, |run| died.get(run).copied()).await?;
    findings.lateness(arena).await?;
    Ok(findings)
}

/// The session of the server that was started last: ids are in the order of time.
async fn newest_session(arena: &Arena<'_>) -> Result<String, String> {
    sqlx::query_scalar("select id::text from executions.runner_sessions order by id desc limit 1")
        .fetch_one(&arena.ledger.pool)
        .await
        .map_err(|error| format!("read the newest session: {error}"))
}

/// How long runs stayed open after their runner had gone, which was at `died`, in seconds by PostgreSQL's clock.
async fn rescue(arena: &Arena<'_>, findings: &mut Findings, died: impl Fn(&str) -> Option<f64>) -> Result<(), String> {
    let lost: Vec<(String, f64)> = sqlx::query_as(
        "select id::text, extract(epoch from finished_at)::float8 from executions.executions where error_code = 'lost'",
    )
    .fetch_all(&arena.ledger.pool)
    .await
    .map_err(|error| format!("read how long lost runs stayed open: {error}"))?;
    let took: Vec<f64> = lost.iter().filter_map(|(run, end)| died(run).map(|died| end - died)).collect();
    let found = format!("{} lost, {} of them known to have been a dead server's", lost.len(), took.len());
    findings.check("runs were in the middle", !took.is_empty(), found);
    findings.at_most("longest rescue", (took.into_iter().fold(0.0, f64::max), "s"), RESCUE_S);
    Ok(())
}

/// F2: SIGSTOP for longer than the lease, then SIGCONT.
pub(super) async fn frozen(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let (rate, time) = arena.scale.pick((10, Duration::from_secs(22)), (50, Duration::from_secs(40)));
    let spec = arena.spec()?;
    let mut servers = arena.servers(&spec, 2).await?;
    let load = load::steady(&servers[1], &arena.target, rate, Duration::from_millis(500)).await?;
    tokio::time::sleep(arena.seed.between(Duration::from_secs(2), Duration::from_secs(3))).await;
    // The one that froze comes first, the other one serves all the while.
    let one = busy(arena, servers.len()).await?;
    servers.swap(0, one);
    servers[0].signal(Signal::SIGSTOP)?;
    let stopped = arena.ledger.now().await?;
    tokio::time::sleep(time).await;
    let lost = arena.ledger.ids("error").await?;
    let before = steps_of(arena, &lost).await?;
    let goes_on = Instant::now();
    servers[0].signal(Signal::SIGCONT)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut findings = Findings::new(
        format!("{rate} jobs/s of 3 steps, 2 servers"),
        format!("SIGSTOP of one for {} s, SIGCONT", time.as_secs()),
    );
    findings.check("runs of the frozen runner were taken from it", !lost.is_empty(), format!("{} lost", lost.len()));
    servers[0].get("/livez").await?.done("the frozen server")?;
    servers.swap(0, 1);
    findings.finish(arena, &mut servers, &load, Spoils::LOST).await?;
    let after = steps_of(arena, &lost).await?;
    let lost: HashSet<String> = lost.into_iter().collect();
    let begun = arena.target.hits().iter().filter(|hit| hit.at > goes_on && lost.contains(&hit.execution)).count();
    findings.check("the runner that went on began no step of them", begun == 0, format!("{begun} steps"));
    findings.check(
        "the runner that went on wrote nothing to them",
        after == before,
        format!("{before} steps, then {after}"),
    );
    rescue(arena, &mut findings, |_| Some(stopped)).await?;
    Ok(findings)
}

/// Waits until one of the servers has runs in the middle, so that the fault hits some; its place in the order of starts.
///
/// Which one that is, nobody can say before: firings of one second may all go to the one that has waited longest.
async fn busy(arena: &Arena<'_>, n_servers: usize) -> Result<usize, String> {
    let held = "select (select count(*) from executions.executions e where e.status = 'running' and e.session_id = s.id) \
                from executions.runner_sessions s order by s.id";
    let since = Instant::now();
    loop {
        let held: Vec<i64> = sqlx::query_scalar(held)
            .fetch_all(&arena.ledger.pool)
            .await
            .map_err(|error| format!("read which runner has runs: {error}"))?;
        if held.len() != n_servers {
            return Err(format!("{} sessions of {n_servers} servers", held.len()));
        }
        if let Some(one) = held.iter().position(|runs| *runs >= 2) {
            return Ok(one);
        }
        if since.elapsed() > Duration::from_secs(20) {
            return Err(format!("no server got two runs at a time within 20 s: {held:?}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many steps of these runs are on record.
async fn steps_of(arena: &Arena<'_>, runs: &[String]) -> Result<i64, String> {
    sqlx::query_scalar("select count(*) from executions.execution_steps where execution_id::text = any($1)")
        .bind(runs)
        .fetch_one(&arena.ledger.pool)
        .await
        .map_err(|error| format!("count the steps of lost runs: {error}"))
}

/// F17: a job whose step ends the server that runs it.
pub(super) async fn deadly_job(arena: &mut Arena<'_>) -> Result<Findings, String> {
    const ATTEMPTS: usize = 3;
    let rate = arena.scale.pick(10, 50);
    let spec = arena.spec()?;
    let mut servers = arena.servers(&spec, 2).await?;
    let load = load::steady(&servers[0], &arena.target, rate, Duration::from_millis(20)).await?;
    let yaml = format!(
        "flow:\n  name: deadly\n  steps:\n    - action: http_request\n      config: {{method: GET, url: \"{}/kill/${{EXECUTION_ID}}\", timeout: 60s}}\n",
        arena.target.url()
    );
    let deadly = load::create_flow(&servers[0], yaml).await?;
    let body = json!({
        "name": "deadly", "flow_id": deadly, "cron": "0 0 29 2 *",
        "retry": {"max_attempts": ATTEMPTS, "backoff_s": 1, "backoff_max_s": 1, "retry_on": ["error"]},
    });
    let schedule =
        servers[0].post("/api/v1/schedules", body.to_string()).await?.done("creating a schedule")?.text("id")?;
    servers[0].post(&format!("/api/v1/schedules/{schedule}/trigger"), String::new()).await?.done("firing by hand")?;
    let mut deaths = 0;
    let began = Instant::now();
    while arena.ledger.number("select count(*) from scheduler.jobs where state = 'dead'").await? == 0 {
        if began.elapsed() > Duration::from_mins(3) {
            break;
        }
        let killer = tokio::time::timeout(Duration::from_millis(500), arena.target.kills.recv()).await;
        let Ok(Some(port)) = killer else { continue };
        let Some(victim) = servers.iter_mut().find(|server| owns(server, port, arena.target.port())) else { continue };
        victim.kill();
        deaths += 1;
        victim.start_ready().await?;
    }
    let mut findings = Findings::new(
        format!("{rate} jobs/s of 3 steps, 2 servers"),
        format!("a job that ends its server, {ATTEMPTS} attempts"),
    );
    findings.figure("until it was dead", began.elapsed().as_secs_f64(), "s");
    findings.check("it kills as often as it may be tried, and no more", deaths == ATTEMPTS, format!("{deaths} deaths"));
    let jobs = arena.ledger.jobs().await?;
    findings.check("it is listed as dead", jobs.get("dead") == Some(&1), words(&jobs));
    findings.finish(arena, &mut servers, &load, Spoils { lost: true, dead: 1 }).await?;
    Ok(findings)
}

/// Whether the server has the socket from this port to the target's: whose request it was. The port alone does not tell:
/// another socket may have the same one, to somebody else.
fn owns(server: &Server, port: u16, target: u16) -> bool {
    let Some(pid) = server.pid() else { return false };
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let ends = [port, target].map(|port| format!("0100007F:{port:04X}"));
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let Some(line) = lines.find(|line| line.get(1..3).is_some_and(|both| both == ends)) else { return false };
    let Some(socket) = line.get(9).map(|inode| format!("socket:[{inode}]")) else { return false };
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|link| link.to_string_lossy() == socket))
}
