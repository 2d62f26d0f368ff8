//! What a case came to: what held and what did not, and figures. The checks that every case ends with.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::arena::{Arena, Scale};
use super::client;
use super::ledger::{Counts, Ledger};
use super::load::{self, Load};
use super::server::Server;
use super::target::Target;

/// How long everything may take to be finished after the last fault: a lease, a reaper's turn, retries.
const SETTLE: Duration = Duration::from_secs(90);
/// How long what a dead consumer had read may stay in a stream: half a minute, and a look every five seconds.
const STREAMS: Duration = Duration::from_secs(45);
/// How long a server may take to end that has nothing to do. One that waits for a slot that is never given back takes
/// a minute.
const IDLE_END_S: f64 = 10.0;
/// How long a lease lasts that nobody renews, and a little more.
const LEASES: Duration = Duration::from_secs(20);
/// How often what is awaited is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// One thing that must hold.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Check {
    /// What must hold.
    pub(crate) what: String,
    pub(crate) held: bool,
    /// What was found.
    pub(crate) found: String,
}

/// A measure.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

/// What a case came to.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Findings {
    /// What servers had to do.
    pub(crate) load: String,
    /// What was done to them.
    pub(crate) faults: String,
    pub(crate) checks: Vec<Check>,
    pub(crate) figures: Vec<Figure>,
    /// Why it was left out.
    pub(crate) skipped: Option<String>,
}

/// What may have become of jobs and executions, besides passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spoils {
    /// Attempts whose runner is gone.
    pub(crate) lost: bool,
    /// Jobs without a verdict.
    pub(crate) dead: i64,
}

impl Spoils {
    pub(crate) const NONE: Self = Self { lost: false, dead: 0 };
    pub(crate) const LOST: Self = Self { lost: true, dead: 0 };
}

impl Findings {
    pub(crate) fn new(load: impl Into<String>, faults: impl Into<String>) -> Self {
        Self { load: load.into(), faults: faults.into(), ..Self::default() }
    }

    pub(crate) fn skipped(reason: impl Into<String>) -> Self {
        Self { skipped: Some(reason.into()), ..Self::default() }
    }

    /// Notes whether something held.
    pub(crate) fn check(&mut self, what: &str, held: bool, found: impl Into<String>) {
        self.checks.push(Check { what: what.to_owned(), held, found: found.into() });
    }

    /// Notes a measure, and whether it is at most `most`.
    pub(crate) fn at_most(&mut self, name: &str, (value, unit): (f64, &'static str), most: f64) {
        self.check(&format!("{name} ≤ {most} {unit}"), value <= most, format!("{value:.1} {unit}"));
        self.figure(name, value, unit);
    }

    pub(crate) fn figure(&mut self, name: &str, value: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.to_owned(), value, unit });
    }

    /// Whether something was checked and all of it held. What was left out did not hold.
    pub(crate) fn held(&self) -> bool {
        self.skipped.is_none() && !self.checks.is_empty() && self.checks.iter().all(|check| check.held)
    }

    /// Stops the load, waits until nothing is open, ends the servers, and goes through the books.
    pub(crate) async fn finish(
        &mut self,
        arena: &Arena<'_>,
        servers: &mut [Server],
        load: &Load,
        spoils: Spoils,
    ) -> Result<(), String> {
        let server = servers.first().ok_or("no server is left to pause the schedules")?;
        let until = arena.ledger.now().await?;
        load::pause(server, load).await?;
        self.settled(arena, servers).await?;
        self.firings(&arena.ledger, load, until).await?;
        self.verdicts(&arena.ledger, &arena.target, spoils, load.steps).await
    }

    /// Waits until nothing is open, then ends the servers that run and sees what is left.
    pub(crate) async fn settled(&mut self, arena: &Arena<'_>, servers: &mut [Server]) -> Result<(), String> {
        let settled = arena.ledger.settle(SETTLE).await;
        let found = match &settled {
            Ok(took) => format!("after {:.1} s", took.as_secs_f64()),
            Err(open) => open.clone(),
        };
        self.check("everything accepted is final, slots and outbox are empty", settled.is_ok(), found);
        self.streams(arena).await?;
        self.ended(arena, servers).await?;
        let panics: usize = servers.iter().map(Server::panics).sum();
        self.check("no panic", panics == 0, panics.to_string());
        Ok(())
    }

    /// What is left in Redis. What a consumer had that died comes back after half a minute, only a hint by then: the
    /// short form does not wait for that.
    async fn streams(&mut self, arena: &Arena<'_>) -> Result<(), String> {
        let port = arena.redis_port()?;
        let left = || -> Result<u32, String> {
            let mut left = 0;
            for key in ["testmesh:run-flow", "testmesh:run-finished"] {
                let length = client::redis(port, &[b"XLEN", key.as_bytes()])?;
                left += length.trim_start_matches(':').parse::<u32>().map_err(|_| format!("XLEN {key}: {length}"))?;
            }
            Ok(left)
        };
        let began = Instant::now();
        let patience = arena.scale.pick(Duration::ZERO, STREAMS);
        let mut entries = left()?;
        while entries > 0 && began.elapsed() < patience {
            tokio::time::sleep(LOOK_AGAIN).await;
            entries = left()?;
        }
        match arena.scale {
            Scale::Short => self.figure("entries left in streams", f64::from(entries), ""),
            Scale::Long => {
                let found = format!("{entries} after {:.1} s", began.elapsed().as_secs_f64());
                self.check("nothing is left in the streams", entries == 0, found);
            }
        }
        Ok(())
    }

    /// Ends the servers that run: at once and cleanly, because every slot is free; and no lease is left.
    async fn ended(&mut self, arena: &Arena<'_>, servers: &mut [Server]) -> Result<(), String> {
        let began = Instant::now();
        for server in servers.iter().filter(|server| server.pid().is_some()) {
            server.signal(Signal::SIGTERM)?;
        }
        let mut unclean = Vec::new();
        for server in servers.iter_mut().filter(|server| server.pid().is_some()) {
            let status = server.wait_for_end().await?;
            if !status.success() {
                unclean.push(status.to_string());
            }
        }
        let took = began.elapsed().as_secs_f64();
        let free = unclean.is_empty() && took <= IDLE_END_S;
        self.check("every slot is free: the servers end at once", free, format!("after {took:.1} s {unclean:?}"));
        let leases = "select count(*) from executions.runner_sessions where lease_until > clock_timestamp()";
        let began = Instant::now();
        let mut left = arena.ledger.number(leases).await?;
        while left > 0 && began.elapsed() < LEASES {
            tokio::time::sleep(LOOK_AGAIN).await;
            left = arena.ledger.number(leases).await?;
        }
        self.check("no lease is left", left == 0, format!("{left} after {:.1} s", began.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Each schedule fired exactly once for each of its times.
    async fn firings(&mut self, ledger: &Ledger, load: &Load, until: f64) -> Result<(), String> {
        let firings = ledger.firings().await?;
        let period = f64::from(load.period_s);
        let mut wrong = Vec::new();
        for firings in &firings {
            #[allow(clippy::cast_possible_truncation, reason = "the seconds of a drill")]
            let wanted = ((firings.last - firings.first) / period).round() as i64 + 1;
            let (begins_late, ends_early) =
                (firings.first - firings.made > period, until - firings.last > period + 2.0);
            if firings.jobs != wanted || firings.times != wanted || begins_late || ends_early {
                wrong.push(format!("{firings:?} instead of {wanted}, {:.1} s before the end", until - firings.last));
            }
        }
        let jobs: i64 = firings.iter().map(|firings| firings.jobs).sum();
        let whole = wrong.is_empty() && firings.len() == load.schedules.len();
        let found = if whole { format!("{jobs} jobs") } else { format!("{} schedules; {wrong:?}", firings.len()) };
        self.check("per schedule and time exactly one job", whole, found);
        let left_out = ledger
            .number(
                "select count(*) from scheduler.jobs j join scheduler.schedules s on s.id = j.schedule_id \
                 where j.state = 'skipped' and s.overlap = 'allow'",
            )
            .await?;
        self.check("no firing that may run was left out", left_out == 0, left_out.to_string());
        Ok(())
    }

    /// Each job and execution has one verdict, and the target agrees: it saw `steps` of each run that passed.
    pub(crate) async fn verdicts(
        &mut self,
        ledger: &Ledger,
        target: &Target,
        spoils: Spoils,
        steps: usize,
    ) -> Result<(), String> {
        let (jobs, executions) = (ledger.jobs().await?, ledger.executions().await?);
        let job_ok = |state: &str| matches!(state, "passed" | "skipped");
        let bad_jobs: i64 = jobs.iter().filter(|(state, _)| !job_ok(state)).map(|(_, count)| count).sum();
        self.check("every job passed in the end", bad_jobs == spoils.dead, words(&jobs));
        let run_ok = |status: &str| status == "passed" || (spoils.lost && status == "error lost");
        let bad_runs: i64 = executions.iter().filter(|(status, _)| !run_ok(status)).map(|(_, count)| count).sum();
        self.check("no execution ended otherwise than by the fault", bad_runs == 0, words(&executions));
        let without_one = ledger
            .number(
                "select count(*) from scheduler.jobs j where j.state in ('passed', 'failed') and 1 <> \
                 (select count(*) from executions.executions e where e.job_id = j.id and e.status in ('passed', 'failed'))",
            )
            .await?;
        self.check("each finished job has exactly one verdict", without_one == 0, without_one.to_string());
        let changed = ledger.changed_finals().await?;
        let found = if changed.is_empty() { format!("{} watched", ledger.finals()) } else { format!("{changed:?}") };
        self.check("no final state changed", changed.is_empty(), found);
        let torn = ledger
            .number(
                "select count(*) from executions.executions e where e.status = 'passed' and e.total_steps <> \
                 (select count(*) from executions.execution_steps s where s.execution_id = e.id and s.status = 'passed')",
            )
            .await?;
        self.check("each passed run has all its steps on record", torn == 0, torn.to_string());
        self.target_agrees(ledger, target, steps).await
    }

    /// No two runs of one job reported a verdict, and no run that did was seen at the target twice.
    pub(crate) async fn one_run_for_each_verdict(&mut self, arena: &Arena<'_>) -> Result<(), String> {
        let verdicts: Vec<(String, Vec<String>)> = sqlx::query_as(
            "select job_id::text, array_agg(id::text) from executions.executions \
             where status in ('passed', 'failed', 'cancelled') and job_id is not null group by job_id",
        )
        .fetch_all(&arena.ledger.pool)
        .await
        .map_err(|error| format!("read the verdicts: {error}"))?;
        let counts = arena.target.counts();
        let seen_twice = |run: &String| counts.get(run).is_some_and(|steps| steps.values().any(|times| *times > 1));
        let twice = verdicts.iter().filter(|(_, runs)| runs.len() > 1 || runs.iter().any(seen_twice)).count();
        let found = format!("{twice} of {} jobs", verdicts.len());
        self.check("no job's verdict was reported twice, no reported run was seen twice", twice == 0, found);
        Ok(())
    }

    /// How long after their time jobs started at their first attempt.
    pub(crate) async fn lateness(&mut self, arena: &Arena<'_>) -> Result<(), String> {
        for (name, statement) in [
            (
                "time to start, p50",
                "select percentile_cont(0.5) within group (order by extract(epoch from e.started_at - \
              j.nominal_at)::float8) from scheduler.jobs j join executions.executions e on e.job_id = j.id and e.attempt = 1",
            ),
            (
                "p99",
                "select percentile_cont(0.99) within group (order by extract(epoch from e.started_at - \
              j.nominal_at)::float8) from scheduler.jobs j join executions.executions e on e.job_id = j.id and e.attempt = 1",
            ),
        ] {
            if let Some(seconds) = arena.ledger.measure(statement).await? {
                self.figure(name, seconds * 1e3, "ms");
            }
        }
        Ok(())
    }

    /// The target saw each passed run once and whole, and no step of any run twice.
    async fn target_agrees(&mut self, ledger: &Ledger, target: &Target, steps: usize) -> Result<(), String> {
        let counts = target.counts();
        let twice = counts.values().flat_map(|steps| steps.values()).filter(|times| **times > 1).count();
        self.check("the target saw no step of a run twice", twice == 0, twice.to_string());
        let passed = ledger.ids("passed").await?;
        let seen = |id: &String| counts.get(id).map_or(0, HashMap::len);
        let torn = passed.iter().filter(|id| seen(id) != steps).count();
        self.check("the target saw every step of each passed run", torn == 0, format!("{torn} of {}", passed.len()));
        Ok(())
    }
}

/// Counts in a fixed order.
pub(crate) fn words(counts: &Counts) -> String {
    let mut words: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    words.sort();
    words.join(", ")
}

#[cfg(test)]
mod tests;
