//! Plugins: WebAssembly components that flows use as actions, which of them there are, and what they may do.
//!
//! A plugin is a file `NAME.wasm` of one folder. It is compiled and asked what it is when something first needs it, and
//! again when its file changes; nothing of the kind happens in a process that needs none. What was compiled may be kept in a
//! folder, for other processes. Each call gets an instance of its own, which sees nothing but what its capabilities give it.

#[cfg(feature = "plugins")]
mod budget;
#[cfg(feature = "plugins")]
mod cache;
mod folder;
#[cfg(all(feature = "plugins", feature = "test-support"))]
pub mod guest;
#[cfg(feature = "plugins")]
mod host;
#[cfg(feature = "plugins")]
mod output;
#[cfg(feature = "plugins")]
mod runtime;
#[cfg(feature = "plugins")]
mod schema;
#[cfg(feature = "plugins")]
mod tcp;

use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use self::folder::Folder;
#[cfg(feature = "plugins")]
pub(crate) use self::host::Reach;
#[cfg(feature = "plugins")]
pub(crate) use self::output::{Line, Lines};
#[cfg(feature = "plugins")]
pub(crate) use self::runtime::{Call, Plugin};
#[cfg(feature = "plugins")]
pub(crate) use self::schema::{Fault, FaultKind};
use crate::flow::suggest;

/// The interface of plugins, in the language of WebAssembly components.
pub const WIT: &str = include_str!("../wit/plugin.wit");

/// Something that a plugin can do only when it is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Reading the files that flows may read.
    Files,
    /// HTTP requests, within the network policy.
    Http,
    /// TCP connections, within the network policy.
    Tcp,
}

impl Capability {
    /// Every capability.
    pub const ALL: &'static [Capability] = &[Capability::Files, Capability::Http, Capability::Tcp];

    /// Its word: `http`.
    pub fn as_str(self) -> &'static str {
        match self {
            Capability::Files => "files",
            Capability::Http => "http",
            Capability::Tcp => "tcp",
        }
    }
}

impl FromStr for Capability {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let words: Vec<&str> = Self::ALL.iter().map(|capability| capability.as_str()).collect();
        let found = Self::ALL.iter().find(|capability| capability.as_str() == word);
        found.copied().ok_or_else(|| format!("no capability is called `{word}`: there are {}", suggest::quoted(&words)))
    }
}

/// A capability of one plugin, written `weather=http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The plugin's name.
    pub plugin: String,
    /// What it may do.
    pub capability: Capability,
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (plugin, capability) =
            text.split_once('=').ok_or("a capability is granted by PLUGIN=CAPABILITY, such as `weather=http`")?;
        Ok(Self { plugin: plugin.to_owned(), capability: capability.parse()? })
    }
}

/// What plugins may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grants {
    /// Whatever they ask for: the user's own machine.
    All,
    /// These.
    Only(Vec<Grant>),
}

impl Grants {
    fn allow(&self, plugin: &str, capability: Capability) -> bool {
        match self {
            Grants::All => true,
            Grants::Only(grants) => grants.iter().any(|grant| grant.plugin == plugin && grant.capability == capability),
        }
    }
}

/// A plugin cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// There are no plugins here.
    #[error("no plugins are loaded here")]
    None,
    /// This build cannot run any.
    #[error("this build was made without plugins")]
    LeftOut,
    /// Where they should be cannot be read.
    #[error("cannot read the folder of plugins `{folder}`: {reason}")]
    Folder {
        /// The folder.
        folder: String,
        /// Why.
        reason: String,
    },
    /// The file's name is no name of a plugin.
    #[error("`{file}` cannot be a plugin: its name has to be a letter, then letters, digits, `_` or `-`, then `.wasm`")]
    Name {
        /// The file.
        file: String,
    },
    /// There is no such plugin.
    #[error("no plugin is called `{name}`")]
    Unknown {
        /// As written.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Its file is no plugin, or describes itself wrongly.
    #[error("the plugin `{name}` cannot be used: {reason}")]
    Unusable {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// It asks for what it may not have.
    #[error("the plugin `{name}` asks for the capability `{capability}`, which it is not granted")]
    NotGranted {
        /// Its name.
        name: String,
        /// What it asks for.
        capability: &'static str,
    },
    /// It does no such thing.
    #[error("the plugin `{name}` has no action `{action}`")]
    NoAction {
        /// Its name.
        name: String,
        /// As written.
        action: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// It does several things, and the name does not say which.
    #[error("the plugin `{name}` has several actions")]
    WhichAction {
        /// Its name.
        name: String,
        /// Those that it has.
        known: Vec<String>,
    },
}

impl PluginError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let named = |word: &str, known: &[String], before: &str| {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let near = suggest::near(word, known.iter().copied());
            suggest::did_you_mean(&near).unwrap_or_else(|| match known.len() {
                0 => format!("{before} none"),
                _ => format!("{before} {}", suggest::quoted(&known)),
            })
        };
        match self {
            Self::None => Some("name the folder with their files by `--plugin-dir` (TESTMESH_PLUGIN_DIR)".to_owned()),
            Self::LeftOut => {
                Some("take a build with the cargo feature `plugins`; the released programs have it".to_owned())
            }
            Self::Unknown { name, known } => Some(named(name, known, "there are")),
            Self::NoAction { action, known, .. } => Some(named(action, known, "it has")),
            Self::WhichAction { name, known } => {
                let known: Vec<String> = known.iter().map(|action| format!("plugin.{name}.{action}")).collect();
                Some(named("", &known, "write one of"))
            }
            Self::NotGranted { name, capability } => {
                Some(format!("whoever runs TestMesh can grant it by `--plugin-allow {name}={capability}`"))
            }
            Self::Folder { .. } | Self::Name { .. } | Self::Unusable { .. } => None,
        }
    }
}

/// What a plugin is and does, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its name: that of its file.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// One line: what it is for.
    pub summary: String,
    /// What it asks for, and has.
    pub capabilities: Vec<Capability>,
    /// What flows can have it do, at least one thing.
    pub actions: Vec<ActionDescription>,
}

/// Something that flows can have a plugin do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionDescription {
    /// Its name, after the plugin's.
    pub name: String,
    /// One line: what it does.
    pub summary: String,
    /// The JSON Schema of its configuration.
    pub schema: serde_json::Value,
}

impl Description {
    /// How flows call one of its actions: `plugin.sums.add`, or `plugin.sums` when it has one only.
    pub fn action_name(&self, action: &ActionDescription) -> String {
        match self.actions.len() {
            1 => format!("plugin.{}", self.name),
            _ => format!("plugin.{}.{}", self.name, action.name),
        }
    }

    /// The plugin's page as Markdown, with a heading of the first level.
    pub fn markdown(&self) -> String {
        let mut text = format!("# `plugin.{}`\n\n{}\n\nVersion {}.", self.name, self.summary, self.version);
        let words: Vec<String> = self.capabilities.iter().map(|word| format!("`{}`", word.as_str())).collect();
        match words.len() {
            0 => text.push_str(" It needs no capability.\n"),
            _ => {
                let _ = writeln!(text, " It needs the capabilities {}.", words.join(", "));
            }
        }
        for action in &self.actions {
            let schema = format!("{:#}", action.schema);
            let name = self.action_name(action);
            let _ = write!(text, "\n## `{name}`\n\n{}\n\n```json\n{schema}\n```\n", action.summary);
        }
        text
    }
}

/// The plugins that flows may use. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Plugins {
    place: Place,
}

#[derive(Debug, Clone, Default)]
enum Place {
    #[default]
    Elsewhere,
    Nowhere,
    Here(Arc<Folder>),
}

impl Plugins {
    /// Flows run elsewhere, and nothing is known of the plugins there: steps that use them are not checked. The default.
    pub fn elsewhere() -> Self {
        Self { place: Place::Elsewhere }
    }

    /// None at all: a flow that uses one cannot run.
    pub fn none() -> Self {
        Self { place: Place::Nowhere }
    }

    /// The files `NAME.wasm` of a folder. None of them is opened before it is needed.
    ///
    /// What is compiled is kept in a folder of its own below `cache`, at most 512 MiB, and read from there by the next
    /// process. Both are made when the first plugin is compiled. Where that cannot be done, or others could get there,
    /// and without `cache`, nothing is kept.
    ///
    /// # Errors
    /// [`PluginError::Folder`], [`PluginError::Name`], [`PluginError::Unknown`] when something is granted to a plugin
    /// that is not there, and [`PluginError::LeftOut`].
    pub fn in_folder(folder: &Path, grants: Grants, cache: Option<&Path>) -> Result<Self, PluginError> {
        if cfg!(not(feature = "plugins")) {
            return Err(PluginError::LeftOut);
        }
        Ok(Self { place: Place::Here(Arc::new(Folder::open(folder, grants, cache)?)) })
    }

    /// Whether nothing is known of the plugins where flows run.
    #[cfg(feature = "plugins")]
    pub(crate) fn are_elsewhere(&self) -> bool {
        matches!(self.place, Place::Elsewhere)
    }

    /// Whether reading a flow may have to wait for a plugin that is compiled.
    pub fn may_wait(&self) -> bool {
        matches!(self.place, Place::Here(_))
    }

    /// The names of those that are here, in order.
    ///
    /// # Errors
    /// [`PluginError::Folder`] and [`PluginError::Name`].
    pub fn names(&self) -> Result<Vec<String>, PluginError> {
        match &self.place {
            Place::Here(folder) => folder.names(),
            Place::Elsewhere | Place::Nowhere => Ok(Vec::new()),
        }
    }

    /// What a plugin says of itself. Compiles it first when that was not done yet, on a thread of its own that is waited
    /// for: it may take seconds.
    ///
    /// # Errors
    /// [`PluginError::None`], [`PluginError::Unknown`], [`PluginError::Unusable`], [`PluginError::NotGranted`].
    #[cfg(feature = "plugins")]
    pub fn describe(&self, name: &str) -> Result<Description, PluginError> {
        self.load(name).map(|plugin| plugin.description().clone())
    }

    /// What a plugin says of itself.
    ///
    /// # Errors
    /// [`PluginError::LeftOut`].
    #[cfg(not(feature = "plugins"))]
    pub fn describe(&self, _name: &str) -> Result<Description, PluginError> {
        Err(PluginError::LeftOut)
    }

    /// A plugin, ready to be called; compiles it as [`Plugins::describe`] does.
    #[cfg(feature = "plugins")]
    pub(crate) fn load(&self, name: &str) -> Result<Arc<Plugin>, PluginError> {
        match &self.place {
            Place::Here(folder) => folder.load(name),
            Place::Elsewhere | Place::Nowhere => Err(PluginError::None),
        }
    }

    /// A plugin that is compiled already, without a wait.
    #[cfg(feature = "plugins")]
    pub(crate) fn ready(&self, name: &str) -> Option<Arc<Plugin>> {
        match &self.place {
            Place::Here(folder) => folder.ready(name),
            Place::Elsewhere | Place::Nowhere => None,
        }
    }
}

/// The plugin and its action that `sums.add` means; no action when it says none.
#[cfg(feature = "plugins")]
pub(crate) fn parts(written: &str) -> (&str, Option<&str>) {
    match written.split_once('.') {
        Some((name, action)) => (name, Some(action)),
        None => (written, None),
    }
}

/// Whether a plugin or an action can be called that.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|next| next.is_ascii_alphanumeric() || next == '_' || next == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_a_plugin_and_a_capability() {
        let grant = |plugin: &str, capability| Ok(Grant { plugin: plugin.to_owned(), capability });
        assert_eq!("weather=http".parse(), grant("weather", Capability::Http));
        assert_eq!("a-b=files".parse(), grant("a-b", Capability::Files));
        for (text, message) in [
            ("weather", "a capability is granted by PLUGIN=CAPABILITY, such as `weather=http`"),
            ("weather=htp", "no capability is called `htp`: there are `files`, `http`, `tcp`"),
        ] {
            assert_eq!(text.parse::<Grant>(), Err(message.to_owned()));
        }
    }

    #[test]
    fn only_what_is_granted_is_allowed() {
        let grants = Grants::Only(vec!["weather=http".parse().unwrap()]);
        assert!(grants.allow("weather", Capability::Http));
        assert!(!grants.allow("weather", Capability::Files));
        assert!(!grants.allow("other", Capability::Http));
        assert!(Grants::All.allow("other", Capability::Files));
    }

    #[test]
    fn the_book_shows_the_interface() {
        assert!(include_str!("../../../docs/src/language/plugins.md").contains(WIT));
    }

    #[test]
    fn names_are_letters_digits_and_two_marks() {
        for (name, good) in
            [("sums", true), ("a-1_b", true), ("1a", false), ("a.b", false), ("", false), ("a b", false)]
        {
            assert_eq!(is_name(name), good, "{name}");
        }
        assert!(!is_name(&"a".repeat(65)));
    }
}
