//! What callers see: repeated requests, rolling restarts, cancellations.

use std::time::{Duration, Instant};

use super::super::arena::{Arena, Spec};
use super::super::client;
use super::super::findings::{Findings, Spoils, words};
use super::super::load;
use super::super::proxy::{Fault, Proxy};

/// How long until every cancelled run must be final.
const CANCEL_S: f64 = 35.0;

/// F14: SIGKILL around the commit; the client repeats its request, with its key, at another server. Half the times are
/// seeded; in the other half the answer is held back and the server dies as soon as the run is stored.
pub(super) async fn killed_before_the_answer(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let rounds: i64 = arena.scale.pick(12, 100);
    let spec = arena.spec()?;
    let mut servers = arena.servers(&spec, 2).await?;
    let flow = load::create_flow(&servers[0], load::nothing("drill")).await?;
    let path = format!("/api/v1/flows/{flow}/executions");
    let other = [servers[1].authority.clone()];
    let direct = servers[0].authority.clone();
    let proxy = Proxy::before(port_of(&direct)?).await?;
    proxy.set(Fault::Mute);
    let mute = format!("127.0.0.1:{}", proxy.port());
    let (mut unanswered, mut stored) = (0, 0);
    for round in 0..rounds {
        let key = format!("round-{round}");
        let after = arena.seed.between(Duration::ZERO, Duration::from_millis(40));
        let authority = if round % 2 == 0 { &direct } else { &mute };
        let asked = client::send(authority, "POST", &path, Some(&key), "{}".to_owned());
        // Both are cancel-safe: a request that is dropped may have been carried out, which is what this is about.
        let first = tokio::select! {
            answer = asked => answer.ok(),
            () = tokio::time::sleep(after), if round % 2 == 0 => None,
            () = runs_are(arena, round + 1), if round % 2 == 1 => None,
        };
        servers[0].kill();
        let first = first.and_then(|answer| answer.text("id").ok());
        unanswered += usize::from(first.is_none());
        let runs = arena.ledger.number("select count(*) from executions.executions").await?;
        stored += usize::from(first.is_none() && runs == round + 1);
        let second = load::submit(&other, &flow, &key, Duration::from_secs(10)).await?;
        if first.is_some_and(|first| first != second) {
            return Err(format!("key `{key}` was answered with two runs"));
        }
        servers[0].start_ready().await?;
    }
    let mut findings = Findings::new(
        format!("{rounds} submissions with keys, 2 servers"),
        "SIGKILL 0–40 ms after the request, or when the run is stored; repeated at the other server",
    );
    let found = format!("{unanswered} of {rounds} had no answer, {stored} of them were stored");
    findings.check("the API died after the commit and before its answer", stored > 0, found);
    findings.settled(arena, &mut servers).await?;
    let runs = arena.ledger.number("select count(*) from executions.executions").await?;
    findings.check("each key is exactly one execution", runs == rounds, format!("{runs} for {rounds} keys"));
    findings.verdicts(&arena.ledger, &arena.target, Spoils::LOST, 0).await?;
    Ok(findings)
}

fn port_of(authority: &str) -> Result<u16, String> {
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.ok_or_else(|| format!("`{authority}` has no port"))
}

/// Waits until so many runs are stored.
async fn runs_are(arena: &Arena<'_>, count: i64) {
    while arena.ledger.number("select count(*) from executions.executions").await != Ok(count) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// F15: one server after the other is asked to end, and started again. Each has so few slots that runs wait for one
/// most of the time.
pub(super) async fn rolling_restarts(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let (rate, restarts, concurrency) = arena.scale.pick((20, 4, 4), (50, 20, 10));
    let spec = Spec { concurrency, ..arena.spec()? };
    let mut servers = arena.servers(&spec, 2).await?;
    let load = load::steady(&servers[0], &arena.target, rate, Duration::from_millis(60)).await?;
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
    let load_words = format!("{rate} jobs/s of 3 steps, 2 servers of {concurrency} slots");
    let mut findings = Findings::new(load_words, faults);
    findings.check("every server ends with 0", unclean.is_empty(), format!("{unclean:?}"));
    findings.finish(arena, &mut servers, &load, Spoils::NONE).await?;
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
    let killed = arena.ledger.now().await?;
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
    findings.settled(arena, &mut servers).await?;
    let last = "select extract(epoch from max(finished_at))::float8 from executions.executions";
    let last = arena.ledger.measure(last).await?.ok_or("no run has ended")?;
    findings.at_most("all final after", (last - killed, "s"), CANCEL_S);
    let executions = arena.ledger.executions().await?;
    let cancelled = executions.iter().filter(|(word, _)| word.starts_with("cancelled")).map(|(_, count)| count);
    let cancelled: i64 = cancelled.sum();
    findings.check("all are cancelled", usize::try_from(cancelled) == Ok(runs), words(&executions));
    let changed = arena.ledger.changed_finals().await?;
    findings.check("no final state changed", changed.is_empty(), format!("{changed:?}"));
    Ok(findings)
}
