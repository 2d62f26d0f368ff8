//! `cargo xtask shapes`: the acceptance suite in every shape that the processes can take, and each of them killed in turn.
//!
//! A shape is data: processes with their roles. The suite is given a base URL and knows nothing of them.

mod balancer;
mod kills;
pub(crate) mod layout;
pub(crate) mod place;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use self::layout::{LAYOUTS, Layout};
use self::place::Place;
use crate::acceptance::{self, Tried};
use crate::drill;
use crate::drill::arena::{Arena, Scale};
use crate::drill::findings::Findings;
use crate::services::{Missing, Services, Wanted};
use crate::workspace::Failure;

/// Which shapes, and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Each process is killed once instead of three times
    #[arg(long)]
    short: bool,
    /// Only this shape, such as `all-out`, or `kills`; may repeat
    #[arg(long, value_name = "SHAPE")]
    only: Vec<String>,
    /// Release builds instead of debug builds
    #[arg(long)]
    release: bool,
    /// What the times of the kills are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A line of the table.
struct Row {
    shape: String,
    n_processes: usize,
    held: bool,
    found: String,
    seconds: f64,
}

/// Tries the shapes; says whether everything held.
pub(crate) fn run(root: &Path, options: &Options, out: &mut dyn Write) -> Result<bool, Failure> {
    let known: Vec<&str> = LAYOUTS.iter().map(|layout| layout.name).chain([kills::NAME]).collect();
    if let Some(unknown) = options.only.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("there is no shape `{unknown}`; there are {}", known.join(", ")).into());
    }
    let program = drill::build(root, options.release)?;
    let wanted = Wanted { postgres: true, redis: true, faketime: false, missing: Missing::Install };
    let mut services = Services::start(wanted, out)?;
    if !services.missing.is_empty() {
        writeln!(out, "the shapes need both servers: {}", services.missing.join("; "))?;
        return Ok(false);
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let is_chosen = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut rows = Vec::new();
    for layout in LAYOUTS.iter().filter(|layout| is_chosen(layout.name)) {
        let started = Instant::now();
        let tried = runtime.block_on(suite(layout, &mut services, &program));
        let row = suite_row(layout, tried, started.elapsed().as_secs_f64(), out)?;
        writeln!(out, "{}", line(&row))?;
        rows.push(row);
    }
    if is_chosen(kills::NAME) {
        let started = Instant::now();
        let scale = if options.short { Scale::Short } else { Scale::Long };
        let findings = runtime.block_on(killed(&mut services, &program, (scale, options.seed), out));
        let row = kills_row(findings, started.elapsed().as_secs_f64(), out)?;
        writeln!(out, "{}", line(&row))?;
        rows.push(row);
    }
    writeln!(out, "\n| shape | processes | held | | seconds |\n|---|---|---|---|---|")?;
    for row in &rows {
        let held = if row.held { "yes" } else { "NO" };
        writeln!(out, "| {} | {} | {held} | {} | {:.0} |", row.shape, row.n_processes, row.found, row.seconds)?;
    }
    Ok(!rows.is_empty() && rows.iter().all(|row| row.held))
}

fn line(row: &Row) -> String {
    let word = if row.held { "ok    " } else { "FAILED" };
    format!("{word}  {}: {} ({:.0} s)", row.shape, row.found, row.seconds)
}

async fn suite(
    layout: &Layout,
    services: &mut Services,
    program: &Path,
) -> Result<(Vec<Tried>, Option<PathBuf>), String> {
    let mut arena = Arena::open(services, program, layout.name, (Scale::Short, 1)).await?;
    let place = Place::start(&mut arena, layout).await?;
    let tried = acceptance::run(place.authority()).await;
    let ended = place.stop().await;
    let failed = tried.iter().any(|case| case.outcome.is_err()) || ended.is_err();
    let logs = failed.then(|| arena.keep_logs());
    ended.map_err(|error| {
        format!("{error}{}", logs.as_ref().map(|logs| format!(" ({})", logs.display())).unwrap_or_default())
    })?;
    Ok((tried, logs))
}

fn suite_row(
    layout: &Layout,
    tried: Result<(Vec<Tried>, Option<PathBuf>), String>,
    seconds: f64,
    out: &mut dyn Write,
) -> Result<Row, Failure> {
    let row =
        |held, found| Row { shape: layout.name.to_owned(), n_processes: layout.processes.len(), held, found, seconds };
    let (tried, logs) = match tried {
        Ok(tried) => tried,
        Err(error) => return Ok(row(false, error)),
    };
    let mut n_failed = 0;
    for case in &tried {
        if let Err(reason) = &case.outcome {
            n_failed += 1;
            writeln!(out, "FAILED  {}: {} ({:.1} s): {reason}", layout.name, case.name, case.took.as_secs_f64())?;
        }
    }
    if let Some(logs) = logs {
        writeln!(out, "        the processes' logs: {}", logs.display())?;
    }
    let found = match n_failed {
        0 => format!("{} cases", tried.len()),
        _ => format!("{n_failed} of {} cases failed", tried.len()),
    };
    Ok(row(n_failed == 0, found))
}

async fn killed(
    services: &mut Services,
    program: &Path,
    how: (Scale, u64),
    out: &mut dyn Write,
) -> Result<Findings, String> {
    let mut arena = Arena::open(services, program, kills::NAME, how).await?;
    let findings = kills::each_in_turn(&mut arena).await;
    if !findings.as_ref().is_ok_and(Findings::held) {
        let logs = arena.keep_logs();
        writeln!(out, "        the processes' logs: {}", logs.display()).map_err(|error| error.to_string())?;
    }
    findings
}

fn kills_row(findings: Result<Findings, String>, seconds: f64, out: &mut dyn Write) -> Result<Row, Failure> {
    let row = |held, found| Row {
        shape: kills::NAME.to_owned(),
        n_processes: layout::ALL_OUT.processes.len(),
        held,
        found,
        seconds,
    };
    let findings = match findings {
        Ok(findings) => findings,
        Err(error) => return Ok(row(false, error)),
    };
    for check in &findings.checks {
        let word = if check.held { "ok    " } else { "FAILED" };
        writeln!(out, "{word}  {}: {}", check.what, check.found)?;
    }
    Ok(row(findings.held(), format!("{}; {}", findings.load, findings.faults)))
}
