//! Every domain in a process of its own, each process killed in turn under load; the books must come out even.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::layout::ALL_OUT;
use super::place::Place;
use crate::drill::arena::Arena;
use crate::drill::findings::{Findings, Spoils};
use crate::drill::load;

/// How the command line calls it.
pub(super) const NAME: &str = "kills";
/// Time between two submissions.
const SUBMIT_EVERY: Duration = Duration::from_millis(100);
/// How long one submission is repeated until somebody takes it.
const SUBMIT_PATIENCE: Duration = Duration::from_mins(1);

/// Kills each process, one after the other, and goes through the books.
pub(super) async fn each_in_turn(arena: &mut Arena<'_>) -> Result<Findings, String> {
    let (n_schedules, n_rounds) = arena.scale.pick((10, 1), (20, 3));
    let mut place = Place::start(arena, &ALL_OUT).await?;
    let load = load::steady(&place.servers[0], &arena.target, n_schedules, Duration::from_millis(150)).await?;
    let done = Arc::new(AtomicBool::new(false));
    let submitter = submit(place.authority().to_owned(), load.flow.clone(), Arc::clone(&done));
    let began = Instant::now();
    for _ in 0..n_rounds {
        for server in &mut place.servers {
            tokio::time::sleep(arena.seed.between(Duration::from_millis(500), Duration::from_secs(2))).await;
            server.kill();
            tokio::time::sleep(arena.seed.between(Duration::from_millis(100), Duration::from_secs(2))).await;
            server.start_ready().await?;
        }
    }
    done.store(true, Ordering::Relaxed);
    let accepted = submitter.await.map_err(|error| format!("the submitter ended: {error}"))??;
    let mut findings = Findings::new(
        format!(
            "{n_schedules} schedules every second for {} s and {} submissions, 3 steps each",
            began.elapsed().as_secs(),
            accepted.len()
        ),
        format!("{} SIGKILLs, each of {} processes in turn", n_rounds * place.servers.len(), place.servers.len()),
    );
    findings.finish(arena, &mut place.servers, &load, Spoils::LOST).await?;
    let mut known = arena.ledger.ids("passed").await?;
    known.extend(arena.ledger.ids("error").await?);
    let missing = accepted.iter().filter(|id| !known.contains(id)).count();
    findings.check(
        "every accepted submission has an end",
        missing == 0,
        format!("{missing} of {} missing", accepted.len()),
    );
    Ok(findings)
}

/// Submits runs, each with a key of its own, until it is told to stop; the ids of those that were accepted.
fn submit(authority: String, flow: String, done: Arc<AtomicBool>) -> JoinHandle<Result<Vec<String>, String>> {
    #[allow(clippy::disallowed_methods, reason = "awaited when everything was killed")]
    tokio::spawn(async move {
        let mut accepted = Vec::new();
        let servers = [authority];
        while !done.load(Ordering::Relaxed) {
            let key = format!("kills-{}", accepted.len());
            accepted.push(load::submit(&servers, &flow, &key, SUBMIT_PATIENCE).await?);
            tokio::time::sleep(SUBMIT_EVERY).await;
        }
        Ok(accepted)
    })
}
