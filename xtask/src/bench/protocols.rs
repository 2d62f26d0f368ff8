//! `cargo xtask bench protocols`: steps of other protocols against a client library that makes the same calls.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::measure::compare;
use super::table::{Figure, Goal};
use super::{Options, Programs};
use crate::services::peers::{PEERS, Running};
use crate::services::{Missing, Services, Wanted};

/// Steps of one flow.
const STEPS: usize = 500;
/// Messages that are sent and read back: each read starts where the run did.
const MESSAGES: usize = 20;

/// Runs every case for which there is a server.
pub(super) fn run(root: &Path, options: &Options, programs: &Programs) -> Result<Vec<Figure>, String> {
    let mut out = std::io::stderr();
    let wanted = Wanted { postgres: true, redis: true, faketime: false, missing: Missing::Install };
    let services = Services::start(wanted, &mut out).map_err(|error| error.to_string())?;
    let kafka: Vec<_> = PEERS.iter().filter(|peer| peer.name == "Kafka").collect();
    let cache = root.join("target/test-servers");
    let peers =
        Running::start(&kafka, Missing::Install, &cache, &mut out).map_err(|error| format!("start Kafka: {error}"))?;
    for missing in services.missing.iter().chain(&peers.missing) {
        eprintln!("left out: {missing}");
    }
    let folder = tempfile::tempdir().map_err(|error| format!("make a folder for the flows: {error}"))?;
    let cases = Cases { programs, folder: folder.path(), rounds: if options.quick { 3 } else { 15 } };
    let mut figures = Vec::new();
    if let Some(postgres) = &services.postgres {
        let url = postgres.url();
        let ours = cases.flow("sql", STEPS, |number| sql_step(&url, number))?;
        let bare = ["postgres", &url, &STEPS.to_string()].map(str::to_owned);
        figures.push(cases.figure("SQL: rows of PostgreSQL, a step each", [&bare, &ours], (STEPS, 1.3))?);
    }
    if let Some(redis) = &services.redis {
        let url = redis.url();
        let ours = cases.flow("redis", STEPS, |number| redis_step(&url, number))?;
        let bare = ["redis", &url, &STEPS.to_string()].map(str::to_owned);
        figures.push(cases.figure("Redis: `GET`, a step each", [&bare, &ours], (STEPS, 1.3))?);
    }
    if let Some((_, addresses)) = peers.servers.first() {
        let address = addresses.split_whitespace().next().unwrap_or_default();
        let ours = cases.flow("kafka", MESSAGES, |number| kafka_steps(address, number))?;
        let bare = ["kafka", address, "bench", &MESSAGES.to_string()].map(str::to_owned);
        // Makes the topic.
        compare(std::slice::from_ref(&ours), 1)?;
        figures.push(cases.figure(
            "Kafka: a message sent and read back, two steps",
            [&bare, &ours],
            (MESSAGES, 2.0),
        )?);
    }
    Ok(figures)
}

struct Cases<'a> {
    programs: &'a Programs,
    folder: &'a Path,
    rounds: usize,
}

impl Cases<'_> {
    /// Writes a flow of so many times these steps; the command that runs it.
    fn flow(&self, name: &str, count: usize, steps: impl Fn(usize) -> String) -> Result<Vec<String>, String> {
        let mut yaml = format!("flow:\n  name: {name}\n  steps:\n");
        for number in 0..count {
            yaml.push_str(&steps(number));
        }
        let path: PathBuf = self.folder.join(format!("{name}.yaml"));
        fs::write(&path, yaml).map_err(|error| format!("write `{}`: {error}", path.display()))?;
        Ok(vec![self.programs.testmesh.display().to_string(), "run".to_owned(), path.display().to_string()])
    }

    /// What one of `count` calls takes, by whole processes at their best.
    fn figure(&self, name: &str, [bare, ours]: [&[String]; 2], (count, bar): (usize, f64)) -> Result<Figure, String> {
        let mut limit = vec![self.programs.bare_protocol.display().to_string()];
        limit.extend_from_slice(bare);
        let taken = compare(&[limit, ours.to_vec()], self.rounds)?;
        #[allow(clippy::cast_precision_loss, reason = "a number of steps")]
        let [bare, ours] = [0, 1].map(|place: usize| taken[place].least_seconds * 1e6 / count as f64);
        Ok(Figure::new(name, (ours, "µs"), Some(bare), Goal::Ratio(bar)))
    }
}

fn sql_step(url: &str, number: usize) -> String {
    format!(
        "    - action: database_query\n      config:\n        connection: \"{url}\"\n        \
         query: select $1::bigint as n, $2::text as name\n        params: [{number}, Ada]\n      \
         assert: rows[0].n == {number}\n"
    )
}

fn redis_step(url: &str, number: usize) -> String {
    if number == 0 {
        return format!(
            "    - action: redis.set\n      config: {{url: \"{url}\", key: bench, value: Ada}}\n      assert: ok\n"
        );
    }
    format!("    - action: redis.get\n      config: {{url: \"{url}\", key: bench}}\n      assert: value == \"Ada\"\n")
}

fn kafka_steps(address: &str, number: usize) -> String {
    let mut yaml = String::new();
    let key = format!("\"${{EXECUTION_ID}} {number}\"");
    let _ = writeln!(
        yaml,
        "    - action: kafka_producer\n      config: {{brokers: \"{address}\", topic: bench, key: {key}, payload: {{id: 42, name: Ada}}}}"
    );
    let _ = writeln!(
        yaml,
        "    - action: kafka_consumer\n      config: {{brokers: \"{address}\", topic: bench, match: {{key: {key}}}, timeout: 20s}}\n      \
         assert: messages[0].value.name == \"Ada\""
    );
    yaml
}
