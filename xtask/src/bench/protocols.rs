//! `cargo xtask bench protocols`: steps of other protocols against a client library that makes the same calls.
//!
//! What is compared is a step of a run and a call over an open connection. So each side does the work twice, few times
//! and many times in a loop, and the difference is shared among the steps between: starting a process, reading and
//! compiling the flow and its `.proto` file, and opening a connection are done once, and are no step's.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::engine::command;
use super::measure::compare;
use super::table::{Figure, Goal};
use super::{Options, Programs};
use crate::services::peers::{PEERS, Running};
use crate::services::{Missing, Services, Wanted};

/// Steps of the short run and of the long one: a few milliseconds, so that of many rounds some are left in peace.
const STEPS: [usize; 2] = [100, 600];
/// Messages that are sent and read back, of both: fewer, since a broker takes longer than the others.
const MESSAGES: [usize; 2] = [5, 45];

/// What the gRPC steps call, in the words of gRPC's own health service.
const HEALTH: &str = "syntax = \"proto3\";
package grpc.health.v1;
message HealthCheckRequest { string service = 1; }
message HealthCheckResponse {
  enum ServingStatus { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; SERVICE_UNKNOWN = 3; }
  ServingStatus status = 1;
}
service Health { rpc Check(HealthCheckRequest) returns (HealthCheckResponse); }
";

/// Runs every case for which there is a server.
pub(super) fn run(root: &Path, options: &Options, programs: &Programs) -> Result<Vec<Figure>, String> {
    let mut out = std::io::stderr();
    let wanted = Wanted { postgres: true, redis: true, faketime: false, missing: Missing::Install };
    let services = Services::start(wanted, &mut out).map_err(|error| error.to_string())?;
    for missing in &services.missing {
        eprintln!("left out: {missing}");
    }
    let folder = tempfile::tempdir().map_err(|error| format!("make a folder for the flows: {error}"))?;
    let cases = Cases { programs, folder: folder.path(), rounds: if options.quick { 5 } else { 45 } };
    let mut figures = Vec::new();
    if let Some(postgres) = &services.postgres {
        let url = postgres.url();
        let ours = cases.flows("sql", STEPS, &sql_step(&url))?;
        let bare = bare(&programs.bare_protocol, &["postgres", &url], STEPS);
        figures.push(cases.figure("SQL: rows of PostgreSQL, a step each", bare, ours, (STEPS, 1.3))?);
    }
    if let Some(redis) = &services.redis {
        let url = redis.url();
        let ours = cases.flows("redis", STEPS, &redis_step(&url))?;
        let bare = bare(&programs.bare_protocol, &["redis", &url], STEPS);
        // Sets the key.
        compare(&bare[..1], 1)?;
        figures.push(cases.figure("Redis: `GET`, a step each", bare, ours, (STEPS, 1.3))?);
    }
    let server = GrpcServer::start(&programs.call_price)?;
    fs::write(folder.path().join("health.proto"), HEALTH).map_err(|error| format!("write `health.proto`: {error}"))?;
    let ours = cases.flows("grpc", STEPS, &grpc_step(&server.address))?;
    let bare_grpc = bare(&programs.call_price, &["grpc", &server.address], STEPS);
    figures.push(cases.figure("gRPC: unary calls, a step each", bare_grpc, ours, (STEPS, 1.3))?);
    // Last of all: a Java machine keeps both cores busy for a while after its start.
    let kafka: Vec<_> = PEERS.iter().filter(|peer| peer.name == "Kafka").collect();
    let cache = root.join("target/test-servers");
    let peers =
        Running::start(&kafka, Missing::Install, &cache, &mut out).map_err(|error| format!("start Kafka: {error}"))?;
    for missing in &peers.missing {
        eprintln!("left out: {missing}");
    }
    if let Some((_, addresses)) = peers.servers.first() {
        let address = addresses.split_whitespace().next().unwrap_or_default();
        let ours = cases.flows("kafka", MESSAGES, &kafka_steps(address))?;
        let bare = bare(&programs.bare_protocol, &["kafka", address, "bench"], MESSAGES);
        // Makes the topic, and the broker warm.
        compare(&ours, 3)?;
        figures.push(cases.figure("Kafka: sent and read back, two steps", bare, ours, (MESSAGES, 2.0))?);
    }
    Ok(figures)
}

/// The bare client with few calls and with many.
fn bare(program: &Path, arguments: &[&str], counts: [usize; 2]) -> [Vec<String>; 2] {
    counts.map(|count| {
        let mut words = command(program, arguments);
        words.push(count.to_string());
        words
    })
}

/// A server of gRPC's own health service; ended when dropped.
struct GrpcServer {
    process: Child,
    address: String,
}

impl GrpcServer {
    fn start(program: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("start `{}`: {error}", program.display());
        let mut command = Command::new(program);
        command.args(["grpc", "serve"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(failed)?;
        let mut address = String::new();
        if let Some(out) = process.stdout.take() {
            BufReader::new(out).read_line(&mut address).map_err(failed)?;
        }
        Ok(Self { process, address: address.trim().to_owned() })
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Cases<'a> {
    programs: &'a Programs,
    folder: &'a Path,
    rounds: usize,
}

impl Cases<'_> {
    /// Writes flows that do these steps so many times; the commands that run them.
    fn flows(&self, name: &str, counts: [usize; 2], steps: &str) -> Result<[Vec<String>; 2], String> {
        let mut commands = [Vec::new(), Vec::new()];
        for (command, count) in commands.iter_mut().zip(counts) {
            let turn = steps.replace('\n', "\n          ");
            let yaml = format!(
                "flow:\n  name: {name}\n  steps:\n    - action: for_each\n      config:\n        items: {count}\n        steps:\n          {turn}\n"
            );
            let path: PathBuf = self.folder.join(format!("{name}-{count}.yaml"));
            fs::write(&path, yaml).map_err(|error| format!("write `{}`: {error}", path.display()))?;
            *command = vec![self.programs.testmesh.display().to_string(), "run".to_owned(), path.display().to_string()];
        }
        Ok(commands)
    }

    /// What one more call takes, by whole processes at their best.
    fn figure(
        &self,
        name: &str,
        bare: [Vec<String>; 2],
        ours: [Vec<String>; 2],
        (counts, bar): ([usize; 2], f64),
    ) -> Result<Figure, String> {
        let commands: Vec<Vec<String>> = bare.into_iter().chain(ours).collect();
        let taken = compare(&commands, self.rounds)?;
        let [few, many] = counts;
        #[allow(clippy::cast_precision_loss, reason = "a number of steps")]
        let each =
            |place: usize| (taken[place + 1].least_seconds - taken[place].least_seconds) * 1e6 / (many - few) as f64;
        Ok(Figure::new(name, (each(2), "µs"), Some(each(0)), Goal::Ratio(bar)))
    }
}

fn grpc_step(address: &str) -> String {
    format!(
        "- action: grpc
  config: {{address: \"{address}\", proto_file: health.proto, method: grpc.health.v1.Health/Check, request: {{}}}}
  assert: body.status == \"SERVING\""
    )
}

fn sql_step(url: &str) -> String {
    format!(
        "- action: database_query
  config:
    connection: \"{url}\"
    query: select $1::bigint as n, $2::text as name
    params: [\"${{item}}\", Ada]
  assert: rows[0].n == item"
    )
}

fn redis_step(url: &str) -> String {
    format!(
        "- action: redis.get
  config: {{url: \"{url}\", key: bench}}
  assert: value == \"Ada\""
    )
}

fn kafka_steps(address: &str) -> String {
    format!(
        "- action: kafka_producer
  config: {{brokers: \"{address}\", topic: bench, key: \"${{EXECUTION_ID}} ${{item}}\", payload: {{id: 42, name: Ada}}}}
- action: kafka_consumer
  config: {{brokers: \"{address}\", topic: bench, match: {{key: \"${{EXECUTION_ID}} ${{item}}\"}}, timeout: 20s}}
  assert: messages[0].value.name == \"Ada\""
    )
}
