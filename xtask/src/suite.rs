//! `cargo xtask test`: the whole test suite. Sets up what it needs, says what it leaves out and why, ends with totals.

mod api;
mod book;
pub(crate) mod databases;
mod demo;
pub(crate) mod reference;
pub(crate) mod server;
mod units;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use self::databases::Databases;
use crate::workspace::{self, Failure};

/// A part of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// `cargo test` of every crate, documentation examples included
    Unit,
    /// Schemathesis against the OpenAPI document of a started server
    Api,
    /// The code blocks of the book and the README
    Docs,
    /// The flows of the demo shop, and those of others for it where they are at hand
    Demo,
    /// Security advisories of the dependencies, by cargo-deny
    Supply,
}

/// What became of a part.
enum Outcome {
    /// How many of what held.
    Passed(String),
    /// What did not hold; the details were printed.
    Failed(String),
    /// Why it did not run.
    Skipped(String),
}

/// What the parts work with.
struct Setting<'a> {
    root: &'a Path,
    /// Cargo's target folder.
    target: PathBuf,
    /// The servers that the tests work with.
    databases: Databases,
}

impl Setting<'_> {
    /// A binary of the workspace, built for debugging.
    fn program(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }
}

/// Runs the parts, all of them when none is named; says whether none failed.
pub(crate) fn run(root: &Path, only: &[Part], out: &mut dyn Write) -> Result<bool, Failure> {
    let parts: Vec<Part> =
        Part::value_variants().iter().copied().filter(|part| only.is_empty() || only.contains(part)).collect();
    let mut setting = Setting { root, target: workspace::target(root)?, databases: Databases::default() };
    if parts != [Part::Supply] {
        writeln!(out, "== build")?;
        workspace::build(root)?;
    }
    if parts.contains(&Part::Unit) {
        writeln!(out, "\n== servers")?;
        setting.databases = Databases::start(&setting.target, out)?;
    }
    let mut results = Vec::new();
    for part in parts {
        writeln!(out, "\n== {}", name(part))?;
        let started = Instant::now();
        let outcome = match part {
            Part::Unit => units::run(&setting, out),
            Part::Api => api::run(&setting, out),
            Part::Docs => book::run(&setting, out),
            Part::Demo => demo::run(&setting, out),
            Part::Supply => supply(&setting),
        };
        let outcome = outcome.unwrap_or_else(|error| Outcome::Failed(error.to_string()));
        results.push((part, outcome, started.elapsed()));
    }
    Ok(report(&results, out)?)
}

fn name(part: Part) -> &'static str {
    match part {
        Part::Unit => "unit",
        Part::Api => "api",
        Part::Docs => "docs",
        Part::Demo => "demo",
        Part::Supply => "supply",
    }
}

fn supply(setting: &Setting<'_>) -> Result<Outcome, Failure> {
    let installed = workspace::cargo().args(["deny", "--version"]).output()?.status.success();
    if !installed {
        let reason = "cargo-deny is not installed (`cargo install --locked cargo-deny`); licences and bans were checked by `cargo xtask boundaries`";
        return Ok(Outcome::Skipped(reason.to_owned()));
    }
    let status =
        workspace::cargo().current_dir(setting.root).args(["deny", "check", "--hide-inclusion-graph"]).status()?;
    Ok(if status.success() {
        Outcome::Passed("advisories, bans, licences, sources".to_owned())
    } else {
        Outcome::Failed("cargo deny".to_owned())
    })
}

fn report(results: &[(Part, Outcome, Duration)], out: &mut dyn Write) -> io::Result<bool> {
    writeln!(out, "\n== totals")?;
    let mut failed = 0;
    for (part, outcome, took) in results {
        let (word, detail) = match outcome {
            Outcome::Passed(detail) => ("passed", detail),
            Outcome::Skipped(detail) => ("skipped", detail),
            Outcome::Failed(detail) => {
                failed += 1;
                ("FAILED", detail)
            }
        };
        writeln!(out, "{:7} {word:8} {:6.1} s  {detail}", name(*part), took.as_secs_f64())?;
    }
    Ok(failed == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_part_fails_the_suite_and_a_skipped_one_says_why() {
        let second = Duration::from_secs(1);
        let passed = (Part::Unit, Outcome::Passed("10 tests".to_owned()), second);
        let skipped = (Part::Supply, Outcome::Skipped("not installed".to_owned()), second);
        let failed = (Part::Api, Outcome::Failed("2 findings".to_owned()), second);
        let mut text = Vec::new();
        assert!(report(&[passed, skipped], &mut text).unwrap());
        assert!(!report(&[failed], &mut text).unwrap());
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("unit    passed      1.0 s  10 tests"), "{text}");
        assert!(text.contains("supply  skipped     1.0 s  not installed"), "{text}");
        assert!(text.contains("api     FAILED      1.0 s  2 findings"), "{text}");
    }
}
