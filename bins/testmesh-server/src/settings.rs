//! Every setting: a flag, the environment variable that does the same, its default.

mod database;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use testmesh_api::Scope;

pub(crate) use database::DatabaseSettings;

use crate::health::HealthSettings;

/// Stores flows (end-to-end tests written as YAML), runs them, and shows what happened.
///
/// Without any setting it listens on http://127.0.0.1:5016, keeps everything in ./testmesh-data, and needs nothing else.
/// A flag wins over its environment variable.
#[derive(Debug, Parser)]
#[command(name = "testmesh-server", version, args_conflicts_with_subcommands = true, max_term_width = 120)]
pub(crate) struct Settings {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Address and port to listen on; port 0 takes a free one. Other addresses than loopback need --tokens-file.
    #[arg(long, env = "TESTMESH_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:5016")]
    pub(crate) listen: SocketAddr,

    #[command(flatten)]
    pub(crate) database: DatabaseSettings,

    /// Redis that carries jobs between servers: redis://user:password@host:6379/0, or rediss:// with TLS. Without it
    /// servers that share a PostgreSQL database find their jobs there.
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) redis_url: Option<String>,

    /// What the keys in Redis start with; servers that share a database share this too.
    #[arg(long, env = "TESTMESH_REDIS_PREFIX", value_name = "TEXT", default_value = "testmesh")]
    pub(crate) redis_prefix: String,

    /// Tokens that may call: lines of `name:scope:sha256-of-token`, read again when the file changes. See `token create`.
    /// Without it everyone who reaches the loopback address may do everything.
    #[arg(long, env = "TESTMESH_TOKENS_FILE", value_name = "FILE")]
    pub(crate) tokens_file: Option<PathBuf>,

    /// Origins of other web pages that may call from a browser, such as https://tests.example.com, separated by commas.
    #[arg(long, env = "TESTMESH_CORS_ORIGINS", value_name = "ORIGINS", value_delimiter = ',')]
    pub(crate) cors_origins: Vec<String>,

    /// A second listener for /metrics alone, without tokens.
    #[arg(long, env = "TESTMESH_METRICS_ADDR", value_name = "ADDRESS")]
    pub(crate) metrics_addr: Option<SocketAddr>,

    /// How log lines look; `auto` is text on a terminal and JSON elsewhere.
    #[arg(long, env = "TESTMESH_LOG_FORMAT", value_name = "FORMAT", default_value = "auto")]
    pub(crate) log_format: LogFormatSetting,

    /// What is logged: error, warn, info, debug or trace, or by module, such as info,testmesh_runner=debug.
    #[arg(long, env = "TESTMESH_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: String,

    /// Runs at a time; more wait in the queue [default: 4 for each processor]
    #[arg(long, env = "TESTMESH_CONCURRENCY", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) concurrency: Option<u32>,

    /// A folder whose files flows may read. Without it flows read no files.
    #[arg(long, env = "TESTMESH_FLOW_FILES", value_name = "FOLDER")]
    pub(crate) flow_files: Option<PathBuf>,

    /// Addresses that flows may not reach, such as 10.0.0.0/8 or 10.0.0.5:5432, separated by commas. Link-local and
    /// metadata addresses and this server's own are denied anyway.
    #[arg(long, env = "TESTMESH_NET_DENY", value_name = "RANGES", default_value = "", hide_default_value = true)]
    pub(crate) net_deny: String,

    /// Addresses that flows may reach although they are denied by default, separated by commas.
    #[arg(long, env = "TESTMESH_NET_ALLOW", value_name = "RANGES", default_value = "", hide_default_value = true)]
    pub(crate) net_allow: String,

    /// Seconds that running flows get to finish after SIGTERM or SIGINT; then they are cancelled and their teardown runs.
    /// A second signal cancels them at once.
    #[arg(long, env = "TESTMESH_DRAIN_TIMEOUT", value_name = "SECONDS", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(0..=86_400))]
    drain_timeout: u64,
}

/// What else the binary does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes tokens.
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Makes the schemas and roles in PostgreSQL, as far as they are missing, and brings every schema to this release's
    /// version. Can be repeated, and run while servers are.
    Migrate {
        #[command(flatten)]
        database: DatabaseSettings,

        /// The same database server with a login that may create roles and schemas. Only needed once, when the login of
        /// --database-url may not.
        #[arg(long, env = "TESTMESH_ADMIN_URL", value_name = "URL", hide_env_values = true)]
        admin_url: Option<String>,
    },
    /// Asks a running server whether it is well: prints what it says, and ends with 0 when it is and 1 when it is not.
    Health(HealthSettings),
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Prints a new token once, and the line to add to the tokens file.
    Create {
        /// Whose it is: 1 to 64 of letters, digits, `.`, `_` and `-`. Shown in the log.
        #[arg(long)]
        name: String,
        /// What it allows: read, run, write or admin; each includes those before it.
        #[arg(long)]
        scope: Scope,
    },
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormatSetting {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object for each event.
    Json,
    /// One line of text for each event.
    Text,
}

impl Settings {
    /// Time that running flows get to finish.
    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.drain_timeout)
    }

    /// Runs at a time.
    pub(crate) fn concurrency(&self) -> usize {
        let by_processors = || 4 * std::thread::available_parallelism().map_or(1, usize::from);
        self.concurrency.and_then(|n| usize::try_from(n).ok()).unwrap_or_else(by_processors)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_setting_has_a_flag_a_variable_and_a_text() {
        let command = Settings::command();
        let settings: Vec<_> = command.get_arguments().filter(|argument| argument.get_long().is_some()).collect();
        assert!(settings.len() >= 12);
        for argument in settings {
            let flag = argument.get_long().unwrap();
            if matches!(flag, "help" | "version") {
                continue;
            }
            let variable = match flag {
                // The names that every platform uses for them.
                "database-url" => "DATABASE_URL".to_owned(),
                "redis-url" => "REDIS_URL".to_owned(),
                other => format!("TESTMESH_{}", other.to_uppercase().replace('-', "_")),
            };
            assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(variable.as_str()), "--{flag}");
            assert!(argument.get_help().is_some(), "--{flag} has no text");
        }
    }
}
