//! The PostgreSQL and Redis servers that tests fill: named by the environment, or started for this run.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::services::peers::{PEERS, Peer, Running};
use crate::services::tools::{Found, TOOLS, Tool};
use crate::services::{Missing, Postgres, Redis, Services, Wanted};
use crate::workspace::Failure;

/// Names the administrator's URL of a PostgreSQL server that tests may fill.
pub(crate) const POSTGRES: &str = "TESTMESH_TEST_POSTGRES";
/// Names a Redis server that tests may fill.
pub(crate) const REDIS: &str = "TESTMESH_TEST_REDIS";

/// Where the servers are. Those that were started here end with this.
#[derive(Default)]
pub(super) struct Databases {
    variables: Vec<(&'static str, String)>,
    /// What the tests leave out, and why.
    pub(super) missing: Vec<String>,
    _services: Option<Services>,
    _peers: Option<Running>,
}

impl Databases {
    /// Takes the servers that the environment names; starts those that it does not, and installs them if it may.
    pub(super) fn start(target: &Path, out: &mut dyn Write) -> Result<Self, Failure> {
        let (postgres, redis) = (named(POSTGRES), named(REDIS));
        let wanted =
            Wanted { postgres: postgres.is_none(), redis: redis.is_none(), faketime: false, missing: Missing::Install };
        let services = Services::start(wanted, out)?;
        let started = [
            (POSTGRES, postgres, services.postgres.as_ref().map(Postgres::url)),
            (REDIS, redis, services.redis.as_ref().map(Redis::url)),
        ];
        let wanted: Vec<&'static Peer> = PEERS.iter().filter(|peer| named(peer.variable).is_none()).collect();
        let peers = Running::start(&wanted, Missing::Install, &target.join("test-servers"), out)?;
        let wanted: Vec<&'static Tool> = TOOLS.iter().filter(|tool| named(tool.variable).is_none()).collect();
        let tools = Found::find(&wanted, Missing::Install, out)?;
        for (variable, program) in &tools.variables {
            writeln!(out, "{variable}={program}")?;
        }
        let mut variables = tools.variables;
        for (peer, url) in &peers.servers {
            writeln!(out, "{}={url}", peer.variable)?;
            variables.push((peer.variable, url.clone()));
        }
        for (name, named, started) in started {
            match (named, started) {
                // It may hold a password, so it is not repeated.
                (Some(_), _) => writeln!(out, "{name}: as the environment says")?,
                (None, Some(url)) => {
                    writeln!(out, "{name}={url}")?;
                    variables.push((name, url));
                }
                (None, None) => {}
            }
        }
        let missing: Vec<String> =
            services.missing.iter().chain(&peers.missing).chain(&tools.missing).cloned().collect();
        for missing in &missing {
            writeln!(out, "tests that need it skip themselves: {missing}")?;
        }
        Ok(Self { variables, missing, _services: Some(services), _peers: Some(peers) })
    }

    /// Tells a command where they are.
    pub(super) fn tell(&self, command: &mut Command) {
        command.envs(self.variables.iter().map(|(name, url)| (name, url.as_str())));
    }
}

/// The value of a variable that is set and not empty.
#[allow(clippy::disallowed_methods, reason = "a developer names servers in the environment")]
pub(crate) fn named(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}
