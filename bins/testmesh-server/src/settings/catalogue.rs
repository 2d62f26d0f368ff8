//! What settings there are, as the command line describes them.

use clap::{Arg, Command, CommandFactory};

use super::CommandLine;

/// One setting.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// Its key in the settings file, which is its name everywhere.
    pub(crate) key: String,
    /// Its flag, with `--`.
    pub(crate) flag: String,
    /// Its environment variable.
    pub(crate) variable: String,
    /// Whether it may hold a password. Then a file can hold the value, and it is never shown.
    pub(crate) is_secret: bool,
    /// Whether it takes several values, separated by commas.
    pub(crate) is_list: bool,
    /// What a value is, in one word.
    pub(crate) value_name: String,
    /// What is in force when nothing is given.
    pub(crate) default: Option<String>,
    /// The settings that it belongs to.
    pub(crate) group: String,
    /// What it does.
    pub(crate) description: String,
    arg: Arg,
}

impl Setting {
    /// The variable that names a file with the value.
    pub(crate) fn file_variable(&self) -> Option<String> {
        self.is_secret.then(|| format!("{}_FILE", self.variable))
    }

    /// The key that names a file with the value.
    pub(crate) fn file_key(&self) -> Option<String> {
        self.is_secret.then(|| format!("{}_file", self.key))
    }

    /// Whether `text` is a value, by the same rule as behind the flag. The error says what is wrong with it.
    pub(super) fn check(&self, text: &str) -> Result<(), String> {
        let command = Command::new("setting").no_binary_name(true).arg(self.arg.clone());
        let Err(error) = command.try_get_matches_from([format!("{}={text}", self.flag)]) else { return Ok(()) };
        let shown = if self.is_secret { super::mask::MASK } else { text };
        let reason = if let Some(source) = std::error::Error::source(&error) {
            source.to_string()
        } else if let Some(clap::error::ContextValue::Strings(valid)) = error.get(clap::error::ContextKind::ValidValue)
            && !valid.is_empty()
        {
            format!("it must be one of {}", valid.join(", "))
        } else {
            format!("it must be {}", self.value_name)
        };
        Err(format!("`{shown}` is no value of `{}`: {reason}", self.key))
    }
}

/// All settings of all commands.
pub(super) fn all() -> Vec<Setting> {
    let command = CommandLine::command();
    // The one that takes everything.
    command.find_subcommand("config").map(of).unwrap_or_default()
}

/// The settings of one command: those of its arguments that have a variable.
pub(super) fn of(command: &Command) -> Vec<Setting> {
    command.get_arguments().filter_map(setting).collect()
}

fn setting(arg: &Arg) -> Option<Setting> {
    let flag = arg.get_long()?;
    let variable = arg.get_env()?.to_str()?.to_owned();
    let text = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let text = text.replace('\n', " ");
    // A default that depends on something else is part of the text.
    let (description, in_words) = match text.rsplit_once(" [default: ") {
        Some((description, default)) => (description.to_owned(), Some(default.trim_end_matches(']').to_owned())),
        None => (text, None),
    };
    // The last full stop of a text is not part of a flag's help.
    let description = if description.ends_with('.') { description } else { description + "." };
    let fixed: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    Some(Setting {
        key: flag.replace('-', "_"),
        flag: format!("--{flag}"),
        variable,
        is_secret: arg.is_hide_env_values_set(),
        is_list: arg.get_value_delimiter().is_some(),
        value_name: arg.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default(),
        default: if fixed.is_empty() { in_words } else { Some(fixed.join(",")) },
        group: arg.get_help_heading().unwrap_or_default().to_owned(),
        description,
        arg: arg.clone().env(None::<&'static str>),
    })
}
