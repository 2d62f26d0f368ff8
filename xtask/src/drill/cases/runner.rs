//! Runners that die, stand still, or are killed by what they run.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::super::arena::Arena;
use super::super::findings::{Findings, Spoils, words};
use super::super::load;
use super::super::server::Server;

/// The longest that runs of a dead runner may stay open.
const RESCUE_S: f64 = 20.0;

/// F1: SIGKILL in the middle of steps.
pub(super) async fn killed(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let (rate, kills) = arena.scale.pick((20, 6), (50, 100));
    let spec = arena.spec()?;
    let mut servers = arena.servers(&spec, 2).await?;
    let flow = load::steps(&arena.target.url(), "drill", 3, Duration::from_millis(250));
    let flow = load::create_flow(&servers[0], flow).await?;
    let load = load::schedule(&servers[0], &flow, rate, 1).await?;
    for _ in 0..kills {
        tokio::time::sleep(arena.seed.between(Duration::from_millis(300), Duration::from_millis(1_800))).await;
        let one = arena.seed.below(servers.len());
        servers[one].kill();
        tokio::time::sleep(arena.seed.between(Duration::ZERO, Duration::from_millis(300))).await;
        servers[one].start_ready().await?;
    }
    let mut findings = Findings::new(format!("{rate} jobs/s of 3 steps, 2 servers"), format!("{kills} SIGKILLs"));
    let claimed = arena.ledger.number("select count(*) from executions.executions where status = 'running'").await?;
    findings.check("runs were in the middle", claimed > 0, format!("{claimed} when the last one was killed"));
    findings.finish(arena, &servers, &load, Spoils::LOST).await?;
    rescue(arena, &mut findings).await?;
    findings.lateness(arena).await?;
    Ok(findings)
}

/// How long runs stayed open whose runner was gone: measured from their start, so a little more than that.
async fn rescue(arena: &Arena<'_>, findings: &mut Findings) -> Result<(), String> {
    let lost = arena.ledger.number("select count(*) from executions.executions where error_code = 'lost'").await?;
    #[allow(clippy::cast_precision_loss, reason = "a count of runs fits in 53 bits")]
    findings.figure("runs lost and tried again", lost as f64, "");
    let longest = arena
        .ledger
        .measure(
            "select extract(epoch from max(finished_at - started_at))::float8 from executions.executions \
             where error_code = 'lost'",
        )
        .await?;
    if let Some(longest) = longest {
        findings.at_most("longest rescue", (longest, "s"), RESCUE_S);
    }
    Ok(())
}

/// F2: SIGSTOP for longer than the lease, then SIGCONT.
pub(super) async fn frozen(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let (rate, time) = arena.scale.pick((10, Duration::from_secs(22)), (50, Duration::from_secs(40)));
    let spec = arena.spec()?;
    let servers = arena.servers(&spec, 2).await?;
    let flow = load::steps(&arena.target.url(), "drill", 3, Duration::from_millis(500));
    let flow = load::create_flow(&servers[1], flow).await?;
    let load = load::schedule(&servers[1], &flow, rate, 1).await?;
    tokio::time::sleep(arena.seed.between(Duration::from_secs(2), Duration::from_secs(3))).await;
    servers[0].signal(Signal::SIGSTOP)?;
    tokio::time::sleep(time).await;
    let steps = "select count(*) from executions.execution_steps s join executions.executions e on e.id = s.execution_id \
                 where e.error_code = 'lost'";
    let (lost, before) = (arena.ledger.ids("error").await?.len(), arena.ledger.number(steps).await?);
    servers[0].signal(Signal::SIGCONT)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut findings = Findings::new(
        format!("{rate} jobs/s of 3 steps, 2 servers"),
        format!("SIGSTOP of one for {} s, SIGCONT", time.as_secs()),
    );
    findings.check("runs of the frozen runner were taken from it", lost > 0, format!("{lost} lost"));
    // The other one has served all the while.
    let [frozen, other] = &servers[..] else { return Err("two servers were started".to_owned()) };
    frozen.get("/livez").await?.done("the frozen server")?;
    findings.finish(arena, std::slice::from_ref(other), &load, Spoils::LOST).await?;
    let after = arena.ledger.number(steps).await?;
    findings.check(
        "the runner that went on wrote nothing to them",
        after == before,
        format!("{before} steps, then {after}"),
    );
    rescue(arena, &mut findings).await?;
    Ok(findings)
}

/// F17: a job whose step ends the server that runs it.
pub(super) async fn deadly_job(arena: &mut Arena<'_>) -> Result<Findings, String> {
    const ATTEMPTS: usize = 3;
    let rate = arena.scale.pick(10, 50);
    let spec = arena.spec()?;
    let mut servers = arena.servers(&spec, 2).await?;
    let flow = load::steps(&arena.target.url(), "drill", 3, Duration::from_millis(20));
    let flow = load::create_flow(&servers[0], flow).await?;
    let load = load::schedule(&servers[0], &flow, rate, 1).await?;
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
        let Some(victim) = servers.iter_mut().find(|server| owns(server, port)) else { continue };
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
    findings.finish(arena, &servers, &load, Spoils { lost: true, dead: 1 }).await?;
    Ok(findings)
}

/// Whether the server has a socket on this port: whose request it was.
fn owns(server: &Server, port: u16) -> bool {
    let Some(pid) = server.pid() else { return false };
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let local = format!("0100007F:{port:04X}");
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let Some(line) = lines.find(|line| line.get(1) == Some(&local.as_str())) else { return false };
    let Some(socket) = line.get(9).map(|inode| format!("socket:[{inode}]")) else { return false };
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|link| link.to_string_lossy() == socket))
}
