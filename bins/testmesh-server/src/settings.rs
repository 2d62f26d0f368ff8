//! Every setting: a flag, a variable, a key of the settings file, a default. One description serves them all.
//!
//! A setting is an argument with a variable; `catalogue` reads the list of them from here, and [`resolve`] decides which
//! of the places that give a value is in force.

mod catalogue;
mod database;
mod file;
mod mask;
mod nearest;
mod resolve;
mod roles;
mod show;
mod variables;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use testmesh_api::Scope;

pub(crate) use database::{AdminSettings, DatabaseSettings};
pub(crate) use resolve::{InForce, Refusal, resolve};
pub(crate) use roles::{Role, RoleSettings};
pub(crate) use show::show;
pub(crate) use variables::Variables;

use crate::databases::Domain;
use crate::health::HealthSettings;

/// Stores flows (end-to-end tests written as YAML), runs them, and shows what happened.
///
/// Without any setting it listens on http://127.0.0.1:5016, keeps everything in ./testmesh-data, and needs nothing else.
/// A flag wins over its environment variable, and that over the settings file; an empty variable counts as not set. What
/// holds a password can be given as a file too: DATABASE_URL_FILE names a file with the value of DATABASE_URL.
#[derive(Debug, Parser)]
#[command(name = "testmesh-server", version, args_conflicts_with_subcommands = true, max_term_width = 120)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// What the server is told.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) file: FileSettings,

    /// Address and port to listen on; port 0 takes a free one. Other addresses than loopback need --tokens-file.
    #[arg(
        long,
        env = "TESTMESH_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:5016",
        help_heading = "Callers"
    )]
    pub(crate) listen: SocketAddr,

    /// Tokens that may call: lines of `name:scope:sha256-of-token`, read again when the file changes. See `token create`.
    /// Without it everyone who reaches the loopback address may do everything.
    #[arg(long, env = "TESTMESH_TOKENS_FILE", value_name = "FILE", help_heading = "Callers")]
    pub(crate) tokens_file: Option<PathBuf>,

    /// Origins of other web pages that may call from a browser, such as https://tests.example.com, separated by commas.
    #[arg(
        long,
        env = "TESTMESH_CORS_ORIGINS",
        value_name = "ORIGINS",
        value_delimiter = ',',
        help_heading = "Callers"
    )]
    pub(crate) cors_origins: Vec<String>,

    #[command(flatten)]
    pub(crate) roles: RoleSettings,

    #[command(flatten)]
    pub(crate) database: DatabaseSettings,

    /// Redis that carries jobs between servers: redis://user:password@host:6379/0, or rediss:// with TLS. Without it
    /// servers that share a PostgreSQL database find their jobs there.
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true, help_heading = "Data")]
    pub(crate) redis_url: Option<String>,

    /// What the keys in Redis start with; servers that share a database share this too.
    #[arg(long, env = "TESTMESH_REDIS_PREFIX", value_name = "TEXT", default_value = "testmesh", help_heading = "Data")]
    pub(crate) redis_prefix: String,

    /// Runs at a time; more wait in the queue [default: 4 for each processor]
    #[arg(long, env = "TESTMESH_CONCURRENCY", value_name = "N", help_heading = "Runs",
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) concurrency: Option<u32>,

    /// The Chromium that `browser` steps open, by its name in the search path or its path. Without it flows open no
    /// browser.
    #[arg(long, env = "TESTMESH_BROWSER", value_name = "PROGRAM", help_heading = "Runs")]
    pub(crate) browser: Option<String>,

    /// Programs that flows may run (`exec`), as flows write them: psql,/usr/bin/curl. Whoever may write flows can do on this
    /// machine what these programs can. Without it flows run no program.
    #[arg(long, env = "TESTMESH_EXEC_ALLOW", value_name = "PROGRAMS", value_delimiter = ',', help_heading = "Runs")]
    pub(crate) exec_allow: Vec<String>,

    /// A folder whose files flows may read and write. Without it flows have no files.
    #[arg(long, env = "TESTMESH_FLOW_FILES", value_name = "FOLDER", help_heading = "Runs")]
    pub(crate) flow_files: Option<PathBuf>,

    /// The address that mock servers of flows listen on unless a flow names another; a flow may name loopback addresses and
    /// what this one includes. 0.0.0.0 includes every IPv4 address of this machine.
    #[arg(
        long,
        env = "TESTMESH_MOCK_BIND",
        value_name = "ADDRESS",
        default_value = "127.0.0.1",
        help_heading = "Runs"
    )]
    pub(crate) mock_bind: IpAddr,

    /// The name or address that systems under test reach mock servers by, in their base_url
    /// [default: the address that they listen on]
    #[arg(long, env = "TESTMESH_MOCK_HOST", value_name = "HOST", help_heading = "Runs")]
    pub(crate) mock_host: Option<String>,

    /// A folder of plugins (`NAME.wasm`, WebAssembly components) that flows may use as `plugin.NAME`. Without it there are
    /// none.
    #[arg(long, env = "TESTMESH_PLUGIN_DIR", value_name = "FOLDER", help_heading = "Runs")]
    pub(crate) plugin_dir: Option<PathBuf>,

    /// What plugins may do, one PLUGIN=CAPABILITY each: weather=http,rows=files. `http` is requests and `tcp` connections
    /// within the network policy, `files` reading what flows may read. A plugin that asks for more cannot be used.
    #[arg(long, env = "TESTMESH_PLUGIN_ALLOW", value_name = "GRANTS", value_delimiter = ',', help_heading = "Runs")]
    pub(crate) plugin_allow: Vec<String>,

    /// Where compiled plugins are kept for the next start, at most 512 MiB in a folder of their own, or `off`
    /// [default: the data folder; off with PostgreSQL]
    #[arg(long, env = "TESTMESH_PLUGIN_CACHE", value_name = "FOLDER", help_heading = "Runs")]
    pub(crate) plugin_cache: Option<PathBuf>,

    /// Addresses that flows may not reach, such as 10.0.0.0/8 or 10.0.0.5:5432, separated by commas. Link-local and
    /// metadata addresses and this server's own are denied anyway.
    #[arg(long, env = "TESTMESH_NET_DENY", value_name = "RANGES", value_delimiter = ',', help_heading = "Runs")]
    pub(crate) net_deny: Vec<String>,

    /// Addresses that flows may reach although they are denied by default, separated by commas.
    #[arg(long, env = "TESTMESH_NET_ALLOW", value_name = "RANGES", value_delimiter = ',', help_heading = "Runs")]
    pub(crate) net_allow: Vec<String>,

    /// Seconds that running flows get to finish after SIGTERM or SIGINT; then they are cancelled and their teardown runs.
    /// A second signal cancels them at once.
    #[arg(long, env = "TESTMESH_DRAIN_TIMEOUT", value_name = "SECONDS", default_value_t = 60, help_heading = "Runs",
        value_parser = clap::value_parser!(u64).range(0..=86_400))]
    drain_timeout: u64,

    /// A second listener for /metrics alone, without tokens.
    #[arg(long, env = "TESTMESH_METRICS_ADDR", value_name = "ADDRESS", help_heading = "Observing")]
    pub(crate) metrics_addr: Option<SocketAddr>,

    /// How log lines look; `auto` is text on a terminal and JSON elsewhere.
    #[arg(
        long,
        env = "TESTMESH_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "auto",
        help_heading = "Observing"
    )]
    pub(crate) log_format: LogFormatSetting,

    /// What is logged: error, warn, info, debug or trace, or by module, such as info,testmesh_runner=debug.
    #[arg(long, env = "TESTMESH_LOG_LEVEL", value_name = "LEVEL", default_value = "info", help_heading = "Observing")]
    pub(crate) log_level: String,

    /// Where each value came from.
    #[arg(skip)]
    pub(crate) in_force: InForce,
}

/// Where settings are read from beside flags and variables.
#[derive(Debug, Args)]
pub(crate) struct FileSettings {
    /// Settings file (TOML): `concurrency = 8` is --concurrency 8. Keys are the flags' names with `_` for `-`.
    #[arg(long, env = "TESTMESH_CONFIG", value_name = "FILE", help_heading = "Settings")]
    pub(crate) config: Option<PathBuf>,
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
        /// Only these schemas, separated by commas; each is made and changed apart from the others.
        #[arg(long, value_name = "SCHEMAS", value_delimiter = ',', default_value = "flows,executions,scheduler")]
        schemas: Vec<Domain>,

        #[command(flatten)]
        file: FileSettings,

        #[command(flatten)]
        database: DatabaseSettings,

        #[command(flatten)]
        admin: AdminSettings,
    },
    /// Prints every setting in force, its value (passwords masked) and where it came from. Takes all that the server takes,
    /// and starts nothing.
    Config {
        /// A table for people, or all that is known of each setting for programs.
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: ShowFormat,

        #[command(flatten)]
        settings: Box<Settings>,

        #[command(flatten)]
        admin: AdminSettings,
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

/// How `config` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShowFormat {
    /// A table.
    Text,
    /// An array of objects.
    Json,
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

    /// What is in force where nothing was given and the default is not one fixed text.
    fn computed(&self, key: &str) -> Option<String> {
        match key {
            "concurrency" => Some(self.concurrency().to_string()),
            "flows_database_url" | "executions_database_url" | "scheduler_database_url" => {
                self.database.database_url.clone()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::catalogue;

    #[test]
    fn every_setting_has_a_flag_a_variable_a_group_and_a_text() {
        let settings = catalogue::all();
        assert!(settings.len() >= 20, "{}", settings.len());
        for setting in settings {
            let variable = match setting.key.as_str() {
                // The names that every platform uses for them.
                "database_url" => "DATABASE_URL".to_owned(),
                "redis_url" => "REDIS_URL".to_owned(),
                key => format!("TESTMESH_{}", key.to_uppercase()),
            };
            assert_eq!(setting.variable, variable);
            assert!(!setting.description.is_empty() && !setting.group.is_empty(), "{} lacks a text", setting.key);
            assert!(!super::variables::is_service_link(&variable, ""), "{variable} looks like a service link");
            // What has a password in it is never shown by `--help`.
            let names = ["DATABASE_URL", "REDIS_URL", "ADMIN_URL"];
            assert_eq!(setting.is_secret, names.iter().any(|name| variable.ends_with(name)), "{variable}");
        }
    }
}
