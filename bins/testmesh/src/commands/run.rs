//! `testmesh run`: runs flows, here or on a server, and says how it went.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use testmesh_runner::report::{Part, assemble};
use testmesh_shared::net::{Connector, NetPolicy, Proxies};
use tokio::runtime::{Builder, Runtime};

use crate::args::{Color, Report, RunArgs};
use crate::console::{Console, Screen};
use crate::exit::{Exit, Stop};
use crate::local::Local;
use crate::plan::{Filter, Plan};
use crate::remote::Remote;
use crate::settings::Settings;
use crate::sources;
use crate::suite::{self, Habits, Outcome, Target};

/// Bytes of a report that are written to its file at once.
const WRITTEN_AT_ONCE: usize = 64 << 10;
/// Runs in a report that takes longer to write than a thread takes to start.
const WORTH_A_THREAD: usize = 200;

/// Runs what was asked for.
pub(crate) fn run(args: &RunArgs, color: Color) -> Result<Exit, Stop> {
    let settings = Arc::new(Settings::read(args)?);
    let files = sources::list(&args.paths)?;
    let filter = Filter { tags: args.tags.clone(), suite: args.suite.clone() };
    let mut plan = Plan::new(files, Arc::clone(&settings), filter)?;
    if plan.is_over() {
        return Err(Stop::input("no flow matches"));
    }
    let connector = connector(&settings)?;
    let habits = Habits {
        parallel: usize::from(args.parallel),
        fail_fast: args.fail_fast,
        reports: args.reports.iter().map(|report| report.format).collect(),
    };
    let console = Console::new(Screen::stdout(color), args.format, args.verbose);
    if console.shows_progress() {
        // Somebody wants to see how many there are.
        plan.complete();
    }
    let runtimes = runtimes(plan.n_parallel(habits.parallel))?;
    let target = match &args.server {
        Some(url) => Target::Remote(Remote::new(url, args.token.as_deref(), connector, Arc::clone(&settings))?),
        None => Target::Local(Local::new(Arc::clone(&settings), connector, plan.compiler())),
    };
    let outcome = suite::run(plan, target, habits, runtimes, console)?;
    write_reports(&args.reports, &outcome.reports)?;
    let exit = verdict(&outcome);
    // The process is about to end: freeing the reports piece by piece would help nobody.
    std::mem::forget(outcome);
    Ok(exit)
}

fn connector(settings: &Settings) -> Result<Connector, Stop> {
    let proxies = Proxies::from_variables(|name| settings.os_env.get(name).cloned())
        .map_err(|(variable, error)| Stop::input(format!("the proxy in `{variable}` cannot be used: {error}")))?;
    Ok(Connector::new(NetPolicy::open()).with_proxies(proxies).with_listening(settings.listening.clone()))
}

/// A runtime for one thread each: one thread for one flow; more flows share as many threads as there are cores.
fn runtimes(n_concurrent: usize) -> Result<Vec<Runtime>, Stop> {
    // How many cores there are is written in several files of the system: it is not asked for one flow.
    let n_cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let n_threads = if n_concurrent > 1 { n_concurrent.min(n_cores()) } else { 1 };
    let runtime = |_| Builder::new_current_thread().enable_all().build();
    let runtimes: Result<_, std::io::Error> = (0..n_threads).map(runtime).collect();
    runtimes.map_err(|error| Stop::not_run(format!("cannot start: {error}")))
}

/// Writes the reports, large ones side by side.
fn write_reports(reports: &[Report], parts: &[Vec<Part>]) -> Result<(), Stop> {
    let (Some((first, others)), Some((first_parts, other_parts))) = (reports.split_first(), parts.split_first()) else {
        return Ok(());
    };
    let others = others.iter().zip(other_parts);
    if first_parts.len() < WORTH_A_THREAD {
        write_report(first, first_parts)?;
        return others.into_iter().try_for_each(|(report, parts)| write_report(report, parts));
    }
    std::thread::scope(|scope| {
        let others: Vec<_> = others.map(|(report, parts)| scope.spawn(move || write_report(report, parts))).collect();
        let mut written = write_report(first, first_parts);
        for other in others {
            written = written.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        written
    })
}

fn write_report(report: &Report, parts: &[Part]) -> Result<(), Stop> {
    let failed =
        |error: std::io::Error| Stop::not_run(format!("cannot write the report `{}`: {error}", report.path.display()));
    if let Some(folder) = report.path.parent().filter(|folder| *folder != Path::new("")) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = BufWriter::with_capacity(WRITTEN_AT_ONCE, File::create(&report.path).map_err(failed)?);
    for piece in assemble(report.format, parts) {
        file.write_all(piece.as_bytes()).map_err(failed)?;
    }
    file.flush().map_err(failed)
}

/// A failed test outweighs what could not be run, and that outweighs wrong input.
fn verdict(outcome: &Outcome) -> Exit {
    let totals = &outcome.totals;
    let invalid_only = outcome.invalid == totals.flows;
    if outcome.interrupted {
        Exit::NotRun
    } else if totals.failed > 0 || (outcome.invalid > 0 && !invalid_only) {
        Exit::Failed
    } else if outcome.invalid > 0 {
        Exit::InvalidInput
    } else if totals.errors > 0 || totals.cancelled > 0 {
        Exit::NotRun
    } else {
        Exit::Passed
    }
}

#[cfg(test)]
mod tests {
    use testmesh_runner::report::Totals;

    use super::*;

    #[test]
    fn the_exit_code_says_what_matters_most() {
        let check = |flows: u32, failed: u32, errors: u32, invalid: u32, expect: Exit| {
            let passed = flows - failed - errors;
            let totals = Totals { flows, passed, failed, errors, ..Totals::default() };
            let outcome = Outcome { totals, invalid, ..Outcome::default() };
            assert_eq!(verdict(&outcome), expect, "{outcome:?}");
        };
        check(2, 0, 0, 0, Exit::Passed);
        check(2, 1, 0, 0, Exit::Failed);
        check(2, 1, 1, 0, Exit::Failed);
        check(2, 0, 1, 0, Exit::NotRun);
        check(2, 0, 1, 1, Exit::Failed);
        check(2, 0, 2, 2, Exit::InvalidInput);
        let interrupted = Outcome { interrupted: true, ..Outcome::default() };
        assert_eq!(verdict(&interrupted), Exit::NotRun);
    }
}
