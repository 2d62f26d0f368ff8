//! Which programs flows may run, where they are looked for, and what they see of this process's environment.
//!
//! A name is looked up in this process's own search path, never in one that a flow gives: what is allowed by name is what
//! whoever runs TestMesh means by it.

use std::path::{Path, PathBuf};

/// A program may not, or cannot, be run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProgramError {
    /// Flows may not run it here.
    #[error("this server does not let flows run `{name}` (TESTMESH_EXEC_ALLOW names the programs that they may run)")]
    Denied {
        /// As written.
        name: String,
    },
    /// Flows may open no browser here.
    #[error("this server does not let flows open a browser (TESTMESH_BROWSER names the Chromium that they may use)")]
    NoBrowser,
    /// There is no browser.
    #[error(
        "there is no Chromium in the search path: install one (Debian: `apt install chromium`; Fedora: `dnf install \
         chromium`; macOS: `brew install --cask chromium`)"
    )]
    NoChromium,
    /// There is no such program.
    #[error("there is no program `{name}`{place}")]
    NotFound {
        /// As written.
        name: String,
        /// Where it was looked for: nothing, or ` in …`.
        place: &'static str,
    },
    /// It is no program.
    #[error("`{name}` is not a program: it is not a file that can be executed")]
    NotExecutable {
        /// As written.
        name: String,
    },
}

/// The programs that flows may run.
#[derive(Debug, Clone, Default)]
pub struct Programs {
    allowed: Allowed,
    browser: Browser,
    environment: Vec<(String, String)>,
}

/// The browser that flows may open.
#[derive(Debug, Clone, Default)]
enum Browser {
    #[default]
    None,
    /// Whichever of [`CHROMIUMS`] there is.
    Any,
    Named(String),
}

/// What a Chromium may be called, and where it is when it is not in the search path.
const CHROMIUMS: &[&str] = &[
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

#[derive(Debug, Clone)]
enum Allowed {
    All,
    Named(Vec<String>),
}

impl Default for Allowed {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl Programs {
    /// None at all: the server's default.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every program: the user's own machine.
    pub fn all() -> Self {
        Self { allowed: Allowed::All, browser: Browser::Any, environment: Vec::new() }
    }

    /// Those that are written just like one of `names`: `psql`, `/usr/bin/psql`.
    pub fn named(names: impl IntoIterator<Item = String>) -> Self {
        Self { allowed: Allowed::Named(names.into_iter().collect()), ..Self::default() }
    }

    /// Lets flows open this browser: a Chromium, by its name in the search path or its path.
    #[must_use]
    pub fn with_browser(mut self, program: String) -> Self {
        self.browser = Browser::Named(program);
        self
    }

    /// What programs see of this process's environment: of `variables` those that a program can hardly do without, `PATH`
    /// and `HOME` (on Windows also `SystemRoot` and `PATHEXT`). The others may hold what flows should not know.
    #[must_use]
    pub fn with_environment<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String> + AsRef<str>,
        V: Into<String>,
    {
        let needed = if cfg!(windows) { &["PATH", "HOME", "SYSTEMROOT", "PATHEXT"][..] } else { &["PATH", "HOME"] };
        let is_needed = |name: &str| needed.iter().any(|needed| needed.eq_ignore_ascii_case(name));
        let needed = variables.into_iter().filter(|(name, _)| is_needed(name.as_ref()));
        self.environment = needed.map(|(name, value)| (name.into(), value.into())).collect();
        self
    }

    /// What every program sees.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The file of a program. A name with a `/` is a path from `folder`; one without is looked up in the search path.
    ///
    /// # Errors
    /// See [`ProgramError`].
    pub(crate) fn find(&self, name: &str, folder: &Path) -> Result<PathBuf, ProgramError> {
        let is_allowed = match &self.allowed {
            Allowed::All => true,
            Allowed::Named(names) => names.iter().any(|allowed| allowed == name),
        };
        if !is_allowed {
            return Err(ProgramError::Denied { name: name.to_owned() });
        }
        self.locate(name, folder)
    }

    /// The file of the browser that flows may open.
    ///
    /// # Errors
    /// [`ProgramError::NoBrowser`] when they may not, [`ProgramError::NoChromium`] when there is none, and those of a
    /// program that is named.
    #[cfg_attr(not(all(feature = "browser", unix)), allow(dead_code, reason = "no action of this build asks"))]
    pub(crate) fn browser(&self) -> Result<PathBuf, ProgramError> {
        match &self.browser {
            Browser::None => Err(ProgramError::NoBrowser),
            Browser::Named(name) => self.locate(name, Path::new(".")),
            Browser::Any => {
                let mut found = CHROMIUMS.iter().filter_map(|name| self.locate(name, Path::new(".")).ok());
                found.next().ok_or(ProgramError::NoChromium)
            }
        }
    }

    fn locate(&self, name: &str, folder: &Path) -> Result<PathBuf, ProgramError> {
        if name.contains(std::path::is_separator) {
            let missing = |_| ProgramError::NotFound { name: name.to_owned(), place: "" };
            let file = std::path::absolute(folder.join(name)).map_err(missing)?;
            let found = file.metadata().map_err(|_| ProgramError::NotFound { name: name.to_owned(), place: "" })?;
            let wrong = || ProgramError::NotExecutable { name: name.to_owned() };
            return if is_executable(&found) { Ok(file) } else { Err(wrong()) };
        }
        let path = self.environment().find(|(name, _)| name.eq_ignore_ascii_case("PATH")).map_or("", |(_, path)| path);
        let names = if cfg!(windows) { vec![format!("{name}.exe"), name.to_owned()] } else { vec![name.to_owned()] };
        std::env::split_paths(path)
            .filter(|folder| folder.is_absolute())
            .flat_map(|folder| names.iter().map(move |name| folder.join(name)).collect::<Vec<_>>())
            .find(|file| file.metadata().is_ok_and(|found| is_executable(&found)))
            .ok_or_else(|| ProgramError::NotFound { name: name.to_owned(), place: " in the search path" })
    }
}

#[cfg(unix)]
fn is_executable(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    found.is_file() && found.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(found: &std::fs::Metadata) -> bool {
    found.is_file()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in [("tool", 0o755), ("notes", 0o644)] {
            std::fs::write(folder.path().join(name), "").unwrap();
            std::fs::set_permissions(folder.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        folder
    }

    #[test]
    fn names_are_looked_up_in_the_search_path_and_paths_from_the_folder() {
        let folder = folder();
        let place = folder.path().display().to_string();
        let programs = Programs::all().with_environment([("PATH".to_owned(), format!("/nonexistent:{place}"))]);
        assert_eq!(programs.find("tool", Path::new("/")).unwrap(), folder.path().join("tool"));
        assert_eq!(programs.find("./tool", folder.path()).unwrap(), folder.path().join("./tool"));
        let not_found = |name: &str, place| Err(ProgramError::NotFound { name: name.to_owned(), place });
        assert_eq!(programs.find("notes", folder.path()), not_found("notes", " in the search path"));
        assert_eq!(programs.find("./none", folder.path()), not_found("./none", ""));
        let not_executable = Err(ProgramError::NotExecutable { name: "./notes".to_owned() });
        assert_eq!(programs.find("./notes", folder.path()), not_executable);
    }

    #[test]
    fn only_what_is_written_like_an_allowed_name_may_be_run() {
        let folder = folder();
        let place = folder.path().display().to_string();
        let programs = Programs::named(["tool".to_owned()]).with_environment([("PATH".to_owned(), place.clone())]);
        assert!(programs.find("tool", Path::new("/")).is_ok());
        for name in ["notes", "./tool", &format!("{place}/tool")] {
            let denied = Err(ProgramError::Denied { name: name.to_owned() });
            assert_eq!(programs.find(name, folder.path()), denied, "{name}");
            assert_eq!(Programs::none().find(name, folder.path()), denied, "{name}");
        }
    }

    #[test]
    fn a_browser_is_the_one_that_is_named_or_any_on_the_users_own_machine() {
        let folder = folder();
        let place = folder.path().display().to_string();
        let within = |programs: Programs| programs.with_environment([("PATH".to_owned(), place.clone())]);
        assert_eq!(within(Programs::none()).browser(), Err(ProgramError::NoBrowser));
        let tool = within(Programs::none().with_browser("tool".to_owned()));
        assert_eq!(tool.browser().unwrap(), folder.path().join("tool"));
        assert_eq!(
            tool.find("tool", Path::new("/")),
            Err(ProgramError::Denied { name: "tool".to_owned() }),
            "it is opened by `browser`, not by `exec`"
        );
        let gone = within(Programs::none().with_browser("gone".to_owned()));
        let missing = ProgramError::NotFound { name: "gone".to_owned(), place: " in the search path" };
        assert_eq!(gone.browser(), Err(missing));
        std::fs::rename(folder.path().join("tool"), folder.path().join("chromium")).unwrap();
        assert_eq!(within(Programs::all()).browser().unwrap(), folder.path().join("chromium"));
    }

    #[test]
    fn of_the_environment_only_what_programs_need_is_passed_on() {
        let variables = ["PATH", "HOME", "TESTMESH_MASTER_KEY"].map(|name| (name.to_owned(), "x".to_owned()));
        let programs = Programs::all().with_environment(variables);
        assert_eq!(programs.environment().map(|(name, _)| name).collect::<Vec<_>>(), ["PATH", "HOME"]);
    }
}
