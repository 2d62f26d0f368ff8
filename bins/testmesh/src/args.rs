//! The arguments, as clap reads them.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use testmesh_runner::plugins::Grant;

use crate::import::GroupBy;

/// End-to-end tests as YAML flows: run them, check them, write them.
#[derive(Debug, Parser)]
#[command(name = "testmesh", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Colours on the terminal; NO_COLOR is respected.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
}

const EXIT_CODES: &str = "Exit codes: 0 all passed, 1 a test failed, 2 the input is wrong, 3 it could not be run.";

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run flows
    Run(Box<RunArgs>),
    /// Check flows without running them
    Validate(ValidateArgs),
    /// Write a first flow that passes
    Init(InitArgs),
    /// Write flows from an OpenAPI description, a Postman collection, an HTTP Archive or curl commands
    Import(ImportArgs),
    /// Print the JSON Schema of flow files, for editors
    Schema,
    /// Print the reference of the actions
    Actions(ActionsArgs),
    /// Format flow files
    Fmt(FmtArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// `testmesh run`.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is one flag of the command line")]
pub(crate) struct RunArgs {
    /// Flow files, folders (searched for *.yaml and *.yml) and globs
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Only flows with this tag; may repeat, then all must match
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Only flows of this suite
    #[arg(long, value_name = "NAME")]
    pub(crate) suite: Option<String>,
    /// A variable for every flow; may repeat
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) variables: Vec<(String, String)>,
    /// A dotenv file for every flow, above their own `env_file`; may repeat
    #[arg(long = "env-file", value_name = "FILE")]
    pub(crate) env_files: Vec<PathBuf>,
    /// An environment: environments/NAME.yaml or .env beside the flow or here; with --server one that it stores
    #[arg(long, value_name = "NAME")]
    pub(crate) environment: Option<String>,
    /// A secret, masked wherever it shows; without a value it is taken from the environment variable of that name
    #[arg(long = "secret", value_name = "NAME[=VALUE]")]
    pub(crate) secrets: Vec<String>,
    /// Makes random values and times repeat
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How many flows run at the same time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) parallel: u16,
    /// Start no further flow after the first that does not pass
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Warnings are errors, and a failed teardown fails its flow
    #[arg(long)]
    pub(crate) strict: bool,
    /// Run on this server instead of here
    #[arg(long, value_name = "URL", env = "TESTMESH_SERVER")]
    pub(crate) server: Option<String>,
    /// The server's token
    #[arg(long, value_name = "TOKEN", env = "TESTMESH_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Write a report: junit=FILE, html=FILE, json=FILE, tap=FILE; may repeat
    #[arg(long = "report", value_name = "FORMAT=FILE", value_parser = report)]
    pub(crate) reports: Vec<Report>,
    /// What to print
    #[arg(long, value_enum, default_value_t = RunFormat::Pretty)]
    pub(crate) format: RunFormat,
    /// Flows may read no file outside this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// The address that mock servers listen on, unless a flow names one [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mock_bind: Option<IpAddr>,
    /// The name or address that the system under test reaches mock servers by
    #[arg(long, value_name = "HOST")]
    pub(crate) mock_host: Option<String>,
    #[command(flatten)]
    pub(crate) plugins: PluginArgs,
    /// Accept what the flows see now as their snapshots
    #[arg(long)]
    pub(crate) update_snapshots: bool,
    /// Check everything and run no action
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Show every step, with requests and responses in full
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// What `run` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunFormat {
    /// For people
    Pretty,
    /// Every event as one line of JSON, then a summary
    Json,
    /// Test Anything Protocol, version 14
    Tap,
    /// For people, with annotations for GitHub Actions
    Github,
}

/// A report to write.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// Its kind.
    pub(crate) format: testmesh_runner::report::ReportFormat,
    /// Where.
    pub(crate) path: PathBuf,
}

/// The plugins that flows may use.
#[derive(Debug, Args)]
#[allow(clippy::struct_field_names, reason = "each has the name of its flag")]
pub(crate) struct PluginArgs {
    /// A folder of plugins (NAME.wasm, WebAssembly components) for `plugin.NAME`; a server (--server) has its own
    #[arg(long, value_name = "DIR", env = "TESTMESH_PLUGIN_DIR")]
    pub(crate) plugin_dir: Option<PathBuf>,
    /// What plugins may do: weather=http, rows=files; may repeat [default: what they ask for]
    #[arg(long, value_name = "PLUGIN=CAPABILITY", env = "TESTMESH_PLUGIN_ALLOW", value_delimiter = ',')]
    pub(crate) plugin_allow: Vec<Grant>,
    /// Where compiled plugins are kept, or `off` [default: testmesh in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "DIR", env = "TESTMESH_PLUGIN_CACHE")]
    pub(crate) plugin_cache: Option<PathBuf>,
}

/// `testmesh validate`.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Flow files, folders and globs
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// What to print
    #[arg(long, value_enum, default_value_t = ValidateFormat::Pretty)]
    pub(crate) format: ValidateFormat,
    /// Warnings are errors
    #[arg(long)]
    pub(crate) strict: bool,
    /// A name that will be defined when the flows run; may repeat
    #[arg(long = "var", value_name = "NAME[=VALUE]")]
    pub(crate) variables: Vec<String>,
    #[command(flatten)]
    pub(crate) plugins: PluginArgs,
}

/// What `validate` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ValidateFormat {
    /// For people
    Pretty,
    /// A list of {file, valid, diagnostics}
    Json,
}

/// `testmesh init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// A file to write (*.yaml, *.yml), or the folder to write hello.yaml to
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) path: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// `testmesh import`.
#[derive(Debug, Args)]
#[command(after_help = IMPORT_HELP)]
pub(crate) struct ImportArgs {
    /// What the file is
    #[arg(value_enum, value_name = "KIND")]
    pub(crate) source: ImportSource,
    /// The file to read; - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where to write: a file (*.yaml, *.yml) for one flow, or a folder; standard output without
    #[arg(short, long, value_name = "FILE|DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Write over files that are there
    #[arg(long)]
    pub(crate) force: bool,
    /// What a flow is made of [default: openapi: request, postman: group unless groups depend on each other]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) group_by: Option<GroupBy>,
    /// Of an HTTP Archive, also the requests for scripts, styles, pictures and their like
    #[arg(long)]
    pub(crate) assets: bool,
}

const IMPORT_HELP: &str = "What cannot be taken over is told on standard error and as a comment at its place. Credentials \
are not written: they become secrets, which a run gets by `--secret NAME` or from an environment.\n\nExit codes: 0 written, 2 \
the input is wrong, 3 it could not be written.";

/// What `import` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportSource {
    /// An OpenAPI 3.0 or 3.1 description, YAML or JSON
    Openapi,
    /// A Postman collection, 2.0 or 2.1
    Postman,
    /// An HTTP Archive 1.2, as browsers save it
    Har,
    /// One or several curl commands
    Curl,
}

/// `testmesh actions`.
#[derive(Debug, Args)]
pub(crate) struct ActionsArgs {
    /// One action's reference; all of them without
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) plugins: PluginArgs,
}

/// `testmesh fmt`.
#[derive(Debug, Args)]
pub(crate) struct FmtArgs {
    /// Flow files, folders and globs
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Change nothing; exit with 1 when a file is not formatted
    #[arg(long)]
    pub(crate) check: bool,
}

/// `testmesh completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn report(text: &str) -> Result<Report, String> {
    use testmesh_runner::report::ReportFormat;
    let (kind, path) = text.split_once('=').filter(|(_, path)| !path.is_empty()).ok_or("expected FORMAT=FILE")?;
    let format = match kind {
        "junit" => ReportFormat::Junit,
        "html" => ReportFormat::Html,
        "json" => ReportFormat::Json,
        "tap" => ReportFormat::Tap,
        other => return Err(format!("no report format `{other}`: junit, html, json, tap")),
    };
    Ok(Report { format, path: PathBuf::from(path) })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn reports_are_a_known_format_and_a_file() {
        for (text, good) in
            [("junit=out.xml", true), ("html=a=b.html", true), ("junit", false), ("junit=", false), ("pdf=x", false)]
        {
            assert_eq!(report(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn an_assignment_has_a_name() {
        assert_eq!(assignment("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(assignment("a="), Ok(("a".to_owned(), String::new())));
        assert!(assignment("=b").is_err());
        assert!(assignment("a").is_err());
    }
}
