//! What one `testmesh run` was told, in the form the flows need it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use testmesh_runner::engine::Detail;
use testmesh_runner::files::Files;
use testmesh_runner::flow::ParseOptions;
use testmesh_runner::plugins::{Grants, PluginError, Plugins};
use testmesh_runner::value::Value;
use testmesh_shared::net::Listening;

use crate::args::{PluginArgs, RunArgs, RunFormat};
use crate::environment;
use crate::exit::Stop;

/// What every flow of the run is given.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is one flag of the command line")]
pub(crate) struct Settings {
    /// `--var`.
    pub(crate) variables: IndexMap<String, Value>,
    /// `--env-file`, later files above earlier ones.
    pub(crate) env_file: IndexMap<String, String>,
    /// `--secret`.
    pub(crate) secrets: HashMap<String, String>,
    /// `--environment`.
    pub(crate) environment: Option<String>,
    /// The operating system's environment.
    pub(crate) os_env: Arc<IndexMap<String, String>>,
    /// `--root`, resolved.
    pub(crate) root: Option<PathBuf>,
    /// `--mock-bind`, `--mock-host`.
    pub(crate) listening: Listening,
    /// `--plugin-dir`, `--plugin-allow`, `--plugin-cache`.
    pub(crate) plugins: Plugins,
    /// `--seed`.
    pub(crate) seed: Option<u64>,
    /// `--strict`.
    pub(crate) strict: bool,
    /// `--dry-run`.
    pub(crate) dry_run: bool,
    /// `--update-snapshots`.
    pub(crate) update_snapshots: bool,
    /// How much is told of the steps: what the console and the reports show.
    pub(crate) detail: Detail,
    /// Whether a server runs the flows.
    pub(crate) remote: bool,
}

impl Settings {
    /// Reads what the arguments refer to.
    pub(crate) fn read(args: &RunArgs) -> Result<Self, Stop> {
        let os_env = Arc::new(environment::of_process());
        let mut env_file = IndexMap::new();
        for path in &args.env_files {
            env_file.extend(environment::read_dotenv(path).map_err(Stop::input)?);
        }
        let root = match &args.root {
            Some(root) => Some(
                root.canonicalize()
                    .map_err(|error| Stop::input(format!("cannot use `{}` as --root: {error}", root.display())))?,
            ),
            None => None,
        };
        let remote = args.server.is_some();
        if remote && !args.secrets.is_empty() {
            return Err(Stop::input("--secret cannot be used with --server: a server has its own secrets"));
        }
        if remote && args.update_snapshots {
            return Err(Stop::input("--update-snapshots cannot be used with --server: snapshots are files here"));
        }
        if remote && (args.mock_bind.is_some() || args.mock_host.is_some()) {
            return Err(Stop::input("--mock-bind and --mock-host cannot be used with --server: a server has its own"));
        }
        let address = args.mock_bind.unwrap_or(Listening::default().address);
        Ok(Self {
            listening: Listening { address, host: args.mock_host.clone(), anywhere: true },
            variables: args
                .variables
                .iter()
                .map(|(name, value)| (name.clone(), Value::Text(value.clone().into())))
                .collect(),
            env_file,
            secrets: environment::secrets(&args.secrets, &os_env)?,
            environment: args.environment.clone(),
            os_env,
            root,
            plugins: if remote { Plugins::elsewhere() } else { plugins(&args.plugins)? },
            seed: args.seed,
            strict: args.strict,
            dry_run: args.dry_run,
            update_snapshots: args.update_snapshots,
            detail: detail(args),
            remote,
        })
    }

    /// What the parser is told: names that will be there are not reported as undefined.
    pub(crate) fn parse_options(&self) -> ParseOptions {
        let known = self.variables.keys().chain(self.env_file.keys()).chain(self.os_env.keys());
        ParseOptions {
            strict: self.strict,
            known_names: known.cloned().collect(),
            plugins: self.plugins.clone(),
            ..ParseOptions::default()
        }
    }

    /// The files that a flow in `folder` may read.
    pub(crate) fn files(&self, folder: PathBuf) -> Files {
        Files { base: folder, root: self.root.clone(), enabled: true }
    }
}

fn detail(args: &RunArgs) -> Detail {
    let shows_all = args.verbose
        || args.format == RunFormat::Json
        || args.reports.iter().any(|report| report.format.shows_exchanges());
    if shows_all { Detail::Full } else { Detail::Failures }
}

/// The plugins of this machine. Its user decides what they may do: whatever they ask for, unless something else is said.
pub(crate) fn plugins(args: &PluginArgs) -> Result<Plugins, Stop> {
    let Some(folder) = &args.plugin_dir else { return Ok(Plugins::none()) };
    let grants = if args.plugin_allow.is_empty() { Grants::All } else { Grants::Only(args.plugin_allow.clone()) };
    let cache = match &args.plugin_cache {
        Some(cache) if cache.as_os_str() == "off" => None,
        Some(cache) => Some(cache.clone()),
        None => environment::cache_folder(),
    };
    Plugins::in_folder(folder, grants, cache.as_deref()).map_err(|error| {
        let flag = if matches!(error, PluginError::Unknown { .. }) { "--plugin-allow" } else { "--plugin-dir" };
        let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
        Stop::input(format!("{flag}: {error}{help}"))
    })
}
