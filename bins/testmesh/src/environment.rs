//! Where values come from outside a flow: the operating system's environment, dotenv files, named environments.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use testmesh_runner::files::Files;
use testmesh_runner::flow::{parse_dotenv, parse_variables};
use testmesh_runner::value::Value;

use crate::exit::{Stop, chain};

/// The operating system's environment, without what is not UTF-8.
pub(crate) fn of_process() -> IndexMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Where this program may keep what it can make again: the user's folder for such things, if there is one.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    let named = |name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")))?;
    Some(folder.join("testmesh"))
}

/// Reads a dotenv file.
pub(crate) fn read_dotenv(path: &Path) -> Result<IndexMap<String, String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    parse_dotenv(&text).map_err(|error| format!("`{}`: {error}", path.display()))
}

/// Reads the `env_file` of a flow.
pub(crate) fn flow_dotenv(path: &str, files: &Files) -> Result<IndexMap<String, String>, String> {
    const MOST_BYTES: u64 = 1 << 20;
    let bytes = files.read_blocking(path, MOST_BYTES).map_err(|error| format!("`env_file`: {}", chain(&error)))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("`env_file`: `{path}` is not UTF-8 text"))?;
    parse_dotenv(text).map_err(|error| format!("`env_file`: `{path}`: {error}"))
}

/// The variables of the environment `name`: `environments/NAME.yaml`, `.yml` or `.env`, beside the flow or here.
pub(crate) fn named(name: &str, beside: &Path) -> Result<IndexMap<String, Value>, Stop> {
    if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
        return Err(Stop::input(format!("`{name}` cannot be the name of an environment")));
    }
    let folders = [beside.join("environments"), PathBuf::from("environments")];
    for folder in &folders {
        for extension in ["yaml", "yml"] {
            let path = folder.join(format!("{name}.{extension}"));
            if path.is_file() {
                return read_yaml(&path).map_err(Stop::input);
            }
        }
        let path = folder.join(format!("{name}.env"));
        if path.is_file() {
            let values = read_dotenv(&path).map_err(Stop::input)?;
            return Ok(values.into_iter().map(|(name, value)| (name, Value::Text(value.into()))).collect());
        }
    }
    Err(Stop::input(format!(
        "no environment `{name}`: neither `{}` nor `environments` here has {name}.yaml or {name}.env (with --server, \
         the server's environments are used)",
        folders[0].display()
    )))
}

fn read_yaml(path: &Path) -> Result<IndexMap<String, Value>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    parse_variables(&text).map_err(|found| {
        let shown = path.display().to_string();
        let found: Vec<_> = found.iter().map(|finding| finding.render(Some(&shown), false)).collect();
        format!("the environment `{shown}` cannot be used:\n{}", found.join("\n"))
    })
}

/// Secrets as given: `NAME=VALUE`, or `NAME` for the environment variable of that name.
pub(crate) fn secrets(
    given: &[String],
    of_process: &IndexMap<String, String>,
) -> Result<std::collections::HashMap<String, String>, Stop> {
    let mut secrets = std::collections::HashMap::new();
    for text in given {
        let (name, value) = if let Some((name, value)) = text.split_once('=') {
            (name, value.to_owned())
        } else {
            let missing =
                || Stop::input(format!("the secret `{text}` has no value: no environment variable of that name"));
            (text.as_str(), of_process.get(text).cloned().ok_or_else(missing)?)
        };
        if name.is_empty() {
            return Err(Stop::input("a secret needs a name: --secret NAME[=VALUE]"));
        }
        secrets.insert(name.to_owned(), value);
    }
    Ok(secrets)
}
