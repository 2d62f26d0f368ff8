//! Which of the places that give a value is in force: flag, then variable, then settings file, then default.
//!
//! Flags are read first. What they leave open is looked for elsewhere, checked where it stands, and then read as if it had
//! been a flag, so that a value means the same wherever it is written.

use std::ffi::OsString;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use super::catalogue::{self, Setting};
use super::file::{self, Entry};
use super::variables::Variables;
use super::{Command, CommandLine};

/// The longest value that a file can hold, in bytes.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// The settings were not understood.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// By the flags alone: also when they ask for help or the version.
    Flags(Box<clap::Error>),
    /// A value elsewhere; says where, and what is wrong with it.
    Setting(String),
}

/// Every setting of a command with its value and where that came from.
#[derive(Debug, Clone, Default)]
pub(crate) struct InForce(Vec<Value>);

/// A setting's value.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) setting: Setting,
    /// As it would be written behind the flag; none when nothing is given and there is no default.
    pub(crate) text: Option<String>,
    pub(crate) origin: Origin,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command line.
    Flag,
    /// A variable of this name.
    Variable(String),
    /// The settings file, at `file:line:column`.
    File(String),
    /// Another file, which a variable or a key names.
    Named {
        /// The variable, or `file:line:column`.
        by: String,
        /// The file with the value.
        path: PathBuf,
    },
    /// Nothing was given.
    Default,
}

impl InForce {
    /// All of them.
    pub(crate) fn values(&self) -> &[Value] {
        &self.0
    }

    /// What a message about the value of a setting begins with: the place that gave it.
    pub(crate) fn place(&self, key: &str) -> String {
        let flag = || format!("--{}", key.replace('_', "-"));
        match self.0.iter().find(|value| value.setting.key == key).map(|value| &value.origin) {
            None | Some(Origin::Flag | Origin::Default) => flag(),
            Some(origin) => origin.to_string(),
        }
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("flag"),
            Origin::Variable(place) | Origin::File(place) => f.write_str(place),
            Origin::Named { by, path } => write!(f, "{by} ({})", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// A value that is not a flag's.
struct Found {
    text: String,
    origin: Origin,
}

/// Reads the settings of the command that `arguments` names, the program's name being the first of them.
pub(crate) fn resolve(arguments: &[OsString], variables: &Variables) -> Result<CommandLine, Refusal> {
    let flags = parse(arguments)?;
    let described = CommandLine::command();
    let (leaf, words) = match flags.subcommand() {
        Some((name, matches)) => (matches, described.find_subcommand(name).map(|command| (command, 2))),
        None => (&flags, Some((&described, 1))),
    };
    let Some((command, words)) = words else { return of(&flags, InForce::default()) };
    let settings = catalogue::of(command);
    if settings.is_empty() {
        return of(&flags, InForce::default());
    }
    let all = catalogue::all();
    let unknown = variables.unknown(&all);
    if !unknown.is_empty() {
        return Err(Refusal::Setting(unknown.join("\n")));
    }
    let entries = match settings_file(leaf, variables)? {
        Some(path) => file::read(&path, &all).map_err(Refusal::Setting)?,
        None => Vec::new(),
    };
    if let Some(entry) = entries.iter().find(|entry| entry.key == "config") {
        return Err(Refusal::Setting(format!("{}: a settings file cannot name another", entry.place)));
    }
    let mut complete: Vec<OsString> = arguments.iter().take(words).cloned().collect();
    let mut origins = Vec::new();
    for setting in &settings {
        if is_flag(leaf, &setting.key) {
            origins.push(Origin::Flag);
            continue;
        }
        let Some(found) = elsewhere(setting, variables, &entries).map_err(Refusal::Setting)? else {
            origins.push(Origin::Default);
            continue;
        };
        setting.check(&found.text).map_err(|reason| Refusal::Setting(format!("{}: {reason}", found.origin)))?;
        complete.push(format!("{}={}", setting.flag, found.text).into());
        origins.push(found.origin);
    }
    complete.extend(arguments.iter().skip(words).cloned());
    let complete = parse(&complete)?;
    let leaf = complete.subcommand().map_or(&complete, |(_, matches)| matches);
    let values = settings.into_iter().zip(origins).map(|(setting, origin)| {
        let text = raw(leaf, &setting);
        Value { setting, text, origin }
    });
    of(&complete, InForce(values.collect()))
}

fn of(matches: &ArgMatches, in_force: InForce) -> Result<CommandLine, Refusal> {
    let mut read = CommandLine::from_arg_matches(matches).map_err(|error| Refusal::Flags(Box::new(error)))?;
    if let Some(Command::Config { settings, .. }) = &mut read.command {
        settings.in_force = in_force.clone();
    }
    read.settings.in_force = in_force;
    Ok(read)
}

/// Reads flags alone: variables are looked at by us, who know where each stands.
fn parse(arguments: &[OsString]) -> Result<ArgMatches, Refusal> {
    let result = without_variables(CommandLine::command()).try_get_matches_from(arguments);
    result.map_err(|error| match error.kind() {
        // The text with the variables in it.
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let described = CommandLine::command().try_get_matches_from(arguments);
            Refusal::Flags(Box::new(described.err().unwrap_or(error)))
        }
        _ => Refusal::Flags(Box::new(error)),
    })
}

fn without_variables(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| arg.env(None::<&'static str>)).mut_subcommands(without_variables)
}

fn is_flag(matches: &ArgMatches, key: &str) -> bool {
    matches.value_source(key) == Some(ValueSource::CommandLine)
}

fn raw(matches: &ArgMatches, setting: &Setting) -> Option<String> {
    let values = matches.get_raw(&setting.key)?;
    let texts: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
    Some(texts.join(","))
}

/// The settings file: named by its flag or its variable.
fn settings_file(matches: &ArgMatches, variables: &Variables) -> Result<Option<PathBuf>, Refusal> {
    if let Some(path) = matches.get_one::<PathBuf>("config") {
        return Ok(Some(path.clone()));
    }
    Ok(variables.get("TESTMESH_CONFIG").map_err(Refusal::Setting)?.map(PathBuf::from))
}

/// What a variable gives, or else the settings file.
fn elsewhere(setting: &Setting, variables: &Variables, entries: &[Entry]) -> Result<Option<Found>, String> {
    let by_file_variable = match setting.file_variable() {
        Some(name) => variables.get(&name)?.map(|path| (name, path)),
        None => None,
    };
    match (variables.get(&setting.variable)?, by_file_variable) {
        (Some(_), Some((name, _))) => {
            return Err(format!("{name}: {} is set too; only one of them can give the value", setting.variable));
        }
        (Some(text), None) => {
            return Ok(Some(Found { text: text.to_owned(), origin: Origin::Variable(setting.variable.clone()) }));
        }
        (None, Some((name, path))) => return named(name, Path::new(path)).map(Some),
        (None, None) => {}
    }
    let entry = |key: Option<&str>| entries.iter().find(|entry| Some(entry.key.as_str()) == key);
    match (entry(Some(&setting.key)), entry(setting.file_key().as_deref())) {
        (Some(_), Some(second)) => {
            Err(format!("{}: `{}` is given too; only one of them can give the value", second.place, setting.key))
        }
        (Some(entry), None) => Ok(Some(Found { text: entry.text.clone(), origin: Origin::File(entry.place.clone()) })),
        (None, Some(entry)) => named(entry.place.clone(), Path::new(&entry.text)).map(Some),
        (None, None) => Ok(None),
    }
}

/// The value in a file of its own, without the line's end.
fn named(by: String, path: &Path) -> Result<Found, String> {
    let text = file::text_of(path, MAX_SECRET_BYTES).map_err(|error| format!("{by}: {error}"))?;
    let text = text.trim_end_matches(['\n', '\r']).to_owned();
    if text.is_empty() {
        return Err(format!("{by}: `{}` is empty", path.display()));
    }
    if text.contains('\n') {
        return Err(format!("{by}: `{}` has more than one line", path.display()));
    }
    Ok(Found { text, origin: Origin::Named { by, path: path.to_path_buf() } })
}

#[cfg(test)]
mod tests;
