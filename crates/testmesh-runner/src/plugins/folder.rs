//! The folder of plugins: which files it has, and those of them that are compiled.

use std::path::{Path, PathBuf};

use super::{Capability, Grants, PluginError, is_name};

#[cfg(feature = "plugins")]
use compiled::Compiled;

/// The folder of plugins.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    grants: Grants,
    /// Where compiled plugins are kept.
    #[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "there is nothing to keep"))]
    cache: Option<PathBuf>,
    #[cfg(feature = "plugins")]
    compiled: Compiled,
}

impl Folder {
    pub(super) fn open(path: &Path, grants: Grants, cache: Option<&Path>) -> Result<Self, PluginError> {
        let folder = Self {
            path: path.to_owned(),
            grants,
            cache: cache.map(Path::to_owned),
            #[cfg(feature = "plugins")]
            compiled: Compiled::default(),
        };
        let known = folder.names()?;
        if let Grants::Only(grants) = &folder.grants
            && let Some(stray) = grants.iter().find(|grant| !known.contains(&grant.plugin))
        {
            return Err(PluginError::Unknown { name: stray.plugin.clone(), known });
        }
        Ok(folder)
    }

    /// The names of the plugins, in order.
    pub(super) fn names(&self) -> Result<Vec<String>, PluginError> {
        let failed = |error: std::io::Error| PluginError::Folder {
            folder: self.path.display().to_string(),
            reason: error.to_string(),
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            if file.extension().is_none_or(|extension| extension != "wasm") {
                continue;
            }
            match file.file_stem().and_then(|stem| stem.to_str()).filter(|stem| is_name(stem)) {
                Some(name) => names.push(name.to_owned()),
                None => return Err(PluginError::Name { file: file.display().to_string() }),
            }
        }
        names.sort();
        Ok(names)
    }

    /// Refuses what the plugin asks for and may not have.
    #[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "there is nothing to grant"))]
    fn granted(&self, name: &str, asked: &[Capability]) -> Result<(), PluginError> {
        match asked.iter().find(|capability| !self.grants.allow(name, **capability)) {
            Some(capability) => Err(PluginError::NotGranted { name: name.to_owned(), capability: capability.as_str() }),
            None => Ok(()),
        }
    }
}

#[cfg(feature = "plugins")]
mod compiled {
    use std::collections::HashMap;
    use std::io::Read as _;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::SystemTime;

    use parking_lot::Mutex;

    use super::Folder;
    use crate::plugins::runtime::{Plugin, Runtime};
    use crate::plugins::{PluginError, is_name};

    /// The largest file of a plugin, in bytes. Those with a whole interpreter inside have some 40 MiB.
    const MAX_FILE: u64 = 128 << 20;

    /// What was compiled, and what compiles it, made when first needed.
    #[derive(Debug, Default)]
    pub(super) struct Compiled {
        runtime: Mutex<Option<Arc<Runtime>>>,
        plugins: Mutex<HashMap<String, Arc<Mutex<Option<Seen>>>>>,
    }

    /// What became of a file.
    #[derive(Debug)]
    struct Seen {
        stamp: Stamp,
        outcome: Result<Arc<Plugin>, PluginError>,
    }

    /// Tells one state of a file from another.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Stamp {
        bytes: u64,
        modified: Option<SystemTime>,
    }

    impl Folder {
        /// A plugin, compiled when this state of its file was not yet.
        pub(in crate::plugins) fn load(&self, name: &str) -> Result<Arc<Plugin>, PluginError> {
            let unknown = || match self.names() {
                Ok(known) => PluginError::Unknown { name: name.to_owned(), known },
                Err(error) => error,
            };
            if !is_name(name) {
                return Err(unknown());
            }
            let file = self.file(name);
            let stamp = Stamp::of(&file).map_err(|_| unknown())?;
            let slot = Arc::clone(self.compiled.plugins.lock().entry(name.to_owned()).or_default());
            // Held while it is compiled, so that nobody does it twice.
            let mut slot = slot.lock();
            if let Some(seen) = slot.as_ref().filter(|seen| seen.stamp == stamp) {
                return seen.outcome.clone();
            }
            let outcome = self.compile(name, &file);
            *slot = Some(Seen { stamp, outcome: outcome.clone() });
            outcome
        }

        /// The same, if nothing has to be compiled for it and nobody does so just now.
        pub(in crate::plugins) fn ready(&self, name: &str) -> Option<Arc<Plugin>> {
            let slot = Arc::clone(self.compiled.plugins.lock().get(name)?);
            let slot = slot.try_lock()?;
            let seen = slot.as_ref()?;
            let stamp = Stamp::of(&self.file(name)).ok()?;
            seen.outcome.as_ref().ok().filter(|_| seen.stamp == stamp).cloned()
        }

        fn file(&self, name: &str) -> PathBuf {
            self.path.join(format!("{name}.wasm"))
        }

        fn compile(&self, name: &str, file: &Path) -> Result<Arc<Plugin>, PluginError> {
            let unusable = |reason| PluginError::Unusable { name: name.to_owned(), reason };
            let contents = read(file).map_err(unusable)?;
            let runtime = self.runtime().map_err(unusable)?;
            // The caller may be inside of an asynchronous runtime, in which what the plugin says cannot be waited for.
            let compiled = std::thread::scope(|scope| {
                let thread = std::thread::Builder::new().name("plugin".to_owned());
                let thread = thread.spawn_scoped(scope, || Plugin::new(&runtime, name, &contents));
                let joined = thread.map_err(|error| error.to_string())?.join();
                joined.unwrap_or_else(|_| Err("the compiler gave up".to_owned()))
            });
            let plugin = compiled.map_err(unusable)?;
            self.granted(name, &plugin.description().capabilities)?;
            Ok(Arc::new(plugin))
        }

        fn runtime(&self) -> Result<Arc<Runtime>, String> {
            let mut runtime = self.compiled.runtime.lock();
            if let Some(runtime) = &*runtime {
                return Ok(Arc::clone(runtime));
            }
            let made = Arc::new(Runtime::new(self.cache.as_deref())?);
            *runtime = Some(Arc::clone(&made));
            Ok(made)
        }
    }

    impl Stamp {
        fn of(file: &Path) -> std::io::Result<Self> {
            let found = file.metadata()?;
            Ok(Self { bytes: found.len(), modified: found.modified().ok() })
        }
    }

    fn read(file: &Path) -> Result<Vec<u8>, String> {
        let failed = |error: std::io::Error| format!("its file cannot be read: {error}");
        let opened = std::fs::File::open(file).map_err(failed)?;
        if !opened.metadata().map_err(failed)?.is_file() {
            return Err("it is not a regular file".to_owned());
        }
        let mut contents = Vec::new();
        opened.take(MAX_FILE + 1).read_to_end(&mut contents).map_err(failed)?;
        match contents.len() as u64 {
            bytes if bytes > MAX_FILE => Err(format!("its file is larger than {MAX_FILE} bytes")),
            _ => Ok(contents),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_the_wasm_files_of_the_folder() {
        let place = tempfile::tempdir().unwrap();
        for file in ["weather.wasm", "sums.wasm", "notes.txt"] {
            std::fs::write(place.path().join(file), "").unwrap();
        }
        let folder = Folder::open(place.path(), Grants::All, None).unwrap();
        assert_eq!(folder.names().unwrap(), ["sums", "weather"]);
    }

    #[test]
    fn what_cannot_be_right_is_told_when_the_folder_is_opened() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("weather.wasm"), "").unwrap();
        let grants = Grants::Only(vec!["wether=http".parse().unwrap()]);
        let error = Folder::open(place.path(), grants, None).unwrap_err();
        assert_eq!(error.to_string(), "no plugin is called `wether`");
        assert_eq!(error.help().unwrap(), "did you mean `weather`?");
        let missing = Folder::open(&place.path().join("none"), Grants::All, None).unwrap_err();
        assert!(missing.to_string().starts_with("cannot read the folder of plugins `"), "{missing}");
        std::fs::write(place.path().join("my plugin.wasm"), "").unwrap();
        let error = Folder::open(place.path(), Grants::All, None).unwrap_err();
        assert!(matches!(error, PluginError::Name { .. }), "{error}");
    }
}
