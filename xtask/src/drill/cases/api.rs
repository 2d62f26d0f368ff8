//! What callers see: repeated requests, rolling restarts, cancellations.

use std::time::{Duration, Instant};

use super::super::arena::Arena;
use super::super::client;
use super::super::findings::{Findings, Spoils, words};
use super::super::load;

/// How long until every cancelled run must be final.
const CANCEL_S: f64 = 35.0;

/// F14: SIGKILL around the commit; the client repeats its request, with its key, at another server.
pub(super) async fn killed_before_the_answer(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let rounds = arena.scale.pick(12, 100);
    let spec = arena.spec()?;
    let mut servers = arena.servers(&spec, 2).await?;
    let flow = load::create_flow(&servers[0], load::nothing("drill")).await?;
    let path = format!("/api/v1/flows/{flow}/executions");
    let other = [servers[1].authority.clone()];
    let mut unanswered = 0;
    for round in 0..rounds {
        let key = format!("round-{round}");
        let after = arena.seed.between(Duration::ZERO, Duration::from_millis(40));
        let authority = servers[0].authority.clone();
        let asked = client::send(&authority, "POST", &path, Some(&key), "{}".to_owned());
        let first = tokio::time::timeout(after, asked).await;
        servers[0].kill();
        let first = first.ok().and_then(Result::ok).and_then(|answer| answer.text("id").ok());
        unanswered += usize::from(first.is_none());
        let second = load::submit(&other, &flow, &key, Duration::from_secs(10)).await?;
        if first.is_some_and(|first| first != second) {
            return Err(format!("key `{key}` was answered with two runs"));
        }
        servers[0].start_ready().await?;
    }
    let mut findings = Findings::new(
        format!("{rounds} submissions with keys, 2 servers"),
        format!("SIGKILL 0–40 ms after each request, {unanswered} without an answer; repeated at the other server"),
    );
    findings.settled(arena, &servers).await?;
    let runs = arena.ledger.number("select count(*) from executions.executions").await?;
    findings.check("each key is exactly one execution", runs == i64::from(rounds), format!("{runs} for {rounds} keys"));
    findings.verdicts(&arena.ledger, &arena.target, Spoils::LOST).await?;
    Ok(findings)
}

/// F15: one server after the other is asked to end, and started again.
pub(super) async fn rolling_restarts(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let (rate, restarts) = arena.scale.pick((20, 4), (50, 20));
    let spec = arena.spec()?;
    let mut servers = arena.servers(&spec, 2).await?;
    let flow = load::steps(&arena.target.url(), "drill", 3, Duration::from_millis(60));
    let flow = load::create_flow(&servers[0], flow).await?;
    let load = load::schedule(&servers[0], &flow, rate, 1).await?;
    let (mut slowest, mut unclean) = (0.0_f64, Vec::new());
    for restart in 0..restarts {
        tokio::time::sleep(arena.seed.between(Duration::from_millis(800), Duration::from_millis(1_800))).await;
        let server = &mut servers[restart % 2];
        let began = Instant::now();
        let status = server.terminate().await?;
        slowest = slowest.max(began.elapsed().as_secs_f64());
        if !status.success() {
            unclean.push(status.to_string());
        }
        server.start_ready().await?;
    }
    let faults = format!("{restarts} SIGTERMs, one server at a time");
    let mut findings = Findings::new(format!("{rate} jobs/s of 3 steps, 2 servers"), faults);
    findings.check("every server ends with 0", unclean.is_empty(), format!("{unclean:?}"));
    findings.finish(arena, &servers, &load, Spoils::NONE).await?;
    let again = arena.ledger.number("select count(*) from scheduler.jobs where attempt > 1").await?;
    findings.check("no run had to be repeated", again == 0, again.to_string());
    findings.figure("slowest end", slowest, "s");
    findings.lateness(arena).await?;
    Ok(findings)
}

/// F16: every run is cancelled, those of a dead runner too.
pub(super) async fn cancellations(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let runs = arena.scale.pick(100, 1_000);
    let spec = arena.spec()?;
    let mut servers = arena.servers(&spec, 2).await?;
    let yaml =
        "flow:\n  name: long\n  steps:\n    - action: delay\n      config: {duration: 120s}\n      timeout: 150s\n";
    let flow = load::create_flow(&servers[0], yaml.to_owned()).await?;
    let mut ids = Vec::with_capacity(runs);
    for number in 0..runs {
        let authority = [servers[number % 2].authority.clone()];
        ids.push(load::submit(&authority, &flow, &number.to_string(), Duration::from_secs(10)).await?);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let running = arena.ledger.number("select count(*) from executions.executions where status = 'running'").await?;
    servers[0].kill();
    let began = Instant::now();
    let mut refused = 0;
    for id in &ids {
        let answer = servers[1].post(&format!("/api/v1/executions/{id}/cancel"), String::new()).await?;
        refused += usize::from(answer.status != 202);
    }
    let asked = began.elapsed().as_secs_f64();
    let mut findings = Findings::new(
        format!("{runs} runs of two minutes, {running} of them going on, 2 servers"),
        "SIGKILL of one, then every run cancelled at the other".to_owned(),
    );
    findings.check("every cancellation is taken", refused == 0, format!("{refused} refused, asked in {asked:.1} s"));
    findings.settled(arena, &servers[1..]).await?;
    findings.at_most("all final after", (began.elapsed().as_secs_f64(), "s"), CANCEL_S);
    let executions = arena.ledger.executions().await?;
    let cancelled = executions.iter().filter(|(word, _)| word.starts_with("cancelled")).map(|(_, count)| count);
    let cancelled: i64 = cancelled.sum();
    findings.check("all are cancelled", usize::try_from(cancelled) == Ok(runs), words(&executions));
    Ok(findings)
}
