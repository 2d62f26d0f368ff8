//! Whole processes, measured from outside: wall time from start to end, and the most memory they held.
//!
//! Each measurement runs in a small process of its own (`xtask measure -- command …`), because the system tells the
//! peak memory of ended children only as one maximum over all of them.

use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

/// What one process took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// Wall time, in seconds.
    pub(crate) seconds: f64,
    /// Most memory held at once, in MiB.
    pub(crate) mebibytes: f64,
}

/// The measuring process: runs `command`, prints what it took as JSON.
pub(crate) fn measure_here(command: &[String]) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("no command to measure")?;
    let started = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("start `{program}`: {error}"))?;
    let seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("`{}` ended with {status}", command.join(" ")));
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| format!("read the usage: {error}"))?;
    // Linux gives kibibytes.
    #[allow(clippy::cast_precision_loss, reason = "a size of memory fits in 53 bits")]
    let mebibytes = usage.max_rss() as f64 / 1024.0;
    println!("{}", serde_json::to_string(&Taken { seconds, mebibytes }).map_err(|error| error.to_string())?);
    Ok(())
}

/// What several rounds of one command took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounds {
    /// The medians: what to expect.
    pub(super) median: Taken,
    /// The shortest wall time, in seconds: what the work itself takes. What else happens on the machine only adds to it,
    /// and so does a placement of client and server on the cores that makes them wait for each other. With few cores
    /// there are two placements, of which one takes up to three times as long, so a median jumps between the two.
    pub(super) least_seconds: f64,
}

/// Measures each of `commands` `rounds` times, in turn and in alternating order, so that a noisy moment hits all of
/// them and none always runs first.
pub(super) fn compare(commands: &[Vec<String>], rounds: usize) -> Result<Vec<Rounds>, String> {
    let mut all = vec![Vec::with_capacity(rounds); commands.len()];
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..commands.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            all[place].push(measure(&commands[place])?);
        }
    }
    Ok(all.into_iter().map(summary).collect())
}

fn measure(command: &[String]) -> Result<Taken, String> {
    let this = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    let output = Command::new(this)
        .args(["measure", "--"])
        .args(command)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("start the measuring process: {error}"))?;
    if !output.status.success() {
        return Err(format!("measuring `{}` failed", command.join(" ")));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("read the measurement: {error}"))
}

fn summary(mut taken: Vec<Taken>) -> Rounds {
    taken.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
    let (least_seconds, seconds) = (taken[0].seconds, taken[taken.len() / 2].seconds);
    taken.sort_by(|one, other| one.mebibytes.total_cmp(&other.mebibytes));
    Rounds { median: Taken { seconds, mebibytes: taken[taken.len() / 2].mebibytes }, least_seconds }
}
