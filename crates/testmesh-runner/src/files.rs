//! Which files a flow may read, and how: everything goes through [`Files`].
//!
//! Where a root is set, a path is judged after its links are resolved, and the resolved file is the one that is read.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

/// A file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Flows may not read files here at all.
    #[error(
        "cannot read `{path}`: this server lets flows read no files (TESTMESH_FLOW_FILES names a folder they may read)"
    )]
    Disabled {
        /// The path as written.
        path: String,
    },
    /// The path leads out of the folder.
    #[error("cannot read `{path}`: it is outside the folder flows may read")]
    Outside {
        /// The path as written.
        path: String,
    },
    /// The file is over the limit.
    #[error("cannot read `{path}`: it is larger than {limit} bytes")]
    TooLarge {
        /// The path as written.
        path: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The operating system refused.
    #[error("cannot read `{path}`")]
    Io {
        /// The path as written.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The files a flow may read.
#[derive(Debug, Clone)]
pub struct Files {
    /// Relative paths start here: the flow file's folder.
    pub base: PathBuf,
    /// Nothing outside may be read, after resolving links. `None` with `enabled`: anything the user may read.
    pub root: Option<PathBuf>,
    /// Whether any file may be read.
    pub enabled: bool,
}

impl Files {
    /// No file at all: the server's default.
    pub fn none() -> Self {
        Self { base: PathBuf::new(), root: None, enabled: false }
    }
    /// Reads a file of at most `limit` bytes. Only regular files are read, never pipes or devices.
    ///
    /// # Errors
    /// See [`FileError`].
    pub async fn read(&self, path: &str, limit: u64) -> Result<Bytes, FileError> {
        let files = self.clone();
        let written = path.to_owned();
        let reading = tokio::task::spawn_blocking(move || files.read_blocking(&written, limit));
        match reading.await {
            Ok(outcome) => outcome,
            Err(stopped) => Err(FileError::Io { path: path.to_owned(), source: io::Error::other(stopped) }),
        }
    }

    /// As [`Files::read`], on the thread that calls: for where there is no runtime.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn read_blocking(&self, path: &str, limit: u64) -> Result<Bytes, FileError> {
        read_at_most(&self.resolve(path)?, limit, path)
    }

    /// Resolves a path that may be read to the file it leads to, links and all.
    ///
    /// # Errors
    /// [`FileError::Disabled`], [`FileError::Outside`], and [`FileError::Io`] when there is no such file. Whether a
    /// file outside exists is not told.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, FileError> {
        let written = || path.to_owned();
        if !self.enabled {
            return Err(FileError::Disabled { path: written() });
        }
        let joined = self.base.join(path);
        let Some(root) = &self.root else {
            return joined.canonicalize().map_err(|source| FileError::Io { path: written(), source });
        };
        let root = root.canonicalize().map_err(|source| FileError::Io { path: written(), source })?;
        match joined.canonicalize() {
            Ok(resolved) if resolved.starts_with(&root) => Ok(resolved),
            Ok(_) => Err(FileError::Outside { path: written() }),
            Err(_) if !lies_within(&joined, &root) => Err(FileError::Outside { path: written() }),
            Err(source) => Err(FileError::Io { path: written(), source }),
        }
    }

    /// As [`Files::resolve`], for a file that may have to be made: its folder must be there.
    ///
    /// # Errors
    /// See [`Files::resolve`].
    pub fn resolve_new(&self, path: &str) -> Result<PathBuf, FileError> {
        match self.resolve(path) {
            Err(FileError::Io { path: written, source }) if source.kind() == io::ErrorKind::NotFound => {
                let missing = || FileError::Io { path: written.clone(), source: io::ErrorKind::NotFound.into() };
                let written_path = Path::new(path);
                let name = written_path.file_name().ok_or_else(missing)?;
                let parent = written_path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let parent = parent.unwrap_or(Path::new(".")).to_str().ok_or_else(missing)?;
                Ok(self.resolve(parent)?.join(name))
            }
            resolved => resolved,
        }
    }
}

/// Whether a path that leads nowhere would lie below `root`: the part of it that exists does, and the rest stays there.
fn lies_within(path: &Path, root: &Path) -> bool {
    let existing = path.ancestors().skip(1).find_map(|parent| Some((parent, parent.canonicalize().ok()?)));
    let Some((parent, resolved)) = existing else { return false };
    let rest = path.strip_prefix(parent).unwrap_or(path);
    resolved.starts_with(root) && !rest.components().any(|part| part == Component::ParentDir)
}

fn read_at_most(file: &Path, limit: u64, written: &str) -> Result<Bytes, FileError> {
    let failed = |source| FileError::Io { path: written.to_owned(), source };
    let too_large = || FileError::TooLarge { path: written.to_owned(), limit };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    if metadata.len() > limit {
        return Err(too_large());
    }
    let mut contents = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // One byte more than allowed tells a file that grew meanwhile.
    let opened = std::fs::File::open(file).map_err(failed)?;
    opened.take(limit.saturating_add(1)).read_to_end(&mut contents).map_err(failed)?;
    if contents.len() as u64 > limit {
        return Err(too_large());
    }
    Ok(contents.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confined(folder: &Path) -> Files {
        Files { base: folder.join("root/flows"), root: Some(folder.join("root")), enabled: true }
    }

    fn make_tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("root/flows")).unwrap();
        std::fs::write(folder.path().join("root/flows/rows.csv"), "a,b\n").unwrap();
        std::fs::write(folder.path().join("root/top.txt"), "top").unwrap();
        std::fs::write(folder.path().join("secret.txt"), "secret").unwrap();
        folder
    }

    #[tokio::test]
    async fn files_below_the_root_are_read() {
        let folder = make_tree();
        for (path, contents) in [("rows.csv", "a,b\n"), ("../top.txt", "top"), ("./../flows/rows.csv", "a,b\n")] {
            assert_eq!(confined(folder.path()).read(path, 100).await.unwrap(), contents, "{path}");
        }
    }

    #[tokio::test]
    async fn no_spelling_leads_out_of_the_root() {
        let folder = make_tree();
        let absolute = folder.path().join("secret.txt").display().to_string();
        let mut paths =
            vec!["../../secret.txt", "../../nothing.txt", "/nothing/at/all", "nothing/../../../x", &absolute];
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(folder.path(), folder.path().join("root/flows/link")).unwrap();
            paths.extend(["link/secret.txt", "link/nothing.txt"]);
        }
        for path in paths {
            let refusal = confined(folder.path()).read(path, 100).await.unwrap_err();
            assert!(matches!(refusal, FileError::Outside { .. }), "{path}: {refusal:?}");
        }
    }

    #[tokio::test]
    async fn a_missing_file_below_the_root_is_told_as_missing() {
        let folder = make_tree();
        let refusal = confined(folder.path()).read("nothing.csv", 100).await.unwrap_err();
        assert!(matches!(refusal, FileError::Io { .. }), "{refusal:?}");
        assert_eq!(refusal.to_string(), "cannot read `nothing.csv`");
    }

    #[tokio::test]
    async fn a_file_over_the_limit_and_a_folder_are_refused() {
        let folder = make_tree();
        let files = confined(folder.path());
        assert_eq!(files.read("rows.csv", 4).await.unwrap(), "a,b\n");
        assert!(matches!(files.read("rows.csv", 3).await.unwrap_err(), FileError::TooLarge { limit: 3, .. }));
        assert!(matches!(files.read(".", 100).await.unwrap_err(), FileError::Io { .. }));
    }

    #[tokio::test]
    async fn no_file_is_read_where_flows_may_read_none() {
        let refusal = Files::none().read("/etc/hosts", 100).await.unwrap_err();
        assert!(matches!(refusal, FileError::Disabled { .. }));
    }
}
