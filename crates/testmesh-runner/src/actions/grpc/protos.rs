//! Descriptions from files: `.proto` sources, compiled here, and descriptor sets. All are read under the file policy.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use prost_reflect::DescriptorPool;
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use std::sync::Arc;

use crate::action::ActionError;
use crate::actions::http_request::{chain, file_error};
use crate::engine::Resolved;
use crate::files::{FileError, Files};
use crate::record::ErrorKind;

/// Largest source or descriptor set that is read.
const FILE_LIMIT: u64 = 16 << 20;

/// The files that a step names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Described {
    /// `.proto` sources, and the folders that their imports are looked for in.
    Sources { files: Vec<String>, folders: Vec<String> },
    /// A descriptor set.
    Set(String),
}

impl Described {
    /// Reads what the configuration names; none: the server is asked.
    pub(super) fn read(config: &Resolved) -> Result<Option<Self>, ActionError> {
        let texts = |key| -> Result<Vec<String>, ActionError> {
            let list = config.list(key)?;
            Ok(list.iter().filter_map(|item| item.to_text().map(String::from)).collect())
        };
        let (files, folders) = (texts("proto_file")?, texts("import_paths")?);
        match (files.is_empty(), config.text("descriptor_set")?) {
            (false, Some(_)) => Err(wrong("`proto_file` and `descriptor_set` are both given: one of them is used")),
            (true, Some(set)) => Ok(Some(Self::Set(set.into()))),
            (false, None) => Ok(Some(Self::Sources { files, folders })),
            (true, None) if config.boolean("use_reflection")? == Some(false) => {
                Err(wrong("without reflection, `proto_file` or `descriptor_set` must say what the service is"))
            }
            (true, None) => Ok(None),
        }
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Sources { files, .. } => files.join("`, `"),
            Self::Set(path) => path.clone(),
        }
    }

    /// Reads the files.
    pub(super) async fn load(self, files: &Files) -> Result<DescriptorPool, ActionError> {
        let files = files.clone();
        let loading = tokio::task::spawn_blocking(move || match self {
            Self::Sources { files: sources, folders } => compile(&files, &sources, folders),
            Self::Set(path) => {
                let bytes = files.read_blocking(&path, FILE_LIMIT).map_err(|error| file_error(&error))?;
                let problem = |error| wrong(format!("`descriptor_set` is `{path}`, which is none: {error}"));
                DescriptorPool::decode(bytes).map_err(problem)
            }
        });
        loading.await.unwrap_or_else(|stopped| Err(ActionError::new(ErrorKind::Internal, stopped.to_string())))
    }
}

fn wrong(message: impl Into<String>) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}

fn compile(files: &Files, sources: &[String], mut folders: Vec<String>) -> Result<DescriptorPool, ActionError> {
    for folder in &mut folders {
        *folder = plain(folder).to_owned();
    }
    let mut names = Vec::with_capacity(sources.len());
    for source in sources {
        let written = Path::new(plain(source));
        // A refusal is told before the compiler makes a missing import of it.
        if let Err(error) = files.resolve(source) {
            let below = |folder: &String| files.resolve(&Path::new(folder).join(written).display().to_string()).is_ok();
            if !matches!(error, FileError::Io { .. }) || !folders.iter().any(below) {
                return Err(file_error(&error));
            }
            names.push(written.display().to_string());
            continue;
        }
        let inside = folders.iter().find_map(|folder| written.strip_prefix(folder).ok());
        let (folder, name) = match inside {
            Some(name) => (None, name.to_path_buf()),
            None => {
                (written.parent().map(Path::to_path_buf), written.file_name().map(PathBuf::from).unwrap_or_default())
            }
        };
        folders.extend(folder.map(|folder| folder.display().to_string()));
        names.push(name.to_string_lossy().replace('\\', "/"));
    }
    // What is imported by its path from the flow's folder is found, too.
    folders.push(String::new());
    let refused = Arc::new(Mutex::new(None));
    let mut resolver = ChainFileResolver::new();
    resolver.add(Sources { files: files.clone(), folders, refused: Arc::clone(&refused) });
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    let opened = compiler.include_imports(true).open_files(&names).map(|_| ());
    if let Some(refusal) = refused.lock().take() {
        return Err(file_error(&refusal));
    }
    opened.map_err(|error| wrong(format!("`proto_file`: {}", explain(&error))))?;
    Ok(compiler.descriptor_pool())
}

/// A path without what only says that it begins here.
fn plain(path: &str) -> &str {
    let path = path.strip_prefix("./").unwrap_or(path);
    if path == "." { "" } else { path }
}

/// The compiler's finding, with the file and line.
fn explain(error: &protox::Error) -> String {
    use miette::Diagnostic;
    let text = chain(error);
    let Some(file) = error.file() else { return text };
    let label = error.labels().and_then(|mut labels| labels.next());
    let place = label.zip(error.source_code()).and_then(|(label, source)| source.read_span(label.inner(), 0, 0).ok());
    match place {
        Some(place) => format!("`{file}`, line {}, column {}: {text}", place.line() + 1, place.column() + 1),
        None => format!("`{file}`: {text}"),
    }
}

/// The `.proto` files that the file policy lets the flow read.
struct Sources {
    files: Files,
    folders: Vec<String>,
    /// Why the policy let one of them not be read.
    refused: Arc<Mutex<Option<FileError>>>,
}

impl FileResolver for Sources {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        for folder in &self.folders {
            let path = Path::new(folder).join(name).display().to_string();
            let bytes = match self.files.read_blocking(&path, FILE_LIMIT) {
                Ok(bytes) => bytes,
                Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => continue,
                Err(refusal) => {
                    let text = refusal.to_string();
                    *self.refused.lock() = Some(refusal);
                    return Err(protox::Error::new(text));
                }
            };
            let text = std::str::from_utf8(&bytes).map_err(|_| protox::Error::new(format!("`{path}` is not UTF-8")))?;
            return File::from_source(name, text);
        }
        Err(protox::Error::file_not_found(name))
    }
}
