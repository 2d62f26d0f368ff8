//! `cargo xtask demo`: the demo shop with real servers under it, to look at or to run flows against.

mod flows;
mod stack;

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

pub(crate) use self::flows::{By, Wish, run as run_flows};
pub(crate) use self::stack::{Setup, Stack, taken_port};
use crate::workspace::{self, Failure};

/// What to do with the shop.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is one flag of the command line")]
pub(crate) struct Options {
    /// Run the flows in these folders or files against the shop, and end. The exit code is that of `testmesh run`
    #[arg(long, value_name = "DIR", num_args = 1..)]
    flows: Vec<PathBuf>,
    /// Leave this file of them out; may repeat
    #[arg(long, value_name = "FILE", requires = "flows")]
    except: Vec<PathBuf>,
    /// Run them on a testmesh-server that is started for it, instead of here
    #[arg(long, requires = "flows", conflicts_with = "both")]
    server: bool,
    /// Run them here, and then on a testmesh-server
    #[arg(long, requires = "flows")]
    both: bool,
    /// Leave what a flow did for the next one. Otherwise each finds the shop as it was at the beginning
    #[arg(long, requires = "flows")]
    keep_state: bool,
    /// Everything on free ports, for flows that take the addresses from variables
    #[arg(long)]
    free_ports: bool,
    /// The shop answers a login with an unknown e-mail address with 404 instead of 401
    #[arg(long)]
    reveal_unknown_emails: bool,
}

/// How it went, in the words of `testmesh run`; the worse is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// Everything held.
    Passed,
    /// A test failed.
    Failed,
    /// The input is wrong.
    WrongInput,
    /// It could not be run.
    NotRun,
}

impl Ending {
    /// What an exit code says.
    fn of(code: Option<i32>) -> Self {
        match code {
            Some(0) => Self::Passed,
            Some(1) => Self::Failed,
            Some(2) => Self::WrongInput,
            _ => Self::NotRun,
        }
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        ExitCode::from(match ending {
            Ending::Passed => 0,
            Ending::Failed => 1,
            Ending::WrongInput => 2,
            Ending::NotRun => 3,
        })
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::WrongInput => "cannot be read",
            Self::NotRun => "could not be run",
        })
    }
}

/// Opens the shop and does what the options say. What keeps it from doing so is printed.
pub(crate) fn run(root: &Path, options: &Options, out: &mut dyn Write) -> Ending {
    match try_run(root, options, out) {
        Ok(ending) => ending,
        Err(error) => {
            eprintln!("error: {error}");
            Ending::NotRun
        }
    }
}

fn try_run(root: &Path, options: &Options, out: &mut dyn Write) -> Result<Ending, Failure> {
    let target = workspace::target(root)?;
    build(root)?;
    let setup = Setup { free_ports: options.free_ports, reveal_unknown_emails: options.reveal_unknown_emails };
    let stack = Stack::start(&target, setup, out)?;
    if options.flows.is_empty() {
        present(&stack, &target, out)?;
        wait_for_interrupt()?;
        writeln!(out, "closing")?;
        return Ok(Ending::Passed);
    }
    let wish = Wish { paths: &options.flows, except: &options.except, keep_state: options.keep_state };
    let ways: &[By] = match (options.both, options.server) {
        (true, _) => &[By::CommandLine, By::Server],
        (false, true) => &[By::Server],
        (false, false) => &[By::CommandLine],
    };
    let mut worst = Ending::Passed;
    for way in ways {
        worst = worst.max(run_flows(&stack, &target, &wish, *way, out)?);
    }
    Ok(worst)
}

/// Builds the programs, with the same features as everything else, so that nothing is compiled twice.
fn build(root: &Path) -> Result<(), Failure> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root).args(["build", "--quiet", "--workspace", "--locked", "--bins"]);
    if cargo.status()?.success() { Ok(()) } else { Err("the workspace does not build".into()) }
}

/// Says where everything is.
fn present(stack: &Stack, target: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let file = target.join("demo.env");
    std::fs::write(&file, stack.dotenv())?;
    writeln!(out, "\nthe shop is open:\n")?;
    for (name, value) in &stack.variables {
        writeln!(out, "  {name}={value}")?;
    }
    writeln!(out, "\nThe same as a file: {}", file.display())?;
    writeln!(out, "  testmesh run examples/shop/flows --parallel 1 --env-file {}", file.display())?;
    writeln!(out, "  curl -X POST http://{}/reset    # puts the shop back to its beginning", stack.admin)?;
    writeln!(out, "\nCtrl-C closes it.")?;
    Ok(out.flush()?)
}

fn wait_for_interrupt() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(tokio::signal::ctrl_c())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_endings_counts() {
        let endings = [Some(0), Some(1), Some(2), Some(3), None].map(Ending::of);
        assert_eq!(endings.iter().copied().max(), Some(Ending::NotRun));
        assert_eq!(endings[..3].iter().copied().max(), Some(Ending::WrongInput));
        assert_eq!(endings[..2].iter().copied().max(), Some(Ending::Failed));
        assert_eq!(endings[4], Ending::NotRun, "one that a signal ended");
    }
}
