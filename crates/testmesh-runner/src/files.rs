//! Which files a flow may read, and how: everything goes through [`Files`].
// SKELETON: owner H.

use std::path::PathBuf;

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
    /// Reads a file of at most `limit` bytes.
    pub async fn read(&self, path: &str, limit: u64) -> Result<Bytes, FileError> {
        let _ = (path, limit);
        unimplemented!()
    }
    /// Resolves a path that may be read.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, FileError> {
        let _ = path;
        unimplemented!()
    }
}
