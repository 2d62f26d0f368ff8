//! `cargo xtask drill`: real servers on a private PostgreSQL and Redis, faults at seeded times, and what must hold after.
//!
//! Each case has a database, a target and servers of its own. What is checked is read from the tables and from the
//! target's log, never from what servers say about themselves. `docs/operations/reliability.md` shows the table.

pub(crate) mod arena;
mod cases;
pub(crate) mod client;
pub(crate) mod findings;
mod ledger;
pub(crate) mod load;
mod proxy;
mod seed;
pub(crate) mod server;
mod target;

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use arena::{Arena, Scale};
use cases::Case;
use findings::Findings;

use crate::services::{Missing, Services, Wanted};
use crate::workspace::{self, Failure};

/// How to drill.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Every case in brief: five minutes in all
    #[arg(long)]
    short: bool,
    /// Only this case; may repeat
    #[arg(long, value_name = "CASE")]
    only: Vec<Case>,
    /// What the times of faults are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object for each case instead of text
    #[arg(long)]
    json: bool,
    /// Release builds instead of debug builds
    #[arg(long)]
    release: bool,
    /// This server instead of one that is built for it
    #[arg(long, value_name = "FILE", conflicts_with = "release")]
    server: Option<PathBuf>,
    /// Cases side by side, each lane with a PostgreSQL and a Redis of its own [default: 3 when short, else 1]
    #[arg(long, value_name = "N")]
    lanes: Option<usize>,
}

/// A case that was tried.
struct Tried {
    case: Case,
    findings: Result<Findings, String>,
    seconds: f64,
    /// Where the servers' logs are, when something did not hold.
    logs: Option<PathBuf>,
}

/// What a case came to, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Held,
    Failed,
    /// It was not run, so nobody knows.
    LeftOut,
}

impl Tried {
    fn outcome(&self) -> Outcome {
        match &self.findings {
            Ok(findings) if findings.skipped.is_some() => Outcome::LeftOut,
            Ok(findings) if findings.held() => Outcome::Held,
            Ok(_) | Err(_) => Outcome::Failed,
        }
    }
}

/// Drills; says whether every case was run and held.
pub(crate) fn run(root: &Path, options: &Options, out: &mut dyn Write) -> Result<bool, Failure> {
    let cases: VecDeque<Case> =
        Case::all().into_iter().filter(|case| options.only.is_empty() || options.only.contains(case)).collect();
    let program = match &options.server {
        Some(program) => program.clone(),
        None => build(root, options.release)?,
    };
    let lanes = options.lanes.unwrap_or(if options.short { 3 } else { 1 }).clamp(1, cases.len().max(1));
    let mut services = Vec::new();
    for _ in 0..lanes {
        let faketime = cases.contains(&Case::F12);
        let wanted = Wanted { postgres: true, redis: true, faketime, missing: Missing::Install };
        let started = Services::start(wanted, out)?;
        if started.postgres.is_none() || started.redis.is_none() {
            writeln!(out, "the drill needs both servers: {}", started.missing.join("; "))?;
            return Ok(false);
        }
        services.push(started);
    }
    let scale = if options.short { Scale::Short } else { Scale::Long };
    let queue = Mutex::new(cases);
    let done = Mutex::new(Vec::new());
    let out = Mutex::new(out_lines(options.json));
    std::thread::scope(|scope| {
        for mut services in services {
            let (queue, done, out, program) = (&queue, &done, &out, &program);
            scope.spawn(move || {
                while let Some(case) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) {
                    eprintln!("{} begins: {}", case.name(), case.title());
                    let result = one(case, root, &mut services, program, (scale, options.seed));
                    if let Ok(out) = out.lock() {
                        out(&result);
                    }
                    if let Ok(mut done) = done.lock() {
                        done.push(result);
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().map_err(|_| "a lane of the drill died")?;
    done.sort_by_key(|result| result.case);
    if !options.json {
        table(&done);
        println!("\n{}", totals(&done));
    }
    Ok(done.iter().all(|result| result.outcome() == Outcome::Held))
}

/// Builds the server: with everything else for debugging, or as it is released, with what `cargo xtask bench` measures.
pub(crate) fn build(root: &Path, release: bool) -> Result<PathBuf, Failure> {
    if !release {
        workspace::build(root)?;
        return Ok(workspace::target(root)?.join("debug/testmesh-server"));
    }
    let arguments = ["build", "--quiet", "--locked", "--release", "-p", "testmesh", "-p", "testmesh-server", "--bins"];
    if workspace::cargo().current_dir(root).args(arguments).status()?.success() {
        return Ok(workspace::target(root)?.join("release/testmesh-server"));
    }
    Err("the server does not build".into())
}

fn one(case: Case, root: &Path, services: &mut Services, program: &Path, how: (Scale, u64)) -> Tried {
    let started = Instant::now();
    let mut logs = None;
    let findings =
        tokio::runtime::Runtime::new().map_err(|error| format!("start a runtime: {error}")).and_then(|runtime| {
            runtime.block_on(async {
                let mut arena = Arena::open(services, program, case.name(), how).await?;
                let findings = case.run(&mut arena, root).await;
                if !findings.as_ref().is_ok_and(Findings::held) {
                    logs = Some(arena.keep_logs());
                }
                findings
            })
        });
    Tried { case, findings, seconds: started.elapsed().as_secs_f64(), logs }
}

/// Prints a case as soon as it is done.
fn out_lines(json: bool) -> impl Fn(&Tried) + Send {
    move |result| {
        if json {
            let line = match &result.findings {
                Ok(findings) => serde_json::json!({
                    "case": result.case.name(), "held": findings.held(), "seconds": result.seconds, "findings": findings,
                }),
                Err(error) => serde_json::json!({
                    "case": result.case.name(), "held": false, "seconds": result.seconds, "error": error,
                }),
            };
            println!("{line}");
            return;
        }
        println!("\n== {} {} ({:.0} s)", result.case.name(), result.case.title(), result.seconds);
        match &result.findings {
            Ok(findings) => print(findings),
            Err(error) => println!("  FAILED  {error}"),
        }
        if let Some(logs) = &result.logs {
            println!("  the servers' logs: {}", logs.display());
        }
    }
}

fn print(findings: &Findings) {
    if let Some(reason) = &findings.skipped {
        println!("  LEFT OUT  {reason}");
        return;
    }
    println!("  load:   {}\n  faults: {}", findings.load, findings.faults);
    for check in &findings.checks {
        let word = if check.held { "ok    " } else { "FAILED" };
        println!("  {word}  {}: {}", check.what, check.found);
    }
    for figure in &findings.figures {
        println!("          {} {:.1} {}", figure.name, figure.value, figure.unit);
    }
}

/// How many cases held, and which did not.
fn totals(results: &[Tried]) -> String {
    use std::fmt::Write as _;
    let names = |outcome: Outcome| {
        let of = results.iter().filter(|result| result.outcome() == outcome);
        of.map(|result| result.case.name()).collect::<Vec<_>>()
    };
    let mut text = format!("{} of {} cases held", names(Outcome::Held).len(), results.len());
    for (words, outcome) in [("did not hold", Outcome::Failed), ("left out", Outcome::LeftOut)] {
        let names = names(outcome);
        if !names.is_empty() {
            let _ = write!(text, "; {words}: {}", names.join(", "));
        }
    }
    text
}

/// All cases in a table for the book.
fn table(results: &[Tried]) {
    println!("\n| case | load | faults | held | figures |\n|---|---|---|---|---|");
    for result in results {
        let title = format!("{} {}", result.case.name(), result.case.title());
        match &result.findings {
            Ok(findings) => {
                let failed: Vec<&str> =
                    findings.checks.iter().filter(|check| !check.held).map(|check| check.what.as_str()).collect();
                let held = match (&findings.skipped, failed.is_empty()) {
                    (Some(reason), _) => format!("left out: {reason}"),
                    (None, true) => format!("all {}", findings.checks.len()),
                    (None, false) => format!("NOT: {}", failed.join("; ")),
                };
                let figure = |figure: &findings::Figure| format!("{} {:.1} {}", figure.name, figure.value, figure.unit);
                let figures: Vec<String> = findings.figures.iter().map(figure).collect();
                println!("| {title} | {} | {} | {held} | {} |", findings.load, findings.faults, figures.join(", "));
            }
            Err(error) => println!("| {title} | | | NOT: {} | |", error.lines().next().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_run_does_not_count_as_held() {
        let tried = |case, findings| Tried { case, findings, seconds: 1.0, logs: None };
        let with = |held| {
            let mut findings = Findings::new("", "");
            findings.check("it holds", held, "");
            findings
        };
        let all = [
            tried(Case::F1, Ok(with(true))),
            tried(Case::F2, Ok(with(false))),
            tried(Case::F3, Err("no server".to_owned())),
            tried(Case::F4, Ok(Findings::new("", ""))),
            tried(Case::F12, Ok(Findings::skipped("no library"))),
        ];
        assert_eq!(totals(&all), "1 of 5 cases held; did not hold: F2, F3, F4; left out: F12");
        assert!(!Findings::skipped("no library").held());
    }
}
