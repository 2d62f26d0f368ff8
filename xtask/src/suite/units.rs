//! `cargo test` of the whole workspace, its output passed on as it comes, its results added up.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::{Outcome, Setting};
use crate::workspace::{self, Failure};

/// What `cargo test` counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

pub(super) fn run(setting: &Setting<'_>, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let mut cargo = workspace::cargo();
    cargo.current_dir(setting.root).args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    setting.databases.tell(&mut cargo);
    let mut child = cargo.stdout(Stdio::piped()).spawn()?;
    let mut counts = Counts::default();
    let output = child.stdout.take().ok_or("`cargo test` has no output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        counts.add(&line);
        writeln!(out, "{line}")?;
    }
    let status = child.wait()?;
    let Counts { passed, failed, ignored } = counts;
    let mut text = format!("{passed} tests passed, {failed} failed, {ignored} ignored");
    for missing in &setting.databases.missing {
        text.push_str("; left out: ");
        text.push_str(missing);
    }
    Ok(if status.success() && failed == 0 { Outcome::Passed(text) } else { Outcome::Failed(text) })
}

impl Counts {
    /// Adds what a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …` says.
    fn add(&mut self, line: &str) {
        let Some((_, result)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for part in result.split("; ") {
            let Some((count, what)) = part.split_once(' ') else { continue };
            let count: u64 = count.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut counts = Counts::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ] {
            counts.add(line);
        }
        assert_eq!(counts, Counts { passed: 13, failed: 2, ignored: 1 });
    }
}
